"""The page of a comparison: runs side by side, tests, subsets, cases, published numbers. All from its entries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from lacunet.comparison.comparison import Comparison, largest_differences
from lacunet.comparison.entries import ALL, HERE, MEAN, ONE, WITH, WITHOUT, Entry
from lacunet.comparison.published.tables import PublishedTable
from lacunet.evaluation.results import Evaluation
from lacunet.report.charts import DICE_PALE, Cell, cell, curves
from lacunet.report.page import known, render
from lacunet.stats.paired import INTERVAL_COVERAGE, TIE, smallest_p

DIFFERENCE_FULL = 0.2
"""Difference of Dice from which a cell has its full colour."""
CASES_SHOWN = 40
"""Cases that are open at first; the others unfold."""
SUBSETS = ("subsets_ahead", "subsets_equal", "subsets_behind")
FEW_CASES = 20
"""With fewer, intervals of resampled cases are called too narrow."""


@dataclass(frozen=True)
class ComparisonView:
    """What `base.html` asks of a page."""

    comparison: Comparison
    provenance: Mapping[str, str]


def comparison_page(comparison: Comparison, date: str = "") -> str:
    """A self-contained HTML page. Needs no network, prints, and follows light and dark."""
    shared = comparison.shared
    runs = [_run(comparison, name) for name in comparison.names]
    values = {
        "view": ComparisonView(comparison, _provenance(comparison, date)),
        "comparison": comparison,
        "task": shared.task,
        "runs": runs,
        "others": [run for run in runs if not run["baseline"]],
        "regions": [_region(comparison, region) for region in shared.task.regions],
        "main": [_main(comparison, run) for run in runs],
        "trained": [_trainings(comparison, run) for run in runs if run["trainings"] > 1],
        "charts": list(_charts(comparison)),
        "sized": [_sized(comparison, run) for run in runs],
        "tests": [
            _test(comparison, run, region) for run in runs if not run["baseline"] for region in comparison.regions
        ],
        "least": smallest_p(len(shared.cases)),
        "largest": [_largest(comparison, name) for name in comparison.others],
        "empty": list(_empty(comparison)),
        "cases": _cases(comparison, runs),
        "published": [_published(comparison, table) for table in comparison.tables],
        "few": len(shared.cases) < FEW_CASES,
        "shown": CASES_SHOWN,
        "rules": _rules(comparison),
        "tie": TIE,
        "coverage": INTERVAL_COVERAGE,
    }
    return render("comparison.html", values)


def _run(comparison: Comparison, name: str) -> dict[str, Any]:
    place = comparison.names.index(name)
    trainings = len(comparison.runs[place].trainings)
    return {"name": name, "place": place, "baseline": name == comparison.baseline, "trainings": trainings}


def _main(comparison: Comparison, run: Mapping[str, Any]) -> dict[str, Any]:
    """Mean Dice with its interval, AURC and HD95 of one run."""
    name, task = run["name"], comparison.shared.task
    return {
        "run": run,
        "dice": [comparison.find(name, "dice", region) for region in comparison.regions],
        "aurc": [comparison.find(name, "aurc", region) for region in task.regions],
        "hd95": [comparison.find(name, "hd95", region) for region in task.regions],
        "masks": [comparison.masks_with_hd95(name, region) for region in task.regions],
    }


def _trainings(comparison: Comparison, run: Mapping[str, Any]) -> dict[str, Any]:
    """Mean Dice of each training of one run."""
    numbers = range(1, run["trainings"] + 1)
    rows = [
        [comparison.find(run["name"], "dice", region, training=number) for region in comparison.regions]
        for number in numbers
    ]
    return {"run": run, "rows": rows}


def _charts(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """A chart of each region, a line per run."""
    task = comparison.shared.task
    for place, region in enumerate(task.regions):
        lines = {name: _by_size(comparison, name, region) for name in comparison.names}
        title = f"Mean Dice of the {task.titles[region]} against the number of sequences, by run"
        yield {"name": region, "title": task.titles[region], "svg": curves(lines, len(task.modalities), place, title)}


def _by_size(comparison: Comparison, name: str, region: str) -> dict[int, float]:
    """Number of sequences -> mean Dice."""
    found = {size: comparison.find(name, "dice", region, subsets=size) for size in comparison.sizes}
    return {
        int(size.split()[0]): entry.value for size, entry in found.items() if entry is not None and known(entry.value)
    }


def _sized(comparison: Comparison, run: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one run's curves: for each region, mean Dice by the number of sequences."""
    cells = [
        [comparison.find(run["name"], "dice", region, subsets=size) for size in comparison.sizes]
        for region in comparison.shared.task.regions
    ]
    return {"run": run, "cells": cells}


def _test(comparison: Comparison, run: Mapping[str, Any], region: str) -> dict[str, Any]:
    """A test with its difference, and where the interval lies on a common axis (0 to 100)."""
    found = {
        measure: comparison.find(run["name"], measure, region, against=comparison.baseline)
        for measure in ("difference", "wins", "ties", "losses", "p", "p_holm", "p_smallest", *SUBSETS)
    }
    difference = found["difference"]
    assert difference is not None
    reach = _reach(comparison)
    ends = [value if known(value) else 0.0 for value in (difference.low, difference.value, difference.high)]
    return {
        "run": run,
        "region": region,
        "first": region == comparison.regions[0],
        **found,
        "strip": [50 + 46 * end / reach for end in ends],
        "reach": reach,
    }


def _reach(comparison: Comparison) -> float:
    """The largest end of all intervals, rounded up to 0.05."""
    found = [
        comparison.find(name, "difference", region, against=comparison.baseline)
        for name in comparison.others
        for region in comparison.regions
    ]
    ends = [abs(end) for entry in found if entry is not None for end in (entry.low, entry.high) if known(end)]
    return max(0.05, 0.05 * -(-max(ends, default=0.0) // 0.05))


def _largest(comparison: Comparison, name: str) -> dict[str, Any]:
    """Where a run is farthest from the baseline."""
    task = comparison.shared.task
    return {
        "name": name,
        "entries": [
            {"entry": entry, "subset": task.subset_title(task.subset(entry.subsets))}
            for entry in largest_differences(comparison, name)
        ],
    }


def _region(comparison: Comparison, region: str) -> dict[str, Any]:
    """Every subset of one region: Dice of each run, difference and cases won of every other run."""
    task = comparison.shared.task
    rows = []
    size = 0
    for name in comparison.shared.subsets:
        subset = task.subset(name)
        rows.append(
            {
                "title": task.subset_title(subset),
                "dots": task.presence(subset),
                "first": len(subset) != size,
                "dice": [_cell(comparison.find(run, "dice", region, subsets=name)) for run in comparison.names],
                "differences": [_difference(comparison, run, region, name) for run in comparison.others],
            }
        )
        size = len(subset)
    foot = {
        "dice": [_cell(comparison.find(run, "dice", region)) for run in comparison.names],
        "differences": [_difference(comparison, run, region, ALL) for run in comparison.others],
    }
    place = list(task.regions).index(region)
    return {"name": region, "title": task.titles[region], "place": place, "rows": rows, "foot": foot}


def _cell(entry: Entry | None) -> Cell:
    return cell(entry.value if entry is not None else None, DICE_PALE, 1.0)


def _difference(comparison: Comparison, run: str, region: str, subsets: str) -> dict[str, Any]:
    """A difference, how strong its colour is, and cases better, equal and worse."""
    found = [
        comparison.find(run, measure, region, subsets=subsets, against=comparison.baseline)
        for measure in ("difference", "wins", "ties", "losses")
    ]
    value, *counts = (entry.value if entry is not None else None for entry in found)
    strength = min(abs(value) / DIFFERENCE_FULL, 1.0) if known(value) else 0.0
    return {"value": value, "strength": strength, "counts": counts}


def _empty(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Regions that some references lack: Dice without these cases, and what is found in them."""
    shared = comparison.shared
    for region in shared.task.regions:
        there = shared.with_reference(region)
        if there.all():
            continue
        rows = []
        for name in comparison.names:
            share = comparison.find(name, "false_share", region, cases=WITHOUT)
            assert share is not None
            assert share.value is not None
            assert share.n is not None
            rows.append(
                {
                    "run": _run(comparison, name),
                    "all": comparison.find(name, "dice", region),
                    "with": comparison.find(name, "dice", region, cases=WITH),
                    "difference": comparison.find(name, "difference", region, cases=WITH, against=comparison.baseline),
                    "false": round(share.value * share.n),
                    "of": share.n,
                    "ml": comparison.find(name, "false_ml", region, cases=WITHOUT),
                }
            )
        without = [case for case, has in zip(shared.cases, there, strict=True) if not has]
        yield {"region": region, "title": shared.task.titles[region], "rows": rows, "without": without}


def _cases(comparison: Comparison, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean Dice of each case by run, the baseline's worst first."""
    found = []
    for case in comparison.shared.cases:
        entries = {run["name"]: comparison.find(run["name"], "dice", MEAN, cases=ONE, case=case) for run in runs}
        values = [
            {"run": run, "value": entry.value}
            for run, entry in zip(runs, entries.values(), strict=True)
            if entry is not None and known(entry.value)
        ]
        first = entries[comparison.baseline]
        found.append({"case": case, "values": values, "order": first.value if first and known(first.value) else 2.0})
    return sorted(found, key=lambda row: (row["order"], row["case"]))


def _published(comparison: Comparison, table: PublishedTable) -> dict[str, Any]:
    """A published table with our runs above it, and why the two are not to be put beside each other."""
    shared = comparison.shared
    columns = [(ALL, "dice"), *((size, "dice") for size in comparison.sizes), (ALL, "aurc"), (ALL, "hd95")]
    columns = [
        (subsets, measure)
        for subsets, measure in columns
        if any(
            entry.group == table.name and (entry.subsets, entry.measure) == (subsets, measure)
            for entry in comparison.entries
        )
    ]

    def cells(method: str, group: str) -> list[list[Entry | None]]:
        """Ours only where they are means over the same subsets."""
        return [
            [
                comparison.find(method, measure, region, subsets=subsets, group=group)
                if group != HERE or subsets in comparison.whole
                else None
                for region in shared.task.regions
            ]
            for subsets, measure in columns
        ]

    return {
        "table": table,
        "columns": columns,
        "reasons": comparison.apart(table),
        "here": [{"run": _run(comparison, name), "cells": cells(name, HERE)} for name in comparison.names],
        "there": [
            {"method": name, "quoted": name in table.quoted, "cells": cells(name, table.name)} for name in table.methods
        ],
    }


def _rules(comparison: Comparison) -> str:
    """Post-processing in words: once where all runs have the same."""
    words = {name: ", ".join(rules) or "none" for name, rules in comparison.rules.items()}
    if len(set(words.values())) == 1:
        return words[comparison.baseline]
    return "; ".join(f"{name}: {rules}" for name, rules in words.items())


def _provenance(comparison: Comparison, date: str) -> dict[str, str]:
    """What was compared, down to the weights."""
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
