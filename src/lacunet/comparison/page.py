"""The page of a comparison: runs side by side, tests, subsets, cases, published numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from lacunet.comparison.comparison import Comparison, largest_differences
from lacunet.comparison.numbers import MEAN, Counts, Number, PairedTest, RunScores
from lacunet.comparison.published.tables import PublishedScore, PublishedTable
from lacunet.comparison.ranking import Ranking, rank
from lacunet.comparison.ranking_table import sentences
from lacunet.evaluation.results import Evaluation
from lacunet.report.charts import DICE_PALE, Cell, Whisker, cell, curves, whiskers
from lacunet.report.page import known, render
from lacunet.stats.paired import INTERVAL_COVERAGE, TIE, smallest_p

DIFFERENCE_FULL = 0.2
"""Difference of Dice from which a cell has its full colour."""
CASES_SHOWN = 40
"""Cases that are shown at first; a click shows more."""
CASES_KEPT = 1000
"""Cases that the page has at all, the baseline's worst ones."""
FEW_CASES = 20
"""With fewer cases the page says that the intervals are too narrow."""


@dataclass(frozen=True)
class PublishedColumn:
    """A column of a published table, with the runs here above it.

    Attributes:
        title: What it shows.
        digits: Behind the decimal point.
        here: Scores of a run and a region -> the number.
        there: A published score -> the number.
        shown: Whether the numbers here are means over the same subsets.
    """

    title: str
    digits: int
    here: Callable[[RunScores, str], Number | None]
    there: Callable[[PublishedScore], float | None]
    shown: bool


@dataclass(frozen=True)
class ComparisonView:
    """What `base.html` needs of every page."""

    comparison: Comparison
    provenance: Mapping[str, str]


def comparison_page(comparison: Comparison, date: str = "") -> str:
    """A self-contained HTML page. Needs no network, prints, and follows light and dark."""
    shared = comparison.shared
    runs = [_run(comparison, name) for name in comparison.names]
    ranking = rank(comparison) if len(runs) > 2 else None
    cases = _cases(comparison, runs)
    values = {
        "view": ComparisonView(comparison, _provenance(comparison, date)),
        "comparison": comparison,
        "task": shared.task,
        "runs": runs,
        "others": [run for run in runs if not run["baseline"]],
        "regions": [_region(comparison, region) for region in shared.task.regions],
        "main": [_main(comparison, run) for run in runs],
        "trained": [_trainings(comparison, run) for run in runs if run["trainings"] > 1],
        "ranking": ranking,
        "ranked": None if ranking is None else _whiskers(ranking),
        "ranking_words": [] if ranking is None else sentences(ranking),
        "charts": list(_charts(comparison)),
        "sized": [_sized(comparison, run) for run in runs],
        "tests": [
            _test(comparison, run, region, test)
            for run in runs
            if not run["baseline"]
            for region, test in comparison.tests[run["name"]].items()
        ],
        "least": smallest_p(len(shared.cases)),
        "largest": [_largest(comparison, name) for name in comparison.others],
        "empty": list(_empty(comparison)),
        "cases": cases[:CASES_KEPT],
        "left": [case["order"] for case in cases[CASES_KEPT:]],
        "published": [_published(comparison, table) for table in comparison.tables],
        "few": len(shared.cases) < FEW_CASES,
        "shown": CASES_SHOWN,
        "rules": _rules(comparison),
        "tie": TIE,
        "coverage": INTERVAL_COVERAGE,
    }
    return render("comparison.html", values)


def _run(comparison: Comparison, name: str) -> dict[str, Any]:
    index = comparison.names.index(name)
    trainings = len(comparison.runs[index].trainings)
    return {"name": name, "index": index, "baseline": name == comparison.baseline, "trainings": trainings}


def _main(comparison: Comparison, run: Mapping[str, Any]) -> dict[str, Any]:
    """Mean Dice with its interval, AURC and HD95 of one run."""
    name, regions = run["name"], comparison.shared.task.regions
    scores = comparison.scores[name]
    return {
        "run": run,
        "dice": [means.mean for means in scores.dice.values()],
        "aurc": [scores.dice[region].aurc for region in regions],
        "hd95": [scores.hd95[region].mean for region in regions],
        "masks": [comparison.masks_with_hd95(name, region) for region in regions],
    }


def _whiskers(ranking: Ranking) -> str:
    """The runs in their order with their intervals; filled are those that no test tells from the first."""
    rows = [Whisker(run.name, run.dice, run.low, run.high, run.name in ranking.with_the_first) for run in ranking.runs]
    baseline = next(run.dice for run in ranking.runs if run.name == ranking.baseline)
    return whiskers(rows, baseline, "Mean Dice of every run with its interval, the best first")


def _trainings(comparison: Comparison, run: Mapping[str, Any]) -> dict[str, Any]:
    """Mean Dice of each training of one run."""
    return {"run": run, "rows": list(zip(*comparison.scores[run["name"]].trainings.values(), strict=True))}


def _charts(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """A chart of each region, a line per run."""
    task = comparison.shared.task
    for index, region in enumerate(task.regions):
        lines = {name: _by_size(scores, region) for name, scores in comparison.scores.items()}
        title = f"Mean Dice of the {task.titles[region]} against the number of sequences, by run"
        yield {"name": region, "title": task.titles[region], "svg": curves(lines, len(task.modalities), index, title)}


def _by_size(scores: RunScores, region: str) -> dict[int, float]:
    """Number of sequences -> mean Dice."""
    found = scores.dice[region].by_size
    return {size: number.value for size, number in found.items() if number.value is not None}


def _sized(comparison: Comparison, run: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one run's curves: for each region, mean Dice by the number of sequences."""
    dice = comparison.scores[run["name"]].dice
    return {"run": run, "cells": [list(dice[region].by_size.values()) for region in comparison.shared.task.regions]}


def _test(comparison: Comparison, run: Mapping[str, Any], region: str, test: PairedTest) -> dict[str, Any]:
    """A test with its difference, and where the interval lies on a common axis (0 to 100)."""
    difference = test.difference.mean
    reach = _reach(comparison)
    ends = [value if known(value) else 0.0 for value in (difference.low, difference.value, difference.high)]
    return {
        "run": run,
        "region": region,
        "first": region == comparison.regions[0],
        "test": test,
        "difference": difference,
        "strip": [50 + 46 * end / reach for end in ends],
        "reach": reach,
    }


def _reach(comparison: Comparison) -> float:
    """The largest end of all intervals, rounded up to 0.05."""
    found = [test.difference.mean for tests in comparison.tests.values() for test in tests.values()]
    ends = [abs(end) for difference in found for end in (difference.low, difference.high) if known(end)]
    return max(0.05, 0.05 * -(-max(ends, default=0.0) // 0.05))


def _largest(comparison: Comparison, name: str) -> dict[str, Any]:
    """Where a run differs most from the baseline."""
    task = comparison.shared.task
    return {
        "name": name,
        "differences": [
            {"region": one.region, "subset": task.subset_title(task.subset(one.subset)), "value": one.value}
            for one in largest_differences(comparison, name)
        ],
    }


def _region(comparison: Comparison, region: str) -> dict[str, Any]:
    """Every subset of one region: Dice of each run, difference and cases won of every other run."""
    task = comparison.shared.task
    dice = [scores.dice[region] for scores in comparison.scores.values()]
    tests = [tests[region] for tests in comparison.tests.values()]
    rows = []
    size = 0
    for name in comparison.shared.subsets:
        subset = task.subset(name)
        rows.append(
            {
                "title": task.subset_title(subset),
                "dots": task.presence(subset),
                "first": len(subset) != size,
                "dice": [_cell(means.by_subset[name]) for means in dice],
                "differences": [
                    _difference(test.difference.by_subset[name], test.cases_by_subset[name]) for test in tests
                ],
            }
        )
        size = len(subset)
    foot = {
        "dice": [_cell(means.mean) for means in dice],
        "differences": [_difference(test.difference.mean, test.cases) for test in tests],
    }
    index = list(task.regions).index(region)
    return {"name": region, "title": task.titles[region], "index": index, "rows": rows, "foot": foot}


def _cell(number: Number) -> Cell:
    return cell(number.value, DICE_PALE, 1.0)


def _difference(number: Number, cases: Counts) -> dict[str, Any]:
    """A difference, how strong its colour is, and cases better, equal and worse."""
    strength = min(abs(number.value) / DIFFERENCE_FULL, 1.0) if known(number.value) else 0.0
    return {"value": number.value, "strength": strength, "counts": (cases.better, cases.equal, cases.worse)}


def _empty(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Regions that some references lack: Dice without these cases, and false segmentations in them."""
    shared = comparison.shared
    for region in shared.task.regions:
        there = shared.with_reference(region)
        if there.all():
            continue
        rows = []
        for name, scores in comparison.scores.items():
            present = scores.dice_with.get(region)
            difference = comparison.tests[name][region].difference_with if name in comparison.tests else None
            rows.append(
                {
                    "run": _run(comparison, name),
                    "all": scores.dice[region].mean,
                    "with": present.mean if present else None,
                    "difference": difference.mean if difference else None,
                    "false": scores.false[region],
                }
            )
        without = [case for case, has in zip(shared.cases, there, strict=True) if not has]
        yield {"region": region, "title": shared.task.titles[region], "rows": rows, "without": without}


def _cases(comparison: Comparison, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean Dice of each case by run, the baseline's worst first."""
    found = []
    for case in comparison.shared.cases:
        dice = {name: scores.by_case[MEAN][case] for name, scores in comparison.scores.items()}
        values = [{"run": run, "value": dice[run["name"]]} for run in runs]
        found.append({"case": case, "values": values, "order": dice[comparison.baseline]})
    return sorted(found, key=lambda row: (row["order"], row["case"]))


def _published(comparison: Comparison, table: PublishedTable) -> dict[str, Any]:
    """A published table with our runs above it, and why the two cannot be compared."""
    columns = [
        column for column in _columns(comparison) if any(column.there(score) is not None for score in table.scores)
    ]
    here = [
        {"run": _run(comparison, name), "cells": [_here(column, scores) for column in columns]}
        for name, scores in comparison.scores.items()
    ]
    there = []
    for name in table.methods:
        scores = [table.score(name, region) for region in comparison.shared.task.regions]
        cells = [[None if score is None else column.there(score) for score in scores] for column in columns]
        there.append({"method": name, "quoted": name in table.quoted, "cells": cells})
    return {"table": table, "columns": columns, "reasons": comparison.apart(table), "here": here, "there": there}


def _here(column: PublishedColumn, scores: RunScores) -> list[float | None]:
    """The numbers of one run in the order of the regions."""
    numbers = [column.here(scores, region) if column.shown else None for region in scores.hd95]
    return [None if number is None else number.value for number in numbers]


def _columns(comparison: Comparison) -> list[PublishedColumn]:
    """The mean Dice, Dice by the number of sequences, AURC and HD95."""
    whole, mean = comparison.is_whole, f"Dice, mean of {len(comparison.shared.task.subsets)}"
    return [
        PublishedColumn(mean, 3, lambda run, region: run.dice[region].mean, lambda score: score.mean, whole),
        *(_column_of_size(comparison, size) for size in comparison.sizes),
        PublishedColumn("AURC", 2, lambda run, region: run.dice[region].aurc, lambda score: score.aurc, whole),
        PublishedColumn("HD95 (mm)", 1, lambda run, region: run.hd95[region].mean, lambda score: score.hd95, whole),
    ]


def _column_of_size(comparison: Comparison, size: int) -> PublishedColumn:
    return PublishedColumn(
        title=comparison.shared.size_title(size),
        digits=3,
        here=lambda run, region: run.dice[region].by_size[size],
        there=lambda score: score.by_size.get(size),
        shown=size in comparison.whole_sizes,
    )


def _rules(comparison: Comparison) -> str:
    """Post-processing in words; one text where all runs have the same."""
    words = {name: ", ".join(rules) or "none" for name, rules in comparison.rules.items()}
    if len(set(words.values())) == 1:
        return words[comparison.baseline]
    return "; ".join(f"{name}: {rules}" for name, rules in words.items())


def _provenance(comparison: Comparison, date: str) -> dict[str, str]:
    """What was compared: folders, data, weights and settings."""
    found = {"lacunet": version("lacunet")} | ({"date": date} if date else {})
    for run in comparison.runs:
        for number, one in enumerate(run.trainings, start=1):
            key = f"run {run.name}" if len(run.trainings) == 1 else f"run {run.name}, training {number}"
            found[key] = _origin(one)
    settings = comparison.settings.resampling
    return found | {"intervals": f"{settings.resamples:,} resamples of the cases, seed {settings.seed}"}


def _origin(one: Evaluation) -> str:
    identity = one.summary.identity
    parts = [
        str(one.folder),
        f"data {one.summary.data}",
        f"weights {identity.weights[:12] or 'not stated'}",
        f"post-processing {', '.join(identity.postprocessing) or 'none'}",
        f"precision {identity.precision}",
        f"commit {one.summary.environment.get('commit') or 'not stated'}",
    ]
    return "; ".join(parts)
