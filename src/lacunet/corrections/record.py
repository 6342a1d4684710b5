"""What `lacunet measure` writes: a mask's measures for programs. docs/measures.schema.json is its JSON Schema."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from lacunet.corrections.labels import From
from lacunet.description.vasari import Feature
from lacunet.segmentation.record import Amount, Hash, Moment, Part, Region, SentenceRecord, ShapeRecord, Share
from lacunet.task import Evidence

FORMAT: Literal[1] = 1
"""Grows when a key changes its meaning or goes; new keys may come without it."""


class RegionChange(Part):
    """A region of the mask, compared with the model's."""

    model_ml: Amount
    change_ml: float
    """How much larger it is now."""
    dice: Share | None
    """Of the two; null where both are empty."""


class Change(Part):
    """The mask, compared with the one that the model made."""

    mask: str
    """Name of the model's mask: the one of the case whose grid this mask has."""
    mask_sha256: Hash
    as_written: bool | None
    """Whether it still is as lacunet wrote it; null where `case.json` does not say its hash."""
    corrected: bool
    """Whether any voxel has another label now."""
    voxels: Annotated[int, Field(ge=0)]
    """Of which that is so."""
    regions: Mapping[Region, RegionChange]


class MeasuresRecord(Part):
    """All that is measured of a mask."""

    format: Literal[1] = FORMAT
    """Of this file."""
    case: str | None
    """The case that the mask belongs to; null where none was given."""
    written: Moment
    """ISO 8601, UTC."""
    mask_sha256: Hash
    label_convention: str | None
    """What the integers of the mask mean; null where its segments have names."""
    labels_from: From
    """What decided it: `option` (--labels), `segments` (their names), `case` (its record), `values` (of the mask)."""
    voxel_mm: tuple[float, float, float]
    cautions: tuple[SentenceRecord, ...]
    """Of the case: what must be said before any volume."""
    volumes_ml: Mapping[Region, Amount]
    measures: Mapping[Region, ShapeRecord]
    """Of regions that are not empty."""
    vasari: tuple[Feature, ...]
    """Computed from the mask; empty where it is, and for other tasks than gliomas."""
    place_from: Literal["case", "scans"] | None
    """Where it is known from how the brain lies; null where it is not, and neither side nor lobes are stated."""
    evidence: Mapping[Region, Evidence]
    """Of the case, as the model saw it: `inferred` where no sequence in use can show it."""
    change: Change | None
    """Null where no mask of the model is known that lies on the same grid."""
    warnings: tuple[str, ...]
    """Sentences that a reader must not miss."""
