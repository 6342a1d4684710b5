"""Runs in their order, and what of it is settled."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluations_made import rows_made, steady, write_evaluation
from lacunet.comparison.compare import compare
from lacunet.comparison.comparison import CompareSettings, Comparison
from lacunet.comparison.ranking import rank
from lacunet.comparison.ranking_table import ranking_markdown
from lacunet.stats.paired import holm, signed_rank
from lacunet.stats.power import smallest_seen

CASES = tuple(f"case-{index:02}" for index in range(30))
GAINS = {name: np.random.default_rng(index).normal(0, 0.03, len(CASES)) for index, name in enumerate("abcd")}
MEANS = {"a": 0.5, "b": 0.58, "c": 0.575, "d": 0.4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranked")


@pytest.fixture(scope="module")
def comparison(folder: Path) -> Comparison:
    for name, mean in MEANS.items():
        write_evaluation(folder / name, rows_made(steady(mean, list(GAINS[name]), CASES), CASES))
    return compare({name: [folder / name] for name in MEANS}, folder / "out", CompareSettings("a"))


def test_the_order_is_by_mean_dice_and_tests_are_corrected_for_the_runs_alone(comparison: Comparison) -> None:
    ranking = rank(comparison)
    values = {name: MEANS[name] + GAINS[name] for name in MEANS}
    order = sorted(MEANS, key=lambda name: -values[name].mean())
    assert [run.name for run in ranking.runs] == order
    assert [run.place for run in ranking.runs] == [1, 2, 3, 4]
    others = [name for name in MEANS if name != "a"]
    ps = [signed_rank(values[name] - values["a"]) for name in others]
    found = {run.name: run.baseline for run in ranking.runs}
    assert found["a"] is None
    for name, p, corrected in zip(others, ps, holm(ps), strict=True):
        against = found[name]
        assert against is not None
        assert (against.p, against.p_holm) == (pytest.approx(p), pytest.approx(corrected))
        difference = values[name] - values["a"]
        assert against.difference == pytest.approx(difference.mean())
        assert against.low < difference.mean() < against.high
        assert against.seen == pytest.approx(smallest_seen(difference))
        assert against.seen_holm == pytest.approx(smallest_seen(difference, tests=3))


def test_what_no_test_tells_from_the_first_is_named(comparison: Comparison) -> None:
    ranking = rank(comparison)
    assert set(ranking.with_the_first) == {"b", "c"}
    words = ranking_markdown(ranking)
    assert f"No test tells these from the first: {ranking.runs[1].name}." in words
    assert "Holm's correction over 3 runs against a" in words
    assert "below 0.001" in words


def test_json_and_page_say_the_same(comparison: Comparison, folder: Path) -> None:
    ranking = rank(comparison)
    told = json.loads(json.dumps(ranking.to_json()))
    assert [run["name"] for run in told["runs"]] == [run.name for run in ranking.runs]
    assert (told["level"], told["power"], told["cases"]) == (0.05, 0.8, 30)
    page = (folder / "out" / "compare.html").read_text(encoding="utf-8")
    assert "The order, and what of it is settled" in page
    assert "Mean Dice of every run with its interval" in page


def test_equal_runs_keep_the_order_in_which_they_were_named(folder: Path) -> None:
    for name in ("x", "y"):
        write_evaluation(folder / name, rows_made(steady(0.5)))
    done = compare({name: [folder / name] for name in ("y", "x")}, folder / "equal")
    ranking = rank(done)
    assert [run.name for run in ranking.runs] == ["y", "x"]
    assert ranking.with_the_first == ("y", "x")
    assert "The order" not in (folder / "equal" / "compare.html").read_text(encoding="utf-8")
