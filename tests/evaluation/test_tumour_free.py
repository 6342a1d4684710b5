"""What is found in brains without a tumour: counted by hand, and kept apart from the means of Dice."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lacunet.cli.terminal import print_summary
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.evaluation import evaluate as module
from lacunet.evaluation.evaluate import EvaluateSettings, evaluate
from lacunet.evaluation.metrics import get_policy
from lacunet.evaluation.results import join_evaluations, read_evaluation
from lacunet.evaluation.scores import Row, read_rows, summarise
from lacunet.evaluation.summary import FalsePositives, read_summary, summary_of
from lacunet.evaluation.tumour_free import tumour_free, tumour_free_words
from lacunet.models.model import Model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.predictor import Predictor
from lacunet.task import GLIOMA

BRATS = get_policy("brats")


def rows_of(case: str, subset: str, found: float, reference: float = 0.0) -> list[Row]:
    """The three regions of a case, with twice, once and no times the volume."""
    share = {"wt": 2.0, "tc": 1.0, "et": 0.0}
    return [Row(case, subset, region, 0.25, 9.0, reference, found * times) for region, times in share.items()]


def volumes(*rows: Row) -> dict[tuple[str, str, str], float]:
    return {row.key: row.prediction_ml for row in rows}


def test_volumes_by_subset_and_by_number_of_sequences():
    own = [(1, "a", "t1n"), (3, "b", "t1n"), (8, "c", "t1n"), (0, "a", "t2f"), (0, "a", "t1n+t2f")]
    found = tumour_free(volumes(*(row for ml, case, subset in own for row in rows_of(case, subset, ml))), GLIOMA)
    assert found is not None
    assert found.cases == 3
    assert list(found.subsets) == ["t1n", "t2f", "t1n+t2f"]
    assert found.subsets["t1n"]["wt"] == FalsePositives(masks=3, mean=8.0, median=6.0, worst=16.0)
    assert found.subsets["t1n"]["tc"].mean == 4.0
    assert found.by_size[1]["wt"] == FalsePositives(masks=4, mean=6.0, median=4.0, worst=16.0)
    assert found.by_size[2]["et"].worst == 0.0
    assert tumour_free({}, GLIOMA) is None


def test_a_case_is_without_a_tumour_if_every_region_of_its_reference_is_empty():
    partly = rows_of("b", "t1n", 7.0)
    partly[0] = replace(partly[0], reference_ml=3.0)  # a whole tumour without core
    summary = summarise([*rows_of("a", "t1n", 1.0), *partly], GLIOMA, BRATS, "m")
    assert summary.tumour_free is not None
    assert summary.tumour_free.cases == 1
    assert summary.tumour_free.subsets["t1n"]["wt"].worst == 2.0
    assert "tumour_free" not in summarise(partly, GLIOMA, BRATS, "m").to_json()


def test_rows_apart_count_in_no_mean():
    rows = rows_of("a", "t1n", 1.0, reference=5.0)
    apart = [replace(row, dice=1.0) for row in rows_of("a (left half mirrored)", "t1n", 4.0)]
    summary = summarise(rows, GLIOMA, BRATS, "m", apart)
    assert (summary.cases, summary.mean["wt"].dice, summary.empty.references["wt"]) == (1, 0.25, 0)
    assert summary.tumour_free is not None
    assert summary.tumour_free.subsets["t1n"]["wt"].median == 8.0


def test_words():
    own = [(1, "a", "t1n"), (3, "b", "t1n"), (8, "c", "t1n"), (0, "a", "t1n+t2f")]
    found = tumour_free(volumes(*(row for ml, case, subset in own for row in rows_of(case, subset, ml))), GLIOMA)
    assert found is not None
    assert tumour_free_words(found, GLIOMA) == (
        "3 brains without a tumour, WT found in ml, median (mean, worst): from 1 sequence 6.0 (8.0, 16.0), "
        "from 2 0.0 (0.0, 0.0)"
    )


def test_an_older_summary_has_neither():
    old = summary_of({"policy": "brats", "mean": {"wt": {"dice": 0.5}}}, Path("summary.json"))
    assert (old.monotony, old.tumour_free) == ({}, None)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    return Predictor(Model("tiny", method.eval(), Preparation(6.0), {}, "0" * 64), "cpu", "float32")


def test_an_evaluation_adds_healthy_halves_resumes_and_joins(predictor, phantoms, tmp_path, monkeypatch):
    def first_only(case, task):
        """The first case gives a brain without a tumour, the second none."""
        if case.name != phantoms[0].name:
            return None
        return replace(case, name=f"{case.name} (mirrored)", reference=case.reference * 0)

    monkeypatch.setattr(module, "mirrored_case", first_only)
    settings = EvaluateSettings((("t1n",), ("t1n", "t2f")), pictures=0, tumour_free=True)
    plain = evaluate(predictor, phantoms[:2], tmp_path / "plain", replace(settings, tumour_free=False)).summary
    summary = evaluate(predictor, phantoms[:2], tmp_path / "one", settings).summary
    assert (summary.mean, summary.cases) == (plain.mean, 2)
    assert plain.tumour_free is None
    assert not (tmp_path / "plain" / "tumour_free.csv").exists()
    assert summary.tumour_free is not None
    assert summary.tumour_free.cases == 1
    case = load_case(phantoms[0])
    own = {one.subset: one.regions()["wt"].sum() * case.grid.voxel_ml for one in predictor.each(case, settings.subsets)}
    rows = {row.subset: row for row in read_rows(tmp_path / "one" / "tumour_free.csv") if row.region == "wt"}
    assert {name: row.prediction_ml for name, row in rows.items()} == pytest.approx(
        {"t1n": own["t1n",], "t1n+t2f": own["t1n", "t2f"]}
    )
    page = (tmp_path / "one" / "report.html").read_text()
    assert "Found in brains without a tumour" in page
    assert "Found in brains without a tumour" not in (tmp_path / "plain" / "report.html").read_text()

    monkeypatch.setattr(module, "mirrored_case", lambda case, task: pytest.fail("it is done already"))
    again = evaluate(predictor, phantoms[:2], tmp_path / "one", replace(settings, resume=True)).summary
    assert again.tumour_free == summary.tumour_free
    assert read_summary(tmp_path / "one" / "summary.json").tumour_free == summary.tumour_free

    evaluate(predictor, phantoms[2:], tmp_path / "two", replace(settings, tumour_free=False))
    joined = read_evaluation(join_evaluations([tmp_path / "one", tmp_path / "two"], tmp_path / "joined"))
    assert (joined.summary.cases, joined.summary.tumour_free) == (3, summary.tumour_free)


def test_the_terminal_says_both_below_the_table(capsys):
    rows = [*rows_of("a", "t1n", 1.0, 5.0), *rows_of("a", "t1n+t2f", 1.0, 5.0), *rows_of("b", "t1n", 3.0)]
    print_summary(summarise(rows, GLIOMA, BRATS, "m"), GLIOMA)
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "one more sequence lowers Dice by more than 0.01: WT in 0 % of 1 steps, TC in 0 % of 1 steps, "
        "ET in 0 % of 1 steps"
    )
    assert second == ("1 brain without a tumour, WT found in ml, median (mean, worst): from 1 sequence 6.0 (6.0, 6.0)")
