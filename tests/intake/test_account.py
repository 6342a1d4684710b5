"""A stranger's export and a cohort: the right case comes out, and all that is left out is told."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.intake.survey import survey_source
from phantoms_made import make_phantom
from small import ROOT

pytest.importorskip("pydicom", reason='needs the extra "dicom"')
pytest.importorskip("dcm2niix", reason='needs the extra "dicom"')

from dicom_made import Examination

AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    return dict(make_phantom(3, spacing=8.0).images)


def export(folder: Path, images: dict[str, np.ndarray]) -> Path:
    """Two studies; the newer has all sequences, a localiser, a subtraction and a map. A brain mask lies beside."""
    older = Examination(folder / "2019", date="20190101")
    older.write(images["t2f"], AFFINE, 2, "t2_tirm_tra_dark-fluid", "t2f")
    newer = Examination(folder / "2021", date="20210304")
    newer.write(images["t1n"][:, :, :5], AFFINE, 1, "localizer")
    for number, (modality, text) in enumerate({
        "t1n": "t1_tse_tra", "t1c": "t1_tse_tra_KM", "t2w": "t2_tse_tra", "t2f": "t2_tirm_tra_dark-fluid",
    }.items(), 2):  # fmt: skip
        newer.write(images[modality], AFFINE, number, text, modality)
    difference = np.abs(images["t1c"] - images["t1n"])
    newer.write(
        difference, AFFINE, 6, "t1_tse_tra_KM SUB", "t1c", tags={"ImageType": ["DERIVED", "PRIMARY", "SUBTRACT"]}
    )
    newer.write(images["t2w"], AFFINE, 7, "ep2d_diff_ADC", tags={"ImageType": ["DERIVED", "PRIMARY", "ADC"]})
    mask = nib.Nifti1Image((images["t1n"] > 0).astype(np.uint8), AFFINE)
    nib.save(mask, folder / "brain_mask.nii.gz")
    (folder / "readme.txt").write_text("exported")
    return folder


def test_a_strangers_export_gives_the_right_case_and_a_list_of_all_that_is_left_out(tmp_path: Path, images) -> None:
    (tmp_path / "work").mkdir()
    with survey_source(export(tmp_path / "export", images), tmp_path / "work") as survey:
        (visit,) = survey.visits
        assert {modality: scan.label.split(" (")[0] for modality, scan in visit.scans.items()} == {
            "t1n": "series 2", "t1c": "series 3", "t2w": "series 4", "t2f": "series 5",
        }  # fmt: skip
        assert {one.label.split(" (")[0]: one.reason for one in visit.left_out} == {
            "series 1": "is a localiser",
            "series 6": "is a subtraction of two series",
            "series 7": "is a diffusion map",
        }
        study, mask = survey.left_out
        assert "of 2019-01-01, 1 series" in study.label
        assert "is not the newest with usable scans" in study.reason
        assert mask.label == "file 1 (BRAIN MASK)"
        assert mask.reason == "is a mask by its name"
        assert survey.notes == ("1 file passed over: no images",)
        assert survey.dropped == 6


def test_a_mask_of_any_name_is_no_scan(tmp_path: Path, images) -> None:
    """Told by its voxels: few whole values, and patches of one value."""
    (tmp_path / "s").mkdir()
    (tmp_path / "work").mkdir()
    for name, voxels in {
        "FLAIR.nii.gz": images["t2f"],
        "FLAIR_stripped_v2.nii.gz": (images["t2f"] > 0).astype(np.float32),
        "T1_post_regions.nii.gz": (images["t1c"] > 0) * 7.0,
    }.items():
        nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "s" / name)
    with survey_source(tmp_path / "s", tmp_path / "work") as survey:
        assert list(survey.visits[0].scans) == ["t2f"]
        assert survey.visits[0].scans["t2f"].label == "file 1 (FLAIR)"
        assert [one.reason for one in survey.visits[0].left_out] == [
            "holds a few whole values only, as a mask does, and is no scan"
        ] * 2


def test_every_folder_of_a_cohort_without_a_scan_is_counted(tmp_path: Path, images) -> None:
    (tmp_path / "work").mkdir()
    for name in ("p01/T1_post_ax.nii.gz", "p02/T1_post_ax.nii.gz", "p02/brain_mask.nii.gz"):
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(images["t1c"], AFFINE), tmp_path / "s" / name)
    (tmp_path / "s" / "p03").mkdir()
    (tmp_path / "s" / "p03" / "letter.pdf").write_bytes(b"%PDF")
    with survey_source(tmp_path / "s", tmp_path / "work") as survey:
        assert [visit.name for visit in survey.visits] == ["p01", "p02"]
        assert survey.notes == ("1 folder gave no scan", "1 file passed over: no images")


def lacunet(*words: object, encoding: str = "utf-8") -> tuple[int, str]:
    environment = {"PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "lacunet", *map(str, words)], capture_output=True, check=False, env=environment
    )
    return done.returncode, (done.stdout + done.stderr).decode(encoding, "replace")


def test_the_last_line_says_that_something_was_dropped_whatever_the_terminal_can_print(tmp_path: Path, images) -> None:
    """`Ł` is not in cp1252."""
    for name in ("Łukasz", "b"):
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(images["t2f"], AFFINE), folder / f"{name}_flair.nii.gz")
    (tmp_path / "in" / "b" / "b_brain_mask.nii.gz").write_bytes(b"")
    status, said = lacunet("check", tmp_path / "in", encoding="cp1252")
    assert status == 0
    assert "\\u0141ukasz: t2f" in said
    assert "left out: b/b_brain_mask.nii.gz: is a mask by its name" in said
    assert said.strip().splitlines()[-1] == "1 file or folder was left out, as listed above"


@pytest.mark.parametrize("layout", ["cases", "scans"])
def test_one_name_for_several_cases_is_refused(tmp_path: Path, images, layout: str) -> None:
    names = {"cases": ("a/a_flair", "b/b_flair"), "scans": ("a/FLAIR_sag_3d", "b/FLAIR_sag_3d")}[layout]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(images["t2f"], AFFINE), tmp_path / f"{name}.nii.gz")
    status, said = lacunet("segment", tmp_path, "-o", tmp_path / "out", "--name", "anna")
    assert status == 2
    assert "--name anna: " in said
    assert not (tmp_path / "out" / "anna").exists()
