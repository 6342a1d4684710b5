"""Archives, unpacked as `import` unpacks them."""

import bz2
import lzma
import zlib
from functools import partial
from pathlib import Path
from random import Random

from fuzz import samples
from fuzz.formats import Format, files
from fuzz.mutate import Number, any_bytes, gunzip, gzipped, inside, mended, numbers_at, put
from lacunet.intake.read.archive import unpacked


def _read_archive(folder: Path, output: Path) -> None:
    """As `import` unpacks an archive."""
    with unpacked(next(folder.iterdir())) as contents:
        for path in contents.files:
            path.read_bytes()


def _with_checksums(content: bytes) -> bytes:
    """A .tar whose headers have right checksums, so that damaged fields are read."""
    blocks = [content[at : at + 512] for at in range(0, len(content), 512)]
    for index, block in enumerate(blocks):
        if block[257:262] == b"ustar" and len(block) == 512:
            cleared = block[:148] + b" " * 8 + block[156:]
            blocks[index] = cleared[:148] + b"%06o\0 " % sum(cleared) + cleared[156:]
    return b"".join(blocks)


_TAR_FIELDS = ((0, 100), (100, 8), (124, 12), (124, 12), (124, 12), (156, 1), (157, 100), (345, 155))
_TAR_VALUES = (
    b"", b"\0", b"../../EVIL", b"/EVIL", b"777777777777", b"-0000001000", b"\xff" * 12, b"\x80" + b"\0" * 11,
    b"\x80" + b"\xff" * 11, b"\xff" * 11 + b"\0", b"00000000000", b"00000001000", b"x" * 100, b"a/" * 50, b"L", b"K",
    b"x", b"g", b"S", b"1", b"2", b"3", b"5", b"7", b".", b"a/one.txt", b"\x1b[31m", b"\xed\xa0\x80",
)  # fmt: skip


def _tar_field(content: bytes, draw: Random) -> bytes:
    """Another value in a field of one of the headers."""
    starts = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    if not starts:
        return any_bytes(content, draw)
    start, (at, size) = draw.choice(starts), draw.choice(_TAR_FIELDS)
    value = draw.choice(_TAR_VALUES)[:size].ljust(size, b"\0")
    return content[: start + at] + value + content[start + at + size :]


def _zip_field(content: bytes, draw: Random) -> bytes:
    """An extreme number in a local header, in the list of contents or in the record at the end."""
    fields = {b"PK\3\4": (4, 6, 8, 10, 14, 18, 22, 26, 28), b"PK\1\2": (4, 6, 8, 10, 16, 20, 24, 28, 30, 32, 38, 42)}
    fields[b"PK\5\6"] = (4, 6, 8, 10, 12, 16, 20)
    mark = draw.choice(list(fields))
    places = [at for at in range(len(content)) if content.startswith(mark, at)]
    if not places:
        return any_bytes(content, draw)
    at = draw.choice(places) + draw.choice(fields[mark])
    return numbers_at(Number(at, draw.choice("hi")))(content, draw)


def _text_inside(content: bytes, draw: Random) -> bytes:
    """Another name of the same length in an archive."""
    names = (b"a/one.txt", b"a/b/two.nii", b"three")
    name = draw.choice(names)
    other = draw.choice(
        (b"../../one", b"/abs/one", b"a/one.txt", b"\0\0\0\0\0\0\0\0\0", b"C:/one", b"\x1b[31m", b"//////")
    )
    return content.replace(name, other[: len(name)].ljust(len(name), b"x"), draw.choice((1, -1)))


_DICTIONARIES = (0, 1, 2**12, 2**26, 2**28, 2**30, 2**32 - 1)
"""Bytes that a stream of LZMA may ask its reader to set aside."""


def _dictionary_of_zip(content: bytes, draw: Random) -> bytes:
    """Another archive, whose member is compressed with LZMA and asks for a large dictionary (APPNOTE 5.8.8)."""
    packed = samples.lzma_zip_bytes()
    return put(packed, packed.index(b"\x09\x04\x05\x00") + 5, draw.choice(_DICTIONARIES).to_bytes(4, "little"))


def _dictionary_of_xz(content: bytes, draw: Random) -> bytes:
    """Another size of the dictionary of the first block, whose header keeps a right checksum."""
    end = 12 + 4 * content[12]
    header = put(content[12:end], 4, bytes([draw.randrange(41)]))
    return content[:12] + header + zlib.crc32(header).to_bytes(4, "little") + content[end + 4 :]


def archive_formats() -> list[Format]:
    """In the order of the table."""
    tar = samples.tar_bytes()
    fields = (
        mended(_tar_field, _with_checksums),
        mended(any_bytes, _with_checksums),
        mended(_text_inside, _with_checksums),
    )
    more = {".tar.xz": (_dictionary_of_xz,)}
    packings = {
        ".tar": (bytes, bytes),
        ".tar.gz": (gunzip, gzipped),
        ".tar.xz": (lzma.decompress, partial(lzma.compress, preset=0)),
        ".tar.bz2": (bz2.decompress, partial(bz2.compress, compresslevel=1)),
    }
    tars = [
        Format(
            f"archive {suffix}", files(**{f"a{suffix.replace('.', '__')}": pack(tar)}), _read_archive,
            {f"a{suffix}": (*(inside(unpack, pack, way) for way in fields), any_bytes, *more.get(suffix, ()))},
        )
        for suffix, (unpack, pack) in packings.items()
    ]  # fmt: skip
    zipped = Format(
        "archive .zip", files(a__zip=samples.zip_bytes()), _read_archive,
        {"a.zip": (_zip_field, _zip_field, _text_inside, any_bytes, _dictionary_of_zip)},
    )  # fmt: skip
    return [zipped, *tars]
