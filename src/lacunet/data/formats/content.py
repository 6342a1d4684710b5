"""Voxels from a file, decompressed piece by piece: memory is taken for the wanted voxels and for one piece."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from lacunet.data.formats.stored import MOST_TRAILING, Packing, Stored, voxels_in
from lacunet.errors import DataError

PIECE = 2**22
"""Bytes that are decompressed at a time."""

_GZIP = b"\x1f\x8b"
_START = 2**12
"""Bytes of a compressed file in which a header ends, unless another program cut it into many small blocks."""


def packing_of(path: Path) -> Packing:
    """Whether a whole file is compressed with gzip, by its first bytes and not by its name."""
    with path.open("rb") as file:
        return "gzip" if file.read(len(_GZIP)) == _GZIP else "none"


def packing_notes(name: str, packing: Packing) -> tuple[str, ...]:
    """A note where the name of a file says something else about its compression."""
    called_packed = name.lower().endswith((".gz", ".mgz"))
    if called_packed == (packing == "gzip"):
        return ()
    is_packed = "is not compressed" if called_packed else "is compressed"
    return (f"{name}: {is_packed}, though its name says otherwise",)


@contextmanager
def opened(path: Path, packing: Packing, at: int = 0) -> Iterator[BufferedIOBase]:
    """The content of a file as a stream, decompressed. The compressed content starts at byte `at`.

    Reading the stream raises EOFError where it is cut off, zlib.error or gzip.BadGzipFile where it is damaged or its
    checksum is wrong.
    """
    with path.open("rb") as file:
        file.seek(at)
        if packing == "gzip":
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                yield stream
        elif packing == "zlib":
            yield io.BufferedReader(_Inflated(file), PIECE)
        else:
            yield file


class _Inflated(io.RawIOBase):
    """A zlib stream (RFC 1950) that goes to the end of its file; its checksum is compared at the end."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._machine = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        while not self._machine.eof:
            packed = self._machine.unconsumed_tail or self._file.read(2**16)
            content = self._machine.decompress(packed, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)
            if not packed:
                raise EOFError("the compressed data end too early")
        if self._machine.unused_data or self._file.read(1):
            raise zlib.error("other bytes follow the compressed data")
        return 0


def first_bytes(path: Path, packing: Packing, count: int) -> bytes:
    """The first bytes of a file's content, or fewer where it is shorter."""
    with opened(path, packing) as stream:
        return stream.read(count)


def packing_and_first_bytes(path: Path, count: int) -> tuple[Packing, bytes]:
    """`packing_of` and `first_bytes` together; the file is opened once, and little of it is decompressed."""
    with path.open("rb") as file:
        start = file.read(max(count, _START))
    if not start.startswith(_GZIP):
        return "none", start[:count]
    head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, count)
    return "gzip", head if len(head) == count else first_bytes(path, "gzip", count)


def length_of(path: Path, packing: Packing, most: int) -> int:
    """Bytes of a file's content; counting stops after `most`, with some number above it."""
    length = 0
    with opened(path, packing) as stream:
        while length <= most and (piece := stream.read(PIECE)):
            length += len(piece)
    return length


def read_volume(
    stored: Stored, volume: int, kind: np.dtype, as_stored: bool = False
) -> tuple[Shaped[np.ndarray, "x y z"], tuple[str, ...]]:
    """One volume of an image, and notes. The file is read to its end, so that a checksum is compared.

    Takes memory for the voxels in `kind`, and for a few pieces.

    Args:
        stored: Where the voxels lie.
        volume: Which one; 0 in a 3-D file.
        kind: Type of the result.
        as_stored: Leave out slope and intercept.

    Raises:
        DataError: more follows the voxels than may.
        EOFError: the file ends before its voxels do.
        zlib.error: it is damaged, or its checksum is wrong.
        OSError: it cannot be read, or is damaged (gzip.BadGzipFile).
    """
    count = voxels_in(stored.shape[:3])
    before = stored.start + volume * count * stored.voxel.itemsize
    after = stored.start + stored.size - before - count * stored.voxel.itemsize
    with opened(stored.content, stored.packing, stored.packed_at) as stream:
        _skip(stream, before)
        voxels = np.empty(count, kind)
        _fill(voxels, stream, stored, as_stored)
        _skip(stream, after)
        notes = _rest(stream, stored)
    return voxels.reshape(stored.shape[:3], order="F"), notes


def _fill(voxels: Shaped[np.ndarray, " n"], stream: BufferedIOBase, stored: Stored, as_stored: bool) -> None:
    step = PIECE // stored.voxel.itemsize
    for first in range(0, voxels.size, step):
        part = voxels[first : first + step]
        values = np.frombuffer(_exactly(stream, part.size * stored.voxel.itemsize), stored.voxel)
        with np.errstate(over="ignore", invalid="ignore"):  # too large values become infinite, and are refused later
            if stored.scaled and not as_stored:
                values = values.astype(np.float64) * stored.slope + stored.intercept
            part[...] = values


def _exactly(stream: BufferedIOBase, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError("its voxels are cut off")
    return content


def _skip(stream: BufferedIOBase, count: int) -> None:
    while count > 0:
        count -= len(_exactly(stream, min(count, PIECE)))


def _rest(stream: BufferedIOBase, stored: Stored) -> tuple[str, ...]:
    """Read what follows the voxels, and say or refuse what should not be there."""
    rest = stream.read(MOST_TRAILING + 1)
    if not rest or (stored.trailing == "anything" and len(rest) <= MOST_TRAILING):
        return ()
    if stored.trailing == "zeros" and len(rest) <= MOST_TRAILING and not any(rest):
        return (f"{stored.name}: {len(rest)} zeros follow its voxels; they are ignored",)
    amount = f"{len(rest)} bytes" if len(rest) <= MOST_TRAILING else "many bytes"
    raise DataError(
        f"{stored.name}: {amount} follow the voxels that its header describes; header and voxels do not fit together, "
        "write the file again from its source"
    )
