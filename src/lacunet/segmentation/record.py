"""What `case.json` holds: the answer for programs. docs/case.schema.json is its JSON Schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import AwareDatetime, ConfigDict, Field, PlainSerializer, ValidationError, WithJsonSchema

from lacunet.data.midplane import Plane
from lacunet.description.lobes import Lobe
from lacunet.description.pose import Laid, Pose
from lacunet.description.shape import Focus, Shape, Side
from lacunet.description.vasari import Feature
from lacunet.errors import DataError
from lacunet.intake.found import CautionKind
from lacunet.models.calibration import Gain
from lacunet.reading import read_text
from lacunet.schema import Strict, first_problem
from lacunet.segmentation.doubts import Kind
from lacunet.segmentation.layout import RECORD
from lacunet.segmentation.provenance import EVENED, MIRRORED, WEIGHTS
from lacunet.task import Evidence

FORMAT: Literal[1] = 1
"""Grows when a key changes its meaning or goes; new keys may come without it."""

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Point = Annotated[tuple[float, float, float], Field(description="mm (RAS+: right, front and top are positive)")]
Row = tuple[float, float, float, float]
Hash = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$", description="SHA-256; empty where it could not be read")]
Region = Annotated[str, Field(description="as the task names it: `wt`, `tc`, `et` ...")]
Modality = Annotated[str, Field(description="as the task names it: `t1n`, `t1c`, `t2w`, `t2f` ...")]
Moment = Annotated[
    AwareDatetime,
    PlainSerializer(lambda moment: moment.isoformat(timespec="seconds"), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Part(Strict):
    """A part of a record; the words under each key are in the schema."""

    model_config = ConfigDict(use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)


class FocusRecord(Part):
    """A connected piece of a mask of at least 0.1 ml; voxels that share a corner are connected."""

    ml: Amount
    centre_mm: Point
    longest_mm: Amount
    """In one slice: the longest line between two points of the outline."""
    across_mm: Amount
    """In that slice: the longest line at right angles to it."""
    product_mm2: Amount
    """Of the two; the slice is the one in which it is largest."""
    slice: Annotated[int, Field(ge=0)]
    """Index along the third axis of the mask, turned to RAS+."""
    measurable: bool
    """Both lines are at least 10 mm long, as RANO asks."""


class ShapeRecord(Part):
    """What is measured of a region that is not empty."""

    voxels: Annotated[int, Field(ge=1)]
    centre_mm: Point
    side: Side | None
    """Of the midline: where at least 95 % of it lies. In `case.json` never null; where a mask is measured alone, null
    says that nobody knows how the brain lies."""
    right_share: Share | None
    """Null as `side`."""
    midline_mm: Amount | None
    """From the midline to the nearest voxel; 0 where it crosses the midline. Null as `side`."""
    lobes: Mapping[Lobe, Share] | None = None
    """Share in each part of the brain, the largest first, by a coarse map of the average brain; `outside`: the map does
    not know. Null where the brain does not fit the average one."""
    foci: tuple[FocusRecord, ...]
    """The largest first."""


class PoseRecord(Part):
    """How the brain lies in the coordinates of a mask, found by its outline."""

    normal: tuple[float, float, float]
    """Of the midline: length 1, to the right."""
    offset_mm: float
    """Of the midline, from the origin along the normal."""
    to_average: tuple[Row, Row, Row, Row] | None
    """From mm of the mask (RAS+) to mm of the ICBM 152 average brain; null where the brain does not fit it."""
    dice: Share | None
    """Of the brain, laid on the average one, with it."""


class SentenceRecord(Part):
    """A caution: it must be said before any volume."""

    kind: CautionKind
    sentence: str


class DoubtRecord(Part):
    """Why the mask may be wrong."""

    kind: Kind
    sentence: str


class AgreementRecord(Part):
    """The mask from a part of the sequences."""

    volumes_ml: Mapping[Region, Amount]
    dice: Mapping[Region, Share | None]
    """With the mask from all sequences in use; null where both are empty."""


class FitRecord(Part):
    """How well a scan fits the others: Dice with the mask from all others."""

    alone: Share
    """Of the mask from this scan alone."""
    others: Share
    """Of the masks from each other scan alone, the mean."""


class LeftOutRecord(FitRecord):
    """A scan that was left out, since it does not fit the others."""

    least: float
    """The least score (`alone` minus `others`) of good scans of this sequence."""


class SignsRecord(Part):
    """What the doubts come from."""

    agreement: Mapping[Annotated[str, Field(description="`t1c`, or `t1n+t1c`")], AgreementRecord]
    fit: Mapping[Modality, FitRecord]
    both_sides: Share
    """Share of the whole tumour that lies at the same places on both sides."""
    distant_ml: Amount
    """Of pieces more than 20 mm from the largest."""
    brain_ml: Amount
    voxel_mm: Amount
    """The longest side of a voxel."""
    shading: Mapping[Modality, Amount]
    """How many times brighter a scan is in one place than in another."""
    taken_out_ml: tuple[Amount, ...] = ()
    """The pieces that post-processing left out of the mask, the largest first."""


class EvenedRecord(Part):
    """Shading of a scan that was corrected by N4."""

    before: Amount
    after: Amount


class CalibrationRecord(Part):
    """What the model's calibration says of this subset; only its first three keys where it does not apply."""

    cases: Annotated[int, Field(ge=0)]
    data: str
    temperature: float
    """By which the logits were divided before probabilities were made of them."""
    coverage: Share | None = None
    """Of the ranges."""
    volume_ranges_ml: Mapping[Region, tuple[Amount, Amount] | None] | None = None
    """Where an annotator's volume is expected."""
    dice_ranges: Mapping[Region, tuple[Share, Share] | None] | None = None
    """Where the Dice of one more case is expected."""
    gains: Mapping[Modality, Mapping[Region, Gain]] | None = None
    """What a further sequence would add to the Dice."""
    helpful_sequence: str | None = None
    notes: tuple[str, ...] | None = None


class CaseRecord(Part):
    """All that lacunet says of one case. This file is written last: where it is, the case is done."""

    format: Literal[1] = FORMAT
    """Of this file."""
    case: str
    written: Moment
    """ISO 8601, UTC."""
    subset: str
    """The sequences that were used: `t1c+t2f`."""
    acquired: str
    """The sequences that the case has."""
    cautions: tuple[SentenceRecord, ...]
    """What must be said before any volume; the sentences stand in `warnings` too."""
    volumes_ml: Mapping[Region, Amount]
    measures: Mapping[Region, ShapeRecord]
    """Of regions that are not empty."""
    vasari: tuple[Feature, ...] = ()
    """Computed from the mask; empty where it is, and for other tasks than gliomas."""
    caveat: str
    """What a volume does not show."""
    doubts: tuple[DoubtRecord, ...]
    """The sentences stand in `warnings` too. Where there is one, neither a Dice nor a range of volumes is stated."""
    signs: SignsRecord
    left_out: Mapping[Modality, LeftOutRecord]
    n4: Mapping[Modality, EvenedRecord]
    """Scans that were corrected for uneven brightness before the model saw them."""
    evidence: Mapping[Region, Evidence]
    """`inferred` where no sequence in use can show it; `partly inferred` where that is so of a region inside it."""
    expected_dice: Mapping[Region, Share]
    """Without regions of which it is not known, or withheld."""
    expected_dice_from: str | None
    """The calibration or the card, and how many cases."""
    calibration: CalibrationRecord | None
    withheld: Mapping[Region, tuple[Kind, ...]]
    """Regions of which neither a Dice nor a range of volumes is stated, each with the kinds of doubt."""
    warnings: tuple[str, ...]
    """Sentences that a reader must not miss."""
    label_convention: str
    """What the integers of the masks mean."""
    masks: tuple[str, ...]
    """Names of the files."""
    masks_sha256: Mapping[Annotated[str, Field(description="name of the file")], Hash] = {}
    """Of each mask as it was written: another hash says that it was changed since."""
    poses: Mapping[Annotated[str, Field(description="name of the file")], PoseRecord] = {}
    """How the brain lies in the coordinates of each NIfTI mask; what import moved has other ones."""
    postprocessing: tuple[str, ...]
    """Names of the rules, in order."""
    provenance: Mapping[str, str]
    """As on the page."""
    seconds: Amount
    """From loading the case to writing its page."""
    inputs_sha256: Mapping[Annotated[str, Field(description="the sequence")], Hash]
    """Of each file as given; of DICOM, of its files one after another in the order of slices."""
    dice: Mapping[Region, Share] = Field(default_factory=dict)
    """Of the mask with the reference of the case; empty where it has none, or it was not asked for."""

    @property
    def weights(self) -> str:
        """SHA-256 of the model's weights; "" where it was not noted."""
        return self.provenance.get(WEIGHTS, "")

    @property
    def mirror(self) -> str:
        """Which mirror images were averaged over, as `--mirror` names them."""
        return self.provenance.get(MIRRORED, "none")

    @property
    def evened(self) -> bool:
        """Whether uneven brightness was to be corrected (`--n4 on` or `auto`)."""
        return EVENED in self.provenance

    def as_written(self, mask: str, sha256: str) -> bool | None:
        """Whether a mask of the case with this hash is still as lacunet wrote it; None where the record has no hash."""
        written = self.masks_sha256.get(mask)
        return sha256 == written if written else None


class SidecarRecord(CaseRecord):
    """The record where it is the sidecar of a mask in a BIDS derivative, which has keys of BIDS too."""

    SpatialReference: str
    Sources: tuple[str, ...] = ()


def read_record(path: Path, advice: str) -> CaseRecord:
    """The record of a finished case, in either layout.

    It is read straight from the text: `schema.fitted` takes ten times as long, and a cohort has thousands.

    Args:
        path: `case.json`, or the sidecar of a mask in a BIDS derivative.
        advice: What to do where it cannot be used.

    Raises:
        DataError: the record is damaged, or another version of lacunet wrote it.
    """
    kind = CaseRecord if path.name == RECORD else SidecarRecord
    try:
        return kind.model_validate_json(read_text(path, DataError, advice))
    except ValidationError as problems:
        broken = problems.errors()[0]["type"] == "json_invalid"
        raise DataError(f"{path}: {'is not JSON' if broken else first_problem(problems)}; {advice}") from problems


def shape_record(shape: Shape) -> ShapeRecord:
    """What is measured of a region, with as many digits as mean something."""
    place = shape.place
    lobes = place.lobes if place else None
    return ShapeRecord(
        voxels=shape.voxels,
        centre_mm=_point(shape.centre),
        side=place.side if place else None,
        right_share=round(place.right_share, 3) if place else None,
        midline_mm=round(place.midline_mm, 1) if place else None,
        lobes={lobe: round(share, 3) for lobe, share in lobes.items()} if lobes else None,
        foci=tuple(_focus(focus) for focus in shape.foci),
    )


def record_pose(pose: Pose) -> PoseRecord:
    """A pose for programs; `pose_from` reads it back."""
    normal, laid = pose.midline.normal, pose.laid
    return PoseRecord(
        normal=(float(normal[0]), float(normal[1]), float(normal[2])),
        offset_mm=pose.midline.offset,
        to_average=_rows(laid.matrix) if laid else None,
        dice=round(laid.dice, 3) if laid else None,
    )


def pose_from(record: PoseRecord) -> Pose:
    """The pose that a record holds."""
    laid = Laid(np.array(record.to_average), record.dice or 0.0) if record.to_average else None
    return Pose(Plane(np.array(record.normal), record.offset_mm), laid)


def _rows(matrix: Float[np.ndarray, "4 4"]) -> tuple[Row, Row, Row, Row]:
    one, two, three, four = ((float(a), float(b), float(c), float(d)) for a, b, c, d in matrix)
    return one, two, three, four


def _focus(focus: Focus) -> FocusRecord:
    two = focus.diameters
    return FocusRecord(
        ml=round(focus.ml, 3),
        centre_mm=_point(focus.centre),
        longest_mm=round(two.longest, 1),
        across_mm=round(two.across, 1),
        product_mm2=round(two.product, 1),
        slice=two.slice,
        measurable=focus.measurable,
    )


def _point(place: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = place
    return round(x, 1), round(y, 1), round(z, 1)
