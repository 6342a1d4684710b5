"""From a source as it arrives (a folder, an archive, a file) to a list of regular files.

    with unpacked(Path("export.zip")) as contents:
        for path in contents.files: ...

Archives are unpacked (`unpack.py`) into a temporary folder that only the user may read and that is always removed
(`scratch.py`). Messages never repeat a name from inside: it may be a patient's.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lacunet.errors import DataError
from lacunet.intake.read.members import DEEPEST, MOST_FILES
from lacunet.intake.read.unpack import ARCHIVES, unpack
from lacunet.scratch import scratch_folder

UNKNOWN_ARCHIVES = (".7z", ".rar", ".iso", ".cab", ".lzh", ".zst")


@dataclass(frozen=True)
class Contents:
    """The regular files of a source.

    Attributes:
        root: The folder that holds them all.
        files: Sorted by name, without hidden files and those counted in `passed_over`.
        passed_over: Reason -> number of entries: "links that lead out of the folder", "archives inside", ...
    """

    root: Path
    files: tuple[Path, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)


@contextmanager
def unpacked(source: Path) -> Iterator[Contents]:
    """The files of a folder, a .zip, a .tar(.gz, .bz2, .xz), or a single file. Those of an archive exist within the
    `with` block only.

    Args:
        source: What the user named.

    Raises:
        DataError: the source does not exist, or an archive is damaged, encrypted, a bomb, or leads out of its folder.
        OutputError: there is no room to unpack it.
    """
    if source.is_dir():
        yield list_folder(source)
    elif not source.exists():
        raise DataError("the source: there is no such file or folder")
    elif not source.is_file():
        raise DataError("the source: is neither a file nor a folder; give a folder, an archive or a scan")
    elif is_archive(source.name):
        with scratch_folder() as folder:
            passed = unpack(source, folder)
            contents = list_folder(folder)
            yield Contents(contents.root, contents.files, Counter(contents.passed_over) + passed)
    else:
        _refuse_unknown_archive(source)
        yield Contents(source.parent, (source,))


def is_archive(name: str) -> bool:
    """Whether a name has the suffix of an archive that can be unpacked here."""
    return name.lower().endswith(ARCHIVES)


def list_folder(folder: Path) -> Contents:
    """The regular files below a folder. A link is followed only where it leads to a file inside the folder, or in the
    store of the git-annex (or DataLad) repository that the folder is in.

    Raises:
        DataError: a folder cannot be opened, or there are more than `MOST_FILES` files.
    """
    root = folder.resolve()
    trees = (root, *_stores(root))
    files: list[Path] = []
    passed: Counter[str] = Counter()
    waiting = [(root, 0)]
    while waiting:
        here, depth = waiting.pop()
        for entry in _entries(here):
            reason = _reason_to_pass(entry, trees, depth)
            if reason:
                passed[reason] += 1
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), depth + 1))
            elif not _is_hidden(entry.name):
                files.append(Path(entry.path))
        if len(files) > MOST_FILES:
            raise DataError(f"the source: more than {MOST_FILES} files; give the folder of one examination")
    return Contents(root, tuple(sorted(files)), dict(passed))


def _stores(root: Path) -> list[Path]:
    """Where the repository that a folder is in keeps its files: DataLad leaves links to there in place of them."""
    repository = next((path for path in (root, *root.parents) if (path / ".git").exists()), None)
    if repository is None:
        return []
    store = (repository / ".git").resolve() / "annex" / "objects"
    return [store] if store.is_dir() else []


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"the source: a folder in it cannot be opened ({error.strerror}); check its permissions"
        ) from error


def _reason_to_pass(entry: os.DirEntry[str], trees: Sequence[Path], depth: int) -> str | None:
    if _is_hidden(entry.name):
        return "hidden files"
    if entry.is_symlink():
        target = Path(entry.path).resolve()
        if not any(target.is_relative_to(tree) for tree in trees):
            return "links that lead out of the folder"
        if not target.exists():
            return "links to files that are not there (with git-annex or DataLad: get them first)"
        return None if target.is_file() else "links to folders"
    if entry.is_dir(follow_symlinks=False):
        return "folders too deep inside" if depth >= DEEPEST else None
    if not entry.is_file(follow_symlinks=False):
        return "devices, pipes or sockets"
    return "archives inside" if entry.name.lower().endswith((*ARCHIVES, *UNKNOWN_ARCHIVES)) else None


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _refuse_unknown_archive(source: Path) -> None:
    if source.name.lower().endswith(UNKNOWN_ARCHIVES):
        known = ", ".join(ARCHIVES)
        raise DataError(f"the source: is an archive of a kind that is not read here ({known} are); unpack it first")
