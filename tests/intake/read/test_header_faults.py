"""Faults of real DICOM headers, one a row: what is done with the series, and what the user is told."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from lacunet.intake.read.kinds import why_not
from lacunet.intake.read.series import Series
from phantoms_made import make_phantom
from small import named

pydicom = pytest.importorskip("pydicom", reason='needs the extra "dicom"')
pytest.importorskip("dcm2niix", reason='needs the extra "dicom"')

from pydicom.uid import generate_uid  # noqa: E402

from dicom_made import Examination  # noqa: E402
from lacunet.intake.read.convert import convert, expected_grid  # noqa: E402
from lacunet.intake.read.study import read_pile, studies_of  # noqa: E402

SLICES = 22


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """An invented FLAIR at 8 mm."""
    return dict(make_phantom(3, spacing=8.0).images)["t2f"]


@pytest.fixture
def affine() -> np.ndarray:
    """Oblique, so that no number is round."""
    c, s = np.cos(0.1), np.sin(0.1)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([8.013, 8.013, 7.987])
    matrix[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ matrix[:3, :3]
    matrix[:3, 3] = -84.123, -116.456, -78.789
    return matrix


@pytest.fixture
def examination(tmp_path: Path) -> Examination:
    return Examination(tmp_path / "source")


def found_in(folder: Path) -> list[Series]:
    """All series of the one study; every file is in one of them, or counted as a copy in one."""
    pile = read_pile(sorted(path for path in folder.rglob("*") if path.is_file()))
    series = [one for study in studies_of(pile.headers) for one in study.series]
    assert sum(one.files for one in series) == len(pile.headers)
    paths = [header.path for one in series for header in one.headers]
    assert len(set(paths)) == len(paths)
    return series


def numbers(count: int = SLICES) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1, 1, (count, 6))


def jitter(name: str, size: float, places: int = 9) -> Callable[[int, Any], dict[str, Any]]:
    """Noise on every number of a tag, another for each slice."""

    def change(k: int, data: Any) -> dict[str, Any]:
        values = np.atleast_1d(np.array(data[name].value, float))
        noisy = [f"{value:.{places}f}"[:16] for value in values + size * numbers()[k, : len(values)]]
        return {name: noisy if len(noisy) > 1 else noisy[0]}

    return change


def rounded(name: str, places: int) -> Callable[[int, Any], dict[str, Any]]:
    return lambda k, data: {name: [f"{float(value):.{places}f}" for value in data[name].value]}


def shifted(across: float = 0.0, along: float = 0.0) -> Callable[[int, Any], dict[str, Any]]:
    """Every second slice moved along the normal, or within its plane."""

    def change(k: int, data: Any) -> dict[str, Any]:
        row, column = np.array(data.ImageOrientationPatient, float).reshape(2, 3)
        place = np.array(data.ImagePositionPatient, float) + (k % 2) * (along * np.cross(row, column) + across * row)
        return {"ImagePositionPatient": [f"{value:.9f}"[:16] for value in place]}

    return change


def tags(**values: Any) -> Callable[[int, Any], dict[str, Any]]:
    """Tags of slice k: a value, or what a function of k gives; None drops one."""
    return lambda k, data: {name: value(k) if callable(value) else value for name, value in values.items()}


def rewrite(folder: Path, change: Callable[[int, Any], dict[str, Any]]) -> None:
    """Change the headers of the files of a series, slice by slice."""
    for k, path in enumerate(sorted(folder.glob("*.dcm"))):
        with pydicom.config.disable_value_validation():
            data = pydicom.dcmread(path)
            for name, value in change(k, data).items():
                if value is not None:
                    setattr(data, name, value)
                elif name in data:
                    delattr(data, name)
            data.save_as(path)


@dataclass(frozen=True)
class Fault:
    """What is changed in the headers of one series of 22 slices, and what the user is told."""

    name: str
    change: Callable[[int, Any], dict[str, Any]]
    words: tuple[str, ...] = ()
    off_mm: float = 1e-3


ONE = generate_uid()

USED_WHOLE = [
    Fault("orientation jitters by 2e-6", jitter("ImageOrientationPatient", 2e-6)),
    Fault("orientation jitters by 1e-4", jitter("ImageOrientationPatient", 1e-4), off_mm=0.02),
    Fault("orientation jitters by 1e-3", jitter("ImageOrientationPatient", 1e-3), off_mm=0.2),
    Fault("orientation rounded to 3 digits", rounded("ImageOrientationPatient", 3), off_mm=0.2),
    Fault("orientation of length 1.002", lambda k, data: {
        "ImageOrientationPatient": [f"{1.002 * float(value):.9f}" for value in data.ImageOrientationPatient]
    }),
    Fault("pixel spacing jitters by 2e-5", jitter("PixelSpacing", 2e-5), off_mm=2e-3),
    Fault("pixel spacing jitters by 1e-3", jitter("PixelSpacing", 1e-3), off_mm=0.02),
    Fault("pixel spacing rounded on some", tags(PixelSpacing=lambda k: ["8.01" if k % 3 else "8.013"] * 2), off_mm=0.1),
    Fault("echo time on a rounding edge", tags(EchoTime=lambda k: "121.4999" if k % 2 else "121.5001")),
    Fault("echo time jitters by 0.3 ms", jitter("EchoTime", 0.3)),
    Fault("repetition time jitters", jitter("RepetitionTime", 40.0)),
    Fault("inversion time jitters", jitter("InversionTime", 0.01)),
    Fault("flip angle jitters", tags(FlipAngle=lambda k: 150 + 0.001 * k)),
    Fault("echo number varies", tags(EchoNumbers=lambda k: k % 2 + 1)),
    Fault("position rounded to 0.01 mm", rounded("ImagePositionPatient", 2), off_mm=0.02),
    Fault("position rounded to 0.1 mm", rounded("ImagePositionPatient", 1), ("evened out",), off_mm=0.06),
    Fault("position noisy by 0.1 mm", jitter("ImagePositionPatient", 0.1), ("evened out",), off_mm=0.1),
    Fault("slices shifted sideways", shifted(across=1.0), ("shifted sideways by up to 1.0 mm",), off_mm=1.0),
    Fault("InstanceNumber missing", tags(InstanceNumber=None)),
    Fault("InstanceNumber the same in all", tags(InstanceNumber=1)),
    Fault("InstanceNumber against the positions", tags(InstanceNumber=lambda k: SLICES - k)),
    Fault("InstanceNumber in shuffled order", tags(InstanceNumber=lambda k: 7 * k % 23)),
    Fault("one SOPInstanceUID for all", tags(SOPInstanceUID=ONE), ("22 files share 1 SOPInstanceUID;",)),
    Fault("SOPInstanceUIDs in pairs", tags(SOPInstanceUID=lambda k: f"1.2.3.{k // 2}"), ("share 11 SOPInstanceUIDs",)),
    Fault("a SeriesInstanceUID for each slice", tags(SeriesInstanceUID=lambda k: f"1.2.4.{k}"),
          ("22 different SeriesInstanceUIDs; they were joined",)),
    Fault("all UIDs anew for each slice", tags(
        SeriesInstanceUID=lambda k: f"1.2.4.{k}", FrameOfReferenceUID=lambda k: f"1.2.5.{k}",
        EchoTime=lambda k: 120 + k / 1e4,
    ), ("22 different SeriesInstanceUIDs; they were joined",)),
    Fault("AcquisitionNumber varies", tags(AcquisitionNumber=lambda k: k % 3)),
    Fault("AcquisitionTime of every slice its own", tags(AcquisitionTime=lambda k: f"1010{k:02d}")),
    Fault("SliceThickness 0, SpacingBetweenSlices wrong", tags(SliceThickness="0", SpacingBetweenSlices="1.5")),
    Fault("no SliceThickness", tags(SliceThickness=None, SpacingBetweenSlices=None)),
    Fault("RescaleSlope 0", tags(RescaleSlope="0", RescaleIntercept="0")),
    Fault("dates and times that are none", tags(StudyDate="20211399", AcquisitionTime="991", StudyTime="noon")),
    Fault("no dates and times", tags(StudyDate=None, StudyTime=None, AcquisitionDate=None, AcquisitionTime=None)),
    Fault("no SeriesNumber, no description", tags(SeriesNumber=None, SeriesDescription=None)),
    Fault("no frame of reference", tags(FrameOfReferenceUID=None)),
    Fault("a UID that is none", tags(StudyInstanceUID="1.2.x", SOPInstanceUID=lambda k: f"1.2.00{k}.abc")),
    Fault("another maker's name in some", tags(Manufacturer=lambda k: "GE" if k % 2 else None)),
]  # fmt: skip


@pytest.mark.parametrize("fault", USED_WHOLE, ids=[fault.name for fault in USED_WHOLE])
def test_a_fault_that_costs_no_slice(examination, image, affine, tmp_path, fault) -> None:
    examination.write(image, affine, 6, "FLAIR", "t2f")
    rewrite(examination.folder, fault.change)
    (series,) = found_in(examination.folder)
    assert len(series.headers) == SLICES
    assert why_not(series) is None
    converted = convert(series, tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(converted.path).dataobj), image)
    corners = np.array([[x, y, z, 1] for x in (0, 21) for y in (0, 25) for z in (0, 21)])
    assert np.abs(corners @ (converted.grid.affine - affine).T).max() <= fault.off_mm
    assert converted.even
    assert len(converted.warnings) == len(fault.words), converted.warnings
    for words, said in zip(fault.words, converted.warnings, strict=True):
        assert words in said


@pytest.mark.parametrize("way", [
    {"compress": "rle"}, {"compress": "jpegls"}, {"compress": "jpeg2000"}, {"implicit": True, "suffix": ".IMA"},
    {"preamble": False, "implicit": True}, {"tags": {"PixelRepresentation": 1}},
    {"tags": {"PhotometricInterpretation": "MONOCHROME1"}},
], ids=named)  # fmt: skip
def test_files_with_a_fault_of_every_make_keep_their_pixels(examination, image, affine, tmp_path, way) -> None:
    """The fault is one that needs them written anew for the converter; without it the voxels are the same."""
    volume = image.repeat(2, axis=0).repeat(2, axis=1)  # JPEG 2000 wants 32 x 32 pixels
    found = []
    for number, each in enumerate((None, lambda k: {"InstanceNumber": None}), 1):
        folder = examination.folder / str(number)
        Examination(folder, uid=examination.uid).write(volume, affine, number, "FLAIR", "t2f", each=each, **way)
        (series,) = found_in(folder)
        found.append(nib.load(convert(series, tmp_path / f"{number}.nii.gz").path))
    np.testing.assert_array_equal(found[0].get_fdata(), found[1].get_fdata())
    np.testing.assert_allclose(found[0].affine, found[1].affine, atol=1e-4)


def test_a_character_set_that_is_none_costs_no_slice(examination, image, affine) -> None:
    examination.write(image, affine, 6, "FLAIR für Köpfe", "t2f", tags={"SpecificCharacterSet": "ISO_IR 100"})
    for path in examination.folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    (series,) = found_in(examination.folder)
    assert len(series.headers) == SLICES
    assert why_not(series) is None


# ---------------------------------------------------------------- values


def philips(k: int, data: Any) -> dict[str, Any]:
    """Display values scaled per slice; only with Philips' own slope do they become comparable."""
    block = data.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", 0.01 * (k % 3 + 1))
    return {"Manufacturer": "Philips Medical Systems", "RescaleSlope": 1.5 + k % 2, "RescaleIntercept": 0}


SCALES = [
    Fault("slope differs", lambda k, data: {"RescaleSlope": 1.0 + k % 2, "RescaleIntercept": 0}),
    Fault("intercept differs", lambda k, data: {"RescaleSlope": 1, "RescaleIntercept": 100.0 * (k % 2)}),
    Fault("slope missing in some", lambda k, data: {"RescaleSlope": 3.0, "RescaleIntercept": 0} if k % 2 else {}),
    Fault("slope differs in the last digit", lambda k, data: {"RescaleSlope": f"{0.25 + 1e-9 * k:.12f}"}),
    Fault("Philips' own slope differs", philips),
]


@pytest.mark.parametrize("fault", SCALES, ids=[fault.name for fault in SCALES])
def test_slices_of_different_scales_come_out_true(examination, image, affine, tmp_path, fault) -> None:
    examination.write(image, affine, 6, "FLAIR", "t2f")
    rewrite(examination.folder, fault.change)
    (series,) = found_in(examination.folder)
    found = nib.load(convert(series, tmp_path / "scan.nii.gz").path).get_fdata()
    expected = np.empty(image.shape)
    for k in range(SLICES):
        one = series.slices[k]
        if fault.change is philips:  # true: stored / scale slope, in units of the first slice
            expected[:, :, k] = image[:, :, k] / (k % 3 + 1) * 1.5
        else:
            expected[:, :, k] = image[:, :, k] * one.slope + one.intercept
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_frames_of_different_scales_come_out_true(examination, image, affine, tmp_path) -> None:
    path = examination.write_enhanced(image, affine, 6, "FLAIR", "t2f")
    data = pydicom.dcmread(path)
    scale = data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    del data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for k, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        one = pydicom.Dataset()
        one.update(scale[0])
        one.RescaleSlope = 1.0 + k % 2
        frame.PixelValueTransformationSequence = [one]
    data.save_as(path)
    (series,) = found_in(examination.folder)
    found = nib.load(convert(series, tmp_path / "scan.nii.gz").path).get_fdata()
    np.testing.assert_allclose(found, image * (1.0 + np.arange(SLICES) % 2), rtol=1e-5)


# ---------------------------------------------------------------- what is set aside, interpolated or left out, and told


def test_slices_too_uneven_are_interpolated_and_two_interleaved_stacks_are_named(
    examination, image, affine, tmp_path
) -> None:
    examination.write(image, affine, 6, "FLAIR", "t2f")
    rewrite(examination.folder, shifted(along=2.0))
    (series,) = found_in(examination.folder)
    converted = convert(series, tmp_path / "scan.nii.gz")
    assert not converted.even
    (said,) = converted.warnings
    assert re.match("its slices are unevenly spaced .* as where the slices of two stacks interleave$", said)


def test_a_missing_slice_of_a_thin_stack_is_noticed(examination, image, affine, tmp_path) -> None:
    affine[:3, 2] *= 0.4 / 7.987
    for path in examination.write(image, affine, 6, "FLAIR", "t2f")[11:12]:
        path.unlink()
    (series,) = found_in(examination.folder)
    assert not series.even
    assert series.missing_slices == 1


SIBLINGS = [
    ("another size", {"Rows": 13}, "1 file of its series is no part of it: another size or kind of image"),
    ("no position", {"ImagePositionPatient": None}, "another way of stating the position"),
    ("another direction", {"ImageOrientationPatient": ["0", "1", "0", "0", "0", "-1"]}, "another orientation"),
    ("another spacing", {"PixelSpacing": ["4", "4"]}, "another pixel spacing"),
    ("another echo", {"EchoTime": 20}, "another echo time"),
]


@pytest.mark.parametrize(("name", "change", "words"), SIBLINGS, ids=[row[0] for row in SIBLINGS])
def test_a_slice_that_does_not_fit_is_split_off_and_told(
    examination, image, affine, tmp_path, name, change, words
) -> None:
    examination.write(image, affine, 6, "FLAIR", "t2f")
    rewrite(examination.folder, lambda k, data: change if k == SLICES - 1 else {})
    whole, piece = sorted(found_in(examination.folder), key=lambda one: -len(one.headers))
    assert (len(whole.headers), len(piece.headers)) == (SLICES - 1, 1)
    assert why_not(piece) is not None
    (said,) = convert(whole, tmp_path / "scan.nii.gz").warnings
    assert words in said


def test_magnitude_phase_and_whole_echoes_are_images_of_their_own(examination, image, affine) -> None:
    uid = generate_uid()
    for number, change in enumerate(({"EchoTime": 20}, {"EchoTime": 30}, {"ImageType": ["ORIGINAL", "PRIMARY", "P"]})):
        examination.write(
            image, affine, 4, "GRE", "t2w", tags={"EchoTime": 20, **change}, series=uid, suffix=f".{number}"
        )
    found = found_in(examination.folder)
    assert [len(one.headers) for one in found] == [SLICES] * 3
    assert [one.notes for one in found] == [()] * 3


TWICE = [
    ("by AcquisitionNumber", lambda k, n: {"AcquisitionNumber": n, "AcquisitionTime": "101010"}, 2),
    ("by time point", lambda k, n: {"TemporalPositionIdentifier": n, "AcquisitionTime": "101010"}, 2),
    ("by time", lambda k, n: {"AcquisitionTime": f"10{n}0{k:02d}"}, 2),
    ("by InstanceNumber", lambda k, n: {"AcquisitionTime": "101010", "InstanceNumber": 22 * n + k}, 2),
    ("by nothing", lambda k, n: {"AcquisitionTime": "101010", "InstanceNumber": k}, 1),
    ("by b-value", lambda k, n: {"AcquisitionNumber": n, "DiffusionBValue": 1000.0 * n}, 1),
]


@pytest.mark.parametrize(("name", "change", "parts"), TWICE, ids=[row[0] for row in TWICE])
def test_two_acquisitions_of_one_series(examination, image, affine, tmp_path, name, change, parts) -> None:
    uid = generate_uid()
    for n in (1, 2):
        each = lambda k, n=n: change(k, n)  # noqa: E731
        examination.write(image + n, affine, 4, "T2", "t2w", series=uid, suffix=f".{n}", each=each)
    found = found_in(examination.folder)
    assert len(found) == parts
    if parts == 1:
        words = "is diffusion imaging" if name == "by b-value" else "holds the same slices 2 times or more"
        assert words in (why_not(found[0]) or "")
        return
    for n, series in enumerate(found, 1):
        assert why_not(series) is None
        converted = convert(series, tmp_path / f"{n}.nii.gz")
        np.testing.assert_array_equal(np.asarray(nib.load(converted.path).dataobj), image + n)
        assert converted.warnings == ("22 files of its series are no part of it: another acquisition",)


def test_two_acquisitions_that_interleave_unevenly_are_told_apart(examination, image, affine) -> None:
    uid = generate_uid()
    for n, by in enumerate((0.0, 2.5)):
        moved = affine.copy()
        moved[:3, 3] += by * affine[:3, 2] / 7.987
        examination.write(image + n, moved, 4, "T2", "t2w", series=uid, suffix=f".{n}", tags={"AcquisitionNumber": n})
    found = found_in(examination.folder)
    assert [len(one.headers) for one in found] == [SLICES, SLICES]
    assert all(one.even for one in found)


def test_a_repeated_acquisition_that_was_broken_off_does_not_cost_the_whole_one(examination, image, affine) -> None:
    uid = generate_uid()
    for n, slices in enumerate((range(9), range(SLICES)), 1):
        examination.write(
            image + n, affine, 4, "T2", "t2w", series=uid, suffix=f".{n}", slices=slices, tags={"AcquisitionNumber": n}
        )
    lengths = {len(one.headers): one.notes for one in found_in(examination.folder)}
    assert lengths[SLICES] == ("9 files of its series are no part of it: another acquisition",)


def test_the_same_pixels_under_another_uid_are_a_copy(examination, image, affine, tmp_path) -> None:
    uid = generate_uid()
    examination.write(image, affine, 4, "T2", "t2w", series=uid)
    examination.write(image, affine, 4, "T2", "t2w", series=uid, suffix=".again", slices=range(5))
    (series,) = found_in(examination.folder)
    assert (len(series.headers), series.copies) == (SLICES, 5)
    assert convert(series, tmp_path / "scan.nii.gz").warnings == ("5 files were there twice",)


def test_copies_of_copies_are_counted_too(examination, image, affine) -> None:
    uid = generate_uid()
    for number in (1, 2):
        for path in examination.write(image, affine, 4, "T2", "t2w", series=uid, suffix=f".{number}"):
            path.with_name(f"{path.name}.copy").write_bytes(path.read_bytes())
    (series,) = found_in(examination.folder)
    assert (len(series.headers), series.copies) == (SLICES, 3 * SLICES)


def test_other_pixels_at_one_place_are_not_taken_for_a_copy(examination, image, affine) -> None:
    uid = generate_uid()
    tags_of_all = {"AcquisitionTime": "101010"}
    examination.write(image, affine, 4, "T2", "t2w", series=uid, tags=tags_of_all)
    examination.write(image + 1, affine, 4, "T2", "t2w", series=uid, suffix=".2", slices=range(5), tags=tags_of_all)
    (series,) = found_in(examination.folder)
    assert why_not(series) == "has 5 slices twice at one place; it cannot be told which belong together"


def test_files_without_any_position_are_no_copies_of_each_other(examination, image, affine) -> None:
    examination.write(image, affine, 4, "T2", "t2w")
    rewrite(examination.folder, tags(ImagePositionPatient=None, InstanceNumber=None, SOPInstanceUID="1.2.3"))
    (series,) = found_in(examination.folder)
    assert series.copies == sum(not image[:, :, k].any() for k in range(SLICES)) - 1
    assert "does not say where its slices lie" in (why_not(series) or "")


def test_a_slice_that_lies_metres_away_is_named(examination, image, affine) -> None:
    examination.write(image, affine, 6, "FLAIR", "t2f")
    rewrite(examination.folder, lambda k, data: {"ImagePositionPatient": [0, 0, 5000 if k == SLICES - 1 else 8 * k]})
    (series,) = found_in(examination.folder)
    assert re.fullmatch(r"covers 49\d\d mm, far more than a head \(at most 1000 mm\)", str(why_not(series)))


def test_one_position_for_all_slices_is_named(examination, image, affine) -> None:
    examination.write(image, affine, 4, "T2", "t2w")
    place = pydicom.dcmread(examination.folder / "004-000.dcm").ImagePositionPatient
    rewrite(examination.folder, tags(ImagePositionPatient=lambda k: place))
    (series,) = found_in(examination.folder)
    assert "states one position for all its" in (why_not(series) or "")


def test_a_file_of_three_planes_is_a_localiser(examination, image, affine) -> None:
    path = examination.write_enhanced(image, affine, 1, "T1", "t1n")
    data = pydicom.dcmread(path)
    orientation = data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    del data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for k, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        one = pydicom.Dataset()
        one.ImageOrientationPatient = orientation.ImageOrientationPatient if k % 2 else [0, 1, 0, 0, 0, -1]
        frame.PlaneOrientationSequence = [one]
    data.save_as(path)
    (series,) = found_in(examination.folder)
    assert why_not(series) == "holds slices in 2 directions, as a localiser does"


# ---------------------------------------------------------------- series that belong together


@pytest.mark.parametrize(("first", "second", "words"), [
    (range(0, 22, 2), range(1, 22, 2), "lie between"),
    (range(11), range(11, 22), "continue"),
])  # fmt: skip
def test_series_that_complete_each_other_are_named(examination, image, affine, first, second, words) -> None:
    for number, slices in ((4, first), (5, second)):
        examination.write(image, affine, number, "T2 tra", "t2w", slices=slices)
    one, other = found_in(examination.folder)
    assert one.notes == (
        f"its slices {words} those of series 5 (T2 TRA), with the same settings: the two may be parts of one scan, and "
        "only one is used",
    )
    assert f"{words} those of series 4" in other.notes[0]


@pytest.mark.parametrize("change", [
    {"kind": "t1n"}, {"shift": 0.0}, {"shift": 0.05}, {"tags": {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}},
    {"tags": {"ContrastBolusAgent": "Gadovist"}},
], ids=named)  # fmt: skip
def test_series_of_other_settings_or_at_the_same_places_are_not(examination, image, affine, change) -> None:
    examination.write(image, affine, 4, "T2 tra", "t2w")
    moved = affine.copy()
    moved[:3, 3] += change.get("shift", 0.5) * affine[:3, 2]
    examination.write(image, moved, 5, "T2 tra", change.get("kind", "t2w"), tags=change.get("tags"))
    assert [one.notes for one in found_in(examination.folder)] == [(), ()]


def test_slices_of_several_series_with_uids_of_their_own_are_joined_by_series(examination, image, affine) -> None:
    for number, (words, kind) in enumerate([("FLAIR", "t2f"), ("T1", "t1n"), ("localizer", "t1n")], 3):
        slices = [9, 10, 11] if words == "localizer" else None
        each = lambda k: {"SeriesInstanceUID": generate_uid()}  # noqa: E731
        examination.write(image, affine, number, words, kind, each=each, slices=slices)
    found = found_in(examination.folder)
    assert [(one.key, len(one.headers)) for one in found[:2]] == [("3", SLICES), ("4", SLICES)]
    assert [len(one.headers) for one in found[2:]] == [1, 1, 1]


def test_the_grid_of_a_rounded_stack_has_right_angles(examination, image, affine) -> None:
    affine[:3, 2] *= 0.5  # 4 mm: rounding matters more
    examination.write(image, affine, 6, "FLAIR", "t2f")
    rewrite(examination.folder, rounded("ImagePositionPatient", 1))
    (series,) = found_in(examination.folder)
    axes = expected_grid(series).affine[:3, :3]
    cosines = (axes / np.linalg.norm(axes, axis=0)).T @ (axes / np.linalg.norm(axes, axis=0))
    np.testing.assert_allclose(cosines, np.eye(3), atol=1e-6)
