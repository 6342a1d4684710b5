"""What is known of a case that is done, as far as the table and the page of a cohort show it: read from `case.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lacunet.description.shape import Side
from lacunet.segmentation.layout import Places
from lacunet.segmentation.provenance import MODEL
from lacunet.segmentation.record import CaseRecord, read_record
from lacunet.task import Evidence

_ADVICE = "segment the case again with --overwrite"


@dataclass(frozen=True)
class RegionResult:
    """What is known of one region of one case; None where it is not.

    Attributes:
        volume_ml: Predicted.
        volume_range_ml: Where an annotator's volume is expected.
        evidence: Whether the sequences in use can show it.
        expected_dice: Mean of such cases.
        dice_range: Where the Dice of one more case is expected.
        dice: Measured with the case's reference.
        foci: Pieces of at least 0.1 ml.
        side: Of the midline.
        midline_mm: From the midline.
        longest_mm: Of the largest focus.
        across_mm: Of the largest focus, at right angles to the longest.
    """

    volume_ml: float
    evidence: Evidence | None = None
    volume_range_ml: tuple[float, float] | None = None
    expected_dice: float | None = None
    dice_range: tuple[float, float] | None = None
    dice: float | None = None
    foci: int | None = None
    side: Side | None = None
    midline_mm: float | None = None
    longest_mm: float | None = None
    across_mm: float | None = None


@dataclass(frozen=True)
class Result:
    """What `case.json` says of a case, as far as a table shows it.

    Attributes:
        subset: The sequences in use: `t1c+t2f`.
        acquired: The sequences there are.
        regions: By name, in the task's order.
        coverage: Of the ranges, 0 to 1; None without any.
        cautions: Kinds.
        doubts: Kinds.
        warnings: All sentences, those of cautions and doubts first.
        mask: The mask's file.
        mask_sha256: Of this file; "" where it was not noted.
        model: Its name.
        weights_sha256: Of its weights.
        written: When.
        seconds: How long it took.
        page: The case's page; None where it is not there.
    """

    subset: str
    acquired: str
    regions: Mapping[str, RegionResult]
    coverage: float | None
    cautions: tuple[str, ...]
    doubts: tuple[str, ...]
    warnings: tuple[str, ...]
    mask: Path
    mask_sha256: str
    model: str
    weights_sha256: str
    written: datetime
    seconds: float
    page: Path | None


def result_of(at: Places) -> tuple[str, Result]:
    """The name of a case that is done, and what its record says.

    Raises:
        DataError: the record is damaged, or another version of lacunet wrote it.
    """
    record = read_record(at.record, _ADVICE)
    ranges = record.calibration
    return record.case, Result(
        subset=record.subset,
        acquired=record.acquired,
        regions={region: _region(record, region) for region in record.volumes_ml},
        coverage=ranges.coverage if ranges else None,
        cautions=tuple(one.kind for one in record.cautions),
        doubts=tuple(one.kind for one in record.doubts),
        warnings=record.warnings,
        mask=at.mask,
        mask_sha256=record.masks_sha256.get(at.mask.name, ""),
        model=record.provenance.get(MODEL, ""),
        weights_sha256=record.weights,
        written=record.written,
        seconds=record.seconds,
        page=at.page if at.page.is_file() else None,
    )


def _region(record: CaseRecord, region: str) -> RegionResult:
    ranges, shape = record.calibration, record.measures.get(region)
    largest = shape.foci[0] if shape and shape.foci else None
    return RegionResult(
        volume_ml=record.volumes_ml[region],
        evidence=record.evidence.get(region),
        volume_range_ml=(ranges.volume_ranges_ml or {}).get(region) if ranges else None,
        expected_dice=record.expected_dice.get(region),
        dice_range=(ranges.dice_ranges or {}).get(region) if ranges else None,
        dice=record.dice.get(region),
        foci=len(shape.foci) if shape else 0,
        side=shape.side if shape else None,
        midline_mm=shape.midline_mm if shape else None,
        longest_mm=largest.longest_mm if largest else None,
        across_mm=largest.across_mm if largest else None,
    )
