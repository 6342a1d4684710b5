"""Rigid motions in mm, and images moved by them.

Coordinates are mm in RAS+, as in NIfTI affines; SimpleITK's own coordinates (LPS+) are used inside this file only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage

from lacunet.case import RAS_LPS, Grid

_RIGID_TOLERANCE = 1e-6
"""How far a matrix may be from a rotation and still be accepted as one (it was rounded when written)."""


Vector = Sequence[float] | Sequence[int] | np.ndarray
"""Three numbers: a point, a shift or angles."""


@dataclass(frozen=True)
class Rigid:
    """A rotation and a shift of space: `matrix @ (x, y, z, 1)`, mm in RAS+ before and after."""

    matrix: Float[np.ndarray, "4 4"]

    @classmethod
    def identity(cls) -> "Rigid":
        """The motion that moves nothing."""
        return cls(np.eye(4))

    @classmethod
    def about(cls, centre: Vector, degrees: Vector, shift: Vector) -> "Rigid":
        """Rotate about a point (x first, then y, then z; degrees), then shift (mm)."""
        x, y, z = np.deg2rad(degrees)
        about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
        matrix = np.eye(4)
        matrix[:3, :3] = about_z @ about_y @ about_x
        matrix[:3, 3] = np.asarray(centre) + np.asarray(shift) - matrix[:3, :3] @ np.asarray(centre)
        return cls(matrix)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")
    def from_json(cls, rows: Any) -> "Rigid":
        """The inverse of `to_json`.

        Raises:
            ValueError: not four rows of four numbers that rotate and shift.
        """
        matrix = np.asarray(rows, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
            raise ValueError("a rigid motion is four rows of four numbers, the last one 0 0 0 1")
        turn = matrix[:3, :3]
        if not np.abs(turn.T @ turn - np.eye(3)).max() <= _RIGID_TOLERANCE or np.linalg.det(turn) < 0:
            raise ValueError("the matrix does more than rotate and shift")
        return cls(matrix)

    def to_json(self) -> list[list[float]]:
        """The four rows of the matrix."""
        return [[float(value) for value in row] for row in self.matrix]

    @property
    def inverse(self) -> "Rigid":
        """The motion back."""
        turn, shift = self.matrix[:3, :3], self.matrix[:3, 3]
        back = np.eye(4)
        back[:3, :3], back[:3, 3] = turn.T, -turn.T @ shift
        return Rigid(back)

    def after(self, first: "Rigid") -> "Rigid":
        """`first`, then this."""
        return Rigid(self.matrix @ first.matrix)

    def move(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """The points (mm) after the motion."""
        return np.asarray(points @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    @property
    def degrees(self) -> float:
        """The angle of its rotation."""
        turn = self.matrix[:3, :3]
        axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
        return float(np.rad2deg(np.arctan2(np.linalg.norm(axis), np.trace(turn) - 1.0)))


def distances(one: Rigid, two: Rigid, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Distance (mm) of each point after one motion from the same point after the other: the target registration error
    where one of them is true."""
    return np.asarray(np.linalg.norm(one.move(points) - two.move(points), axis=1))


def voxel_points(mask: Shaped[np.ndarray, "x y z"], grid: Grid, most: int = 4000) -> Float[np.ndarray, "n 3"]:
    """Centres (mm) of the voxels that are not zero, evenly thinned to at most `most`."""
    voxels = np.argwhere(mask)
    voxels = voxels[:: max(1, -(-len(voxels) // most))]
    return np.asarray(voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3], dtype=np.float64)


def centre_of(grid: Grid) -> Float[np.ndarray, "3"]:
    """The middle of a grid, mm."""
    middle = (np.asarray(grid.shape) - 1) / 2
    return np.asarray(grid.affine[:3, :3] @ middle + grid.affine[:3, 3])


def grown(mask: Bool[np.ndarray, "x y z"], grid: Grid, margin: float) -> Bool[np.ndarray, "x y z"]:
    """The mask enlarged by a margin (mm) along each axis."""
    around = mask.astype(np.uint8)
    for axis, spacing in enumerate(grid.spacing):
        if (steps := round(margin / spacing)) > 0:
            around = ndimage.maximum_filter1d(around, 2 * steps + 1, axis=axis, mode="constant")
    return np.asarray(around > 0)


# ---------------------------------------------------------------- SimpleITK


def to_itk(voxels: Shaped[np.ndarray, "x y z"], grid: Grid) -> sitk.Image:
    """An array on its grid as a SimpleITK image."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    affine = RAS_LPS @ grid.affine
    image.SetSpacing(grid.spacing)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / np.asarray(grid.spacing)).ravel().tolist())
    return image


def from_itk(image: sitk.Image) -> Shaped[np.ndarray, "x y z"]:
    """The voxels of a SimpleITK image, axes x, y, z."""
    return np.ascontiguousarray(np.asarray(sitk.GetArrayViewFromImage(image)).transpose(2, 1, 0))


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a SimpleITK image."""
    x, y, z = image.GetSize()
    return Grid((int(x), int(y), int(z)), affine_of_itk(image))


def affine_of_itk(image: sitk.Image) -> Float[np.ndarray, "4 4"]:
    """Voxel to mm (RAS+) of a 3-D image of SimpleITK."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.asarray(RAS_LPS @ affine)


def transform_of(motion: Rigid, centre: Vector) -> sitk.Euler3DTransform:
    """A motion as SimpleITK's transform of six numbers, turning about `centre` (mm, RAS+)."""
    matrix = RAS_LPS @ motion.matrix @ RAS_LPS
    middle = RAS_LPS[:3, :3] @ np.asarray(centre, dtype=np.float64)
    transform = sitk.Euler3DTransform()
    transform.SetCenter(middle.tolist())
    transform.SetMatrix(matrix[:3, :3].ravel().tolist(), 1e-9)
    transform.SetTranslation((matrix[:3, :3] @ middle + matrix[:3, 3] - middle).tolist())
    return transform


def motion_of(transform: sitk.Transform) -> Rigid:
    """The motion of a SimpleITK transform, made exactly rigid."""
    corners = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    origin, *tips = (np.asarray(transform.TransformPoint(corner)) for corner in corners)
    left, _, right = np.linalg.svd(np.stack([tip - origin for tip in tips], axis=1))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = left @ right, origin
    return Rigid(RAS_LPS @ matrix @ RAS_LPS)


def carry(
    voxels: Shaped[np.ndarray, "x y z"],
    grid: Grid,
    target: Grid,
    to_source: Rigid,
    nearest: bool = False,
    fill: float = 0.0,
) -> Shaped[np.ndarray, "u v w"]:
    """An image on another grid, interpolated once.

    Args:
        voxels: The image.
        grid: Its grid.
        target: The grid of the result.
        to_source: From points on the target (mm) to points in the image (mm).
        nearest: Take the nearest voxel instead of interpolating linearly.
        fill: The value where the image has no voxels.

    Returns:
        An array of `target.shape`; float32 unless `nearest`.
    """
    kind = voxels.dtype if nearest else np.dtype(np.float32)
    how = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    like = to_itk(np.zeros((1, 1, 1), np.uint8), Grid((1, 1, 1), target.affine))
    moved = sitk.Resample(
        to_itk(voxels.astype(kind, copy=False), grid),
        [int(size) for size in target.shape],
        transform_of(to_source, (0.0, 0.0, 0.0)),
        how,
        like.GetOrigin(),
        like.GetSpacing(),
        like.GetDirection(),
        fill,
    )
    return from_itk(moved)
