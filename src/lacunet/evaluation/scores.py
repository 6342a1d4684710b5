"""The table of an evaluation, `cases.csv`, and its means. No torch here."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import isfinite, isnan
from pathlib import Path
from statistics import fmean, pstdev

from lacunet.errors import DataError
from lacunet.evaluation.metrics import MetricPolicy, RegionScore, aurc
from lacunet.evaluation.monotony import monotony
from lacunet.evaluation.summary import Empty, Means, RegionMeans, Summary
from lacunet.evaluation.tumour_free import tumour_free
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
        """What a table holds once."""
        return self.case, self.subset, self.region


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


def summarise(rows: Sequence[Row], task: Task, policy: MetricPolicy, model: str, apart: Sequence[Row] = ()) -> Summary:
    """Means over cases, then over subsets.

    The means of a subset are over the cases that have all its modalities. A value that no case has is None, and means
    over subsets leave it out. AURC is set only where every subset of the task was evaluated.

    Args:
        rows: Any cases and subsets, each with every region of the task.
        task: Gives the order of subsets and regions.
        policy: The policy that the rows were scored with.
        model: What was evaluated.
        apart: Rows of further brains without a tumour; they count in `tumour_free` and in nothing else.

    Returns:
        The scores. What else `summary.json` says (data, identity, ...) is not set.

    Raises:
        DataError: there are no rows, the task lacks a subset or region, or a region is missing.
    """
    _check_rows(rows, task)
    subsets = _by_subset(rows, task)
    sizes = _by_size(subsets, task)
    summary = Summary(
        model=model,
        policy=policy.name,
        cases=len({row.case for row in rows}),
        subsets_evaluated=len(subsets),
        subsets=subsets,
        mean=_over_subsets(list(subsets.values()), task),
        deviation=_over_subsets(list(subsets.values()), task, pstdev),
        by_size=sizes,
        empty=_empty(rows, task),
    )
    beside = {
        "monotony": monotony({row.key: row.dice for row in rows if row.reference_ml > 0}, task),
        "tumour_free": tumour_free({row.key: row.prediction_ml for row in (*_tumour_free(rows), *apart)}, task),
    }
    summary = summary.model_copy(update={key: found for key, found in beside.items() if found})
    if len(subsets) < len(task.subsets) or len(sizes) < 2:
        return summary
    curves = {region: [means[region].dice for means in sizes.values()] for region in task.regions}
    areas = {region: aurc(curve) for region, curve in curves.items()}
    normalised = {region: aurc(curve, normalise=True) for region, curve in curves.items()}
    return summary.model_copy(update={"aurc": areas, "aurc_normalised": normalised})


def _tumour_free(rows: Sequence[Row]) -> list[Row]:
    """The rows of cases whose reference is empty in every region."""
    with_tumour = {row.case for row in rows if row.reference_ml > 0}
    return [row for row in rows if row.case not in with_tumour]


def _by_subset(rows: Sequence[Row], task: Task) -> dict[str, RegionMeans]:
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
    return Means(
        dice=fmean(row.dice for row in rows),
        dice_present=fmean(present) if present else None,
        hd95=fmean(distances) if distances else None,
        n=len(rows),
        n_hd95=len(distances),
    )


def _over_subsets(
    subsets: Sequence[RegionMeans], task: Task, statistic: Callable[[Sequence[float]], float] = fmean
) -> RegionMeans:
    """Mean or deviation of the subsets' means: every subset counts the same, however many cases it has."""
    means: RegionMeans = {}
    for region in task.regions:
        of_region = [subset[region] for subset in subsets]
        present = [one.dice_present for one in of_region if one.dice_present is not None]
        distances = [one.hd95 for one in of_region if one.hd95 is not None]
        means[region] = Means(
            dice=statistic([one.dice for one in of_region]),
            dice_present=statistic(present) if present else None,
            hd95=statistic(distances) if distances else None,
        )
    return means


def _by_size(subsets: Mapping[str, RegionMeans], task: Task) -> dict[int, RegionMeans]:
    """Means over the evaluated subsets of each size; sizes without an evaluated subset are left out."""
    sizes = sorted({len(task.subset(name)) for name in subsets})
    return {
        size: _over_subsets([means for name, means in subsets.items() if len(task.subset(name)) == size], task)
        for size in sizes
    }


def _empty(rows: Sequence[Row], task: Task) -> Empty:
    references = {(row.case, row.region) for row in rows if row.reference_ml == 0}
    predictions = [row.region for row in rows if row.prediction_ml == 0]
    return Empty(
        references={name: sum(region == name for _, region in references) for name in task.regions},
        predictions={name: predictions.count(name) for name in task.regions},
    )


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
