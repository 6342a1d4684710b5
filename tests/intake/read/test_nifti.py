"""NIfTI as people have it: BIDS, dcm2niix's sidecars, telling and silent names."""

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from lacunet.data.names import read_name
from lacunet.errors import DataError, UsageError
from lacunet.intake.found import Survey
from lacunet.intake.identify.classify import T1_FAMILY
from lacunet.intake.survey import Wishes, survey_source
from lacunet.task import GLIOMA
from phantoms_made import make_phantom
from small import SHARED

RAW = SHARED / "data/raw/TCGA-FG-6692"
AFFINE = np.array([[-6.0, 0, 0, 90], [0, 6, 0, -120], [0, 0, 6, -80], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    return dict(make_phantom(3, spacing=6.0).images)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def write(path: Path, image: np.ndarray, sidecar: dict[str, Any] | None = None, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti = nib.Nifti1Image(image.astype(np.int16), AFFINE)
    nifti.header["descrip"] = text.encode()
    nifti.header["aux_file"] = text.encode()[:23]
    nib.save(nifti, path)
    if sidecar is not None:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(sidecar), encoding="utf-8")
    return path


def labels(survey: Survey, visit: int = 0) -> dict[str, str]:
    return {modality: scan.label for modality, scan in survey.visits[visit].scans.items()}


def said(survey: Survey) -> str:
    return repr(survey).replace(repr(Path.cwd()), "")


def test_the_stem_of_a_bids_file_leaves_out_the_subject() -> None:
    assert read_name(Path("scans/T1_AX_POST.nii.gz"), GLIOMA).text == "T1_AX_POST"
    assert read_name(Path("sub-mustermann_ses-1_T1w.nii.gz"), GLIOMA).text == "T1w"


def test_a_bids_data_set_gives_a_visit_per_session(tmp_path: Path, images, work) -> None:
    for session in ("ses-1", "ses-2"):
        anat = tmp_path / "bids" / "sub-01" / session / "anat"
        write(anat / f"sub-01_{session}_T1w.nii.gz", images["t1n"])
        write(anat / f"sub-01_{session}_ce-gadolinium_T1w.nii.gz", images["t1c"])
        write(anat / f"sub-01_{session}_T2w.nii.gz", images["t2w"], {"EchoTime": 0.095, "RepetitionTime": 4.5})
    write(tmp_path / "bids" / "sub-02" / "anat" / "sub-02_FLAIR.nii.gz", images["t2f"])
    write(tmp_path / "bids" / "sub-02" / "dwi" / "sub-02_dwi.nii.gz", images["t2f"] + 1)
    with survey_source(tmp_path / "bids", work) as survey:
        assert survey.kind == "bids"
        assert [visit.name for visit in survey.visits] == ["sub-01_ses-1", "sub-01_ses-2", "sub-02"]
        assert list(survey.visits[0].scans) == ["t1n", "t1c", "t2w"]
        assert list(survey.visits[2].scans) == ["t2f"]
        assert [one.reason for one in survey.visits[2].left_out] == ["its description says diffusion imaging"]
        scan = survey.visits[0].scans["t2w"]
        assert (scan.facts.source, scan.facts.repetition_ms, scan.facts.echo_ms) == ("bids", 4500, 95)
        assert "its name says T2, and TR 4500 ms, TE 95 ms weight T2" in scan.reason.lower().replace(
            "tr 4", "TR 4"
        ).replace("t2", "T2").replace("te 95", "TE 95")


def test_sidecars_of_dcm2niix_tell_what_names_do_not(tmp_path: Path, images, work) -> None:
    common = {"Manufacturer": "Siemens", "MagneticFieldStrength": 3, "MRAcquisitionType": "2D"}
    write(tmp_path / "s" / "scan_1.nii.gz", images["t2f"],
          {**common, "RepetitionTime": 9, "EchoTime": 0.12, "InversionTime": 2.5,
           "SeriesDescription": "AX"})  # fmt: skip
    write(tmp_path / "s" / "scan_2.nii.gz", images["t1c"],
          {**common, "RepetitionTime": 0.55, "EchoTime": 0.01, "ContrastBolusIngredient": "GADOLINIUM"})  # fmt: skip
    with survey_source(tmp_path / "s", work) as survey:
        assert labels(survey) == {"t1c": "file 2", "t2f": "file 1 (AX)"} or set(labels(survey)) == {"t1c", "t2f"}
        scan = survey.visits[0].scans["t2f"]
        assert "TR 9000 ms, TE 120 ms, TI 2500 ms null fluid" in scan.reason
        assert scan.facts.manufacturer == "Siemens"
        assert scan.facts.three_d is False
        assert "its header names a contrast agent" in survey.visits[0].scans["t1c"].reason


def test_a_broken_sidecar_is_as_good_as_none(tmp_path: Path, images, work) -> None:
    path = write(tmp_path / "s" / "flair.nii.gz", images["t2f"])
    for text in ("{", "[1, 2]", '{"RepetitionTime": "long", "EchoTime": null, "SeriesDescription": 7}'):
        path.with_name("flair.json").write_text(text, encoding="utf-8")
        with survey_source(tmp_path / "s", work) as survey:
            assert set(labels(survey)) == {"t2f"}


def test_a_folder_per_sequence_is_one_visit(tmp_path: Path, images, work) -> None:
    write(tmp_path / "s" / "a T1 post" / "image.nii.gz", images["t1c"])
    write(tmp_path / "s" / "b" / "FLAIR.nii.gz", images["t2f"])
    with survey_source(tmp_path / "s", work) as survey:
        assert len(survey.visits) == 1
        assert "t2f" in survey.visits[0].scans


def test_many_cases_in_one_folder_are_many_visits(tmp_path: Path, images, work) -> None:
    for person in ("Mustermann", "Musterfrau"):
        write(tmp_path / "s" / f"{person}_t1ce.nii.gz", images["t1c"])
        write(tmp_path / "s" / f"{person}_flair.nii.gz", images["t2f"])
    with survey_source(tmp_path / "s", work) as survey:
        first, second = (visit.name for visit in survey.visits)
        assert first != second
        assert all(set(visit.scans) == {"t1c", "t2f"} for visit in survey.visits)
        assert "Muster" not in said(survey)
    with survey_source(tmp_path / "s", work, Wishes(show_names=True)) as survey:
        assert [visit.name for visit in survey.visits] == ["Musterfrau", "Mustermann"]


def test_a_nameless_case_is_called_after_what_its_files_hold(tmp_path: Path, images, work) -> None:
    for folder in ("Mustermann", "b"):
        write(tmp_path / "s" / folder / "T1 post.nii.gz", images["t1c"])
        write(tmp_path / "s" / folder / "FLAIR.nii.gz", images["t2f"])
    write(tmp_path / "s" / "c" / "FLAIR.nii.gz", images["t2f"])
    names = []
    for folder in ("Mustermann", "b", "c"):
        with survey_source(tmp_path / "s" / folder, work) as survey:
            names += [visit.name for visit in survey.visits]
    assert re.fullmatch(r"case-[0-9a-f]{8}", names[0])
    assert names[0] == names[1] != names[2]
    with survey_source(tmp_path / "s", work) as survey:
        assert sorted(visit.name for visit in survey.visits) == sorted([names[0], f"{names[0]}-again-2", names[2]])
    with survey_source(tmp_path / "s" / "Mustermann", work, Wishes(show_names=True)) as survey:
        assert survey.visits[0].name == "Mustermann"


def test_names_of_public_data_sets_are_kept(tmp_path: Path, images, work) -> None:
    for name in ("BraTS-GLI-00007-000", "Brats18_CBICA_ABM_1"):
        write(tmp_path / name / f"{name}-t2f.nii.gz", images["t2f"])
        with survey_source(tmp_path / name, work) as survey:
            assert survey.visits[0].name == name


def test_names_of_files_are_hidden_unless_asked_for(tmp_path: Path, images, work) -> None:
    folder = tmp_path / "s" / "Mustermann_Erika"
    write(folder / "Mustermann T1 KM 1964.nii.gz", images["t1c"], text="Mustermann")
    write(folder / "Mustermann T2 1964.nii.gz", images["t2w"])
    (folder / "Mustermann FLAIR.nii.gz").write_bytes(b"not an image")
    with survey_source(folder, work) as survey:
        shown = said(survey)
        assert labels(survey)["t1c"] == "file 2 (… T1 KM …)"
        (lost,) = survey.visits[0].left_out
        assert lost.label == "file 1 (… FLAIR)"
        assert lost.reason.startswith("is not a NIfTI file, whatever its name says")
    assert not [word for word in ("Mustermann", "Erika", "1964") if word in shown]
    assert not [path for path in work.rglob("*") if "Muster" in path.name]
    for path in work.rglob("*.nii.gz"):
        assert b"Mustermann" not in nib.load(path).to_bytes()
    with survey_source(folder, work, Wishes(show_names=True)) as survey:
        assert labels(survey)["t1c"] == "Mustermann T1 KM 1964.nii.gz"


def test_a_single_file_is_a_source_and_keeps_its_voxels_and_place(tmp_path: Path, work) -> None:
    """Integers with a scale, as some converters write them; text and extensions go."""
    stored = np.random.default_rng(0).integers(-500, 900, (40, 50, 30)).astype(np.int16)
    image = nib.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(0.5, 300.0)
    image.set_qform(AFFINE, code=1)
    image.set_sform(AFFINE, code=2)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Mustermann"))
    image.header["db_name"] = b"Mustermann"
    path = tmp_path / "x_t2.nii"
    nib.save(image, path)
    with survey_source(path, work) as survey:
        copy = nib.load(survey.visits[0].files["t2w"])
        np.testing.assert_array_equal(copy.get_fdata(), nib.load(path).get_fdata())
        np.testing.assert_array_equal(copy.affine, nib.load(path).affine)
        assert copy.get_data_dtype() == np.int16
        assert (int(copy.header["qform_code"]), int(copy.header["sform_code"])) == (1, 2)
        assert b"Mustermann" not in copy.to_bytes()


def test_an_mha_file_is_read(tmp_path: Path, images, work) -> None:
    import SimpleITK as sitk

    volume = images["t2f"]
    image = sitk.GetImageFromArray(volume.transpose(2, 1, 0).astype(np.int16))
    image.SetSpacing((6.0, 6.0, 6.0))
    sitk.WriteImage(image, str(tmp_path / "x_flair.mha"))
    with survey_source(tmp_path / "x_flair.mha", work) as survey:
        copy = nib.load(survey.visits[0].files["t2f"])
        np.testing.assert_array_equal(np.asarray(copy.dataobj), volume)
        np.testing.assert_allclose(np.diag(copy.affine), [-6, -6, 6, 1])


def test_masks_are_left_out(tmp_path: Path, images, work) -> None:
    write(tmp_path / "c" / "c_seg.nii.gz", (images["t2f"] > 0).astype(np.int16))
    write(tmp_path / "c" / "c_flair.nii.gz", images["t2f"])
    with survey_source(tmp_path / "c", work) as survey:
        assert set(labels(survey)) == {"t2f"}
        assert [one.reason for one in survey.visits[0].left_out] == ["is a mask by its name"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "4-D", "zero spacing", "sheared"])
def test_damaged_files_are_said_and_the_others_go_on(tmp_path: Path, images, work, damage) -> None:
    path = write(tmp_path / "s" / "Mustermann_t1ce.nii.gz", images["t1c"])
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
    else:
        volume, affine = images["t1c"], AFFINE.copy()
        if damage == "4-D":
            volume = np.stack([volume, volume], 3)
        if damage == "sheared":
            affine[0, 1] = 3.0
        image = nib.Nifti1Image(volume.astype(np.int16), affine)
        if damage == "zero spacing":
            image.header["pixdim"][3] = 0
        image.to_filename(path)
    with pytest.raises(DataError, match=r"file 1 \(… T1CE\): ") as caught, survey_source(tmp_path / "s", work):
        pass
    assert "Mustermann" not in str(caught.value)
    write(tmp_path / "s" / "Mustermann_flair.nii.gz", images["t2f"])
    with survey_source(tmp_path / "s", work) as survey:
        assert set(labels(survey)) == {"t2f"}
        assert len(survey.visits[0].left_out) == 1


def test_wishes_name_files_inside_and_outside(tmp_path: Path, images, work) -> None:
    inside = write(tmp_path / "s" / "a.nii.gz", images["t1c"])
    write(tmp_path / "s" / "flair.nii.gz", images["t2f"])
    outside = write(tmp_path / "elsewhere.nii.gz", images["t2w"])
    with survey_source(tmp_path / "s", work, Wishes({"t1c": inside, "t2w": outside})) as survey:
        assert set(labels(survey)) == {"t1c", "t2w", "t2f"}
        assert survey.visits[0].scans["t2w"].label == "the file given for T2"
    wishes, words = Wishes({"t1c": "gone.nii.gz"}), "--t1c: there is no such file"
    with pytest.raises(UsageError, match=words), survey_source(tmp_path / "s", work, wishes):
        pass


def test_an_image_that_contradicts_its_name_is_told(tmp_path: Path, work) -> None:
    """At 3 mm, where the classifier is sure of phantoms."""
    case = make_phantom(2, spacing=3.0)
    for name, modality in (("t2", "t2f"), ("t1ce", "t1c")):
        nib.save(nib.Nifti1Image(case.images[modality], case.grid.affine), tmp_path / f"x_{name}.nii.gz")
    with survey_source(tmp_path, work) as survey:
        (warning,) = survey.visits[0].all_warnings
        assert warning == "file 2 (… T2): labelled T2, looks like FLAIR"


@pytest.mark.skipif(not RAW.is_dir(), reason="needs the raw scans")
def test_raw_scans_are_recognised_by_their_names_and_the_image_agrees(work) -> None:
    with survey_source(RAW, work) as survey:
        assert {modality: label.split("(")[1] for modality, label in labels(survey).items()} == {
            "t1n": "T1 AX)", "t1c": "T1 AX POST GAD)", "t2w": "T2 AX)", "t2f": "FLAIR AX)",
        }  # fmt: skip
        assert survey.visits[0].name == "TCGA-FG-6692"
        assert survey.visits[0].all_warnings == ()
        for modality in T1_FAMILY:
            assert "the image" in survey.visits[0].scans[modality].reason
