"""Ranges with a stated coverage from few cases, for one more case (conformal) or a mean (bootstrap). No torch here.

What they assume and what they cannot promise: docs/calibration.md.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor, hypot, pi

import numpy as np
from jaxtyping import Float, Int

Span = tuple[float, float]
"""The lower and the upper end."""

RESAMPLES = 10_000


def ranks(number: int, coverage: float) -> tuple[int, int] | None:
    """The ranks of the two sorted values, counted from 1, that enclose one more value; None if the values are too few.

    Each side may miss half of what is not covered: the upper rank is ceil((n + 1)(1 - a / 2)) with a = 1 - coverage,
    the lower one is n + 1 - upper (Vovk et al. 2005; Romano et al. 2019 for the two sides). If the n values and the new
    one are exchangeable, the new one lies between them with a probability of at least `coverage`, for any distribution;
    without ties the probability is (upper - lower) / (n + 1).

    Raises:
        ValueError: `coverage` is not between 0 and 1.
    """
    share = Fraction(coverage).limit_denominator(10_000)  # 0.8 is 4/5: rounding of a float must not move a rank
    if not 0 < share < 1:
        raise ValueError(f"coverage is a share between 0 and 1, not {coverage}")
    upper = ceil((number + 1) * (1 + share) / 2)
    return (number + 1 - upper, upper) if upper <= number else None


def fewest(coverage: float) -> int:
    """How many values are needed to enclose one more with this coverage: 9 for 80 %, 39 for 95 %."""
    number = 1
    while ranks(number, coverage) is None:
        number += 1
    return number


def enclosing(values: Sequence[float], coverage: float) -> Span | None:
    """The two of the values between which one more lies with this coverage (`ranks`), or None if they are too few."""
    found = ranks(len(values), coverage)
    if found is None:
        return None
    lower, upper = found
    ordered = sorted(values)
    return ordered[lower - 1], ordered[upper - 1]


def least_usual(values: Sequence[float], share: float) -> float | None:
    """The value below which one more lies with a probability of at most `share`, or None if the values are too few.

    It is the floor((n + 1) share)-th smallest; exchangeability is all that is assumed, as in `ranks`.

    Raises:
        ValueError: `share` is not between 0 and 1.
    """
    exact = Fraction(share).limit_denominator(10_000)
    if not 0 < exact < 1:
        raise ValueError(f"a share is between 0 and 1, not {share}")
    rank = floor((len(values) + 1) * exact)
    return sorted(values)[rank - 1] if rank >= 1 else None


def mean_range(values: Sequence[float], persons: Sequence[str], coverage: float, seed: int) -> Span | None:
    """The range of the mean over cases of such persons, with this coverage; None if the persons are too few.

    Bootstrap-t (Efron and Tibshirani 1993, section 12.5): persons are drawn again, with all their cases. The distance
    of each drawn mean, in its own standard errors, gives the distance that the true mean may have on each side. With
    few persons and skewed values this keeps its coverage, which percentiles of the drawn means do not
    (docs/calibration.md). The range stays within the values. Too few means the same as for `enclosing`.

    Args:
        values: One per case.
        persons: The person of each case.
        coverage: How often the range holds the mean; both sides miss equally often.
        seed: The draws depend on it and on the number of persons alone.
    """
    names, indices = np.unique(np.asarray(persons), return_inverse=True)
    if ranks(len(names), coverage) is None:
        return None
    sums, cases = np.bincount(indices, weights=np.asarray(values, dtype=float)), np.bincount(indices)
    mean, error = mean_and_error(np.ones((1, len(names))), sums, cases)
    drawn, errors = mean_and_error(draws(len(names), seed, RESAMPLES), sums, cases)
    off = drawn - mean
    in_errors = np.divide(off, errors, out=np.copysign(np.inf, off), where=errors > 0)
    in_errors[np.abs(off) < 1e-12] = 0.0
    low, high = np.quantile(in_errors, [(1 - coverage) / 2, (1 + coverage) / 2], method="nearest")
    ends = np.nan_to_num(mean - np.array([high, low]) * error, nan=float(mean[0]))
    least, most = np.clip(ends, min(values), max(values))
    return float(least), float(most)


def mean_and_error(
    counts: Float[np.ndarray, "resample person"] | Int[np.ndarray, "resample person"],
    sums: Float[np.ndarray, " person"],
    cases: Int[np.ndarray, " person"],
) -> tuple[Float[np.ndarray, " resample"], Float[np.ndarray, " resample"]]:
    """The mean over cases, and its standard error between persons, for each resample.

    Args:
        counts: How often each person is in the resample; rows add up to the number of persons.
        sums: Sum of each person's values.
        cases: Number of each person's values.
    """
    number = counts @ cases
    means = counts @ sums / number
    squares = counts @ sums**2 - 2 * means * (counts @ (sums * cases)) + means**2 * (counts @ cases**2)
    persons = len(sums)
    return means, np.sqrt(squares.clip(0.0) * persons / (persons - 1)) / number


@lru_cache(maxsize=4)
def draws(number: int, seed: int, resamples: int) -> Int[np.ndarray, "resample member"]:
    """How often each of `number` members is in each resample, drawn with replacement; rows add up to `number`.

    The result is cached, because many means have the same members, and cannot be written to.
    """
    counts = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)
    counts.setflags(write=False)
    return counts


def middle(values: Float[np.ndarray, " resample"], coverage: float) -> Span:
    """The range that holds this share of the values, half of the others on each side (percentile bootstrap)."""
    low, high = np.quantile(values, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)


def radius_mm(volume_ml: float) -> float:
    """Radius of the ball of this volume: the scale in which volumes are compared.

    A border that is wrong by one millimetre everywhere changes the radius by about one millimetre, in small and large
    tumours. An absent region has radius 0.
    """
    return float((3000 * volume_ml / (4 * pi)) ** (1 / 3))


def ball_ml(radius: float) -> float:
    """Volume of the ball of this radius in mm: the inverse of `radius_mm`; 0 for a radius below 0."""
    return 4 * pi * max(0.0, radius) ** 3 / 3000


def volume_span(volume_ml: float, offsets: Span) -> Span:
    """The range of a volume from offsets of its radius: how many mm the true radius may differ, down and up."""
    low, high = offsets
    radius = radius_mm(volume_ml)
    return ball_ml(radius + low), ball_ml(radius + high)


def difference_span(first: float, first_span: Span, second: float, second_span: Span) -> Span:
    """The range of `second` minus `first` from the range of each, with their coverage.

    Distances to the ends are added as squares (Zou and Donner 2008, Stat Med 27:1693, MOVER). This takes the errors for
    independent: where both have a part in common, they cancel in the difference, and the range is wider than needed.

    Args:
        first: A measurement.
        first_span: Its range, which holds it.
        second: Another measurement.
        second_span: Its range, which holds it.
    """
    down = hypot(second - second_span[0], first_span[1] - first)
    up = hypot(second_span[1] - second, first - first_span[0])
    return second - first - down, second - first + up


def correlation_that_shows(first: float, first_span: Span, second: float, second_span: Span) -> float | None:
    """How much the errors of two measurements must have in common for the range of their difference to leave out 0.

    The range of `difference_span`, for errors with a correlation: twice the correlation times the product of the two
    distances is taken from the sum of squares (Zou and Donner 2008).

    Returns:
        The least correlation, from 0 (independent errors show it already) to 1; None where none is enough.
    """
    change = abs(second - first)
    if second > first:
        one, other = second - second_span[0], first_span[1] - first
    else:
        one, other = second_span[1] - second, first - first_span[0]
    if change > hypot(one, other):
        return 0.0
    if change <= abs(one - other) or one * other == 0:
        return None
    return (one**2 + other**2 - change**2) / (2 * one * other)
