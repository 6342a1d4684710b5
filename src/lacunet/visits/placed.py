"""The later visit laid on the earlier one: a rigid motion, its judgement, and what is new tissue and what is gone.

These masks were resampled. They are for looking, and for where tissue is new; volumes are those of the masks as they
are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lacunet.errors import DataError
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.intake.align.quality import Judgement, judge_registration
from lacunet.intake.align.register import register, volume_of
from lacunet.intake.align.rigid import Rigid, carry, distances, grown, voxel_points
from lacunet.segmentation.resample import onto_scan, regions_of_labels
from lacunet.task import Task
from lacunet.visits.visit import Visit

PREFERRED = ("t1c", "t1n", "t2f", "t2w")
"""The sequence by which visits are registered: the first of these that both have. T1 is sharpest, as a rule."""
_AROUND_BRAIN_MM = 5.0
_AROUND_TUMOUR_MM = 6.0
"""So near to a tumour of either visit nothing is compared: it may have grown or shrunk."""


@dataclass(frozen=True)
class Laid:
    """The later visit on the grid of the earlier one.

    Attributes:
        by: The modality of the earlier and of the later visit that were registered.
        to_earlier: From places (mm) of the later visit to places of the earlier one.
        moved_mm: How far this moves the brain, on average.
        judgement: Whether both show the same brain at the same place.
        images: Of the later visit, by modality.
    """

    by: tuple[str, str]
    to_earlier: Rigid
    moved_mm: float
    judgement: Judgement
    images: Mapping[str, Float[np.ndarray, "x y z"]]


@dataclass(frozen=True)
class Tissue:
    """A region of both visits on one grid.

    Attributes:
        new_ml: In the later mask alone.
        gone_ml: In the earlier mask alone.
        kept_ml: In both.
        dice: Of the two masks; 1 where both are empty.
    """

    new_ml: float
    gone_ml: float
    kept_ml: float
    dice: float


def lay(earlier: Visit, later: Visit, task: Task, seed: int = 0) -> Laid:
    """Register the later visit to the earlier one, and judge the result.

    Args:
        earlier: It stays.
        later: It is moved.
        task: Names the modalities.
        seed: Of the places that are compared.

    Raises:
        DataError: the two do not show the same brain, or could not be aligned.
    """
    by = _registered_by(earlier, later)
    one, two = earlier.case, later.case
    around = grown(earlier.brain, one.grid, _AROUND_BRAIN_MM) & ~_near_tumour(earlier)
    fixed = volume_of(one.images[by[0]], one.grid, around)
    moving = volume_of(two.images[by[1]], two.grid, grown(later.brain, two.grid, _AROUND_BRAIN_MM))
    motion = register(fixed, moving, seed).to_fixed

    def carried(image: np.ndarray) -> np.ndarray:
        return carry(image.astype(np.float32), two.grid, one.grid, motion.inverse)

    compared = earlier.brain & ~_near_tumour(earlier) & (carried(later.brain & ~_near_tumour(later)) >= 0.5)
    still, moved = one.images[by[0]], carried(two.images[by[1]])
    names = f"{task.titles[by[1]]} of the later visit", f"{task.titles[by[0]]} of the earlier visit"
    judgement = judge_registration(*names, still, moved, one.grid, np.asarray(compared))
    if judgement.verdict == "failed":
        raise DataError(
            f"{later.record.case} cannot be laid on {earlier.record.case}: {judgement.sentence} (likeness of edges "
            f"{judgement.value:.2f}); check that both are visits of one person, and look at the scans"
        )
    points = voxel_points(later.brain, two.grid)
    away = float(distances(motion, Rigid.identity(), points).mean())
    images = {name: carried(image) for name, image in two.images.items()}
    return Laid(by, motion, away, judgement, images)


def _near_tumour(visit: Visit) -> Bool[np.ndarray, "x y z"]:
    return grown(visit.labels > 0, visit.case.grid, _AROUND_TUMOUR_MM)


def on_earlier(
    laid: Laid, labels: UInt8[np.ndarray, "x y z"], earlier: Visit, later: Visit, task: Task
) -> UInt8[np.ndarray, "u v w"]:
    """A mask of the later visit on the grid of the earlier one: a voxel has a region that fills half of it."""
    regions = regions_of_labels(labels, task)
    return onto_scan(regions, later.case.grid, earlier.case.grid, laid.to_earlier.inverse, task)


def tissue_of(
    earlier: UInt8[np.ndarray, "x y z"], later: UInt8[np.ndarray, "x y z"], voxel_ml: float, task: Task
) -> dict[str, Tissue]:
    """By region: what is new, what is gone and what was kept.

    Args:
        earlier: Labels.
        later: Labels on the same grid.
        voxel_ml: Of a voxel of this grid.
        task: Names the regions.
    """
    first, second = region_masks(earlier, task), region_masks(later, task)

    def ml(mask: np.ndarray) -> float:
        return float(np.count_nonzero(mask)) * voxel_ml

    return {
        region: Tissue(
            new_ml=ml(second[region] & ~first[region]),
            gone_ml=ml(first[region] & ~second[region]),
            kept_ml=ml(first[region] & second[region]),
            dice=dice(second[region], first[region]),
        )
        for region in task.regions
    }


def _registered_by(earlier: Visit, later: Visit) -> tuple[str, str]:
    """A sequence that both have, else the best of each: mutual information takes any two."""
    for modality in PREFERRED:
        if modality in earlier.case.images and modality in later.case.images:
            return modality, modality
    return _best(earlier.case.images), _best(later.case.images)


def _best(images: Mapping[str, np.ndarray]) -> str:
    ordered: Sequence[str] = [*PREFERRED, *images]
    return next(modality for modality in ordered if modality in images)
