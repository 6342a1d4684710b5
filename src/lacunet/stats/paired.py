"""Two methods on the same cases: how far apart are they, and is it more than luck? No torch here.

Tests are Wilcoxon's signed-rank test over cases with Holm's correction, intervals are percentiles of resampled cases.
What they can tell from few cases, and what they cannot: docs/compare.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import wilcoxon

from lacunet.stats.intervals import RESAMPLES, Span, draws, middle

TIE = 0.005
"""Dice that differ by less are called equal: half of the last of two digits."""
INTERVAL_COVERAGE = 0.95


def signed_rank(differences: Float[np.ndarray, " case"]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that differences lie around zero.

    Cases without a difference are left out, as Wilcoxon did; where none is left, p is 1. Up to 50 cases without equal
    differences p is exact, as it is with equal ones up to 13 (scipy's choice); beyond, the normal approximation.
    """
    kept = differing(differences)
    return float(wilcoxon(kept).pvalue) if len(kept) else 1.0


def differing(differences: Float[np.ndarray, " case"]) -> Float[np.ndarray, " different"]:
    """The differences that are any; those of the same numbers may miss zero by rounding alone."""
    kept: np.ndarray = differences[np.abs(differences) > 1e-12]
    return kept


def smallest_p(cases: int) -> float:
    """The least two-sided p that `signed_rank` gives with so many cases: all differ in one direction, no two alike.

    Up to 50 cases this is 2 x 0.5^cases; beyond, what the normal approximation makes of it, which is far larger.
    """
    return signed_rank(np.arange(1.0, cases + 1))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p values, in their order (Holm 1979).

    Below `level` are exactly the tests that the procedure rejects at that level: the chance of any false one is no
    larger, however the tests depend on each other.
    """
    corrected = [1.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = largest
    return corrected


def wins(differences: Float[np.ndarray, " case"]) -> tuple[int, int, int]:
    """How many differences are above, within and below the tie, NaN not counted."""
    better, worse = int(np.sum(differences >= TIE)), int(np.sum(differences <= -TIE))
    return better, int(np.sum(np.isfinite(differences))) - better - worse, worse


@dataclass(frozen=True)
class Resampling:
    """Which resamples of the cases intervals rest on.

    Attributes:
        resamples: How many.
        seed: All that the draws depend on, beside the number of cases.
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

    A case without a score of a subset (NaN) is left out there, and a subset of which no case was drawn likewise.
    """
    there = np.isfinite(scores)
    sums, numbers = counts @ np.where(there, scores, 0.0), counts @ there.astype(float)
    by_subset = np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)
    return mean_known(by_subset, axis=1)


def interval(values: Float[np.ndarray, " resample"]) -> Span:
    """The middle `INTERVAL_COVERAGE` of resampled means (percentile bootstrap)."""
    return middle(values, INTERVAL_COVERAGE)


def mean_known(values: Float[np.ndarray, "*shape"], axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """The mean of what is there (not NaN) along axes; NaN where nothing is."""
    there = np.isfinite(values)
    sums, numbers = np.where(there, values, 0.0).sum(axis=axis), there.sum(axis=axis)
    means: np.ndarray = np.divide(sums, numbers, out=np.full(np.shape(sums), np.nan), where=numbers > 0)
    return means
