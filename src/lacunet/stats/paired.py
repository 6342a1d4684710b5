"""Two methods on the same cases: how much they differ, and whether that can be chance. No torch here.

Tests are Wilcoxon's signed-rank test over cases with Holm's correction, intervals are percentiles of resampled cases.
What they can show with few cases, and what they cannot: docs/compare.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import wilcoxon

from lacunet.stats.intervals import RESAMPLES, Span, draws, middle

TIE = 0.005
"""Dice scores that differ by less are called equal: half of the second digit."""
INTERVAL_COVERAGE = 0.95


def signed_rank(differences: Float[np.ndarray, " case"]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that differences lie around zero.

    Cases without a difference are left out, as Wilcoxon did; where none is left, p is 1. p is exact up to 50 cases if
    no two differences are equal, else up to 13 cases (scipy's choice). Beyond, it is the normal approximation.
    """
    kept = differing(differences)
    return float(wilcoxon(kept).pvalue) if len(kept) else 1.0


def differing(differences: Float[np.ndarray, " case"]) -> Float[np.ndarray, " different"]:
    """The differences that are not zero; what is below rounding counts as zero."""
    kept: np.ndarray = differences[np.abs(differences) > 1e-12]
    return kept


def smallest_p(cases: int) -> float:
    """The smallest two-sided p of `signed_rank` with so many cases: all differ in one direction, no two are equal.

    Up to 50 cases this is 2 x 0.5^cases; beyond, it is that of the normal approximation, which is far larger.
    """
    return signed_rank(np.arange(1.0, cases + 1))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p values, in their order (Holm 1979).

    The procedure rejects at a level exactly the tests whose corrected p is not above it. The probability of any false
    rejection is then at most that level, however the tests depend on each other.
    """
    corrected = [1.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = largest
    return corrected


def wins(differences: Float[np.ndarray, " case"]) -> tuple[int, int, int]:
    """How many differences are better, equal (less than `TIE`) and worse; NaN is not counted."""
    better, worse = int(np.sum(differences >= TIE)), int(np.sum(differences <= -TIE))
    return better, int(np.sum(np.isfinite(differences))) - better - worse, worse


@dataclass(frozen=True)
class Resampling:
    """The resamples of the cases from which intervals are made.

    Attributes:
        resamples: How many.
        seed: The draws depend on it and on the number of cases alone.
    """

    resamples: int = RESAMPLES
    seed: int = 1

    def draws(self, cases: int) -> Int[np.ndarray, "resample case"]:
        """How often each case is in each resample, drawn with replacement; rows add up to `cases`."""
        return draws(cases, self.seed, self.resamples)


def resampled_means(
    scores: Float[np.ndarray, "case subset"], counts: Int[np.ndarray, "resample case"]
) -> Float[np.ndarray, " resample"]:
    """The mean over cases, then over subsets, in each resample.

    A case without a score of a subset (NaN) is left out of that subset; a subset without a drawn case is left out.
    """
    there = np.isfinite(scores)
    sums, numbers = counts @ np.where(there, scores, 0.0), counts @ there.astype(float)
    by_subset = np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)
    return mean_known(by_subset, axis=1)


def interval(values: Float[np.ndarray, " resample"]) -> Span:
    """The middle `INTERVAL_COVERAGE` of resampled means (percentile bootstrap)."""
    return middle(values, INTERVAL_COVERAGE)


def mean_known(values: Float[np.ndarray, "*shape"], axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """The mean of the values that are not NaN along axes; NaN where all are."""
    there = np.isfinite(values)
    sums, numbers = np.where(there, values, 0.0).sum(axis=axis), there.sum(axis=axis)
    means: np.ndarray = np.divide(sums, numbers, out=np.full(np.shape(sums), np.nan), where=numbers > 0)
    return means
