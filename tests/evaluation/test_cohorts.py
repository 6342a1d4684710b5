"""Means of the cases whose names begin alike."""

import pytest

from evaluations_made import rows_made, write_evaluation
from lacunet.cli.terminal import print_summary
from lacunet.errors import UsageError
from lacunet.evaluation.cohorts import cohort_words, cohorts_of, require_cohorts
from lacunet.evaluation.metrics import BRATS
from lacunet.evaluation.page import EvaluationView, evaluation_page
from lacunet.evaluation.results import join_evaluations, read_evaluation
from lacunet.evaluation.scores import summarise
from lacunet.evaluation.summary import Summary
from lacunet.task import GLIOMA

DICE = {"BraTS-SSA-1": 0.4, "BraTS-SSA-2": 0.6, "Brats18_1": 0.9}
ROWS = rows_made(lambda case, subset, region: DICE[case] + 0.05 * (subset.count("+") == 3), tuple(DICE))


def test_each_cohort_has_the_means_of_its_cases_and_the_rest_comes_last():
    found = cohorts_of(ROWS, ["BraTS-SSA"], GLIOMA, BRATS)
    assert [(name, one.cases) for name, one in found.items()] == [("BraTS-SSA", 2), ("others", 1)]
    assert found["BraTS-SSA"].mean["wt"].dice == pytest.approx(0.5 + 0.05 / 15)
    assert found["BraTS-SSA"].full["wt"].dice == pytest.approx(0.55)
    assert found["others"].mean["et"].dice == pytest.approx(0.9 + 0.05 / 15)
    assert list(cohorts_of(ROWS, ["BraTS-SSA-1", "Bra"], GLIOMA, BRATS)) == ["BraTS-SSA-1", "Bra"]
    assert cohorts_of(ROWS, [], GLIOMA, BRATS) == {}
    with pytest.raises(UsageError, match="--cohort BRATS: no case's name begins so; the first case is BraTS-SSA-1"):
        require_cohorts(list(DICE), ["BraTS-SSA", "BRATS"])
    assert list(cohorts_of(ROWS, ["BRATS", "BraTS"], GLIOMA, BRATS)) == ["BraTS", "others"]


def test_terminal_page_and_joined_folds_say_them(tmp_path, capsys):
    cohorts = cohorts_of(ROWS, ["BraTS-SSA"], GLIOMA, BRATS)
    words = "BraTS-SSA, 2 cases: WT 0.50, TC 0.50, ET 0.50; from all sequences WT 0.55, TC 0.55, ET 0.55"
    assert cohort_words("BraTS-SSA", cohorts["BraTS-SSA"]) == words
    summary = summarise(ROWS, GLIOMA, BRATS, "m").model_copy(update={"cohorts": cohorts})
    print_summary(summary, GLIOMA)
    assert words in capsys.readouterr().out.splitlines()
    assert Summary.model_validate_json(summary.model_dump_json()).cohorts == cohorts
    page = evaluation_page(EvaluationView("m", GLIOMA, summary, ROWS))
    assert "By cohort" in page
    assert "By cohort" not in evaluation_page(EvaluationView("m", GLIOMA, summarise(ROWS, GLIOMA, BRATS, "m"), ROWS))
    kept = {name: one.model_dump() for name, one in cohorts.items()}
    folds = [
        write_evaluation(tmp_path / cases[0], [row for row in ROWS if row.case in cases], cohorts=own)
        for cases, own in ((["Brats18_1"], {"others": kept["others"]}), (["BraTS-SSA-1", "BraTS-SSA-2"], kept))
    ]
    assert read_evaluation(join_evaluations(folds, tmp_path / "joined")).summary.cohorts == cohorts
