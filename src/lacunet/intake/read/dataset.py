"""DICOM files through pydicom, within limits: no file makes it take more memory than is stated here.

pydicom believes a file: it inflates all that is deflated, reads as many bytes as a value claims, and makes an object
for each item of a sequence. So it gets a stream that counts what it asks for, and deflated files are inflated here.
"""

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacunet.intake.read.quiet import silently

try:
    from pydicom import config
    from pydicom.dataset import Dataset
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag
except ImportError:  # an extra that may be absent
    pass

MOST_HEADER = 2**24
"""Bytes of a header that are kept, together; 4,000 frames have 14 MB. As objects they take up to 36 times that."""

MOST_ITEMS = 2**16
"""Items of sequences; a frame has some ten."""

MOST_PIXELS = 2**30
"""Bytes of the pixels of a file."""

MOST_INFLATED = 2**28
"""Bytes that a deflated file may grow to."""

MOST_GROWTH = 100
"""How many times its size a deflated file may grow, past `ALWAYS_INFLATED`."""

ALWAYS_INFLATED = 2**24
"""Bytes that a deflated file of any size may grow to."""

_PIXELS = 0x7FE00010
_KINDS_OF_PIXELS = (0x7FE00008, 0x7FE00009, _PIXELS)
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
_CHUNK = 2**16


class UnreadableFile(Exception):
    """A DICOM file that is damaged or beyond the limits; the message says how, without personal data."""


def read_header_of(path: Path, tags: Sequence[str | int]) -> tuple["Dataset", int]:
    """These elements of a file, without its pixels, and the number of bytes after its header.

    A deflated file is read as if it were not deflated. Takes at most 1 GiB of memory.

    Raises:
        UnreadableFile: it is damaged, cut off, or beyond the limits.
        OSError: it cannot be opened or read.
    """
    return _read(path, tags, pixels=False)


def read_with_pixels(path: Path, tags: Sequence[str | int]) -> "Dataset":
    """These elements of a file, which may be its pixels.

    Takes memory for the pixels, three times as much where the file is deflated.

    Raises:
        UnreadableFile: it is damaged, cut off, or beyond the limits.
        OSError: it cannot be opened or read.
    """
    return _read(path, tags, pixels=True)[0]


def pixels_of(path: Path) -> bytes:
    """The pixels of a file as they are stored, perhaps compressed; empty where they cannot be read."""
    try:
        return bytes(read_with_pixels(path, ["PixelData"]).get("PixelData") or b"")
    except (UnreadableFile, OSError):
        return b""


def _read(path: Path, tags: Sequence[str | int], pixels: bool) -> tuple["Dataset", int]:
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        try:
            return _parsed(_Counting(file, size, pixels), tags)
        except _DeflatedFrom as found:
            inflated = _inflated(file, size, found.start)
    try:
        return _parsed(_Counting(inflated, inflated.getbuffer().nbytes, pixels), tags)
    except _DeflatedFrom:
        raise UnreadableFile("damaged: it says twice that it is deflated") from None


def _parsed(stream: "_Counting", tags: Sequence[str | int]) -> tuple["Dataset", int]:
    try:
        with silently(), config.disable_value_validation():
            data = read_partial(
                stream,
                stop_when=stream.stops_before,
                force=True,
                specific_tags=[Tag(tag) for tag in tags],
            )
    except _DeflatedFrom:
        raise
    except MemoryError:
        raise UnreadableFile("its header takes more memory than there is") from None
    except Exception as error:  # pydicom raises whatever a hostile byte leads to
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableFile(stream.refused or f"damaged or truncated ({type(error).__name__})") from None
    if stream.refused:  # pydicom may pass over the error
        raise UnreadableFile(stream.refused)
    data.buffer = None  # it would keep the whole file
    return data, stream.size - stream.tell()


class _DeflatedFrom(Exception):
    """pydicom has come to the place from which a file is deflated."""

    def __init__(self, start: int) -> None:
        self.start = start


class _Counting:
    """A file that gives no more than there is, and no more than is allowed."""

    def __init__(self, file: io.BufferedIOBase, size: int, pixels: bool) -> None:
        self._file = file
        self.size, self.pixels = size, pixels
        self.refused = ""
        self._at = file.tell()
        self._bytes = self._items = 0
        self._in_pixels = False

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Only what is deflated is asked for without a size."""
        if size < 0:
            raise _DeflatedFrom(self._at)
        content = self._file.read(min(size, max(self.size - self._at, 0)))
        self._at += len(content)
        self._bytes += len(content)
        self._items += sum(content.count(item) for item in _ITEMS)
        if self._in_pixels and self._bytes > MOST_PIXELS:
            self._refuse(f"its pixels have more than {MOST_PIXELS // 2**20} MiB")
        if not self._in_pixels and self._bytes > MOST_HEADER:
            self._refuse(f"its header has more than {MOST_HEADER // 2**20} MiB")
        if not self._in_pixels and self._items > MOST_ITEMS:
            self._refuse(f"its header has more than {MOST_ITEMS} items")
        return content

    def stops_before(self, tag: Any, _: str | None, __: int) -> bool:
        """Whether reading ends at an element of the data set: at the pixels, or after them."""
        self._in_pixels = tag in _KINDS_OF_PIXELS
        return bool(tag > _PIXELS) if self.pixels else self._in_pixels

    def _refuse(self, why: str) -> None:
        self.refused = why
        raise ValueError

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        """The place. It is known here: asking the system each time would take longer than all else."""
        return self._at


def _inflated(file: io.BufferedIOBase, size: int, start: int) -> io.BytesIO:
    """A deflated file as it would be if it were not deflated.

    Args:
        file: The file.
        size: Its bytes.
        start: Where the deflated content begins.

    Raises:
        UnreadableFile: the content is cut off, damaged, or grows too much.
    """
    file.seek(0)
    inflated = io.BytesIO()
    inflated.write(file.read(start).replace(_DEFLATED, _PLAIN))
    most = min(MOST_INFLATED, max(ALWAYS_INFLATED, MOST_GROWTH * size))
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    while not machine.eof:
        packed = machine.unconsumed_tail or file.read(_CHUNK)
        try:
            content = machine.decompress(packed, _CHUNK)
        except zlib.error:
            raise UnreadableFile("damaged: its deflated content cannot be inflated") from None
        if not packed and not content:
            raise UnreadableFile("truncated: its deflated content has no end")
        if inflated.write(content) and inflated.tell() > most:
            raise UnreadableFile("deflated, and grows to so many times its size that it was refused")
    inflated.seek(0)
    return inflated
