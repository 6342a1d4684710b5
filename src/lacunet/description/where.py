"""Where a mask lies: at the same places on both sides of the brain, or in pieces far apart. No torch here.

A tumour seldom does either. Normal anatomy that is taken for a tumour does the first, and so does shading; false
findings do the second.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, optimize

from lacunet.case import Grid, box_around
from lacunet.data.midplane import Plane

_STEP = 3.0
"""Side of the blocks that are looked at, mm."""
MIDDLE = 10.0
"""So near to the plane between the halves nothing counts as being on both sides, mm."""
SAME_PLACE = 5.0
"""Two places are the same if they are no farther apart, mm."""
FAR = 20.0
"""Pieces are far apart if there is so much between them, mm."""
_EVERY = 2
"""In the search for the plane one of so many blocks of the brain is looked at."""
_MARGIN = 2
"""Empty blocks around a mask."""
_SMALLEST_PIECE = 1.0
"""Smaller pieces do not count, ml."""


@dataclass(frozen=True)
class Blocks:
    """A mask in blocks of about 3 mm.

    Attributes:
        filled: Blocks of which the mask fills at least half.
        grid: Where they lie.
    """

    filled: Bool[np.ndarray, "a b c"]
    grid: Grid

    @property
    def spacing(self) -> Float[np.ndarray, "3"]:
        """Between neighbouring blocks, mm."""
        return np.asarray(self.grid.spacing)

    def indices(self, places: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
        """Of places in mm (RAS+)."""
        return np.asarray(np.linalg.solve(self.grid.affine[:3, :3], places - self.grid.affine[:3, 3:]))


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


def midline_of(brain: Bool[np.ndarray, "x y z"], grid: Grid) -> Plane:
    """The plane between the halves of a brain, in mm (RAS+), by its outline alone, which tumours hardly change.

    Args:
        brain: Where any scan has signal.
        grid: Its first axis runs to the right, as nearly as the scan allows.
    """
    blocks = blocks_of(brain, grid)
    along = outline_plane(blocks.filled, blocks.spacing)
    axes = blocks.grid.affine[:3, :3] / blocks.spacing
    normal = axes @ along.normal
    return Plane(normal, along.offset + float(normal @ blocks.grid.affine[:3, 3]))


def outline_plane(brain: Bool[np.ndarray, "x y z"], spacing: Float[np.ndarray, "3"]) -> Plane:
    """The plane that best mirrors a brain onto itself.

    In mm from the first voxel, along the axes of the array.
    """
    points = np.argwhere(brain)[::_EVERY].T * spacing[:, None]
    centre, signal = points.mean(axis=1), brain.astype(np.float32)

    def outside(numbers: np.ndarray) -> float:
        voxels = _plane(numbers, centre).mirrored(points) / spacing[:, None]
        return -float(ndimage.map_coordinates(signal, voxels, order=1).mean())

    around = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.08, 0.0], [0.0, 0.0, 0.08]])
    options = {"initial_simplex": around, "xatol": 5e-3, "fatol": 1e-5, "maxfev": 100}
    return _plane(optimize.minimize(outside, np.zeros(3), method="Nelder-Mead", options=options).x, centre)


def _plane(numbers: np.ndarray, centre: np.ndarray) -> Plane:
    """From a shift along x (mm) off a centre, and slopes along y and z."""
    normal = np.array([1.0, numbers[1], numbers[2]])
    normal /= np.linalg.norm(normal)
    return Plane(normal, float(normal @ centre + normal[0] * numbers[0]))


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


def blocks_of(mask: Bool[np.ndarray, "x y z"], grid: Grid) -> Blocks:
    """Blocks of about 3 mm; around the mask lie as many as the distance that is still the same place needs."""
    sides = np.array([max(1, round(_STEP / size)) for size in grid.spacing])
    box = box_around(mask)
    beyond = [(0, -(part.stop - part.start) % side) for part, side in zip(box, sides, strict=True)]
    cut = np.pad(mask[box], beyond)
    split = tuple(part for number, side in zip(cut.shape, sides, strict=True) for part in (number // side, int(side)))
    share = np.pad(cut.reshape(split).mean(axis=(1, 3, 5)), _MARGIN)
    first = np.array([part.start for part in box]) + (sides - 1) / 2 - _MARGIN * sides
    affine = grid.affine @ np.block([[np.diag(sides), first[:, None]], [np.zeros(3), 1.0]])
    x, y, z = share.shape
    return Blocks(share >= 0.5, Grid((x, y, z), affine))
