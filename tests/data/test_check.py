"""Everything that is wrong with a folder, each in one line, none hiding another."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.data.check import check
from lacunet.errors import DataError
from lacunet.task import GLIOMA
from small import SHARED

AFFINE = np.diag([-1.0, -1.0, 1.5, 1.0])


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)


def scan() -> np.ndarray:
    voxels = np.zeros((8, 9, 10), np.int16)
    voxels[2:-2, 2:-2, 2:-2] = np.arange(4 * 5 * 6).reshape(4, 5, 6) + 1
    return voxels


def mask(*values: int) -> np.ndarray:
    voxels = np.zeros((8, 9, 10), np.uint8)
    for index, value in enumerate(values):
        voxels[3, 3, 3 + index] = value
    return voxels


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    save(tmp_path / "good" / "good_t1ce.nii.gz", scan())
    save(tmp_path / "good" / "good_flair.nii.gz", scan())
    save(tmp_path / "good" / "good_seg.nii.gz", mask(1, 2, 4))
    save(tmp_path / "bare" / "bare-t1n.nii.gz", scan())
    save(tmp_path / "bad" / "bad_t1.nii.gz", scan() * 0)
    save(tmp_path / "bad" / "bad_t1ce.nii.gz", scan())
    save(tmp_path / "bad" / "bad_t2.nii.gz", scan(), np.eye(4))
    (tmp_path / "bad" / "bad_flair.nii.gz").write_bytes(b"")
    save(tmp_path / "bad" / "bad_seg.nii.gz", mask(1, 9))
    save(tmp_path / "twice" / "twice_t1.nii.gz", scan())
    save(tmp_path / "twice" / "twice_t1.nii", scan())
    return tmp_path


def test_says_what_a_case_has(cohort: Path) -> None:
    good = next(case for case in check(cohort, GLIOMA).cases if case.name == "good")
    assert (good.acquired, good.shape, good.spacing) == (("t1c", "t2f"), (8, 9, 10), (1.0, 1.0, 1.5))
    assert (good.family, good.values, good.convention) == ("brats2018", (0, 1, 2, 4), "brats2018")
    assert (good.notes, good.problems) == ((), ())


def test_a_bad_case_hides_neither_its_other_problems_nor_other_cases(cohort: Path) -> None:
    findings = check(cohort, GLIOMA)
    cases = {case.name: case for case in findings.cases}
    assert set(cases) == {"good", "bare", "bad"}
    words = [
        "bad_t1.nii.gz: all voxels are 0",
        "bad_t2.nii.gz: spacing",
        "bad_flair.nii.gz: is empty",
        "bad_seg.nii.gz: label values {9}",
    ]
    assert len(cases["bad"].problems) == len(words)
    for word, problem in zip(words, cases["bad"].problems, strict=True):
        assert word in problem
        assert "\n" not in problem
    assert [problem.case for problem in findings.all_problems] == ["twice"] + ["bad"] * 4
    assert cases["bad"].values == (0, 1, 9)


def test_counts_families_and_subsets(cohort: Path) -> None:
    findings = check(cohort, GLIOMA)
    assert findings.families == {"brats2018": 2, "brats2023": 1}
    assert findings.subsets == {"t1n+t1c+t2w+t2f": 1, "t1n": 1, "t1c+t2f": 1}
    assert findings.conventions == {"brats2018": "brats2018"}
    bare = next(case for case in findings.cases if case.name == "bare")
    assert (bare.values, bare.convention) == (None, None)


def test_a_family_that_does_not_tell_is_one_problem(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / name / f"{name}_t1ce.nii.gz", scan())
        save(tmp_path / name / f"{name}_seg.nii.gz", mask(1, 2, 3))
    findings = check(tmp_path, GLIOMA)
    assert findings.conventions == {"brats2018": None}
    assert len(findings.all_problems) == 1
    assert "do not show which label convention is meant" in findings.all_problems[0].message
    assert check(tmp_path, GLIOMA, labels="brats2023").all_problems == ()


def test_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no scans found"):
        check(tmp_path, GLIOMA)


@pytest.mark.skipif(not (SHARED / "data" / "glioma").is_dir(), reason="the real cases are not here")
def test_a_real_case_has_no_problems() -> None:
    findings = check(SHARED / "data" / "glioma" / "Brats18_2013_20_1", GLIOMA)
    assert findings.all_problems == ()
    assert findings.cases[0].shape == (240, 240, 155)


def test_every_file_is_read_once(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lacunet.data import volume

    read: list[str] = []
    header = volume._header
    monkeypatch.setattr(volume, "_header", lambda file: [read.append(file.path.name), header(file)][1])
    check(cohort, GLIOMA)
    assert len(read) == len(set(read)) == 9


@pytest.mark.parametrize("show_names", [True, False])
def test_many_faulty_cases_are_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show_names: bool
) -> None:
    """Looking through all files for each faulty case would take hours for ten thousand cases."""
    from lacunet.data import hidden_names

    for number in range(4):
        save(tmp_path / f"p{number}" / f"p{number}_t1ce.nii.gz", scan())
        save(tmp_path / f"p{number}" / f"p{number}_t1ce.nii", scan())
    looks: list[Path] = []
    everything = hidden_names._everything
    monkeypatch.setattr(hidden_names, "_everything", lambda source: [looks.append(source), everything(source)][1])
    findings = check(tmp_path, GLIOMA, show_names=show_names)
    assert len(findings.problems) == 4
    assert len(looks) == 1
