"""`import.json`: what import did to a case, for bringing results back onto the scans. No names, paths or dates."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lacunet.case import CaseFiles, Grid
from lacunet.data.geometry import sound_affine
from lacunet.data.pseudonyms import IMPORT_RECORD
from lacunet.data.volume import MOST_VOXELS
from lacunet.errors import DataError
from lacunet.files import write_json
from lacunet.intake.align.quality import Judgement
from lacunet.intake.align.rigid import Rigid
from lacunet.intake.found import Caution
from lacunet.task import Task

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
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return ImportRecord(
            case=str(fields["case"]),
            grid=_grid(fields["grid"]),
            reference=str(fields["reference"]),
            scans={modality: _placed(entry) for modality, entry in fields["scans"].items()},
            steps=[Step(entry["step"], float(entry["seconds"]), entry["done"]) for entry in fields["steps"]],
            judgements=[Judgement(**entry) for entry in fields["judgements"]],
            warnings=[str(line) for line in fields["warnings"]],
            versions=dict(fields["versions"]),
            found=HowFound(
                dict(fields["found"]["scans"]),
                [str(line) for line in fields["found"]["left_out"]],
                cautions=[Caution(**entry) for entry in fields.get("cautions", ())],
            ),
        )
    except FileNotFoundError as error:
        raise DataError(f"{path}: is not there; this case was not made by lacunet import") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error}); import the case again") from error


def record_of(files: CaseFiles) -> ImportRecord | None:
    """What import did to a case; None where the case was not made by `lacunet import`.

    Raises:
        DataError: import.json exists and is damaged.
    """
    folder = next(iter(files.images.values())).path.parent
    return read_record(folder) if (folder / IMPORT_RECORD).is_file() else None


def import_facts(record: ImportRecord, task: Task) -> dict[str, str]:
    """For the page of a case: how its scans were found, and what was done to them."""
    facts = {f"taken for {task.titles[name]}": words for name, words in record.found.scans.items()}
    facts["import"] = "; ".join(f"{step.name}: {step.sentence} ({step.seconds:.0f} s)" for step in record.steps)
    facts["import judged"] = "; ".join(f"{one.step}: {one.verdict}" for one in record.judgements)
    if record.found.left_out:
        facts["left out"] = "; ".join(record.found.left_out)
    return facts


def _grid_fields(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": [[float(value) for value in row] for row in grid.affine]}


def _grid(fields: Mapping[str, Any]) -> Grid:
    x, y, z = (int(size) for size in fields["shape"])
    if min(x, y, z) < 1 or x * y * z > MOST_VOXELS:
        raise ValueError("a shape is three numbers of voxels")
    affine = np.asarray(fields["affine"], dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ValueError("an affine is four rows of four numbers")
    return Grid((x, y, z), sound_affine(IMPORT_RECORD, affine))


def _placed(fields: Mapping[str, Any]) -> Placed:
    return Placed(
        _grid(fields["grid"]),
        Rigid.from_json(fields["scan_to_case"]),
        bool(fields["stripped"]),
        float(fields["coverage"]),
    )
