"""Where a mask lies: at the same places on both sides of the brain, or in pieces far apart. No torch here.

A tumour seldom does either. Normal anatomy that is taken for a tumour does the first, and so does shading; false
findings do the second.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import Grid
from lacunet.data.midplane import Plane
from lacunet.description.blocks import Blocks, blocks_of

MIDDLE = 10.0
"""So near to the plane between the halves nothing counts as being on both sides, mm."""
SAME_PLACE = 5.0
"""Two places are the same if they are no farther apart, mm."""
FAR = 20.0
"""Pieces are far apart if there is so much between them, mm."""
_SMALLEST_PIECE = 1.0
"""Smaller pieces do not count, ml."""


@dataclass(frozen=True)
class Where:
    """Where a mask lies.

    Attributes:
        both_sides: Share of its voxels whose mirror images lie in the mask too, 0 to 1.
        distant_ml: Volume of the pieces far from the largest one, in ml.
    """

    both_sides: float
    distant_ml: float


def where_of(mask: Bool[np.ndarray, "x y z"], midline: Plane, grid: Grid) -> Where:
    """Where a mask lies in a brain.

    Args:
        mask: Of a tumour.
        midline: The plane between the halves of the brain, in mm (RAS+).
        grid: Of the mask.
    """
    blocks = blocks_of(mask, grid)
    if not blocks.filled.any():
        return Where(0.0, 0.0)
    return Where(_both_sides(blocks, midline), _distant_ml(blocks.filled, blocks.spacing))


def _both_sides(blocks: Blocks, midline: Plane) -> float:
    points = blocks.grid.places(np.argwhere(blocks.filled).T)
    aside = points[:, np.abs(midline.distance(points)) > MIDDLE]
    voxels = np.rint(blocks.indices(midline.mirrored(aside))).astype(int)
    there = ((voxels >= 0) & (voxels < np.array(blocks.filled.shape)[:, None])).all(axis=0)
    near = ndimage.distance_transform_edt(~blocks.filled, sampling=blocks.spacing) <= SAME_PLACE
    return float(np.count_nonzero(near[tuple(voxels[:, there])]) / points.shape[1])


def _distant_ml(mask: Bool[np.ndarray, "x y z"], spacing: Float[np.ndarray, "3"]) -> float:
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    volumes = np.bincount(pieces.ravel(), minlength=count + 1) * float(np.prod(spacing)) / 1000.0
    volumes[0] = 0.0
    largest = int(np.argmax(volumes))
    away = ndimage.distance_transform_edt(pieces != largest, sampling=spacing)
    gaps = ndimage.minimum(away, pieces, np.arange(count + 1))
    counted = (gaps > FAR) & (volumes >= _SMALLEST_PIECE)
    counted[0] = False
    return float(volumes[counted].sum())
