"""The tidy table of an evaluation, `cases.csv`, and its summary, `summary.json`. No torch here."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import isfinite, isnan
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from lacunet.errors import DataError
from lacunet.evaluation.metrics import MetricPolicy, RegionScore, aurc
from lacunet.files import whole_file
from lacunet.task import Task


@dataclass(frozen=True)
class Row:
    """One region of one case, segmented from one subset.

    Attributes:
        case: The case's name.
        subset: The subset's name: `t1c+t2f`.
        region: `wt`, `tc`, `et`.
        dice: 0 to 1.
        hd95: mm, or NaN where the policy gives none.
        reference_ml: Volume of the reference; exactly 0 where it is empty.
        prediction_ml: Volume of the prediction; exactly 0 where it is empty.
    """

    case: str
    subset: str
    region: str
    dice: float
    hd95: float
    reference_ml: float
    prediction_ml: float

    @property
    def key(self) -> tuple[str, str, str]:
        """What is said once in a table."""
        return self.case, self.subset, self.region


Means = dict[str, Any]
"""`dice` (0 to 1), `hd95` (mm or None), `dice_present` (or None) and, of a subset, `n` and `n_hd95`."""

COLUMNS = tuple(field.name for field in fields(Row))


def rows_of(case: str, subset: str, scores: Mapping[str, RegionScore]) -> list[Row]:
    """The rows of one case and subset from the scores of its regions."""
    return [
        Row(case, subset, region, score.dice, score.hd95, score.reference_ml, score.prediction_ml)
        for region, score in scores.items()
    ]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write `cases.csv` whole. Numbers are written so that reading gives the same ones; no HD95 is `nan`."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(row) for row in rows)


def read_rows(path: Path) -> list[Row]:
    """Read `cases.csv`.

    Raises:
        DataError: the file is not there or not text, a column is missing or unknown, a number is none or out of its
            range, or a case, subset and region come twice. File and line are named.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            _check_columns(path, next(lines, []))
            return _unique(path, [(lines.line_num, _row(path, lines.line_num, cells)) for cells in lines if cells])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error})") from error


def summarise(
    rows: Sequence[Row], task: Task, policy: MetricPolicy, model: str, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The content of `summary.json`: means over cases, then over subsets.

    A subset's means rest on the cases that have all its modalities: `n` says how many, `n_hd95` how many of them have
    an HD95. `dice_present` is the mean Dice of those alone whose reference has the region. The mean of nothing at all
    is None (`null` in JSON), and further means leave it out. `deviation` says how far the subsets' means lie apart: the
    standard deviation of those that there are. `aurc` (of Dice, 0..1) is there only where every subset of the task was
    evaluated. `empty` counts, per region, the cases whose reference is empty and the predictions, each of a case from a
    subset, that are.

    Args:
        rows: Any cases and subsets, each with every region of the task.
        task: Gives the order of subsets and regions.
        policy: The policy that the rows were scored with.
        model: What was evaluated.
        extra: Further entries, such as the data or the time taken.

    Raises:
        DataError: there are no rows, a subset or region is none of the task's, or a region is missing.
        ValueError: a key of `extra` is one of the summary's own.
    """
    _check_rows(rows, task)
    subsets = _by_subset(rows, task)
    sizes = _by_size(subsets, task)
    summary: dict[str, Any] = {
        "model": model,
        "policy": policy.name,
        "cases": len({row.case for row in rows}),
        "subsets_evaluated": len(subsets),
        "subsets": subsets,
        "mean": _over_subsets(list(subsets.values()), task),
        "deviation": _over_subsets(list(subsets.values()), task, pstdev),
        "by_size": sizes,
        "empty": _empty(rows, task),
    }
    if len(subsets) == len(task.subsets) and len(sizes) > 1:
        curves = {region: [means[region]["dice"] for means in sizes.values()] for region in task.regions}
        summary["aurc"] = {region: aurc(curve) for region, curve in curves.items()}
        summary["aurc_normalised"] = {region: aurc(curve, normalise=True) for region, curve in curves.items()}
    return _joined(summary, extra or {})


def _by_subset(rows: Sequence[Row], task: Task) -> dict[str, dict[str, Means]]:
    """Means over cases, per subset and region, in the task's order."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.subset, row.region].append(row)
    evaluated = {row.subset for row in rows}
    names = [name for name in map(task.subset_name, task.subsets) if name in evaluated]
    return {name: {region: _over_cases(groups[name, region]) for region in task.regions} for name in names}


def _over_cases(rows: Sequence[Row]) -> Means:
    distances = [row.hd95 for row in rows if not isnan(row.hd95)]
    present = [row.dice for row in rows if row.reference_ml > 0]
    return {
        "dice": fmean(row.dice for row in rows),
        "dice_present": fmean(present) if present else None,
        "hd95": fmean(distances) if distances else None,
        "n": len(rows),
        "n_hd95": len(distances),
    }


def _over_subsets(
    subsets: Sequence[Mapping[str, Means]], task: Task, statistic: Callable[[Sequence[float]], float] = fmean
) -> dict[str, Means]:
    """Mean or deviation of the subsets' means: every subset counts the same, however many cases it rests on."""
    means: dict[str, Means] = {}
    for region in task.regions:
        known = {
            measure: [subset[region][measure] for subset in subsets if subset[region][measure] is not None]
            for measure in ("dice", "dice_present", "hd95")
        }
        means[region] = {measure: statistic(values) if values else None for measure, values in known.items()}
    return means


def _by_size(subsets: Mapping[str, Mapping[str, Means]], task: Task) -> dict[str, dict[str, Means]]:
    """Means over the evaluated subsets of each size; a size of which none was evaluated is left out."""
    sizes = sorted({len(task.subset(name)) for name in subsets})
    return {
        str(size): _over_subsets([means for name, means in subsets.items() if len(task.subset(name)) == size], task)
        for size in sizes
    }


def _empty(rows: Sequence[Row], task: Task) -> dict[str, dict[str, int]]:
    references = {(row.case, row.region) for row in rows if row.reference_ml == 0}
    predictions = [row.region for row in rows if row.prediction_ml == 0]
    return {
        "references": {name: sum(region == name for _, region in references) for name in task.regions},
        "predictions": {name: predictions.count(name) for name in task.regions},
    }


def _joined(summary: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    hidden = sorted(set(summary) & set(extra))
    if hidden:
        raise ValueError(f"extra entries would hide the summary's own: {', '.join(hidden)}")
    return summary | dict(extra)


def _check_rows(rows: Sequence[Row], task: Task) -> None:
    if not rows:
        raise DataError("no scores to summarise: no case was evaluated")
    subsets = {task.subset_name(subset) for subset in task.subsets}
    regions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row.subset not in subsets or row.region not in task.regions:
            raise DataError(f"{row.case}: the task '{task.name}' has no '{row.region}' from '{row.subset}'")
        regions[row.case, row.subset].add(row.region)
    for (case, subset), scored in regions.items():
        if scored != set(task.regions):
            missing = [region for region in task.regions if region not in scored]
            raise DataError(f"{case} from {subset}: no score of {', '.join(missing)}; evaluate the case again")


def _check_columns(path: Path, found: Sequence[str]) -> None:
    if tuple(found) != COLUMNS:
        raise DataError(f"{path}, line 1: columns are '{','.join(found)}', expected '{','.join(COLUMNS)}'")


def _row(path: Path, line: int, cells: Sequence[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise DataError(f"{path}, line {line}: {len(cells)} cells, expected {len(COLUMNS)}")
    case, subset, region, *numbers = cells
    dice, hd95, *volumes = (_number(path, line, *pair) for pair in zip(COLUMNS[3:], numbers, strict=True))
    return Row(case, subset, region, dice, hd95, *volumes)


def _number(path: Path, line: int, column: str, cell: str) -> float:
    """A number in the range of its column; only HD95 may be `nan`."""
    try:
        value = float(cell)
    except ValueError:
        raise DataError(f"{path}, line {line}: {column} is '{cell}', expected a number") from None
    if column == "hd95" and isnan(value):
        return value
    if not (isfinite(value) and 0 <= value <= (1 if column == "dice" else float("inf"))):
        wanted = "between 0 and 1" if column == "dice" else "0 or more"
        raise DataError(f"{path}, line {line}: {column} is {cell}, expected {wanted}")
    return value


def _unique(path: Path, numbered: Sequence[tuple[int, Row]]) -> list[Row]:
    first: dict[tuple[str, str, str], int] = {}
    for line, row in numbered:
        if row.key in first:
            raise DataError(f"{path}, line {line}: {', '.join(row.key)} is already in line {first[row.key]}")
        first[row.key] = line
    return [row for _, row in numbered]
