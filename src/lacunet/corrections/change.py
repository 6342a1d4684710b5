"""A mask that was corrected, compared with the one that the model made."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lacunet.case import Grid
from lacunet.corrections.case import MeasuredCase
from lacunet.corrections.record import Change, RegionChange
from lacunet.data.geometry import CORNER_TOLERANCE_MM, corner_distance
from lacunet.data.source_table import sha256_of
from lacunet.data.volume import MOST_VOXELS
from lacunet.evaluation.metrics import dice, region_masks, volume_ml
from lacunet.task import Task

_STRANGE = 0.1
"""A whole tumour with a smaller Dice with the model's may be another patient's."""


@dataclass(frozen=True)
class Labelled:
    """A mask in memory: labels inside lacunet, on a RAS+ grid."""

    labels: UInt8[np.ndarray, "x y z"]
    grid: Grid


@dataclass(frozen=True)
class Compared:
    """A mask and the model's mask of the same grid, in one box that holds both.

    Attributes:
        name: Of the file of the model's mask.
        now: Labels of the mask.
        model: Labels of the model's mask.
    """

    name: str
    now: UInt8[np.ndarray, "x y z"]
    model: UInt8[np.ndarray, "x y z"]


def compared(now: Labelled, of_case: MeasuredCase, task: Task) -> Compared | None:
    """The first mask of the case whose voxels coincide with those of a mask; None where there is none.

    Raises:
        DataError: a mask of the case cannot be read.
        LabelError: its labels are not those of the record.
    """
    for name in of_case.masks:
        model = Labelled(*of_case.mask(name, task))
        if together := _in_one_box(now, model):
            return Compared(name, *together)
    return None


def change_of(mask: Path, found: Compared, of_case: MeasuredCase, grid: Grid, task: Task) -> tuple[Change, list[str]]:
    """How a mask differs from the model's, and what a reader must know of that.

    Args:
        mask: Its file.
        found: Both masks.
        of_case: The case.
        grid: Of the mask.
        task: Names the regions.
    """
    path = of_case.folder / found.name
    digest = sha256_of([path])
    now, model = region_masks(found.now, task), region_masks(found.model, task)
    changed = int(np.count_nonzero(found.now != found.model))
    before = {region: volume_ml(one, grid.spacing) for region, one in model.items()}
    regions = {
        region: RegionChange(
            model_ml=round(before[region], 3),
            change_ml=round(volume_ml(now[region], grid.spacing) - before[region], 3),
            dice=round(dice(now[region], model[region]), 4) if now[region].any() or model[region].any() else None,
        )
        for region in task.regions
    }
    change = Change(
        mask=found.name,
        mask_sha256=digest,
        as_written=of_case.record.as_written(found.name, digest) if of_case.record else None,
        corrected=changed > 0,
        voxels=changed,
        regions=regions,
    )
    return change, _warnings(change, mask.resolve() == path.resolve(), next(iter(regions.values())), found)


def _warnings(change: Change, same_file: bool, whole: RegionChange, found: Compared) -> list[str]:
    said = []
    if same_file and change.as_written is False:
        said.append(
            "this file was the model's mask and was changed in place: the model's own is lost, and the change says "
            "nothing; save corrections under another name"
        )
    elif change.as_written is False:
        said.append(f"{change.mask} of the case is not as lacunet wrote it: the change is against a changed mask")
    if whole.dice is not None and whole.dice < _STRANGE and found.now.any() and found.model.any():
        said.append(
            f"the mask has hardly anything in common with the model's (Dice {whole.dice:.2f}): is it of this case, "
            "and do its labels mean what is said?"
        )
    return said


def _in_one_box(one: Labelled, other: Labelled) -> tuple[UInt8[np.ndarray, "a b c"], UInt8[np.ndarray, "a b c"]] | None:
    """Both in the smallest box that holds both, since editors cut masks; None where their voxels do not coincide."""
    shift = np.rint(np.linalg.solve(other.grid.affine, one.grid.affine)[:3, 3]).astype(int)
    moved = other.grid.affine.copy()
    moved[:3, 3] = other.grid.places(shift[:, None])[:, 0]
    if corner_distance(one.grid.shape, one.grid.affine, moved) > CORNER_TOLERANCE_MM:
        return None
    low, high = np.minimum(shift, 0), np.maximum(shift + one.grid.shape, other.grid.shape)
    if np.prod((high - low).astype(float)) > MOST_VOXELS:
        return None
    return _placed(one.labels, shift - low, high - low), _placed(other.labels, -low, high - low)


def _placed(labels: UInt8[np.ndarray, "x y z"], first: np.ndarray, shape: np.ndarray) -> UInt8[np.ndarray, "a b c"]:
    whole = np.zeros(shape, np.uint8)
    whole[tuple(slice(start, start + size) for start, size in zip(first, labels.shape, strict=True))] = labels
    return whole
