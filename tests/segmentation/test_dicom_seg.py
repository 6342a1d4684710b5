"""A mask as a DICOM segmentation: on the voxels of its source, in the words of a viewer, and refused elsewhere."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.errors import DataError
from lacunet.task import GLIOMA
from small import ROOT

pydicom = pytest.importorskip("pydicom", reason="pip install 'lacunet[dicom]'")
hd = pytest.importorskip("highdicom", reason="pip install 'lacunet[dicom]'")

from dicom_made import labels_in  # noqa: E402
from lacunet.segmentation.dicom_seg import FINDINGS, write_dicom_seg  # noqa: E402

AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])
SAGITTAL = np.array([[0.0, 1, 0], [0, 0, -1]])
CORONAL = np.array([[1.0, 0, 0], [0, 0, -1]])
OBLIQUE = np.array([[0.98, 0.17, 0.1], [-0.19, 0.97, 0.15]])


def orthonormal(rows: np.ndarray) -> np.ndarray:
    across = rows[0] / np.linalg.norm(rows[0])
    down = rows[1] - across * (rows[1] @ across)
    return np.stack([across, down / np.linalg.norm(down)])


def make_series(folder: Path, directions: np.ndarray = AXIAL, shape: tuple[int, int, int] = (5, 12, 9)) -> list[Path]:
    """A classic MR series of `slices x rows x columns`, its files named against their order."""
    directions = orthonormal(directions)
    normal = np.cross(*directions)
    folder.mkdir(parents=True)
    voxels = np.random.default_rng(1).integers(1, 900, shape, dtype=np.uint16)
    paths = []
    for index in range(shape[0]):
        header = pydicom.Dataset()
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        header.SOPClassUID = pydicom.uid.MRImageStorage
        header.SOPInstanceUID = f"1.2.3.4.5.{index + 1}"
        header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.9"
        header.PatientName, header.PatientID, header.PatientBirthDate, header.PatientSex = "Doe^Jane", "7", "", "F"
        header.StudyDate, header.StudyTime, header.StudyID = "20240102", "101500", "1"
        header.AccessionNumber, header.ReferringPhysicianName = "", ""
        header.Modality, header.Manufacturer = "MR", "SIEMENS"
        header.SeriesNumber, header.InstanceNumber, header.SeriesDescription = 4, index + 1, "t1 post"
        header.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        header.ScanningSequence, header.SequenceVariant, header.ScanOptions = "SE", "NONE", ""
        header.MRAcquisitionType, header.EchoTime, header.RepetitionTime = "2D", 10, 500
        header.EchoTrainLength = 1
        header.ImageOrientationPatient = [float(f"{value:.9g}") for value in directions.ravel()]
        place = np.array([-40.0, -50.0, 20.0]) + index * 3.0 * normal
        header.ImagePositionPatient = [float(f"{value:.9g}") for value in place]
        header.PixelSpacing, header.SliceThickness = [0.9, 1.1], 3.0
        header.Rows, header.Columns = shape[1:]
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 0
        header.PixelData = voxels[index].tobytes()
        path = folder / f"image{shape[0] - index}"
        header.save_as(path, enforce_file_format=True)
        paths.append(path)
    return sorted(paths)


def grid_of(directions: np.ndarray, shape: tuple[int, int, int] = (5, 12, 9)) -> Grid:
    """The grid of `make_series` as columns x rows x slices, in RAS+."""
    directions = orthonormal(directions)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = directions[0] * 1.1, directions[1] * 0.9
    affine[:3, 2], affine[:3, 3] = np.cross(*directions) * 3.0, (-40, -50, 20)
    return Grid((shape[2], shape[1], shape[0]), np.diag([-1.0, -1, 1, 1]) @ affine)


def labels_on(grid: Grid) -> np.ndarray:
    return np.random.default_rng(2).choice(4, grid.shape, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)


@pytest.mark.parametrize("directions", [AXIAL, SAGITTAL, CORONAL, OBLIQUE], ids=["ax", "sag", "cor", "oblique"])
def test_labels_come_back_where_they_were(tmp_path: Path, directions: np.ndarray) -> None:
    source, grid = make_series(tmp_path / "series", directions), grid_of(directions)
    labels = labels_on(grid)
    write_dicom_seg(tmp_path / "mask.dcm", labels, grid, source, "model", GLIOMA)
    found, affine = labels_in(tmp_path / "mask.dcm")
    np.testing.assert_allclose(affine, grid.affine, atol=1e-4)
    assert np.array_equal(found, labels)


@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, -1)])
def test_axes_may_come_in_any_order_and_direction(tmp_path: Path, turn: Any, flips: Any) -> None:
    source, grid = make_series(tmp_path / "series", OBLIQUE), grid_of(OBLIQUE)
    labels = labels_on(grid)
    orientation = np.stack([np.array(turn), np.array(flips)], axis=1)
    turned = nib.Nifti1Image(labels, grid.affine).as_reoriented(orientation)
    other = Grid(turned.shape, turned.affine)
    write_dicom_seg(tmp_path / "mask.dcm", np.asarray(turned.dataobj), other, source, "model", GLIOMA)
    assert np.array_equal(labels_in(tmp_path / "mask.dcm")[0], labels)


@pytest.mark.filterwarnings("ignore:Cannot determine value")
def test_a_source_may_be_one_multi_frame_file(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series", OBLIQUE), grid_of(OBLIQUE)
    slices = [pydicom.dcmread(path) for path in source]
    whole = hd.legacy.LegacyConvertedEnhancedMRImage(slices, "1.2.3.77", 5, "1.2.3.78", 1)
    whole.save_as(tmp_path / "enhanced")
    labels = labels_on(grid)
    write_dicom_seg(tmp_path / "mask.dcm", labels, grid, [tmp_path / "enhanced"], "model", GLIOMA)
    assert np.array_equal(labels_in(tmp_path / "mask.dcm")[0], labels)
    assert pydicom.dcmread(tmp_path / "mask.dcm").ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.77"


def test_a_source_may_lack_what_may_be_empty(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    for path in source:
        header = pydicom.dcmread(path)
        for name in ("PatientSex", "StudyID", "AccessionNumber", "StudyTime", "ReferringPhysicianName"):
            delattr(header, name)
        header.save_as(path)
    write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "model", GLIOMA)
    assert pydicom.dcmread(tmp_path / "mask.dcm").PatientSex == ""


@pytest.mark.parametrize("tag", ["StudyInstanceUID", "Rows", "ImageOrientationPatient", "PixelSpacing"])
def test_a_source_that_lacks_more_is_refused_in_a_sentence(tmp_path: Path, tag: str) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    for path in source:
        header = pydicom.dcmread(path)
        delattr(header, tag)
        header.save_as(path)
    with pytest.raises(DataError, match=r"lack what a DICOM SEG needs \(\w+ by highdicom\); use the NIfTI mask"):
        write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "model", GLIOMA)
    assert not (tmp_path / "mask.dcm").exists()


def test_a_viewer_reads_names_codes_and_references(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "default 0.1", GLIOMA)
    found = pydicom.dcmread(tmp_path / "mask.dcm")
    assert found.Modality == "SEG"
    assert (found.PatientID, found.StudyInstanceUID, found.FrameOfReferenceUID) == ("7", "1.2.3", "1.2.3.9")
    assert found.SeriesInstanceUID != "1.2.3.4"
    codes = [
        (item.SegmentedPropertyTypeCodeSequence[0].CodeValue, item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning)
        for item in found.SegmentSequence
    ]
    assert codes == [("6574001", "Necrosis"), ("79654002", "Edema"), ("C113842", "Enhancing Lesion")]
    assert {item.SegmentAlgorithmType for item in found.SegmentSequence} == {"AUTOMATIC"}
    assert all("RecommendedDisplayCIELabValue" in item for item in found.SegmentSequence)
    referenced = {
        item.ReferencedSOPInstanceUID for item in found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referenced == {f"1.2.3.4.5.{index}" for index in range(1, 6)}
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"


def test_each_frame_names_the_slice_below_it(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "model", GLIOMA)
    slices = {str(pydicom.dcmread(path).SOPInstanceUID): pydicom.dcmread(path) for path in source}
    for group in pydicom.dcmread(tmp_path / "mask.dcm").PerFrameFunctionalGroupsSequence:
        below = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        expected = slices[below].ImagePositionPatient
        np.testing.assert_allclose(group.PlanePositionSequence[0].ImagePositionPatient, expected, atol=1e-4)


def test_the_same_mask_has_the_same_identity(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    labels = labels_on(grid)
    for name, mask, model in (("a", labels, "m"), ("b", labels, "m"), ("c", labels * 0, "m"), ("d", labels, "n")):
        write_dicom_seg(tmp_path / f"{name}.dcm", mask, grid, source, model, GLIOMA)
    a, b, c, d = (pydicom.dcmread(tmp_path / f"{name}.dcm").SOPInstanceUID for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


def test_no_tumour_is_a_segmentation_without_voxels(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    write_dicom_seg(tmp_path / "mask.dcm", np.zeros(grid.shape, np.uint8), grid, source, "model", GLIOMA)
    found = pydicom.dcmread(tmp_path / "mask.dcm")
    assert len(found.SegmentSequence) == 3
    assert not found.pixel_array.any()


def test_colours_are_those_of_the_page() -> None:
    style = (ROOT / "src/lacunet/report/style.css").read_text(encoding="utf-8")
    for finding in FINDINGS.values():
        assert "#{:02x}{:02x}{:02x}".format(*finding.colour) in style
    assert FINDINGS.keys() == GLIOMA.labels.keys()


def test_another_grid_is_refused(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    moved = Grid(grid.shape, grid.affine + np.array([[0, 0, 0, 0.5], [0] * 4, [0] * 4, [0] * 4]))
    with pytest.raises(DataError, match=r"does not lie on the grid of the source series: .* up to 0.5 mm apart"):
        write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), moved, source, "model", GLIOMA)
    thinner = Grid((9, 12, 4), grid.affine)
    with pytest.raises(DataError, match="4 x 12 x 9 against 5 x 12 x 9 voxels"):
        write_dicom_seg(tmp_path / "mask.dcm", labels_on(thinner), thinner, source, "model", GLIOMA)
    assert not (tmp_path / "mask.dcm").exists()


def test_a_missing_slice_is_refused(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    with pytest.raises(DataError, match="do not make a volume: uneven, doubled or missing slices"):
        write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, [*source[:2], *source[3:]], "model", GLIOMA)


def test_a_broken_source_is_refused_without_its_name(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "Doe_Jane"), grid_of(AXIAL)
    for break_it in (lambda: source[1].write_bytes(b"not an image"), source[1].unlink):
        break_it()
        with pytest.raises(DataError, match="file 2 of 5 of the source series cannot be read") as caught:
            write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "model", GLIOMA)
        assert "Doe" not in str(caught.value)
    with pytest.raises(DataError, match="no DICOM files to refer to"):
        write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, [], "model", GLIOMA)


def test_a_mask_on_what_dcm2niix_makes_fits_its_source(tmp_path: Path) -> None:
    if (program := shutil.which("dcm2niix") or _program_of_the_wheel()) is None:
        pytest.skip("dcm2niix is not installed")
    source = make_series(tmp_path / "series", OBLIQUE)
    subprocess.run([program, "-f", "scan", "-o", tmp_path, tmp_path / "series"], check=True, stdout=subprocess.PIPE)
    image = nib.load(tmp_path / "scan.nii")
    grid = Grid(image.shape, image.affine)
    labels = labels_on(grid)
    write_dicom_seg(tmp_path / "mask.dcm", labels, grid, source, "model", GLIOMA)
    found, affine = labels_in(tmp_path / "mask.dcm")
    centres = np.argwhere(labels == 3)
    places = nib.affines.apply_affine(grid.affine, centres)
    there = np.rint(nib.affines.apply_affine(np.linalg.inv(affine), places)).astype(int)
    assert (found[tuple(there.T)] == 3).all()
    assert (found == 3).sum() == len(centres)


def _program_of_the_wheel() -> str | None:
    try:
        import dcm2niix
    except ImportError:
        return None
    return str(dcm2niix.bin)
