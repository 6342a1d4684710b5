"""Files that are on the disk, not only in memory, when a function returns."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

UNFINISHED = ".unfinished-"
"""How the names of files begin that a killed node was writing."""


@contextmanager
def written(folder: Path, content: bytes) -> Iterator[Path]:
    """A file of this content under a hidden name, synchronised; it is gone after the block unless `kept` renamed it.

    Raises:
        OSError: it cannot be written: no room, no permission.
    """
    path = folder / f"{UNFINISHED}{uuid4().hex}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def kept(temporary: Path, path: Path) -> None:
    """Give a file or a folder its name for good.

    Raises:
        OSError: it cannot be renamed.
    """
    temporary.replace(path)
    synchronise(path.parent)


def make_folder(path: Path) -> None:
    """A folder that only the user may read, and those above it."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    synchronise(path.parent)


def synchronise(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk. Windows does not do it for folders."""
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def synchronise_tree(folder: Path) -> None:
    """Bring a folder and all below it to the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        synchronise(path)
    synchronise(folder)
