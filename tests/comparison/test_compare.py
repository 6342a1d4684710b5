"""Evaluations side by side: what is compared, with what, and what is refused."""

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

import pytest

from evaluations_made import SIX, SUBSETS, rows_made, steady, write_evaluation
from lacunet.cli.compare import named_runs
from lacunet.cli.main import main
from lacunet.cli.terminal import print_summary
from lacunet.comparison.compare import compare
from lacunet.comparison.comparison import CompareSettings, compare_runs, largest_differences
from lacunet.comparison.entries import COLUMNS, ONE, WITH, WITHOUT, entries_of, write_entries
from lacunet.comparison.markdown import markdown
from lacunet.comparison.numbers import MEAN, Counts, FalseFindings, Number
from lacunet.comparison.page import comparison_page
from lacunet.comparison.published.tables import published_tables
from lacunet.data.split import split_hash
from lacunet.errors import DataError, OutputError, UsageError
from lacunet.evaluation.metrics import get_policy
from lacunet.evaluation.results import read_evaluation, read_runs
from lacunet.evaluation.scores import summarise
from lacunet.stats.paired import Resampling, holm
from lacunet.task import GLIOMA
from small import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUICK = CompareSettings(resampling=Resampling(200))
NASTY = '<script>alert("a & b")</script>'


def uneven(case, subset, region):
    """Dice that differs everywhere and is the same every time."""
    return 0.4 + 0.05 * len(subset.split("+")) + 0.03 * (ord(case[-1]) % 7) - 0.1 * (region == "et")


@pytest.fixture
def runs(tmp_path):
    """Make runs from evaluations: `runs(a=rows, b=rows)`."""

    def make(**named):
        for name, rows in named.items():
            write_evaluation(tmp_path / name, rows)
        return read_runs({name: [tmp_path / name] for name in named})

    return make


@pytest.fixture
def two(runs):
    """`b` is better than `a` in each of six cases, by 0.01 to 0.06."""
    gains = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    return runs(a=rows_made(steady(0.5)), b=rows_made(steady(0.5, gains)))


def find(comparison, method, measure, region, **where):
    """The row of `comparison.csv` that is described, or None."""
    wanted = {"group": "here", "training": None, "against": "", "subsets": "all", "cases": "all", "case": ""} | where
    wanted |= {"method": method, "measure": measure, "region": region}
    found = [
        entry for entry in entries_of(comparison) if all(getattr(entry, key) == own for key, own in wanted.items())
    ]
    assert len(found) <= 1
    return found[0] if found else None


def value(comparison, *words, **where):
    entry = find(comparison, *words, **where)
    assert entry is not None, (words, where)
    return entry.value


def all_numbers(comparison):
    """Every number with its keys, whatever the order."""
    return {tuple(map(str, (getattr(entry, key) for key in COLUMNS))) for entry in entries_of(comparison)}


def altered(tables, number):
    """The same tables with `number` in place of every score."""
    if isinstance(tables, Number):
        return replace(tables, value=number)
    if isinstance(tables, Mapping):
        return {key: altered(table, number) for key, table in tables.items()}
    if isinstance(tables, tuple):
        return tuple(altered(table, number) for table in tables)
    if is_dataclass(tables):
        return type(tables)(*(altered(getattr(tables, field.name), number) for field in fields(tables)))
    return number if isinstance(tables, float) else tables


def test_means_are_those_of_the_evaluations(runs, tmp_path):
    """`summary.json` is computed by other code."""
    some = [row for row in rows_made(uneven) if (row.case, row.subset) != ("c", "t1c+t2f")]
    comparison = compare_runs(runs(a=some, b=some), QUICK)
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    for region in GLIOMA.regions:
        for measure in ("dice", "hd95"):
            assert value(comparison, "a", measure, region) == pytest.approx(summary["mean"][region][measure])
            for size, means in summary["by_size"].items():
                found = value(comparison, "a", measure, region, subsets=f"{size} of 4")
                assert found == pytest.approx(means[region][measure])
            for name, means in summary["subsets"].items():
                entry = find(comparison, "a", measure, region, subsets=name)
                assert (entry.value, entry.n) == (pytest.approx(means[region][measure]), means[region]["n"])
        assert value(comparison, "a", "aurc", region) == pytest.approx(summary["aurc"][region])
        assert value(comparison, "a", "aurc_normalised", region) == pytest.approx(summary["aurc"][region] / 3)
    mean = sum(summary["mean"][region]["dice"] for region in GLIOMA.regions) / 3
    assert value(comparison, "a", "dice", MEAN) == pytest.approx(mean)


def test_six_gains_by_hand(two):
    """Mean gain 0.035; two of the least sums of ranks in 64; four tests in the family, all alike, so p x 4."""
    comparison = compare_runs(two, QUICK)
    assert comparison.family == 4
    assert {name: list(tests) for name, tests in comparison.tests.items()} == {"b": [*GLIOMA.regions, MEAN]}
    for test in comparison.tests["b"].values():
        assert test.difference.mean.value == pytest.approx(0.035)
        assert test.difference.by_subset["t1c"].value == pytest.approx(0.035)
        assert test.difference.by_size[3].value == pytest.approx(0.035)
        assert (test.difference.aurc, test.difference_with) == (None, None)
        assert test.cases == Counts(better=6, equal=0, worse=0)
        assert test.subsets.better == 15
        assert test.p == pytest.approx(0.03125)
        assert test.p_smallest == 0.03125
        assert test.p_holm == pytest.approx(0.125)
        assert 0.01 < test.difference.mean.low < 0.035 < test.difference.mean.high < 0.06


def test_the_tables_of_a_run_by_hand(runs):
    """Dice of 0.4 to 0.7 with one to four sequences: 8.1 over 15 subsets; area 0.45 + 0.55 + 0.65."""
    ladder = {1: 0.4, 2: 0.5, 3: 0.6, 4: 0.7}
    rows = rows_made(lambda case, subset, region: ladder[subset.count("+") + 1], without=[("f", "et")])
    scores = compare_runs(runs(a=rows), QUICK).scores["a"]
    wt = scores.dice["wt"]
    assert wt.mean.value == pytest.approx((4 * 0.4 + 6 * 0.5 + 4 * 0.6 + 0.7) / 15)
    assert {size: number.value for size, number in wt.by_size.items()} == pytest.approx(ladder)
    assert (wt.by_subset["t1c+t2f"].value, wt.by_subset["t1c+t2f"].n) == (pytest.approx(0.5), 6)
    assert wt.aurc.value == pytest.approx(1.65)
    assert wt.mean.low == pytest.approx(wt.mean.high) == pytest.approx(wt.mean.value)
    assert (scores.hd95["wt"].mean.value, scores.hd95["wt"].mean.low, scores.hd95["wt"].aurc) == (5.0, None, None)
    assert list(scores.dice) == [*GLIOMA.regions, MEAN]
    assert list(scores.hd95) == list(GLIOMA.regions)
    assert list(scores.dice_with) == list(scores.hd95_with) == list(scores.false) == ["et"]
    assert scores.dice_with["et"].mean.n == 5
    assert scores.false["et"] == FalseFindings(found=15, of=15, ml=2.0)
    assert scores.by_case[MEAN]["f"] == pytest.approx(wt.mean.value)
    assert scores.trainings == {}


def test_the_family_is_every_run_and_region_against_the_baseline(runs):
    """Two runs against one, three regions and their mean: eight tests, corrected together."""
    noisy = [
        rows_made(steady(0.5, gains)) for gains in ([0.1, 0.2, -0.3, 0.4, 0.5, 0.15], [-0.1, 0.2, -0.3, 0.1, 0, 0.2])
    ]
    rows = [replace(row, dice=row.dice / 2) if row.region == "et" else row for row in noisy[0]]
    comparison = compare_runs(runs(a=rows_made(steady(0.5)), b=rows, c=noisy[1]), QUICK)
    keys = [(name, region) for name in "bc" for region in (*GLIOMA.regions, MEAN)]
    ps = [value(comparison, name, "p", region, against="a") for name, region in keys]
    assert comparison.family == len(keys) == 8
    assert [value(comparison, name, "p_holm", region, against="a") for name, region in keys] == holm(ps)
    assert len(set(ps)) > 1


def test_wins_ties_and_losses_of_a_subset_by_hand(runs):
    """In T1 alone two cases gain, one loses, three stay within half a point."""
    gains = dict(zip(SIX, [0.1, 0.2, -0.1, 0.004, -0.004, 0.0], strict=True))
    rows = rows_made(lambda case, subset, region: 0.5 + gains[case] * (subset == "t1n"))
    comparison = compare_runs(runs(a=rows_made(steady(0.5)), b=rows), QUICK)
    where = {"subsets": "t1n", "against": "a"}
    assert [value(comparison, "b", key, "wt", **where) for key in ("wins", "ties", "losses")] == [2, 3, 1]
    assert value(comparison, "b", "difference", "wt", **where) == pytest.approx(0.2 / 6)
    assert [value(comparison, "b", f"subsets_{key}", "wt", against="a") for key in ("ahead", "equal", "behind")] == [
        1,
        14,
        0,
    ]


def test_cases_without_the_region_are_told_apart(runs):
    """Case f has no ET, so that Dice is 0 there and 0.6 in five others: 0.5 over six, 0.6 over five."""
    rows = rows_made(lambda case, subset, region: 0.6 * (case != "f" or region != "et"), without=[("f", "et")])
    better = [replace(row, dice=row.dice + 0.1) if row.dice else row for row in rows]
    comparison = compare_runs(runs(a=rows, b=better), QUICK)
    assert value(comparison, "a", "dice", "et") == pytest.approx(0.5)
    assert value(comparison, "a", "dice", "et", cases=WITH) == pytest.approx(0.6)
    assert find(comparison, "a", "dice", "et", cases=WITH).n == 5
    assert value(comparison, "a", "dice", "et", cases=WITH, subsets="t1c") == pytest.approx(0.6)
    assert find(comparison, "a", "dice", "wt", cases=WITH) is None
    assert value(comparison, "b", "difference", "et", cases=WITH, against="a") == pytest.approx(0.1)
    assert value(comparison, "b", "p_smallest", "et", against="a") == 2 * 0.5**5
    assert value(comparison, "b", "p_smallest", "wt", against="a") == 2 * 0.5**6


def test_false_findings_are_counted_where_nothing_is(runs):
    """Of 15 segmentations of case f, one finds no ET; the others find 2 ml each."""
    rows = [
        replace(row, prediction_ml=0.0) if (row.case, row.subset, row.region) == ("f", "t1c", "et") else row
        for row in rows_made(steady(0.5), without=[("f", "et")])
    ]
    comparison = compare_runs(runs(a=rows), QUICK)
    share = find(comparison, "a", "false_share", "et", cases=WITHOUT)
    assert (share.value, share.n) == (pytest.approx(14 / 15), 15)
    assert value(comparison, "a", "false_ml", "et", cases=WITHOUT) == pytest.approx(28 / 15)


def test_a_region_that_no_case_has_is_no_ground_for_a_mean(runs):
    rows = rows_made(steady(0.0), without=[(case, "et") for case in SIX])
    comparison = compare_runs(runs(a=rows), QUICK)
    assert find(comparison, "a", "dice", "et", cases=WITH) is None
    assert value(comparison, "a", "false_share", "et", cases=WITHOUT) == 1.0
    assert "with and without the cases that have none" in comparison_page(comparison)


def test_each_case_has_its_mean_over_subsets(two):
    comparison = compare_runs(two, QUICK)
    assert value(comparison, "b", "dice", MEAN, cases=ONE, case="f") == pytest.approx(0.56)
    assert value(comparison, "b", "dice", "wt", cases=ONE, case="a") == pytest.approx(0.51)


def test_the_order_of_runs_changes_no_number(runs):
    made = runs(a=rows_made(uneven), b=rows_made(steady(0.6)), c=rows_made(steady(0.5, [0.1, -0.1, 0.2])))
    settings = replace(QUICK, baseline="b")
    assert all_numbers(compare_runs(made, settings)) == all_numbers(compare_runs(made[::-1], settings))


def test_the_order_of_rows_changes_no_number(runs):
    rows = rows_made(uneven)
    others = rows_made(steady(0.6))
    one = compare_runs(runs(a=rows, b=others), QUICK)
    other = compare_runs(runs(a=rows[::-1], b=others[7:] + others[:7]), QUICK)
    assert all_numbers(one) == all_numbers(other)


def test_the_other_baseline_turns_differences_round_and_leaves_p(two):
    one, other = compare_runs(two, QUICK), compare_runs(two, replace(QUICK, baseline="b"))
    for region in GLIOMA.regions:
        forth, back = (
            find(one, "b", "difference", region, against="a"),
            find(other, "a", "difference", region, against="b"),
        )
        assert (back.value, back.low, back.high) == pytest.approx((-forth.value, -forth.high, -forth.low), abs=1e-9)
        assert value(other, "a", "p", region, against="b") == value(one, "b", "p", region, against="a")


def test_a_run_like_another_has_no_difference_and_p_of_one(runs):
    comparison = compare_runs(runs(a=rows_made(uneven), b=rows_made(uneven)), QUICK)
    assert value(comparison, "b", "difference", MEAN, against="a") == 0
    assert value(comparison, "b", "p", MEAN, against="a") == 1
    assert value(comparison, "b", "p_smallest", MEAN, against="a") == 1


def test_hd95_that_is_not_there_is_left_out_of_means(runs, tmp_path):
    rows = rows_made(steady(0.5), hd95=lambda case, subset, region: math.nan if case == "a" else 4.0)
    nowhere = rows_made(steady(0.5), hd95=lambda case, subset, region: math.nan)
    comparison = compare_runs(runs(a=rows, b=nowhere), QUICK)
    entry = find(comparison, "a", "hd95", "wt", subsets="t1c")
    assert (entry.value, entry.n) == (4.0, 5)
    assert value(comparison, "b", "hd95", "wt") is None
    assert "nan" not in re.sub(r"<[^>]*>", " ", comparison_page(comparison).split("</style>")[1]).lower().split()


def test_hd95_over_other_masks_is_told_and_their_number_shown(runs):
    """Run b finds ET in two cases of six, where it is easy; its HD95 is lower for that alone."""
    there = rows_made(steady(0.5))
    missed = [
        replace(row, hd95=math.nan if row.case in "abcd" else 2.0, dice=0.1) if row.region == "et" else row
        for row in there
    ]
    comparison = compare_runs(runs(a=there, b=missed), QUICK)
    assert value(comparison, "b", "hd95", "et") < value(comparison, "a", "hd95", "et")
    (told,) = [words for words in comparison.warnings if "HD95" in words]
    assert told.startswith("HD95 of ET is over other masks in each run (a: 90; b: 30 of 90), since policy 'brats'")
    assert [comparison.masks_with_hd95(name, "et") for name in "ab"] == [90, 30]
    assert comparison.masks_with_hd95("b", "wt") is None
    page, text = comparison_page(comparison), markdown(comparison)
    assert "2.0<small>30 masks</small>" in page
    assert page.count("masks</small>") == 2
    assert "| 2.0 (30 masks) |" in text
    assert "| 5.0 (90 masks) |" in text


def test_hd95_over_as_many_but_other_masks_is_told(runs):
    rows = rows_made(steady(0.5))
    one, other = ([replace(row, hd95=math.nan) if row.case == case else row for row in rows] for case in "ab")
    comparison = compare_runs(runs(a=one, b=other), QUICK)
    assert sum("over other masks" in words for words in comparison.warnings) == 3
    assert not [words for words in compare_runs(runs(c=one, d=one), QUICK).warnings if "HD95" in words]


def test_several_trainings_of_one_name_are_averaged_case_by_case(tmp_path):
    write_evaluation(tmp_path / "seed-1", rows_made(steady(0.5)))
    write_evaluation(tmp_path / "seed-2", rows_made(steady(0.7)))
    write_evaluation(tmp_path / "other", rows_made(steady(0.6)))
    words = [f"ours={tmp_path / 'seed-1'}", f"{tmp_path / 'other'}", f"ours={tmp_path / 'seed-2'}"]
    assert named_runs(words) == {"ours": [tmp_path / "seed-1", tmp_path / "seed-2"], "other": [tmp_path / "other"]}
    made = read_runs(named_runs(words))
    assert [(run.name, len(run.trainings)) for run in made] == [("ours", 2), ("other", 1)]
    comparison = compare_runs(made, QUICK)
    assert value(comparison, "ours", "dice", "wt") == pytest.approx(0.6)
    assert [value(comparison, "ours", "dice", "wt", training=number) for number in (1, 2)] == pytest.approx([0.5, 0.7])
    assert value(comparison, "other", "difference", "wt", against="ours") == pytest.approx(0.0)
    assert "ours, training 2" in comparison_page(comparison)


def test_the_farthest_subsets_come_first(runs):
    gains = {("t1c", "wt"): -0.3, ("t2f", "et"): 0.2, ("t1n", "tc"): 0.1}
    rows = rows_made(lambda case, subset, region: 0.5 + gains.get((subset, region), 0.0))
    comparison = compare_runs(runs(a=rows_made(steady(0.5)), b=rows), QUICK)
    found = largest_differences(comparison, "b")
    assert [(one.subset, one.region) for one in found] == list(gains)
    assert [one.value for one in found] == pytest.approx(list(gains.values()))


def test_runs_are_called_as_told_or_as_their_folders(tmp_path):
    for name in ("ccsd", "masm"):
        for part in ("val", "test"):
            write_evaluation(tmp_path / name / part, rows_made(uneven))
        (tmp_path / name / "recipe.toml").write_text("")

    def names(*words):
        return list(named_runs([word.format(tmp_path) for word in words]))

    assert names("{}/ccsd/test", "{}/masm/test") == ["ccsd", "masm"]
    assert names("{}/ccsd/test", "{}/ccsd/val") == ["ccsd/test", "ccsd/val"]
    assert names("first={}/ccsd/test", "{}/masm/val") == ["first", "masm"]
    (tmp_path / "a=b").mkdir()
    write_evaluation(tmp_path / "a=b", rows_made(uneven))
    assert names("{}/a=b", "b={}/masm/val") == ["a=b", "b"]


def test_a_run_that_holds_one_evaluation_stands_for_it(tmp_path):
    write_evaluation(tmp_path / "run" / "test", rows_made(uneven))
    (tmp_path / "run" / "model").mkdir()
    assert named_runs([str(tmp_path / "run")]) == {"test": [tmp_path / "run" / "test"]}
    (run,) = read_runs({"held": [tmp_path / "run"]})
    assert run.trainings[0].folder == tmp_path / "run" / "test"


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], UsageError, "nothing to compare"),
        (["{}/nowhere"], DataError, "nowhere: no such folder"),
        (["{}/empty"], DataError, r"empty: no evaluation here \(cases.csv and summary.json\)"),
        (
            ["{}/stopped"],
            DataError,
            "stopped: the evaluation is not finished; `lacunet evaluate ... --resume`",
        ),
        (["{}/half"], DataError, "half: the evaluation is not finished"),
        (["{}/run"], DataError, r"run: holds several evaluations \(test, val\); name one of them"),
        (["{}/run/test", "again={}/run/test"], UsageError, "given more than once"),
        (["{}/broken"], DataError, r"broken/summary\.json: not JSON"),
        (["{}/list"], DataError, r"list/summary\.json: is no summary of an evaluation"),
        (["{}/bare"], DataError, r"bare/summary\.json: is no summary of an evaluation: 'policy' is missing"),
        (["{}/policy"], DataError, r"policy/summary\.json: unknown metric policy 'bratz'; did you mean 'brats'\?"),
        (["{}/task"], DataError, r"task/summary\.json: its task: 'modalities' is missing"),
        (["{}/mixed"], DataError, r"mixed: summary\.json and cases\.csv do not agree; evaluate again"),
        (["{}/table"], DataError, r"table/cases\.csv, line 2: dice is 2"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, words, error, message):
    def change(name, **entries):
        folder = write_evaluation(tmp_path / name, rows_made(uneven))
        summary = json.loads((folder / "summary.json").read_text()) | entries
        (folder / "summary.json").write_text(json.dumps(summary))
        return folder, summary

    (tmp_path / "empty").mkdir()
    (tmp_path / "stopped" / "parts").mkdir(parents=True)
    folder, _ = change("half")
    (folder / "summary.json").unlink()
    for part in ("test", "val"):
        write_evaluation(tmp_path / "run" / part, rows_made(uneven))
    (change("broken")[0] / "summary.json").write_text("{")
    (change("list")[0] / "summary.json").write_text("[]")
    folder, summary = change("bare")
    del summary["policy"]
    (folder / "summary.json").write_text(json.dumps(summary))
    change("policy", policy="bratz")
    change("task", task={"name": "glioma"})
    change("mixed", mean={region: {"dice": 0.1, "hd95": 5.0} for region in GLIOMA.regions})
    (change("table")[0] / "cases.csv").write_text(
        "case,subset,region,dice,hd95,reference_ml,prediction_ml\na,t1n,wt,2,1,1,1\n"
    )
    with pytest.raises(error, match=message):
        read_runs(named_runs([word.format(tmp_path) for word in words]))


def test_runs_without_folders_or_with_one_folder_twice_are_refused(tmp_path):
    folder = write_evaluation(tmp_path / "a", rows_made(uneven))
    with pytest.raises(UsageError, match="nothing to compare"):
        read_runs({})
    with pytest.raises(UsageError, match="run 'empty' has no evaluation; give the folder of one"):
        read_runs({"a": [folder], "empty": []})
    with pytest.raises(UsageError, match="given more than once; compare different evaluations"):
        read_runs({"a": [folder], "again": [folder]})


def test_folders_called_alike_are_told_apart_by_their_paths_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_evaluation(tmp_path / "x" / "run" / "test", rows_made(uneven))
    write_evaluation(tmp_path / "y" / "run" / "test", rows_made(uneven))
    for name in "xy":
        (tmp_path / name / "run" / "recipe.toml").write_text("")
    assert list(named_runs(["x/run/test", "y/run/test"])) == ["x/run/test", "y/run/test"]
    for name in ("a", "b", "c", "d"):
        write_evaluation(tmp_path / name, rows_made(uneven))
    taken = [f"b={tmp_path}/a", f"b/b={tmp_path}/c", f"{tmp_path}/b={tmp_path}/d"]
    with pytest.raises(UsageError, match="cannot be told apart by their folders; give each a name: NAME=FOLDER"):
        named_runs([*taken, f"{tmp_path}/b"])


def test_another_task_is_refused(tmp_path):
    other = replace(GLIOMA, name="other", regions={"wt": (1, 2, 3), "tc": (1, 3), "et": (1,)})
    write_evaluation(tmp_path / "a", rows_made(uneven))
    write_evaluation(tmp_path / "b", rows_made(uneven), task=other)
    message = (
        r"the task differs: glioma \(t1n\+.*et = 3\) in a, other \(t1n\+.*et = 1\) in b; .* compare runs of one task"
    )
    with pytest.raises(DataError, match=message):
        compare_runs(read_runs({name: [tmp_path / name] for name in "ab"}), QUICK)


def test_another_policy_is_refused(tmp_path):
    write_evaluation(tmp_path / "a", rows_made(uneven))
    write_evaluation(tmp_path / "b", rows_made(uneven), policy="rfnet")
    message = "the metric policy differs: 'brats' in a, 'rfnet' in b; evaluate one of them again with --policy brats"
    with pytest.raises(DataError, match=message):
        compare_runs(read_runs({name: [tmp_path / name] for name in "ab"}), QUICK)


def test_other_references_under_the_same_names_are_refused(runs):
    rows = [
        replace(row, reference_ml=11.0) if (row.case, row.region) == ("c", "tc") else row for row in rows_made(uneven)
    ]
    message = "c: the reference of tc has 10 ml in a and 11 ml in b; these are not the same annotations"
    with pytest.raises(DataError, match=message):
        compare_runs(runs(a=rows_made(uneven), b=rows), QUICK)


def test_one_evaluation_with_two_references_of_a_case_is_refused(runs):
    rows = rows_made(uneven)
    rows[0] = replace(rows[0], reference_ml=3.0)
    with pytest.raises(DataError, match="a: the reference of wt has 3 ml in a and 10 ml in a"):
        compare_runs(runs(a=rows), QUICK)


def test_runs_without_a_common_case_are_refused(runs):
    with pytest.raises(DataError, match="a, b: no case and subset that all of them scored"):
        compare_runs(runs(a=rows_made(uneven, "abc"), b=rows_made(uneven, "def")), QUICK)


def test_an_unknown_baseline_names_the_nearest(two):
    with pytest.raises(UsageError, match=r"no run 'aa'; did you mean 'a'\?; there are: a, b"):
        compare_runs(two, replace(QUICK, baseline="aa"))


def test_cases_that_not_every_run_has_are_left_out_and_told(runs):
    comparison = compare_runs(runs(a=rows_made(uneven), b=rows_made(uneven, "abcd")), QUICK)
    assert comparison.shared.cases == tuple("abcd")
    assert "a was also scored on 2 cases, left out here: e, f" in comparison.warnings
    four = compare_runs(runs(c=rows_made(uneven, "abcd")), QUICK)
    assert value(comparison, "a", "dice", "wt") == value(four, "c", "dice", "wt")


def test_subsets_that_not_every_run_has_are_left_out_and_told(runs):
    comparison = compare_runs(runs(a=rows_made(uneven), b=rows_made(uneven, subsets=SUBSETS[:10])), QUICK)
    assert comparison.shared.subsets == SUBSETS[:10]
    assert comparison.sizes == (1, 2)
    told = "a was also scored from subsets that are left out here: t1c+t2w+t2f, t1n+t1c+t2f, t1n+t1c+t2w and 2 more"
    assert told in comparison.warnings
    assert "5 of 15 subsets are not compared, so there is no AURC and no mean over all" in comparison.warnings
    assert find(comparison, "a", "aurc", "wt") is None
    assert "AURC" not in comparison_page(comparison).split("</header>")[1].split("Read this first")[1].split("</ul>")[1]


def test_a_score_that_another_run_lacks_counts_for_no_run(runs):
    """Run b has no score of case a from T1, where run a is perfect."""
    rows = rows_made(lambda case, subset, region: 1.0 if (case, subset) == ("a", "t1n") else 0.5)
    others = [row for row in rows_made(steady(0.5)) if (row.case, row.subset) != ("a", "t1n")]
    comparison = compare_runs(runs(a=rows, b=others), QUICK)
    entry = find(comparison, "a", "dice", "wt", subsets="t1n")
    assert (entry.value, entry.n) == (pytest.approx(0.5), 5)
    assert value(comparison, "b", "difference", "wt", against="a") == pytest.approx(0.0)
    assert "a was also scored from subsets that are left out here: t1n" in comparison.warnings


def test_a_case_that_lacks_a_sequence_needs_no_warning(runs):
    rows = [row for row in rows_made(uneven) if row.case != "a" or "t1c" not in row.subset]
    comparison = compare_runs(runs(a=rows, b=rows), QUICK)
    assert not [words for words in comparison.warnings if "left out" in words]
    assert find(comparison, "a", "dice", "wt", subsets="t1c").n == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": {"postprocessing": ["et500"]}}, "Post-processing differs: a: none; b: et500"),
        ({"identity": {"precision": "bfloat16"}}, "Precision differs: a: float32; b: bfloat16"),
        ({"identity": {"windows": [96, 96, 96]}}, "Windows differ: a: whole brain; b: 96x96x96"),
        (
            {"data": "elsewhere"},
            "The data have different names, but shared cases have the same references: a: made by hand; b: elsewhere",
        ),
        ({"failed": {"x": "no T1"}}, "b failed on 1 case, left out for every run: x"),
    ],
)
def test_settings_that_differ_are_told(tmp_path, changes, message):
    write_evaluation(tmp_path / "a", rows_made(uneven))
    write_evaluation(tmp_path / "b", rows_made(uneven), **changes)
    comparison = compare_runs(read_runs({name: [tmp_path / name] for name in "ab"}), QUICK)
    assert message in comparison.warnings
    assert len(comparison.shared.warnings) == 1


def test_the_same_weights_under_two_names_are_told(tmp_path):
    for name in "ab":
        write_evaluation(tmp_path / name, rows_made(uneven), identity={"weights": "0" * 64})
    comparison = compare_runs(read_runs({name: [tmp_path / name] for name in "ab"}), QUICK)
    assert comparison.shared.warnings == ("a and b have the same weights",)


def test_several_cases_of_one_person_are_told(runs):
    cases = ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000")
    comparison = compare_runs(runs(a=rows_made(uneven, cases)), QUICK)
    assert comparison.shared.warnings[0].startswith("3 cases are of 2 persons; cases of one person resemble each other")


def test_too_few_cases_for_any_test_are_told(two, runs):
    told = "No test here can pass 0.05: with 6 cases p is 0.031 at the least, 0.12 when corrected for 4 tests"
    assert told in compare_runs(two, QUICK).warnings
    many = [f"case {number:02d}" for number in range(20)]
    enough = compare_runs(runs(c=rows_made(uneven, many), d=rows_made(uneven, many)), QUICK)
    assert not enough.warnings
    assert not compare_runs(two[:1], QUICK).warnings


def test_the_least_p_beside_a_test_can_be_reached(runs):
    """57 cases that all gain, many of them alike: p is the least p, which is neither exact nor that without ties."""
    cases = [f"case {number:02d}" for number in range(57)]
    gains = [0.01 * (number % 5 + 1) for number in range(57)]
    rows = [rows_made(steady(value, own, cases), cases, SUBSETS[:1]) for value, own in ((0.5, ()), (0.5, gains))]
    comparison = compare_runs(runs(a=rows[0], b=rows[1]), QUICK)
    p, least = (value(comparison, "b", measure, "wt", against="a") for measure in ("p", "p_smallest"))
    assert p == least
    assert 1e-12 < p < 1e-9


def test_the_table_is_tidy_and_holds_every_number(two, tmp_path):
    comparison = compare_runs(two, replace(QUICK, published=("brats2018-ccsd",)))
    entries = entries_of(comparison)
    write_entries(tmp_path / "comparison.csv", entries)
    with (tmp_path / "comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    keys = {tuple(row[key] for key in COLUMNS[: COLUMNS.index("value")]) for row in rows}
    assert len(keys) == len(rows) == len(entries)
    for row, entry in zip(rows, entries, strict=True):
        assert (float(row["value"]) if row["value"] else None) == entry.value
        assert (int(row["n"]) if row["n"] else None) == entry.n
    assert {row["group"] for row in rows} == {"here", "brats2018-ccsd"}


def test_published_numbers_stand_in_the_same_table(two):
    comparison = compare_runs(two, replace(QUICK, published=("brats2018",)))
    group = "brats2018-ccsd"
    assert value(comparison, "CCSD", "dice", "et", subsets="t1n+t1c+t2w+t2f", group=group) == pytest.approx(0.7995)
    assert value(comparison, "CCSD", "aurc", "wt", group=group) == pytest.approx(2.63, abs=1e-3)
    assert value(comparison, "MIFPN", "dice_printed", "tc", group=group) == pytest.approx(0.7463)
    assert find(comparison, "CCSD", "dice", "et", group=group).n == 57
    assert len(comparison.tables) > 5


def test_published_numbers_are_of_one_task(tmp_path):
    short = replace(GLIOMA, name="short", regions={"wt": (1, 2, 3)}, painting=(("wt", 2),))
    made = read_runs({"a": [write_evaluation(tmp_path / "a", rows_made(uneven, task=short), task=short)]})
    comparison = compare_runs(made, QUICK)
    assert value(comparison, "a", "dice", MEAN) == pytest.approx(value(comparison, "a", "dice", "wt"))
    assert "whole tumour" in comparison_page(comparison).lower()
    message = "brats2018-ccsd: published for glioma; these runs are of the task 'short'"
    with pytest.raises(UsageError, match=message):
        compare_runs(made, replace(QUICK, published=("brats2018-ccsd",)))


def test_the_tables_of_our_cases_are_hinted_at(two, monkeypatch):
    table = replace(published_tables()["brats2020-m3ae"], test=(split_hash(SIX),))
    monkeypatch.setattr("lacunet.comparison.published.tables.published_tables", lambda: {"brats2020-m3ae": table})
    (hint,) = compare_runs(two, QUICK).hints
    assert "--published brats2020-m3ae" in hint
    assert compare_runs(two, replace(QUICK, published=("brats2020-m3ae",))).hints == ()


def test_the_page_says_why_published_columns_are_apart(two, monkeypatch):
    settings = replace(QUICK, published=("brats2020-m3ae",))
    page = comparison_page(compare_runs(two, settings))
    assert "<strong>Not comparable with the runs here:</strong> other cases: here 6, there 100 of BraTS 2020." in page
    assert "RFNet&#39;s test set of 100 cases; all columns run by the authors of M3AE." in page
    table = replace(published_tables()["brats2020-m3ae"], test=(split_hash(SIX),))
    monkeypatch.setattr("lacunet.comparison.published.tables.published_tables", lambda: {"brats2020-m3ae": table})
    page = comparison_page(compare_runs(two, settings))
    assert "Not comparable" not in page
    assert "Same cases and subsets, same scores of empty masks, same post-processing and mirror images." in page


@pytest.fixture
def of_six(monkeypatch):
    """A published table of our six cases, by our policy."""
    table = replace(published_tables()["brats2020-m3ae"], test=(split_hash(SIX),))
    monkeypatch.setattr("lacunet.comparison.published.tables.published_tables", lambda: {"brats2020-m3ae": table})
    return table


def shown_beside(comparison):
    """The cells of the first run in the published table of the page, a triple per column."""
    section = comparison_page(comparison).split('<section class="published">')[1]
    row = section.split("<tr><th")[1].split("</tr>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row)
    return [cells[index : index + 3] for index in range(0, len(cells), 3)]


def test_mirror_images_part_a_run_from_a_table_without(tmp_path, of_six):
    write_evaluation(tmp_path / "a", rows_made(uneven), identity={"mirror": "all"})
    write_evaluation(tmp_path / "b", rows_made(uneven))
    made = read_runs({name: [tmp_path / name] for name in "ab"})
    comparison = compare_runs(made, replace(QUICK, published=(of_six.name,)))
    assert comparison.apart(of_six) == ["a: averaged over mirror images: all here, none there"]


def test_a_mean_over_few_subsets_does_not_stand_under_the_mean_of_15(runs, of_six):
    """All four sequences and half of the pairs: only the column of four sequences means the same in both."""
    some = [*SUBSETS[4:7], SUBSETS[-1]]
    settings = replace(QUICK, published=(of_six.name,))
    comparison = compare_runs(runs(a=rows_made(steady(0.5), subsets=some)), settings)
    assert comparison.apart(of_six) == ["here 4 of 15 subsets"]
    assert "Not comparable with the runs here:</strong> here 4 of 15 subsets." in comparison_page(comparison)
    nothing, ours = ["–"] * 3, ["0.500"] * 3
    assert shown_beside(comparison) == [nothing, nothing, ours, nothing]
    whole = compare_runs(runs(b=rows_made(steady(0.5))), settings)
    assert whole.apart(of_six) == []
    assert shown_beside(whole) == [ours, ours, ours, ours, ours, ["1.50"] * 3]


def test_a_subset_that_some_cases_were_not_scored_for_is_not_whole(runs, of_six):
    rows = [row for row in rows_made(steady(0.5)) if (row.case, row.subset) != ("c", "t1c")]
    comparison = compare_runs(runs(a=rows), replace(QUICK, published=(of_six.name,)))
    assert comparison.apart(of_six) == ["here 14 of 15 subsets"]
    assert comparison.whole_sizes == (2, 3, 4)
    assert not comparison.is_whole


def test_what_parts_one_run_from_a_published_table_names_the_run(tmp_path, monkeypatch):
    write_evaluation(tmp_path / "a", rows_made(uneven))
    write_evaluation(tmp_path / "b", rows_made(uneven), identity={"postprocessing": ["et500"]})
    table = replace(published_tables()["brats2020-m3ae"], test=(split_hash(SIX),))
    monkeypatch.setattr("lacunet.comparison.published.tables.published_tables", lambda: {"brats2020-m3ae": table})
    made = read_runs({name: [tmp_path / name] for name in "ab"})
    comparison = compare_runs(made, replace(QUICK, published=("brats2020-m3ae",)))
    assert comparison.apart(table) == ["b: post-processing: et500 here, none there"]
    assert "post-processing a: none; b: et500" in comparison_page(comparison)


def test_the_page_shows_the_numbers_of_the_table_and_no_others(two):
    """Numbers are changed in the comparison's tables, and the page and the rows of the table follow."""
    comparison = compare_runs(two, QUICK)
    changed = replace(
        comparison, scores=altered(comparison.scores, 0.777123), tests=altered(comparison.tests, 0.777123)
    )
    scored = [entry for entry in entries_of(changed) if entry.measure in ("dice", "hd95", "aurc", "difference", "p")]
    assert {entry.value for entry in scored} == {0.777123}
    page = comparison_page(changed)
    body = page.split("<header>")[1].split("<footer>")[0]
    table = body.split("Mean over the subsets")[1].split("</section>")[0]
    shown = re.findall(r"<td[^>]*>([\d.]+)", table)
    assert shown
    assert set(shown) == {"0.777", "0.78", "0.8"}
    assert "0.500" not in body


def test_the_page_has_the_numbers_of_its_curves_without_any_published_table(runs):
    """A row per run; four numbers of sequences for each region, the mean of their subsets."""
    ladder = {1: 0.4, 2: 0.5, 3: 0.6, 4: 0.7}
    of_region = {"wt": 0.2, "tc": 0.1, "et": 0.0}
    a = rows_made(lambda case, subset, region: ladder[subset.count("+") + 1] + of_region[region])
    comparison = compare_runs(runs(a=a, b=rows_made(uneven)), QUICK)
    section = comparison_page(comparison).split("What each missing sequence costs")[1].split("</section>")[0]
    head, body = section.split("<thead>")[1].split("<tbody>")
    assert re.findall(r"<th[^>]*>([^<]*)</th>", head) == [
        "WT",
        "TC",
        "ET",
        "Mean Dice",
        *[f"{size} of 4" for size in ladder] * 3,
    ]
    first, second = body.split("</tr>")[:2]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", first)
    assert cells == [f"{ladder[size] + own:.3f}" for own in of_region.values() for size in ladder]
    wanted = [comparison.scores["b"].dice[region].by_size[size] for region in of_region for size in ladder]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", second) == [f"{number.value:.3f}" for number in wanted]


def test_the_curves_of_one_size_have_one_column(runs):
    comparison = compare_runs(runs(a=rows_made(steady(0.5), subsets=["t1c", "t2f"])), QUICK)
    section = comparison_page(comparison).split("What each missing sequence costs")[1].split("</section>")[0]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", section.split("<tbody>")[1]) == ["0.500"] * 3


def test_the_page_states_the_family_and_the_smallest_p(two):
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", comparison_page(compare_runs(two, QUICK))))
    assert "all 4 tests of this table (1 run against a, 3 regions and their mean)" in page
    assert "with 6 cases it is 0.031" in page
    assert "too narrow" in page
    assert "b differs most from a in" in page
    assert "No test here can pass 0.05" in page


def test_hostile_names_are_only_words(tmp_path):
    cases = (NASTY, "a|b", "=1+1", "[red]x[/red]")
    write_evaluation(tmp_path / "a", rows_made(steady(0.5), cases))
    write_evaluation(tmp_path / "b", rows_made(steady(0.6), cases), data=NASTY)
    made = read_runs({NASTY: [tmp_path / "a"], "x|y": [tmp_path / "b"]})
    comparison = compare_runs(made, replace(QUICK, published=("brats2018-ccsd",)))
    page = comparison_page(comparison)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert not re.search(r"@import|url\((?!#)", page)
    text = markdown(comparison)
    assert "<script" not in text
    assert "a\\|b" in text
    widths = {line.replace("\\|", "").count("|") for line in text.split("\n\n")[0].splitlines()}
    assert len(widths) == 1


def test_the_page_of_a_single_run_tests_nothing(runs):
    comparison = compare_runs(runs(a=rows_made(uneven)), QUICK)
    page = comparison_page(comparison)
    assert comparison.family == 0
    assert "Against a" not in page
    assert "Difference to" not in page
    assert "By case" in page


def test_the_page_is_the_same_every_time_and_its_ids_are_unique(two):
    comparison = compare_runs(two, replace(QUICK, published=("brats2018",)))
    page = comparison_page(comparison)
    assert page == comparison_page(comparison)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'for="([^"]+)"', page)) <= set(ids)


def test_many_cases_are_folded(runs):
    comparison = compare_runs(runs(a=rows_made(uneven, [f"case {number}" for number in range(45)])), QUICK)
    assert "5 more cases" in comparison_page(comparison)


def test_a_page_of_very_many_cases_has_the_worst_and_says_what_the_others_have(runs, monkeypatch):
    monkeypatch.setattr("lacunet.comparison.page.CASES_KEPT", 42)
    names = [f"case {number}" for number in range(45)]
    comparison = compare_runs(runs(a=rows_made(uneven, names)), QUICK)
    page = comparison_page(comparison)
    scores = comparison.scores["a"].by_case[MEAN]
    best = sorted(names, key=lambda name: (scores[name], name))[42:]
    assert "2 more cases" in page
    assert f"In the other 3 cases a has a mean of {scores[best[0]]:.2f} or more" in page
    assert not any(f">{name}<" in page for name in best)


def test_markdown_of_one_run_is_its_table_of_subsets(runs):
    text = markdown(compare_runs(runs(a=rows_made(steady(0.5))), QUICK))
    lines = text.splitlines()
    assert lines[0] == "| sequences | Dice WT | TC | ET | HD95 WT (mm) | TC | ET |"
    assert lines[1] == "|---|---|---|---|---|---|---|"
    assert lines[2] == "| T1 | 0.500 | 0.500 | 0.500 | 5.0 | 5.0 | 5.0 |"
    assert lines[17] == "| *mean of subsets of 1* | 0.500 | 0.500 | 0.500 | 5.0 | 5.0 | 5.0 |"
    assert lines[21] == "| **mean of the 15 subsets** | 0.500 | 0.500 | 0.500 | 5.0 | 5.0 | 5.0 |"
    assert lines[23] == "AURC (Dice 0 to 1, so at most 3): WT 1.500, TC 1.500, ET 1.500. 6 cases, policy `brats`."


def test_one_run_is_shown_with_the_dice_of_the_cases_that_have_a_region_beside(runs, tmp_path, capsys):
    """One of six cases has no enhancing tumour and scores 0, the others 0.6; the terminal shows the same."""
    rows = rows_made(lambda case, subset, region: 0.0 if (case, region) == ("a", "et") else 0.6, without=[("a", "et")])
    made = runs(a=rows)
    lines = markdown(compare_runs(made, QUICK)).splitlines()
    assert lines[0] == "| sequences | Dice WT | TC | ET | ET* | HD95 WT (mm) | TC | ET |"
    assert lines[2] == "| T1 | 0.600 | 0.600 | 0.500 | 0.600 | 5.0 | 5.0 | 5.0 |"
    assert lines[21].startswith("| **mean of the 15 subsets** | 0.600 | 0.600 | 0.500 | 0.600 |")
    assert lines[23].endswith("6 cases, policy `brats`. ET*: of the 5 cases that have any.")
    print_summary(summarise(rows, GLIOMA, get_policy("brats"), "a"), GLIOMA)
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["subset", "WT", "HD95", "TC", "HD95", "ET", "ET*", "HD95"]
    assert "mean 0.600 5.0 0.600 5.0 0.500 0.600 5.0" in " ".join(printed.split())
    assert "* over the 5 with ET, of 6 cases" in printed


def test_markdown_of_several_runs_has_means_tests_and_cases(two):
    text = markdown(compare_runs(two, replace(QUICK, published=("brats2018-smsn",))))
    assert "| | region | 1 of 4 | 2 of 4 | 3 of 4 | 4 of 4 | mean of 15 | AURC | HD95 (mm) |" in text
    assert "| b | WT | 0.535 | 0.535 | 0.535 | 0.535 | **0.535** | 1.605 | 5.0 |" in text
    assert re.search(
        r"\| b \| mean \| \+0\.035 \| \+0\.0\d\d to \+0\.0\d\d \| 6, 0, 0 \| 0\.03 \| 0\.12 \| 0\.031 \|", text
    )
    assert "Holm's correction over all 4 tests of the table" in text
    assert "| f | 0.500 | 0.560 | +0.060 |" in text
    assert (
        "* No test here can pass 0.05: with 6 cases p is 0.031 at the least, 0.12 when corrected for 4 tests." in text
    )
    assert "| SMSN | WT | – | – | – | – | **0.856** | – | – |" in text
    assert "**Not comparable with ours**: perhaps other cases: here 6, there some of BraTS 2018" in text


def test_compare_writes_a_page_and_a_table_and_replaces_them(two, tmp_path):
    made = {name: [tmp_path / name] for name in "ab"}
    compare(made, tmp_path / "out", QUICK)
    first = (tmp_path / "out" / "comparison.csv").read_text()
    compare(dict(reversed(made.items())), tmp_path / "out", QUICK)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.html", "comparison.csv"]
    assert (tmp_path / "out" / "comparison.csv").read_text() != first
    assert (tmp_path / "out" / "compare.html").read_text(encoding="utf-8").endswith("</html>\n")
    with pytest.raises(OutputError, match="cannot be written"):
        compare(made, tmp_path / "a" / "cases.csv", QUICK)


def test_an_evaluation_that_names_no_task_is_of_the_built_in_one(tmp_path):
    assert read_evaluation(write_evaluation(tmp_path / "a", rows_made(uneven))).task == GLIOMA


def test_the_command_prints_a_summary(two, tmp_path, monkeypatch, capsys):
    words = ["lacunet", "compare", f"[red]first={tmp_path}/a", f"{tmp_path}/b", "-o", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as left:
        main()
    out = capsys.readouterr().out
    assert left.value.code in (0, None)
    assert re.search(r"^\[red\]first\s+0\.500\s+0\.500\s+0\.500\s+1\.50", out, re.MULTILINE)
    assert re.search(r"^b\s+mean\s+\+0\.035.*6 0 0\s+0\.031\s+0\.125\s+0\.031$", out, re.MULTILINE)
    assert "Wilcoxon over 6 cases; corrected after Holm for 4 tests" in out
    assert "note: No test here can pass 0.05" in out
    assert f"page: {tmp_path / 'out' / 'compare.html'}" in out


def test_runs_of_long_names_are_told_apart_in_80_columns(tmp_path, lacunet, monkeypatch):
    """Names are folded onto further lines; no character of them is lost."""
    monkeypatch.setenv("COLUMNS", "80")
    rows = rows_made(steady(0.5), without=(("a", "et"),))  # `ET*` makes the table as wide as it gets
    names = ("early_fusion-fm0.1", "early_fusion-fm0.01")
    folders = [write_evaluation(tmp_path / name, rows) for name in ("ccsd", *names)]
    status, out, err = lacunet("compare", *folders, "-o", tmp_path / "out")
    assert status == 0, err
    assert "…" not in out
    means, tests = out.split("against ccsd")
    for table in (means, tests):
        first = "".join(re.findall(r"^(\S+)", table, re.MULTILINE))
        assert all(name in first for name in names)


def test_the_command_says_of_each_published_table_whether_it_is_comparable(tmp_path, lacunet, monkeypatch):
    known = published_tables()
    beside = replace(known["brats2020-m3ae"], test=(split_hash(SIX),))
    monkeypatch.setattr(
        "lacunet.comparison.published.tables.published_tables", lambda: {**known, "brats2020-m3ae": beside}
    )
    monkeypatch.setenv("COLUMNS", "1000")
    words = ["compare", write_evaluation(tmp_path / "a", rows_made(steady(0.5))), "-o", tmp_path / "out"]
    _, out, _ = lacunet(*words, "--published", "brats2020-m3ae", "--published", "brats2020-rfnet")
    lines = [line for line in out.splitlines() if line.startswith("published ")]
    assert lines[0] == "published brats2020-m3ae, on the page: comparable, as far as an evaluation shows"
    assert lines[1].startswith("published brats2020-rfnet, on the page: not comparable: other cases: here 6, there 100")
    assert len(lines) == 2
    assert "\npublished " not in lacunet(*words)[1]


def test_the_command_needs_no_torch(two, tmp_path):
    words = ["lacunet", "compare", f"{tmp_path}/a", f"{tmp_path}/b", "-o", f"{tmp_path}/out", "--markdown"]
    code = (
        f"import sys; sys.argv = {words}\n"
        "from lacunet.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| | region | 1 of 4 |")


def test_a_refusal_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lacunet", "compare", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as left:
        main()
    err = capsys.readouterr().err
    assert left.value.code == 1
    assert err.startswith("lacunet: ")
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("word", ["{here}/README.md", "name={here}/README.md"])
def test_a_file_is_not_said_to_be_absent(tmp_path, word):
    (tmp_path / "README.md").write_text("words")
    with pytest.raises(DataError, match=r"README\.md: is a file; name the folder of an evaluation \(cases\.csv and"):
        named_runs([word.format(here=tmp_path)])


def test_a_file_of_an_evaluation_stands_beside_what_was_meant(tmp_path):
    folder = write_evaluation(tmp_path / "a", rows_made(uneven))
    with pytest.raises(DataError, match=rf"cases\.csv: is a file; .* here {folder}$"):
        read_runs({"a": [folder / "cases.csv"]})


def test_the_mean_over_several_lists_counts_each_list_once(runs, tmp_path):
    """Means of 0.4 over six cases and of 0.6 over three are 0.5."""
    for name, score, cases in (("x", 0.4, SIX), ("y", 0.6, SIX[:3])):
        write_evaluation(tmp_path / name / "a", rows_made(steady(score), cases))
        write_evaluation(tmp_path / name / "b", rows_made(steady(score / 2), cases))
        compare({run: [tmp_path / name / run] for run in "ab"}, tmp_path / name, QUICK)
        plan = {"protocol": {"policy": "brats", "split": name}, "entrants": {"a": {"asked": {}}}}
        (tmp_path / name / "benchmark.json").write_text(json.dumps(plan))
    script = ROOT / "scripts/studies/mean_of_lists.py"
    words = [sys.executable, script, tmp_path / "x", tmp_path / "y"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "| a | wt | dice | 0.5000 |" in lines
    assert "| b | mean | dice | 0.2500 |" in lines
    assert "| a | wt | hd95 | 5.0000 |" in lines
    assert len(lines) == 2 + 2 * (4 + 3)
    other = {"protocol": {"policy": "rfnet"}, "entrants": {"a": {"asked": {"method": "ccsd"}}}}
    (tmp_path / "y/benchmark.json").write_text(json.dumps(other))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "differ in more than their cases: policy, recipe of a" in done.stderr


def test_a_row_of_runs_has_the_best_validation_of_the_last_stage_and_the_means_of_test(tmp_path):
    run = tmp_path / "run"
    write_evaluation(run / "test", rows_made(lambda case, subset, region: {"wt": 0.6, "tc": 0.5, "et": 0.1}[region]))
    validated = [("teacher", 0.9), ("student", 0.3), ("student", 0.4567), ("student", 0.2)]
    lines = [{"stage": stage, "validation_wt": 0.0, "validation_mean": mean} for stage, mean in validated]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"stage": "student"}]))
    script = ROOT / "scripts/studies/runs_table.py"
    words = [sys.executable, script, run, f"named={run}"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    numbers = "| 0.457 | 0.600 | 0.500 | 0.100 | 0.400 | 5.0 | 5.0 | 5.0 |"
    assert lines[2:] == [f"| run {numbers}", f"| named {numbers}"]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_has_nothing_to_complain_about(two, tmp_path):
    page = tmp_path / "compare.html"
    page.write_text(comparison_page(compare_runs(two, replace(QUICK, published=("brats2018",)))), encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=2000"
    run = [CHROMIUM, *options.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr
    assert "Mean over the subsets" in done.stdout
