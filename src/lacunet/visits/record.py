"""What `change.json` holds: the change between two visits, for programs. docs/change.schema.json is its JSON Schema."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from lacunet.intake.align.quality import Verdict as Judged
from lacunet.schema import Strict
from lacunet.segmentation.record import Amount, Hash, Modality, Moment, Region, Share
from lacunet.stats.intervals import Span
from lacunet.task import Evidence, Task
from lacunet.visits.findings import Findings
from lacunet.visits.numbers import Comparison, Measured, ProductChange, RegionChange, Verdict
from lacunet.visits.placed import Laid

FORMAT: Literal[1] = 1
"""Grows when a key changes its meaning or goes; new keys may come without it."""

Row = tuple[float, float, float, float]


class _Part(Strict):
    """A part of the record; the words under each key are in the schema."""

    model_config = ConfigDict(use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)


class VisitRecord(_Part):
    """One visit."""

    case: str
    subset: Annotated[str, Field(description="the sequences that its mask comes from: `t1c+t2f`")]
    doubtful: bool
    """Its page begins with a doubt."""


class ProductRecord(_Part):
    """The product of the largest diameters in one slice (RANO), of the focus in which it is largest."""

    earlier_mm2: Amount
    later_mm2: Amount
    percent: float
    rano_threshold: Literal["+25 %", "-50 %"] | None
    """The threshold of RANO that the change reaches: a number, not a response of the patient."""


class RegionRecord(_Part):
    """The change of one region."""

    earlier_ml: Amount
    later_ml: Amount
    ml: float
    """Later minus earlier."""
    percent: float | None
    """Of the earlier volume; null where that is 0."""
    range_ml: tuple[float, float] | None
    """Of the change; null where the error of either volume is not known."""
    range_percent: tuple[float, float] | None
    """`range_ml` over the earlier volume, not below -100."""
    verdict: Verdict
    """`larger` or `smaller`: by more than the error of measurement."""
    needed_correlation: Share | None
    """How much the errors of the two visits must have in common (0: nothing, 1: all) for the change to be more than the
    error; null where that would not be enough."""
    why_not_known: str
    evidence: Evidence
    """The weaker one of both visits."""
    product: ProductRecord | None


class ComparisonRecord(_Part):
    """Two measurements."""

    earlier_subset: str
    later_subset: str
    coverage: Share | None
    """Of the range of each volume. Ranges of the change hold it if the errors of the two visits are independent."""
    regions: Mapping[Region, RegionRecord]


class RegistrationRecord(_Part):
    """How the later visit was laid on the earlier one."""

    earlier: Modality
    later: Modality
    to_earlier: tuple[Row, Row, Row, Row]
    """Rows of a matrix: (x, y, z, 1) in mm of the later visit -> mm of the earlier one, both RAS+."""
    moved_mm: Amount
    """How far it moves the brain, on average."""
    likeness: float
    """Of edges (docs/import.md)."""
    verdict: Judged


class TissueRecord(_Part):
    """A region of both visits on the grid of the earlier one; the later mask was resampled."""

    new_ml: Amount
    gone_ml: Amount
    kept_ml: Amount
    dice: Share


class ChangeRecord(_Part):
    """The change between two visits of one person. This file is written last."""

    format: Literal[1] = FORMAT
    """Of this file."""
    written: Moment
    """ISO 8601, UTC."""
    earlier: VisitRecord
    later: VisitRecord
    days: int | None
    """Between the visits; null where it is not known."""
    verdict: str
    """In a sentence; it rests on `same_sequences`."""
    same_sequences: ComparisonRecord | None
    """Both visits from the sequences that both masks come from; null where there is none."""
    everything: ComparisonRecord
    """The masks as they are, each from the sequences of its visit."""
    tissue: Mapping[Region, TissueRecord]
    """Of the masks on which the verdict rests."""
    registration: RegistrationRecord
    masks: tuple[str, ...]
    """Names of the files beside this one."""
    masks_sha256: Mapping[Annotated[str, Field(description="name of the file")], Hash] = {}
    """Of each mask as it was written: another hash says that it was changed since."""
    label_convention: str
    """What the integers of the masks mean."""
    warnings: tuple[str, ...]
    """Sentences that a reader must not miss."""
    provenance: Mapping[str, str]
    """As on the page."""


def record_of_change(found: Findings, masks: Mapping[str, str]) -> ChangeRecord:
    """A change for programs, with as many digits as mean something.

    Args:
        found: Of the two visits.
        masks: The files beside the record: name -> SHA-256.
    """
    pair, task, everything = found.pair, found.task, found.everything
    return ChangeRecord(
        written=datetime.now(UTC),
        earlier=_visit(pair.earlier.record.case, everything.earlier, task),
        later=_visit(pair.later.record.case, everything.later, task),
        days=pair.days,
        verdict=found.verdict,
        same_sequences=_comparison(found.common, task) if found.common else None,
        everything=_comparison(everything, task),
        tissue={
            region: TissueRecord(
                new_ml=round(one.new_ml, 3),
                gone_ml=round(one.gone_ml, 3),
                kept_ml=round(one.kept_ml, 3),
                dice=round(one.dice, 4),
            )
            for region, one in found.tissue.items()
        },
        registration=_registration(found.laid),
        masks=tuple(masks),
        masks_sha256=masks,
        label_convention=pair.earlier.record.label_convention,
        warnings=tuple(found.warnings),
        provenance=found.provenance,
    )


def _visit(case: str, measured: Measured, task: Task) -> VisitRecord:
    return VisitRecord(case=case, subset=task.subset_name(measured.subset), doubtful=measured.doubtful)


def _comparison(one: Comparison, task: Task) -> ComparisonRecord:
    return ComparisonRecord(
        earlier_subset=task.subset_name(one.earlier.subset),
        later_subset=task.subset_name(one.later.subset),
        coverage=one.coverage,
        regions={region: _region(change) for region, change in one.regions.items()},
    )


def _region(change: RegionChange) -> RegionRecord:
    return RegionRecord(
        earlier_ml=round(change.earlier, 3),
        later_ml=round(change.later, 3),
        ml=round(change.ml, 3),
        percent=None if change.percent is None else round(change.percent, 1),
        range_ml=_rounded(change.span, 3),
        range_percent=_rounded(change.percent_span, 1),
        verdict=change.verdict,
        needed_correlation=None if change.correlation is None else round(change.correlation, 3),
        why_not_known=change.why,
        evidence=change.evidence,
        product=_product(change.product) if change.product else None,
    )


def _product(product: ProductChange) -> ProductRecord:
    return ProductRecord(
        earlier_mm2=round(product.earlier, 1),
        later_mm2=round(product.later, 1),
        percent=round(product.percent, 1),
        rano_threshold=product.threshold,
    )


def _registration(laid: Laid) -> RegistrationRecord:
    one, two, three, four = ((row[0], row[1], row[2], row[3]) for row in laid.to_earlier.to_json())
    return RegistrationRecord(
        earlier=laid.by[0],
        later=laid.by[1],
        to_earlier=(one, two, three, four),
        moved_mm=round(laid.moved_mm, 2),
        likeness=round(laid.judgement.value, 4),
        verdict=laid.judgement.verdict,
    )


def _rounded(span: Span | None, digits: int) -> Span | None:
    return None if span is None else (round(span[0], digits), round(span[1], digits))
