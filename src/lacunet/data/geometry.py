"""Whether an affine can be a scan's, and how far two affines are apart."""

import math
from itertools import combinations
from operator import mul

import numpy as np
from jaxtyping import Float

from lacunet.errors import GeometryError

CORNER_TOLERANCE_MM = 0.1
"""Scans lie on one grid when no corner of the volume is farther than this from the same corner of the other."""

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two voxel axes that still counts as a right angle."""

SPACINGS_MM = (0.05, 50.0)
"""Distances between voxels that a scan of a head may have."""

MOST_MM = 1e5
"""No voxel is farther than this (100 m) from the origin of its space."""


def sound_affine(name: str, affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The affine itself (voxel to mm, RAS+), where voxels are rectangular and of a possible size.

    Raises:
        GeometryError: it is not finite, sheared, far away, or its voxels are too small or too large.
    """
    if not np.isfinite(affine).all():
        raise GeometryError(f"{name}: its affine has NaN or infinite entries; the header is damaged")
    axes = affine[:3, :3].T.tolist()
    spacing = tuple(math.hypot(*axis) for axis in axes)
    low, high = SPACINGS_MM
    if not all(low <= one <= high for one in spacing):
        raise GeometryError(f"{name}: spacing {triple(spacing)} mm; between {low} and {high} mm is expected")
    if (away := max(map(abs, affine[:3, 3].tolist()))) > MOST_MM:
        raise GeometryError(f"{name}: lies {away:.3g} mm away from the origin; the header is damaged")
    pairs = combinations(zip(axes, spacing, strict=True), 2)
    if any(abs(sum(map(mul, one, two))) > SHEAR_TOLERANCE * a * b for (one, a), (two, b) in pairs):
        raise GeometryError(
            f"{name}: its voxel axes are not at right angles (a sheared affine); resample it on a regular grid"
        )
    return affine


@np.errstate(over="ignore", invalid="ignore")
def corner_distance(shape: tuple[int, ...], one: np.ndarray, two: np.ndarray) -> float:
    """Largest distance in mm between the positions that two affines give to a corner of the volume."""
    if np.array_equal(one, two):
        return 0.0
    corners = np.array([[x, y, z, 1] for x in (0, shape[0] - 1) for y in (0, shape[1] - 1) for z in (0, shape[2] - 1)])
    return float(np.linalg.norm((corners @ (one - two).T)[:, :3], axis=1).max())


def triple(numbers: "np.ndarray | tuple[float, ...]") -> str:
    """`(1, 1, 5.5)`, for people."""
    return "(" + ", ".join(f"{float(number):.4g}" for number in numbers) + ")"
