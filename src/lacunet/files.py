"""Output files: each is written whole or not at all."""

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import Any
from uuid import uuid4

from lacunet.errors import DataError, OutputError, visible
from lacunet.scratch import held, sweep_unfinished

MOST_NAME_BYTES = 160
"""Of a case's name. The names of its results are longer, and file systems take 255 bytes."""

_MOST_FILE_BYTES = 240
"""Of the name of a result; a temporary name is some letters longer."""

_DEVICES = re.compile(r"(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]) *(\.|$)", re.IGNORECASE)
"""Names that are devices on Windows, in every folder and with every suffix."""

_ADVICE = {
    errno.ENOSPC: "make room on the disk, or choose another place",
    errno.EDQUOT: "your quota is used up: make room, or choose another place",
    errno.EFBIG: "the disk takes no file as large as this; choose another place",
    errno.EACCES: "you may not write there: change its permissions, or choose another place",
    errno.EPERM: "you may not write there: change its permissions, or choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "a file is where a folder should be; move it, or choose another place",
    errno.ENOTDIR: "a file is where a folder should be; move it, or choose another place",
    errno.EISDIR: "a folder is where the file should be; move it, or choose another place",
    errno.EMFILE: "close other programs, and try again",
    errno.ENFILE: "close other programs, and try again",
}


def plain_name(name: str, what: str = "case name") -> str:
    """The name itself, where it can be the name of a file or folder on any system.

    Args:
        name: Of a case or a person, from a folder, a manifest or the command line.
        what: What it is, for the error.

    Raises:
        DataError: it would lead to another folder, be hidden, a device or too long, or be misread in a terminal.
    """
    if reason := why_not_plain(name):
        shown = visible(name if len(name) <= 60 else f"{name[:60]}…")
        raise DataError(f"{what} '{shown}': not a plain name, it {reason}; choose another name")
    return name


def why_not_plain(name: str, most_bytes: int = MOST_NAME_BYTES) -> str:
    """Why a name cannot be the name of a file or folder on any system; "" where it can."""
    if not name.strip():
        return "is empty"
    if "/" in name or "\\" in name or PureWindowsPath(name).drive:
        return "has a slash or a drive, and would lead to another folder"
    if name.startswith("."):
        return "starts with a dot"
    if visible(name) != name:
        return "has control characters, ends of lines, marks of direction or bytes that are no text"
    if _DEVICES.match(name):
        return "is the name of a device on Windows"
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError:
        return f"has letters that this system has no file names for ({sys.getfilesystemencoding()}; set LC_ALL=C.UTF-8)"
    return f"is longer than {most_bytes} bytes" if length > most_bytes else ""


def path_in(folder: Path, name: str, ending: str = "") -> Path:
    """The file or folder `NAME` + `ending` in a folder. Every name of a case becomes a path here.

    Args:
        folder: Where it lies.
        name: Of a case.
        ending: What the name of the file has after that.

    Raises:
        DataError: the name, or the whole, is not a plain name (`plain_name`).
    """
    whole = f"{plain_name(name)}{ending}"
    if reason := why_not_plain(whole, _MOST_FILE_BYTES):
        raise DataError(f"'{visible(ending)}': cannot end the name of a file: with it, '{visible(name)}' {reason}")
    return folder / whole


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error for a file that cannot be written, with advice that fits the cause."""
    advice = _ADVICE.get(error.errno or 0, "choose another place")
    return OutputError(f"{path}: cannot be written ({error.strerror or type(error).__name__}); {advice}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; on success it is renamed to `path`, on failure deleted.

    The temporary name keeps the suffixes (`.nii.gz`), since writers choose their format by them.

    Raises:
        OutputError: `path` cannot be written: no permission, no space, a file where a folder should be.
    """
    temporary = _hidden(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # the folder itself may not exist
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` to fill; on success it replaces `path`, on failure it is deleted. Those that killed
    programs left beside it are deleted first.

    Raises:
        OutputError: `path` cannot be written: no permission, no space, a file where a folder should be.
    """
    old = _hidden(path, "old-")
    try:
        with _hidden_folder(path) as temporary:
            yield temporary
            if path.exists():
                path.replace(old)
            temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def whole_files(folder: Path, record: str, gone: Sequence[Path] = ()) -> Iterator[Path]:
    """A hidden folder in `folder` to fill with files; on success they move into `folder`, on failure they are deleted
    and `folder` holds what it held.

    Args:
        folder: Of results. Other files that are in it stay.
        record: The file that says that the results are whole. It moves last.
        gone: Files in `folder` that are removed with those that are replaced: results of before.

    Raises:
        OutputError: a file cannot be written: no permission, no space, a folder where it should be.
    """
    try:
        with _hidden_folder(folder / "results") as new:
            try:
                yield new
            except OutputError as error:  # it names a file in the hidden folder, which the user will not find
                raise OutputError(str(error).replace(str(new), str(folder))) from error
            _swap(new, folder, record, gone)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _swap(new: Path, folder: Path, record: str, gone: Sequence[Path]) -> None:
    """Move the files of `new` into `folder`, and remove those that they replace and `gone`; or change nothing."""
    old = _hidden(folder / "results", "old-")
    old.mkdir()
    names = sorted((path.name for path in new.iterdir()), key=lambda name: (name == record, name))
    there = {*gone, *(folder / name for name in names)}
    leaving = sorted((path for path in there if path.is_file()), key=lambda path: (path.name != record, path.name))
    moves = [*((path, old / path.name) for path in leaving), *((new / name, folder / name) for name in names)]
    try:
        for source, target in moves:
            try:
                source.replace(target)
            except OSError as error:
                raise cannot_write(folder / source.name, error) from error
    except BaseException:
        for source, target in reversed(moves):
            if target.exists() and not source.exists():
                target.replace(source)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _hidden_folder(path: Path) -> Iterator[Path]:
    """A new hidden folder beside `path`; what is left of it in the end is deleted, and so, at the beginning, are those
    that killed programs left there."""
    temporary = _hidden(path)
    not_held = temporary.with_name(temporary.name.partition("-")[0])  # under this name it is not swept
    sweep_unfinished(path.parent)
    try:
        not_held.mkdir(parents=True)
        with held(not_held):
            not_held.replace(temporary)
            yield temporary
    finally:
        shutil.rmtree(not_held, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


def _hidden(path: Path, kind: str = "") -> Path:
    """A name beside `path` that nothing has yet."""
    return path.with_name(f".{uuid4().hex[:8]}-{kind}{path.name}")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8; bytes of file names that are no text are written as `\\udcfc`."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def rounded(value: Any, digits: int) -> Any:
    """JSON with every fraction in it rounded."""
    if isinstance(value, dict):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one, digits) for one in value]
    return round(value, digits) if isinstance(value, float) else value


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole, indented. NaN is refused: a caller that allows it writes None instead."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
