"""Invented patients, each made once in a run of the tests, whichever file and process asks: to make one takes a second.

The functions are those of `lacunet.data.phantom.phantom`, which tests/data/test_phantom.py tests.
"""

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lacunet.case import Case
from lacunet.data.phantom import phantom

KEPT = "PHANTOMS_OF_TESTS"
"""The variable that tells this process, and those that it starts, the folder with those that were made."""


def make_phantom(seed: int, spacing: float, tumour: bool = True) -> Case:
    """A case whose arrays are the caller's own."""

    def make(place: Path) -> None:
        place.write_bytes(pickle.dumps(phantom.make_phantom(seed, spacing=spacing, tumour=tumour)))

    case = pickle.loads(_kept(f"case-{seed}-{spacing}-{tumour}", make).read_bytes())
    assert isinstance(case, Case)
    return case


def write_phantoms(folder: Path, count: int, seed: int, spacing: float, tumour: bool = True) -> list[Path]:
    """The folders of the cases, which are the caller's own."""

    def copy(number: int) -> Path:
        def make(place: Path) -> None:
            phantom.write_phantoms(place, 1, number, spacing=spacing, tumour=tumour)

        (made,) = _kept(f"folder-{number}-{spacing}-{tumour}", make).iterdir()
        return Path(shutil.copytree(made, folder / made.name))

    return [copy(number) for number in range(seed, seed + count)]


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """Of two processes that make the same at the same time, one keeps it."""
    kept = Path(os.environ[KEPT])
    if not (kept / name).exists():
        with tempfile.TemporaryDirectory(dir=kept) as making:
            make(Path(making) / name)
            with suppress(OSError):  # a folder of another process is there by now
                (Path(making) / name).rename(kept / name)
    return kept / name
