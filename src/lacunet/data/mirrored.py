"""A real brain without a tumour: the healthy half of a case and, in place of the other, its mirror image.

Two things would give such a brain away, and are avoided. At the seam the halves are blended over some millimetres. No
brain is its own mirror image: the new half is bent by some millimetres, the more the farther from the seam.
"""

import hashlib
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from lacunet.case import Box, Case, box_around
from lacunet.data.midplane import Plane, Points, midplane, sampled
from lacunet.task import Task

MARGIN = 5.0
"""How near to the healthy half the tumour in the other one may come, mm: it swells beyond its outline."""
BLEND = 3.0
"""Half the width of the seam, mm."""
SPECK_ML = 0.05
"""Tumour in the healthy half that does not count: annotations have single voxels far from any tumour."""
_MOST_DIFFERENT = 0.7
"""Halves that differ more (see `midplane`) have no plane that can be trusted."""
_BEND = 1.5
"""Standard deviation of the displacements far from the seam, mm."""
_BEND_LENGTH = 20.0
"""How far apart the displacements are drawn, mm."""
_RISE = 20.0
"""Distance from the seam at which the displacements have their full size, mm."""
_ROOM = 10.0
"""How far beyond the brain the new half may reach, mm."""


def mirrored_case(case: Case, task: Task) -> Case | None:
    """A brain without a tumour from a case with a tumour in one half.

    The same case gives the same brain. The person is the case's: it must not be counted as another.

    Args:
        case: Scans without skull, on one grid.
        task: Modalities and regions.

    Returns:
        The brain on the case's grid, with an empty reference; None where the case has no reference or no tumour, where
        both halves have tumour, and where the halves are too different to find the plane between them.
    """
    if case.reference is None or not case.reference.any():
        return None
    plane, difference = midplane(case, task)
    if difference > _MOST_DIFFERENT:
        return None
    right = plane.distance(case.grid.places(np.argwhere(case.reference != 0).T))
    near = {side: (side * right > -MARGIN).sum() * case.grid.voxel_ml for side in (1.0, -1.0)}
    healthier = min(near, key=lambda side: near[side])
    return _completed(case, plane, healthier) if near[healthier] <= SPECK_ML else None


def _completed(case: Case, plane: Plane, side: float) -> Case:
    """The half on one side (1: right, -1: left) and its mirror image."""
    brain = np.logical_or.reduce([image != 0 for image in case.images.values()])
    room = tuple(int(_ROOM / spacing) for spacing in case.grid.spacing)
    box = box_around(brain, (room[0], room[1], room[2]))
    new = side * _distances(case, plane, box) < BLEND
    voxels = np.argwhere(new).T + np.array([[part.start] for part in box])
    places = case.grid.places(voxels)
    depth = side * plane.distance(places)
    source = _voxels(case, plane.mirrored(places) + _bends(case.name, places, depth))
    share = _smooth((depth + BLEND) / (2 * BLEND))
    images = {name: _joined(image, voxels, source, share) for name, image in case.images.items()}
    half = "right" if side > 0 else "left"
    return replace(
        case,
        name=f"{case.name} ({half} half mirrored)",
        images=images,
        reference=np.zeros(case.grid.shape, np.uint8),
        notes=(f"without a tumour: the {half} half of {case.name} and its mirror image",),
    )


def _joined(
    image: Float[np.ndarray, "x y z"],
    voxels: Int[np.ndarray, "3 n"],
    source: Points,
    share: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "x y z"]:
    """An image with these voxels taken from elsewhere, but for a share of their own; outside the brain stays 0."""
    own, brain = image[tuple(voxels)], image != 0
    inside = sampled(brain.astype(np.float32), source)
    other = sampled(image, source) / np.maximum(inside, 1e-6)
    has_own, has_other = own != 0, inside > 0.5
    share = np.where(has_own & has_other, share, np.where(share > 0.5, 1.0, 0.0))
    filled = np.where(share > 0.5, has_own, has_other)
    joined = image.copy()
    joined[tuple(voxels)] = np.where(filled, share * own + (1 - share) * other, 0.0)
    return joined


def _bends(name: str, places: Points, depth: Float[np.ndarray, " n"]) -> Points:
    """Smooth displacements, mm: none at the seam. They are drawn from the name, so that the brain can be made again."""
    generator = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()))
    low, high = places.min(axis=1), places.max(axis=1)
    lattice = np.ceil((high - low) / _BEND_LENGTH).astype(int) + 2
    drawn = generator.normal(0.0, _BEND, (3, *lattice)).astype(np.float32)
    knots = (places - low[:, None]) / _BEND_LENGTH
    rise = _smooth(np.maximum(-depth, 0.0) / _RISE)
    return np.stack([ndimage.map_coordinates(axis, knots, order=1, mode="nearest") * rise for axis in drawn])


def _smooth(part: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """From 0 to 1 without a kink, as `part` does."""
    part = np.clip(part, 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part))


def _distances(case: Case, plane: Plane, box: Box) -> Float[np.ndarray, "x y z"]:
    """How far to the right of the plane the voxels of a box lie, mm."""
    along = plane.normal @ case.grid.affine[:3, :3]
    start = plane.normal @ case.grid.affine[:3, 3] - plane.offset
    x, y, z = np.ogrid[box]
    return np.asarray(start + along[0] * x + along[1] * y + along[2] * z)


def _voxels(case: Case, places: Points) -> Points:
    """The inverse of `_places`, between voxels too."""
    back = np.linalg.inv(case.grid.affine)
    return np.asarray(back[:3, :3] @ places + back[:3, 3:])
