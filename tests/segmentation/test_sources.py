"""Import and segmentation end to end: from DICOM or scans on grids of their own to cases, and to masks on the scans."""

import json
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from lacunet.corrections.measure import measure
from lacunet.data.find import case_from_files, find_cases
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.data.pseudonyms import contents_hash
from lacunet.errors import DataError, OutputError, Problem, UnpreparedError, UsageError
from lacunet.intake.align.rigid import Rigid, carry
from lacunet.intake.found import Survey
from lacunet.models.model import Model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation import native
from lacunet.segmentation.segment import segment_case, segment_cases
from lacunet.segmentation.write import Segmented, SegmentSettings
from lacunet.task import GLIOMA
from lacunet.visits.finished import read_finished
from phantoms_made import make_phantom

pytest.importorskip("pydicom", reason="pip install 'lacunet[dicom]'")
pytest.importorskip("highdicom", reason="pip install 'lacunet[dicom]'")
pytest.importorskip("dcm2niix", reason="pip install 'lacunet[dicom]'")


from bids_valid import VALIDATOR, validated
from dicom_made import CT, PET, SECRETS, Examination, labels_in
from lacunet.case import Grid
from lacunet.intake.importer import Imported, Importer, needs_import
from lacunet.segmentation.sources import (
    Sources,
    made_ready,
    read_sources,
    segment,
    segment_export,
    segment_exports,
    wanted_targets,
)
from small import Told, save_tiny

pytestmark = pytest.mark.usefixtures("coarse_cases")

DESCRIPTIONS = {"t1c": "t1_tse_tra_KM <script>alert(1)</script>", "t2f": "t2_tirm_tra_dark-fluid Mustermann"}
SPACING = 4.0
MOTION = Rigid.about((0.0, 0.0, 0.0), (4.0, -6.0, 5.0), (5.0, -3.0, 4.0))
"""From places in the FLAIR scan to places in the T1ce scan."""


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """An untrained network at 6 mm, whose masks are wrong and have voxels."""
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2}).eval()
    return Predictor(Model("tiny", method, Preparation(6.0), {}, "0" * 64), "cpu", "float32")


@pytest.fixture(scope="module")
def scans() -> Mapping[str, tuple[np.ndarray, Grid]]:
    """Two sequences of an invented patient, without skull; FLAIR in slices of 6 mm, turned and moved."""
    case = make_phantom(5, spacing=SPACING)
    x, y, z = case.grid.shape
    thick = Grid((x, y, int(z * SPACING / 6)), case.grid.affine @ np.diag([1, 1, 6 / SPACING, 1]))
    moved = carry(case.images["t2f"], case.grid, thick, MOTION)
    return {"t1c": (case.images["t1c"], case.grid), "t2f": (np.rint(moved), thick)}


@pytest.fixture(scope="module")
def examination(tmp_path_factory: pytest.TempPathFactory, scans: Mapping[str, tuple[np.ndarray, Grid]]) -> Path:
    """The same two as DICOM, among others that are of no use, and a file that breaks off."""
    made = Examination(tmp_path_factory.mktemp("export") / "Mustermann_Erika")
    for number, (modality, (voxels, grid)) in enumerate(scans.items(), 3):
        made.write(voxels.astype(np.uint16), grid.affine, number, DESCRIPTIONS[modality], modality)
    made.write(np.ones((8, 8, 3), np.uint16), np.diag([20.0, 20, 20, 1]), 1, "localizer Mustermann")
    (broken,) = made.write(np.ones((64, 64, 1), np.uint16), np.eye(4), 9, "T2 <b>Erika</b>", "t2w")
    broken.write_bytes(broken.read_bytes()[:-4000])
    return made.folder


@pytest.fixture
def alone(examination: Path, tmp_path: Path) -> Path:
    """Its T1ce alone, which needs no registration: quick."""
    folder = tmp_path / "alone" / "Mustermann"
    folder.mkdir(parents=True)
    for path in examination.glob("003-*.dcm"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory, scans: Mapping[str, tuple[np.ndarray, Grid]]) -> dict[str, Path]:
    """The same two as NIfTI."""
    folder = tmp_path_factory.mktemp("loose")
    for modality, (voxels, grid) in scans.items():
        nib.save(nib.Nifti1Image(voxels.astype(np.int16), grid.affine), folder / f"anna-{modality}.nii.gz")
    return {modality: folder / f"anna-{modality}.nii.gz" for modality in scans}


@pytest.fixture(scope="module")
def segmented(
    coarse_cases: None, predictor: Predictor, examination: Path, tmp_path_factory: pytest.TempPathFactory
) -> Segmented:
    """The examination, segmented with masks on both scans."""
    out, settings = tmp_path_factory.mktemp("out"), SegmentSettings(convention="brats2018")
    survey, done = segment_export(predictor, Importer(), examination, out, settings, ("t1c", "t2f"))
    assert isinstance(survey, Survey)
    assert isinstance(done, Segmented), done
    return done


def test_masks_come_back_on_the_grids_of_the_scans(segmented: Segmented, scans) -> None:
    for modality, (voxels, grid) in scans.items():
        mask = nib.load(segmented.places.native_mask(modality))
        assert sorted(mask.shape) == sorted(voxels.shape)
        spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
        np.testing.assert_allclose(sorted(mask.header.get_zooms()), sorted(spacing), atol=1e-4)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 2, 4}


def test_the_dicom_segmentation_is_the_mask_of_its_scan(segmented: Segmented, scans) -> None:
    inside = np.array([0, 1, 2, 0, 3], np.uint8)
    for modality in scans:
        mask = nib.load(segmented.places.native_mask(modality))
        found, affine = labels_in(segmented.places.dicom(modality))
        labels = inside[np.asanyarray(mask.dataobj).astype(int)]
        for label in (1, 2, 3):
            centres = np.argwhere(labels == label)
            assert (found == label).sum() == len(centres)
            places = nib.affines.apply_affine(mask.affine, centres)
            there = np.rint(nib.affines.apply_affine(np.linalg.inv(affine), places)).astype(int)
            assert (found[tuple(there.T)] == label).all()
    assert (labels > 0).any()


def test_the_record_lists_what_was_found_done_and_left_out(segmented: Segmented) -> None:
    record = json.loads(segmented.places.record.read_text())
    assert record["masks"] == [
        f"{segmented.name}-mask{rest}"
        for rest in (".nii.gz", "-on-t1c.nii.gz", "-on-t1c.dcm", "-on-t2f.nii.gz", "-on-t2f.dcm")
    ]
    facts = record["provenance"]
    assert "series 3" in facts["taken for T1ce"]
    assert "registration of t2f: good" in facts["import judged"]
    assert "localis" in facts["left out"].lower()
    assert "1 file of the source could not be read; a scan may lack slices" in record["warnings"]


def test_nothing_personal_is_written_but_in_the_dicom_object(segmented: Segmented) -> None:
    kept = 0
    for path in segmented.places.folder.rglob("*"):
        assert not [secret for secret in SECRETS if secret in path.name]
        if path.suffix in (".json", ".html"):
            text = path.read_text()
        elif path.name.endswith(".nii.gz"):
            text = str(nib.load(path).header)
        else:
            kept += 1
            continue
        secrets = [secret for secret in SECRETS if not secret.isdigit() or len(secret) > 4]  # pictures hold digits
        assert not [secret for secret in (*secrets, "4711-0815", "alert(1)") if secret in text], path.name
    assert kept == 2
    assert re.fullmatch(r"case-[0-9a-f]{8}", segmented.name)


def test_the_page_says_where_positions_are_counted(segmented: Segmented) -> None:
    page = segmented.places.page.read_text()
    assert "Positions are in the case&#39;s coordinates (RAS+), where the brain lies as the average one does." in page


def test_what_is_there_is_neither_replaced_nor_done_again(
    predictor: Predictor, examination: Path, segmented: Segmented
) -> None:
    out = segmented.places.folder.parent
    before = segmented.places.mask.stat().st_mtime_ns
    results = segment_export(predictor, Importer(), examination, out, SegmentSettings())
    assert isinstance(next(results), Survey)
    with pytest.raises(OutputError, match=f"{segmented.name}.case.json: exists already; continue with --resume"):
        next(results)
    _, done = segment_export(predictor, Importer(), examination, out, SegmentSettings(resume=True))
    assert isinstance(done, Segmented)
    assert done.skipped
    assert segmented.places.mask.stat().st_mtime_ns == before


def test_masks_on_grids_that_are_no_longer_asked_for_are_removed_but_for_those_that_were_changed(
    predictor: Predictor, examination: Path, segmented: Segmented, tmp_path: Path
) -> None:
    out, name = tmp_path / "out", segmented.places.folder.name
    shutil.copytree(segmented.places.folder.parent, out)
    own = replace(segmented.places, mask=out / name / segmented.places.mask.name)
    corrected = nib.load(own.native_mask("t2f"))
    nib.save(nib.Nifti1Image(np.zeros(corrected.shape, np.uint8), corrected.affine), own.native_mask("t2f"))
    assert all(own.dicom(modality).is_file() for modality in ("t1c", "t2f"))
    settings = SegmentSettings(convention="brats2018", overwrite=True)
    _, done = segment_export(predictor, Importer(), examination, out, settings, ("t1c",))
    assert isinstance(done, Segmented), done
    assert own.native_mask("t1c").is_file()
    assert own.dicom("t1c").is_file()
    assert not own.dicom("t2f").exists()
    assert own.native_mask("t2f").is_file()  # somebody changed it


def test_of_several_sources_a_bad_one_does_not_stop_the_others(
    predictor: Predictor, examination: Path, segmented: Segmented, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    sources = [tmp_path / "empty", examination, examination]
    out, settings = segmented.places.folder.parent, SegmentSettings(resume=True)
    bad, survey, done, twice = segment_exports(predictor, Importer(), sources, out, settings)
    assert bad == Problem("source 1", "holds no scan (it is empty); give DICOM or NIfTI files")
    assert isinstance(survey, Survey)
    assert isinstance(done, Segmented)
    assert twice == Problem("source 3", f"{segmented.name}: another source holds the same case; it is left out")
    with pytest.raises(UsageError, match="--name anna: there are 3 sources; leave it out"):
        list(segment_exports(predictor, Importer(name="anna"), sources, out, settings))


def test_a_scan_that_is_not_there_is_missed_before_anything_is_registered(
    predictor: Predictor, examination: Path, tmp_path: Path
) -> None:
    told = Told()
    importer = Importer(progress=told)
    _, problem = segment_export(predictor, importer, examination, tmp_path, SegmentSettings(), ("t2w",))
    assert isinstance(problem, Problem)
    assert problem.message == "--onto t2w: the case has only t1c, t2f"
    assert told.words == []
    assert not list(tmp_path.iterdir())


def test_import_makes_cases_that_segment_takes(predictor: Predictor, alone: Path, tmp_path: Path) -> None:
    _, imported = Importer().import_into(alone, tmp_path / "cases")
    assert isinstance(imported, Imported), imported
    assert re.fullmatch(r"case-[0-9a-f]{8}", imported.folder.name)
    (files,) = find_cases(imported.folder.parent)
    case = load_case(files)
    assert set(case.images) == {"t1c"}
    assert case.grid.spacing == pytest.approx((SPACING,) * 3)  # without skull and alone: nothing to interpolate
    result = segment_case(predictor, files, tmp_path / "out", SegmentSettings())
    assert "import judged" in json.loads(result.places.record.read_text())["provenance"]


def test_the_motions_that_are_kept_undo_what_moved_a_scan(segmented: Segmented) -> None:
    placed = json.loads(segmented.places.imported.read_text())["scans"]
    one, other = (Rigid.from_json(placed[modality]["scan_to_case"]) for modality in ("t1c", "t2f"))
    corners = np.array([[x, y, z] for x in (-50, 50) for y in (-60, 60) for z in (-40, 40)], float)
    far = np.linalg.norm(one.inverse.after(other).move(corners) - MOTION.move(corners), axis=1)
    assert far.mean() < 1.5


def test_a_zip_goes_in_and_a_bids_derivative_comes_out(predictor: Predictor, alone: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in alone.iterdir():
            archive.write(path, path.name)
    assert needs_import(tmp_path / "export.zip", GLIOMA)
    out = tmp_path / "derivatives"
    survey, done = segment_export(
        predictor,
        Importer(name="sub-01_ses-2"),
        tmp_path / "export.zip",
        out,
        SegmentSettings(layout="bids", viewer=False, convention="brats2018"),
    )
    assert isinstance(survey, Survey)
    assert isinstance(done, Segmented), done
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    stem = "sub-01/ses-2/anat/sub-01_ses-2"
    assert written == [
        ".bidsignore", "README.md", "dataset_description.json",
        "derivatives/dicom-seg/sub-01/ses-2/sub-01_ses-2_space-t1c_desc-lacunet_dseg.dcm",
        "desc-lacunet_dseg.json", "desc-lacunet_dseg.tsv", "sources.csv",
        f"{stem}_desc-lacunet_dseg.json", f"{stem}_desc-lacunet_dseg.nii.gz", f"{stem}_desc-lacunet_xfm.json",
        f"{stem}_space-t1c_desc-lacunet_dseg.json", f"{stem}_space-t1c_desc-lacunet_dseg.nii.gz", "sub-01_ses-2.html",
    ]  # fmt: skip
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert "4\tenhancing" in (out / "desc-lacunet_dseg.tsv").read_text()
    assert json.loads((out / f"{stem}_space-t1c_desc-lacunet_dseg.json").read_text()) == {"SpatialReference": "orig"}
    if VALIDATOR.is_file():
        assert validated(out)[0] == set()


def test_where_no_dicom_object_fits_the_mask_is_there_all_the_same(
    predictor: Predictor, alone: Path, tmp_path: Path, monkeypatch
) -> None:
    def refuse(*_: object) -> None:
        raise DataError("the headers lack it")

    def notes(out: str) -> list[str]:
        settings = SegmentSettings(viewer=False)
        _, done = segment_export(predictor, Importer(name="x"), alone, tmp_path / out, settings)
        assert isinstance(done, Segmented), done
        assert [path.name for path in done.back] == ["x-mask-on-t1c.nii.gz"]
        assert read_finished(done.folder).imported
        assert json.loads(done.places.record.read_text())["warnings"] == [*done.doubts, *done.warnings]
        return [line for line in done.warnings if "DICOM SEG" in line]

    with monkeypatch.context() as patch:
        patch.setattr(native, "write_dicom_seg", refuse)
        assert notes("a") == ["no DICOM SEG of T1ce: the headers lack it"]
    next(iter(sorted(alone.iterdir())[9:])).unlink()
    assert notes("b") == ["no DICOM SEG of T1ce: its slices were interpolated; use the NIfTI mask"]


def test_scans_on_grids_of_their_own_are_imported_first(predictor: Predictor, loose, tmp_path: Path) -> None:
    files = case_from_files(loose, "anna")
    (refused,) = segment_cases(predictor, [files], tmp_path / "a", SegmentSettings())
    assert "lacunet import" in refused.message  # type: ignore[union-attr]
    (done,) = segment_cases(
        predictor, [files], tmp_path / "b", SegmentSettings(), partial(made_ready, importer=Importer())
    )
    assert isinstance(done, Segmented), done
    mask = nib.load(done.places.native_mask("t1c"))
    scan = nib.load(loose["t1c"])
    assert mask.shape == scan.shape
    assert np.array_equal(mask.affine, scan.affine)
    own, moved = (measure(path, GLIOMA) for path in (done.places.mask, done.places.native_mask("t1c")))
    assert (own.change.mask, moved.change.mask) == (done.places.mask.name, done.places.native_mask("t1c").name)
    assert moved.measures["wt"].right_share == pytest.approx(own.measures["wt"].right_share, abs=0.05)
    assert moved.measures["wt"].lobes == pytest.approx(own.measures["wt"].lobes, abs=0.05)
    assert not done.places.dicom("t1c").exists()


def test_unprepared_scans_are_told_from_broken_ones(loose, tmp_path: Path) -> None:
    with pytest.raises(UnpreparedError, match=r"register the scans to one grid first \(lacunet import\)"):
        load_case(case_from_files(loose, "anna"))


def test_whose_grid_is_wanted() -> None:
    assert wanted_targets(("t2w", "t2f"), (), GLIOMA) == ("t2f",)
    assert wanted_targets(("t1n", "t1c", "t2f"), (), GLIOMA) == ("t1c",)
    assert wanted_targets(("t1n", "t2w"), (), GLIOMA) == ("t1n",)
    assert wanted_targets(("t1n", "t2w"), ("T2", "T1"), GLIOMA) == ("t1n", "t2w")
    with pytest.raises(UsageError, match="--onto t1c: the case has only t1n, t2w"):
        wanted_targets(("t1n", "t2w"), ("T1ce",), GLIOMA)


def test_cases_are_told_from_exports(examination: Path, loose, predictor: Predictor, tmp_path: Path) -> None:
    folder = next(iter(loose.values())).parent
    found = read_sources([examination, folder], GLIOMA)
    assert [files.name for files in found.cases] == ["anna"]
    hidden = read_sources([folder], GLIOMA, show_names=False)
    assert [files.name for files in hidden.cases] == [f"case-{contents_hash(loose.values())}"]
    assert (found.exports, found.problems) == ([examination], ())
    with pytest.raises(DataError, match="no scans found"):
        read_sources([examination, folder], GLIOMA, may_import=False)
    problem = Problem("ben", "has two files for one place")
    assert list(segment(predictor, Sources(problems=[problem]), tmp_path / "out")) == [problem]


def test_scans_overrule_the_series_of_one_export_only(examination: Path, loose, tiny, lacunet, tmp_path: Path) -> None:
    given = ["--t1c", loose["t1c"], "-m", tiny, "-o", tmp_path / "out"]
    status, _, err = lacunet("segment", examination, examination.parent, *given)
    assert (status, err) == (2, "lacunet: --t1c works with one source only, and there are 2\n")
    status, _, err = lacunet("segment", examination, loose["t1c"].parent, *given)
    assert status == 2
    assert "give either folders or single scans" in err
    assert not (tmp_path / "out").exists()


def test_what_needs_import(examination: Path, loose, tmp_path: Path) -> None:
    assert needs_import(examination, GLIOMA)
    assert not needs_import(next(iter(loose.values())).parent, GLIOMA)
    assert not needs_import(tmp_path / "manifest.csv", GLIOMA)
    assert not needs_import(tmp_path / "nowhere", GLIOMA)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained network as a model folder."""
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny")


def test_the_commands_from_dicom_to_mask(alone: Path, tiny, lacunet, tmp_path: Path) -> None:
    status, out, err = lacunet("segment", alone, "-m", tiny, "--name", "anna", "-o", tmp_path / "out")
    assert status == 0, err
    assert "T1ce   series 3" in out
    assert "anna-mask-on-t1c.dcm" in out
    assert not [secret for secret in SECRETS if secret in out]
    status, out, err = lacunet("import", alone, "-o", tmp_path / "cases", "--name", "anna")
    assert status == 0, err
    assert "anna: T1ce in" in out
    status, _, err = lacunet("import", alone, "-o", tmp_path / "cases", "--name", "anna")
    assert status == 1
    assert "exists already" in err
    status, out, err = lacunet("import", alone, "-o", tmp_path / "cases", "--name", "anna", "--resume")
    assert (status, err.strip()) == (0, "")
    assert "anna: done before" in out
    status, _, err = lacunet("segment", alone, "--no-import", "-m", tiny, "-o", tmp_path / "no")
    assert status == 1
    assert "no scans found" in err
    (tmp_path / "empty").mkdir()
    status, _, err = lacunet("segment", tmp_path / "empty", "-m", tiny, "-o", tmp_path / "no")
    assert status == 1
    assert "holds no scan" in err


# ---------------------------------------------------------------- what gets a clear word and leaves nothing


def small(folder: Path, **more: Any) -> Examination:
    """A FLAIR of 20 slices; `more` are its tags, or a person."""
    made = Examination(folder, **more)
    voxels = np.random.default_rng(0).integers(1, 900, (24, 24, 20)).astype(np.uint16)
    made.write(voxels, np.diag([8.0, 8, 8, 1]), 5, "FLAIR Mustermann", "t2f")
    return made


def retagged(folder: Path, **tags: Any) -> Path:
    voxels = np.random.default_rng(0).integers(1, 900, (24, 24, 20)).astype(np.uint16)
    Examination(folder).write(voxels, np.diag([8.0, 8, 8, 1]), 5, "Mustermann", "t2f", tags=tags)
    return folder


def two_patients(folder: Path) -> Path:
    small(folder / "a")
    small(folder / "b", person=("Musterfrau^Eva", "4712", "19700101"))
    return folder


def truncated(folder: Path) -> Path:
    for path in small(folder).folder.iterdir():
        path.write_bytes(path.read_bytes()[:-300])
    return folder


def localiser(folder: Path) -> Path:
    Examination(folder).write(np.ones((8, 8, 3), np.uint16), np.diag([20.0, 20, 20, 1]), 1, "localizer Erika")
    return folder


def zipped(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "Mustermann.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return folder / "Mustermann.zip"


def linked_out(folder: Path) -> Path:
    hidden = small(folder.parent / "elsewhere").folder
    folder.mkdir()
    (folder / "Mustermann").symlink_to(hidden, target_is_directory=True)
    return folder


def with_affine(folder: Path, affine: np.ndarray, step: float = 8.0) -> Path:
    folder.mkdir()
    voxels = np.random.default_rng(0).integers(1, 900, (40, 40, 20)).astype(np.int16)
    image = nib.Nifti1Image(voxels, affine)
    image.header["pixdim"][3] = step
    image.to_filename(folder / "flair Mustermann.nii.gz")
    return folder


SHEARED = np.array([[5.0, 2, 0, 0], [0, 5, 0, 0], [0, 0, 8, 0], [0, 0, 0, 1]])
BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing": (lambda folder: folder.mkdir() or folder, "holds no scan .it is empty"),
    "two patients": (two_patients, r"files of 2 patients \(patient-[0-9a-f]{8}: 20 files, patient-"),
    "truncated files": (truncated, "20 files could not be read: truncated"),
    "a localiser": (localiser, "no MR scan that can be used .1 series: is a localiser"),
    "a CT": (lambda folder: retagged(folder, Modality="CT", SOPClassUID=CT), "is a CT, not an MR scan"),
    "a PET": (lambda folder: retagged(folder, Modality="PT", SOPClassUID=PET), "is a PET, not an MR scan"),
    "pixels without size": (lambda folder: retagged(folder, PixelSpacing=["0", "0"]), "one that is not positive"),
    "a path that leads out": (
        lambda folder: zipped(folder, "../Mustermann.dcm", b"x"),
        "which leads out of its folder; it was refused",
    ),
    "a bomb": (lambda folder: zipped(folder, "x", bytes(2**27)), "more than 100 times its size"),
    "links out": (linked_out, "holds no scan .*links that lead out"),
    "a sheared grid": (lambda folder: with_affine(folder, SHEARED), "not at right angles"),
    "no steps": (lambda folder: with_affine(folder, np.diag([5.0, 5, 8, 1]), 0.0), r"file 1 \(FLAIR …\): .*spacing"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("command", ["import", "segment"])
def test_a_bad_source_gets_one_clear_line_and_nothing_is_written(tiny, lacunet, tmp_path: Path, kind, command) -> None:
    make, words = BAD[kind]
    source = make(tmp_path / "source")
    model = ["-m", tiny] if command == "segment" else []
    status, out, err = lacunet(command, source, *model, "-o", tmp_path / "out")
    assert status == 1
    assert re.search(words, err), err
    assert len(err.strip().splitlines()) == (1 if command == "import" else 2), err
    assert not [word for word in (*SECRETS, "Traceback", "Musterfrau", "Eva", "4712") if word in out + err]
    assert not list((tmp_path / "out").rglob("*"))
