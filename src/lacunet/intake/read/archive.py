"""From a source as it arrives (a folder, an archive, a file) to a list of regular files. Nothing that an archive states
about itself is trusted.

    with unpacked(Path("export.zip")) as contents:
        for path in contents.files: ...

Archives are unpacked into a temporary folder that only the user may read and that is always removed. Sizes are counted
while unpacking, not taken from the archive. Messages never repeat a name from inside: it may be a patient's.
"""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import cast

from lacunet.errors import DataError

MOST_FILES = 200_000
"""More files than this are refused: no examination has so many."""

MOST_BYTES = 32 * 2**30
"""An archive that grows larger than this is refused."""

MOST_GROWTH = 100
"""Compression makes scans 3 to 10 times smaller. An archive that grows more than this many times, and past
`ALWAYS_ALLOWED`, is a bomb."""

ALWAYS_ALLOWED = 64 * 2**20
"""Bytes that an archive of any size may grow to."""

DEEPEST = 64
"""Folders inside each other, at most."""

SPARE_BYTES = 2**28
"""Bytes of the disk that stay free."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
UNKNOWN_ARCHIVES = (".7z", ".rar", ".iso", ".cab", ".lzh", ".zst")
_CHUNK = 2**20
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    NotImplementedError,
)


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
def unpacked(source: Path, temporary: Path | None = None) -> Iterator[Contents]:
    """The files of a folder, a .zip, a .tar(.gz, .bz2, .xz), or a single file. Those of an archive exist within the
    `with` block only.

    Args:
        source: What the user named.
        temporary: Where archives are unpacked; None: the system's folder for temporary files.

    Raises:
        DataError: the source does not exist, or an archive is damaged, encrypted, a bomb, or leads out of its folder.
    """
    if source.is_dir():
        yield list_folder(source)
    elif not source.exists():
        raise DataError("the source: there is no such file or folder")
    elif not source.is_file():
        raise DataError("the source: is neither a file nor a folder; give a folder, an archive or a scan")
    elif is_archive(source.name):
        with TemporaryDirectory(prefix="lacunet-", dir=temporary) as name:
            folder = Path(name)
            links = _unpack(source, folder)
            contents = list_folder(folder)
            yield Contents(contents.root, contents.files, Counter(contents.passed_over) + links)
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


# ---------------------------------------------------------------- archives


@dataclass
class _Meter:
    """Counts what an archive really unpacks to, and stops it at the limits."""

    archive_bytes: int
    free_bytes: int
    files: int = 0
    written: int = 0

    def count_file(self) -> None:
        self.files += 1
        if self.files > MOST_FILES:
            raise DataError(f"the archive: holds more than {MOST_FILES} files; give the archive of one examination")

    def count_bytes(self, size: int) -> None:
        self.written += size
        if self.written > MOST_BYTES:
            raise DataError(f"the archive: unpacks to more than {MOST_BYTES // 2**30} GiB; give one examination")
        if self.written > max(ALWAYS_ALLOWED, MOST_GROWTH * self.archive_bytes):
            raise DataError(
                f"the archive: unpacks to more than {MOST_GROWTH} times its size; it looks like a "
                "zip bomb and was refused"
            )
        if self.written > self.free_bytes - SPARE_BYTES:
            raise DataError(
                "the archive: there is too little free space to unpack it; make room, or unpack it yourself"
            )


def _unpack(source: Path, folder: Path) -> Counter[str]:
    """Unpack into an empty folder; returns what was passed over."""
    try:
        meter = _Meter(source.stat().st_size, shutil.disk_usage(folder).free)
        if source.name.lower().endswith(".zip"):
            return _unpack_zip(source, folder, meter)
        return _unpack_tar(source, folder, meter)
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(
            f"the archive: cannot be unpacked, it is truncated, damaged or no archive ({_kind(error)}); copy it again"
        ) from None


def _kind(error: Exception) -> str:
    """What went wrong. Not the text of the error, which may repeat a name from inside."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return {"BadZipFile": "damaged zip", "NotImplementedError": "an unknown compression"}.get(
        type(error).__name__, type(error).__name__
    )


def _unpack_zip(source: Path, folder: Path, meter: _Meter) -> Counter[str]:
    passed: Counter[str] = Counter()
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.flag_bits & 1:
                raise DataError("the archive: is encrypted; unpack it with its password and give the folder")
            parts = _parts(member.filename)
            if member.is_dir() or not parts:
                continue
            meter.count_file()
            if kind == stat.S_IFLNK:
                with archive.open(member) as stream:
                    target = stream.read(4096).decode("utf-8", "replace")
                _refuse_link_out(PurePosixPath(*parts[:-1]), target)
                passed["links inside the archive"] += 1
            elif kind not in (0, stat.S_IFREG):
                raise DataError("the archive: holds a device or a pipe, not only files; it was refused")
            else:
                with archive.open(member) as stream:
                    _write(stream.read, folder, parts, meter)
    return passed


def _unpack_tar(source: Path, folder: Path, meter: _Meter) -> Counter[str]:
    passed: Counter[str] = Counter()
    with _decompressed(source) as whole, tarfile.open(fileobj=_Sips(whole), mode="r:") as archive:
        for member in archive:
            parts = _parts(member.name)
            meter.count_file()
            if member.issym() or member.islnk():
                start = PurePosixPath(*parts[:-1]) if member.issym() else PurePosixPath()
                _refuse_link_out(start, member.linkname)
                passed["links inside the archive"] += 1
            elif member.isreg():
                stream = archive.extractfile(member)
                if stream is not None and parts:
                    with stream:
                        _write(stream.read, folder, parts, meter)
            elif not member.isdir():
                raise DataError("the archive: holds a device or a pipe, not only files; it was refused")
    return passed


def _decompressed(source: Path) -> io.BufferedIOBase:
    kinds = {("gz",): gzip.GzipFile, ("bz2", "tbz2"): bz2.BZ2File, ("xz", "txz"): lzma.LZMAFile}
    for endings, kind in {**kinds, ("tgz",): gzip.GzipFile}.items():
        if source.name.lower().endswith(endings):
            return cast(io.BufferedIOBase, kind(source, "rb"))
    return source.open("rb")


class _Sips(io.BufferedIOBase):
    """A stream that refuses very large reads: a header inside a .tar may claim any size."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= 16 * _CHUNK:
            raise tarfile.ReadError("a header that claims to be huge")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the name of a member, safe to put below a folder.

    Raises:
        DataError: the name is absolute, or climbs out with "..".
    """
    name = name.replace("\\", "/")
    if name.startswith("/") or name[1:3] == ":/":
        raise DataError(
            "the archive: holds an absolute path, which would be written outside its folder; it was refused"
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DataError("the archive: holds a path with '..', which leads out of its folder; it was refused")
    if len(parts) > DEEPEST:
        raise DataError(f"the archive: holds folders more than {DEEPEST} deep; it was refused")
    return tuple(_plain(part) for part in parts)


def _plain(part: str) -> str:
    """A name that every file system accepts; a long one keeps its end, where the suffix is."""
    cleaned = "".join(letter if letter.isprintable() and letter not in '<>:"|?*' else "_" for letter in part)
    while len(os.fsencode(cleaned)) > 200:
        cleaned = cleaned[1:]
    return cleaned.strip(" ") or "_"


def _refuse_link_out(start: PurePosixPath, target: str) -> None:
    """Links in archives are passed over. One that leads out of the folder looks like an attack and is refused."""
    target = target.replace("\\", "/")
    depth = len(start.parts)
    out = target.startswith("/") or target[1:3] == ":/"
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        out = out or depth < 0
    if out:
        raise DataError("the archive: holds a link that leads out of its folder; it was refused")


def _write(read: Callable[[int], bytes], folder: Path, parts: tuple[str, ...], meter: _Meter) -> None:
    """Write one member and count its bytes; a second one of the same name is numbered."""
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 2
    while path.exists():
        path = path.with_name(f"{number}-{parts[-1]}")
        number += 1
    with path.open("xb") as output:
        while chunk := read(_CHUNK):
            meter.count_bytes(len(chunk))
            output.write(chunk)


def _refuse_unknown_archive(source: Path) -> None:
    if source.name.lower().endswith(UNKNOWN_ARCHIVES):
        known = ", ".join(ARCHIVES)
        raise DataError(f"the source: is an archive of a kind that is not read here ({known} are); unpack it first")
