"""No sentence is about a file of our own: scans are called by names that people know, and each thing is said once."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.data.called import read_called
from lacunet.data.find import case_from_files
from lacunet.errors import DataError, OutputError, Problem, UnpreparedError
from lacunet.intake.importer import Imported, Importer
from lacunet.scratch import scratch_folder
from lacunet.segmentation.answer import _imported_case
from lacunet.task import GLIOMA
from phantoms_made import make_phantom

pytestmark = pytest.mark.usefixtures("coarse_cases")


def crooked(folder: Path, name: str, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """A file whose qform is 7 mm away from its sform."""
    image = nib.Nifti1Image(voxels.astype(np.int16), affine)
    image.set_sform(affine, code=1)
    away = affine.copy()
    away[0, 3] += 7.0
    image.set_qform(away, code=1)
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(image, folder / name)
    return folder / name


def test_a_note_of_reading_is_said_once_and_names_the_scan(tmp_path: Path) -> None:
    case = make_phantom(5, spacing=4.0)
    crooked(tmp_path / "Mustermann", "Mustermann T1 KM.nii.gz", case.images["t1c"], case.grid.affine)
    _, done = Importer().import_into(tmp_path / "Mustermann", tmp_path / "cases")
    assert isinstance(done, Imported), done
    notes = [line for line in done.record.warnings if "qform" in line]
    assert notes == ["file 1 (… T1 KM): sform and qform disagree by 7.0 mm; the sform is used"]
    said = " ".join([*done.record.warnings, *done.record.found.scans.values()])
    assert ".nii" not in said
    assert "Mustermann" not in said


def test_an_error_after_the_survey_names_the_scan(tmp_path: Path) -> None:
    voxels = np.zeros((40, 40, 5), np.int16)
    voxels[8:-8, 8:-8] = np.random.default_rng(0).integers(50, 100, (24, 24, 5))
    crooked(tmp_path / "in", "T2 Mustermann.nii.gz", voxels, np.diag([4.0, 4, 6, 1]))
    _, problem = Importer().import_into(tmp_path / "in", tmp_path / "cases")
    assert isinstance(problem, Problem)
    assert problem.message.startswith("t2w: file 1 (T2 …): covers 30 mm in 5 slices")
    assert ".nii" not in problem.message


def test_reading_speaks_of_the_label_in_notes_and_errors(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((8, 8, 8)) * 100
    path = crooked(tmp_path, "series-4.nii.gz", voxels, np.eye(4))
    assert read_called(path, "series 4")[2] == ("series 4: sform and qform disagree by 7.0 mm; the sform is used",)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"^series 4: cannot be read"):
        read_called(path, "series 4")


def test_what_import_left_is_called_by_its_sequence(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full((20, 20, 20), 3, np.int16), np.eye(4)), tmp_path / "case-1-t1c.nii.gz")
    files = case_from_files({"t1c": tmp_path / "case-1-t1c.nii.gz"}, "case-1")
    with pytest.raises(DataError, match=r"^T1ce after import: all voxels have the value 3") as caught:
        _imported_case(files, GLIOMA, False)
    assert not isinstance(caught.value, UnpreparedError)


def test_an_error_about_a_file_of_our_own_speaks_of_the_folder_for_temporary_files(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"^the folder for temporary files: cannot be written \(No space left\)"),
        scratch_folder() as folder,
    ):
        raise OutputError(f"{folder}/cases/a/a-t1c.nii.gz: cannot be written (No space left); choose another place")
    assert not folder.exists()
    with pytest.raises(OutputError, match=str(tmp_path)), scratch_folder():
        raise OutputError(f"{tmp_path}: cannot be written")
