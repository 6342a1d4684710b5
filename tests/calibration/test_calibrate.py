"""From fold runs to a calibration: what is out of fold, what is kept of a case, and what is made of it all."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from calibrations_made import SUBSETS, parts_made, tiny_model
from lacunet.calibration.calibrate import (
    CalibrateSettings,
    Table,
    calibrate,
    calibration_of,
    reliability_of,
    residual_mm,
)
from lacunet.calibration.out_of_fold import (
    HeldOut,
    PassSettings,
    chose_weights,
    go_through,
    logits_of,
    own_split,
    pass_through,
    require_out_of_fold,
    sample_brain,
)
from lacunet.case import CaseFiles
from lacunet.cli.main import main
from lacunet.data.scan_facts import scan_facts
from lacunet.errors import DataError, ModelError, OutputError, Problem
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.evaluation.scores import Row, read_rows
from lacunet.files import write_json
from lacunet.models.calibration import CALIBRATION, read_calibration, read_calibration_file
from lacunet.models.model import load_model, save_model
from lacunet.models.origin import origin_of, write_origin
from lacunet.prediction.postprocess import get_rule
from lacunet.prediction.predictor import Predictor
from lacunet.stats.temperature import negative_log_likelihood
from lacunet.task import GLIOMA
from lacunet.training.train import train
from small import brain, hand_made_case, tiny_recipe

QUICK = PassSettings(voxels=200)


def files_of(name: str, person: str = "") -> CaseFiles:
    return CaseFiles(name, person or name, {}, None, "made", None)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two fold models of one kind."""
    folder = tmp_path_factory.mktemp("folds")
    return [str(tiny_model(folder / f"fold{seed}", seed)) for seed in range(2)]


def knowing(tmp_path: Path, trained: list[str]) -> str:
    """A run that kept its split file."""
    tiny_model(tmp_path / "run" / "model")
    (tmp_path / "run" / "split.json").write_text(json.dumps({"train": trained, "val": []}))
    return str(tmp_path / "run")


def test_a_case_of_two_folds_is_refused(models):
    folds = [HeldOut(model, (files_of("a"),)) for model in models]
    with pytest.raises(DataError, match=r"a is held out by .*fold1, but a of the same person by .*fold0"):
        require_out_of_fold(folds, {})


def test_a_person_of_two_folds_is_refused(models):
    folds = [HeldOut(models[0], (files_of("a-1", "a"),)), HeldOut(models[1], (files_of("a-2", "a"),))]
    with pytest.raises(DataError, match=r"a-2 is held out .* but a-1 of the same person"):
        require_out_of_fold(folds, {})


def test_a_case_that_its_run_has_trained_on_is_refused(tmp_path):
    run = knowing(tmp_path, ["a", "b"])
    require_out_of_fold([HeldOut(run, (files_of("c"),))], {})
    with pytest.raises(DataError, match=r"b: .*run has trained on it or on its person \(b in .*split.json\)"):
        require_out_of_fold([HeldOut(run, (files_of("c"), files_of("b")))], {})


def test_a_case_whose_person_its_run_has_trained_on_is_refused(tmp_path):
    run = knowing(tmp_path, ["visit-1"])
    with pytest.raises(DataError, match=r"visit-2: .* \(visit-1 in"):
        require_out_of_fold([HeldOut(run, (files_of("visit-2", "p"),))], {"visit-1": "p"})
    run = knowing(tmp_path / "other", ["BraTS-GLI-00001-000"])
    with pytest.raises(DataError, match="BraTS-GLI-00001-001: "):  # known by its name, though not among the data
        require_out_of_fold([HeldOut(run, (files_of("BraTS-GLI-00001-001", "BraTS-GLI-00001"),))], {})


def test_a_fold_knows_whom_the_model_that_it_began_from_had_seen(tmp_path):
    run, origin = knowing(tmp_path, ["a"]), origin_of(knowing(tmp_path / "before", ["b"]), 1, (), ())
    write_origin(Path(run), origin)
    require_out_of_fold([HeldOut(run, (files_of("c"),))], {})
    for name, file in (("a", r".*split\.json"), ("b", "a model that it learned from")):
        with pytest.raises(DataError, match=rf"{name}: .*run has trained on it or on its person \({name} in {file}"):
            require_out_of_fold([HeldOut(run, (files_of(name),))], {})
    write_origin(Path(run), origin_of("default", 1, (), ()))
    with pytest.raises(DataError, match="its training learned from ccsd_medium, whose training cases are not known"):
        require_out_of_fold([HeldOut(run, (files_of("c"),))], {})


def test_the_model_folder_inside_a_run_knows_as_much_as_the_run(tmp_path):
    run = knowing(tmp_path, ["a"])
    assert own_split(run) == own_split(f"{run}/model") == tmp_path / "run" / "split.json"


def test_a_fold_that_validated_its_own_model_is_known(models, tmp_path):
    tiny_model(tmp_path / "run" / "model")
    (tmp_path / "run" / "split.json").write_text(json.dumps({"train": ["a"], "val": ["b"]}))
    held = [HeldOut(str(tmp_path / "run"), (files_of(name),)) for name in "bc"]
    assert [chose_weights(fold) for fold in held] == [True, False]
    assert not chose_weights(HeldOut(models[0], (files_of("b"),)))


def test_folds_of_two_kinds_are_refused(models, tmp_path):
    other = str(tiny_model(tmp_path / "coarse", spacing=8.0))
    folds = [HeldOut(models[0], (files_of("a"),)), HeldOut(other, (files_of("b"),))]
    with pytest.raises(ModelError, match=r"coarse: its preparation is .*, and that of .*fold0 is"):
        require_out_of_fold(folds, {})


def test_voxels_are_drawn_from_the_brain_and_by_name_and_seed_alone():
    mask = brain((20, 20, 20), (3, 3, 3), (16, 16, 16)) != 0
    first = sample_brain(mask, 500, 1, "a")
    assert len(set(first.tolist())) == 500
    assert mask.ravel()[first].all()
    np.testing.assert_array_equal(first, sample_brain(mask, 500, 1, "a"))
    for seed, name in ((2, "a"), (1, "b")):
        assert len(set(first) & set(sample_brain(mask, 500, seed, name))) < 200
    assert len(sample_brain(mask, 10**6, 1, "a")) == mask.sum()


def test_what_is_kept_of_a_case_is_what_the_model_said_of_it(models):
    shape, full = (24, 24, 24), ((2, 2, 2), (21, 21, 21))
    images = {"t1c": brain(shape, *full, seed=1), "t2f": brain(shape, (2, 2, 2), (21, 21, 11), seed=2)}
    reference = np.zeros(shape, np.uint8)
    reference[6:12, 6:12, 6:12] = 2
    reference[8:10, 8:10, 8:10] = 3
    case = hand_made_case(images, (3, 3, 3), reference)
    predictor = Predictor(load_model(models[0]), "cpu", "float32")
    passed = go_through(predictor, case, replace(QUICK, voxels=1000))
    rows, kept = passed.rows, passed.voxels
    assert list(dict.fromkeys(row.subset for row in rows)) == ["t1c", "t2f", "t1c+t2f"]
    chosen = sample_brain(case.images["t1c"] != 0, 1000, 1, "made")
    truth = region_masks(reference, GLIOMA)
    np.testing.assert_array_equal(kept["truth"], [mask.ravel()[chosen] for mask in truth.values()])
    prediction = predictor(case, ("t2f",))
    seen = (case.images["t2f"] != 0).ravel()[chosen]
    assert 0 < seen.sum() < 1000
    np.testing.assert_array_equal(np.isfinite(kept["t2f"]), np.broadcast_to(seen, (3, 1000)))
    np.testing.assert_allclose(kept["t2f"][:, seen], prediction.logits.flatten(1).numpy()[:, chosen[seen]])
    masks = region_masks(prediction.labels(), GLIOMA)
    for row in rows[3:6]:
        assert row.dice == dice(masks[row.region], truth[row.region])
        assert row.prediction_ml == pytest.approx(masks[row.region].sum() * 0.027)
        assert row.reference_ml == pytest.approx(truth[row.region].sum() * 0.027)
    of = {subset: predictor(case, subset).regions() for subset in (("t1c",), ("t2f",), ("t1c", "t2f"))}
    (whole,), singles = [of["t1c", "t2f"]], [of["t1c",], of["t2f",]]
    assert passed.beside.agreement == {
        "t1c+t2f": {
            region: pytest.approx(sum(dice(one[region], whole[region]) for one in singles) / 2)
            for region in GLIOMA.regions
        }
    }
    assert passed.beside.facts == scan_facts(case, ("t1c", "t2f"))

    nothing = replace(get_rule("largest"), change=lambda found: np.zeros_like(found.labels))
    ruled = go_through(predictor, case, replace(QUICK, voxels=1000, rules=[nothing]))
    assert {row.prediction_ml for row in ruled.rows} == {0.0}
    assert set(ruled.beside.agreement["t1c+t2f"].values()) == {1.0}  # nothing agrees with nothing
    assert set(passed.beside.agreement["t1c+t2f"].values()) != {1.0}
    np.testing.assert_array_equal(ruled.voxels["t2f"], kept["t2f"])


def test_a_case_without_reference_cannot_calibrate(models):
    case = hand_made_case({"t2f": brain((16, 16, 16), (2, 2, 2), (13, 13, 13))})
    with pytest.raises(DataError, match="has no reference mask; calibration needs one"):
        go_through(Predictor(load_model(models[0]), "cpu", "float32"), case, QUICK)


def test_logits_come_by_size_and_group(tmp_path):
    parts = parts_made(tmp_path, persons=4, folds=2, voxels=7)
    found = logits_of(parts, GLIOMA, 2, {part.name: str(part.fold) for part in parts})
    assert {key: (one.shape, truth.shape) for key, (one, truth) in found.items()} == {
        "0": ((3, 2 * 6 * 7), (3, 2 * 6 * 7)),
        "1": ((3, 2 * 6 * 7), (3, 2 * 6 * 7)),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A calibration of 40 cases in four folds, and their table."""
    folder = tmp_path_factory.mktemp("made")
    parts = parts_made(folder, persons=40, folds=4, sure=lambda size: 0.5 * size, voxels=400)
    folds = [HeldOut(str(tiny_model(folder / str(fold))), ()) for fold in range(4)]
    return calibration_of(parts, folds, CalibrateSettings(data="made")), Table(GLIOMA, parts)


def test_each_number_of_sequences_gets_its_own_temperature(made):
    calibration, _ = made
    for size in range(1, 5):
        assert calibration.temperatures[size] == pytest.approx(0.5 * size, rel=0.06)


def test_temperatures_of_other_folds_mend_the_error_of_the_fold_left_out(made):
    calibration, _ = made
    for region in GLIOMA.regions:
        four = calibration.reliability[4][region]
        assert four.error > 0.03
        assert four.error_calibrated < 0.5 * four.error
        assert four.likelihood_calibrated < four.likelihood
        two = calibration.reliability[2][region]  # nothing to mend
        assert two.likelihood_calibrated == pytest.approx(two.likelihood, rel=5e-3)


def test_a_fold_s_own_voxels_have_no_say_in_the_temperature_it_is_judged_by():
    """One fold as it should be, one four times too sure: each is judged by the other's temperature and is worse off."""
    generator = np.random.default_rng(2)
    logits = generator.normal(-1, 3, (1, 20_000)).astype(np.float32)
    truth = generator.random((1, 20_000)) < expit(logits)
    found = reliability_of({"right": (logits, truth), "sure": (4 * logits, truth)}, ["wt"])["wt"]
    softened, sure = (negative_log_likelihood(logits[0] * factor, truth[0]) for factor in (0.25, 4))
    assert found.likelihood_calibrated == pytest.approx((softened + sure) / 2, rel=0.02)
    assert found.likelihood_calibrated > found.likelihood


def test_expected_dice_and_radii_are_those_of_the_table(made):
    calibration, table = made
    rows = table.rows("t1c+t2f", "tc")
    found = calibration.subsets["t1c+t2f"]["tc"]
    assert (found.cases, found.absent) == (40, 0)
    assert found.dice == pytest.approx(0.7 + 0.001 * 19.5)
    assert found.dice_range.span == (pytest.approx(0.703), pytest.approx(0.736))  # the 4th and the 37th of 40
    residuals = sorted(residual_mm(row) for row in rows.values())
    assert found.radius_mm.span == (residuals[3], residuals[36])


def test_what_agrees_less_than_in_nearly_all_cases_is_unusual(tmp_path, models):
    folds = [HeldOut(model, ()) for model in models]
    many = calibration_of(parts_made(tmp_path / "many", persons=41, folds=2), folds, CalibrateSettings())
    assert many.subsets["t1c+t2f"]["wt"].agreement == pytest.approx(0.51)  # the second smallest of 41
    assert many.subsets["t1c+t2f"]["et"].agreement == 0.2  # the smallest
    assert many.subsets["t1c"]["wt"].agreement is None
    few = calibration_of(parts_made(tmp_path / "few", persons=18, folds=2), folds, CalibrateSettings())
    assert few.subsets["t1c+t2f"]["wt"].agreement is None


def test_what_the_cases_were_like_goes_from_the_least_to_the_most(tmp_path, models):
    parts = parts_made(tmp_path, persons=5, folds=2)
    rows = [row for row in parts[0].rows if row.region == "wt"]
    parts[0] = replace(parts[0], rows=[*rows, *(replace(row, reference_ml=0.0) for row in parts[0].rows[1:3])])
    seen = calibration_of(parts, [HeldOut(model, ()) for model in models], CalibrateSettings()).seen
    assert seen is not None
    assert (seen.brain_ml.span, seen.voxel_mm.span) == ((1300.0, 1304.0), (1.0, 1.0))
    assert seen.shading.span == (1.2, pytest.approx(1.4))
    volumes = {(row.case, row.region): row.reference_ml for part in parts for row in part.rows}
    cores = [volume for (_, region), volume in volumes.items() if region == "tc" and volume > 0]
    assert seen.volume_ml["tc"].span == (min(cores), max(cores))
    assert len(cores) == 4


def test_gains_are_paired_differences_of_every_subset_and_missing_sequence(made):
    calibration, _ = made
    assert set(calibration.gains) == {name for name in SUBSETS if name.count("+") < 3}
    assert sum(len(one) for one in calibration.gains.values()) == 28
    gain = calibration.gains["t2f"]["t1c"]["et"]
    assert (gain.cases, gain.dice) == (40, pytest.approx(0.1))
    assert gain.range.span == (pytest.approx(0.1), pytest.approx(0.1))


def test_ranges_hold_the_volumes_of_folds_left_out_as_often_as_said(made):
    """Thirty others: ranks 3 and 28 of 30, so (28 - 3) / 31 of the volumes are held."""
    calibration, _ = made
    held = sum(one.held for one in calibration.volume_coverage.values())
    cases = sum(one.cases for one in calibration.volume_coverage.values())
    assert cases == 3 * 15 * 40
    assert held / cases == pytest.approx(25 / 31, abs=0.03)


def test_a_range_that_is_too_narrow_for_a_fold_is_seen(tmp_path, models):
    """The radii of one fold's references are 20 mm larger than predicted: the others' ranges do not hold them."""
    parts = parts_made(tmp_path, persons=20, folds=2)
    parts = [
        replace(part, rows=[replace(row, reference_ml=1000.0, prediction_ml=1.0) for row in part.rows])
        if part.fold == 1
        else part
        for part in parts
    ]
    folds = [HeldOut(model, ()) for model in models]
    coverage = calibration_of(parts, folds, CalibrateSettings()).volume_coverage["wt"]
    assert coverage.cases == 15 * 20
    assert coverage.held <= 0.5 * coverage.cases


def test_too_few_persons_give_no_ranges_but_means_and_say_so(tmp_path, models):
    calibration = calibration_of(
        parts_made(tmp_path, persons=8, folds=2), [HeldOut(m, ()) for m in models], CalibrateSettings()
    )
    found = calibration.subsets["t2f"]["et"]
    assert (found.dice, found.dice_range, found.radius_mm) == (pytest.approx(0.6035), None, None)
    assert calibration.gains["t2f"]["t1c"]["et"].range is None
    assert calibration.volume_coverage == {}
    assert "8 persons: too few for 80% ranges, which take 9" in calibration.notes


def test_visits_of_a_person_count_once_for_ranges_and_not_as_persons(tmp_path, models):
    parts = [
        replace(part, person=f"p{index // 2}") for index, part in enumerate(parts_made(tmp_path, persons=16, folds=1))
    ]
    calibration = calibration_of(parts, [HeldOut(models[0], ())], CalibrateSettings())
    assert (calibration.cases, calibration.persons) == (16, 8)
    assert calibration.subsets["t2f"]["et"].dice_range is None
    assert calibration.subsets["t2f"]["et"].cases == 16
    assert Table(GLIOMA, parts).one_each("t2f", "wt").keys() == {f"case-{index:02}" for index in range(0, 16, 2)}


def test_a_single_fold_is_crossed_by_person_and_noted(tmp_path, models):
    calibration = calibration_of(
        parts_made(tmp_path, persons=10, folds=1), [HeldOut(models[0], ())], CalibrateSettings()
    )
    assert calibration.volume_coverage["wt"].cases == 150
    assert calibration.reliability[1]["wt"].error_calibrated is not None
    assert calibration.notes == ["a single model stands for the one that is calibrated; several folds would tell more"]


def test_a_single_person_leaves_nothing_to_cross(tmp_path, models):
    calibration = calibration_of(
        parts_made(tmp_path, persons=1, folds=1), [HeldOut(models[0], ())], CalibrateSettings()
    )
    assert calibration.reliability[1]["wt"].error_calibrated is None
    assert calibration.temperatures.keys() == {1, 2, 3, 4}


def test_a_temperature_at_the_end_of_the_search_is_noted(tmp_path, models):
    parts = parts_made(tmp_path, persons=9, folds=1, sure=lambda size: -1.0 if size == 1 else 1.0)
    calibration = calibration_of(parts, [HeldOut(models[0], ())], CalibrateSettings())
    assert calibration.temperatures[1] == 10.0
    assert calibration.notes[0].startswith(
        "the temperature of 1 sequence is at the end of what is looked for (0.1 to 10)"
    )


def test_an_absent_region_has_radius_0_and_stays_among_the_cases():
    row = Row("a", "t2f", "et", 0.0, float("nan"), 0.0, 4.18879)
    assert residual_mm(row) == pytest.approx(-10.0, abs=1e-4)
    assert residual_mm(replace(row, prediction_ml=0.0)) == 0.0
    assert residual_mm(replace(row, reference_ml=4.18879, prediction_ml=0.0)) == pytest.approx(10.0, abs=1e-4)


def test_cases_that_lack_sequences_count_where_they_can(tmp_path, models):
    parts = parts_made(tmp_path, persons=12, folds=2)
    kept = {"t2f", "t1c", "t1c+t2f"}
    parts = [
        replace(part, rows=[row for row in part.rows if row.subset in kept]) if index < 4 else part
        for index, part in enumerate(parts)
    ]
    calibration = calibration_of(parts, [HeldOut(model, ()) for model in models], CalibrateSettings())
    assert calibration.subsets["t1c+t2f"]["wt"].cases == 12
    assert calibration.subsets["t1n"]["wt"].cases == 8
    assert calibration.subsets["t1n"]["wt"].dice_range is None
    assert calibration.gains["t2f"]["t1c"]["wt"].cases == 12
    assert calibration.gains["t2f"]["t2w"]["wt"].cases == 8


def test_a_pass_resumes_from_its_parts_and_refuses_another(phantoms, models, tmp_path):
    folds = [HeldOut(models[0], tuple(phantoms[:1])), HeldOut(models[1], tuple(phantoms[1:2]))]
    loaded = []

    def load(model: str, device: str) -> Predictor:
        loaded.append(model)
        return Predictor(load_model(model), "cpu", "float32")

    def run(settings: PassSettings, folds: list[HeldOut] = folds):
        return calibrate(folds, {}, tmp_path, CalibrateSettings(passing=settings), load)

    first = run(QUICK)
    assert loaded == models
    assert {(row.case, row.subset) for row in read_rows(tmp_path / "cases.csv")} == {
        (files.name, subset) for files in phantoms[:2] for subset in SUBSETS
    }
    with pytest.raises(OutputError, match="holds a calibration already; continue with --resume"):
        run(QUICK)
    (tmp_path / "parts" / f"{phantoms[1].name}.csv").unlink()
    again = run(replace(QUICK, resume=True))
    assert loaded == [*models, models[1]]
    assert again.calibration == first.calibration
    for other in ({"voxels": 100}, {"window": 32}, {"precision": "bf16"}, {"mirror": "sides"}):
        with pytest.raises(OutputError, match="of other folds or settings"):
            run(replace(QUICK, resume=True, **other))
    with pytest.raises(OutputError, match="of other folds or settings"):
        run(replace(QUICK, resume=True), folds[:1])


def test_a_case_that_cannot_be_read_is_a_problem_and_the_others_count(phantoms, models, tmp_path):
    bad = replace(phantoms[1], reference=None, convention=None)
    folds = [HeldOut(models[0], (bad, phantoms[0]))]
    found = list(
        pass_through(folds, tmp_path, QUICK, lambda model, place: Predictor(load_model(model), "cpu", "float32"))
    )
    assert isinstance(found[0], Problem)
    assert found[1].name == phantoms[0].name
    with pytest.raises(DataError, match=r"no case to calibrate with: .*no reference"):
        calibrate(
            [HeldOut(models[0], (bad,))],
            {},
            tmp_path / "none",
            CalibrateSettings(),
            lambda model, place: Predictor(load_model(model), "cpu", "float32"),
        )


def test_fold_runs_calibrate_a_model_from_the_command_line(phantoms, tmp_path, lacunet):
    """Two trainings of two steps; each is asked about the case that it has not seen."""
    recipe = tiny_recipe(train={"steps": 2}, validate={"every": 100, "subsets": ["t1c"]})
    data = Path(next(iter(phantoms[0].images.values())).path).parents[1]
    first, second, third = phantoms
    for name, held in (("one", first), ("two", second)):
        train(recipe, [third], [held], tmp_path / name, device="cpu")
    assert json.loads((tmp_path / "one" / "split.json").read_text()) == {"train": [third.name], "val": [first.name]}
    runs, where = [tmp_path / "one", tmp_path / "two"], ["--data", data, "-o", tmp_path / "out", "--voxels", 500]

    (tmp_path / "seen.json").write_text(json.dumps({"val": [third.name]}))
    status, _, err = lacunet("calibrate", runs[0], f"{runs[1]}={tmp_path / 'seen.json'}:val", *where)
    assert (status, "has trained on it" in err) == (1, True)
    status, _, err = lacunet("calibrate", f"{runs[0]}={tmp_path / 'seen.json'}", *where)
    assert (status, "expected RUN=FILE:PART" in err) == (2, True)
    status, _, err = lacunet("calibrate", *runs, *where, "--coverage", 80)
    assert (status, "coverage is a share from 0.5 to 0.99" in err) == (2, True)
    other = tiny_model(tmp_path / "other")
    status, _, err = lacunet("calibrate", *runs, *where, "--into", other)
    assert status == 1
    assert "its preparation is" in err
    assert "all folds of a calibration are trained by one recipe" in err
    status, _, err = lacunet("calibrate", f"{tmp_path / 'one'}={tmp_path / 'one' / 'split.json'}:test", *where)
    assert (status, "has no part 'test'" in err) == (1, True)
    assert not (tmp_path / "out" / CALIBRATION).exists()

    folds = tmp_path / "folds"  # as `lacunet benchmark --folds` leaves them
    for index, (run, held) in enumerate(zip(runs, (first, second), strict=True), start=1):
        shutil.copytree(run / "model", folds / f"tiny/seed-1/fold-{index}/model")
        write_json(folds / f"splits/fold-{index}.json", {"train": [third.name], "test": [held.name]})
    write_json(folds / "benchmark.json", {})
    status, _, err = lacunet("calibrate", folds, *where)
    expected = f"is a benchmark's folder; name the folds of one of its methods, such as {folds / 'tiny/seed-1'}\n"
    assert (status, err) == (2, f"lacunet: {folds}: {expected}")
    status, out, err = lacunet(
        "calibrate", folds / "tiny/seed-1", "--data", data, "-o", tmp_path / "clean", "--voxels", 500
    )
    assert (status, err.strip()) == (0, "")
    assert "also validated them" not in out
    assert {row.case for row in read_rows(tmp_path / "clean" / "cases.csv")} == {first.name, second.name}

    status, out, err = lacunet("calibrate", *runs, *where, "--into", runs[0])
    assert (status, err.strip()) == (0, "")
    assert "note: cases held out by 2 of 2 models also validated them" in out
    assert f"calibrated from 2 out-of-fold cases of 2 persons, 2 folds ({data.name})" in out
    assert "note: 2 persons: too few for 80% ranges, which take 9" in out
    assert read_calibration_file(tmp_path / "out" / CALIBRATION).weights == ""
    calibration = read_calibration(tmp_path / "one" / "model")
    assert calibration.persons == 2
    assert [fold.steps for fold in calibration.folds] == [2, 2]
    assert calibration.subsets["t1c+t2f"]["wt"].cases == 2
    assert calibration.volume_coverage == {}
    held = {row.case for row in read_rows(tmp_path / "out" / "cases.csv")}
    assert held == {first.name, second.name}

    one = load_model(str(runs[0]))
    save_model(tmp_path / "ruled", one.method, one.preparation, one.card, postprocessing=["largest"])
    again = ["--data", data, "-o", tmp_path / "again", "--voxels", 100]
    status, _, err = lacunet("calibrate", *runs, *again, "--into", tmp_path / "ruled")
    assert (status, err.strip()) == (0, "")
    assert read_calibration(tmp_path / "ruled").postprocessing == ["largest"]

    status, _, _ = lacunet(
        "segment", data / third.name, "--subset", "t2f", "-m", runs[0], "-o", tmp_path / "masks", "--no-viewer"
    )
    assert status == 0
    record = json.loads((tmp_path / "masks" / third.name / "case.json").read_text())
    said = record["calibration"]
    assert said["volume_ranges_ml"] == {"wt": None, "tc": None, "et": None}
    assert said["helpful_sequence"].startswith("Which further sequence would help is not known: too few cases")
    assert "volume" in record["withheld"]["wt"]  # the two cases that the calibration saw are of other sizes
    assert "This mask is doubtful" in (tmp_path / "masks" / third.name / "report.html").read_text(encoding="utf-8")


def test_a_run_without_its_split_must_be_told_its_cases(models, tmp_path, phantoms, monkeypatch, capsys):
    data = Path(next(iter(phantoms[0].images.values())).path).parents[1]
    monkeypatch.setattr(sys, "argv", ["lacunet", "calibrate", models[0], "--data", str(data), "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "kept no list of its cases; name those that it has not seen" in capsys.readouterr().err
