"""Two visits of an invented patient whose tumour grew by a known amount: numbers, verdict, files, refusals."""

import errno
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import from_matvec

from calibrations_made import tiny_model
from lacunet.case import CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case, write_mask
from lacunet.data.phantom.phantom import PhantomVisit, write_phantom
from lacunet.data.source_table import sha256_of
from lacunet.errors import DataError, OutputError, UsageError
from lacunet.evaluation.metrics import region_masks, volume_ml
from lacunet.files import whole_file
from lacunet.intake.align.register import Registered
from lacunet.intake.align.rigid import Rigid
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.expectation import Expected
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import SegmentSettings
from lacunet.task import GLIOMA
from lacunet.visits import change as change_module
from lacunet.visits import placed, visit
from lacunet.visits.change import LAID_MASK, Changed, change
from lacunet.visits.earlier_run import masks_of_earlier_run
from lacunet.visits.measure import asked_again
from lacunet.visits.record import ChangeRecord
from small import ROOT

pytestmark = pytest.mark.usefixtures("few_starts")

GROWN = "phantom-00001-001"
MOVED = PhantomVisit(1, growth=1.5, degrees=(3.0, -2.0, 4.0), shift=(2.0, -3.0, 1.0))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(load_model(str(tiny_model(tmp_path_factory.mktemp("model") / "tiny"))), "cpu", "float32")


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    """The first of the session's invented patients, half as much tumour more, in another pose, without T1 and T2."""
    folder = write_phantom(tmp_path_factory.mktemp("later"), 1, GLIOMA, 4.0, visit=MOVED)
    for modality in ("t1n", "t2w"):
        (folder / f"{folder.name}-{modality}.nii.gz").unlink()
    (files,) = with_conventions(find_cases(folder))
    return files


@pytest.fixture(scope="module")
def results(tmp_path_factory, predictor, phantoms, later) -> dict[str, Path]:
    """As `lacunet segment` writes them: two visits of one person."""
    folder = tmp_path_factory.mktemp("results")
    cases = {"earlier": phantoms[0], "later": later}
    return {
        word: segment_case(predictor, files, folder, SegmentSettings(viewer=False)).folder
        for word, files in cases.items()
    }


def truth(files: CaseFiles) -> np.ndarray:
    reference = load_case(files).reference
    assert reference is not None
    return reference


def volumes_of(labels: np.ndarray) -> dict[str, float]:
    return {name: volume_ml(mask, (4.0, 4.0, 4.0)) for name, mask in region_masks(labels, GLIOMA).items()}


def known(volumes: Mapping[str, float]) -> dict[str, Any]:
    """Of a calibration: every volume to a tenth."""
    ranges = {region: [0.9 * volume, 1.1 * volume] for region, volume in volumes.items()}
    return {"cases": 22, "data": "made", "temperature": 1.0, "coverage": 0.8, "volume_ranges_ml": ranges}


def perfect(result: Path, files: CaseFiles, folder: Path, labels: np.ndarray | None = None, **keys: Any) -> Path:
    """The same result with the known truth as its mask, and ranges of a tenth; `keys` replace those of the record."""
    labels = truth(files) if labels is None else labels
    copy = folder / result.name
    shutil.copytree(result, copy)
    shutil.copy(result.parent / "sources.csv", folder / "sources.csv")
    mask = copy / f"{files.name}-mask.nii.gz"
    write_mask(mask, labels, load_case(files), "brats2023", GLIOMA, files.images["t1c"].path)
    record = json.loads((copy / "case.json").read_text("utf-8"))
    volumes = volumes_of(labels)
    made = {"volumes_ml": volumes, "calibration": known(volumes), "masks_sha256": {mask.name: sha256_of([mask])}}
    record |= made | {"doubts": []} | keys
    (copy / "case.json").write_text(json.dumps(record), "utf-8")
    return copy


def no_model() -> Predictor:
    raise AssertionError("no model is needed where both masks come from the same sequences")


def told(found: Changed) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(found.record.read_text("utf-8"))
    return record


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> dict[str, date]:
    """When each case was scanned, by its name, as if its files said so."""
    said = {"phantom-00001-000": date(2020, 1, 31), "phantom-00001-001": date(2020, 5, 2)}
    monkeypatch.setattr(visit, "day_beside", lambda scan: said[scan.parent.name])
    return said


def test_growth_by_a_known_amount_is_found_in_another_pose_and_no_model_is_loaded(
    results, phantoms, later, tmp_path, days
):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a", subset="t1c+t2f")
    two = perfect(results["later"], later, tmp_path / "b")
    found = change(one, two, tmp_path / "out", no_model)
    assert found.common is not None
    first, second = volumes_of(truth(phantoms[0])), volumes_of(truth(later))
    for region, grown in found.common.regions.items():
        assert grown.ml == pytest.approx(second[region] - first[region])
        assert grown.verdict == "larger"
    assert found.common.regions["wt"].percent == pytest.approx(50, abs=6)
    assert not found.warnings
    record = told(found)
    assert record["days"] == 92
    assert "2020" not in found.record.read_text("utf-8") + found.page.read_text("utf-8").partition("<body>")[2][:4000]
    assert record["registration"]["verdict"] == "good"
    whole = record["tissue"]["wt"]
    assert whole["new_ml"] == pytest.approx(second["wt"] - first["wt"], rel=0.2)
    assert whole["gone_ml"] < 0.06 * first["wt"]
    schema = json.loads((ROOT / "docs/change.schema.json").read_text("utf-8"))
    jsonschema.validate(record, schema, format_checker=jsonschema.FormatChecker())
    assert ChangeRecord.model_validate_json(json.dumps(record)).model_dump(mode="json") == record
    moved = np.array(record["registration"]["to_earlier"])
    turn = np.rad2deg(np.arccos((np.trace(moved[:3, :3]) - 1) / 2))
    assert turn == pytest.approx(5.4, abs=1.5)
    page = found.page.read_text("utf-8")
    for words in (f"{found.verdict}.", "phantom-00001-001", "other-visit", "RANO"):
        assert words in page
    assert (tmp_path / "out" / LAID_MASK).is_file()


def test_the_same_scans_twice_are_no_change(results, phantoms, tmp_path):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = perfect(results["earlier"], phantoms[0], tmp_path / "b")
    found = change(one, two, tmp_path / "out", no_model, days=0)
    assert found.common is not None
    assert {region.ml for region in found.common.regions.values()} == {0.0}
    assert found.verdict.startswith("No change shown of the whole tumour, tumour core and enhancing tumour")
    assert told(found)["days"] == 0
    assert told(found)["registration"]["moved_mm"] < 1.0
    assert found.warnings == ("Both visits have a scan in common, the very same file",)


def test_a_sequence_that_is_missing_is_not_taken_for_growth(results, phantoms, later, predictor, tmp_path, monkeypatch):
    """From T1ce + FLAIR more is found than from all four; at both visits alike."""
    truly = truth(phantoms[0])
    small = np.where(truly == 2, 0, truly).astype(np.uint8)
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a", labels=small)
    two = perfect(results["later"], later, tmp_path / "b")

    def as_large(visit, subset, model):
        answer = asked_again(visit, subset, model)
        volumes = volumes_of(truth(later))
        return replace(answer, labels=truly, volumes=volumes, expected=Expected(None, record=known(volumes)), doubts=())

    monkeypatch.setattr(change_module, "asked_again", as_large)
    found = change(one, two, tmp_path / "out", lambda: predictor)
    assert found.common is not None
    assert found.everything.regions["wt"].verdict == "larger"
    assert found.common.regions["wt"].verdict == "no change shown"
    assert "larger" not in found.verdict
    assert "What seems to be a change comes from the sequences: whole tumour +" in " ".join(found.warnings)
    assert "from T1ce + FLAIR at both visits" in found.verdict


def test_a_visit_with_more_sequences_is_segmented_again_as_if_it_had_those_of_both(
    results, phantoms, later, predictor, tmp_path
):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = perfect(results["later"], later, tmp_path / "b")
    found = change(one, two, tmp_path / "out", lambda: predictor)
    alone = segment_case(
        predictor, phantoms[0], tmp_path / "alone", SegmentSettings(viewer=False, subset=("t1c", "t2f"))
    )
    record = told(found)
    same = record["same_sequences"]
    assert (same["earlier_subset"], same["later_subset"]) == ("t1c+t2f", "t1c+t2f")
    assert {region: one["earlier_ml"] for region, one in same["regions"].items()} == {
        region: round(volume, 3) for region, volume in alone.volumes.items()
    }
    assert record["everything"]["earlier_subset"] == "t1n+t1c+t2w+t2f"
    assert record["masks"] == ["earlier-t1c+t2f-mask.nii.gz", LAID_MASK]
    assert all((tmp_path / "out" / name).is_file() for name in record["masks"])
    assert "is not known" in found.verdict


def test_without_a_sequence_in_common_nothing_is_concluded(results, phantoms, later, tmp_path):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a", subset="t1n+t2w")
    two = perfect(results["later"], later, tmp_path / "b")
    found = change(one, two, tmp_path / "out", no_model)
    assert found.common is None
    assert found.verdict.startswith("No sequence is used at both visits")
    assert told(found)["same_sequences"] is None


@pytest.mark.parametrize(
    "keys",
    [
        {"masks_sha256": {}, "volumes_ml": {"wt": 1.0, "tc": 1.0, "et": 1.0}},  # as older records are
        {"masks_sha256": {f"{GROWN}-mask.nii.gz": 64 * "0"}},  # its volumes are the same: it lies elsewhere
    ],
)
def test_a_mask_that_was_corrected_by_hand_has_no_range(results, phantoms, later, tmp_path, keys):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a", subset="t1c+t2f")
    two = perfect(results["later"], later, tmp_path / "b", **keys)
    found = change(one, two, tmp_path / "out", no_model)
    assert found.common is not None
    assert {region.verdict for region in found.common.regions.values()} == {"not known"}
    assert all("later visit was changed after it" in region.why for region in found.common.regions.values())
    assert found.warnings[0].startswith("The mask of the later visit was changed after it was segmented")


def without_row(table: Path, modality: str) -> None:
    lines = table.read_text("utf-8").splitlines(keepends=True)
    table.write_text("".join(line for line in lines if f",{modality}," not in line), "utf-8")


def spoiled(folder: Path, spoil: Callable[[Path], object]) -> Path:
    spoil(folder)
    return folder


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda at: (at / "case.json").unlink(),
            "holds no finished case, since there is no case.json; give the folder",
        ),
        (lambda at: (at / "case.json").write_text("{}"), "case.json: '[a-z_]+' is missing; segment the case again"),
        (lambda at: next(at.glob("*-mask.nii.gz")).unlink(), "the mask of the case is not there"),
        (lambda at: (at.parent / "sources.csv").unlink(), "no sources.csv above it names the scans"),
        (lambda at: without_row(at.parent / "sources.csv", "t2f"), "sources.csv does not name the scan that is FLAIR"),
    ],
)
def test_a_case_that_is_not_finished_is_refused(results, phantoms, later, tmp_path, spoil, said):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = spoiled(perfect(results["later"], later, tmp_path / "b"), spoil)
    with pytest.raises(DataError, match=said):
        change(one, two, tmp_path / "out", no_model)
    assert not (tmp_path / "out").exists()


def test_a_mask_of_the_whole_brain_is_refused_in_words_of_a_mask(results, phantoms, later, tmp_path):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    whole = np.full(load_case(later).grid.shape, 2, np.uint8)
    two = perfect(results["later"], later, tmp_path / "b", whole)
    said = f"{two}: the mask covers more than 60% of the brain, as no tumour does; look at it and correct it, or"
    with pytest.raises(DataError, match=re.escape(said)):
        change(one, two, tmp_path / "out", no_model)


def moved_by_a_voxel(mask: Path) -> None:
    image = nib.load(mask)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine @ from_matvec(np.eye(3), [1, 0, 0])), mask)


def of_larger_voxels(mask: Path) -> None:
    image = nib.load(mask)
    smaller = np.asarray(image.dataobj)[::2, ::2, ::2]
    nib.save(nib.Nifti1Image(smaller, image.affine @ np.diag([2.0, 2, 2, 1])), mask)


def turned_over(mask: Path) -> None:
    nib.save(nib.load(mask).as_reoriented(np.array([[0, -1], [1, 1], [2, 1]])), mask)


@pytest.mark.parametrize("save", [moved_by_a_voxel, of_larger_voxels, turned_over])
@pytest.mark.parametrize("keys", [{}, {"masks_sha256": {}}])  # as older records are
def test_a_mask_that_another_program_saved_elsewhere_is_not_said_to_be_imported(
    results, phantoms, later, tmp_path, save, keys
):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = perfect(results["later"], later, tmp_path / "b", **keys)
    save(two / f"{GROWN}-mask.nii.gz")
    said = f"{two}: the mask lies on another grid than the scans, so another program saved it there; save it on the"
    with pytest.raises(DataError, match=f"^{re.escape(said)} grid of the scans, or segment the case again$"):
        change(one, two, tmp_path / "out", no_model)


IMPORTED = (
    r": was imported while it was segmented, and imported scans are not kept; import first \(lacunet import SOURCE"
)


@pytest.mark.parametrize("save", [lambda mask: None, moved_by_a_voxel])
def test_a_case_that_was_imported_while_it_was_segmented_is_said_to_be(results, phantoms, later, tmp_path, save):
    """It has masks on the grids of its scans too, also where its own mask was drawn anew."""
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    names = [f"{GROWN}-mask.nii.gz", f"{GROWN}-mask-on-t1c.nii.gz"]
    two = perfect(results["later"], later, tmp_path / "b", masks=names)
    save(two / names[0])
    with pytest.raises(DataError, match=f"^{re.escape(str(two))}{IMPORTED}"):
        change(one, two, tmp_path / "out", no_model)


def test_a_scan_that_was_changed_or_moved_is_refused_without_its_name(results, phantoms, later, tmp_path):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = perfect(results["later"], later, tmp_path / "b", inputs_sha256={})
    with pytest.raises(DataError, match="the T1ce scan is another one than was segmented; segment the case again"):
        change(one, two, tmp_path / "out", no_model)
    table = tmp_path / "b/sources.csv"
    table.write_text(table.read_text("utf-8").replace("-t1c.nii.gz", "-gone.nii.gz"), "utf-8")
    with pytest.raises(DataError, match="the T1ce scan is not where it was") as refused:
        change(one, two, tmp_path / "out", no_model)
    assert "gone" not in str(refused.value)


def test_the_later_visit_named_first_is_refused(results, phantoms, later, tmp_path, days):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = perfect(results["later"], later, tmp_path / "b")
    with pytest.raises(DataError, match="phantom-00001-000: was 92 days before phantom-00001-001; name the earlier"):
        change(two, one, tmp_path / "out", no_model)


def test_one_folder_twice_is_refused(results, tmp_path):
    with pytest.raises(UsageError, match="the same folder twice; name the folders of two visits"):
        change(results["earlier"], results["earlier"] / ".", tmp_path / "out", no_model)


def test_two_persons_are_refused_by_their_names(results, phantoms, tmp_path):
    stranger = perfect(results["earlier"], phantoms[0], tmp_path / "b", case="phantom-00002-000")
    table = tmp_path / "b/sources.csv"
    table.write_text(table.read_text("utf-8").replace("\nphantom-00001-000,", "\nphantom-00002-000,"), "utf-8")
    with pytest.raises(DataError, match="two persons by their names, phantom-00001 and phantom-00002; give two visits"):
        change(results["earlier"], stranger, tmp_path / "out", no_model)


def test_a_visit_that_cannot_be_laid_on_the_other_is_refused(results, phantoms, later, tmp_path, monkeypatch):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = perfect(results["later"], later, tmp_path / "b")
    lost = Registered(Rigid.about((0, 0, 0), (0, 30, 60), (0, 40, 0)), 0.0)
    monkeypatch.setattr(placed, "register", lambda *arguments: lost)
    with pytest.raises(
        DataError, match="phantom-00001-001 cannot be laid on phantom-00001-000: T1ce of the later visit"
    ):
        change(one, two, tmp_path / "out", no_model)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"provenance": {"model": "other", "weights (sha256)": "f" * 64}},
            "not segmented in the same way, model: .*other",
        ),
        ({"postprocessing": ["largest"]}, "post-processing: none and largest; segment both with the same options"),
    ],
)
def test_visits_that_were_not_segmented_alike_are_refused(results, phantoms, later, tmp_path, keys, said):
    two = perfect(results["later"], later, tmp_path / "b", **keys)
    with pytest.raises(DataError, match=said):
        change(results["earlier"], two, tmp_path / "out", no_model)


def test_a_model_that_did_not_make_the_masks_is_refused(results, phantoms, later, predictor, tmp_path):
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = perfect(results["later"], later, tmp_path / "b")
    other = Predictor(replace(predictor.model, sha256="0" * 64, name="other"), "cpu", "float32")
    with pytest.raises(UsageError, match=r"the masks were made by .*, and the model given is other .*--model"):
        change(one, two, tmp_path / "out", lambda: other)


def test_results_are_replaced_only_where_asked(results, phantoms, later, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/change.json").write_text("{}")
    with pytest.raises(OutputError, match="exists already"):
        change(results["earlier"], results["later"], tmp_path / "out", no_model)


AGAIN = "earlier-t1c+t2f-mask.nii.gz"
"""What a run writes where the earlier visit has more sequences, and another run does not."""


@pytest.fixture
def written(results, phantoms, later, predictor, tmp_path) -> Path:
    """The folder of a run that segmented the earlier visit again, with files of the user in it."""
    one = perfect(results["earlier"], phantoms[0], tmp_path / "a")
    two = perfect(results["later"], later, tmp_path / "b")
    out = tmp_path / "out"
    change(one, two, out, lambda: predictor)
    (out / "later-t1n-mask.nii.gz").write_text("a mask of the user, named as lacunet names its own")
    (out / "notes").mkdir()
    (out / "notes/change.json").write_text("a folder of the user")
    return out


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


OF_THE_USER = {"later-t1n-mask.nii.gz", "notes"}


def run_without_model(results, phantoms, later, tmp_path, out) -> Changed:
    one = perfect(results["earlier"], phantoms[0], tmp_path / "c", subset="t1c+t2f")
    return change(one, tmp_path / "b" / results["later"].name, out, no_model, overwrite=True)


def test_after_an_overwrite_there_is_what_this_run_wrote_and_what_is_not_lacunets(
    results, phantoms, later, written, tmp_path
):
    assert names_in(written) == {"change.json", "change.html", LAID_MASK, AGAIN} | OF_THE_USER
    before = (written / "change.json").read_bytes()
    found = run_without_model(results, phantoms, later, tmp_path, written)
    assert names_in(written) == {"change.json", "change.html", LAID_MASK} | OF_THE_USER
    assert (written / "notes/change.json").is_file()
    assert told(found)["masks"] == [LAID_MASK]
    assert told(found)["masks_sha256"] == {LAID_MASK: sha256_of([written / LAID_MASK])}
    assert found.record.read_bytes() != before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: (out / AGAIN).write_bytes(b"corrected by hand"),
        lambda out: (out / "change.json").write_text("{}"),
        lambda out: (out / "change.json").write_text("no JSON"),
    ],
)
def test_a_mask_that_is_not_known_to_be_lacunets_stays(results, phantoms, later, written, tmp_path, spoil):
    spoil(written)
    there = (written / AGAIN).read_bytes()
    run_without_model(results, phantoms, later, tmp_path, written)
    assert names_in(written) == {"change.json", "change.html", LAID_MASK, AGAIN} | OF_THE_USER
    assert (written / AGAIN).read_bytes() == there


def test_a_record_that_was_changed_leads_to_no_other_folder(written, tmp_path):
    outside = tmp_path / "scan.nii.gz"
    outside.write_bytes(b"a scan")
    record = json.loads((written / "change.json").read_text("utf-8"))
    record["masks_sha256"]["../scan.nii.gz"] = sha256_of([outside])
    (written / "change.json").write_text(json.dumps(record), "utf-8")
    assert sorted(path.name for path in masks_of_earlier_run(written / "change.json")) == [AGAIN, LAID_MASK]


def test_a_run_that_fails_while_it_writes_loses_nothing(results, phantoms, later, written, tmp_path, monkeypatch):
    def full(path: Path, view: object) -> None:
        with whole_file(path):
            raise OSError(errno.ENOSPC, "No space left on device")

    before = {path.name: path.read_bytes() for path in written.iterdir() if path.is_file()}
    monkeypatch.setattr(change_module, "write_change_page", full)
    said = f"{written / 'change.html'}: cannot be written (No space left on device); make room on the disk"
    with pytest.raises(OutputError, match=re.escape(said)):
        run_without_model(results, phantoms, later, tmp_path, written)
    assert {path.name: path.read_bytes() for path in written.iterdir() if path.is_file()} == before
    assert names_in(written) == set(before) | {"notes"}
