"""Which cases of a cohort need a look, and in which order.

First those that failed, then those with a caution, a doubt, a volume far from those of the others, another warning;
last those of which nothing is said. Of several that are alike the one with the most unusual volume comes first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import expm1, log1p
from statistics import median
from typing import Literal

from lacunet.cohort.cohort import Cohort, CohortCase

Reason = Literal["failed", "caution", "doubtful", "far", "warned"]
REASONS: tuple[Reason, ...] = ("failed", "caution", "doubtful", "far", "warned")
"""Why a case needs a look, the most urgent first."""

FAR = 3.5
"""A volume is far from the others beyond so many deviations (Iglewicz and Hoaglin, 1993)."""
LEAST_CASES = 10
"""With fewer nobody knows what is usual."""
_DEVIATION = 1.4826
"""The median distance from the median, times this, is the standard deviation of a normal distribution."""


@dataclass(frozen=True)
class Unusual:
    """The most unusual volume of a case.

    Attributes:
        region: Of which region.
        deviations: How far it is from the cohort's median, of log(1 + ml).
        median_ml: The cohort's median.
    """

    region: str
    deviations: float
    median_ml: float

    @property
    def far(self) -> bool:
        """Whether it is far from the others."""
        return self.deviations > FAR


@dataclass(frozen=True)
class Looked:
    """A case of a cohort, and why it needs a look.

    Attributes:
        case: The case.
        reasons: The most urgent first; nothing where nothing is said.
        unusual: None where it cannot be said.
    """

    case: CohortCase
    reasons: tuple[Reason, ...]
    unusual: Unusual | None


def in_order(cohort: Cohort) -> list[Looked]:
    """All cases, those that need a look most first."""
    usual = {region: _usual(volumes) for region, volumes in volumes_of(cohort).items()}
    looked = [_looked(case, usual) for case in cohort.cases]
    return sorted(looked, key=_urgency)


def volumes_of(cohort: Cohort) -> dict[str, list[float]]:
    """Millilitres of all cases that are done, by region."""
    results = [case.result for case in cohort.cases if case.result]
    return {
        region: [result.regions[region].volume_ml for result in results if region in result.regions]
        for region in cohort.regions
    }


def _usual(volumes: Sequence[float]) -> tuple[float, float]:
    """Median and deviation of log(1 + ml); a deviation of 0 where there is none, or too few cases."""
    if len(volumes) < LEAST_CASES:
        return 0.0, 0.0
    logs = [log1p(volume) for volume in volumes]
    middle = median(logs)
    return middle, _DEVIATION * median(abs(one - middle) for one in logs)


def _looked(case: CohortCase, usual: Mapping[str, tuple[float, float]]) -> Looked:
    result = case.result
    if result is None:
        return Looked(case, ("failed",), None)
    found = [_unusual(region, one.volume_ml, *usual[region]) for region, one in result.regions.items()]
    unusual = max((one for one in found if one), key=lambda one: one.deviations, default=None)
    said = len(result.cautions) + len(result.doubts)
    holds: dict[Reason, bool] = {
        "failed": bool(case.failure),
        "caution": bool(result.cautions),
        "doubtful": bool(result.doubts),
        "far": unusual is not None and unusual.far,
        "warned": len(result.warnings) > said,
    }
    return Looked(case, tuple(reason for reason in REASONS if holds[reason]), unusual)


def _unusual(region: str, volume: float, middle: float, deviation: float) -> Unusual | None:
    if deviation == 0:
        return None
    return Unusual(region, abs(log1p(volume) - middle) / deviation, expm1(middle))


def _urgency(looked: Looked) -> tuple[int, bool, float, str]:
    """Of cases that failed, those without an earlier result come first."""
    first = REASONS.index(looked.reasons[0]) if looked.reasons else len(REASONS)
    deviations = looked.unusual.deviations if looked.unusual else 0.0
    return first, looked.case.result is not None, -deviations, looked.case.name
