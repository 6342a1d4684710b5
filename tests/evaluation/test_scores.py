"""The table of an evaluation and its summary: written, read, refused, averaged."""

from math import isnan, nan
from pathlib import Path

import pytest

from lacunet.errors import DataError
from lacunet.evaluation.metrics import RegionScore, get_policy
from lacunet.evaluation.scores import Row, read_rows, rows_of, summarise, write_rows
from lacunet.evaluation.summary import Empty, Identity, Means, read_summary, summary_of
from lacunet.files import write_json
from lacunet.task import GLIOMA

BRATS = get_policy("brats")
HEADER = "case,subset,region,dice,hd95,reference_ml,prediction_ml\n"


def rows_for(case, subset, dice, hd95=2.0, reference_ml=1.0, prediction_ml=1.0):
    """The three regions of a case alike, the enhancing tumour's Dice half of the others'."""
    halves = {"wt": dice, "tc": dice, "et": dice / 2}
    return [Row(case, subset, region, value, hd95, reference_ml, prediction_ml) for region, value in halves.items()]


def every_subset(case, dice_by_size):
    return [
        row
        for subset in GLIOMA.subsets
        for row in rows_for(case, GLIOMA.subset_name(subset), dice_by_size[len(subset) - 1])
    ]


def table(tmp_path, *lines, header=HEADER):
    file = tmp_path / "cases.csv"
    file.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def test_rows_survive_the_file_to_the_last_digit(tmp_path):
    rows = [
        Row("sub-1.2, Müller", "t1c+t2f", "wt", 1 / 3, 7.5, 181.396, 0.001),
        Row("b", "t1n", "et", 0.0, 373.13, 0.0, 0.5),
    ]
    write_rows(tmp_path / "out" / "cases.csv", rows)
    assert read_rows(tmp_path / "out" / "cases.csv") == rows
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cases.csv"]


def test_the_columns_are_those_of_the_format(tmp_path):
    write_rows(tmp_path / "cases.csv", [Row("a", "t1n", "wt", 0.5, nan, 1.0, 2.0)])
    assert (tmp_path / "cases.csv").read_text() == HEADER + "a,t1n,wt,0.5,nan,1.0,2.0\n"


def test_no_hd95_survives_the_file(tmp_path):
    write_rows(tmp_path / "cases.csv", [Row("a", "t1n", "wt", 0.0, nan, 1.0, 0.0)])
    assert isnan(read_rows(tmp_path / "cases.csv")[0].hd95)


def test_scores_of_a_case_become_rows():
    score = RegionScore(0.5, 3.0, 1.0, 2.0, reference_empty=False, prediction_empty=False)
    assert rows_of("a", "t1c", {"wt": score}) == [Row("a", "t1c", "wt", 0.5, 3.0, 1.0, 2.0)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,t1n,wt,0.5,2,1,1", "a,t1n,wt,0.6,2,1,1"], r"cases\.csv, line 3: a, t1n, wt is already in line 2"),
        (["a,t1n,wt,high,2,1,1"], r"cases\.csv, line 2: dice is 'high', expected a number"),
        (["a,t1n,wt,1.5,2,1,1"], r"cases\.csv, line 2: dice is 1.5, expected between 0 and 1"),
        (["a,t1n,wt,nan,2,1,1"], r"cases\.csv, line 2: dice is nan, expected between 0 and 1"),
        (["a,t1n,wt,0.5,-2,1,1"], r"cases\.csv, line 2: hd95 is -2, expected 0 or more"),
        (["a,t1n,wt,0.5,2,1,inf"], r"cases\.csv, line 2: prediction_ml is inf, expected 0 or more"),
        (["a,t1n,wt,0.5,2,1,1", "b,t1n,wt,0.5,2"], r"cases\.csv, line 3: 5 cells, expected 7"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        read_rows(table(tmp_path, *lines))


def test_wrong_columns_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cases\.csv, line 1: columns are 'case,dice', expected 'case,subset,region"):
        read_rows(table(tmp_path, header="case,dice\n"))
    with pytest.raises(DataError, match=r"cases\.csv, line 1: columns are '', expected"):
        read_rows(table(tmp_path, header=""))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read as a table"):
        read_rows(tmp_path / "nowhere.csv")
    (tmp_path / "cases.csv").write_bytes(HEADER.encode() + b"\xff\xfe,")
    with pytest.raises(DataError, match=r"cases\.csv: cannot be read as a table"):
        read_rows(tmp_path / "cases.csv")


def means(dice: float, hd95: float | None = 2.0, n: int | None = None, n_hd95: int | None = None) -> Means:
    """Means where every reference has the region; Dice to nine digits."""
    return Means(dice=round(dice, 9), dice_present=round(dice, 9), hd95=hd95, n=n, n_hd95=n_hd95)


def to_nine_digits(found: Means) -> Means:
    """The same with its Dice rounded."""
    present = None if found.dice_present is None else round(found.dice_present, 9)
    return found.model_copy(update={"dice": round(found.dice, 9), "dice_present": present})


def test_means_are_over_cases_and_then_over_subsets():
    # Two cases have T1, one of them has T1ce: the mean over rows would be 0.4, over subsets it is 0.45.
    rows = rows_for("a", "t1n", 0.2) + rows_for("b", "t1n", 0.4) + rows_for("b", "t1c", 0.6)
    summary = summarise(rows, GLIOMA, BRATS, "a model")
    assert (summary.model, summary.policy, summary.cases) == ("a model", "brats", 2)
    assert to_nine_digits(summary.subsets["t1n"]["wt"]) == means(0.3, 2.0, 2, 2)
    assert to_nine_digits(summary.subsets["t1c"]["et"]) == means(0.3, 2.0, 1, 1)
    assert to_nine_digits(summary.mean["wt"]) == means(0.45, 2.0)
    assert to_nine_digits(summary.deviation["wt"]) == means(0.15, 0.0)


def test_cases_that_lack_a_region_are_left_out_of_the_mean_of_those_that_have_it():
    rows = rows_for("a", "t1n", 0.0, reference_ml=0.0) + rows_for("b", "t1n", 0.4) + rows_for("c", "t1n", 0.8)
    rows += rows_for("a", "t1c", 1.0, reference_ml=0.0, prediction_ml=0.0)
    summary = summarise(rows, GLIOMA, BRATS, "m")
    assert summary.subsets["t1n"]["wt"].dice == pytest.approx(0.4)
    assert summary.subsets["t1n"]["wt"].dice_present == pytest.approx(0.6)
    assert summary.subsets["t1c"]["wt"].dice_present is None
    assert summary.mean["wt"].dice_present == pytest.approx(0.6)


def test_subsets_regions_and_sizes_come_in_the_order_of_the_task():
    rows = every_subset("a", (0.2, 0.4, 0.8, 1.0))[::-1]
    summary = summarise(rows, GLIOMA, BRATS, "m")
    assert list(summary.subsets) == [GLIOMA.subset_name(subset) for subset in GLIOMA.subsets]
    assert list(summary.subsets["t1n"]) == ["wt", "tc", "et"]
    assert list(summary.by_size) == [1, 2, 3, 4]
    assert summary.subsets_evaluated == 15


def test_aurc_and_sizes_of_all_subsets():
    summary = summarise(every_subset("a", (0.2, 0.4, 0.8, 1.0)), GLIOMA, BRATS, "m")
    assert [summary.by_size[size]["wt"].dice for size in (1, 2, 3, 4)] == pytest.approx([0.2, 0.4, 0.8, 1.0])
    assert summary.aurc == {"wt": pytest.approx(1.8), "tc": pytest.approx(1.8), "et": pytest.approx(0.9)}
    assert summary.aurc_normalised["wt"] == pytest.approx(0.6)
    # 4 subsets of one modality, 6 of two, 4 of three, 1 of four.
    assert summary.mean["wt"].dice == pytest.approx((4 * 0.2 + 6 * 0.4 + 4 * 0.8 + 1.0) / 15)


def test_there_is_no_aurc_where_a_subset_was_not_evaluated():
    rows = [row for row in every_subset("a", (0.2, 0.4, 0.8, 1.0)) if row.subset != "t1n+t2w"]
    summary = summarise(rows, GLIOMA, BRATS, "m")
    assert summary.subsets_evaluated == 14
    assert list(summary.by_size) == [1, 2, 3, 4]
    assert "aurc" not in summary.to_json()
    assert "aurc_normalised" not in summary.to_json()


def test_a_missing_hd95_is_left_out_of_means_and_counted(tmp_path):
    rows = rows_for("a", "t1n", 0.2, hd95=4.0) + rows_for("b", "t1n", 0.4, hd95=nan) + rows_for("a", "t1c", 0.6, nan)
    summary = summarise(rows, GLIOMA, get_policy("demoseg"), "m")
    assert to_nine_digits(summary.subsets["t1n"]["wt"]) == means(0.3, 4.0, 2, 1)
    assert to_nine_digits(summary.subsets["t1c"]["wt"]) == means(0.6, None, 1, 0)
    assert summary.mean["wt"].hd95 == 4.0
    write_json(tmp_path / "summary.json", summary.to_json())
    assert '"hd95": null' in (tmp_path / "summary.json").read_text()
    assert read_summary(tmp_path / "summary.json") == summary


def test_empty_references_count_cases_and_empty_predictions_count_predictions():
    rows = [
        *rows_for("a", "t1n", 0.0, reference_ml=0.0),
        *rows_for("a", "t1c", 1.0, reference_ml=0.0, prediction_ml=0.0),
        *rows_for("b", "t1n", 0.0, prediction_ml=0.0),
        *rows_for("b", "t1c", 0.5),
    ]
    rows[2] = Row("a", "t1n", "et", 0.0, 2.0, 0.0, 0.0)
    summary = summarise(rows, GLIOMA, BRATS, "m")
    assert summary.empty == Empty(
        references={"wt": 1, "tc": 1, "et": 1},
        predictions={"wt": 2, "tc": 2, "et": 3},
    )


def test_a_summary_is_written_in_one_order_with_the_entries_that_were_set():
    scores = summarise(rows_for("a", "t1n", 0.2), GLIOMA, BRATS, "m")
    computed = ["model", "policy", "cases", "subsets_evaluated", "subsets", "mean", "deviation", "by_size", "empty"]
    assert list(scores.to_json()) == computed
    identity = Identity(weights="0", windows=None, postprocessing=("et500",))
    told = scores.model_copy(update={"seconds": 3.0, "failed": {"x": "no T1"}, "identity": identity, "data": "made"})
    written = told.to_json()
    assert list(written) == [*computed, "data", "identity", "failed", "seconds"]
    assert list(written["identity"].items()) == [("weights", "0"), ("postprocessing", ("et500",)), ("windows", None)]
    assert list(written["subsets"]["t1n"]["wt"]) == ["dice", "dice_present", "hd95", "n", "n_hd95"]
    assert list(written["mean"]["wt"]) == ["dice", "dice_present", "hd95"]


def test_the_table_of_an_older_card_is_read():
    card = {"policy": "brats", "data": "test", "cases": 6, "subsets": {"t1n": {"wt": {"dice": 0.4, "hd95": 9.5}}}}
    summary = summary_of({**card, "mean": {"wt": {"dice": 0.4, "hd95": None}}}, Path("model.json"))
    assert summary.subsets["t1n"]["wt"] == Means(dice=0.4, hd95=9.5)
    assert (summary.mean["wt"].dice_present, summary.mean["wt"].hd95, summary.aurc) == (None, None, {})
    assert (summary.deviation, summary.empty.references) == ({}, {})


def test_a_table_without_means_is_refused():
    with pytest.raises(DataError, match=r"model\.json: is no summary of an evaluation: 'mean' is missing"):
        summary_of({"policy": "brats"}, Path("model.json"))


def test_rows_that_the_task_does_not_know_are_refused():
    with pytest.raises(DataError, match="a: the task 'glioma' has no 'wt' from 't2f\\+t1c'"):
        summarise(rows_for("a", "t2f+t1c", 0.2), GLIOMA, BRATS, "m")
    with pytest.raises(DataError, match="a: the task 'glioma' has no 'liver' from 't1n'"):
        summarise([Row("a", "t1n", "liver", 0.2, 2.0, 1.0, 1.0)], GLIOMA, BRATS, "m")


def test_a_missing_region_is_named():
    with pytest.raises(DataError, match="a from t1n: no score of tc; evaluate the case again"):
        summarise([row for row in rows_for("a", "t1n", 0.2) if row.region != "tc"], GLIOMA, BRATS, "m")


def test_no_rows_are_no_summary():
    with pytest.raises(DataError, match="no case was evaluated"):
        summarise([], GLIOMA, BRATS, "m")
