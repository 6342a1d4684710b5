"""Do two scans on one grid show the same brain, and in the same place? Judged by their edges, bright or dark.

Fluid, folds and vessels have edges in every sequence. Where two scans are of one brain, strong edges lie at the same
places and run in the same directions; another brain's folds run elsewhere, however well it is aligned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import Grid, box_around
from lacunet.intake.align.register import refine, volume_of
from lacunet.intake.align.rigid import Rigid, distances, grown, voxel_points

JUDGING_SPACING_MM = 2.0
"""Scans are compared on voxels averaged to about this size."""

MARGIN_VOXELS = 2
"""The outermost voxels of the brain are left out: where scans are stripped alike, its outline would count too much."""

MOST_POINTS = 20_000
"""At most so many voxels are compared."""

LEAST_POINTS = 500
"""With fewer voxels, nothing is measured."""

EDGE_VOXELS = 0.7
"""Scale of the edges, in those voxels: fine folds tell two brains apart, coarse ones do not."""

LEVELS = 32
"""Strengths of edges that are told apart when edges are weighted."""

SHIFT_MM = 4.0
TURN_DEGREES = 4.0
"""How far a scan is moved to see where it fits best."""

NEAR_MM = 2.0
"""Where the best place seems to be farther than this, it is looked for by registration."""

AROUND_BRAIN_MM = 4.0
"""This margin around the brain counts in the registration."""

Image = Float[np.ndarray, "x y z"]
Points = Float[np.ndarray, "n 3"]


@dataclass(frozen=True)
class Fit:
    """How two scans fit.

    Attributes:
        likeness: How much their edges are alike at the best place near where they lie: the rank correlation of their
            strengths plus the mean square cosine of the angles between them (1/3 by chance). 0 where there is too
            little to compare.
        away_mm: How far that place is from where the second scan lies, on average over the brain.
    """

    likeness: float
    away_mm: float


def fit_of(fixed: Image, moving: Image, grid: Grid, brain: Bool[np.ndarray, "x y z"], enough: float) -> Fit:
    """How two scans fit, judged inside the brain alone.

    Args:
        fixed: The first scan.
        moving: The second scan, on the same grid.
        grid: Of both.
        brain: Where both show the brain.
        enough: From this likeness on, a place nearby need not be looked for.
    """
    one, two, inside, small = _smaller(fixed, moving, grid, brain)
    points = voxel_points(inside, small, MOST_POINTS)
    if len(points) < LEAST_POINTS:
        return Fit(0.0, 0.0)
    likeness = Likeness.of(one, two, small, points)
    here = likeness.after(Rigid.identity())
    away = _by_trials(likeness, here)
    if away <= NEAR_MM and here >= enough:
        return Fit(here, away)
    where = grown(brain, grid, AROUND_BRAIN_MM)
    best = refine(volume_of(fixed, grid, where), volume_of(moving, grid, where), Rigid.identity()).to_fixed
    there = likeness.after(best.inverse)
    if there < here:
        return Fit(here, 0.0)
    return Fit(there, float(distances(best, Rigid.identity(), points).mean()))


@dataclass(frozen=True)
class Likeness:
    """The edges of two scans, ready to be compared at some points of the first.

    Attributes:
        points: In mm; the scans are compared at these.
        edges: Of the first scan at the points: change of grey value per mm along the axes of space.
        others: Of the second scan, everywhere: the same along the first axis.
        back: From mm to the voxels of `others`.
    """

    points: Points
    edges: Points
    others: Float[np.ndarray, "3 x y z"]
    back: Float[np.ndarray, "4 4"]

    @classmethod
    def of(cls, one: Image, two: Image, grid: Grid, points: Points) -> "Likeness":
        """Measure the edges of two scans on one grid."""
        back = np.linalg.inv(grid.affine)
        return cls(points, _sampled(_edges(one, grid), back, points), _edges(two, grid), back)

    def after(self, motion: Rigid) -> float:
        """The likeness (`Fit`) where each point of the first scan is compared with where the motion brings it."""
        others = _sampled(self.others, self.back, motion.move(self.points)) @ motion.matrix[:3, :3]
        strength, other = (np.linalg.norm(edges, axis=1) for edges in (self.edges, others))
        cosines = (self.edges * others).sum(1) / np.maximum(strength * other, 1e-9)
        weight = _levels(strength) * _levels(other)
        return _correlation(strength, other) + float((weight * cosines**2).sum() / max(float(weight.sum()), 1e-9))


def _by_trials(likeness: Likeness, here: float) -> float:
    """About how far away (mm) the scans would fit best, from six shifts and six rotations.

    Through the likeness at either end of an axis and in the middle goes a parabola; where it is highest, the scan fits
    best along this axis.
    """
    centre, still = likeness.points.mean(0), np.zeros(3)
    best = np.zeros(6)
    for axis in range(6):
        ends = []
        for sign in (-1.0, 1.0):
            step = sign * np.eye(3)[axis % 3]
            turn, shift = (still, SHIFT_MM * step) if axis < 3 else (TURN_DEGREES * step, still)
            ends.append(likeness.after(Rigid.about(centre, turn, shift)))
        fall = 2 * here - sum(ends)
        best[axis] = np.clip((ends[1] - ends[0]) / (2 * fall), -1.0, 1.0) if fall > 0 else np.sign(ends[1] - ends[0])
    found = Rigid.about(centre, TURN_DEGREES * best[3:], SHIFT_MM * best[:3])
    return float(distances(found, Rigid.identity(), likeness.points).mean())


def _smaller(
    fixed: Image, moving: Image, grid: Grid, brain: Bool[np.ndarray, "x y z"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Grid]:
    """Both scans averaged over blocks of voxels within the brain, the mask of the inner brain, and their grid."""
    sides = box_around(brain)
    low, high = np.array([side.start for side in sides]), np.array([side.stop for side in sides])
    parts = [max(1, round(JUDGING_SPACING_MM / spacing)) for spacing in grid.spacing]
    high = low + (high - low) // parts * parts
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    weight = _blocks(brain[box].astype(np.float32), parts)
    means = [_blocks(image[box] * brain[box], parts) / np.maximum(weight, 1e-6) for image in (fixed, moving)]
    affine = grid.affine @ np.diag([*parts, 1.0])
    affine[:3, 3] = grid.affine[:3, :3] @ (low + (np.asarray(parts) - 1) / 2) + grid.affine[:3, 3]
    x, y, z = weight.shape
    inside = ndimage.binary_erosion(weight > 0.5, iterations=MARGIN_VOXELS)
    return means[0], means[1], np.asarray(inside), Grid((x, y, z), affine)


def _blocks(image: np.ndarray, parts: Sequence[int]) -> np.ndarray:
    x, y, z = (size // part for size, part in zip(image.shape, parts, strict=True))
    shape = (x, parts[0], y, parts[1], z, parts[2])
    return np.asarray(image.reshape(shape).mean(axis=(1, 3, 5)), dtype=np.float32)


def _edges(image: Image, grid: Grid) -> Float[np.ndarray, "3 x y z"]:
    """The change of grey value per mm along the three axes of space, at the scale `EDGE_VOXELS`."""
    along = [
        ndimage.gaussian_filter(image, EDGE_VOXELS, order=[int(axis == k) for k in range(3)]) / grid.spacing[axis]
        for axis in range(3)
    ]
    axes = (grid.affine[:3, :3] / np.asarray(grid.spacing)).astype(np.float32)
    return np.asarray(np.tensordot(axes, np.stack(along), 1), dtype=np.float32)


def _sampled(edges: Float[np.ndarray, "3 x y z"], back: Float[np.ndarray, "4 4"], points: Points) -> Points:
    voxels = (points @ back[:3, :3].T + back[:3, 3]).T
    values = [ndimage.map_coordinates(one, voxels, order=1, output=np.float32, mode="nearest") for one in edges]
    return np.stack(values, axis=1).astype(np.float64)


def _levels(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """0 for the weakest to `LEVELS` - 1 for the strongest, as many of each."""
    return np.searchsorted(np.quantile(values, np.linspace(0, 1, LEVELS + 1)[1:-1]), values).astype(np.float64)


def _correlation(one: Float[np.ndarray, " n"], two: Float[np.ndarray, " n"]) -> float:
    """Rank correlation (Spearman's; ties are ranked in their order)."""
    first, second = (np.argsort(np.argsort(values)).astype(np.float64) for values in (one, two))
    return float(np.corrcoef(first, second)[0, 1])
