"""Reads a scan under the name that people know it by, where its file is one that lacunet wrote for itself."""

from pathlib import Path

import numpy as np

from lacunet.case import Grid, ImageFile
from lacunet.data.volume import read_file
from lacunet.errors import DataError


def read_called(path: Path, label: str) -> tuple[np.ndarray, Grid, tuple[str, ...]]:
    """As `volume.read_file`; notes and errors speak of `label` and not of the file.

    Raises:
        DataError: as `volume.read_file`.
        GeometryError: as `volume.read_file`.
    """
    try:
        voxels, grid, notes = read_file(ImageFile(path))
    except DataError as error:
        raise type(error)(by_label(str(error), path, label)) from None
    return voxels, grid, tuple(by_label(note, path, label) for note in notes)


def by_label(text: str, path: Path, label: str) -> str:
    """The text with a file's path or name replaced by its name for people."""
    return text.replace(str(path), label).replace(path.name, label)
