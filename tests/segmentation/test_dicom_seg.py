"""A mask as a DICOM segmentation: on the voxels of its source, in the words of a viewer, and refused elsewhere."""

import shutil
import struct
import subprocess
import sys
import warnings
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
from lacunet.intake.read.convert import expected_grid  # noqa: E402
from lacunet.intake.read.header import read_header  # noqa: E402
from lacunet.intake.read.series import Series, in_order  # noqa: E402
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


def change_headers(source: list[Path], change: Any) -> None:
    """Change header k of a series, also to what DICOM does not allow."""
    for k, path in enumerate(source):
        with pydicom.config.disable_value_validation():
            header = pydicom.dcmread(path)
            for name, value in change(k).items():
                if value is None:
                    delattr(header, name)
                else:
                    setattr(header, name, value)
            header.save_as(path)


NOT_ALLOWED = [
    ("PatientSex", "0000"), ("PatientSex", "U"), ("PatientSex", "female"), ("PatientBirthDate", "1964"),
    ("PatientBirthDate", "19641399"), ("PatientBirthDate", "12.08.1964"), ("PatientID", "7" * 80),
    ("PatientID", ["7", "8"]), ("StudyDate", "2024-01-02"), ("StudyTime", "noon"), ("StudyTime", "999999"),
    ("StudyID", "a study with a long name"), ("AccessionNumber", "A" * 30), ("PatientName", "Doe^" + "J" * 80),
]  # fmt: skip


@pytest.mark.parametrize("name", ["AccessionNumber", "StudyID", "ReferringPhysicianName"])
def test_an_attribute_of_a_type_that_its_bytes_cannot_be_is_left_empty_and_named(tmp_path: Path, name: str) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    change_headers(source, lambda k: {name: "ACC-998877"})
    tag = struct.pack("<HH", *divmod(int(pydicom.datadict.tag_for_keyword(name) or 0), 2**16))
    for path in source:
        content, at = path.read_bytes(), path.read_bytes().index(tag) + 4
        path.write_bytes(content[:at] + b"FD" + content[at + 2 :])
    notes = write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "model", GLIOMA)
    assert notes == (f"{name} of the source holds a value that DICOM does not allow, and was left empty",)
    assert str(pydicom.dcmread(tmp_path / "mask.dcm")[name].value or "") == ""


@pytest.mark.parametrize(("name", "value"), NOT_ALLOWED, ids=[f"{name} {value}"[:24] for name, value in NOT_ALLOWED])
def test_what_dicom_does_not_allow_is_left_empty_and_named(
    tmp_path: Path, capfd: Any, name: str, value: str | list[str]
) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    change_headers(source, lambda k: {name: value})
    notes = write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "model", GLIOMA)
    assert notes == (f"{name} of the source holds a value that DICOM does not allow, and was left empty",)
    assert str(pydicom.dcmread(tmp_path / "mask.dcm")[name].value or "") == ""
    assert np.array_equal(labels_in(tmp_path / "mask.dcm")[0], labels_on(grid))
    assert capfd.readouterr() == ("", "")


def rounded_to(places: int) -> Any:
    """The positions of the slices of the oblique series, as a scanner rounds them."""
    directions = orthonormal(OBLIQUE)
    start = np.array([-40.0, -50.0, 20.0])

    def change(k: int) -> dict[str, Any]:
        place = start + (4 - k) * 3.0 * np.cross(*directions)  # the files are named against their order
        return {"ImagePositionPatient": [f"{value:.{places}f}" for value in place]}

    return change


AMISS = [
    ("positions rounded to 0.01 mm", rounded_to(2), ()),
    ("positions rounded to 0.1 mm", rounded_to(1), ()),
    ("orientation jitters", lambda k: {
        "ImageOrientationPatient": [f"{v + 1e-5 * (k % 2):.9f}" for v in orthonormal(OBLIQUE).ravel()]
    }, ()),
    ("pixel spacing jitters", lambda k: {"PixelSpacing": [f"{0.9 + 2e-5 * (k % 2):.6f}", "1.1"]}, ()),
    ("no frame of reference", lambda k: {"FrameOfReferenceUID": None}, ("names no frame of reference",)),
    ("frames of reference differ", lambda k: {"FrameOfReferenceUID": f"1.2.9.{k}"}, ("5 frames of reference",)),
    ("a series for each slice", lambda k: {"SeriesInstanceUID": f"1.2.8.{k}"}, ()),
    ("UIDs that are none", lambda k: {"StudyInstanceUID": "1.02.x", "SOPInstanceUID": f"1.2.x.{k}"},
     ("StudyInstanceUID of the source is not one", "SOPInstanceUID of the source is not one")),
    ("a series number that is none", lambda k: {"SeriesNumber": None}, ()),
    ("a negative series number", lambda k: {"SeriesNumber": -5}, ()),
    ("nothing of the patient", lambda k: {"PatientName": None, "PatientID": None, "PatientSex": None}, ()),
    ("the patient in one file only", lambda k: {"PatientID": "7" if k == 0 else ""}, ()),
    ("values elsewhere that are none", lambda k: {"PatientAge": "old", "PatientComments": "x" * 20000}, ()),
    ("a name of one word", lambda k: {"PatientName": "Mustermann"}, ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), AMISS, ids=[row[0] for row in AMISS])
def test_a_source_with_faults_gets_its_mask(
    tmp_path: Path, capfd: Any, caplog: Any, name: str, change: Any, words: tuple[str, ...]
) -> None:
    source, grid = make_series(tmp_path / "series", OBLIQUE), grid_of(OBLIQUE)
    change_headers(source, change)
    mine = expected_grid(in_order(whole_series(source)))
    notes = write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), mine, source, "model", GLIOMA)
    assert len(notes) == len(words), notes
    assert all(word in note for word, note in zip(words, notes, strict=True))
    found, affine = labels_in(tmp_path / "mask.dcm")
    assert np.array_equal(found, labels_on(grid))
    np.testing.assert_allclose(affine, grid.affine, atol=0.12)
    with pydicom.config.disable_value_validation():
        mask = pydicom.dcmread(tmp_path / "mask.dcm")
        referenced = {
            (series.SeriesInstanceUID, instance.ReferencedSOPInstanceUID)
            for series in mask.ReferencedSeriesSequence
            for instance in series.ReferencedInstanceSequence
        }
    headers = whole_series(source).headers
    assert referenced == {(header.series, header.sop_instance) for header in headers}
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    if "one file only" in name:
        assert mask.PatientID == "7"


def whole_series(source: list[Path]) -> Series:
    headers = [header for path in source if (header := read_header(path)) is not None]
    return Series("4", tuple(headers), tuple(one for header in headers for one in header.slices))


def test_a_character_set_that_is_none_does_not_stop_the_mask(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    change_headers(source, lambda k: {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "M\u00fcller"})
    for path in source:
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    (note,) = write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "model", GLIOMA)
    assert "SpecificCharacterSet of the source is not known" in note
    assert pydicom.dcmread(tmp_path / "mask.dcm").SpecificCharacterSet == "ISO_IR 192"


def test_files_of_one_uid_are_refused_with_the_reason(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    change_headers(source, lambda k: {"SOPInstanceUID": "1.2.3"})
    with pytest.raises(
        DataError, match="5 files of the source series share 1 SOPInstanceUID, so that nothing can refer"
    ):
        write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "model", GLIOMA)


def test_frames_in_any_order_carry_their_own_labels(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series", OBLIQUE), grid_of(OBLIQUE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = hd.legacy.LegacyConvertedEnhancedMRImage(
            [pydicom.dcmread(path) for path in source], "1.2.3.77", 5, "1.2.3.78", 1
        )
    frames = list(whole.PerFrameFunctionalGroupsSequence)
    whole.PerFrameFunctionalGroupsSequence = [frames[k] for k in (3, 0, 4, 1, 2)]
    for k, frame in enumerate(whole.PerFrameFunctionalGroupsSequence):
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [round(float(value), 2) for value in place]
        frame.FrameContentSequence[0].DimensionIndexValues = [1, k + 1]
    whole.save_as(tmp_path / "enhanced")
    labels = labels_on(grid)
    write_dicom_seg(tmp_path / "mask.dcm", labels, grid, [tmp_path / "enhanced"], "model", GLIOMA)
    assert np.array_equal(labels_in(tmp_path / "mask.dcm")[0], labels)
    heights = {k + 1: float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
               for k, frame in enumerate(whole.PerFrameFunctionalGroupsSequence)}  # fmt: skip
    for group in pydicom.dcmread(tmp_path / "mask.dcm").PerFrameFunctionalGroupsSequence:
        below = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        assert group.PlanePositionSequence[0].ImagePositionPatient[2] == pytest.approx(heights[below], abs=0.02)


def test_every_description_says_research_only(tmp_path: Path) -> None:
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    write_dicom_seg(tmp_path / "mask.dcm", labels_on(grid), grid, source, "a model of a very long name " * 3, GLIOMA)
    found = pydicom.dcmread(tmp_path / "mask.dcm")
    said = [
        found.SeriesDescription,
        found.ContentDescription,
        *(one.SegmentDescription for one in found.SegmentSequence),
    ]
    assert len(said) == 5
    assert all(text.startswith("lacunet, research use only") for text in said)


def test_what_libraries_say_of_a_name_is_never_printed(tmp_path: Path, capfd: Any) -> None:
    """Highdicom logs names of one word, pydicom warns of values; neither has a handler here, so they would print."""
    source, grid = make_series(tmp_path / "series"), grid_of(AXIAL)
    change_headers(source, lambda k: {"PatientName": "Mustermann", "PatientID": "Mustermann" * 9})
    command = [sys.executable, "-c", f"""
from pathlib import Path
import numpy as np
from lacunet.case import Grid
from lacunet.segmentation.dicom_seg import write_dicom_seg
from lacunet.task import GLIOMA
grid = Grid({grid.shape}, np.array({grid.affine.tolist()}))
source = [Path(path) for path in {[str(path) for path in source]}]
print(write_dicom_seg(Path({str(tmp_path / "mask.dcm")!r}), np.ones(grid.shape, np.uint8), grid, source, "m", GLIOMA))
"""]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "PatientID of the source" in done.stdout
    assert "Mustermann" not in done.stdout + done.stderr
    assert done.stderr == ""


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
