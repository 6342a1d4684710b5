"""The plane between the halves of a brain, found by how well each half is the other's mirror image."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage, optimize

from lacunet.case import Case
from lacunet.data.prepare import Preparation, frame_of, prepare_images, regions_of
from lacunet.task import Task

Points = Float[np.ndarray, "3 n"]

_SPACING = 4.0
"""Of the grid on which the plane is searched, mm."""
_AROUND_TUMOUR = 2
"""How far from a tumour the halves are not compared, in voxels of that grid: it pushes and swells."""
_LARGEST_DIFFERENCE = 2.0
"""In standard deviations; a larger difference counts as this one, so that single vessels do not decide."""
_OUTLINE = 3.0
"""What it counts that a point is in the brain and its mirror image is not, in standard deviations."""
_SHIFTS = (-12.0, -6.0, 0.0, 6.0, 12.0)
"""Of the first guesses: from the middle of the brain along the normal, mm."""
_SLOPES = (-0.12, 0.0, 0.12)
"""Of the first guesses: how far the plane leaves the vertical, from front to back and from below to above."""


@dataclass(frozen=True)
class Plane:
    """A plane in mm (RAS+).

    Attributes:
        normal: Of length 1, to the right.
        offset: From the origin along the normal, mm.
    """

    normal: Float[np.ndarray, "3"]
    offset: float

    def distance(self, points: Points) -> Float[np.ndarray, " n"]:
        """How far to the right of the plane points in mm lie."""
        return np.asarray(self.normal @ points - self.offset)

    def mirrored(self, points: Points) -> Points:
        """The same points on the other side of the plane."""
        return np.asarray(points - 2.0 * np.outer(self.normal, self.distance(points)))


def tilted_plane(numbers: Float[np.ndarray, "3"], centre: Float[np.ndarray, "3"]) -> Plane:
    """A plane near the vertical one through a centre.

    Args:
        numbers: A shift along x off the centre, mm, and slopes along y and z.
        centre: In mm.
    """
    normal = np.array([1.0, numbers[1], numbers[2]])
    normal /= np.linalg.norm(normal)
    return Plane(normal, float(normal @ centre + normal[0] * numbers[0]))


@dataclass(frozen=True)
class _Brain:
    """What is compared.

    Attributes:
        features: On a coarse grid.
        near: 1 near a tumour.
        points: The centres of the brain's voxels away from tumour, mm.
        values: The features there.
        to_grid: From mm to voxels of the grid, 4 x 4.
    """

    features: Float[np.ndarray, "feature x y z"]
    near: Float[np.ndarray, "x y z"]
    points: Points
    values: Float[np.ndarray, "feature n"]
    to_grid: np.ndarray


def midplane(case: Case, task: Task) -> tuple[Plane, float]:
    """The plane between the halves of a brain, and how alike they are.

    Args:
        case: Scans without skull; where it has a reference, the tumour and what lies opposite are not compared.
        task: Modalities and regions.

    Returns:
        The plane; the mean squared difference between the halves in standard deviations, each at most 2, from 0
        (mirror images) to 4.
    """
    brain = _compared(case, task)
    centre = brain.points.mean(axis=1)

    def cost(numbers: np.ndarray) -> float:
        return _difference(brain, tilted_plane(numbers, centre))

    guesses = [np.array(guess) for guess in product(_SHIFTS, _SLOPES, _SLOPES)]
    start = min(guesses, key=cost)
    around = start + np.concatenate([np.zeros((1, 3)), np.diag([3.0, 0.05, 0.05])])
    options = {"initial_simplex": around, "xatol": 1e-3, "fatol": 1e-5, "maxfev": 150}
    found = optimize.minimize(cost, start, method="Nelder-Mead", options=options)
    return tilted_plane(found.x, centre), float(found.fun)


def sampled(array: Float[np.ndarray, "x y z"], voxels: Points) -> Float[np.ndarray, " n"]:
    """An array between its voxels, linearly; 0 outside."""
    return np.asarray(ndimage.map_coordinates(array, voxels, output=np.float32, order=1))


def _compared(case: Case, task: Task) -> _Brain:
    acquired = case.acquired(task)
    frame = frame_of(case, acquired, Preparation(_SPACING))
    prepared = prepare_images(case, task, Preparation(_SPACING), frame).numpy()
    images = prepared[[task.modalities.index(modality) for modality in acquired]]
    brain = (images != 0).any(axis=0)
    features = np.concatenate([images, _OUTLINE * brain[None]]).astype(np.float32)
    near = np.zeros(brain.shape, bool)
    if case.reference is not None:
        tumour = frame.apply(regions_of(torch.from_numpy(case.reference), task)).amax(dim=0).numpy() > 0.01
        near = ndimage.binary_dilation(tumour, iterations=_AROUND_TUMOUR)
    voxels = np.argwhere(brain & ~near).T
    return _Brain(
        features=features,
        near=near.astype(np.float32),
        points=frame.affine[:3, :3] @ voxels + frame.affine[:3, 3:],
        values=features[(slice(None), *voxels)],
        to_grid=np.linalg.inv(frame.affine),
    )


def _difference(brain: _Brain, plane: Plane) -> float:
    voxels = brain.to_grid[:3, :3] @ plane.mirrored(brain.points) + brain.to_grid[:3, 3:]
    counted = sampled(brain.near, voxels) < 0.1
    largest = _LARGEST_DIFFERENCE**2
    parts = [
        np.minimum((sampled(feature, voxels) - value) ** 2, largest)
        for feature, value in zip(brain.features, brain.values, strict=True)
    ]
    return float(np.mean(parts, axis=0)[counted].mean()) if counted.any() else largest
