"""`import.json`: what import did to a case, for bringing results back onto the scans. No names, paths or dates."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lacunet.case import CaseFiles, Grid
from lacunet.data.geometry import sound_affine
from lacunet.data.pseudonyms import IMPORT_RECORD
from lacunet.data.volume import MOST_VOXELS
from lacunet.errors import DataError, GeometryError
from lacunet.files import write_json
from lacunet.intake.align.quality import Judgement, Verdict
from lacunet.intake.align.rigid import Rigid
from lacunet.intake.found import Caution, CautionKind
from lacunet.reading import read_json
from lacunet.schema import fitted
from lacunet.task import Task

_AGAIN = "import the case again"

CONVENTION = (
    "scan_to_case: rows of a matrix, (x, y, z, 1) in mm of the scan -> mm of the case, both RAS+ as NIfTI affines"
)


@dataclass(frozen=True)
class Step:
    """One step that was done: its name, its duration, and a sentence about it."""

    name: str
    seconds: float
    sentence: str


@dataclass(frozen=True)
class Placed:
    """The position of one scan in its case.

    Attributes:
        grid: The scan's own grid.
        scan_to_case: From points (mm) in the scan to points in the case.
        stripped: Whether the scan came without skull.
        coverage: Share of the brain that it shows.
    """

    grid: Grid
    scan_to_case: Rigid
    stripped: bool
    coverage: float


@dataclass(frozen=True)
class HowFound:
    """How the scans of a case were found, in texts without personal data.

    Attributes:
        scans: By modality: the scan's name, and why it was taken for this modality.
        left_out: Scans that are not used, and why.
        warnings: Sentences that a reader must not miss.
        cautions: What must be said before any volume.
        labels: By modality: the scan's name alone, for sentences about it; not written.
    """

    scans: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    warnings: Sequence[str] = ()
    cautions: Sequence[Caution] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportRecord:
    """All of import.json.

    Attributes:
        case: The case's name.
        grid: The case's grid.
        reference: The scan to which the others were registered.
        scans: By modality.
        steps: In the order in which they were done.
        judgements: One per judged step.
        warnings: Sentences that a reader must not miss.
        versions: Of lacunet and of the packages that did the work.
        found: How the scans were found; empty where they were named one by one.
    """

    case: str
    grid: Grid
    reference: str
    scans: Mapping[str, Placed]
    steps: Sequence[Step]
    judgements: Sequence[Judgement]
    warnings: Sequence[str]
    versions: Mapping[str, str]
    found: HowFound = field(default_factory=HowFound)

    @property
    def moved(self) -> bool:
        """Whether a scan was moved."""
        return any(not np.array_equal(placed.scan_to_case.matrix, np.eye(4)) for placed in self.scans.values())


def _require_rigid(rows: Any) -> Any:
    Rigid.from_json(rows)
    return rows


_Length = Annotated[int, Field(ge=1, le=4096)]
_Row = tuple[float, float, float, float]
_Rows = tuple[_Row, _Row, _Row, _Row]


class _Fields(BaseModel):
    """A part of the file; keys that another version wrote are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _GridFields(_Fields):
    shape: tuple[_Length, _Length, _Length]
    affine: _Rows

    @model_validator(mode="after")
    def _possible(self) -> "_GridFields":
        if math.prod(self.shape) > MOST_VOXELS:
            raise ValueError(f"more than {MOST_VOXELS:,} voxels")
        affine = np.array(self.affine)
        if not np.array_equal(affine[3], [0, 0, 0, 1]):
            raise ValueError("the last row of an affine is 0 0 0 1")
        try:
            sound_affine("grid", affine)
        except GeometryError as error:
            raise ValueError(str(error)) from error
        return self

    def grid(self) -> Grid:
        return Grid(self.shape, np.array(self.affine))


class _PlacedFields(_Fields):
    grid: _GridFields
    scan_to_case: Annotated[_Rows, AfterValidator(_require_rigid)]
    stripped: bool
    coverage: Annotated[float, Field(ge=0, le=1)]

    def placed(self) -> Placed:
        return Placed(self.grid.grid(), Rigid.from_json(self.scan_to_case), self.stripped, self.coverage)


class _StepFields(_Fields):
    step: str
    seconds: Annotated[float, Field(ge=0)]
    done: str


class _JudgementFields(_Fields):
    step: str
    value: float
    verdict: Verdict
    sentence: str


class _CautionFields(_Fields):
    kind: CautionKind
    sentence: str


class _FoundFields(_Fields):
    scans: dict[str, str]
    left_out: list[str]


class _RecordFields(_Fields):
    """The content of import.json."""

    case: str
    grid: _GridFields
    reference: str
    scans: Annotated[dict[str, _PlacedFields], Field(min_length=1)]
    steps: list[_StepFields]
    judgements: list[_JudgementFields]
    warnings: list[str]
    versions: dict[str, str]
    found: _FoundFields
    cautions: list[_CautionFields] = []


def write_record(path: Path, record: ImportRecord) -> None:
    """Write what import did, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    fields = {
        "case": record.case,
        "cautions": [asdict(caution) for caution in record.found.cautions],
        "reference": record.reference,
        "grid": _grid_fields(record.grid),
        "convention": CONVENTION,
        "scans": {
            modality: {
                "scan_to_case": placed.scan_to_case.to_json(),
                "grid": _grid_fields(placed.grid),
                "stripped": placed.stripped,
                "coverage": round(placed.coverage, 4),
            }
            for modality, placed in record.scans.items()
        },
        "steps": [
            {"step": step.name, "seconds": round(step.seconds, 2), "done": step.sentence} for step in record.steps
        ],
        "judgements": [judgement.to_json() for judgement in record.judgements],
        "warnings": list(record.warnings),
        "versions": dict(record.versions),
        "found": {"scans": dict(record.found.scans), "left_out": list(record.found.left_out)},
    }
    write_json(path, fields)


def read_record(folder: Path) -> ImportRecord:
    """Read import.json from the folder of a case.

    Raises:
        DataError: it does not exist, or is damaged.
    """
    path = folder / IMPORT_RECORD
    if not path.is_file():
        raise DataError(f"{path}: is not there; this case was not made by lacunet import")
    fields = fitted(_RecordFields, read_json(path, DataError, _AGAIN), str(path), DataError, _AGAIN)
    return ImportRecord(
        case=fields.case,
        grid=fields.grid.grid(),
        reference=fields.reference,
        scans={modality: placed.placed() for modality, placed in fields.scans.items()},
        steps=[Step(step.step, step.seconds, step.done) for step in fields.steps],
        judgements=[Judgement(one.step, one.value, one.verdict, one.sentence) for one in fields.judgements],
        warnings=fields.warnings,
        versions=fields.versions,
        found=HowFound(
            fields.found.scans,
            fields.found.left_out,
            cautions=[Caution(one.kind, one.sentence) for one in fields.cautions],
        ),
    )


def record_of(files: CaseFiles) -> ImportRecord | None:
    """What import did to a case; None where the case was not made by `lacunet import`.

    Raises:
        DataError: import.json exists and is damaged.
    """
    folder = next(iter(files.images.values())).path.parent
    return read_record(folder) if (folder / IMPORT_RECORD).is_file() else None


def import_facts(record: ImportRecord, task: Task) -> dict[str, str]:
    """For the page of a case: how its scans were found, and what was done to them."""
    found = record.found.scans
    facts = {f"taken for {task.titles[name]}": found[name] for name in task.modalities if name in found}
    facts["import"] = "; ".join(f"{step.name}: {step.sentence} ({step.seconds:.0f} s)" for step in record.steps)
    facts["import judged"] = "; ".join(f"{one.step}: {one.verdict}" for one in record.judgements)
    if record.found.left_out:
        facts["left out"] = "; ".join(record.found.left_out)
    return facts


def _grid_fields(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": [[float(value) for value in row] for row in grid.affine]}
