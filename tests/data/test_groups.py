"""Which files belong together, by names alone: what each folder gives to every command, and what is left out."""

from pathlib import Path

import pytest

from lacunet.data.find import survey
from lacunet.data.groups import grouped
from lacunet.errors import DataError
from lacunet.task import GLIOMA


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def cases_in(folder: Path) -> dict[str, dict[str, str]]:
    """Case -> modality (and reference) -> file, below the folder."""
    found = {}
    for case in survey(folder, GLIOMA).cases:
        files = {modality: image.path for modality, image in case.images.items()}
        if case.reference is not None:
            files["reference"] = case.reference.path
        found[case.name] = {role: str(path.relative_to(folder))[: -len(".nii.gz")] for role, path in files.items()}
    return found


ONE_PATIENT = [
    ("p01_T1 p01_T1_CE p01_T2 p01_T2_FLAIR", "p01", "t1n t1c t2w t2f"),
    ("p01_T1w p01_T1w_post p01_T2w p01_FLAIR", "p01", "t1n t1c t2w t2f"),
    ("004_T2 005_FLAIR 007_T1ce", "x", "t2w t2f t1c"),
    ("004_anna_T2 005_anna_FLAIR 007_anna_T1ce", "anna", "t2w t2f t1c"),
    ("post_T1 T2 FLAIR", "x", "t1c t2w t2f"),
    ("T1_AX T1_AX_POST_GAD T2_AX FLAIR_AX", "x", "t1n t1c t2w t2f"),
    ("AX_T1_POST_p07 AX_T2_p07 AX_FLAIR_p07", "p07", "t1c t2w t2f"),
    ("p01_sag_t1_post p01_ax_t2 p01_cor_flair", "p01", "t1c t2w t2f"),
    ("anna_1964_t2 anna_flair", "anna", "t2w t2f"),
    ("p01_t1ce FLAIR", "p01", "t1c t2f"),
    ("T1_MPRAGE_post_final T2_v2 FLAIR", "x", "t1c t2w t2f"),
    ("patient_pre_t1ce patient_pre_flair patient_pre_t2", "patient_pre", "t1c t2f t2w"),
    ("T1/p01 T2/p01 FLAIR/p01", "p01", "t1n t2w t2f"),
    ("T1_post/image T2/image FLAIR/image", "x", "t1c t2w t2f"),
    ("p01_t1/p01_t1 p01_t1ce/p01_t1ce p01_flair/p01_flair", "p01", "t1n t1c t2f"),
    ("004_T2/image 005_FLAIR/image 007_T1ce/image", "x", "t2w t2f t1c"),
    (
        "UCSF-PDGM-0004_T1 UCSF-PDGM-0004_T1c UCSF-PDGM-0004_T2 UCSF-PDGM-0004_FLAIR",
        "UCSF-PDGM-0004",
        "t1n t1c t2w t2f",
    ),
]


@pytest.mark.parametrize(("files", "name", "roles"), ONE_PATIENT)
def test_one_patient(tmp_path: Path, files: str, name: str, roles: str) -> None:
    touch(tmp_path / "x", *files.split())
    assert cases_in(tmp_path / "x") == {name: dict(zip(roles.split(), files.split(), strict=True))}


SEVERAL = [
    ("a-t1c b-t1c", {"a": "t1c", "b": "t1c"}),
    ("anna/flair ben/t1c", {"anna": "t2f", "ben": "t1c"}),
    ("001/flair 002/flair", {"001": "t2f", "002": "t2f"}),
    ("001_flair 001_t1c 002_flair 002_t1c", {"001": "t1c t2f", "002": "t1c t2f"}),
    ("001_t1c 001_flair 002_t2", {"001": "t1c t2f", "002": "t2w"}),
    ("p1_T1_post p1_T2_ax p2_T1_post p2_T2_ax", {"p1": "t1c t2w", "p2": "t1c t2w"}),
    ("BraTS-GLI-00000-000-t1c BraTS-GLI-00002-000-t2f", {"BraTS-GLI-00000-000": "t1c", "BraTS-GLI-00002-000": "t2f"}),
    ("T1/p01 T1/p02 T2/p01 T2/p02", {"p01": "t1n t2w", "p02": "t1n t2w"}),
    ("sub-01/anat/sub-01_T1w sub-02/anat/sub-02_FLAIR", {"sub-01": "t1n", "sub-02": "t2f"}),
    ("sub-01_ses-pre_T1w sub-01_ses-post_T1w", {"sub-01_ses-pre": "t1n", "sub-01_ses-post": "t1n"}),
]


@pytest.mark.parametrize(("files", "expected"), SEVERAL)
def test_several_patients(tmp_path: Path, files: str, expected: dict[str, str]) -> None:
    touch(tmp_path / "x", *files.split())
    assert {name: " ".join(roles) for name, roles in cases_in(tmp_path / "x").items()} == expected


@pytest.mark.parametrize("files", ["anna_t1c ben_flair", "Patient-001_t1c Patient-002_flair", "a1_t1 b2_t2 c3_flair"])
def test_one_patient_or_several_is_asked(tmp_path: Path, files: str) -> None:
    touch(tmp_path / "x", *files.split())
    found = survey(tmp_path / "x", GLIOMA)
    assert not found.cases
    (problem,) = found.problems
    assert "is this one patient or several?" in problem.message
    assert all(name in problem.message for name in files.split())
    groups, _ = grouped([tmp_path / "x" / f"{name}.nii.gz" for name in files.split()], GLIOMA)
    assert [bool(group.question) for group in groups] == [True]


MASKS = [
    ("p_flair p_seg", "p_seg", []),
    ("p_flair p_tumor_segmentation p_brain_segmentation", "p_tumor_segmentation", ["p_brain_segmentation"]),
    ("p_flair p_brain_segmentation", None, ["p_brain_segmentation"]),
    ("p_flair p_seg p_brain_mask p_tumour_mask", "p_seg", ["p_brain_mask", "p_tumour_mask"]),
    ("p_flair p_mask", None, ["p_mask"]),
    ("p_flair W39_1998.09.19_Segm", "W39_1998.09.19_Segm", []),
    ("p_flair p_seg other_seg", "p_seg", ["other_seg"]),
    ("p_flair FLAIR_mask", None, ["FLAIR_mask"]),
]


@pytest.mark.parametrize(("files", "reference", "left"), MASKS)
def test_which_mask_is_the_reference(tmp_path: Path, files: str, reference: str | None, left: list[str]) -> None:
    touch(tmp_path / "x", *files.split())
    found = survey(tmp_path / "x", GLIOMA)
    (case,) = cases_in(tmp_path / "x").values()
    assert case.get("reference") == reference
    assert case["t2f"] == "p_flair"
    assert [one.path.name[: -len(".nii.gz")] for one in found.left_out] == sorted(left)
    assert not found.questions


def test_two_masks_of_one_kind_are_asked_about_and_the_case_is_there(tmp_path: Path) -> None:
    touch(tmp_path / "x", "p_flair", "p_tumor_mask_a", "p_tumor_mask_b")
    found = survey(tmp_path / "x", GLIOMA)
    assert [case.reference for case in found.cases] == [None]
    (question,) = found.questions
    assert "which of these masks is the tumour's reference?" in question.message


def test_every_file_and_folder_is_accounted_for(tmp_path: Path) -> None:
    touch(tmp_path, "a/a_flair", "a/a_t1c", "a/a_ADC", "a/.hidden", "b/b_pred", "derivatives/c/sub-1_T1w", "sub-1_T1w")
    (tmp_path / "a" / "a_flair.json").write_text("{}")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "b" / "export.zip").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "IM1").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "lost_t2.nii.gz").symlink_to(tmp_path / "nowhere")
    dicom = "is DICOM; give its folder to lacunet import"
    archive = "is an archive; lacunet import reads it, or unpack it"
    derived = "lies in a folder of derivatives, results of other programs; give that folder itself to use it"
    told = {str(one.path.relative_to(tmp_path)): one.reason for one in survey(tmp_path, GLIOMA).left_out}
    assert told == {
        "a/.hidden.nii.gz": "is hidden",
        "a/a_ADC.nii.gz": "its name says diffusion imaging",
        "a/notes.txt": "is no image",
        "b": f"gave no case: 1 file: its name says no sequence; 1 file: {archive}",
        "b/b_pred.nii.gz": "its name says no sequence",
        "b/export.zip": archive,
        "c": f"gave no case: 1 file: {dicom}",
        "c/IM1": dicom,
        "derivatives": f"gave no case: 1 file: {derived}",
        "derivatives/c/sub-1_T1w.nii.gz": derived,
        "empty": "gave no case: it holds no file",
        "lost_t2.nii.gz": "is a link to nothing; if git-annex or DataLad keeps the content, get it first",
    }


def test_two_scans_for_a_sequence_are_a_problem_that_names_both(tmp_path: Path) -> None:
    touch(tmp_path / "x", "p_T2_ax", "p_T2_cor", "p_flair")
    with pytest.raises(DataError, match=r"p_T2_ax.* and .*p_T2_cor.*: two files for t2w of case p"):
        raise DataError(survey(tmp_path / "x", GLIOMA).problems[0].message)


def test_a_t1_that_does_not_tell_contrast_agent_is_native_only_beside_one_that_does(tmp_path: Path) -> None:
    touch(tmp_path / "x", "p_T1_MPRAGE", "p_FLAIR")
    found = survey(tmp_path / "x", GLIOMA)
    assert [list(case.images) for case in found.cases] == [["t2f"]]
    assert "not whether contrast agent was given" in found.left_out[0].reason
    touch(tmp_path / "x", "p_T1_MPRAGE_post")
    assert cases_in(tmp_path / "x") == {"p": {"t1n": "p_T1_MPRAGE", "t1c": "p_T1_MPRAGE_post", "t2f": "p_FLAIR"}}
