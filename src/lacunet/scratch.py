"""Temporary folders for copies of patients' scans: only the user can read them, and none is left behind.

A folder is removed at the end of its `with` block, also when a signal ends the command (`cli/signals.py`). A program
that is killed outright cannot remove anything: each folder holds a file that stays locked for as long as its owner
lives, and the next start removes the folders whose lock is free.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path

from lacunet.errors import LacunetError, OutputError

LONGEST_PATH = 70
"""Of the folder for temporary files. A socket's path may have 104 bytes, and Python puts 32 behind the folder."""
PREFIX = "lacunet-"
"""How the names of these folders begin."""

LOCK = ".lacunet-lock"
"""The locked file in each; folders without one are never touched."""

_FILES = "files"
_TRIES = 5


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder for files of our own, which only the user can read; it is always removed, and no error names a
    file in it. Folders of programs that were killed are removed first.

    Raises:
        OutputError: the folder cannot be made, or not be removed.
    """
    sweep_scratch()
    try:
        folder, lock = _locked_folder()
    except OSError as error:
        raise OutputError(
            f"the folder for temporary files: cannot be written ({error.strerror or type(error).__name__}); make room, "
            "or set TMPDIR to another folder"
        ) from error
    with lock:
        try:
            files = folder / _FILES
            files.mkdir(mode=0o700)
            with speaking_of_scratch(folder):
                yield files
        finally:
            _remove_or_say(folder)
    shutil.rmtree(folder, ignore_errors=True)  # Windows keeps a file that is open


def require_short_path() -> None:
    """Refuse a folder for temporary files in which worker processes cannot open a socket; they would wait for ever.

    Raises:
        OutputError: its path is too long.
    """
    length = len(os.fsencode(tempfile.gettempdir()))
    if length > LONGEST_PATH:
        raise OutputError(
            f"the folder for temporary files: its path has {length} bytes, and worker processes need one of at most "
            f"{LONGEST_PATH}; set TMPDIR to another folder, such as /tmp"
        )


def sweep_scratch() -> None:
    """Remove the temporary folders of the user's own programs that were killed. Links are not followed."""
    for folder in _own_folders(Path(tempfile.gettempdir()), re.compile(PREFIX)):
        with suppress(OSError), _opened(folder / LOCK) as lock:
            if _locked(lock.fileno()):
                shutil.rmtree(folder / _FILES, ignore_errors=True)
                if not (folder / _FILES).exists():
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within the block, `sweep_unfinished` spares a folder, in whichever program it is called.

    Windows locks no folders, and sweeps none.
    """
    if sys.platform == "win32":
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        _locked(opened)
        yield
    finally:
        os.close(opened)


def sweep_unfinished(folder: Path) -> None:
    """Remove hidden folders (`.1a2b3c4d-NAME`) that a killed program was filling in a folder of results. What was there
    before it (`.1a2b3c4d-old-NAME`) is not touched."""
    if sys.platform == "win32":
        return
    for path in _own_folders(folder, re.compile(r"\.[0-9a-f]{8}-(?!old-)")):
        with suppress(OSError):
            opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if _locked(opened):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(opened)


@contextmanager
def speaking_of_scratch(folder: Path) -> Iterator[None]:
    """Errors that name a file below `folder` speak of the folder for temporary files instead."""
    try:
        yield
    except LacunetError as error:
        if str(folder) not in str(error):
            raise
        said = re.sub(rf"{re.escape(str(folder))}[^\s:;,)]*", "the folder for temporary files", str(error))
        raise type(error)(said) from error


def _locked_folder() -> tuple[Path, BufferedIOBase]:
    """A new folder and its lock, held. A start of another program may sweep the folder before the lock is held; then
    there is another try."""
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = (folder / LOCK).open("xb")
        if _locked(lock.fileno()) and (folder / LOCK).exists():
            return folder, lock
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)
    raise OutputError("the folder for temporary files: its disk cannot lock files; set TMPDIR to another folder")


def _own_folders(parent: Path, name: "re.Pattern[str]") -> list[Path]:
    """Folders of the user whose names begin as ours do."""
    found = []
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            with suppress(OSError):  # it may be gone by now
                if name.match(entry.name) and entry.is_dir(follow_symlinks=False) and _is_own(entry):
                    found.append(Path(entry.path))
    return found


def _is_own(entry: "os.DirEntry[str]") -> bool:
    return sys.platform == "win32" or entry.stat(follow_symlinks=False).st_uid == os.getuid()


def _opened(lock: Path) -> BufferedIOBase:
    return os.fdopen(os.open(lock, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)), "r+b")


def _locked(file: int) -> bool:
    """Whether the lock of an open file or folder is held from now on. It is free again once that is closed, or its
    process has ended in whatever way."""
    try:
        if sys.platform == "win32":
            import msvcrt  # there is none on other systems

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # there is none on Windows

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_or_say(folder: Path) -> None:
    """Remove a folder and what it holds, the lock last.

    Raises:
        OutputError: it cannot be removed.
    """
    try:
        if (folder / _FILES).exists():
            shutil.rmtree(folder / _FILES)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: holds copies of scans and cannot be removed ({error.strerror or error}); remove it yourself"
        ) from error
