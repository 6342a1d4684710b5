"""What the integers of a reference mean, and who decides it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.find import find_cases
from lacunet.data.labels import decide_convention, to_disk, to_inside, values_in, with_conventions
from lacunet.errors import LabelError, UsageError
from lacunet.task import GLIOMA
from small import SHARED


@pytest.mark.parametrize(
    ("family", "values", "convention"),
    [
        ("brats2018", {0, 1, 2, 4}, "brats2018"),
        ("brats2018", {0, 1, 2}, "brats2018"),
        ("brats2018", {0}, "brats2018"),
        ("brats2023", {0, 1, 2, 3}, "brats2023"),
        ("brats2023", {1, 2}, "brats2023"),
        ("brats2013", {0, 1, 2, 3, 4}, "brats2013"),
        ("brats2013", {0, 2, 3}, "brats2013"),
        ("plain", {0}, "brats2013"),
    ],
)
def test_a_family_that_tells(family: str, values: set[int], convention: str) -> None:
    assert decide_convention(family, values, GLIOMA) == convention


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("brats2018", {0, 1, 2, 3}),  # BraTS 2013 without enhancing tumour, or labels of 2023 under old names
        ("brats2018", {0, 1, 2, 3, 4}),  # BraTS 2013 under new names, or two conventions mixed
        ("brats2023", {0, 1, 2, 3, 4}),  # BraTS 2024, or two conventions mixed
        ("brats2023", {0, 1, 2, 4}),  # labels of 2018 under new names, or BraTS 2024 without enhancing tumour
        ("plain", {0, 1, 2}),  # nnU-Net has oedema and core the other way round
        ("plain", {0, 1, 2, 3}),
        ("plain", {0, 1, 2, 4}),
        ("msd", {0, 1, 2, 3}),
    ],
)
def test_a_family_that_does_not_tell_needs_the_user(family: str, values: set[int]) -> None:
    found = "{" + ", ".join(str(value) for value in sorted(values)) + "}"
    with pytest.raises(
        LabelError, match=rf"labels \{found} .*family {family} do not show which .*--labels with one of brats2013"
    ):
        decide_convention(family, values, GLIOMA)


def test_values_of_no_convention() -> None:
    with pytest.raises(LabelError, match="fit no label convention"):
        decide_convention("brats2018", {0, 1, 7}, GLIOMA)


@pytest.mark.parametrize("convention", GLIOMA.conventions)
def test_labels_come_back_from_disk(convention: str) -> None:
    labels = np.array([0, 1, 2, 3], np.uint8)
    inside, note = to_inside(to_disk(labels, convention, GLIOMA), convention, GLIOMA)
    np.testing.assert_array_equal(inside, labels)
    assert (inside.dtype, note) == (np.uint8, None)


def test_each_convention_by_hand() -> None:
    expected = {
        "brats2013": ([0, 1, 2, 3, 4], [0, 1, 2, 1, 3]),
        "brats2018": ([0, 1, 2, 4], [0, 1, 2, 3]),
        "brats2023": ([0, 1, 2, 3], [0, 1, 2, 3]),
        "brats2024": ([0, 1, 2, 3, 4], [0, 1, 2, 3, 0]),
        "nnunet": ([0, 1, 2, 3], [0, 2, 1, 3]),
    }
    for convention, (disk, inside) in expected.items():
        np.testing.assert_array_equal(to_inside(np.array(disk, np.int16), convention, GLIOMA)[0], inside)
    np.testing.assert_array_equal(to_disk(np.array([0, 1, 2, 3], np.uint8), "brats2013", GLIOMA), [0, 1, 2, 4])
    np.testing.assert_array_equal(to_disk(np.array([0, 1, 2, 3], np.uint8), "nnunet", GLIOMA), [0, 2, 1, 3])


def test_floats_near_whole_numbers_are_rounded_and_said() -> None:
    labels, note = to_inside(np.array([0.0, 0.99999997, 2.0, 4.0]), "brats2018", GLIOMA, where="seg.nii.gz")
    np.testing.assert_array_equal(labels, [0, 1, 2, 3])
    assert note == "seg.nii.gz: labels rounded to whole numbers, such as 0.99999997"
    assert to_inside(np.array([0.0, 1.0]), "brats2018", GLIOMA)[1] is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, 3], r"seg\.nii\.gz: label values \{3\} are unknown to the convention brats2018 \(\{0, 1, 2, 4\}\)"),
        ([0, -1, 9], r"label values \{-1, 9\} are unknown"),
        ([0, 1.5], r"seg\.nii\.gz: label 1\.5 is not a whole number; was the mask resampled"),
        ([0, np.nan], r"has NaN or infinite labels"),
        ([0, 5000], r"has values up to 5000; labels are small whole numbers, is it a scan"),
        ([0, 2**32 + 1], r"has values up to 4\.29497e\+09"),
    ],
)
def test_values_that_are_no_labels_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        to_inside(np.array(values), "brats2018", GLIOMA, where="seg.nii.gz")


# ---------------------------------------------------------------- over a family


def cases(folder: Path, family: str, *masks: list[float]) -> list[CaseFiles]:
    made = []
    for number, values in enumerate(masks):
        path = folder / f"{family}-{number}-seg.nii.gz"
        voxels = np.zeros((4, 4, 4), np.asarray(values).dtype)
        voxels.flat[: len(values)] = values
        nib.save(nib.Nifti1Image(voxels, np.eye(4), dtype=voxels.dtype if voxels.dtype.kind == "f" else np.int16), path)
        made.append(CaseFiles(f"{family}-{number}", "p", {}, ImageFile(path), family, None))
    return made


def test_the_family_decides_not_the_file(tmp_path: Path) -> None:
    """The first case alone says nothing; in its family it follows the second."""
    decided = with_conventions([*cases(tmp_path, "brats2018", [1, 2], [4]), *cases(tmp_path, "brats2023", [1, 2], [3])])
    assert [case.convention for case in decided] == ["brats2018", "brats2018", "brats2023", "brats2023"]


def test_three_and_four_in_different_files_of_a_family_are_not_pooled_away(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"\{0, 3, 4\} in the references of naming family brats2018"):
        with_conventions(cases(tmp_path, "brats2018", [3], [4]))


def test_the_user_decides_what_nothing_states(tmp_path: Path) -> None:
    found = cases(tmp_path, "plain", [1, 2, 3])
    assert [case.convention for case in with_conventions(found, labels="nnunet")] == ["nnunet"]
    with pytest.raises(UsageError, match="did you mean 'nnunet'"):
        with_conventions(found, labels="nnunt")


def test_a_stated_convention_stays_and_no_reference_needs_none(tmp_path: Path) -> None:
    stated = CaseFiles("a", "a", {}, ImageFile(tmp_path / "gone.nii.gz"), "manifest", "brats2013")
    bare = CaseFiles("b", "b", {}, None, "plain", None)
    assert with_conventions([stated, bare], labels="brats2018") == [stated, bare]


def test_a_broken_reference_leaves_the_decision_to_the_others(tmp_path: Path) -> None:
    found = cases(tmp_path, "brats2018", [1, 4], [9], [0.5])
    broken = CaseFiles("broken", "p", {}, ImageFile(tmp_path / "gone.nii.gz"), "brats2018", None)
    assert {case.convention for case in with_conventions([*found, broken])} == {"brats2018"}


def test_values_in_a_file(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, "plain", [0.99999997, 4.0])
    assert case.reference is not None
    assert values_in(case.reference.path) == {0, 1, 4}


@pytest.mark.skipif(not (SHARED / "data" / "glioma").is_dir(), reason="the real cases are not here")
def test_the_real_cohort_has_two_conventions() -> None:
    decided = with_conventions(find_cases(SHARED / "data" / "glioma"))
    assert {(case.family, case.convention) for case in decided} == {
        ("brats2018", "brats2018"),
        ("brats2023", "brats2023"),
    }
