"""The change of each region in numbers, and whether it is more than the error of measurement (docs/visits.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lacunet.stats.intervals import Span, correlation_that_shows, difference_span
from lacunet.task import Evidence, Subset, Task

Verdict = Literal["larger", "smaller", "no change shown", "not known"]

RANO_PROGRESSION = 25.0
"""RANO calls an increase of the product of diameters by so many percent progression."""
RANO_RESPONSE = -50.0
"""RANO calls a decrease by so many percent partial response."""


@dataclass(frozen=True)
class Measured:
    """What one visit's mask from some sequences measures.

    Attributes:
        subset: The sequences.
        volumes: In ml by region.
        ranges: Where an annotator's volume is expected, in ml by region; None where it is not known.
        coverage: Of the ranges; None without a calibration.
        products: Of the two largest diameters, mm2 by region; regions without a focus are left out.
        evidence: Whether these sequences can show a region.
        doubtful: Whether there is a doubt of the mask.
        changed: Whether the mask was changed after it was segmented, so that no range holds for it.
    """

    subset: Subset
    volumes: Mapping[str, float]
    ranges: Mapping[str, Span | None] = field(default_factory=dict)
    coverage: float | None = None
    products: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    doubtful: bool = False
    changed: bool = False


@dataclass(frozen=True)
class ProductChange:
    """The change of the product of the two largest diameters (RANO).

    Attributes:
        earlier: mm2.
        later: mm2.
    """

    earlier: float
    later: float

    @property
    def percent(self) -> float:
        """Of the earlier one."""
        return 100.0 * (self.later - self.earlier) / self.earlier

    @property
    def threshold(self) -> Literal["+25 %", "-50 %"] | None:
        """The threshold of RANO that the change reaches; None between the two."""
        return "+25 %" if self.percent >= RANO_PROGRESSION else "-50 %" if self.percent <= RANO_RESPONSE else None


@dataclass(frozen=True)
class RegionChange:
    """The change of one region.

    Attributes:
        earlier: ml.
        later: ml.
        span: The range of the change, in ml; None where the error of either volume is not known.
        verdict: Whether the change is more than the error.
        why: Why that is not known; "" where it is.
        evidence: The weaker one of both visits.
        product: The change of the product of diameters; None where either visit has no focus.
        correlation: What the errors of the two visits must have in common, from 0 to 1, for the change to be more than
            the error; None where that would not be enough, or the error is not known.
    """

    earlier: float
    later: float
    span: Span | None
    verdict: Verdict
    why: str
    evidence: Evidence
    product: ProductChange | None
    correlation: float | None

    @property
    def ml(self) -> float:
        """Later minus earlier."""
        return self.later - self.earlier

    @property
    def percent(self) -> float | None:
        """Of the earlier volume; None where that is 0."""
        return 100.0 * self.ml / self.earlier if self.earlier > 0 else None

    @property
    def percent_span(self) -> Span | None:
        """The range in percent of the earlier volume as it was found, from -100 up."""
        if self.span is None or self.earlier == 0:
            return None
        low, high = (max(-100.0, 100.0 * end / self.earlier) for end in self.span)
        return low, high


@dataclass(frozen=True)
class Comparison:
    """Two visits, each measured from some sequences.

    Attributes:
        earlier: The first measurement.
        later: The second.
        regions: By region, in the task's order.
    """

    earlier: Measured
    later: Measured
    regions: Mapping[str, RegionChange]

    @property
    def equal(self) -> bool:
        """Whether both are from the same sequences."""
        return self.earlier.subset == self.later.subset

    @property
    def coverage(self) -> float | None:
        """Of the ranges of both; None where either has none."""
        return self.later.coverage if self.earlier.coverage == self.later.coverage else None


def compare(earlier: Measured, later: Measured, task: Task) -> Comparison:
    """The change of each region from one measurement to another."""
    return Comparison(earlier, later, {region: _change(region, earlier, later, task) for region in task.regions})


def _change(region: str, earlier: Measured, later: Measured, task: Task) -> RegionChange:
    first, second = earlier.volumes[region], later.volumes[region]
    ranges = earlier.ranges.get(region), later.ranges.get(region)
    span = correlation = None
    if ranges[0] and ranges[1]:
        span = difference_span(first, ranges[0], second, ranges[1])
        correlation = correlation_that_shows(first, ranges[0], second, ranges[1])
    why = _why_not_known(region, earlier, later, span, task)
    product = None
    if region in earlier.products and region in later.products:
        product = ProductChange(earlier.products[region], later.products[region])
    verdict = "not known" if why or span is None else _beyond(span)
    return RegionChange(first, second, span, verdict, why, _weaker(region, earlier, later), product, correlation)


def _weaker(region: str, earlier: Measured, later: Measured) -> Evidence:
    order: tuple[Evidence, ...] = ("seen", "partly inferred", "inferred")
    return max((one.evidence.get(region, "seen") for one in (earlier, later)), key=order.index)


def _beyond(span: Span) -> Verdict:
    return "larger" if span[0] > 0 else "smaller" if span[1] < 0 else "no change shown"


def _why_not_known(region: str, earlier: Measured, later: Measured, span: Span | None, task: Task) -> str:
    for visit, one in (("earlier", earlier), ("later", later)):
        if one.evidence.get(region) == "inferred":
            shown = " or ".join(task.titles[modality] for modality in task.shown_by[region])
            return f"inferred, not seen: of the sequences used none is {shown}"
        if span is None and one.changed:
            return f"the mask of the {visit} visit was changed after it was segmented, so its error is not known"
        if span is None and one.doubtful:
            return f"the mask of the {visit} visit is doubtful, so its error is not known"
    if span is None:
        return "the error of the volumes from these sequences is not known (docs/calibration.md)"
    return ""
