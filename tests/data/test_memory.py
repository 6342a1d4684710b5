"""Memory that files take, however small they are on disk: a stated number of bytes per voxel, held by the system.

The bound is what docs/data.md states. A process that wants more address space than it gets ends with a MemoryError.
"""

import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.case import ImageFile
from lacunet.data.volume import MOST_VOXELS, read_image
from lacunet.errors import DataError
from small import ROOT

BYTES_PER_VOXEL = 9
"""What `lacunet check` may take for a voxel of the largest file, scan or reference, of any type and format."""

BESIDE = 2**25
"""For pieces, headers and Python itself."""

SIDE = 256

CHECK = """
import resource, sys
from pathlib import Path
from lacunet.data.check import check
from lacunet.intake.read.plain_copy import clean_copy
from lacunet.task import GLIOMA

pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for case in check(Path(sys.argv[1]), GLIOMA, "brats2023").cases:
    print(*case.problems, sep=chr(10))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")


def said_by_check(folder: Path, most: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(folder), str(most)],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def labels_of(kind: str) -> np.ndarray:
    voxels = np.zeros((SIDE, SIDE, SIDE), kind, order="F")
    voxels[90:120, 90:120, 90:120] = 1
    voxels[100, 100, 100] = 3
    return voxels


def voxels_of(kind: str) -> np.ndarray:
    voxels = np.zeros((SIDE, SIDE, SIDE), kind, order="F")
    voxels[64:192, 64:192, 64:192] = np.arange(100, 228)[:, None, None]
    return voxels


def header_of(kind: str, shape: tuple[int, int, int] = (SIDE, SIDE, SIDE)) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(kind)
    header["dim"][:4] = 3, *shape
    header["pixdim"][1:4] = 0.7
    header["vox_offset"], header["sform_code"], header["magic"] = 352, 1, b"n+1"
    header["srow_x"][0] = header["srow_y"][1] = header["srow_z"][2] = 0.7
    return bytes(header.binaryblock) + b"\0" * 4


def nifti(kind: str, voxels: Callable[[str], np.ndarray] = voxels_of) -> bytes:
    return gzip.compress(header_of(kind) + voxels(kind).tobytes(order="F"), 1)


def scaled(kind: str) -> bytes:
    content = bytearray(header_of(kind))
    content[112:120] = np.array([1.5, 0.0], "<f4").tobytes()
    return gzip.compress(bytes(content) + voxels_of(kind).tobytes(order="F"), 1)


def metaimage(kind: str) -> bytes:
    name = {"f8": "MET_DOUBLE", "u1": "MET_UCHAR"}[kind]
    header = (
        f"NDims = 3\nDimSize = {SIDE} {SIDE} {SIDE}\nElementType = {name}\nElementSpacing = 0.7 0.7 0.7\n"
        "TransformMatrix = -1 0 0 0 -1 0 0 0 1\nCompressedData = True\nElementDataFile = LOCAL\n"
    )
    return header.encode() + zlib.compress(voxels_of(kind).tobytes(order="F"), 1)


@pytest.mark.parametrize(
    ("name", "write", "kind"),
    [
        ("p_t1c.nii.gz", nifti, "f8"),
        ("p_t1c.nii.gz", scaled, "u1"),
        ("p_t1c.mha", metaimage, "f8"),
    ],
)
def test_a_scan_and_its_reference_take_what_is_stated(
    tmp_path: Path, name: str, write: Callable[[str], bytes], kind: str
) -> None:
    (tmp_path / name).write_bytes(write(kind))
    (tmp_path / "p_seg.nii.gz").write_bytes(nifti(kind, labels_of))
    assert (tmp_path / name).stat().st_size < 2**21
    assert said_by_check(tmp_path, BYTES_PER_VOXEL * SIDE**3 + BESIDE) == ""


BOMBS = {
    "sizes that the file cannot hold": header_of("f8", (5000, 5000, 5000)) + b"\0" * 2**20,
    "a volume above the limit": header_of("u1", (1024, 1024, 129)) + b"\0" * (1024 * 1024 * 129),
    "voxels, then many zeros": header_of("u1", (20, 20, 20)) + b"\0" * 2**28,
    "zeros before the voxels": header_of("u1", (20, 20, 20)) + b"\0" * 2**28,
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_small_file_that_grows_is_refused_without_taking_memory(tmp_path: Path, what: str) -> None:
    content = bytearray(BOMBS[what])
    if what == "zeros before the voxels":
        content[108:112] = np.array([float(2**28)], "<f4").tobytes()
    (tmp_path / "p_t1c.nii.gz").write_bytes(gzip.compress(content, 1))
    del content
    assert said_by_check(tmp_path, BESIDE)


def test_the_largest_head_is_read_and_the_next_larger_is_not(tmp_path: Path) -> None:
    assert MOST_VOXELS == 512**3
    path = tmp_path / "a.nii"
    path.write_bytes(header_of("u1", (512, 512, 513)))
    with path.open("r+b") as file:
        file.truncate(352 + 512 * 512 * 513)
    with pytest.raises(DataError, match="more than 134217728"):
        read_image(ImageFile(path))
