"""The published tables in the package: complete, consistent, in our names; and when they may stand beside ours."""

import csv
import json
from dataclasses import replace
from importlib.resources import files
from statistics import fmean

import pytest

from lacunet.comparison.published.tables import Scored, choose_tables, differences, published_tables, tables_of_cases
from lacunet.data.split import split_hash
from lacunet.errors import UsageError
from lacunet.evaluation.metrics import policy_names
from lacunet.prediction.network import MIRRORS
from lacunet.prediction.postprocess import get_rule
from lacunet.task import GLIOMA
from small import SHARED

SUBSETS = [GLIOMA.subset_name(subset) for subset in GLIOMA.subsets]
WITHOUT_T2 = [name for name in SUBSETS if "t2w" not in name]
TABLES = list(published_tables().values())
WITH_SUBSETS = [table for table in TABLES if table.scores[0].subsets]
CASES = ("case-1", "case-2")
OURS = Scored(CASES, SUBSETS, "brats")


def printed(file):
    with files("lacunet.comparison.published").joinpath(file).open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def same_protocol(**changes):
    """A table of our two cases, by our policy, without post-processing."""
    table = published_tables()["brats2020-m3ae"]
    return replace(table, **{"test": (split_hash(CASES),), "policy": "brats", "postprocessing": (), **changes})


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_is_whole_and_says_where_it_comes_from(table):
    for method in table.methods:
        assert [score.region for score in table.scores if score.method == method] == list(GLIOMA.regions)
    assert table.scores
    assert all(0 < score.printed_mean < 1 for score in table.scores)
    assert table.url.startswith("https://")
    assert table.name.startswith(table.dataset.lower().replace(" ", ""))
    assert all((table.source, table.protocol, table.read))
    assert set(table.quoted) <= set(table.methods)
    assert len(set(table.methods)) * 3 == len(table.scores)


@pytest.mark.parametrize("table", WITH_SUBSETS, ids=lambda table: table.name)
def test_cells_are_of_all_subsets_in_our_order(table):
    wanted = WITHOUT_T2 if table.name == "brats2018-ccsd-table5" else SUBSETS
    assert table.subsets == wanted
    for score in table.scores:
        assert list(score.subsets) == wanted
        assert all(0 < dice < 1 for dice in score.subsets.values())
        assert list(score.by_size) == ([1, 2, 3, 4] if wanted is SUBSETS else [])
        assert not score.spread or list(score.spread) == SUBSETS


def test_the_files_and_the_list_of_tables_name_the_same():
    rows = [*printed("subsets.csv"), *printed("means.csv")]
    assert {row["table"] for row in rows} == set(published_tables())
    keys = [(row["table"], row["method"], row["region"], row.get("measure")) for row in rows]
    assert len(keys) == len(set(keys))


def test_the_mean_of_the_cells_is_the_printed_one_unless_the_table_says_otherwise():
    """Both are rounded by half a unit of the last digit that is printed."""
    found = {table.name: [] for table in WITH_SUBSETS}
    for row in printed("subsets.csv"):
        if row["measure"] != "dice":
            continue
        digits = len(row["mean"].partition(".")[2])
        mean = fmean(float(row[name]) for name in SUBSETS if row[name])
        if abs(mean - float(row["mean"])) > 10**-digits + 1e-9:
            found[row["table"]].append(f"{row['method']} {row['region']}")
    assert found == {table.name: list(table.mean_differs) for table in WITH_SUBSETS}


def test_cells_that_the_papers_show():
    """CCSD, table 1: all four, ET 79.95; FLAIR alone, WT 90.40. M3AE, table S3: T1ce alone, ET 73.6 +- 29.7."""
    ccsd = published_tables()["brats2018-ccsd"]
    assert ccsd.score("CCSD", "et").subsets["t1n+t1c+t2w+t2f"] == pytest.approx(0.7995)
    assert ccsd.score("CCSD", "wt").subsets["t2f"] == pytest.approx(0.9040)
    m3ae = published_tables()["brats2020-m3ae"].score("M3AE", "et")
    assert (m3ae.subsets["t1c"], m3ae.spread["t1c"]) == (pytest.approx(0.736), pytest.approx(0.297))
    assert published_tables()["brats2020-ccsd"].score("CCSD", "tc").hd95 == 7.6


def test_the_transfer_to_metastases_is_as_the_notes_on_the_paper_print_it():
    table = published_tables()["brainmetastases-smsn"]
    found = {method: [table.score(method, region).mean for region in GLIOMA.regions] for method in table.methods}
    assert found == {
        "SMSN": pytest.approx([0.5703, 0.4570, 0.3689]),
        "M2FTrans": pytest.approx([0.5516, 0.3862, 0.3174]),
    }
    assert "other cases: here 2, there some of brain metastases" in differences(table, OURS)[0]
    assert [one.name for one in choose_tables(["brainmetastases"])] == ["brainmetastases-smsn"]


def test_columns_lie_where_anatomy_says():
    """T1ce shows what enhances, FLAIR the whole tumour: a column in the wrong place would not."""
    for table in WITH_SUBSETS:
        if not table.dataset.startswith("BraTS 20") or table.dataset == "BraTS 2024" or table.subsets != SUBSETS:
            continue
        for method in table.methods:
            et, wt = (table.score(method, region).subsets for region in ("et", "wt"))
            assert max(("t1n", "t1c", "t2w", "t2f"), key=et.get) == "t1c", (table.name, method)
            assert min(dice for name, dice in et.items() if "t1c" in name) > et["t1n+t2w+t2f"]
            assert max(("t1n", "t1c"), key=wt.get) != max(("t1n", "t1c", "t2w", "t2f"), key=wt.get)


def test_a_table_over_seven_subsets_says_nothing_of_fifteen():
    table = published_tables()["brats2018-ccsd-table5"]
    score = table.score("most critical first", "et")
    assert score.subsets["t1c"] == pytest.approx(0.7422)
    assert score.mean_over(WITHOUT_T2) == score.mean == pytest.approx(0.6280, abs=1e-4)
    assert score.mean_over(["t1n", "t2w"]) is None
    assert score.mean_over(SUBSETS) is None
    assert (score.aurc, score.by_size) == (None, {})
    ours = replace(OURS, policy="rfnet")
    assert "here 15 of 15 subsets, there 7" in differences(table, ours)
    assert not [words for words in differences(table, replace(ours, subsets=WITHOUT_T2)) if "subsets" in words]


def test_aurc_of_ccsd_is_the_one_computed_from_its_table():
    ccsd = published_tables()["brats2018-ccsd"]
    areas = [ccsd.score("CCSD", region).aurc for region in GLIOMA.regions]
    assert areas == pytest.approx([2.62998, 2.40020, 1.97920], abs=1e-4)
    assert published_tables()["brats2018-smsn"].score("SMSN", "wt").aurc is None


def test_policies_and_rules_are_ours():
    assert {table.policy for table in TABLES} - {""} <= set(policy_names())
    assert {table.mirror for table in TABLES} - {""} <= set(MIRRORS)
    for table in TABLES:
        for rule in table.postprocessing or ():
            assert get_rule(rule).name == rule


@pytest.mark.skipif(not (SHARED / "splits").is_dir(), reason="the published lists are not here")
def test_hashes_are_of_the_published_lists():
    lists = {path.stem: split_hash(path.read_text().split()) for path in (SHARED / "splits").glob("b*_test*.txt")}
    assert published_tables()["brats2018-rfnet"].test == tuple(lists[f"b18_test{number}"] for number in (1, 2, 3))
    assert published_tables()["brats2018-m3ae"].test == (lists["b18_test3"],)
    assert published_tables()["brats2020-m3ae"].test == (lists["b20_test"],)


@pytest.mark.skipif(not (SHARED / "published.json").is_file(), reason="the collection is not here")
def test_nothing_was_lost_or_changed_on_the_way_into_the_package():
    source = json.loads((SHARED / "published.json").read_text())["tables_15"]
    ours = {"T1": "t1n", "T1CE": "t1c", "T2": "t2w", "FLAIR": "t2f"}
    cells = sorted(
        (GLIOMA.subset_name(ours[word] for word in name.split("+")), region.lower(), value)
        for table in source.values()
        for regions in table["methods"].values()
        for region, scores in regions.items()
        for name, value in scores["values"].items()
    )
    found = sorted(
        (name, score.region, round(100 * dice, 6))
        for table in WITH_SUBSETS
        if len(table.subsets) == len(SUBSETS)
        for score in table.scores
        for name, dice in score.subsets.items()
    )
    assert found == cells


def test_tables_are_chosen_by_name_or_by_data_set():
    assert [table.name for table in choose_tables(["brats2018-ccsd"])] == ["brats2018-ccsd"]
    names = [table.name for table in choose_tables(["brats2018", "brats2018-ccsd"])]
    assert len(names) == len(set(names)) > 5
    assert all(name.startswith("brats2018-") for name in names)
    assert "brats2018-ccsd-table3" not in names
    assert [table.name for table in choose_tables(["brats2018-ccsd-table3"])] == ["brats2018-ccsd-table3"]
    assert choose_tables([]) == []


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(UsageError, match=r"no published table 'brats2018-cssd'; did you mean 'brats2018-ccsd'\?"):
        choose_tables(["brats2018-cssd"])


def test_nothing_differs_where_cases_policy_and_rules_agree():
    assert differences(same_protocol(), OURS) == []
    assert differences(same_protocol(), replace(OURS, cases=CASES[::-1])) == []


def test_policies_that_score_dice_alike_do_not_part_tables_of_dice():
    assert differences(same_protocol(policy="m3ae"), OURS) == []
    distances = tuple(replace(score, hd95=5.0) for score in same_protocol().scores)
    assert differences(same_protocol(policy="m3ae", scores=distances), OURS) == [
        "empty masks score by 'brats' here and by 'm3ae' there"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": (split_hash(["other"]),)}, "other cases: here 2, there 100 of BraTS 2020"),
        ({"test": ()}, "other cases: here 2, there 100 of BraTS 2020, not listed by name"),
        (
            {"test": (), "test_cases": 2},
            "perhaps other cases: here 2, there 2 of BraTS 2020, not listed by name",
        ),
        (
            {"test": (), "test_cases": None},
            "perhaps other cases: here 2, there some of BraTS 2020, neither counted nor listed by name",
        ),
        (
            {"test": (split_hash(["x"]), split_hash(CASES))},
            "here one of the 2 test sets, there the mean over all of them",
        ),
        ({"policy": ""}, "what empty masks score there is not stated"),
        ({"postprocessing": None}, "whether masks were post-processed there is not stated"),
        ({"mirror": ""}, "whether predictions there were averaged over mirror images is not stated"),
        ({"mirror": "all"}, "averaged over mirror images: none here, all there"),
        ({"postprocessing": ("et500-ncr",)}, "post-processing: none here, et500-ncr there"),
    ],
)
def test_each_reason_to_keep_tables_apart(changes, words):
    assert differences(same_protocol(**changes), OURS) == [words]


def test_a_mean_over_some_subsets_is_kept_from_the_mean_over_all():
    few = replace(OURS, subsets=("t1n+t1c+t2w+t2f",))
    assert differences(same_protocol(), few) == ["here 1 of 15 subsets"]


def test_notes_tell_of_quoted_columns_and_other_means():
    notes = published_tables()["brats2018-ccsd"].notes
    assert "The columns of this table follow different protocols" in notes
    assert "ShaSpec: quoted; ShaSpec reports the online validation set of BraTS 2018" in notes
    assert "MIFPN, TC: the source prints a mean of 0.7463, its cells have 0.7492" in notes


def test_the_tables_of_our_cases_are_found(monkeypatch):
    monkeypatch.setattr(
        "lacunet.comparison.published.tables.published_tables",
        lambda: {"known": replace(same_protocol(), name="known")},
    )
    assert tables_of_cases(CASES) == ["known"]
    assert tables_of_cases(["others"]) == []
