"""Archives made to keep a reader busy or to fill its memory: each is answered in seconds and in little memory.

They are read by a process of their own, with a deadline and, on Linux, a limit on memory held by the system.
"""

import binascii
import gzip
import io
import lzma
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from small import ROOT

SECONDS = 10.0
"""Of the processor, so that a busy machine makes no difference."""

MEMORY = 2**28
"""Of address space, beyond what Python itself takes."""

READ = """
import sys, time
from pathlib import Path
from lacunet.errors import LacunetError
from lacunet.intake.read.archive import unpacked
if sys.platform == "linux":
    import resource
    most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
began = time.process_time()
try:
    with unpacked(Path(sys.argv[1])) as contents:
        print(len(contents.files), "files", *map(str, contents.passed_over.items()))
except LacunetError as error:
    print(error)
print(time.process_time() - began)
"""


def said_of(path: Path, work: Path) -> str:
    """What reading an archive said, within the deadline and the memory."""
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(MEMORY)], capture_output=True, text=True, check=False, timeout=120,
        env={"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(work)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said, seconds = done.stdout.splitlines()
    assert float(seconds) < SECONDS
    assert list(work.iterdir()) == []
    return said


# ---------------------------------------------------------------- zip


def zipped(*members: tuple[str, bytes]) -> bytes:
    bodies, entries = io.BytesIO(), []
    for name, data in members:
        entries.append(entry(name.encode(), data, len(deflated(data)), len(data), bodies.tell()))
        bodies.write(body(name.encode(), data, deflated(data)))
    return listed(bodies.getvalue(), entries)


def listed(bodies: bytes, entries: list[bytes]) -> bytes:
    """A .zip of these bodies, and this list of members."""
    directory = b"".join(entries)
    return bodies + directory + struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, len(entries) % 2**16, len(entries) % 2**16, len(directory), len(bodies), 0
    )  # fmt: skip


def entry(name: bytes, data: bytes, packed: int, size: int, offset: int, method: int = 8) -> bytes:
    return struct.pack(
        "<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, method, 0, 33, zlib.crc32(data), packed, size, len(name), 0, 0,
        0, 0, 0, offset,
    ) + name  # fmt: skip


def body(name: bytes, data: bytes, packed: bytes, method: int = 8) -> bytes:
    return struct.pack(
        "<4s2B4HL2L2H", b"PK\3\4", 20, 0, 0, method, 0, 33, zlib.crc32(data), len(packed), len(data), len(name), 0
    ) + name + packed  # fmt: skip


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, wbits=-15)
    return machine.compress(data) + machine.flush()


def nameless_zip() -> bytes:
    data = b"a scan"
    return listed(body(b"", data, deflated(data)), [entry(b"", data, len(deflated(data)), len(data), 0)])


def shared_zip() -> bytes:
    """Two hundred members with one body."""
    data = bytes(2**18)
    one = body(b"a", data, deflated(data))
    return listed(one, [entry(b"a", data, len(deflated(data)), len(data), 0)] * 200)


def quoted_zip() -> bytes:
    """Each member quotes the header of the next one as stored data of its own, so that they end at one body."""
    kernel = bytes(2**16)
    bodies, entries = body(b"0000", kernel, deflated(kernel)), []
    sizes = [(b"0000", kernel, deflated(kernel))]
    for number in range(1, 40):
        name, data, packed = f"{number:04d}".encode(), *sizes[-1][1:]
        head = bodies[: 30 + 4]
        data, packed = head + data, b"\0" + struct.pack("<2H", len(head), len(head) ^ 0xFFFF) + head + packed
        bodies = body(name, data, packed)
        sizes.append((name, data, packed))
    for name, data, packed in sizes:
        entries.append(entry(name, data, len(packed), len(data), len(bodies) - len(packed) - 34))
    return listed(bodies, entries)


def claiming_zip(at: int, value: int) -> bytes:
    """A field of the end of the list is changed."""
    content = bytearray(zipped(("a", b"1")))
    end = content.index(b"PK\5\6")
    content[end + at : end + at + 4] = struct.pack("<I", value)
    return bytes(content)


def sized_zip(packed: int, size: int) -> bytes:
    data = b"0123456789" * 50
    one = body(b"a", data, deflated(data))
    return listed(one, [entry(b"a", data, packed or len(deflated(data)), size or len(data), 0)])


def crowded_zip() -> bytes:
    """More members than are allowed; all of them empty."""
    one = body(b"a", b"", b"", 0)
    return listed(one, [entry(b"a", b"", 0, 0, 0, 0)] * 300_000)


ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "many of one name": (lambda: zipped(*[("a.dcm", b"1")] * 3000), "3000 files"),
    "many of one name, and its numbers": (
        lambda: zipped(*[(f"{k}-a", b"1") for k in range(2, 1000)], *[("A", b"1")] * 1000), "1998 files",
    ),
    "very long names": (lambda: zipped(*[(f"{k}{'x' * 60_000}", b"1") for k in range(300)]), "300 files"),
    "a file where a folder is": (lambda: zipped(("a", b"1"), ("a/b", b"1"), ("A/c", b"1"), ("a", b"2")), "4 files"),
    "folders only": (lambda: zipped(("a/", b""), ("b\\", b""), ("b\\c", b"1")), "1 files"),
    "no name": (nameless_zip, "0 files ('files without a name in the archive', 1)"),
    "one body for all": (shared_zip, "members overlap each other"),
    "quoted bodies": (quoted_zip, "members overlap each other"),
    "a list of 2 GiB": (lambda: claiming_zip(12, 2**31), "truncated, damaged or no archive"),
    "a list elsewhere": (lambda: claiming_zip(16, 2**31), "truncated, damaged or no archive"),
    "compressed size too large": (lambda: sized_zip(2**31, 0), "members overlap each other"),
    "compressed size too small": (lambda: sized_zip(5, 0), "truncated, damaged or no archive"),
    "size too large": (lambda: sized_zip(0, 2**31), "truncated, damaged or no archive"),
    "size too small": (lambda: sized_zip(0, 5), "truncated, damaged or no archive"),
    "too many members": (crowded_zip, "holds more than 200000 files"),
    "a method with a dictionary of any size": (
        lambda: listed(body(b"a", b"1", b"\x09\x14\x05\0]\xff\xff\xff\xff", 14), [entry(b"a", b"1", 9, 1, 0, 14)]),
        "an unknown compression",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ZIPS)
def test_a_hostile_zip_is_answered_in_seconds(tmp_path: Path, what: str) -> None:
    make, words = ZIPS[what]
    (tmp_path / "a.zip").write_bytes(make())
    assert words in said_of(tmp_path / "a.zip", tmp_path / "work")


# ---------------------------------------------------------------- tar


END = bytes(1024)


def header(name: str, size: int, kind: bytes = b"0", link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def filled(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def tarred(*members: tuple[str, bytes]) -> bytes:
    return b"".join(header(name, len(data)) + filled(data) for name, data in members) + END


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n"
    length = next(size for size in range(len(text), len(text) + 10) if len(f"{size}{text}") == size)
    return f"{length}{text}".encode()


def extended(*records: bytes, claimed: int | None = None, kind: bytes = b"x") -> bytes:
    content = b"".join(records)
    return header("x", len(content) if claimed is None else claimed, kind) + filled(content)


def changed_at_the_end(content: bytes) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[-6] ^= 1
    return bytes(packed)


def thirsty_xz(content: bytes) -> bytes:
    """The header of the block asks for a dictionary of 1.5 GiB."""
    packed = bytearray(lzma.compress(content, preset=0))
    length = 4 * packed[12] + 4
    packed[12 + 4] = 39
    packed[12 + length - 4 : 12 + length] = struct.pack("<I", binascii.crc32(packed[12 : 12 + length - 4]))
    return bytes(packed)


SCAN = ("a.dcm", b"1" * 600)

TARS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "many of one name": (".tar.gz", lambda: gzip.compress(tarred(*[("a.dcm", b"1")] * 3000)), "3000 files"),
    "no name": (".tar", lambda: tarred(("", b"1"), SCAN), "1 files ('files without a name in the archive', 1)"),
    "a size below zero": (".tar", lambda: header("a", -512) + END, "truncated, damaged or no archive"),
    "an extended size below zero": (
        ".tar", lambda: extended(record("size", "-512")) + tarred(SCAN), "truncated, damaged or no archive",
    ),
    "an extended size that is true": (
        ".tar", lambda: extended(record("size", "600"), record("path", "b.dcm")) + header("a", 0) + filled(b"1" * 600)
        + END, "1 files",
    ),
    "a size of terabytes": (".tar", lambda: header("a", 2**45) + END, "truncated, damaged or no archive"),
    "an extended header of gigabytes": (
        ".tar.gz", lambda: gzip.compress(extended(claimed=2**33) + bytes(2**26)), "truncated, damaged or no archive",
    ),
    "a long name of gigabytes": (
        ".tar.gz", lambda: gzip.compress(extended(claimed=2**33, kind=b"L") + bytes(2**26)),
        "truncated, damaged or no archive",
    ),
    "records without an end": (
        ".tar", lambda: extended(b"0 a=b\n" * 9) + tarred(SCAN), "truncated, damaged or no archive",
    ),
    "a record of any length": (
        ".tar", lambda: extended(b"9" * 400) + tarred(SCAN), "truncated, damaged or no archive",
    ),
    "holes": (".tar", lambda: header("a", 0, b"S") + END, "sparse"),
    "holes by an extended header": (
        ".tar", lambda: extended(record("GNU.sparse.map", "0,1,0,1")) + tarred(SCAN), "sparse",
    ),
    "zeros without an end": (".tar.gz", lambda: gzip.compress(header("a", 2**33) + bytes(2**28), 1), "zip bomb"),
    "zeros after the end": (".tar.gz", lambda: gzip.compress(tarred(SCAN) + bytes(2**28), 1), "zip bomb"),
    "a checksum that is wrong": (".tar.gz", lambda: changed_at_the_end(tarred(SCAN)), "truncated, damaged"),
    "no end": (".tar", lambda: header("a", 0), "truncated, damaged or no archive"),
    "nothing": (".tar", lambda: b"", "truncated, damaged or no archive"),
    "a dictionary of 1.5 GiB": (".tar.xz", lambda: thirsty_xz(tarred(SCAN)), "truncated, damaged or no archive"),
    "two streams": (
        ".tar.xz", lambda: lzma.compress(tarred(SCAN)[:700]) + bytes(8) + lzma.compress(tarred(SCAN)[700:]) + bytes(4),
        "1 files",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TARS)
def test_a_hostile_tar_is_answered_in_seconds(tmp_path: Path, what: str) -> None:
    end, make, words = TARS[what]
    (tmp_path / f"a{end}").write_bytes(make())
    assert words in said_of(tmp_path / f"a{end}", tmp_path / "work")


def test_tars_of_every_make_are_read(tmp_path: Path) -> None:
    """Long names, names in other letters and links, as the formats write them."""
    names = ["short.dcm", f"{'folder/' * 20}{'long' * 20}.dcm", "Ölfüß/Ł.dcm"]
    for make in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        path = tmp_path / f"{make}.tar.bz2"
        with tarfile.open(path, "w:bz2", format=make) as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = 600
                archive.addfile(info, io.BytesIO(b"1" * 600))
        assert said_of(path, tmp_path / f"work-{make}") == "3 files"
