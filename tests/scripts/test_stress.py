"""The stress table: what each change does to a scan, and what the table says of it."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import ndimage

from calibrations_made import tiny_model
from lacunet.data.prepare import prepare_reference
from lacunet.evaluation.metrics import dice
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.task import GLIOMA
from small import ROOT, ROUND, hand_made_case, round_case


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The two scripts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "studies"))
        yield __import__("scan_changes"), __import__("stress")
        for name in ("scan_changes", "stress"):
            sys.modules.pop(name, None)


WHOLE = replace(GLIOMA, regions={"wt": GLIOMA.regions["wt"]})


def change_of(module: ModuleType, name: str):
    return next(one for one in module.CHANGES if one.name == name)


def test_a_change_is_drawn_from_the_case_and_its_own_name(made):
    changes, _ = made
    case = round_case(0.05, t1n=100.0, t2f=50.0)
    for change in changes.CHANGES:
        first, again = (changes.changed(case, change) for _ in range(2))
        assert all(np.array_equal(first.images[name], again.images[name]) for name in case.images), change.name
        assert first.grid is case.grid
        assert any(not np.array_equal(first.images[name], case.images[name]) for name in case.images), change.name
    other = changes.changed(replace(case, name="other"), changes.CHANGES[0])
    assert not np.array_equal(other.images["t1n"], changes.changed(case, changes.CHANGES[0]).images["t1n"])


def test_nothing_but_skull_rests_and_moving_changes_what_is_brain(made):
    changes, _ = made
    case = round_case(0.05, t1n=100.0, t1c=100.0)
    for change in changes.CHANGES:
        found = changes.changed(case, change).images["t1n"] != 0
        same = np.array_equal(found, case.images["t1n"] != 0)
        assert same == (change.name not in ("2 mm off", "cut field", "skull rests")), change.name


@pytest.mark.parametrize("factor", [1.35, 1.8, 2.7])
def test_shading_has_its_factor_and_is_smooth(made, factor):
    changes, _ = made
    case = round_case(0.05, t1n=100.0, t2f=50.0)
    found = changes.changed(case, change_of(changes, f"shading {factor:g}"))
    inside = case.images["t1n"] != 0
    fields = {name: found.images[name][inside] / case.images[name][inside] for name in case.images}
    for field in fields.values():
        low, high = np.percentile(field, [5, 95])
        assert high / low == pytest.approx(factor, rel=1e-4)
    assert not np.allclose(fields["t1n"], fields["t2f"], rtol=0.05)
    whole = changes.smooth_field(ROUND, np.random.default_rng(0), 3)
    assert np.abs(np.diff(whole, axis=0)).max() < 0.1 * np.ptp(whole)


def test_thick_slices_are_means_over_slabs_and_straight_between_them(made):
    changes, _ = made
    image = np.ones((4, 4, 24), np.float32) * np.arange(1, 25, dtype=np.float32)
    image[:, :, 12:] += 100
    found = changes.thick_slices(hand_made_case({"t1n": image}), np.random.default_rng(0), 6.0).images["t1n"][0, 0]
    means = [np.mean(range(1, 7)), np.mean(range(7, 13)), 100 + np.mean(range(13, 19)), 100 + np.mean(range(19, 25))]
    assert found[0] == pytest.approx(means[0])
    assert found[2:4].mean() == pytest.approx(means[0], abs=0.6)
    assert found[8:10].mean() == pytest.approx(means[1], abs=10)
    assert np.diff(found[9:14]) == pytest.approx([(means[2] - means[1]) / 6] * 4, rel=1e-4)


def test_low_resolution_blurs_along_every_axis_and_never_with_the_background(made):
    changes, _ = made
    case = round_case(0.05, t1n=100.0)
    found = changes.changed(case, change_of(changes, "3 mm voxels")).images["t1n"]
    edge = (case.images["t1n"] != 0) & (np.roll(case.images["t1n"], 1, axis=0) == 0)
    assert found[edge].min() > 80
    assert found[case.images["t1n"] != 0].std() < case.images["t1n"][case.images["t1n"] != 0].std()


def test_gamma_keeps_the_brightest_and_is_one_of_two(made):
    changes, _ = made
    case = round_case(0.05, t1n=100.0, t1c=100.0, t2w=100.0, t2f=100.0)
    found = changes.changed(case, change_of(changes, "gamma"))
    powers = set()
    for name, image in case.images.items():
        brightest = np.percentile(image[image > 0], 99.5)
        core = np.median(found.images[name][18:22, 20:24, 22:26]) / brightest
        before = np.median(image[18:22, 20:24, 22:26]) / brightest
        powers.add(round(float(np.log(core) / np.log(before)), 2))
    assert powers <= {1.5, 0.67}
    assert changes.other_contrast(case, np.random.default_rng(0), 1.0).images["t1n"] == pytest.approx(
        case.images["t1n"], rel=1e-5
    )


def test_noise_has_its_deviation(made):
    changes, _ = made
    image = np.where(round_case(0.05, t1n=100.0).images["t1n"] != 0, 100.0, 0.0)
    found = changes.changed(hand_made_case({"t1n": image}), change_of(changes, "noise")).images["t1n"]
    assert found[image > 0].std() == pytest.approx(10.0, rel=0.05)
    assert found[image > 0].mean() == pytest.approx(100.5, abs=0.3)  # Rician: a little above


def test_all_but_t1ce_are_moved_by_two_millimetres(made):
    changes, _ = made
    case = round_case(0.05, t1n=100.0, t1c=100.0, t2f=100.0)
    found = changes.changed(case, change_of(changes, "2 mm off"))
    assert np.array_equal(found.images["t1c"], case.images["t1c"])
    assert np.array_equal(found.reference, case.reference)
    near = np.linalg.norm(np.moveaxis(np.indices(ROUND), 0, -1) - (np.asarray(ROUND) - 1) / 2, axis=-1) < 12
    middle = {
        name: np.array(ndimage.center_of_mass(np.where(near, np.maximum(85 - image, 0), 0)))  # of the dark core
        for name, image in found.images.items()
    }
    for name in ("t1n", "t2f"):
        assert np.linalg.norm(middle[name] - middle["t1c"]) == pytest.approx(2.0, abs=0.15)
        inside = found.images[name][found.images[name] != 0]
        assert np.percentile(inside, 2) > 40  # no dark rim
    assert np.linalg.norm(middle["t1n"] - middle["t2f"]) > 0.1


def test_the_field_is_cut_away_from_the_tumour(made):
    changes, _ = made
    case = round_case(0.05, t1n=100.0, t2f=50.0)
    found = changes.changed(case, change_of(changes, "cut field"))
    slices = np.flatnonzero((case.images["t1n"] != 0).any(axis=(0, 1)))
    left = np.flatnonzero((found.images["t1n"] != 0).any(axis=(0, 1)))
    assert len(left) == len(slices) - round(0.3 * len(slices))
    assert left[-1] == slices[-1]  # the tumour is above
    assert np.array_equal(found.reference, case.reference)
    below = replace(case, reference=case.reference[:, :, ::-1].copy())
    assert changes.changed(below, change_of(changes, "cut field")).images["t1n"][:, :, slices[0]].any()


def test_rests_of_skull_lie_beyond_a_gap_and_are_bright(made):
    changes, _ = made
    case = round_case(0.05, t1n=100.0, t2f=50.0)
    found = changes.changed(case, change_of(changes, "skull rests"))
    at = np.linalg.norm(np.moveaxis(np.indices(ROUND), 0, -1) - (np.asarray(ROUND) - 1) / 2, axis=-1)
    rests = (found.images["t1n"] != 0) & (case.images["t1n"] == 0)
    assert at[rests].min() > 19
    assert at[rests].max() < 26
    shell = (at > 20.2) & (at < 24.8)
    assert 0.2 < rests[shell].mean() < 0.4
    assert np.median(found.images["t1n"][rests]) > 130


def test_scores_are_kept_and_the_table_has_differences(made, phantoms, tmp_path, monkeypatch):
    changes, stress = made
    torch.manual_seed(0)
    predictor = Predictor(load_model(str(tiny_model(tmp_path / "model"))), "cpu", "float32")
    chosen = [stress.UNCHANGED, change_of(changes, "noise")]
    subsets = [("t1n",), GLIOMA.modalities]
    scores = stress.scores_of("tiny", predictor, phantoms[:2], chosen, subsets, tmp_path)
    assert len({(one.change, one.case, one.subset) for one in scores}) == 2 * 2 * 2
    case = stress.load_case(phantoms[1])
    noisy = changes.changed(changes.without_surroundings(case), chosen[1])
    _, alone = predictor.with_parts(noisy, GLIOMA.modalities, [("t1n",)])
    truth = prepare_reference(noisy, GLIOMA, alone.answers[0].frame).numpy() > 0
    wanted = ("noise", case.name, "t1n", "wt")
    (own,) = [one for one in scores if (one.change, one.case, one.subset, one.region) == wanted]
    assert own.dice == pytest.approx(dice(alone.masks()["wt"], truth))

    monkeypatch.setattr(stress, "rows_of", lambda *arguments: pytest.fail("it is done already"))
    assert stress.scores_of("tiny", predictor, phantoms[:2], chosen, subsets, tmp_path) == scores
    stress.write_scores(tmp_path / "stress.csv", scores)
    assert (tmp_path / "stress.csv").read_text().splitlines()[0] == "model,change,case,subset,region,dice"

    values = {"unchanged": 0.5, "noise": 0.4}
    flat = [replace(one, dice=values[one.change] - (one.subset == "t1n") * 0.1) for one in scores]
    lines = stress.markdown(flat, chosen, GLIOMA).splitlines()
    assert lines[0] == "**tiny**: 2 cases, 2 subsets; where scans are changed, the difference of Dice."
    assert lines[4] == "| the cases as they are | 0.450 | 0.450 | 0.450 | 0.500 | 0.500 | 0.500 | |  |"
    assert lines[5].startswith(
        "| Rician noise of a tenth of the median | -0.100 | -0.100 | -0.100 | -0.100 | -0.100 | -0.100 | WT -0.100 ("
    )


def test_the_table_says_how_often_one_more_sequence_makes_a_mask_worse(made):
    _, stress = made
    dice = {"t2f": 0.8, "t1c+t2f": 0.9, "t1n+t2f": 0.7, "t1c": 0.6}
    scores = [stress.Score("m", "unchanged", "a", subset, "wt", value) for subset, value in dice.items()]
    scores += [stress.Score("m", "noise", "a", subset, "wt", 0.5) for subset in dice]
    lines = stress.markdown(scores, [stress.UNCHANGED, stress.Change("noise", "noise", None)], WHOLE).splitlines()
    assert lines[4].endswith("| WT 33% |")  # from FLAIR to T1 + FLAIR, of three steps
    assert lines[5].endswith("| WT 0% |")


def test_a_case_without_its_surroundings_gives_the_same_masks(made, phantoms, tmp_path):
    changes, stress = made
    torch.manual_seed(0)
    predictor = Predictor(load_model(str(tiny_model(tmp_path / "model"))), "cpu", "float32")
    case = stress.load_case(phantoms[0])
    less = changes.without_surroundings(case)
    assert np.prod(less.grid.shape) < np.prod(case.grid.shape)
    for subset in (("t1n",), GLIOMA.modalities):
        large, small = predictor(case, subset), predictor(less, subset)
        assert np.array_equal(large.masks()["wt"], small.masks()["wt"])
        assert np.count_nonzero(large.regions()["wt"]) == np.count_nonzero(small.regions()["wt"])
        np.testing.assert_allclose(large.answers[0].frame.affine, small.answers[0].frame.affine, atol=1e-5)
