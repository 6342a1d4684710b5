"""One bad scan: what is done to it, and what the tables of the study say."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from math import isnan
from types import ModuleType

import numpy as np
import pytest
import torch

from calibrations_made import tiny_model
from lacunet.case import Case
from lacunet.evaluation.fit import Fit
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.task import GLIOMA
from small import ROOT, round_case

NAMES = [GLIOMA.subset_name(subset) for subset in GLIOMA.subsets]


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The two scripts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "studies"))
        yield __import__("one_bad_scan"), __import__("corruption")
        for name in ("one_bad_scan", "corruption", "scan_changes"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def case() -> Case:
    """Balls with a dark core, each sequence with a grey value of its own."""
    return round_case(0.02, t1n=100.0, t1c=150.0, t2w=200.0, t2f=250.0)


def one_of(module: ModuleType, name: str):
    return next(one for one in module.CORRUPTIONS if one.name == name)


def test_one_scan_is_changed_and_no_other_and_again_alike(made, case):
    bad_scans, _ = made
    assert {one.kind for one in bad_scans.CORRUPTIONS} == {"motion", "shading", "identity", "place", "cut", "noise"}
    for corruption in bad_scans.CORRUPTIONS:
        first, again = (bad_scans.corrupted(case, "t2w", corruption) for _ in range(2))
        for name, image in case.images.items():
            assert np.array_equal(first.images[name], image) == (name != "t2w"), corruption.name
            assert np.array_equal(first.images[name], again.images[name])
        assert first.images["t2w"].dtype == np.float32
        assert first.reference is case.reference
        assert first.images["t2w"].min() >= 0


def test_what_is_brain_stays_brain_unless_it_is_moved_or_cut(made, case):
    bad_scans, _ = made
    for corruption in bad_scans.CORRUPTIONS:
        found = bad_scans.corrupted(case, "t2w", corruption).images["t2w"] != 0
        assert np.array_equal(found, case.images["t2w"] != 0) == (corruption.kind not in ("place", "cut"))


@pytest.mark.parametrize(("strength", "source"), [("like", "t2f"), ("unlike", "t1n")])
def test_another_sequence_lies_under_the_name(made, case, strength, source):
    bad_scans, _ = made
    found = bad_scans.corrupted(case, "t2w", one_of(bad_scans, f"identity {strength}"))
    assert np.array_equal(found.images["t2w"], case.images[source])


@pytest.mark.parametrize(("strength", "share"), [("0.3", 0.3), ("0.6", 0.6)])
def test_a_share_of_the_height_is_missing(made, case, strength, share):
    bad_scans, _ = made
    found = bad_scans.corrupted(case, "t2w", one_of(bad_scans, f"cut {strength}")).images["t2w"]
    before, after = (np.flatnonzero((one != 0).any(axis=(0, 1))) for one in (case.images["t2w"], found))
    assert 1 - len(after) / len(before) == pytest.approx(share, abs=0.05)
    assert (after[0] == before[0]) != (after[-1] == before[-1])


@pytest.mark.parametrize(("strength", "distance"), [("8 mm", 8.0), ("25 mm", 25.0)])
def test_the_scan_lies_elsewhere(made, case, strength, distance):
    bad_scans, _ = made
    large = replace(
        case,
        images={name: np.pad(image, 26) for name, image in case.images.items()},
        reference=np.pad(case.reference, 26),
    )
    found = bad_scans.corrupted(large, "t2w", one_of(bad_scans, f"place {strength}")).images["t2w"]
    middles = [np.argwhere(one > 20).mean(axis=0) for one in (large.images["t2w"], found)]
    assert np.linalg.norm(middles[1] - middles[0]) == pytest.approx(distance, abs=0.3)  # turned about the middle


@pytest.mark.parametrize(("strength", "factor"), [("2.7", 2.7), ("6", 6.0)])
def test_shading_has_its_factor(made, case, strength, factor):
    bad_scans, _ = made
    found = bad_scans.corrupted(case, "t2w", one_of(bad_scans, f"shading {strength}")).images["t2w"]
    inside = case.images["t2w"] != 0
    low, high = np.percentile(found[inside] / case.images["t2w"][inside], [5, 95])
    assert high / low == pytest.approx(factor, rel=1e-3)


def test_stronger_noise_and_stronger_ghosts_change_more(made, case):
    bad_scans, _ = made
    for weak, strong in (("motion 0.3", "motion 0.6"), ("noise 0.3", "noise 1")):
        far = [
            np.abs(make(case, "t2w", np.random.default_rng(3)) - case.images["t2w"]).mean()
            for make in (one_of(bad_scans, weak).make, one_of(bad_scans, strong).make)
        ]
        assert 0 < 1.5 * far[0] < far[1]


# ---------------------------------------------------------------- the tables


def seen(module: ModuleType, bad: str, score: float, *, kind: str = "place", strength: str = "25 mm"):
    """T2 in a subset costs 0.3 where it is bad; its fits have this score, those of the others 0."""
    dice = {name: {"wt": 0.8 - 0.3 * (bad != "" and bad in name.split("+"))} for name in NAMES}
    fits = {
        name: {one: Fit(0.5 + (score if one == "t2w" else 0), 0.5) for one in name.split("+") if name.count("+") > 1}
        for name in NAMES
    }
    changes = {name: dict.fromkeys(name.split("+"), 0.9) for name in NAMES if "+" in name}
    kind, strength = (kind, strength) if bad else (module.GOOD, "")
    return module.Seen("a", kind, strength, bad, dice, fits, changes)


def test_outcomes_compare_never_always_and_by_score(made):
    _, study = made
    rows = study.outcomes_of(seen(study, "t2w", -0.9), GLIOMA)
    assert {one.subset for one in rows} == {name for name in NAMES if "t2w" in name}
    by_subset = {one.subset: one for one in rows}
    three = by_subset["t1n+t1c+t2w"]
    assert (three.left_out, three.never, three.always, three.by_score) == ("t2w", 0.5, 0.8, 0.8)
    two = by_subset["t1n+t2w"]  # of two, the score says nothing
    assert (two.left_out, two.never, two.always, two.by_score) == ("", 0.5, 0.8, 0.5)
    assert isnan(two.score)
    alone = by_subset["t2w"]
    assert (alone.never, alone.always, alone.by_score) == (0.5, 0.5, 0.5)
    unnoticed = study.outcomes_of(seen(study, "t2w", -0.1), GLIOMA)
    assert all(one.by_score == one.never for one in unnoticed)
    false_alarm = study.outcomes_of(seen(study, "", -0.9), GLIOMA)
    assert len(false_alarm) == 15
    assert {one.left_out for one in false_alarm if "t2w" in one.subset and one.size > 2} == {"t2w"}


def test_tables_by_hand(made):
    _, study = made
    everything = [seen(study, "", 0.0), seen(study, "t2w", -0.9)]
    rows = [row for one in everything for row in study.outcomes_of(one, GLIOMA)]
    limits, noticed, gained, by_subset = study.tables(everything, rows, GLIOMA)
    assert limits[4].startswith("| T2 | 4 | 0.00 | 0.00 | 0.00 | 0.00 | ")
    assert noticed[2] == "| none  | 5 |  | 0% | 100% |  |  |  |"
    assert noticed[3] == "| place 25 mm | 4 | 100% | 0% | 0% | 1.00 | 1.00 | 0.50 |"
    never_always_by_score = {1: (0.5, 0.5, 0.5), 2: (0.5, 0.8, 0.5), 3: (0.5, 0.8, 0.8), 4: (0.5, 0.8, 0.8)}
    cells = " | ".join(f"{value:.3f}" for three in never_always_by_score.values() for value in three)
    assert gained[3] == f"| place 25 mm | {cells} |"
    assert "0.500 / 0.800 / 0.800" in by_subset[3]
    assert study.tables(everything[:1], rows, GLIOMA) == [limits]


def test_a_case_is_looked_at_once(made, phantoms, tmp_path, monkeypatch):
    bad_scans, study = made
    torch.manual_seed(0)
    predictor = Predictor(load_model(str(tiny_model(tmp_path / "model"))), "cpu", "float32")
    chosen = [one_of(bad_scans, "noise 1")]
    found = study.seen_of(predictor, phantoms[0], chosen, tmp_path)
    assert [(one.kind, one.bad) for one in found] == [("none", ""), *(("noise", name) for name in GLIOMA.modalities)]
    assert set(found[0].dice) == set(NAMES)
    assert set(found[0].fits["t1n+t1c+t2w"]) == {"t1n", "t1c", "t2w"}
    assert found[0].fits["t1n+t1c"] == {}
    for name in ("t1n", "t1c+t2f"):  # where the bad scan is not in use, nothing changes
        assert found[3].dice[name] == pytest.approx(found[0].dice[name], abs=1e-4)
    monkeypatch.setattr(study, "looked_at", lambda *arguments: pytest.fail("it is done already"))
    assert study.seen_of(predictor, phantoms[0], chosen, tmp_path) == found
    study.write_outcomes(tmp_path / "corruption.csv", study.outcomes_of(found[1], GLIOMA))
    assert (tmp_path / "corruption.csv").read_text().startswith("case,kind,strength,bad,subset,region,score,left_out,")
