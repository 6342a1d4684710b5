"""From DICOM as hospitals export it to recognised, converted scans. All files are made from invented patients."""

import hashlib
import logging
import shutil
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from lacunet.errors import DataError, UsageError
from lacunet.intake.found import Survey
from lacunet.intake.read import convert, converter, header
from lacunet.intake.read.series import counted, group
from lacunet.intake.read.study import read_pile
from lacunet.intake.survey import Wishes, survey_source
from lacunet.task import GLIOMA
from phantoms_made import make_phantom
from small import named

pytest.importorskip("pydicom", reason='needs the extra "dicom"')
pytest.importorskip("dcm2niix", reason='needs the extra "dicom"')

from dicom_made import CT, ENHANCED, PET, SECONDARY, SECRETS, Examination

DESCRIPTIONS = {"t1n": "t1_tse_tra", "t1c": "t1_tse_tra_KM", "t2w": "t2_tse_tra", "t2f": "t2_tirm_tra_dark-fluid"}


@pytest.fixture(scope="session")
def images() -> dict[str, np.ndarray]:
    """An invented patient at 8 mm: 22 slices a sequence."""
    return dict(make_phantom(3, spacing=8.0).images)


@pytest.fixture
def affine() -> np.ndarray:
    matrix = np.diag([8.0, 8.0, 8.0, 1.0])
    matrix[:3, 3] = -84.0, -116.0, -78.0
    return matrix


@pytest.fixture
def examination(tmp_path: Path) -> Examination:
    return Examination(tmp_path / "source")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def write_all(examination: Examination, images: dict[str, np.ndarray], affine: np.ndarray, **ways: Any) -> None:
    for number, modality in enumerate(images, 3):
        examination.write(images[modality], affine, number, DESCRIPTIONS[modality], modality, **ways)


def left_out(survey: Survey) -> dict[str, str]:
    return {one.label: one.reason for one in survey.visits[0].left_out}


def chosen(survey: Survey) -> dict[str, str]:
    return {modality: scan.label.split(" (")[0] for modality, scan in survey.visits[0].scans.items()}


def everything_said(survey: Survey) -> str:
    """All that may be shown: the survey without the DICOM references, and the names of the files."""
    said = [*survey.notes, *map(repr, survey.left_out)]
    for visit in survey.visits:
        said += [visit.name, *visit.all_warnings, *map(repr, visit.left_out)]
        for scan in visit.scans.values():
            said += [scan.label, scan.reason, repr(scan.facts), scan.path.name, scan.path.parent.name]
    return "\n".join(said)


def require_same(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume)
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)


# ---------------------------------------------------------------- the usual, in many ways


def test_an_examination_among_rubbish_becomes_its_four_scans(examination, images, affine, work) -> None:
    write_all(examination, images, affine)
    source = examination.folder
    examination.write(images["t1n"], affine, 1, "localizer", "t1n", slices=[10, 11, 12])
    examination.write(
        images["t2w"], affine, 9, "ep2d_diff_ADC", "t2w", tags={"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}
    )
    (source / "damaged.dcm").write_bytes((source / "003-010.dcm").read_bytes()[:600])
    (source / "README.txt").write_text("this is no image " * 20, encoding="utf-8")
    with survey_source(source, work) as survey:
        assert survey.kind == "dicom"
        assert chosen(survey) == {"t1n": "series 3", "t1c": "series 4", "t2w": "series 5", "t2f": "series 6"}
        assert left_out(survey) == {
            "series 1 (LOCALIZER)": "is a localiser",
            "series 9 (EP2D DIFF ADC)": "is a diffusion map",
        }
        (visit,) = survey.visits
        for modality, scan in visit.scans.items():
            require_same(scan.path, images[modality], affine)
            assert scan.warnings == ()
            assert scan.confidence >= 0.8
            assert scan.facts.manufacturer == "Siemens"
        assert visit.scans["t2f"].facts.inversion_ms == 2500
        assert any("1 file could not be read: damaged" in note for note in survey.notes)
        assert "1 file passed over: no images" in survey.notes
        assert visit.warnings == ("1 file of the source could not be read; a scan may lack slices",)


@pytest.mark.parametrize("way", [
    {"compress": "rle"}, {"compress": "jpegls"}, {"compress": "jpeg2000"}, {"implicit": True, "suffix": ".IMA"},
    {"suffix": ""}, {"preamble": False, "implicit": True}, {"drop": ["SeriesNumber", "SliceThickness", "StudyDate"]},
], ids=named)  # fmt: skip
def test_files_of_every_make_are_read_the_same(examination, images, affine, work, way) -> None:
    volume = images["t2f"].repeat(2, axis=0).repeat(2, axis=1)  # JPEG 2000 wants 32 x 32 pixels
    examination.write(volume, affine, 6, "Ax T2 FLAIR", "t2f", **way)
    with survey_source(examination.folder, work) as survey:
        require_same(survey.visits[0].files["t2f"], volume, affine)


@pytest.mark.parametrize(("vendor", "descriptions"), [
    ("siemens", {"t1n": "t1_mprage_sag_p2_iso", "t1c": "t1_mprage_sag_p2_iso KM", "t2f": "t2_spc_da-fl_sag"}),
    ("ge", {"t1n": "Ax T1 PRE", "t1c": "Ax T1 +C", "t2f": "Ax T2 FLAIR"}),
    ("philips", {"t1n": "sT1W_SE nativ", "t1c": "sT1W_SE Gado", "t2f": "FLAIR_longTR"}),
    ("canon", {"t1n": "T1 単純", "t1c": "T1 造影", "t2f": "FLAIR 横断"}),
])  # fmt: skip
def test_habits_of_vendors(examination, images, affine, work, vendor, descriptions) -> None:
    examination.vendor = vendor
    for number, (modality, words) in enumerate(descriptions.items(), 1):
        tags = {"ContrastBolusAgent": "Gadovist", "SpecificCharacterSet": "ISO_IR 192"} if modality == "t1c" else {}
        tags["SpecificCharacterSet"] = "ISO_IR 192"
        examination.write(images[modality], affine, number, words, modality, tags=tags)
    with survey_source(examination.folder, work) as survey:
        assert chosen(survey) == {modality: f"series {k}" for k, modality in enumerate(descriptions, 1)}


def test_an_enhanced_file_is_read_as_its_slices_would_be(examination, images, affine, work) -> None:
    path = examination.write_enhanced(images["t2f"], affine, 6, "FLAIR", "t2f")
    with survey_source(path, work) as survey:
        scan = survey.visits[0].scans["t2f"]
        require_same(scan.path, images["t2f"], affine)
        assert scan.facts.repetition_ms == 9000
        assert scan.facts.inversion_ms == 2500
        assert scan.dicom is not None
        assert scan.dicom.multi_frame
        assert [one.sop_class_uid for one in scan.dicom.instances] == [ENHANCED]


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "oblique", "from the top down"])
def test_every_plane_keeps_its_place(examination, images, affine, work, plane) -> None:
    """The voxel axes of the result are those of the files: columns, rows, slices."""
    volume = images["t2w"]
    if plane == "oblique":
        c, s = np.cos(0.3), np.sin(0.3)
        affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) * 8
    elif plane == "from the top down":
        volume, affine[:3, 2], affine[2, 3] = volume[:, :, ::-1], [0, 0, -8], 90
    else:
        axes = [1, 2, 0] if plane == "sagittal" else [0, 2, 1]
        volume, affine[:3, :3] = volume.transpose(axes), affine[:3, axes]
    examination.write(volume, affine, 2, "T2", "t2w")
    with survey_source(examination.folder, work) as survey:
        scan = survey.visits[0].scans["t2w"]
        image = nib.load(scan.path)
        positions = [one.path.name for one in scan.dicom.instances] if scan.dicom else []
        voxels = np.asarray(image.dataobj)
        upright = positions[0] == "002-000.dcm"
        np.testing.assert_array_equal(voxels, volume if upright else volume[:, :, ::-1])
        corner = image.affine @ [0, 0, 0 if upright else volume.shape[2] - 1, 1]
        np.testing.assert_allclose(corner[:3], affine[:3, 3], atol=1e-3)


def test_slice_k_of_the_result_is_instance_k(examination, images, affine, work) -> None:
    """What a DICOM SEG relies on. Files are named in shuffled order."""
    import pydicom

    for path in examination.write(images["t2w"], affine, 2, "T2", "t2w"):
        path.rename(path.with_name(f"{hash(path.name) % 10**9}-{path.name}"))
    with survey_source(examination.folder, work) as survey:
        scan = survey.visits[0].scans["t2w"]
        assert scan.dicom is not None
        assert scan.dicom.even
        assert scan.dicom.frame_of_reference_uid == examination.frame
        assert scan.dicom.study_uid == examination.uid
        image = nib.load(scan.path)
        for k, instance in enumerate(scan.dicom.instances):
            data = pydicom.dcmread(instance.path)
            assert data.SOPInstanceUID == instance.sop_instance_uid
            np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, k].T, data.pixel_array)
            position = np.array([-1, -1, 1]) * (image.affine @ [0, 0, k, 1])[:3]
            np.testing.assert_allclose(position, data.ImagePositionPatient, atol=1e-3)


def test_a_rescale_slope_is_kept(examination, images, affine, work) -> None:
    examination.write(images["t2w"], affine, 2, "T2", "t2w", tags={"RescaleSlope": "0.25", "RescaleIntercept": "3"})
    with survey_source(examination.folder, work) as survey:
        found = nib.load(survey.visits[0].files["t2w"]).get_fdata()
        np.testing.assert_allclose(found, images["t2w"] * 0.25 + 3, rtol=1e-5)


def test_a_zip_is_read_and_its_files_exist_within_the_block(examination, images, affine, work, tmp_path) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    archive = tmp_path / "Mustermann.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for path in examination.folder.iterdir():
            stream.write(path, f"Mustermann_Erika/{path.name}")
    with survey_source(archive, work) as survey:
        scan = survey.visits[0].scans["t2f"]
        assert scan.dicom is not None
        first = scan.dicom.instances[0].path
        assert first.is_file()
    assert not first.exists()
    assert scan.path.is_file()
    assert [path.name for path in work.iterdir()] == [survey.visits[0].name]


def test_a_dicomdir_is_passed_over(examination, images, affine, work) -> None:
    from pydicom.fileset import FileSet

    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    files = FileSet()
    for path in examination.folder.iterdir():
        files.add(path)
    disc = examination.folder.parent / "disc"
    files.write(disc)
    files._stage["t"].cleanup()  # else its end is noticed, as a warning, in whichever test comes next
    assert (disc / "DICOMDIR").is_file()
    with survey_source(disc, work) as survey:
        require_same(survey.visits[0].files["t2f"], images["t2f"], affine)
        assert "1 file passed over: lists of contents (DICOMDIR)" in survey.notes


# ---------------------------------------------------------------- personal data


def test_nothing_personal_is_said_or_written(examination, images, affine, work) -> None:
    examination.folder = examination.folder / "Mustermann_Erika_4711"
    tags = {
        "ProtocolName": "T1 for Mustermann Erika 4711",
        "ImageComments": "Mustermann",
        "ContrastBolusAgent": "Mustermann",
    }
    examination.write(images["t1c"], affine, 3, "T1 Mustermann KM Erika 19640812", "t1c", tags=tags)
    examination.write(images["t2w"], affine, 4, "Mustermann", "t2w", tags=tags)
    examination.write(images["t1n"], affine, 5, "ADC Mustermann", "t1n")
    with survey_source(examination.folder, work) as survey:
        said = everything_said(survey)
        assert "series 3 (T1 … KM …)" in said
        for path in work.rglob("*.nii.gz"):
            content = nib.load(path).to_bytes()
            assert not any(secret.encode() in content for secret in SECRETS)
    assert not [secret for secret in SECRETS if secret in said]
    assert not [secret for secret in SECRETS if any(secret in str(path.relative_to(work)) for path in work.rglob("*"))]


def test_what_pydicom_says_is_not_repeated(examination, images, affine, monkeypatch, caplog) -> None:
    """Its warnings and its log may quote values; warnings are errors here."""
    import pydicom

    paths = examination.write(images["t2w"], affine, 4, "T2", "t2w", slices=[3])
    read = pydicom.dcmread

    def noisy(*args, **ways):
        logging.getLogger("pydicom").warning("Invalid value for PatientName: Mustermann")
        warnings.warn("Invalid value for PatientName: Mustermann", UserWarning, stacklevel=2)
        return read(*args, **ways)

    monkeypatch.setattr(pydicom, "dcmread", noisy)
    assert len(read_pile(paths).headers) == 1
    assert "Mustermann" not in caplog.text


def test_a_name_is_a_hash_of_the_study_and_stays_the_same(examination, images, affine, work) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    for _ in range(2):
        with survey_source(examination.folder, work) as survey:
            assert survey.visits[0].name == f"case-{hashlib.sha256(examination.uid.encode()).hexdigest()[:8]}"


def test_mixed_patients_are_refused_and_never_named(examination, images, affine, work, tmp_path) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    other = Examination(tmp_path / "source" / "b", person=("Musterfrau^Eva", "4712", "19700101"))
    other.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    with (
        pytest.raises(DataError, match=r"files of 2 patients \(patient-[0-9a-f]{8}: 22 files, patient-") as caught,
        survey_source(tmp_path / "source", work),
    ):
        pass
    assert not [secret for secret in (*SECRETS, "Musterfrau", "Eva", "4712") if secret in str(caught.value)]
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(("person", "mixed"), [
    (("MUSTERMANN^ERIKA", " 4711-0815 ", "19640812"), False),  # the same, written otherwise
    (("Mustermann^E", "4711-0815", "19640812"), False),  # the name cut short, the birth date says it is the same
    (("Gabler^Erika", "4711-0815", "19640812"), False),  # married
    (("Anonymous", "4711-0815", ""), False),
    (("", "", ""), False),  # a file that lost its tags
    (("Musterfrau^Eva", "4711-0815", "19700101"), True),  # one number in two hospitals
    (("Mustermann^Erika", "99", "19640812"), True),
])  # fmt: skip
def test_who_counts_as_one_person(tmp_path, images, affine, work, person, mixed) -> None:
    first = Examination(tmp_path / "source")
    first.write(images["t2f"], affine, 6, "FLAIR", "t2f", slices=range(20))
    second = Examination(tmp_path / "source" / "more", person=person, uid=first.uid)
    second.write(images["t1n"], affine, 7, "T1", "t1n")
    if mixed:
        with pytest.raises(DataError, match="files of 2 patients"), survey_source(tmp_path / "source", work):
            pass
    else:
        with survey_source(tmp_path / "source", work) as survey:
            assert set(survey.visits[0].scans) == {"t2f", "t1n"}


# ---------------------------------------------------------------- what is left out, what is refused


@pytest.mark.parametrize(("tags", "reason"), [
    ({"Modality": "CT", "SOPClassUID": CT}, "is a CT, not an MR scan"),
    ({"Modality": "PT", "SOPClassUID": PET}, "is a PET, not an MR scan"),
    ({"SOPClassUID": SECONDARY, "Modality": "OT"}, "is a screenshot"),
    ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "is a reformat or a projection"),
    ({"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]}, "is a reformat or a projection"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "holds phase"),
    ({"ImageType": ["DERIVED", "PRIMARY", "PERFUSION", "RCBV"]}, "is a perfusion map"),
    ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "FA"]}, "is a diffusion map"),
    ({"ImageType": ["DERIVED", "PRIMARY", "SUBTRACT"]}, "is a subtraction"),
    ({"SeriesDescription": "ep2d_diff_TRACEW"}, "says diffusion imaging"),
    ({"SeriesDescription": "SWI_Images"}, "says susceptibility imaging"),
    ({"SeriesDescription": "TOF 3D"}, "says angiography"),
    ({"SeriesDescription": "T1 MPR post recon", "ImageType": ["DERIVED", "PRIMARY"]}, "is a reformat"),
    ({"Modality": ""}, "does not say that it is an MR scan"),
])  # fmt: skip
def test_what_is_no_scan_to_use_is_left_out_or_refused(examination, images, affine, work, tags, reason) -> None:
    examination.write(images["t1n"], affine, 8, "T1", "t1n", tags=tags)
    with (
        pytest.raises(DataError, match=f"no MR scan that can be used .*{reason}"),
        survey_source(examination.folder, work),
    ):
        pass
    examination.write(images["t2f"], affine, 9, "FLAIR", "t2f")
    with survey_source(examination.folder, work) as survey:
        assert chosen(survey) == {"t2f": "series 9"}
        (said,) = left_out(survey).values()
        assert reason in said


def test_a_localiser_alone_is_refused(examination, images, affine, work) -> None:
    examination.write(images["t1n"], affine, 1, "AAHead_Scout", "t1n", slices=[9, 10, 11])
    with (
        pytest.raises(DataError, match=r"no MR scan that can be used .1 series: is a localiser"),
        survey_source(examination.folder, work),
    ):
        pass


def test_one_file_is_counted_in_the_singular() -> None:
    assert [counted(count, "file", "files") for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_a_series_of_three_planes_is_split_and_each_part_too_small(examination, images, affine, work) -> None:
    from pydicom.uid import generate_uid

    uid = generate_uid()
    for axes in ([0, 1, 2], [1, 2, 0], [0, 2, 1]):
        turned = affine.copy()
        turned[:3, :3] = affine[:3, axes]
        examination.write(images["t1n"].transpose(axes), turned, 1, "T1 fast", "t1n", slices=range(5), series=uid)
        for path in examination.folder.glob("001-00*.dcm"):
            path.rename(path.with_name(f"{axes}-{path.name}"))
    series = group(read_pile(sorted(examination.folder.iterdir())).headers)
    assert [one.key for one in series] == ["1a", "1b", "1c"]
    with pytest.raises(DataError, match="has 5 slices, too few"), survey_source(examination.folder, work):
        pass


def test_echoes_of_one_series_are_told_apart(examination, images, affine, work) -> None:
    from pydicom.uid import generate_uid

    uid = generate_uid()
    for echo, time in enumerate((20, 95), 1):
        examination.write(
            images["t2w"], affine, 4, "PD/T2 dual echo", "t2w", tags={"EchoTime": time}, series=uid, suffix=f".{echo}"
        )
    with survey_source(examination.folder, work) as survey:
        assert chosen(survey) == {"t2w": "series 4b"}
        assert survey.visits[0].scans["t2w"].facts.echo_ms == 95


def test_a_time_series_is_left_out(examination, images, affine, work) -> None:
    from pydicom.uid import generate_uid

    uid = generate_uid()
    for time in range(3):
        examination.write(images["t1c"], affine, 4, "T1 vibe", "t1c", series=uid, suffix=f".{time}")
    with (
        pytest.raises(DataError, match="holds the same slices 3 times or more"),
        survey_source(examination.folder, work),
    ):
        pass


def test_a_file_that_is_there_twice_is_taken_once(examination, images, affine, work) -> None:
    paths = examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    for path in paths[:5]:
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    with survey_source(examination.folder, work) as survey:
        require_same(survey.visits[0].files["t2f"], images["t2f"], affine)
        assert survey.visits[0].scans["t2f"].warnings == ("5 files were there twice",)


def test_a_copy_of_a_series_is_left_out(examination, images, affine, work) -> None:
    for number in (6, 7):
        examination.write(images["t2f"], affine, number, "FLAIR", "t2f")
    with survey_source(examination.folder, work) as survey:
        assert chosen(survey) == {"t2f": "series 6"}
        assert left_out(survey) == {"series 7 (FLAIR)": "is a copy of series 6 (FLAIR), voxel by voxel"}


def test_a_missing_slice_is_interpolated_and_said(examination, images, affine, work) -> None:
    paths = examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    paths[10].write_bytes(paths[10].read_bytes()[:-200])
    with survey_source(examination.folder, work) as survey:
        scan = survey.visits[0].scans["t2f"]
        assert scan.warnings == ("1 slice is missing (up to 16.0 mm apart); interpolated to steps of 8.0 mm",)
        image = nib.load(scan.path)
        np.testing.assert_allclose(image.affine, affine, atol=1e-4)
        voxels = image.get_fdata()
        np.testing.assert_array_equal(np.delete(voxels, 10, axis=2), np.delete(images["t2f"], 10, axis=2))
        np.testing.assert_allclose(voxels[:, :, 10], (images["t2f"][:, :, 9] + images["t2f"][:, :, 11]) / 2)
        assert scan.dicom is not None
        assert not scan.dicom.even
        assert "1 file could not be read: truncated: it is shorter than its header says" in survey.notes


def test_slices_at_uneven_steps_are_evened_out_and_said(examination, images, affine, work) -> None:
    for k in range(22):
        moved = affine.copy()
        moved[2, 3] += 2.0 * (k % 2)
        examination.write(images["t2f"], moved, 6, "FLAIR", "t2f", slices=[k], series="1.2.3.4")
    with survey_source(examination.folder, work) as survey:
        (said,) = survey.visits[0].scans["t2f"].warnings
        assert said.startswith("its slices are unevenly spaced (up to 10.0 mm apart)")


@pytest.mark.parametrize(("drop", "reason"), [
    (["ImagePositionPatient"], "does not say where its slices lie"),
    (["ImageOrientationPatient"], "does not say where its slices lie"),
    (["PixelSpacing"], "has no pixel spacing"),
])  # fmt: skip
def test_missing_geometry_is_said(examination, images, affine, work, drop, reason) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f", drop=drop)
    with pytest.raises(DataError, match=reason), survey_source(examination.folder, work):
        pass


def test_a_spacing_of_zero_or_less_is_said(examination, images, affine, work) -> None:
    for value in ("0", "-1"):
        examination.write(images["t2f"], affine, 6, "FLAIR", "t2f", tags={"PixelSpacing": [value, value]})
    with pytest.raises(DataError, match="one that is not positive"), survey_source(examination.folder, work):
        pass


def test_truncated_compressed_files_are_noticed(examination, images, affine, work) -> None:
    noise = np.random.default_rng(0).integers(0, 999, images["t2f"].shape)
    for path in examination.write(noise, affine, 6, "FLAIR", "t2f", compress="rle"):
        path.write_bytes(path.read_bytes()[:-300])
    words = "22 files could not be read: truncated: its compressed pixels have no end"
    with pytest.raises(DataError, match=words), survey_source(examination.folder, work):
        pass


def test_an_empty_folder_and_one_without_images_are_refused(tmp_path, work) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no scan .it is empty"), survey_source(tmp_path / "empty", work):
        pass
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "Mustermann.pdf").write_bytes(b"%PDF" * 100)
    with (
        pytest.raises(DataError, match="1 file passed over: no images"),
        survey_source(tmp_path / "text", work),
    ):
        pass


# ---------------------------------------------------------------- several studies, several candidates, wishes


def two_studies(tmp_path: Path, images: dict[str, np.ndarray], affine: np.ndarray) -> Path:
    old = Examination(tmp_path / "source" / "old", date="20190101")
    old.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    middle = Examination(tmp_path / "source" / "middle", date="20200202")
    middle.write(images["t1n"], affine, 5, "T1", "t1n")
    new = Examination(tmp_path / "source" / "new", date="20210304")
    new.write(images["t1n"], affine, 1, "localizer", "t1n", slices=[1, 2, 3])
    return tmp_path / "source"


def test_the_newest_study_with_usable_scans_is_taken_and_the_others_are_said(tmp_path, images, affine, work) -> None:
    with survey_source(two_studies(tmp_path, images, affine), work) as survey:
        assert set(survey.visits[0].scans) == {"t1n"}
        said = [(one.label[-22:], one.reason) for one in survey.left_out]
        assert said == [
            ("of 2021-03-04, 1 series", "has no MR scan that can be used"),
            ("of 2019-01-01, 1 series", "is not the newest with usable scans; --study DATE chooses it"),
        ] or [reason for _, reason in said] == [
            "has no MR scan that can be used",
            "is not the newest with usable scans; --study DATE chooses it",
        ]


@pytest.mark.parametrize("form", ["2019-01-01", "20190101", "name", "hash"])
def test_a_study_is_chosen_by_date_or_name(tmp_path, images, affine, work, form) -> None:
    source = two_studies(tmp_path, images, affine)
    if form in ("name", "hash"):
        with survey_source(source, work) as survey:
            form = survey.left_out[1].label.split()[0].removeprefix("study-" if form == "hash" else "")
    with survey_source(source, work, Wishes(study=form)) as survey:
        assert set(survey.visits[0].scans) == {"t2f"}


def test_a_study_that_is_not_there_is_said_with_those_that_are(tmp_path, images, affine, work) -> None:
    with (
        pytest.raises(UsageError, match=r"no such study; there are study-.* of 2021-03-04, .*2020-02-02, .*2019-01-01"),
        survey_source(two_studies(tmp_path, images, affine), work, Wishes(study="1999-01-01")),
    ):
        pass


def test_the_better_of_two_is_chosen_with_its_reason(examination, images, affine, work) -> None:
    coarse = affine.copy()
    coarse[:3, 2] *= 2
    examination.write(images["t2f"][:, :, ::2], coarse, 6, "FLAIR", "t2f")
    examination.write(images["t2f"], affine, 7, "FLAIR", "t2f")
    examination.write(images["t2f"] + 1, affine, 8, "FLAIR", "t2f", tags={"ImageType": ["DERIVED", "SECONDARY"]})
    with survey_source(examination.folder, work) as survey:
        assert chosen(survey) == {"t2f": "series 7"}
        reasons = left_out(survey)
        assert "acquired in 3-D" in reasons["series 6 (FLAIR)"] or "finer (8 mm" in reasons["series 6 (FLAIR)"]
        assert "it is original, the other was calculated" in reasons["series 8 (FLAIR)"]
        assert "chosen over series 6 (FLAIR)" in survey.visits[0].scans["t2f"].reason


def test_t1_scans_are_told_apart_by_the_order_in_time(examination, images, affine, work) -> None:
    examination.write(images["t1n"], affine, 2, "T1 tra", "t1n")
    examination.write(images["t1c"], affine, 5, "T1 tra", "t1c", tags={"ContrastBolusAgent": "Dotarem"})
    with survey_source(examination.folder, work) as survey:
        assert chosen(survey) == {"t1n": "series 2", "t1c": "series 5"}
        assert "acquired before the first scan with contrast agent" in survey.visits[0].scans["t1n"].reason


def test_the_user_overrules_by_number_uid_path_or_file(examination, images, affine, work, tmp_path) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    paths = examination.write(images["t1n"] + 7, affine, 7, "SWI", None)
    uid = group(read_pile(paths).headers)[0].first.series
    for wish in ("7", uid, paths[3].name):
        with survey_source(examination.folder, work, Wishes({"T1ce": wish})) as survey:
            scan = survey.visits[0].scans["t1c"]
            require_same(scan.path, images["t1n"] + 7, affine)
            assert scan.reason.startswith("given as T1ce by the user")
            assert scan.confidence == 1.0
    own = tmp_path / "Mustermann.nii.gz"
    nib.save(nib.Nifti1Image(images["t1n"].astype(np.int16), affine), own)
    with survey_source(examination.folder, work, Wishes({"t1n": own})) as survey:
        assert survey.visits[0].scans["t1n"].label == "the file given for T1"
        require_same(survey.visits[0].files["t1n"], images["t1n"], affine)
        assert "Mustermann" not in everything_said(survey)


@pytest.mark.parametrize(("wishes", "words"), [
    ({"t1c": "99"}, "--t1c: study-.* has no series or file of this name"),
    ({"t1c": "6", "t1n": "6"}, "one series is given for two sequences"),
    ({"t7": "6"}, "unknown modality"),
])  # fmt: skip
def test_a_wish_that_means_nothing_is_refused(examination, images, affine, work, wishes, words) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    with pytest.raises(UsageError, match=words), survey_source(examination.folder, work, Wishes(wishes)):
        pass


# ---------------------------------------------------------------- the programs behind


def test_without_the_extra_a_word_says_what_to_install(examination, images, affine, work, monkeypatch) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    monkeypatch.setattr(header, "pydicom", None)
    with (
        pytest.raises(UsageError, match=r'pip install "lacunet\[dicom\]"'),
        survey_source(examination.folder, work),
    ):
        pass


def test_a_converter_that_hangs_or_fails_leaves_the_series_out(examination, images, affine, work, monkeypatch) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")

    @contextmanager
    def program(text: str) -> Iterator[None]:
        path = work.parent / "program"
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o700)
        with monkeypatch.context() as patch:
            patch.setattr(converter, "program", lambda: str(path))
            patch.setattr(converter, "SECONDS", 0.5)
            yield

    for text, words in {
        "sleep 20": "took more than 0.5 s",
        "echo 'Mustermann: unsupported transfer syntax' >&2; exit 2": "its compression cannot be read here",
        "echo done": "dcm2niix gave no image",
    }.items():
        with (
            program(text),
            pytest.raises(DataError, match=words) as caught,
            survey_source(examination.folder, work),
        ):
            pass
        assert "Mustermann" not in str(caught.value)
    assert [path for path in work.rglob("*") if path.is_file()] == []


def test_warnings_of_the_converter_are_passed_on_in_plain_words(examination, images, affine, work, monkeypatch) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    right = converter.program()
    program = work.parent / "program"
    program.write_text(
        f"#!/bin/sh\n{right} \"$@\"\necho 'Warning: Slices skipped for Mustermann'\necho 'Warning: Mustermann'\n",
        encoding="utf-8",
    )
    program.chmod(0o700)
    monkeypatch.setattr(converter, "program", lambda: str(program))
    with survey_source(examination.folder, work) as survey:
        said = survey.visits[0].scans["t2f"].warnings
    assert said == (
        "some slices do not follow each other in one line, and may have been skipped",
        "dcm2niix warned once of something lacunet does not know",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only there a running program can be limited")
def test_the_converter_is_held_to_limits_of_memory_and_disk(examination, images, affine, work, monkeypatch) -> None:
    """It writes 100 MB, and says what its limits are, in KiB of memory and halves of KiB of files."""
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    program, limits = work.parent / "program", work.parent / "limits"
    program.write_text(
        f"#!/bin/sh\nsleep 0.5\nulimit -v > {limits}\nulimit -f >> {limits}\nhead -c 100000000 /dev/zero > scan.nii\n",
        encoding="utf-8",
    )
    program.chmod(0o700)
    monkeypatch.setattr(converter, "program", lambda: str(program))
    with pytest.raises(DataError), survey_source(examination.folder, work):
        pass
    voxels = images["t2f"].size
    memory, disk = (int(line) for line in limits.read_text().split())
    assert memory == (converter.MEMORY + converter.MEMORY_PER_VOXEL * voxels) // 1024
    assert disk == (converter.OTHER_BYTES + converter.LARGEST_VOXEL * voxels) // 512


@pytest.mark.parametrize("even", [True, False])
def test_a_stack_of_more_voxels_than_any_head_is_left_out(examination, images, affine, work, monkeypatch, even) -> None:
    """One that is uneven may become as large at equal distances."""
    drop = [] if even else [5]
    kept = [k for k in range(images["t2f"].shape[2]) if k not in drop]
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f", slices=kept)
    monkeypatch.setattr(convert, "MOST_VOXELS", images["t2f"].size - 1)
    with (
        pytest.raises(DataError, match=r"voxels, more than .*, as no head has"),
        survey_source(examination.folder, work),
    ):
        pass


def test_a_result_that_lies_elsewhere_is_refused(examination, images, affine, work, monkeypatch) -> None:
    examination.write(images["t2f"], affine, 6, "FLAIR", "t2f")
    right = convert.expected_grid

    def moved(series):
        grid = right(series)
        grid.affine[0, 3] += 2.0
        return grid

    monkeypatch.setattr(convert, "expected_grid", moved)
    with pytest.raises(DataError, match=r"came to lie 2.0 mm away"), survey_source(examination.folder, work):
        pass


def test_the_test_files_of_pydicom_never_break_the_reading() -> None:
    """Those that its wheel carries; nothing is downloaded."""
    from pydicom import data

    folder = Path(data.__file__).parent / "test_files"
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        pytest.skip("this pydicom carries no test files")
    pile = read_pile(files)
    assert pile.headers
    for series in group(pile.headers):
        assert series.label
    assert set(GLIOMA.modalities)
