"""Masks on the grids of the scans before import, as NIfTI and, for DICOM scans, as DICOM SEG."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lacunet.case import Grid, ImageFile
from lacunet.data.nifti import ras_grid
from lacunet.data.volume import read_image
from lacunet.errors import DataError, UsageError
from lacunet.intake.align.rigid import Rigid
from lacunet.intake.record import ImportRecord, write_record
from lacunet.segmentation.dicom_seg import write_dicom_seg
from lacunet.segmentation.layout import Places
from lacunet.segmentation.resample import write_native_mask
from lacunet.task import Subset, Task


@dataclass(frozen=True)
class OriginalScan:
    """A scan as it came to import.

    Attributes:
        path: Its NIfTI file.
        scan_to_case: The motion that import found.
        dicom: The files it was converted from; none for NIfTI.
        note: Why its files cannot carry a DICOM SEG, where it came as DICOM.
    """

    path: Path
    scan_to_case: Rigid
    dicom: tuple[Path, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Back:
    """What was brought back.

    Attributes:
        masks: The files written, and the motion from their coordinates to the case's; None of a DICOM object.
        notes: Why there is no DICOM SEG where one would be expected, and what was amiss in a source's headers.
    """

    masks: Mapping[Path, Rigid | None]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """Where a case came from.

    Attributes:
        scans: By modality.
        wanted: Those on whose own grid a mask is wanted.
        record: What import did, found and warns of.
    """

    scans: Mapping[str, OriginalScan]
    wanted: Subset
    record: ImportRecord


def write_back(
    at: Places,
    origin: Origin,
    regions: Mapping[str, Float[np.ndarray, "x y z"]],
    grid: Grid,
    convention: str,
    model: str,
    task: Task,
    subset: Subset,
) -> Back:
    """Write the mask on the grid of each scan that is wanted, and what import did to the scans.

    Args:
        at: Where the case's results lie.
        origin: The scans.
        regions: How surely a voxel is a region's, 0 to 1, on the case's grid; for each region of the task.
        grid: The case's grid.
        convention: What the integers of the NIfTI files mean.
        model: What made the mask, for the DICOM object.
        task: Labels and regions.
        subset: The modalities that the model used.

    A DICOM SEG that the source's headers do not allow is left out, and said: the NIfTI mask is there all the same.

    Raises:
        DataError: a scan cannot be read any more.
        OutputError: a result cannot be written.
    """
    write_record(at.imported, origin.record)
    masks: dict[Path, Rigid | None] = {}
    notes: list[str] = []
    for modality in origin.wanted:
        scan = origin.scans[modality]
        own = write_native_mask(at.native_mask(modality), regions, grid, scan.path, scan.scan_to_case, convention, task)
        masks[at.native_mask(modality)] = scan.scan_to_case
        if scan.note:
            notes.append(f"no DICOM SEG of {task.titles[modality]}: {scan.note}")
        if not scan.dicom:
            continue
        _, native, _ = read_image(ImageFile(scan.path))
        try:
            amiss = write_dicom_seg(at.dicom(modality), own, ras_grid(native), scan.dicom, model, task, subset)
            masks[at.dicom(modality)] = None
            notes += [f"DICOM SEG of {task.titles[modality]}: {line}" for line in amiss]
        except (DataError, UsageError) as error:
            notes.append(f"no DICOM SEG of {task.titles[modality]}: {error}")
    return Back(masks, tuple(notes))
