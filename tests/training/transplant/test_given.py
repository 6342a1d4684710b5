"""Cases that give lesions only: a cube about a tumour is enough."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.case import CaseFiles
from lacunet.data.labelled import labelled
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.errors import DataError, LabelError, UnpreparedError
from lacunet.task import GLIOMA
from lacunet.training.transplant.given import prepare_lesions


def cube(folder: Path, margin: int = 0, fill: float = 0.0) -> list[CaseFiles]:
    """A tumour that fills most of a cube of brain of 16 voxels of 2 mm, with or without background around it."""
    name, generator, labels = "BraTS20_Training_900", np.random.default_rng(0), np.zeros((16, 16, 16), np.uint8)
    labels[1:15, 1:15, :] = 2
    labels[4:9, 4:9, 4:9] = 4
    (folder / name).mkdir(parents=True)
    for suffix in ("t1", "t1ce", "t2", "flair", "seg"):
        voxels = labels if suffix == "seg" else generator.normal(0, 1, labels.shape).astype(np.float32)
        padded = np.pad(voxels, margin, constant_values=0 if suffix == "seg" else fill)
        nib.save(nib.Nifti1Image(padded, np.diag([2.0, 2.0, 2.0, 1.0])), folder / name / f"{name}_{suffix}.nii.gz")
    return labelled(folder, GLIOMA, None)


@pytest.mark.parametrize("margin", [0, 2])
def test_a_cube_of_tumour_is_prepared_at_the_recipes_spacing(margin: int, tmp_path: Path) -> None:
    (case,) = prepare_lesions(cube(tmp_path / "cases", margin), GLIOMA, Preparation(1.0), tmp_path / "prepared")
    assert case.shape == (32, 32, 32)
    assert case.acquired == (True, True, True, True)
    assert set(np.unique(case.labels).tolist()) == {0, 2, 3}
    assert case.counts["wt"] == pytest.approx(14 * 14 * 16 * 8, rel=0.02)
    assert np.asarray(case.images, np.float32).std() == pytest.approx(0.8, abs=0.3)


def test_as_a_patient_such_a_cube_is_refused(tmp_path: Path) -> None:
    (files,) = cube(tmp_path / "cases")
    with pytest.raises(UnpreparedError, match="does not look skull-stripped"):
        load_case(files, GLIOMA)
    (files,) = cube(tmp_path / "padded", margin=1)
    with pytest.raises(LabelError, match="of the brain"):
        load_case(files, GLIOMA)


def test_a_cube_is_checked_like_any_scan(tmp_path: Path) -> None:
    (files,) = cube(tmp_path / "cases", margin=1, fill=float("nan"))
    with pytest.raises(DataError, match=r"BraTS20_Training_900_t1\.nii\.gz"):
        list(prepare_lesions([files], GLIOMA, Preparation(1.0), tmp_path / "prepared"))
