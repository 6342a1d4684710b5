"""Unpacks .zip files: each member by its own compressed data, which no other member shares."""

import io
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from lacunet.errors import DataError
from lacunet.intake.read.members import DEVICE, LINKS, MOST_FILES, NAMELESS, Meter, Target, parts_of, refuse_link_out

MOST_DIRECTORY = 2**25
"""Bytes of the list of members; it takes some 150 for each."""

_MOST_TAIL = 2**17
_LOCAL_HEADER = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


def unzip(source: Path, target: Target, meter: Meter) -> Counter[str]:
    """Unpack a .zip; see `unpack`."""
    passed: Counter[str] = Counter()
    with source.open("rb") as file, zipfile.ZipFile(_Guarded(file)) as archive:
        members = archive.infolist()
        meter.count_files(len(members))
        _require_apart(members, archive.start_dir)
        for member in members:
            if reason := _unzip_one(archive, member, target, meter):
                passed[reason] += 1
    return passed


def _unzip_one(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Target, meter: Meter) -> str | None:
    """Unpack a member; returns why it was passed over."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.flag_bits & 1:
        raise DataError("the archive: is encrypted; unpack it with its password and give the folder")
    parts = parts_of(member.filename)
    if member.filename.endswith(("/", "\\")):
        return None
    if not parts:
        return NAMELESS
    if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
        raise DataError(DEVICE)
    if member.compress_type not in _METHODS:
        raise NotImplementedError
    with archive.open(member) as stream:
        if kind == stat.S_IFLNK:
            refuse_link_out(parts[:-1], stream.read(4096).decode("utf-8", "replace"))
            return LINKS
        if target.write(_counted(stream.read, meter), parts) != member.file_size:
            raise zipfile.BadZipFile
    return None


def _counted(read: Callable[[int], bytes], meter: Meter) -> Callable[[int], bytes]:
    def counting(size: int) -> bytes:
        content = read(size)
        meter.count_bytes(len(content))
        return content

    return counting


def _require_apart(members: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Refuse members that share compressed data: so a few bytes become as much as one likes.

    Raises:
        DataError: two members overlap, or one overlaps the list of members, which starts at byte `end`.
    """
    spans = sorted(
        (one.header_offset, one.header_offset + _LOCAL_HEADER + len(one.orig_filename) + one.compress_size)
        for one in members
    )
    if any(one[1] > next_one[0] for one, next_one in pairwise([*spans, (end, end)])):
        raise DataError("the archive: its members overlap each other; it looks like a zip bomb and was refused")


class _Guarded(io.BufferedIOBase):
    """The file of a .zip, which gives no more at a time than is needed: the list of members may claim any size."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:  # the tail, where the list is looked for
            return self._file.read(_MOST_TAIL)
        if size > MOST_DIRECTORY:
            raise zipfile.BadZipFile
        content = self._file.read(size)
        if content.count(b"PK\x01\x02") > MOST_FILES:
            raise DataError(f"the archive: holds more than {MOST_FILES} files; give the archive of one examination")
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
