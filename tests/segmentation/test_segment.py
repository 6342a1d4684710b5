"""From scans to masks, records and pages; cohorts; the equality with deleted files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lacunet.case import CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.errors import DataError, OutputError, Problem, UsageError
from lacunet.evaluation.evaluate import EvaluateSettings, evaluate, score_case
from lacunet.evaluation.scores import read_rows
from lacunet.models.model import Model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.postprocess import RULES, get_rule
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.answer import ask
from lacunet.segmentation.layout import places
from lacunet.segmentation.page import case_page, view_of
from lacunet.segmentation.segment import segment_case, segment_cases
from lacunet.segmentation.write import Segmented, SegmentSettings, write
from lacunet.task import GLIOMA
from phantoms_made import write_phantoms
from small import SHARED

REAL = SHARED / "data" / "glioma"
CARD = {"data": "nothing", "results": {"cases": 3, "data": "invented", "subsets": {
    "t1c+t2f": {"wt": {"dice": 0.8}, "tc": {"dice": 0.7}, "et": {"dice": 0.3}},
}}}  # fmt: skip


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """An untrained network at 6 mm: quick, and wrong in an interesting way."""
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    return Predictor(Model("tiny", method.eval(), Preparation(6.0), CARD, "0" * 64), "cpu", "float32")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder, 2, seed=3, spacing=4.0)
    return folder


def test_mask_lies_on_the_scans_own_grid_with_its_header(predictor, cohort, tmp_path):
    (files, _) = find_cases(cohort)
    done = segment_case(predictor, files, tmp_path, SegmentSettings())
    mask = nib.load(done.folder / f"{files.name}-mask.nii.gz")
    scan = nib.load(files.images["t1n"].path)
    assert mask.shape == scan.shape
    np.testing.assert_array_equal(mask.affine, scan.affine)
    assert mask.header["sform_code"] == scan.header["sform_code"]
    assert set(np.unique(np.asanyarray(mask.dataobj))) <= {0, 1, 2, 3}
    assert files.name in (done.folder / "report.html").read_text()


@pytest.mark.usefixtures("no_doubts")
def test_record_says_subset_volumes_and_what_the_card_expects(predictor, cohort, tmp_path):
    (files, _) = find_cases(cohort)
    done = segment_case(predictor, files, tmp_path, SegmentSettings(subset=("t1c", "t2f")))
    record = json.loads((done.folder / "case.json").read_text())
    assert record["subset"] == "t1c+t2f"
    assert record["acquired"] == "t1n+t1c+t2w+t2f"
    assert record["expected_dice"] == {"wt": 0.8, "tc": 0.7, "et": 0.3}
    assert record["warnings"] == []
    mask = nib.load(done.folder / f"{files.name}-mask.nii.gz")
    voxels = np.count_nonzero(np.asanyarray(mask.dataobj))
    assert record["volumes_ml"]["wt"] == pytest.approx(voxels * 4**3 / 1000, abs=1e-3)


def test_probabilities_are_written_per_region_on_the_same_grid(predictor, cohort, tmp_path):
    (files, _) = find_cases(cohort)
    done = segment_case(predictor, files, tmp_path, SegmentSettings(probabilities=True))
    mask = np.asanyarray(nib.load(done.folder / f"{files.name}-mask.nii.gz").dataobj)
    whole = nib.load(done.folder / f"{files.name}-probability-wt.nii.gz").get_fdata()
    enhancing = nib.load(done.folder / f"{files.name}-probability-et.nii.gz").get_fdata()
    assert whole.min() >= 0
    assert whole.max() <= 1
    np.testing.assert_array_equal(mask == 3, enhancing > 0.5)


@pytest.mark.usefixtures("no_doubts")
def test_an_answer_has_the_volumes_of_its_labels_and_writes_no_file(predictor, cohort):
    before = sorted(cohort.rglob("*"))
    (files, _) = with_conventions(find_cases(cohort))
    answer = ask(predictor, files, ("t1c", "t2f"))
    assert (answer.case.name, answer.subset, answer.rules) == (files.name, ("t1c", "t2f"), [])
    assert answer.case.reference is None
    assert answer.volumes["wt"] == pytest.approx(np.count_nonzero(answer.labels) * 4**3 / 1000)
    assert answer.volumes["et"] == pytest.approx(np.count_nonzero(answer.labels == 3) * 4**3 / 1000)
    np.testing.assert_array_equal(answer.labels, answer.prediction.labels())
    assert answer.expected.expectation.dice == {"wt": 0.8, "tc": 0.7, "et": 0.3}
    assert (answer.warnings, answer.doubts) == ([], [])
    assert answer.provenance["scans"] == f"{files.images['t1c'].path.name}, {files.images['t2f'].path.name}"
    assert (answer.imported, answer.origin) == (None, None)
    assert ask(predictor, files, want_reference=True).case.reference.any()
    assert sorted(cohort.rglob("*")) == before


def test_what_is_written_is_the_answer(predictor, cohort, tmp_path):
    (files, _) = find_cases(cohort)
    answer = ask(predictor, files, ("t2f",), [get_rule("largest")])
    done = write(answer, places(tmp_path, files.name), SegmentSettings(convention="brats2018"))
    assert (done.volumes, done.warnings) == (answer.volumes, answer.warnings)
    voxels = np.asanyarray(nib.load(done.places.mask).dataobj)
    assert np.count_nonzero(voxels == 4) == np.count_nonzero(answer.labels == 3)
    record = json.loads(done.places.record.read_text())
    assert list(record) == [
        "format", "case", "written", "subset", "acquired", "cautions", "volumes_ml", "measures", "vasari",
        "caveat", "doubts", "signs", "left_out", "n4",
        "evidence", "expected_dice", "expected_dice_from", "calibration", "withheld", "warnings", "label_convention",
        "masks", "masks_sha256", "poses", "postprocessing", "provenance", "seconds", "inputs_sha256", "dice",
    ]  # fmt: skip
    assert (record["subset"], record["label_convention"]) == ("t2f", "brats2018")
    assert (record["expected_dice"], record["expected_dice_from"], record["calibration"]) == ({}, None, None)
    assert record["masks"] == [f"{files.name}-mask.nii.gz"]
    assert record["postprocessing"] == ["largest"]
    cut = {"predicted": "the whole brain at once"}
    mask = {**cut, "labels in the mask": "brats2018", "post-processing": "largest"}
    assert record["provenance"] == {**answer.provenance, **mask}
    assert record["seconds"] >= round(answer.seconds, 2)


def test_rules_change_the_mask_only_when_asked(predictor, cohort, tmp_path):
    (files, _) = find_cases(cohort)
    nothing = replace(get_rule("largest"), name="nothing", change=lambda found: np.zeros_like(found.labels))
    plain = segment_case(predictor, files, tmp_path / "plain", SegmentSettings())
    changed = segment_case(predictor, files, tmp_path / "rules", SegmentSettings(rules=[nothing]))
    assert plain.volumes["wt"] > 0
    assert changed.volumes["wt"] == 0
    assert json.loads((changed.folder / "case.json").read_text())["postprocessing"] == ["nothing"]


@pytest.fixture
def strict(predictor, monkeypatch) -> Predictor:
    """Its model has a rule of its own, which leaves nothing of a mask."""
    nothing = replace(get_rule("largest"), name="nothing", change=lambda found: np.zeros_like(found.labels))
    monkeypatch.setattr("lacunet.prediction.postprocess.RULES", (*RULES, nothing))
    return Predictor(replace(predictor.model, postprocessing=("nothing",)), "cpu", "float32")


def test_a_model_brings_rules_of_its_own_and_what_they_took_out_is_said(predictor, strict, cohort):
    (files, _) = find_cases(cohort)
    plain, own = ask(predictor, files), ask(strict, files)
    none, other = ask(strict, files, rules=()), ask(strict, files, rules=[get_rule("et500")])
    assert (own.rules, none.rules, other.rules) == (["nothing"], [], ["et500"])
    assert np.array_equal(none.labels, plain.labels)
    assert plain.labels.any()
    assert not own.labels.any()
    assert own.warnings == [
        f"1 piece that the model outlined ({plain.volumes['wt']:.1f} ml) is left out of the mask by post-processing "
        "(nothing); to see it, segment with --postprocess none"
    ]
    assert own.signs.taken_out_ml == (pytest.approx(plain.volumes["wt"]),)
    assert [doubt.sentence for doubt in own.doubts if doubt.kind == "nothing found"] == [
        "All that the model outlined is too doubtful for the mask, and the model was measured on cases that have a "
        "tumour"
    ]
    page = case_page(view_of(own, own.warnings, {}, viewer=False))
    assert "No tumour outlined with certainty in T1, T1ce, T2 and FLAIR." in page
    assert page.count("No tumour outlined with certainty") == 2  # the pictures' heading too
    assert "No tumour found" not in page
    assert plain.warnings == none.warnings == []


def test_an_evaluation_goes_by_the_model_s_own_rules_unless_others_are_asked_for(predictor, strict, cohort, tmp_path):
    cases = with_conventions(find_cases(cohort))[:1]
    settings = EvaluateSettings((("t2f",),), pictures=1)
    own = evaluate(strict, cases, tmp_path / "own", settings).summary
    none = evaluate(strict, cases, tmp_path / "none", replace(settings, rules=())).summary
    plain = evaluate(predictor, cases, tmp_path / "plain", settings).summary
    assert [one.identity.postprocessing for one in (own, none, plain)] == [("nothing",), (), ()]
    assert none.mean == plain.mean != own.mean
    assert "<td>nothing</td>" in (tmp_path / "own" / "report.html").read_text()


@pytest.mark.parametrize("layout", ["plain", "bids"])
def test_nothing_of_an_earlier_run_stays_beside_the_new_mask(predictor, cohort, tmp_path, layout):
    (files, _) = find_cases(cohort)
    settings = SegmentSettings(layout=layout, viewer=False)
    (done,) = segment_cases(predictor, [files], tmp_path, replace(settings, probabilities=True))
    first = done.places
    mine = first.mask.parent / "mine.nii.gz"
    mine.write_bytes(b"a file of the user's")
    beside = first.probability("wt").with_name(first.probability("wt").name.replace(".nii.gz", ".json"))
    if layout == "plain":  # where lacunet writes no such file
        beside.write_bytes(b"another one")
    before = {path.name for path in first.mask.parent.iterdir()}
    (done,) = segment_cases(predictor, [files], tmp_path, replace(settings, overwrite=True))
    again = done.places
    gone = before - {path.name for path in again.mask.parent.iterdir()}
    maps = [again.probability(region).name for region in GLIOMA.regions]
    sidecars = [name.replace(".nii.gz", ".json") for name in maps] if layout == "bids" else []
    assert gone == {*maps, *sidecars}
    assert mine.is_file()
    assert beside.is_file() == (layout == "plain")
    list(segment_cases(predictor, [files], tmp_path, replace(settings, overwrite=True, probabilities=True)))
    assert all(again.probability(region).is_file() for region in GLIOMA.regions)


def test_one_bad_case_leaves_the_others_done(predictor, cohort, tmp_path):
    copy = tmp_path / "cohort"
    shutil.copytree(cohort, copy)
    good, bad = find_cases(copy)
    bad.images["t1c"].path.write_bytes(b"not a scan")
    results = list(segment_cases(predictor, [bad, good], tmp_path / "out", SegmentSettings()))
    assert isinstance(results[0], Problem)
    assert "t1c" in results[0].message
    assert isinstance(results[1], Segmented)
    assert not (tmp_path / "out" / bad.name).exists()


def test_a_bids_derivative_holds_the_same_mask(predictor, cohort, tmp_path):
    cases = with_conventions(find_cases(cohort))[:1]
    (plain,) = segment_cases(predictor, cases, tmp_path / "plain", SegmentSettings(convention="brats2018"))
    settings = SegmentSettings(convention="brats2018", layout="bids", probabilities=True)
    (bids,) = segment_cases(predictor, cases, tmp_path / "bids", settings)
    one, other = (np.asanyarray(nib.load(done.places.mask).dataobj) for done in (plain, bids))
    assert np.array_equal(one, other)
    files = sorted(
        str(path.relative_to(tmp_path / "bids")) for path in (tmp_path / "bids").rglob("*") if path.is_file()
    )
    name = bids.places.stem
    assert files == sorted(
        [
            ".bidsignore",
            "sources.csv",
            "README.md",
            "dataset_description.json",
            "desc-lacunet_dseg.json",
            "desc-lacunet_dseg.tsv",
            f"{name}.html",
            *(f"{name}/anat/{name}_desc-lacunet_dseg{end}" for end in (".json", ".nii.gz")),
            *(
                f"{name}/anat/{name}_label-{region}_probseg{end}"
                for region in ("ET", "TC", "WT")
                for end in (".json", ".nii.gz")
            ),
        ]
    )
    assert "4\tenhancing" in (tmp_path / "bids/desc-lacunet_dseg.tsv").read_text()
    (again,) = segment_cases(predictor, cases, tmp_path / "bids", SegmentSettings(layout="bids", resume=True))
    assert again.skipped


def test_results_that_exist_are_refused_resumed_or_replaced(predictor, cohort, tmp_path):
    cases = find_cases(cohort)
    first = list(segment_cases(predictor, cases[:1], tmp_path, SegmentSettings()))
    assert not first[0].skipped
    with pytest.raises(OutputError, match="exists already; continue with --resume"):
        list(segment_cases(predictor, cases, tmp_path, SegmentSettings()))
    resumed = list(segment_cases(predictor, cases, tmp_path, SegmentSettings(resume=True)))
    assert [result.skipped for result in resumed] == [True, False]
    replaced = list(segment_cases(predictor, cases, tmp_path, SegmentSettings(overwrite=True)))
    assert [result.skipped for result in replaced] == [False, False]


def test_a_subset_that_the_case_lacks_is_a_usage_error(predictor, cohort, tmp_path):
    files = find_cases(cohort)[0]
    without = replace(files, images={"t2f": files.images["t2f"]})
    with pytest.raises(UsageError, match="--subset asks for t1c, but the case has only t2f"):
        segment_case(predictor, without, tmp_path, SegmentSettings(subset=("t1c",)))


def test_a_case_name_cannot_lead_out_of_the_folder(predictor, cohort, tmp_path):
    files = replace(find_cases(cohort)[0], name="../escaped")
    with pytest.raises(DataError, match="not a plain name"):
        segment_case(predictor, files, tmp_path, SegmentSettings())


def test_names_with_spaces_dots_and_other_letters_work(predictor, cohort, tmp_path):
    files = replace(find_cases(cohort)[0], name="sub-1.2 Müller 试")
    done = segment_case(predictor, files, tmp_path / "a b", SegmentSettings())
    assert (done.folder / "sub-1.2 Müller 试-mask.nii.gz").is_file()


def test_evaluation_writes_table_summary_and_page(predictor, cohort, tmp_path):
    cases = with_conventions(find_cases(cohort))
    result = evaluate(predictor, cases, tmp_path, EvaluateSettings(GLIOMA.subsets))
    rows = read_rows(tmp_path / "cases.csv")
    assert len(rows) == 2 * 15 * 3
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["cases"] == 2
    wt = [row.dice for row in rows if row.subset == "t1c+t2f" and row.region == "wt"]
    assert summary["subsets"]["t1c+t2f"]["wt"]["dice"] == pytest.approx(sum(wt) / 2)
    assert set(summary["aurc"]) == {"wt", "tc", "et"}
    assert result.problems == []
    assert "t1c" in (tmp_path / "report.html").read_text().lower()


def test_evaluation_resumes_from_its_parts_and_refuses_another_model(predictor, cohort, tmp_path):
    cases = with_conventions(find_cases(cohort))
    settings = EvaluateSettings((("t2f",),), pictures=0)
    evaluate(predictor, cases[:1], tmp_path, settings)
    evaluate(predictor, cases, tmp_path, replace(settings, resume=True))
    assert len(read_rows(tmp_path / "cases.csv")) == 6
    with pytest.raises(OutputError, match="holds an evaluation already"):
        evaluate(predictor, cases, tmp_path, settings)
    with pytest.raises(OutputError, match="another model or with other settings"):
        evaluate(predictor, cases, tmp_path, replace(settings, subsets=(("t1c",),), resume=True))


def test_a_case_without_reference_is_a_problem_of_the_evaluation(predictor, cohort, tmp_path):
    good, bad = with_conventions(find_cases(cohort))
    bad = replace(bad, reference=None, convention=None)
    result = evaluate(predictor, [good, bad], tmp_path, EvaluateSettings((("t2f",),), pictures=0))
    assert [problem.case for problem in result.problems] == [bad.name]
    assert "has no reference mask" in result.problems[0].message
    with pytest.raises(DataError, match="no case could be evaluated"):
        evaluate(predictor, [bad], tmp_path / "none", EvaluateSettings((("t2f",),)))


def require_every_subset_equals_a_run_with_the_absent_files_deleted(predictor: Predictor, files: CaseFiles) -> None:
    """For a case whose FLAIR has a cut field of view, so that the subsets' boxes differ."""
    case = load_case(files)
    together = {prediction.subset: prediction for prediction in predictor.each(case, GLIOMA.subsets)}
    starts = set()
    for subset in GLIOMA.subsets:
        alone = load_case(replace(files, images={modality: files.images[modality] for modality in subset}))
        np.testing.assert_allclose(
            together[subset].logits.numpy(), (found := predictor(alone).logits.numpy()), atol=1e-4
        )
        starts.add(tuple(np.argwhere(found[0] > -29)[0].tolist()))
    assert len(starts) > 1
    rows = score_case(predictor, case, EvaluateSettings(GLIOMA.subsets))
    assert [row.subset for row in rows[::3]] == [GLIOMA.subset_name(subset) for subset in GLIOMA.subsets]


def test_every_subset_equals_a_run_with_the_absent_files_deleted(predictor, cohort, tmp_path):
    shutil.copytree(cohort, tmp_path / "cohort")
    (files, _) = with_conventions(find_cases(tmp_path / "cohort"))
    path = files.images["t2f"].path
    flair = nib.load(path)
    voxels = np.asanyarray(flair.dataobj).copy()
    voxels[: len(voxels) // 3] = 0
    nib.save(nib.Nifti1Image(voxels, flair.affine, flair.header), path)
    require_every_subset_equals_a_run_with_the_absent_files_deleted(predictor, files)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real cases are not here")
def test_every_subset_of_a_real_case_equals_a_run_with_the_absent_files_deleted(predictor):
    (files,) = with_conventions(find_cases(REAL / "Brats18_2013_20_1"))
    require_every_subset_equals_a_run_with_the_absent_files_deleted(predictor, files)
