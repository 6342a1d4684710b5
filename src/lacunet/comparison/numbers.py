"""The numbers of a comparison as tables: scores of each run, and tests against the baseline. No torch here."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from math import isnan, nan

import numpy as np
from jaxtyping import Bool, Float, Int

from lacunet.comparison.align import Aligned, ScoreArrays
from lacunet.evaluation.metrics import aurc
from lacunet.stats.paired import (
    Resampling,
    holm,
    interval,
    mean_known,
    resampled_means,
    signed_rank,
    wins,
)

MEAN = "mean"
"""The name of the mean over the regions, beside the names of the regions."""

ByCase = Float[np.ndarray, "case subset"]


@dataclass(frozen=True)
class Number:
    """A mean over cases.

    Attributes:
        value: Dice 0 to 1, HD95 in mm; None where no case has one.
        n: How many cases it is the mean of.
        low: Lower end of the interval of resampled cases, where one was computed.
        high: Its upper end.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SubsetMeans:
    """Means of one measure in one region.

    Attributes:
        mean: Over the subsets.
        by_size: Number of sequences -> mean over its subsets.
        by_subset: Subset -> mean.
        aurc: Area under the curve of `by_size`; None for other measures than Dice, and unless every subset is there.
    """

    mean: Number
    by_size: Mapping[int, Number]
    by_subset: Mapping[str, Number]
    aurc: Number | None = None


@dataclass(frozen=True)
class FalseFindings:
    """What is segmented in cases whose reference lacks the region.

    Attributes:
        found: Segmentations that are not empty.
        of: All segmentations.
        ml: Mean volume of all of them.
    """

    found: int
    of: int
    ml: float


@dataclass(frozen=True)
class RunScores:
    """Scores of one run, averaged over its trainings case by case. `mean` beside the regions is their mean.

    Attributes:
        dice: Region or `mean` -> means.
        hd95: Region -> means.
        dice_with: As `dice`, over the cases whose reference has the region; only of `Aligned.divided` regions.
        hd95_with: As `hd95`, likewise.
        false: Region that some references lack -> what is found there.
        by_case: Region or `mean` -> case -> mean Dice over the subsets.
        trainings: Region or `mean` -> mean Dice of each training; empty for a run of one training.
    """

    dice: Mapping[str, SubsetMeans]
    hd95: Mapping[str, SubsetMeans]
    dice_with: Mapping[str, SubsetMeans]
    hd95_with: Mapping[str, SubsetMeans]
    false: Mapping[str, FalseFindings]
    by_case: Mapping[str, Mapping[str, float]]
    trainings: Mapping[str, tuple[Number, ...]]


@dataclass(frozen=True)
class Counts:
    """How many are better than the baseline, equal to it, and worse."""

    better: int
    equal: int
    worse: int


@dataclass(frozen=True)
class PairedTest:
    """One run against the baseline in one region, or in the mean of the regions.

    Attributes:
        difference: Dice of the run minus Dice of the baseline.
        difference_with: The same over the cases whose reference has the region; None unless the region is divided.
        cases: Cases, by their mean over the subsets.
        cases_by_subset: Subset -> cases.
        subsets: Subsets, by their mean over the cases.
        p: Of the signed-rank test over cases.
        p_holm: Corrected for all tests of the comparison.
        p_smallest: The smallest that differences of these sizes can give.
    """

    difference: SubsetMeans
    difference_with: SubsetMeans | None
    cases: Counts
    cases_by_subset: Mapping[str, Counts]
    subsets: Counts
    p: float
    p_holm: float
    p_smallest: float


def pooled(trainings: Sequence[ScoreArrays]) -> ScoreArrays:
    """The mean over trainings, case by case."""
    return ScoreArrays(*(mean_known(np.stack(values)) for values in zip(*map(astuple, trainings), strict=True)))


def sizes_of(shared: Aligned) -> dict[int, list[int]]:
    """Number of sequences -> indices of its subsets."""
    lengths = [len(shared.task.subset(name)) for name in shared.subsets]
    return {size: [index for index, length in enumerate(lengths) if length == size] for size in sorted(set(lengths))}


def run_scores(shared: Aligned, name: str, scores: ScoreArrays, resampling: Resampling) -> RunScores:
    """Every table of one run.

    Args:
        shared: What is compared.
        name: The run.
        scores: Its mean over trainings.
        resampling: How intervals are made.
    """
    regions = shared.task.regions
    dice, hd95 = _by_region(shared, scores.dice), _by_region(shared, scores.hd95)
    there = {region: shared.with_reference(region) for region in regions}
    counts = resampling.draws(len(shared.cases))
    return RunScores(
        dice={region: _with_area(shared, _means(shared, values, counts)) for region, values in dice.items()},
        hd95={region: _means(shared, hd95[region]) for region in regions},
        dice_with={
            region: _with_area(shared, _means_with(shared, dice[region], there[region], resampling))
            for region in shared.divided
        },
        hd95_with={region: _means(shared, hd95[region][there[region]]) for region in shared.divided},
        false={
            region: _false_findings(shared, name, index, ~there[region])
            for index, region in enumerate(regions)
            if not there[region].all()
        },
        by_case={
            region: dict(zip(shared.cases, map(float, mean_known(values, axis=1)), strict=True))
            for region, values in dice.items()
        },
        trainings=_trainings(shared, name),
    )


def paired_tests(
    shared: Aligned, scores: Mapping[str, ScoreArrays], baseline: str, resampling: Resampling
) -> dict[str, dict[str, PairedTest]]:
    """Every other run against the baseline: run -> region or `mean` -> test. All tests are corrected together.

    Args:
        shared: What is compared.
        scores: Run -> its mean over trainings.
        baseline: One of the runs.
        resampling: How intervals are made.
    """
    first = _by_region(shared, scores[baseline].dice)
    differences = {
        (name, region): values - first[region]
        for name in scores
        if name != baseline
        for region, values in _by_region(shared, scores[name].dice).items()
    }
    ps = [signed_rank(mean_known(values, axis=1)) for values in differences.values()]
    tests: dict[str, dict[str, PairedTest]] = {name: {} for name, _ in differences}
    for ((name, region), values), p, corrected in zip(differences.items(), ps, holm(ps), strict=True):
        tests[name][region] = _test(shared, region, values, (p, corrected), resampling)
    return tests


def _test(
    shared: Aligned, region: str, difference: ByCase, ps: tuple[float, float], resampling: Resampling
) -> PairedTest:
    """One test, its p values as they are and corrected."""
    by_case = mean_known(difference, axis=1)
    divided, there = region in shared.divided, shared.with_reference(region)
    return PairedTest(
        difference=_means(shared, difference, resampling.draws(len(shared.cases))),
        difference_with=_means_with(shared, difference, there, resampling) if divided else None,
        cases=Counts(*wins(by_case)),
        cases_by_subset={subset: Counts(*wins(difference[:, index])) for index, subset in enumerate(shared.subsets)},
        subsets=Counts(*wins(mean_known(difference))),
        p=ps[0],
        p_holm=ps[1],
        p_smallest=signed_rank(np.abs(by_case)),  # the same sizes, all in one direction
    )


def _by_region(shared: Aligned, values: Float[np.ndarray, "case subset region"]) -> dict[str, ByCase]:
    """The values of each region, and their mean over the regions."""
    regions = {region: values[..., index] for index, region in enumerate(shared.task.regions)}
    return {**regions, MEAN: values.mean(axis=-1)}


def _means(shared: Aligned, values: ByCase, counts: Int[np.ndarray, "resample case"] | None = None) -> SubsetMeans:
    """Means over cases, then over the subsets.

    Args:
        shared: What is compared.
        values: Of each case and subset.
        counts: Resamples of the cases for the interval of the mean over the subsets; None makes no interval.
    """
    by_subset = mean_known(values)
    numbers = np.isfinite(values).sum(axis=0)
    total = int(np.isfinite(values).any(axis=1).sum())
    low, high = (None, None) if counts is None else interval(resampled_means(values, counts))
    return SubsetMeans(
        mean=Number(_known(mean_known(by_subset)), total, low, high),
        by_size={
            size: Number(_known(mean_known(by_subset[indices])), total) for size, indices in sizes_of(shared).items()
        },
        by_subset={
            subset: Number(_known(value), int(n))
            for subset, value, n in zip(shared.subsets, by_subset, numbers, strict=True)
        },
    )


def _means_with(
    shared: Aligned, values: ByCase, there: Bool[np.ndarray, " case"], resampling: Resampling
) -> SubsetMeans:
    """Means over some of the cases, with an interval of resamples of these."""
    return _means(shared, values[there], resampling.draws(int(there.sum())))


def _with_area(shared: Aligned, means: SubsetMeans) -> SubsetMeans:
    """The same with AURC, where every subset of the task is there."""
    if len(shared.subsets) < len(shared.task.subsets) or len(means.by_size) < 2:
        return means
    area = aurc([nan if number.value is None else number.value for number in means.by_size.values()])
    return replace(means, aurc=Number(_known(area), means.mean.n))


def _false_findings(shared: Aligned, name: str, index: int, empty: Bool[np.ndarray, " case"]) -> FalseFindings:
    """What all trainings of a run find in the cases without the region of this index."""
    volumes = np.concatenate([one.prediction_ml[empty][..., index].ravel() for one in shared.scores[name]])
    volumes = volumes[np.isfinite(volumes)]
    return FalseFindings(int((volumes > 0).sum()), len(volumes), float(volumes.mean()))


def _trainings(shared: Aligned, name: str) -> dict[str, tuple[Number, ...]]:
    """Mean Dice of each of several trainings."""
    trainings = [_by_region(shared, one.dice) for one in shared.scores[name]]
    if len(trainings) < 2:
        return {}
    return {
        region: tuple(Number(float(mean_known(mean_known(one[region]))), len(shared.cases)) for one in trainings)
        for region in trainings[0]
    }


def _known(value: float | np.ndarray) -> float | None:
    """None instead of NaN."""
    return None if isnan(value) else float(value)
