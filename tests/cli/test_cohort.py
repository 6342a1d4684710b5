"""A cohort of ten cases of which five are broken, each in another way: five masks, five problems by name, status 1."""

import gzip
import json
import struct
from pathlib import Path

import pytest

from calibrations_made import tiny_model
from phantoms_made import write_phantoms
from typed import Run


def with_header(scan: Path, offset: int, form: str, value: int) -> None:
    """Change a number of the NIfTI header."""
    content = bytearray(gzip.decompress(scan.read_bytes()))
    struct.pack_into(form, content, offset, value)
    scan.write_bytes(gzip.compress(bytes(content)))


def of_an_unknown_datatype(scan: Path) -> None:
    with_header(scan, 70, "<h", 999)


def of_two_dimensions(scan: Path) -> None:
    with_header(scan, 40, "<h", 2)


def of_more_voxels_than_a_memory_holds(scan: Path) -> None:
    for axis in range(3):
        with_header(scan, 42 + 2 * axis, "<h", 32767)


def cut(scan: Path) -> None:
    scan.write_bytes(scan.read_bytes()[:-2000])


def of_another_file(scan: Path) -> None:
    header = (
        b"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = /etc/hostname\n"
    )
    scan.unlink()
    (scan.parent / scan.name.replace(".nii.gz", ".mha")).write_bytes(header)


BROKEN = {
    of_an_unknown_datatype: "voxels of type 999, which NIfTI does not know",
    of_two_dimensions: "a scan has three",
    of_more_voxels_than_a_memory_holds: "more than the file holds",
    cut: "truncated or damaged",
    of_another_file: "its voxels lie in another file, which is not read",
}


@pytest.mark.parametrize("resumed", [False, True], ids=["at once", "resumed"])
def test_five_masks_five_named_problems_and_status_1(lacunet: Run, tmp_path: Path, resumed: bool) -> None:
    model = tiny_model(tmp_path / "tiny", spacing=8.0)
    names = [path.name for path in write_phantoms(tmp_path / "cohort", 10, seed=1, spacing=8.0)]
    broken = dict(zip(names[::2], BROKEN, strict=True))
    for name, damage in broken.items():
        damage(sorted((tmp_path / "cohort" / name).glob("*t1c*.nii.gz"))[0])
    words = ["segment", tmp_path / "cohort", "-o", tmp_path / "out", "-m", model, "--device", "cpu"]
    if resumed:
        lacunet(*words)
        words.append("--resume")
    status, out, err = lacunet(*words)
    assert status == 1
    assert "Traceback" not in out + err
    masks = {path.parent.name for path in (tmp_path / "out").glob("*/*-mask.nii.gz")}
    assert masks == set(names) - set(broken)
    for name, damage in broken.items():
        lines = [line for line in err.splitlines() if name in line]
        assert len(lines) == 1, err
        assert BROKEN[damage] in lines[0]


@pytest.mark.parametrize("split", [False, True], ids=["all cases", "a split"])
def test_a_case_that_cannot_be_grouped_does_not_end_an_evaluation(lacunet: Run, tmp_path: Path, split: bool) -> None:
    model = tiny_model(tmp_path / "tiny", spacing=8.0)
    names = [path.name for path in write_phantoms(tmp_path / "cohort", 2, seed=1, spacing=8.0)]
    scan = sorted((tmp_path / "cohort" / names[0]).glob("*t1c*.nii.gz"))[0]
    scan.with_name(scan.name.replace(".nii.gz", ".nii")).write_bytes(gzip.decompress(scan.read_bytes()))
    words = ["evaluate", model, tmp_path / "cohort", "-o", tmp_path / "out", "--subsets", "t1c", "--device", "cpu"]
    if split:
        (tmp_path / "split.json").write_text(json.dumps({"test": names}))
        words += ["--split", f"{tmp_path / 'split.json'}:test"]
    status, out, err = lacunet(*words)
    assert (status, "1 problem" in err, names[0] in err) == (1, True, True), out + err
    assert [path.stem for path in (tmp_path / "out" / "parts").glob("*.csv")] == [names[1]]
