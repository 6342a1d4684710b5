"""How a brain lies: the plane between its halves, and where the average brain's places are in it. No torch here.

Both come from the brain's outline alone, which tumours hardly change, so that any sequence will do.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from lacunet.case import Grid
from lacunet.data.midplane import Plane
from lacunet.data.phantom.anatomy import load_atlas
from lacunet.description.blocks import Blocks, blocks_of
from lacunet.description.midline import midline_of

Points = Float[np.ndarray, "3 n"]

LEAST_DICE = 0.9
"""Of a brain with the average one, laid on it: below, the places of the average brain are not known in it."""
_FEWEST = 200
"""Places on the surface of a brain; one of fewer is no brain."""
_MOST = 2000
"""So many of them are enough to lay it on the average one."""
_USUAL = np.repeat([0.3, 0.15], 3)
"""How much brains are rotated (radians), and how much they differ in size (logarithm)."""
_DOUBT = 3.0
"""Distances of more mm count less and less, since they may be a tumour's or an incomplete scan's."""


@dataclass(frozen=True)
class Laid:
    """A brain, laid on the average one by its outline: shifted, rotated, and stretched along three axes.

    Attributes:
        matrix: From mm of the brain (RAS+) to mm of the average brain.
        dice: Of the two brains.
    """

    matrix: Float[np.ndarray, "4 4"]
    dice: float

    def moved(self, places: Points) -> Points:
        """Places in mm of the brain, in mm of the average brain."""
        return _moved(self.matrix, places)


@dataclass(frozen=True)
class Pose:
    """How a brain lies in the coordinates (mm, RAS+) of its scans.

    Attributes:
        midline: The plane between its halves.
        laid: On the average brain; None where it does not fit it.
    """

    midline: Plane
    laid: Laid | None

    def before(self, motion: Float[np.ndarray, "4 4"]) -> "Pose":
        """The same in the coordinates from which a motion (a rotation and a shift) leads to these."""
        normal = motion[:3, :3].T @ self.midline.normal
        offset = self.midline.offset - float(self.midline.normal @ motion[:3, 3])
        laid = Laid(self.laid.matrix @ motion, self.laid.dice) if self.laid else None
        return Pose(Plane(normal, offset), laid)


def pose_of(brain: Bool[np.ndarray, "x y z"], grid: Grid) -> Pose:
    """How a brain lies.

    Args:
        brain: Where any scan has signal.
        grid: Its first axis runs to the right, as nearly as the scan allows.
    """
    return Pose(midline_of(brain, grid), _laid(blocks_of(ndimage.binary_fill_holes(brain), grid)))


def _laid(blocks: Blocks) -> Laid | None:
    inside = blocks.grid.places(np.argwhere(blocks.filled).T)
    surface = blocks.grid.places(np.argwhere(blocks.filled & ~ndimage.binary_erosion(blocks.filled)).T)
    if surface.shape[1] < _FEWEST:
        return None
    points = surface[:, :: -(-surface.shape[1] // _MOST)]
    half = float(np.mean(blocks.grid.spacing)) / 2  # from the middle of a block at the surface to the surface
    middle, average = inside.mean(axis=1), _average()
    start = np.zeros(9)
    start[6:] = np.log(average.ml / (inside.shape[1] * blocks.grid.voxel_ml)) / 3

    def away(numbers: np.ndarray) -> np.ndarray:
        matrix = _matrix(numbers, middle, average.middle)
        return np.concatenate([average.depth(_moved(matrix, points)) + half, numbers[3:] / _USUAL])

    found = optimize.least_squares(away, start, loss="soft_l1", f_scale=_DOUBT, x_scale=np.repeat([5.0, 0.1, 0.1], 3))
    matrix = _matrix(found.x, middle, average.middle)
    shared = np.count_nonzero(average.depth(_moved(matrix, inside)) < 0)
    voxels = average.ml / (float(np.linalg.det(matrix[:3, :3])) * blocks.grid.voxel_ml)
    dice = 2 * shared / (inside.shape[1] + voxels)
    return Laid(matrix, float(dice)) if dice >= LEAST_DICE else None


def _matrix(numbers: np.ndarray, middle: np.ndarray, target: np.ndarray) -> Float[np.ndarray, "4 4"]:
    """From a shift (mm), a rotation (a vector, radians) and stretches (logarithms), about the middle of a brain."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(np.exp(numbers[6:])) @ Rotation.from_rotvec(numbers[3:6]).as_matrix()
    matrix[:3, 3] = target + numbers[:3] - matrix[:3, :3] @ middle
    return matrix


def _moved(matrix: Float[np.ndarray, "4 4"], points: Points) -> Points:
    return np.asarray(matrix[:3, :3] @ points + matrix[:3, 3:])


@dataclass(frozen=True)
class _Average:
    """The average brain's outline.

    Attributes:
        distance: To its surface, negative inside, mm; on a grid of `spacing` mm from `origin` on.
        origin: Where the first voxel lies, mm.
        spacing: Of the grid, mm.
        middle: Of the brain, mm.
        ml: Its volume.
    """

    distance: Float32[np.ndarray, "a b c"]
    origin: Float[np.ndarray, "3"]
    spacing: float
    middle: Float[np.ndarray, "3"]
    ml: float

    def depth(self, points: Points) -> Float[np.ndarray, " n"]:
        """Distances of points (mm) to the surface, negative inside; beyond the grid, that of the grid's border."""
        voxels = (points - self.origin[:, None]) / self.spacing
        return np.asarray(ndimage.map_coordinates(self.distance, voxels, order=1, mode="nearest"), float)


@cache
def _average() -> _Average:
    atlas, margin, every = load_atlas(), 10, 2
    brain = np.pad(ndimage.binary_fill_holes(atlas.brain > 0.5), margin)[::every, ::every, ::every]
    spacing = atlas.spacing * every
    beyond, within = ndimage.distance_transform_edt(~brain), ndimage.distance_transform_edt(brain)
    distance = np.where(brain, 0.5 - within, beyond - 0.5) * spacing
    origin = atlas.origin - margin * atlas.spacing
    middle = origin + spacing * np.argwhere(brain).mean(axis=0)
    ml = float(np.count_nonzero(brain)) * spacing**3 / 1000.0
    return _Average(distance.astype(np.float32), origin, spacing, middle, ml)
