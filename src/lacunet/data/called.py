"""Calls a scan by the name that people know it by, where messages have its path or the name of its file."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lacunet.case import Grid, ImageFile
from lacunet.data.volume import read_image
from lacunet.errors import DataError


def read_called(path: Path, label: str) -> tuple[np.ndarray, Grid, tuple[str, ...]]:
    """As `volume.read_image`; notes and errors speak of `label` and not of the file.

    Raises:
        DataError: as `volume.read_image`.
        GeometryError: as `volume.read_image`.
    """
    with errors_by_label(path, label):
        voxels, grid, notes = read_image(ImageFile(path))
    return voxels, grid, tuple(by_label(note, path, label) for note in notes)


@contextmanager
def errors_by_label(path: Path, label: str) -> Iterator[None]:
    """Errors about data within the block leave it as `by_label` gives them, of the same kind."""
    try:
        yield
    except DataError as error:
        raise type(error)(by_label(str(error), path, label)) from None


def by_label(text: str, path: Path, label: str) -> str:
    """The text with a file's path or name replaced by its name for people."""
    return replaced(text, {str(path): label, path.name: label})


def replaced(text: str, spellings: Mapping[str, str]) -> str:
    """A text with each of the spellings replaced, the longest first, where it is not part of a longer word."""
    there = sorted((one for one in spellings if one and one in text), key=len, reverse=True)
    if not there:
        return text
    pattern = "|".join(rf"(?<![^\W_]){re.escape(one)}(?![^\W_])" for one in there)
    return re.sub(pattern, lambda match: spellings[match[0]], text)
