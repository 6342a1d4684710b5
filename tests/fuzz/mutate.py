"""Seeded damage: from good bytes and a random generator to bad bytes, the same ones in every process.

A `Way` changes bytes once. Ways for headers know where numbers and lengths lie, those for text know words and numbers,
and `inside` reaches what is compressed, so that checksums do not end the reading before it begins.
"""

import gzip
import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

Way = Callable[[bytes, Random], bytes]
"""From content to changed content."""

HEAD = 512
"""Half of all places that are hit at random lie within so many bytes from the start, where headers are."""

WHOLE = {"b": 8, "h": 16, "i": 32, "q": 64}
"""Letters of struct for whole numbers -> their bits."""

FLOATS = (0.0, -0.0, -1.0, 1e-45, 1e-38, 1e10, 3e38, math.inf, -math.inf, math.nan, 1.5, 2.0**31, 2.0**63)

NUMBERS = (
    "0", "-1", "1", "2", "-0", "0.0", "1e-320", "1e308", "-1e308", "1e999", "nan", "inf", "-inf", "1_0", "0x10", "١٢",
    "255", "256", "65535", "65536", "2147483647", "2147483648", "-2147483648", "4294967296", "9223372036854775807",
    "9223372036854775808", "-9223372036854775809", "100000000000000000000", "9" * 400, "9" * 5000, "1" + "0" * 50, "",
)  # fmt: skip
"""In place of a number in a text."""

WORDS = (
    "", " ", "x", "x" * 300, "x" * 70_000, "../../../EVIL", "/EVIL", "..", ".", "~", "C:\\EVIL", "\x00", "a\x00b",
    "\x1b[31mEVIL\x1b[0m", "a\nb", "a\rb", "\ud800", "‮EVIL", "\ufeff", "é" * 200, "=cmd()", "<script>", "%s%n", "{0}",
    "null", "true", "[]", "{}", '"', "'", ",", ";", "\\", "#", "nan",
)  # fmt: skip
"""In place of a word in a text. The lone surrogate becomes bytes that are no UTF-8."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 1e-320, math.nan, math.inf, -math.inf, 2**31, 2**63,
    -(2**63) - 1, 10**30, 10**400, [], {}, [[]], [None], [0], {"": None}, {"a": 1}, "", "0", "a",
)  # fmt: skip
"""In place of any value of JSON, beside `WORDS`."""

DEPTHS = (20, 200, 2_000, 100_000)
"""How deep brackets are nested."""


# ---------------------------------------------------------------- any bytes


def any_bytes(content: bytes, draw: Random) -> bytes:
    """Flip bits, set bytes, insert, delete, repeat, exchange, cut off, append."""
    return draw.choice(_BYTES)(content, draw)


def place(content: bytes, draw: Random) -> int:
    """A place in the content, often in its head."""
    return draw.randrange(min(len(content), HEAD) if draw.random() < 0.5 else len(content)) if content else 0


def _flip(content: bytes, draw: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 8)) if content else 0):
        changed[place(content, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _set(content: bytes, draw: Random) -> bytes:
    at, length = place(content, draw), draw.choice((1, 1, 2, 4, 8))
    return content[:at] + bytes([draw.choice((0, 1, 0x7F, 0x80, 0xFF))]) * length + content[at + length :]


def _insert(content: bytes, draw: Random) -> bytes:
    at = place(content, draw)
    return content[:at] + draw.randbytes(draw.choice((1, 1, 2, 4, 64))) + content[at:]


def _delete(content: bytes, draw: Random) -> bytes:
    at = place(content, draw)
    return content[:at] + content[at + draw.choice((1, 1, 2, 4, 64, 512)) :]


def _cut(content: bytes, draw: Random) -> bytes:
    return content[: place(content, draw)]


def _repeat(content: bytes, draw: Random) -> bytes:
    at, length = place(content, draw), draw.choice((1, 4, 16, 64, 512))
    return content[:at] + content[at : at + length] * draw.choice((2, 2, 3, 64)) + content[at + length :]


def _exchange(content: bytes, draw: Random) -> bytes:
    one, other = sorted((place(content, draw), place(content, draw)))
    length = min(draw.choice((1, 4, 16, 64)), other - one)
    first, second = content[one : one + length], content[other : other + length]
    return content[:one] + second + content[one + length : other] + first + content[other + length :]


def _append(content: bytes, draw: Random) -> bytes:
    return content + draw.choice((draw.randbytes(draw.choice((1, 3, 4096))), b"\0" * draw.choice((1, 4096)), content))


def _number(content: bytes, draw: Random) -> bytes:
    kind = draw.choice("bhiqfd")
    return put(content, place(content, draw), extreme(kind, draw.choice("<>"), draw))


_BYTES = (_flip, _flip, _set, _insert, _delete, _cut, _repeat, _exchange, _append, _number)


# ---------------------------------------------------------------- numbers in headers


@dataclass(frozen=True)
class Number:
    """A number in a header: where it lies, its letter of struct, and the order of its bytes."""

    at: int
    kind: str
    order: str = "<"


def numbers_at(*numbers: Number) -> Way:
    """Extremes in place of one to three of these numbers."""

    def way(content: bytes, draw: Random) -> bytes:
        for number in draw.sample(numbers, draw.randint(1, min(3, len(numbers)))):
            content = put(content, number.at, extreme(number.kind, number.order, draw))
        return content

    return way


def row(at: int, count: int, kind: str, order: str = "<") -> tuple[Number, ...]:
    """Numbers one after another."""
    return tuple(Number(at + index * struct.calcsize(kind), kind, order) for index in range(count))


def extreme(kind: str, order: str, draw: Random) -> bytes:
    """A number that a header seldom has."""
    if kind in "fd":
        return struct.pack(order + kind, draw.choice(FLOATS))
    top = 2 ** (WHOLE[kind.lower()] - 1)
    value = draw.choice((0, 1, 2, 3, 5, 7, -1, -2, -top, top - 1, top // 2, draw.randrange(top), draw.randrange(300)))
    return (value % (2 * top)).to_bytes(struct.calcsize(kind), "little" if order == "<" else "big")


def put(content: bytes, at: int, value: bytes) -> bytes:
    """The content with other bytes at a place."""
    return content[:at] + value + content[at + len(value) :]


# ---------------------------------------------------------------- text


def any_text(content: bytes, draw: Random) -> bytes:
    """Numbers and words become extremes, lines and brackets are repeated, dropped, exchanged and nested."""
    text = content.decode("utf-8", "surrogateescape")
    changed = draw.choice(_TEXTS)(text, draw)
    return changed.encode("utf-8", "surrogatepass")


def head_of_text(end: bytes) -> Way:
    """`any_text` for a header that is text and ends with these bytes; the rest stays."""

    def way(content: bytes, draw: Random) -> bytes:
        head, mark, rest = content.partition(end)
        return any_text(head + mark, draw) + rest

    return way


def _replace(text: str, pattern: str, choices: Sequence[str], draw: Random) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text + draw.choice(choices)
    one = draw.choice(found)
    return text[: one.start()] + draw.choice(choices) + text[one.end() :]


def _number_in_text(text: str, draw: Random) -> str:
    return _replace(text, r"-?\d+(?:\.\d+)?(?:e-?\d+)?", NUMBERS, draw)


def _word_in_text(text: str, draw: Random) -> str:
    return _replace(text, r"[^\W\d]\w*", WORDS, draw)


def _value_in_text(text: str, draw: Random) -> str:
    return _replace(text, r"(?<=[=:,])[^\n,]*", (*WORDS, *NUMBERS), draw)


def _mark_in_text(text: str, draw: Random) -> str:
    return _replace(text, r"[^\w\s]", ("", "\n", ",", '"', "[", "]", "{", "=", "\x00", "\\"), draw)


def _lines(text: str, draw: Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.randrange(5)
    if kind == 0:
        del lines[one]
    elif kind == 1:
        lines.insert(other, lines[one])
    elif kind == 2:
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == 3:
        lines[one] *= draw.choice((2, 100, 3000))
    else:
        lines[one] = lines[one].rstrip("\r\n") + draw.choice(("\r\n", "\r", "", "\x0b", "\u2028"))
    return "".join(lines)


def _nested(text: str, draw: Random) -> str:
    depth, opening = draw.choice(DEPTHS), draw.choice(("[", '{"a":', "a.", "(", "[["))
    closing = {"[": "]", "[[": "]]", '{"a":': "}"}.get(opening, "")
    middle = opening * depth + ("1" + closing * depth if draw.random() < 0.7 else "")
    return _replace(text, r'"[^"\n]*"|\d+', (middle,), draw) if draw.random() < 0.7 else middle


def _odd_start(text: str, draw: Random) -> str:
    return draw.choice(("\ufeff", "\x00", "\n", "#", "\x1a", "﻿﻿")) + text


_TEXTS = (_number_in_text, _number_in_text, _word_in_text, _value_in_text, _mark_in_text, _lines, _nested, _odd_start)


# ---------------------------------------------------------------- JSON


def any_json(content: bytes, draw: Random) -> bytes:
    """Another value, type or key somewhere in the tree; what is written is JSON, perhaps with NaN in it."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return any_bytes(content, draw)
    parent: dict[Any, Any] = {"whole": tree}
    spots = list(_spots(parent))
    for _ in range(draw.choice((1, 1, 1, 2))):
        holder, key = draw.choice(spots)
        if key in holder if isinstance(holder, dict) else key < len(holder):
            _change(holder, key, draw)
    return json.dumps(parent.get("whole")).encode()


def _spots(holder: Any) -> "Sequence[tuple[Any, Any]]":
    """Every place of a tree: what holds it, and its key or index."""
    found: list[tuple[Any, Any]] = []
    waiting = [holder]
    while waiting:
        one = waiting.pop()
        for key in list(one) if isinstance(one, dict) else range(len(one)):
            found.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    return found


def _change(holder: Any, key: Any, draw: Random) -> None:
    kind = draw.randrange(10)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = draw.choice(([holder[key]], {"a": holder[key]}, [holder[key]] * draw.choice((2, 5, 500))))
    elif kind == 2 and isinstance(holder, dict):
        holder[draw.choice(WORDS)] = holder.pop(key) if draw.random() < 0.7 else holder[key]
    elif kind == 3:
        holder[key] = _deep(draw.choice((20, 200, 900)))
    elif kind == 4:
        holder[key] = str(holder[key])
    elif kind == 5 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * draw.choice((-1, 0.5, 2, 1000, 10**9, 0))
    elif kind == 6:
        holder[key] = draw.choice(WORDS)
    else:
        holder[key] = draw.choice(VALUES)


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# ---------------------------------------------------------------- what is inside something


def inside(unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes], way: Way) -> Way:
    """A way for the content of a compressed file; it is packed again, so that its checksum is right."""
    return lambda content, draw: pack(way(unpack(content), draw))


def gunzip(content: bytes) -> bytes:
    """The content of a gzip file."""
    return gzip.decompress(content)


def gzipped(content: bytes) -> bytes:
    """A gzip file that is the same in every run."""
    return gzip.compress(content, compresslevel=1, mtime=0)


def mended(way: Way, mend: Callable[[bytes], bytes]) -> Way:
    """A way after which checksums or lengths are set right."""
    return lambda content, draw: mend(way(content, draw))


JSON_WAYS = (any_json, any_json, any_json, any_text, any_bytes)
TEXT_WAYS = (any_text, any_text, any_text, any_bytes)
"""For files that are JSON, and for other text."""
