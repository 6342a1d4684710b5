"""What voxels alone tell: an image of labels is no scan, and a mask of the whole brain is no tumour."""

import numpy as np
from jaxtyping import Bool, Shaped

from lacunet.case import Grid
from lacunet.errors import DataError, WholeBrainError

MOST_LABELS = 8
"""An image of at most so many whole values is a mask. A scan of 8 bits has dozens."""

EQUAL_NEIGHBOURS = 0.7
"""Share of voxels with signal that equal their neighbour along each axis, from which on whole values are labels.

Scans of BraTS reach 0.18, its references begin at 0.77 (`scripts/studies/label_facts.py DATA`)."""

LEAST_SIGNAL_ML = 100.0
"""An image with signal in less than this, and in less than `LEAST_SIGNAL_SHARE` of its voxels, shows no head."""

LEAST_SIGNAL_SHARE = 0.02

MOST_OF_THE_BRAIN = 0.6
"""A reference that covers a larger share of the brain is a mask of the brain or of its tissues, not of a tumour.

Tumours of BraTS reach 0.18 (`scripts/studies/label_facts.py DATA`)."""

_SLAB = 8
"""Planes that are looked at together."""

_LABELS = "holds a few whole values only, as a mask does, and is no scan"


def why_no_scan(voxels: Shaped[np.ndarray, "x y z"], grid: Grid) -> str | None:
    """Why an image is no scan, by its voxels; None where it may be one."""
    if holds_labels(voxels):
        return _LABELS
    signal = int(np.count_nonzero(voxels != voxels.flat[0]))
    if signal * grid.voxel_ml < LEAST_SIGNAL_ML and signal < LEAST_SIGNAL_SHARE * voxels.size:
        return f"has signal in {signal * grid.voxel_ml:.0f} ml only, and shows no head"
    return None


def refuse_labels(name: str, voxels: Shaped[np.ndarray, "x y z"]) -> None:
    """Refuse a mask that is given as a scan.

    Raises:
        DataError: the image holds labels.
    """
    if holds_labels(voxels):
        raise DataError(f"{name}: {_LABELS}; give the scan itself, or leave the file out")


def refuse_whole_brain(name: str, reference: Shaped[np.ndarray, "x y z"], brain: Bool[np.ndarray, "x y z"]) -> None:
    """Refuse a reference that is no mask of a tumour.

    Raises:
        WholeBrainError: it covers most of the brain.
    """
    share = share_of_brain(reference, brain)
    if share > MOST_OF_THE_BRAIN:
        raise WholeBrainError(
            f"{name}: covers {share:.0%} of the brain; is it a mask of the brain or of its tissues? Give the mask of "
            "the tumour as reference (a column 'reference' in a manifest.csv), or move this file away"
        )


def holds_labels(voxels: Shaped[np.ndarray, "x y z"]) -> bool:
    """Whether an image holds labels: few whole values, or whole values in patches of one value.

    It is looked at slab by slab, so that a large image takes little memory.
    """
    voxels, values = _in_memory_order(voxels), set[float]()
    for start in range(0, len(voxels), _SLAB):
        slab = voxels[start : start + _SLAB]
        if not _are_whole(slab):
            return False
        values.update(np.unique(slab).tolist() if len(values) <= MOST_LABELS else ())
    if len(values) <= MOST_LABELS:
        return True
    return all(_equal_along(voxels, axis) >= EQUAL_NEIGHBOURS for axis in range(3))  # a scan fails along the first


def equal_neighbours(voxels: Shaped[np.ndarray, "x y z"]) -> float:
    """The share of voxels with signal that equal their neighbour, along the axis with the smallest share: an image that
    was enlarged by repeating voxels has a large share along one axis only."""
    if not (voxels != voxels.flat[0]).any():
        return 1.0
    return min(_equal_along(_in_memory_order(voxels), axis) for axis in range(3))


def _equal_along(voxels: Shaped[np.ndarray, "x y z"], axis: int) -> float:
    background = voxels.flat[0]
    equal = signal = 0
    for start in range(0, len(voxels), _SLAB):
        slab = voxels[start : start + _SLAB + (axis == 0)]
        first, second = (slab[:-1], slab[1:]) if axis == 0 else _pairs(slab, axis)
        here = first != background
        equal += int(np.count_nonzero(here & (first == second)))
        signal += int(np.count_nonzero(here))
    return equal / max(signal, 1)


def _pairs(slab: Shaped[np.ndarray, "x y z"], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels, and their neighbours along the second or third axis."""
    return (slab[:, :-1], slab[:, 1:]) if axis == 1 else (slab[..., :-1], slab[..., 1:])


def _in_memory_order(voxels: Shaped[np.ndarray, "x y z"]) -> Shaped[np.ndarray, "_ _ _"]:
    """The same with slabs in one piece of memory; a NIfTI file has its last axis outermost."""
    return voxels.T if voxels.flags.f_contiguous else voxels


def _are_whole(values: Shaped[np.ndarray, "..."]) -> bool:
    return values.dtype.kind in "iub" or bool((values == np.rint(values)).all())


def share_of_brain(reference: Shaped[np.ndarray, "x y z"], brain: Bool[np.ndarray, "x y z"]) -> float:
    """The share of the brain that a reference labels."""
    return int(np.count_nonzero((reference != 0) & brain)) / max(int(np.count_nonzero(brain)), 1)
