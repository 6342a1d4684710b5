"""The numbers of an evaluation as its page shows them: grouped and ranked. Nothing is drawn here."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lacunet.evaluation.scores import Row
from lacunet.evaluation.summary import RegionMeans, Summary
from lacunet.report.charts import DICE_PALE, Cell, cell
from lacunet.report.page import join_words, known
from lacunet.task import Task

HD95_PALE = 40.0
"""HD95 in mm from which a cell of the heat map has no colour."""


@dataclass(frozen=True)
class CaseScores:
    """Every score of a case, and its mean Dice over subsets and regions."""

    case: str
    mean: float
    scores: tuple[Row, ...]

    def of(self, region: str) -> list[Row]:
        """The scores of one region, in the order of the table."""
        return [score for score in self.scores if score.region == region]


@dataclass(frozen=True)
class HeatRow:
    """One subset: a dot for each modality that it has, and its cells.

    Attributes:
        title: The sequences, for people.
        dots: Whether each modality of the task is in the subset.
        first: Whether it is the first subset of its size.
        cases: How many cases were scored.
        dice: A cell per region.
        hd95: A cell per region.
    """

    title: str
    dots: tuple[bool, ...]
    first: bool
    cases: int
    dice: tuple[Cell, ...]
    hd95: tuple[Cell, ...]


def subsets_of(task: Task, summary: Summary) -> list[str]:
    """The names of the evaluated subsets in the task's order."""
    order = {subset: index for index, subset in enumerate(task.subsets)}
    return sorted(summary.subsets, key=lambda name: order[task.subset(name)])


def heat_rows(task: Task, summary: Summary, scores: Sequence[Row]) -> list[HeatRow]:
    """A row for each evaluated subset."""
    cases: defaultdict[str, set[str]] = defaultdict(set)
    for entry in scores:
        cases[entry.subset].add(entry.case)
    rows: list[HeatRow] = []
    size = 0
    for name in subsets_of(task, summary):
        subset = task.subset(name)
        dice, hd95 = heat_cells(task, summary.subsets[name])
        rows.append(
            HeatRow(
                title=task.subset_title(subset),
                dots=task.presence(subset),
                first=len(subset) != size,
                cases=len(cases[name]),
                dice=dice,
                hd95=hd95,
            )
        )
        size = len(subset)
    return rows


def heat_cells(task: Task, means: RegionMeans) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
    """The Dice cells and the HD95 cells of one row, in the order of the regions."""
    dice = tuple(cell(means[region].dice, DICE_PALE, 1.0) for region in task.regions)
    hd95 = tuple(cell(means[region].hd95, HD95_PALE, 0.0) for region in task.regions)
    return dice, hd95


def by_size(task: Task, summary: Summary, region: str) -> dict[int, list[float]]:
    """Mean Dice of every evaluated subset, grouped by how many sequences it has."""
    found: defaultdict[int, list[float]] = defaultdict(list)
    for name in subsets_of(task, summary):
        found[len(task.subset(name))].append(summary.subsets[name][region].dice)
    return dict(found)


def ranked_cases(scores: Sequence[Row]) -> list[CaseScores]:
    """Cases by their mean Dice over subsets and regions, the worst first; a case without any Dice comes last."""
    grouped: defaultdict[str, list[Row]] = defaultdict(list)
    for entry in scores:
        grouped[entry.case].append(entry)
    found = []
    for case, entries in grouped.items():
        values = [entry.dice for entry in entries if known(entry.dice)]
        found.append(CaseScores(case, fmean(values) if values else math.nan, tuple(entries)))
    return sorted(found, key=lambda entry: (math.isnan(entry.mean), entry.mean, entry.case))


def fullest(task: Task, entries: Sequence[Row]) -> str:
    """The name of the largest subset among the scores; of several, the last in the task's order.

    Raises:
        ValueError: there are no scores.
    """
    order = {subset: index for index, subset in enumerate(task.subsets)}
    return max((entry.subset for entry in entries), key=lambda name: order[task.subset(name)])


def worst_cases(task: Task, rows: Sequence[Row], count: int = 6) -> list[tuple[str, str]]:
    """The cases with the lowest mean Dice, each with its largest subset, the worst first.

    The largest subset is drawn because its errors do not come from missing sequences.
    """
    return [(entry.case, fullest(task, entry.scores)) for entry in ranked_cases(rows)[:count]]


def empty_words(task: Task, scores: Sequence[Row]) -> list[str]:
    """A sentence for each region with an empty reference or prediction."""
    found = []
    for region in task.regions:
        entries = [entry for entry in scores if entry.region == region]
        references = {entry.case for entry in entries if entry.reference_ml == 0}
        predictions = sum(entry.prediction_ml == 0 for entry in entries)
        if references or predictions:
            parts = [
                f"the reference is empty in {len(references)} of {len({entry.case for entry in entries})} cases",
                f"the prediction in {predictions} of {len(entries)} segmentations",
            ]
            found.append(f"{region.upper()}: {join_words(parts)}.")
    return found
