"""Unpacks .tar files, compressed or not, in one pass from their first byte to the last.

The standard library decodes the blocks of headers; which blocks there are is decided here, since its reader follows a
header to any place and keeps what one claims in memory.
"""

import bz2
import gzip
import io
import lzma
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import cast

from lacunet.errors import DataError
from lacunet.intake.read.members import CHUNK, DEVICE, LINKS, NAMELESS, Meter, Target, parts_of, refuse_link_out

MOST_HEADER = 2**20
"""Bytes of an extended header, which holds a long name."""

MOST_XZ_MEMORY = 2**28
"""Bytes that decompressing .xz may take; `xz -9` asks for a quarter."""

_SPARSE = "the archive: holds a file with holes (sparse), which is not read; unpack it yourself and give the folder"


def untar(source: Path, target: Target, meter: Meter) -> Counter[str]:
    """Unpack a .tar, .tar.gz, .tar.bz2 or .tar.xz; see `unpack`."""
    passed: Counter[str] = Counter()
    with closing(_decompressed(source)) as stream:
        tape = _Tape(stream, meter)
        while (member := _next_member(tape)) is not None:
            meter.count_files()
            if reason := _untar_one(member, tape, target):
                passed[reason] += 1
        while tape.read_some(CHUNK):  # to the end, where the checksum is
            pass
    return passed


def _untar_one(member: tarfile.TarInfo, tape: "_Tape", target: Target) -> str | None:
    """Unpack a member; returns why it was passed over."""
    parts = parts_of(member.name)
    if member.issym() or member.islnk():
        refuse_link_out(parts[:-1] if member.issym() else (), member.linkname)
        return LINKS
    if member.isdir():
        return None
    if not member.isreg():
        raise DataError(DEVICE)
    content = _Member(tape, member.size)
    if parts:
        target.write(content.read, parts)
    content.skip()
    return None if parts else NAMELESS


def _next_member(tape: "_Tape") -> tarfile.TarInfo | None:
    """The header of the next member, with what extended headers before it say; None at the end.

    Raises:
        DataError: it is a sparse file.
        EOFError: the archive has no end.
        tarfile.TarError: a header is damaged, or claims what cannot be.
    """
    said: dict[str, str] = {}
    while True:
        block = tape.read(tarfile.BLOCKSIZE)
        if not block.strip(b"\0"):
            return None
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if member.size < 0:
            raise tarfile.ReadError
        if member.type == tarfile.XGLTYPE:
            _Member(tape, member.size).skip()
        elif member.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            said |= _records(_Member(tape, member.size).whole())
        elif member.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            key = "path" if member.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
            said[key] = _text(_Member(tape, member.size).whole().partition(b"\0")[0])
        else:
            break
    if member.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in said):
        raise DataError(_SPARSE)
    member.name = said.get("path", member.name)
    member.linkname = said.get("linkpath", member.linkname)
    member.size = _size(said["size"]) if "size" in said else member.size
    return member


def _records(content: bytes) -> dict[str, str]:
    """The records `LENGTH KEY=VALUE` of an extended header (POSIX.1-2001, pax)."""
    found = {}
    at = 0
    while at < len(content) and content[at]:
        digits, _, _ = content[at : at + 20].partition(b" ")
        end = at + _size(_text(digits))
        record = content[at + len(digits) + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if not (equals and record.endswith(b"\n")):
            raise tarfile.ReadError
        found[_text(key)] = _text(value)
        at = end
    return found


def _size(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise tarfile.ReadError
    return int(digits)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


class _Tape:
    """A stream that is read forwards only; every byte is counted."""

    def __init__(self, stream: io.BufferedIOBase, meter: Meter) -> None:
        self._stream, self._meter = stream, meter

    def read_some(self, most: int) -> bytes:
        """The next bytes; b"" at the end."""
        content = self._stream.read(most)
        self._meter.count_bytes(len(content))
        return content

    def read(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            EOFError: there are fewer.
        """
        content = self.read_some(size)
        while len(content) < size:
            more = self.read_some(size - len(content))
            if not more:
                raise EOFError
            content += more
        return content


class _Member:
    """The content of a member, and the bytes that fill its last block."""

    def __init__(self, tape: _Tape, size: int) -> None:
        self._tape, self._left, self._filling = tape, size, -size % tarfile.BLOCKSIZE

    def read(self, most: int) -> bytes:
        """The next bytes; b"" at the end."""
        size = min(most, self._left)
        self._left -= size
        return self._tape.read(size) if size else b""

    def skip(self) -> None:
        """Go to the end of the last block."""
        while self.read(CHUNK):
            pass
        self._tape.read(self._filling)

    def whole(self) -> bytes:
        """All of it, where it is an extended header.

        Raises:
            tarfile.ReadError: it is too long for one.
        """
        if self._left > MOST_HEADER:
            raise tarfile.ReadError
        content = self.read(MOST_HEADER)
        self.skip()
        return content


def _decompressed(source: Path) -> io.BufferedIOBase:
    name = source.name.lower()
    if name.endswith((".gz", ".tgz")):
        return cast(io.BufferedIOBase, gzip.GzipFile(source, "rb"))
    if name.endswith((".bz2", ".tbz2")):
        return cast(io.BufferedIOBase, bz2.BZ2File(source, "rb"))
    if name.endswith((".xz", ".txz")):
        return cast(io.BufferedIOBase, io.BufferedReader(_Xz(source.open("rb")), CHUNK))
    return source.open("rb")


class _Xz(io.RawIOBase):
    """An .xz file, one stream or several, decompressed with a limit on memory, which `lzma.LZMAFile` does not have."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._machine = _xz_machine()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        content = b""
        while not content:
            packed = b""
            if self._machine.eof:
                packed = (self._machine.unused_data or self._file.read(CHUNK)).lstrip(b"\0")
                if not packed and not self._file.peek(1):
                    return 0
                self._machine = _xz_machine()
            elif self._machine.needs_input and not (packed := self._file.read(CHUNK)):
                raise EOFError
            content = self._machine.decompress(packed, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def _xz_machine() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_XZ_MEMORY)
