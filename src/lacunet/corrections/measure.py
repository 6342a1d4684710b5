"""Measures a mask that somebody drew or corrected, as `segment` measures its own, and compares it with the model's.

record = measure(Path("corrected.seg.nrrd"), GLIOMA, case=Path("segmentations/p01"))
print(record.volumes_ml, record.change)
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from lacunet.case import Grid, ImageFile
from lacunet.corrections.case import MeasuredCase, case_at, case_beside
from lacunet.corrections.change import Labelled, change_of, compared
from lacunet.corrections.labels import Understood, understood
from lacunet.corrections.record import MeasuresRecord
from lacunet.data.background import on_empty_background
from lacunet.data.called import by_label, errors_by_label
from lacunet.data.formats.segments import segment_names
from lacunet.data.nifti import ras_grid, require_same_grid, to_ras
from lacunet.data.pseudonyms import may_show_file
from lacunet.data.source_table import sha256_of
from lacunet.data.volume import read_file, read_image
from lacunet.description.pose import Pose, pose_of
from lacunet.description.shape import shape_of
from lacunet.description.vasari import vasari_of
from lacunet.errors import DataError
from lacunet.evaluation.metrics import region_masks, volume_ml
from lacunet.reading import is_file, is_folder
from lacunet.segmentation.record import shape_record
from lacunet.task import Task


def measure(
    mask: Path,
    task: Task,
    case: Path | None = None,
    scans: Sequence[Path] = (),
    labels: str | None = None,
    show_names: bool = False,
) -> MeasuresRecord:
    """What can be measured of a mask; docs/report.md defines each number.

    Args:
        mask: NIfTI or NRRD, also .seg.nrrd of 3D Slicer.
        task: Labels and regions.
        case: The case that it belongs to (`case.case_at`); None: the one whose record lies in the mask's folder.
        scans: Without skull, on one grid: they show how the brain lies, and overrule what the case knows.
        labels: The label convention of the mask; None: by the names of segments, by the case, or by the values.
        show_names: Show names of files, which may be a person's.

    Raises:
        DataError: the mask, a scan or the case cannot be read.
        LabelError: the labels do not show what they mean.
        UnpreparedError: a scan shows the skull, or two lie on different grids.
        UsageError: `labels` is no convention of the task.
    """
    label = mask.name if show_names or may_show_file(mask.name) else "the mask"
    _require_readable(mask)
    of_case = case_at(case, task, show_names) if case else case_beside(mask)
    record = of_case.record
    with errors_by_label(mask, label):
        voxels, native, notes = read_file(ImageFile(mask))
        found = _understood(mask, voxels, of_case, task, labels, label)
    now = Labelled(to_ras(found.labels, native), ras_grid(native))
    model = compared(now, of_case, task)
    change, said = change_of(mask, model, of_case, now.grid, task) if model else (None, _why_no_change(of_case))
    seen = {f"scan {number}": path for number, path in enumerate(scans, 1)} or of_case.scans
    pose = _pose_seen(seen) if seen else of_case.pose(model.name if model else None)
    regions = region_masks(now.labels, task)
    shapes = {region: shape_of(one, pose, now.grid) for region, one in regions.items()}
    evidence = record.evidence if record else {}
    x, y, z = now.grid.spacing
    return MeasuresRecord(
        case=of_case.name,
        written=datetime.now(UTC),
        mask_sha256=sha256_of([mask]),
        label_convention=found.convention,
        labels_from=found.by,
        voxel_mm=(round(x, 4), round(y, 4), round(z, 4)),
        cautions=record.cautions if record else (),
        volumes_ml={region: round(volume_ml(one, now.grid.spacing), 3) for region, one in regions.items()},
        measures={region: shape_record(shape) for region, shape in shapes.items() if shape},
        vasari=vasari_of(regions, shapes, pose, now.grid, task, evidence),
        place_from=None if pose is None else "scans" if scans else "case",
        evidence=evidence,
        change=change,
        warnings=(
            *(by_label(note, mask, label) for note in (*notes, *found.notes)),
            *(() if now.labels.any() else ("the mask is empty",)),
            *said,
            *_why_no_place(pose),
        ),
    )


def _require_readable(mask: Path) -> None:
    """Refuse what is no file of a mask before a format is looked for."""
    if is_folder(mask):
        raise DataError(f"{mask}: is a folder; name the file of the mask (.nii.gz, .nrrd)")
    if not is_file(mask):
        raise DataError(f"{mask}: no such file; name the file of the mask (.nii.gz, .nrrd)")
    with mask.open("rb") as file:
        if file.read(132)[128:] == b"DICM":
            raise DataError(
                "the mask is a DICOM object, and masks are read as NIfTI or NRRD; measure the .nii.gz that lies beside "
                "the DICOM SEG, or export it from the viewer as .nii.gz or .nrrd"
            )


def _understood(
    mask: Path,
    voxels: Shaped[np.ndarray, "x y z"],
    of_case: MeasuredCase,
    task: Task,
    option: str | None,
    label: str,
) -> Understood:
    names = segment_names(mask) if mask.name.lower().endswith(".nrrd") else {}
    own = of_case.record.label_convention if of_case.record else None
    known = [name for name in of_case.conventions if name in task.conventions]
    return understood(voxels, names, task, option, own, known or tuple(task.conventions), label)


def _why_no_change(of_case: MeasuredCase) -> list[str]:
    if of_case.record is None:
        return []
    if not of_case.masks:
        return ["it is not compared with the model's mask, which is no longer beside the case's record"]
    return [
        "it is not compared with the model's mask, since its voxels lie elsewhere; save it on the grid of the scan on "
        "which the model's mask lies"
    ]


def _why_no_place(pose: Pose | None) -> list[str]:
    if pose is None:
        return [
            "neither side nor lobes are stated, since nobody knows how the brain lies; give its case (--case), or a "
            "scan without skull in the same coordinates (--scan)"
        ]
    return [] if pose.laid else ["no lobes are stated, since the brain does not fit the average one"]


def _pose_seen(scans: Mapping[str, Path]) -> Pose:
    """How the brain of some scans lies."""
    brains: list[np.ndarray] = []
    first: Grid | None = None
    for label, path in scans.items():
        with errors_by_label(path, label):
            voxels, grid, _ = read_image(ImageFile(path))
            first = first or grid
            require_same_grid(label, grid, next(iter(scans)), first)
            brains.append(to_ras(on_empty_background(label, voxels, grid)[0] != 0, grid))
    assert first is not None
    return pose_of(np.logical_or.reduce(brains), ras_grid(first))
