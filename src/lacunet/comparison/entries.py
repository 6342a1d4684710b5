"""The numbers of a comparison, one row each. No torch here."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import isnan
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from lacunet.comparison.align import Aligned, ScoreArrays
from lacunet.comparison.published.tables import PublishedTable
from lacunet.evaluation.metrics import aurc
from lacunet.files import whole_file
from lacunet.stats.paired import (
    Resampling,
    holm,
    interval,
    mean_known,
    resampled_means,
    signed_rank,
    wins,
)

HERE, ALL, WITH, WITHOUT, ONE, MEAN = "here", "all", "with-reference", "without-reference", "one", "mean"

ByCase = Float[np.ndarray, "case subset"]


@dataclass(frozen=True)
class Entry:
    """One number, and all that says which. A row of `comparison.csv`.

    Attributes:
        group: `here`, or the published table.
        method: A run's name, or a method as the published table calls it.
        training: Which of several trainings, from 1; None for their mean or where there is one.
        against: The baseline where two runs are compared, else empty.
        region: `wt`, `tc`, `et`, or `mean` over the regions.
        subsets: `all` (mean over the subsets), `2 of 4` (over those of a size), or one subset's name.
        cases: `all`, `with-reference` and `without-reference` (whose reference has the region, or not), or `one`.
        case: The case's name where `cases` is `one`.
        measure: What the value is: docs/compare.md lists them.
        value: Dice 0 to 1, HD95 in mm, volumes in ml; None where there is none.
        low: Lower end of the interval of resampled cases, where one was computed.
        high: Its upper end.
        n: How many cases the value rests on (of `false_share` and `false_ml`: how many segmentations).
    """

    group: str
    method: str
    training: int | None
    against: str
    region: str
    subsets: str
    cases: str
    case: str
    measure: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


COLUMNS = tuple(field.name for field in fields(Entry))
KEYS = COLUMNS[: COLUMNS.index("value")]


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Write `comparison.csv` whole. Nothing is an empty cell; numbers are written so that reading gives the same."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(entry) for entry in entries)


def pooled(trainings: Sequence[ScoreArrays]) -> ScoreArrays:
    """The mean over trainings, case by case."""
    return ScoreArrays(*(mean_known(np.stack(values)) for values in zip(*map(astuple, trainings), strict=True)))


def sizes_of(shared: Aligned) -> dict[str, list[int]]:
    """`2 of 4` -> places of the subsets of two sequences."""
    most = len(shared.task.modalities)
    lengths = [len(shared.task.subset(name)) for name in shared.subsets]
    return {
        f"{size} of {most}": [place for place, length in enumerate(lengths) if length == size]
        for size in sorted(set(lengths))
    }


def _by_region(shared: Aligned, values: Float[np.ndarray, "case subset region"]) -> dict[str, ByCase]:
    """The values of each region, and their mean over the regions."""
    regions = {region: values[..., place] for place, region in enumerate(shared.task.regions)}
    return {**regions, MEAN: values.mean(axis=-1)}


def entries_of_run(shared: Aligned, name: str, scores: ScoreArrays, resampling: Resampling) -> Iterator[Entry]:
    """Means, intervals and AURC of one run, over all cases and those that have the region; each case's mean."""
    counts = resampling.draws(len(shared.cases))
    dice, hd95 = _by_region(shared, scores.dice), _by_region(shared, scores.hd95)
    for region in (*shared.task.regions, MEAN):
        yield from _means(shared, name, region, ALL, "dice", dice[region], counts)
        if region != MEAN:
            yield from _means(shared, name, region, ALL, "hd95", hd95[region])
        there = shared.with_reference(region)
        if region in shared.divided:
            drawn = resampling.draws(int(there.sum()))
            yield from _means(shared, name, region, WITH, "dice", dice[region][there], drawn)
            yield from _means(shared, name, region, WITH, "hd95", hd95[region][there])
        if not there.all():
            yield from _false_findings(shared, name, region, ~there)
        for case, value in zip(shared.cases, mean_known(dice[region], axis=1), strict=True):
            yield Entry(HERE, name, None, "", region, ALL, ONE, case, "dice", float(value), n=1)


def _means(
    shared: Aligned,
    name: str,
    region: str,
    cases: str,
    measure: str,
    values: ByCase,
    counts: Int[np.ndarray, "resample case"] | None = None,
    against: str = "",
) -> Iterator[Entry]:
    """The mean over all subsets, over those of each size, and of each; AURC of Dice where every subset is there.

    Args:
        shared: What is compared.
        name: The run.
        region: Of the values.
        cases: Which cases these are.
        measure: What the values are.
        values: Of each case and subset.
        counts: Resamples for the interval of the mean over subsets.
        against: The baseline where the values are differences.
    """
    by_subset = mean_known(values)
    numbers = np.isfinite(values).sum(axis=0)
    total = int(np.isfinite(values).any(axis=1).sum())

    def entry(subsets: str, measure: str, value: float, n: int, ends: tuple[float | None, float | None]) -> Entry:
        known = None if isnan(value) else float(value)
        return Entry(HERE, name, None, against, region, subsets, cases, "", measure, known, *ends, n)

    none = (None, None)
    ends = none if counts is None else interval(resampled_means(values, counts))
    yield entry(ALL, measure, float(mean_known(by_subset)), total, ends)
    by_size = {size: float(mean_known(by_subset[places])) for size, places in sizes_of(shared).items()}
    for size, value in by_size.items():
        yield entry(size, measure, value, total, none)
    for subset, value, n in zip(shared.subsets, by_subset, numbers, strict=True):
        yield entry(subset, measure, value, int(n), none)
    if measure == "dice" and len(shared.subsets) == len(shared.task.subsets) and len(by_size) > 1:
        area = aurc(list(by_size.values()))
        yield entry(ALL, "aurc", area, total, none)
        yield entry(ALL, "aurc_normalised", area / (len(by_size) - 1), total, none)


def _false_findings(shared: Aligned, name: str, region: str, empty: Bool[np.ndarray, " case"]) -> Iterator[Entry]:
    """In cases without the region: the share of segmentations that find it all the same, and the mean volume found."""
    place = list(shared.task.regions).index(region)
    volumes = np.concatenate([one.prediction_ml[empty][..., place].ravel() for one in shared.scores[name]])
    volumes = volumes[np.isfinite(volumes)]
    for measure, value in (("false_share", (volumes > 0).mean()), ("false_ml", volumes.mean())):
        yield Entry(HERE, name, None, "", region, ALL, WITHOUT, "", measure, float(value), n=len(volumes))


def entries_of_trainings(shared: Aligned, name: str) -> Iterator[Entry]:
    """Mean Dice of each of several trainings."""
    trainings = shared.scores[name]
    if len(trainings) < 2:
        return
    for number, one in enumerate(trainings, start=1):
        for region, values in _by_region(shared, one.dice).items():
            value = float(mean_known(mean_known(values)))
            yield Entry(HERE, name, number, "", region, ALL, ALL, "", "dice", value, n=len(shared.cases))


def entries_against(
    shared: Aligned, scores: Mapping[str, ScoreArrays], baseline: str, resampling: Resampling
) -> Iterator[Entry]:
    """Every other run against the baseline: differences, cases won and lost, subsets ahead and behind, tests.

    The tests of all runs and regions (and of the regions' mean) are one family, corrected together.
    """
    first = _by_region(shared, scores[baseline].dice)
    counts = resampling.draws(len(shared.cases))
    own: dict[tuple[str, str], Float[np.ndarray, " case"]] = {}
    for name in (name for name in scores if name != baseline):
        for region, values in _by_region(shared, scores[name].dice).items():
            difference = values - first[region]
            own[name, region] = mean_known(difference, axis=1)
            yield from _means(shared, name, region, ALL, "difference", difference, counts, baseline)
            if region in shared.divided:
                there = shared.with_reference(region)
                drawn = resampling.draws(int(there.sum()))
                yield from _means(shared, name, region, WITH, "difference", difference[there], drawn, baseline)
            yield from _counts(shared, name, region, baseline, difference)
    ps = [signed_rank(values) for values in own.values()]
    for ((name, region), values), p, corrected in zip(own.items(), ps, holm(ps), strict=True):
        least = signed_rank(np.abs(values))  # the same sizes, all in one direction
        for measure, value in (("p", p), ("p_holm", corrected), ("p_smallest", least)):
            yield Entry(HERE, name, None, baseline, region, ALL, ALL, "", measure, value, n=len(shared.cases))


def _counts(shared: Aligned, name: str, region: str, baseline: str, difference: ByCase) -> Iterator[Entry]:
    """Cases better, equal and worse, over all subsets and in each; and how many subsets are ahead, equal, behind."""
    columns = {ALL: mean_known(difference, axis=1)}
    columns |= {subset: difference[:, place] for place, subset in enumerate(shared.subsets)}
    for subsets, values in columns.items():
        for measure, count in zip(("wins", "ties", "losses"), wins(values), strict=True):
            yield Entry(
                HERE, name, None, baseline, region, subsets, ALL, "", measure, float(count), n=len(shared.cases)
            )
    ahead = wins(mean_known(difference))
    for measure, count in zip(("subsets_ahead", "subsets_equal", "subsets_behind"), ahead, strict=True):
        yield Entry(HERE, name, None, baseline, region, ALL, ALL, "", measure, float(count), n=len(shared.cases))


def entries_of_table(shared: Aligned, table: PublishedTable) -> Iterator[Entry]:
    """A published table in the same form: means of its cells, the printed mean beside."""
    most = len(shared.task.modalities)
    for score in table.scores:
        where = (table.name, score.method, None, "", score.region)
        values: list[tuple[str, str, float | None]] = [
            (ALL, "dice", score.mean),
            (ALL, "dice_printed", score.printed_mean),
            *((f"{size} of {most}", "dice", value) for size, value in score.by_size.items()),
            *((subset, "dice", value) for subset, value in score.subsets.items()),
            (ALL, "aurc", score.aurc),
            (ALL, "aurc_normalised", None if score.aurc is None else score.aurc / (most - 1)),
            (ALL, "hd95", score.hd95),
        ]
        for subsets, measure, value in values:
            if value is not None:
                yield Entry(*where, subsets, ALL, "", measure, value, n=table.test_cases)
