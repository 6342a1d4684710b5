"""A calibration on disk, in predictions, in words, and on the page and record of a case."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from calibrations_made import calibration_made, tiny_model
from evaluations_made import rows_made, write_evaluation
from lacunet.data.find import find_cases
from lacunet.data.nifti import load_case
from lacunet.errors import ModelError
from lacunet.files import write_json
from lacunet.models.calibration import CALIBRATION, calibration_words, put_beside, read_calibration, write_calibration
from lacunet.models.folder import DEFAULT, model_folder, shipped_models
from lacunet.models.model import Model, for_task, load_model
from lacunet.prediction.postprocess import get_rule
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.calibration_words import helpful_sequence, span_words
from lacunet.segmentation.expectation import Expectation, expected_of
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import SegmentSettings
from lacunet.stats.intervals import ball_ml, radius_mm
from lacunet.task import GLIOMA, METS
from phantoms_made import write_phantoms
from small import ROOT, named

T1CE_FLAIR = ("t1c", "t2f")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    put_beside(calibration_made(), folder)
    return load_model(str(folder))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder, 1, seed=3, spacing=4.0)
    return folder


def test_what_is_written_is_read(tmp_path):
    folder = tiny_model(tmp_path / "model")
    assert read_calibration(folder) is None
    assert put_beside(calibration_made(), folder) == folder / CALIBRATION
    read = read_calibration(folder)
    assert read == calibration_made().model_copy(update={"weights": load_model(str(folder)).sha256})
    assert load_model(str(folder)).calibration == read
    assert (folder / CALIBRATION).stat().st_size < 20_000


@pytest.mark.usefixtures("no_doubts")
def test_a_model_trained_for_longer_than_its_folds_says_so_wherever_it_is_shown(tmp_path, cohort, lacunet):
    folder = tiny_model(tmp_path / "model", steps=8000)
    made = calibration_made()
    folds = [fold.model_copy(update={"steps": steps}) for fold, steps in zip(made.folds, (1500, 1600), strict=True)]
    put_beside(made.model_copy(update={"folds": folds, "notes": ["few cases"]}), folder)
    words = (
        "the models of the folds were trained for 1,500 or 1,600 steps, this one for 8,000: what is expected is theirs"
    )
    put_beside(read_calibration(folder), folder)
    assert read_calibration(folder).notes == ["few cases", words]
    status, printed, _ = lacunet("models", str(folder))
    assert (status, words in " ".join(printed.split())) == (0, True)
    predictor = Predictor(load_model(str(folder)), "cpu", "float32")
    done = segment_case(predictor, *find_cases(cohort), tmp_path / "out", SegmentSettings(subset=T1CE_FLAIR))
    assert json.loads((done.folder / "case.json").read_text())["calibration"]["notes"] == ["few cases", words]
    assert f"Few cases. {words[0].upper()}{words[1:]}." in text_of(done.folder / "report.html")


@pytest.mark.parametrize(("own", "its"), [(None, [1, 2]), (5, [None, None]), (5, [5, None]), (5, [5, 5])], ids=named)
def test_steps_that_agree_or_are_not_known_are_no_note(own, its, tmp_path):
    made = calibration_made()
    folds = [fold.model_copy(update={"steps": steps}) for fold, steps in zip(made.folds, its, strict=True)]
    folder = tiny_model(tmp_path / "model", steps=own)
    put_beside(made.model_copy(update={"folds": folds}), folder)
    assert read_calibration(folder).notes == []


def test_how_often_ranges_held_is_counted_where_there_are_ranges(tmp_path):
    """Radii of 2 ml found and 10 ml there differ by 5.6 mm, ranges end at 1.0 and 1.5; 0.7 lies in 0.6 to 0.9."""
    put_beside(calibration_made(), tiny_model(tmp_path / "model"))
    dice = {"wt": 0.7, "tc": 0.3, "et": 0.5}
    rows = rows_made(lambda case, subset, region: dice[region], subsets=["t1c+t2f", "t2f"])
    close = [replace(row, reference_ml=2.1) if row.case == "a" else row for row in rows]
    write_evaluation(tmp_path / "test", close)
    script = ROOT / "scripts/studies/held_ranges.py"
    words = [sys.executable, script, tmp_path / "model", tmp_path / "test"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[2:] == [
        "| WT | 2 of 12 (17%) | 12 of 12 (100%) | 0.81 | 0.70 |",
        "| TC | 2 of 12 (17%) | 0 of 12 (0%) | 0.70 | 0.30 |",
        "| ET | no range | no range | 0.45 | 0.50 |",
    ]


def test_digits_are_cut_from_what_was_measured_and_not_from_what_identifies(tmp_path):
    precise = calibration_made().model_copy(update={"arguments": {"width": 1e-7}, "temperatures": {1: 1.23456789}})
    write_calibration(tmp_path / CALIBRATION, precise)
    content = json.loads((tmp_path / CALIBRATION).read_text())
    assert (content["arguments"], content["temperatures"]) == ({"width": 1e-7}, {"1": 1.23457})


@pytest.mark.parametrize(
    ("keys", "value", "match"),
    [
        (["format"], 2, r"calibration.json: not a calibration: 'format' = 2: input should be 1; make it again with"),
        (["temperature"], 1.5, "unknown key 'temperature'"),
        (["temperatures", "2"], 0.0, "'temperatures.2' = 0.0: input should be greater than 0"),
        (["temperatures", "2"], float("nan"), "not JSON .a number is NaN or infinite"),
        (["temperatures", "2"], "2.0", "'temperatures.2' = '2.0': input should be a valid number"),
        (["cases"], 0, "'cases'"),
        (["coverage"], 1.0, "'coverage'"),
        (["subsets", "t2f", "wt", "dice"], 1.2, "'subsets.t2f.wt.dice' = 1.2: input should be less than or equal"),
        (["subsets", "t2f", "wt", "radius_mm", "low"], 3.0, "lower end is above"),
        (["subsets", "t2"], {}, "the task 'glioma' has no t2; make it again"),
        (["subsets", "t2f", "necrosis"], None, "'subsets.t2f.necrosis'"),
        (["gains", "t1c+t2"], {}, r"the task 'glioma' has no t1c\+t2"),
        (["method"], "ccsd", "was made with models whose method is ccsd, and model.json says early_fusion"),
        (["arguments", "width"], 8, "whose arguments is"),
        (["preparation", "spacing"], 1.0, "whose preparation is"),
        (["task"], "mets", "whose task is mets"),
        (["weights"], "c" * 64, r"belongs to other weights \(sha256 cccccccccccc..., here"),
        (["weights"], "", r"other weights \(sha256 none..., here"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(tmp_path, keys, value, match):
    folder = tiny_model(tmp_path / "model")
    path = put_beside(calibration_made(), folder)
    content = json.loads(path.read_text())
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=match):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("text", "match"),
    [("{", "not JSON"), ("[]", "not a calibration"), (" " * 2**21, "larger than 1 MiB")],
)
def test_what_is_no_calibration_is_refused(tmp_path, text, match):
    folder = tiny_model(tmp_path / "model")
    (folder / CALIBRATION).write_text(text)
    with pytest.raises(ModelError, match=match):
        read_calibration(folder)


def test_a_value_that_is_missing_is_named(tmp_path):
    path = put_beside(calibration_made(), tiny_model(tmp_path / "model"))
    content = json.loads(path.read_text())
    del content["coverage"]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="'coverage' is missing"):
        read_calibration(path.parent)


def test_a_model_of_another_kind_is_not_calibrated(tmp_path):
    folder = tiny_model(tmp_path / "model", spacing=5.0)
    with pytest.raises(ModelError, match=r"preparation is .*'spacing': 6\.0.* says .*'spacing': 5\.0"):
        put_beside(calibration_made(), folder)
    assert not (folder / CALIBRATION).exists()


def test_a_calibration_is_of_its_own_task(model):
    strict = replace(model, postprocessing=("doubtful10",))
    assert for_task(strict, METS).postprocessing == ()
    assert for_task(strict, GLIOMA).postprocessing == ("doubtful10",)
    assert for_task(model, METS).calibration is None
    assert for_task(model, GLIOMA).calibration is model.calibration


def test_the_temperature_softens_probabilities_and_changes_no_label(model, cohort):
    case = load_case(find_cases(cohort)[0], want_reference=False)
    calibrated, plain = (
        Predictor(model, "cpu", "float32"),
        Predictor(replace(model, calibration=None), "cpu", "float32"),
    )
    for subset, temperature in ((("t2f",), 1.5), (T1CE_FLAIR, 2.0), (("t1n", "t1c", "t2f"), 0.5)):
        soft, hard = calibrated(case, subset), plain(case, subset)
        assert (soft.temperature, hard.temperature) == (temperature, 1.0)
        np.testing.assert_array_equal(soft.labels(), hard.labels())
        assert soft.labels().any()
        for region, mask in soft.regions().items():
            np.testing.assert_array_equal(mask, soft.probabilities()[region] > 0.5)
        inside = hard.logits > -29
        expected = torch.sigmoid(hard.logits / temperature)[inside]
        torch.testing.assert_close(torch.from_numpy(np.stack(list(soft.probabilities().values())))[inside], expected)
        for region, values in soft.probabilities(calibrated=False).items():
            np.testing.assert_allclose(values, hard.probabilities()[region], atol=1e-12)


def test_outside_the_brain_s_box_nothing_is_softened(model, cohort):
    case = load_case(find_cases(cohort)[0], want_reference=False)
    hot = model.calibration.model_copy(update={"temperatures": {2: 10.0}})
    values = Predictor(replace(model, calibration=hot), "cpu", "float32")(case, T1CE_FLAIR).probabilities()["wt"]
    assert values[0, 0, 0] < 1e-12


def test_a_number_of_sequences_that_no_case_had_has_no_temperature(model, cohort):
    few = model.calibration.model_copy(update={"temperatures": {1: 3.0}})
    case = load_case(find_cases(cohort)[0], want_reference=False)
    assert Predictor(replace(model, calibration=few), "cpu", "float32")(case, T1CE_FLAIR).temperature == 1.0


def test_ranges_in_words():
    assert span_words((27.0, 45.04), 0.8) == "80 %: 27.0 to 45.0"
    assert span_words(None, 0.8) == "80 %: too few cases"
    assert span_words((-0.02, 0.356), 0.975, lambda value: f"{value:+.2f}") == "97.5 %: -0.02 to +0.36"


def test_the_sequence_that_would_help_most_is_named_with_the_regions_it_helps():
    sentence = helpful_sequence(GLIOMA, calibration_made().gains["t2f"], 0.8)
    assert sentence == (
        "T1ce would help most: enhancing tumour Dice +0.21 (80 %: +0.08 to +0.35) and tumour core Dice +0.10 "
        "(80 %: +0.03 to +0.20), in 22 out-of-fold cases. A mean over cases, not advice for a patient."
    )


def test_the_larger_of_two_shown_gains_is_named():
    gains = calibration_made().gains["t2f"]
    small = {"wt": gains["t1c"]["tc"], "tc": gains["t1n"]["tc"], "et": gains["t1n"]["et"]}
    assert helpful_sequence(GLIOMA, {"t1n": small, "t1c": gains["t1c"]}, 0.8).startswith("T1ce would help most")
    assert helpful_sequence(GLIOMA, {"t1n": gains["t1c"], "t1c": small}, 0.8).startswith("T1 would help most")


def test_a_gain_whose_range_includes_nothing_is_not_shown_to_help():
    sentence = helpful_sequence(GLIOMA, calibration_made().gains["t1c+t2f"], 0.8)
    assert sentence == "Of T1 and T2, no sequence is shown to help in 22 out-of-fold cases."


def test_a_gain_of_which_the_range_ends_at_0_is_not_shown():
    gain = calibration_made().gains["t2f"]["t1c"]["et"]
    at_zero = gain.model_copy(update={"range": gain.range.model_copy(update={"low": 0.0})})
    assert "no sequence is shown" in helpful_sequence(GLIOMA, {"t1c": {"et": at_zero}}, 0.8)


def test_too_few_cases_cannot_tell_what_helps():
    gain = calibration_made().gains["t2f"]["t1c"]["et"].model_copy(update={"range": None, "cases": 1})
    sentence = helpful_sequence(GLIOMA, {"t1c": {"et": gain}}, 0.8)
    assert sentence == "Which further sequence would help is not known: too few cases (in 1 out-of-fold case)."


def test_a_sequence_of_too_few_cases_is_not_said_not_to_help():
    gains = calibration_made().gains["t1c+t2f"]
    few = {region: gain.model_copy(update={"range": None, "cases": 5}) for region, gain in gains["t2w"].items()}
    assert helpful_sequence(GLIOMA, {"t1n": gains["t1n"], "t2w": few}, 0.8) == (
        "Of T1, no sequence is shown to help in 22 out-of-fold cases. Of T2 it is not known: too few cases."
    )


def test_with_every_sequence_there_is_nothing_to_say():
    assert helpful_sequence(GLIOMA, {}, 0.8) is None


def test_a_model_says_whether_it_is_calibrated():
    assert calibration_words(None) == "not calibrated"
    words = "calibrated from 22 out-of-fold cases of 22 persons, 2 folds (invented)"
    assert calibration_words(calibration_made()) == words


def test_the_list_of_models_says_whether_each_is_calibrated(lacunet):
    status, printed, _ = lacunet("models")
    assert status == 0
    calibrated = sum((model_folder(name) / CALIBRATION).is_file() for name in shipped_models())
    assert printed.count("not calibrated") == len(shipped_models()) - calibrated
    assert printed.count("\n  calibrated from ") == calibrated
    assert printed.count("(default)") == 1
    assert lacunet("models", "default") == lacunet("models", DEFAULT)
    status, printed, _ = lacunet("models", DEFAULT)
    assert status == 0
    assert printed.startswith(f"\n{DEFAULT}: ")
    assert printed.count("\n  calibrated from ") == 1


def test_what_a_card_does_not_say_is_left_out(tmp_path, lacunet):
    """A run of one's own has no licence."""
    own = tiny_model(tmp_path / "own")
    card = json.loads((own / "model.json").read_text(encoding="utf-8"))
    for key, line in (("licence", "own: early_fusion, trained on nothing\n"), ("data", "own: early_fusion\n")):
        del card["card"][key]
        card.pop("description_sha256", None)
        write_json(own / "model.json", card)
        status, printed, _ = lacunet("models", own)
        assert status == 0
        assert line in printed
        assert "None" not in printed


def test_without_a_calibration_the_card_is_all_there_is(model):
    card = Expectation({"wt": 0.5}, 6, "test")
    expected = expected_of(replace(model, calibration=None), T1CE_FLAIR, {"wt": 1.0}, [], "none", card)
    assert (expected.expectation, expected.volume_words, expected.record, expected.warnings) == (card, {}, None, ())
    assert card.source == "the model's card: 6 cases (test)"


def test_ranges_are_of_masks_with_the_same_post_processing_and_subsets_that_cases_had(model):
    volumes = {"wt": 1.0, "tc": 1.0, "et": 1.0}
    other = expected_of(model, T1CE_FLAIR, volumes, ["largest"], "none", None)
    assert other.warnings == (
        ["The calibration is of masks with other post-processing (none): it gives no ranges here"]
    )
    assert (other.expectation, other.volume_words, other.helpful_sequence) == (None, {}, None)
    assert "volume_ranges_ml" not in other.record
    mirrored = expected_of(model, T1CE_FLAIR, volumes, [], "sides", None)
    assert mirrored.warnings == (
        ["The calibration is of masks with other mirror images (none): it gives no ranges here"]
    )
    unknown = expected_of(model, ("t1n",), volumes, [], "none", None)
    assert unknown.warnings == ["No out-of-fold case has T1: the calibration gives no ranges here"]


def test_a_temperature_is_of_the_mirror_images_it_was_fitted_with(model, cohort):
    case = load_case(find_cases(cohort)[0], want_reference=False)
    assert Predictor(model, "cpu", "float32", mirror="sides")(case, T1CE_FLAIR).temperature == 1.0
    assert Predictor(model, "cpu", "float32")(case, T1CE_FLAIR).temperature == 2.0
    assert expected_of(model, T1CE_FLAIR, {}, [], "sides", None).record["temperature"] == 1.0


@pytest.mark.usefixtures("no_doubts")
def test_page_and_record_of_a_calibrated_model(model, cohort, tmp_path):
    (files,) = find_cases(cohort)
    done = segment_case(Predictor(model, "cpu", "float32"), files, tmp_path, SegmentSettings(subset=("t2f",)))
    record = json.loads((done.folder / "case.json").read_text())
    said = record["calibration"]
    assert (said["cases"], said["temperature"], said["coverage"]) == (22, 1.5, 0.8)
    volume = record["volumes_ml"]["wt"]
    radius = radius_mm(done.volumes["wt"])
    low, high = ball_ml(radius - 2), ball_ml(radius + 1)
    assert said["volume_ranges_ml"]["wt"] == [pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3)]
    assert low < volume < high
    assert said["volume_ranges_ml"]["et"] is None
    assert said["dice_ranges"] == {"wt": [0.6, 0.9], "tc": [0.4, 0.85], "et": None}
    assert said["gains"]["t1c"]["et"] == {"cases": 22, "dice": 0.21, "range": {"low": 0.08, "high": 0.35}}
    assert said["helpful_sequence"].startswith("T1ce would help most")
    assert record["expected_dice"] == {"wt": 0.81, "tc": 0.7, "et": 0.45}
    assert record["expected_dice_from"] == "out-of-fold predictions: 22 cases (invented)"
    assert not any("unreliable" in warning for warning in record["warnings"])
    page = text_of(done.folder / "report.html")
    assert f"{volume:.1f} (80 %: {low:.1f} to {high:.1f})" in page
    assert "(80 %: too few cases)" in page
    assert "0.81 (80 %: 0.60 to 0.90)" in page
    assert "over 22 out-of-fold cases (invented)" in page
    assert "T1ce would help most: enhancing tumour Dice +0.21" in page


@pytest.mark.usefixtures("no_doubts")
def test_page_and_record_of_an_uncalibrated_model_say_what_they_said(model, cohort, tmp_path):
    (files,) = find_cases(cohort)
    plain = Predictor(replace(model, calibration=None), "cpu", "float32")
    done = segment_case(plain, files, tmp_path, SegmentSettings(subset=("t2f",)))
    record = json.loads((done.folder / "case.json").read_text())
    assert (record["calibration"], record["expected_dice"], record["expected_dice_from"]) == (None, {}, None)
    page = text_of(done.folder / "report.html")
    assert "80 %" not in page
    assert "out-of-fold" not in page
    assert "card does not say what to expect" in page


def test_other_rules_leave_the_ranges_out_and_say_so(model, cohort, tmp_path):
    (files,) = find_cases(cohort)
    settings = SegmentSettings(subset=("t2f",), rules=[get_rule("largest")])
    done = segment_case(Predictor(model, "cpu", "float32"), files, tmp_path, settings)
    assert any("other post-processing" in warning for warning in done.warnings)
    assert "80 %" not in text_of(done.folder / "report.html")


def test_probability_maps_are_calibrated_unless_raw_ones_are_asked_for(model, cohort, tmp_path):
    (files,) = find_cases(cohort)
    maps = {}
    for raw in (False, True):
        settings = SegmentSettings(subset=T1CE_FLAIR, probabilities=True, raw_probabilities=raw)
        done = segment_case(Predictor(model, "cpu", "float32"), files, tmp_path / str(raw), settings)
        maps[raw] = nib.load(done.folder / f"{files.name}-probability-wt.nii.gz").get_fdata()
    logits = np.log(maps[True].clip(1e-6, 1 - 1e-6) / (1 - maps[True].clip(1e-6, 1 - 1e-6)))
    there = np.abs(logits) < 5
    np.testing.assert_allclose(maps[False][there], 1 / (1 + np.exp(-logits[there] / 2)), atol=1e-3)


def text_of(page: Path) -> str:
    """What a page shows: no tags, single spaces."""
    body = page.read_text(encoding="utf-8").split("<body>")[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("( ", "(")
