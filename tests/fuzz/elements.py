"""Damage to the elements of a DICOM file: tags, types, lengths and values."""

import re
from dataclasses import dataclass
from random import Random

from fuzz.mutate import Way, any_bytes, extreme, put

LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF")
SHORT = (
    b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST",
    b"TM", b"UI", b"UL", b"US",
)  # fmt: skip
DICOM_TEXTS = (
    b"", b" ", b"0", b"-1", b"nan", b"inf", b"1e400", b"-1e308", b"99999999999999999999", b"1\\2", b"\\\\\\\\",
    b"\0\0", b"x" * 64, b"x" * 65534, b"\x1b$B\x1b(B", b"\xff\xfe", b"1e-320\\1e-320", b"0\\0\\0\\0\\0\\0", b"1_0",
    b"DERIVED\\SECONDARY\\MPR", b"200000000", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.50", b"ISO 2022 IR 87",
)  # fmt: skip


@dataclass(frozen=True)
class Element:
    """An element of a DICOM file: where its tag begins, where its length stands, and its value."""

    start: int
    length_at: int
    length_size: int
    value: int
    end: int


def elements(content: bytes, implicit: bool) -> list[Element]:
    """The elements of a file, also within sequences; few that are none."""
    return _implicit(content) if implicit else _explicit(content)


def _explicit(content: bytes) -> list[Element]:
    found = []
    for match in re.finditer(rb"(?s)[\x02-\x60]\x00..(?:" + b"|".join((*LONG, *SHORT)) + rb")", content):
        long = content[match.end() - 2 : match.end()] in LONG
        at, size = (match.end() + 2, 4) if long else (match.end(), 2)
        length = int.from_bytes(content[at : at + size], "little")
        found.append(Element(match.start(), at, size, at + size, min(at + size + length, len(content))))
    return found


def _implicit(content: bytes) -> list[Element]:
    """Those at the top, after the explicit ones of the file's meta information."""
    first = re.search(rb"\x08\x00[\x05\x08]\x00", content)
    at = first.start() if first else -1
    found = _explicit(content[:at]) if first else []
    while 0 <= at < len(content) - 8:
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        end = min(at + 8 + length, len(content))
        found.append(Element(at, at + 4, 4, at + 8, end))
        at = end
    return found


def any_element(implicit: bool) -> Way:
    """Another value, length, type or tag of an element; elements dropped, repeated and exchanged."""

    def way(content: bytes, draw: Random) -> bytes:
        found = elements(content, implicit)
        return _change_element(content, draw.choice(found), draw) if found else any_bytes(content, draw)

    return way


def _change_element(content: bytes, one: Element, draw: Random) -> bytes:
    kind = draw.randrange(7)
    if kind == 0:
        return put(content, one.length_at, extreme({2: "h", 4: "i"}[one.length_size], "<", draw))
    if kind == 1:
        return content[: one.start] + content[one.end :]
    if kind == 2:
        again = content[one.start : one.end]
        return content[: one.end] + again * draw.choice((1, 2, 200)) + content[one.end :]
    if kind == 3:
        return put(content, one.start + 4, draw.choice((*LONG, *SHORT, b"ZZ", b"\0\0")))
    if kind == 4:
        return put(content, one.start, draw.randbytes(draw.choice((1, 2, 4))))
    length = one.end - one.value
    if kind == 5 and length in (2, 4, 8):
        return put(content, one.value, extreme({2: "h", 4: draw.choice("if"), 8: draw.choice("qd")}[length], "<", draw))
    value = draw.choice(DICOM_TEXTS)
    value += b" " * (len(value) % 2)
    top = 2 ** (8 * one.length_size) - 2
    written = min(len(value), top).to_bytes(one.length_size, "little")
    between = content[one.length_at + one.length_size : one.value]
    return content[: one.length_at] + written + between + value + content[one.end :]
