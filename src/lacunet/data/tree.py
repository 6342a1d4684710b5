"""All that lies below a folder: the files, and what is passed over with its reason. Nothing is opened."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lacunet.errors import DataError


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that is not used, and why. Local: a path may hold a patient's name.

    Attributes:
        path: The file or folder.
        reason: One clause: "is hidden".
        label: Its path inside the source, for people.
    """

    path: Path
    reason: str
    label: str


@dataclass(frozen=True)
class Tree:
    """What lies below a folder.

    Attributes:
        root: The folder.
        files: All files that may be used, sorted by path.
        folders: All folders below the root that were entered, sorted by path.
        passed: Hidden files, links to nothing, folders that cannot be opened.
    """

    root: Path
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    passed: tuple[PassedOver, ...]


def read_tree(root: Path) -> Tree:
    """Walk through a folder. Symbolic links are followed, never in a circle.

    Raises:
        DataError: the folder itself cannot be opened.
    """
    files: list[Path] = []
    folders: list[Path] = []
    passed: list[PassedOver] = []
    try:
        next(root.iterdir(), None)
    except OSError as error:
        raise DataError(f"{root}: cannot be opened ({error.strerror or error})") from error
    for path, is_folder, reason in _below(root, ()):
        if reason is not None:
            passed.append(PassedOver(path, reason, label_of(path, root)))
        else:
            (folders if is_folder else files).append(path)
    return Tree(root, tuple(files), tuple(folders), tuple(passed))


def label_of(path: Path, root: Path) -> str:
    """The path inside the source; that of a folder ends with a slash."""
    return f"{path.relative_to(root).as_posix()}{'/' * path.is_dir()}"


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[tuple[Path, bool, str | None]]:
    """Every entry below a folder, in the order of paths; whether it is a folder; and the reason to pass it over.

    The kind of an entry comes with its folder's list, since asking a network disk for each takes minutes.
    """
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: os.path.normcase(entry.name))
    for entry in ordered:
        path = folder / entry.name
        if reason := _reason_to_pass(entry, (*above, folder)):
            yield path, False, reason
            continue
        yield path, entry.is_dir(), None
        if entry.is_dir():
            yield from _below(path, (*above, folder))


def _reason_to_pass(entry: "os.DirEntry[str]", above: tuple[Path, ...]) -> str | None:
    if entry.name.startswith(".") or entry.name == "__MACOSX":
        return "is hidden"
    if entry.is_symlink() and not Path(entry.path).exists():
        return "is a link to nothing; if git-annex or DataLad keeps the content, get it first"
    if entry.is_dir():
        if entry.is_symlink() and any(Path(entry.path).samefile(one) for one in above):
            return "is a link back to a folder above it"
        return None if os.access(entry.path, os.R_OK | os.X_OK) else "cannot be opened; check its permissions"
    return None if entry.is_file() else "is a device, a pipe or a socket"
