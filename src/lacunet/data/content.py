"""What voxels alone tell: an image of labels is no scan, and a mask of the whole brain is no tumour."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from lacunet.case import Grid

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

_SAMPLE = 50_021


def why_no_scan(voxels: Shaped[np.ndarray, "x y z"], grid: Grid) -> str | None:
    """Why an image is no scan, by its voxels; None where it may be one."""
    if holds_labels(voxels):
        return "holds a few whole values only, as a mask does, and is no scan"
    signal = int(np.count_nonzero(voxels != voxels.flat[0]))
    if signal * grid.voxel_ml < LEAST_SIGNAL_ML and signal < LEAST_SIGNAL_SHARE * voxels.size:
        return f"has signal in {signal * grid.voxel_ml:.0f} ml only, and shows no head"
    return None


def holds_labels(voxels: Shaped[np.ndarray, "x y z"]) -> bool:
    """Whether an image holds labels: few whole values, or whole values in patches of one value."""
    sample = voxels.ravel(order="K")[:: max(voxels.size // _SAMPLE, 1)]
    if not _are_whole(sample):
        return False
    if len(np.unique(sample)) <= MOST_LABELS:
        return _are_whole(voxels) and len(np.unique(voxels)) <= MOST_LABELS
    return equal_neighbours(voxels) >= EQUAL_NEIGHBOURS and _are_whole(voxels)


def equal_neighbours(voxels: Shaped[np.ndarray, "x y z"]) -> float:
    """The share of voxels with signal that equal their neighbour, along the axis with the smallest share: an image that
    was enlarged by repeating voxels has a large share along one axis only."""
    shares = []
    for axis in range(3):
        turned = np.moveaxis(voxels, axis, 0)
        before, after = turned[:-1], turned[1:]
        signal = before != voxels.flat[0]
        shares.append(float((before == after)[signal].mean()) if signal.any() else 1.0)
    return min(shares)


def _are_whole(values: Shaped[np.ndarray, "..."]) -> bool:
    return values.dtype.kind in "iub" or bool((values == np.rint(values)).all())


def share_of_brain(reference: Shaped[np.ndarray, "x y z"], images: Sequence[Shaped[np.ndarray, "x y z"]]) -> float:
    """The share of the brain, the voxels where an image has signal, that a reference labels."""
    brain = np.logical_or.reduce([image != 0 for image in images])
    return float(np.count_nonzero(reference[brain])) / max(int(brain.sum()), 1)
