"""DICOM files that claim or grow to more than any scan: counted with a reason, in little memory and time.

Each is read by a process of its own; on Linux, the system holds it to a stated number of bytes.
"""

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from small import ROOT

pytest.importorskip("pydicom", reason='needs the extra "dicom"')


MEMORY = 2**30
"""What docs/import.md states for the header of one file."""

SECONDS = 30.0
"""Of the processor, for the most expensive header that is within the limits."""

READ = """
import json, resource, sys, time
from pathlib import Path
from lacunet.intake.read.dataset import pixels_of
from lacunet.intake.read.study import read_pile
most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
pile = read_pile([Path(sys.argv[1])])
slices = sum(len(one.slices) for one in pile.headers)
print(json.dumps([slices, list(pile.damaged), len(pixels_of(Path(sys.argv[1]))), time.process_time()]))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")

EXPLICIT, DEFLATED, JPEG = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.70"
UNDEFINED = 2**32 - 1
LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT")


def element(tag: int, kind: bytes, value: bytes, claimed: int | None = None) -> bytes:
    """An element in explicit little endian; `claimed` is the length that it states instead of its own."""
    length = len(value) if claimed is None else claimed
    start = struct.pack("<2H2s", tag >> 16, tag & 0xFFFF, kind)
    return start + (struct.pack("<2xI", length) if kind in LONG else struct.pack("<H", length)) + value


def text(tag: int, kind: bytes, value: str) -> bytes:
    return element(tag, kind, value.encode() + b" " * (len(value) % 2))


def items(*contents: bytes) -> bytes:
    return b"".join(struct.pack("<2HI", 0xFFFE, 0xE000, len(content)) + content for content in contents)


HEAD = [text(0x00080016, b"UI", "1.2.840.10008.5.1.4.1.1.4"), text(0x00080018, b"UI", "1.2.3.4"),
        text(0x00080060, b"CS", "MR")]  # fmt: skip
IDENTITY = [text(0x0020000D, b"UI", "1.2.3"), text(0x0020000E, b"UI", "1.2.3.5")]
ROWS, COLUMNS = element(0x00280010, b"US", b"\x10\0"), element(0x00280011, b"US", b"\x10\0")
BITS, PIXELS = element(0x00280100, b"US", b"\x10\0"), element(0x7FE00010, b"OW", bytes(512))


def file(*more: bytes, syntax: bytes = EXPLICIT, rows: bytes = ROWS, pixels: bytes = PIXELS) -> bytes:
    """A slice of 16 x 16, with more elements."""
    order = sorted([*HEAD, *IDENTITY, rows, COLUMNS, BITS, *more], key=lambda one: struct.unpack("<2H", one[:4]))
    content = b"".join([*order, pixels])
    if syntax == DEFLATED:
        machine = zlib.compressobj(9, wbits=-15)
        content = machine.compress(content) + machine.flush()
    meta = element(0x00020010, b"UI", syntax + b"\0" * (len(syntax) % 2))
    return bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta + content


def frames(count: str) -> bytes:
    return text(0x00280008, b"IS", count)


def nested(depth: int) -> bytes:
    """Sequences of undefined length inside each other."""
    start = element(0x00081140, b"SQ", struct.pack("<2HI", 0xFFFE, 0xE000, UNDEFINED), UNDEFINED)
    return start * depth


PER_FRAME = 0x52009230
EMPTY = struct.pack("<2HI", 0xFFFE, 0xE000, 0)
MANY = b"".join(element(0x00110000 + 0x20000 * (k >> 16) + (k & 0xFFFF), b"LO", b"") for k in range(2**21 - 2**8))

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "deflated zeros": (lambda: file(syntax=DEFLATED, pixels=element(0x7FE00010, b"OW", bytes(2**28))), "grows to so"),
    "a deflated file that is cut": (lambda: file(syntax=DEFLATED)[:-40], "its deflated content has no end"),
    "deflated nonsense": (lambda: file(syntax=DEFLATED).partition(DEFLATED)[0] + DEFLATED + b"\x07" * 80, "damaged"),
    "deflated, and short of pixels": (lambda: file(syntax=DEFLATED, pixels=PIXELS[:-20]), "shorter than its header"),
    "200 million frames": (lambda: file(frames("200000000")), "states a NumberOfFrames that is none, or more"),
    "10^12 frames": (lambda: file(frames("1000000000000")), "damaged"),
    "frames by an exponent": (lambda: file(frames("1e300")), "damaged"),
    "frames below zero": (lambda: file(frames("-5")), "states a NumberOfFrames that is none"),
    "more frames than pixels": (lambda: file(frames("60000")), "shorter than its header says"),
    "more compressed frames than bytes": (
        lambda: file(frames("60000"), syntax=JPEG, pixels=element(0x7FE00010, b"OB", EMPTY, UNDEFINED)), "too short",
    ),
    "other frames than described": (
        lambda: file(frames("7"), element(PER_FRAME, b"SQ", items(b"", b""))), "states 7 frames and describes 2",
    ),
    "65535 rows": (lambda: file(rows=element(0x00280010, b"US", b"\xff\xff")), "shorter than its header says"),
    "rows of one byte": (lambda: file(rows=element(0x00280010, b"US", b"\1")), "damaged"),
    "rows of another kind": (lambda: file(rows=text(0x00280010, b"DS", "-1e9")), "damaged"),
    "bits below zero": (lambda: file(text(0x00280101, b"IS", "1"), text(0x00280100, b"IS", "-16")), "BitsAllocated"),
    "nested without an end": (lambda: file(nested(20_000)), "damaged"),
    "empty items": (lambda: file(element(PER_FRAME, b"SQ", EMPTY * 2**20)), "more than 65536 items"),
    "deflated empty items": (
        lambda: file(element(PER_FRAME, b"SQ", EMPTY * 2**20), syntax=DEFLATED), "more than 65536 items",
    ),
    "empty items without a length": (
        lambda: file(element(PER_FRAME, b"SQ", EMPTY * 2**20, UNDEFINED)), "more than 65536 items",
    ),
    "a header of 32 MiB": (lambda: file(element(PER_FRAME, b"SQ", items(MANY, MANY))), "header has more than 16 MiB"),
    "a value of 4 GiB": (lambda: file(element(0x00100010, b"UT", b"A", UNDEFINED - 1)), "damaged"),
    "a value of many numbers": (
        lambda: file(element(0x00280030, b"UN", b"1\\" * 2**20), syntax=DEFLATED), "a value of its header has more",
    ),
    "pixels of 4 GiB": (lambda: file(pixels=element(0x7FE00010, b"OW", b"1", UNDEFINED - 1)), "shorter than its"),
}  # fmt: skip


def read(path: Path) -> tuple[int, list[str], int]:
    """Number of slices, reasons against files, and bytes of pixels; within the memory and the time."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(MEMORY)], capture_output=True, text=True, check=False, timeout=300,
        env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    slices, reasons, pixels, seconds = json.loads(done.stdout)
    assert seconds < SECONDS
    return slices, reasons, pixels


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_beyond_the_limits_is_counted_with_its_reason(tmp_path: Path, what: str) -> None:
    make, words = HOSTILE[what]
    (tmp_path / "a.dcm").write_bytes(make())
    slices, (reason,), _ = read(tmp_path / "a.dcm")
    assert slices == 0
    assert words in reason


SOUND: dict[str, tuple[Callable[[], bytes], int]] = {
    "plain": (lambda: file(), 1),
    "deflated": (lambda: file(syntax=DEFLATED), 1),
    "as many frames as pixels": (lambda: file(frames("3"), pixels=element(0x7FE00010, b"OW", bytes(1536))), 3),
    "the most items": (lambda: file(element(0x00400555, b"SQ", EMPTY * 2**16)), 1),
    "the most elements": (lambda: file(element(PER_FRAME, b"SQ", items(MANY))), 1),
    "a private value of 64 MiB": (lambda: file(element(0x00290010, b"OB", bytes(2**26))), 1),
}  # fmt: skip


@pytest.mark.parametrize("what", SOUND)
def test_a_file_at_the_limits_is_read_within_the_memory(tmp_path: Path, what: str) -> None:
    make, count = SOUND[what]
    (tmp_path / "a.dcm").write_bytes(make())
    assert read(tmp_path / "a.dcm") == (count, [], 512 * count)
