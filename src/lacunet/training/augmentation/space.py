"""Where a crop's voxels lie in its case: rotated, scaled, mirrored, bent, and each modality moved a little."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from lacunet.training.augmentation.fields import smooth_field
from lacunet.training.augmentation.settings import Elastic, Misregistration


@dataclass(frozen=True)
class Bend:
    """A smooth displacement of the voxels of a crop.

    Attributes:
        points: Control points along each side of the crop.
        strength: Deviation of the displacement, relative to the distance between control points.
        seed: Of the displacement itself.
    """

    points: int
    strength: float
    seed: int


@dataclass(frozen=True)
class Motion:
    """A small rigid motion of one modality about the crop's centre.

    Attributes:
        angles: About x, y and z, radians.
        shift: Along x, y and z, voxels.
    """

    angles: tuple[float, float, float]
    shift: tuple[float, float, float]


def draw_bend(settings: Elastic, generator: np.random.Generator) -> Bend | None:
    """The bending of a crop, or None."""
    chosen, points = generator.random() < settings.chance, int(generator.integers(3, 7))
    part, seed = float(generator.uniform(0.2, 1)), int(generator.integers(2**31))
    return Bend(points, part * settings.strength, seed) if chosen else None


def draw_motions(
    settings: Misregistration, modalities: int, still: int | None, spacing: float, generator: np.random.Generator
) -> tuple[Motion | None, ...]:
    """The motion of each modality against the reference; None where it stays.

    Args:
        settings: Chance and bounds.
        modalities: Of the task.
        still: The one that never moves.
        spacing: Millimetres between voxels.
        generator: The draws.
    """
    chosen = generator.random(modalities) < settings.chance
    angles = np.radians(generator.uniform(-1, 1, (modalities, 3)) * settings.rotate)
    shifts = generator.uniform(-1, 1, (modalities, 3)) * settings.shift / spacing
    return tuple(
        Motion(_triple(angles[index]), _triple(shifts[index])) if chosen[index] and index != still else None
        for index in range(modalities)
    )


def rotation(angles: Sequence[float] | np.ndarray) -> np.ndarray:
    """The matrix that rotates about x, then y, then z by these angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def cut_out(
    images: np.ndarray,
    labels: np.ndarray,
    centre: np.ndarray,
    matrix: np.ndarray,
    crop: tuple[int, int, int],
    *,
    bend: Bend | None = None,
    motions: Sequence[Motion | None] = (),
) -> tuple[Float[Tensor, "modality x y z"], UInt8[Tensor, "x y z"]]:
    """A crop about a point, rotated, scaled, mirrored and bent in the same interpolation; zero beyond the source.

    Args:
        images: `modality x y z`; only the block that the crop needs is read (a memory map stays on disk).
        labels: `x y z`, taken by nearest neighbour.
        centre: The point of the source, in voxels, that the crop is centred on.
        matrix: From directions of the crop to directions of the source.
        crop: Voxels of the crop.
        bend: Displaces the crop's voxels, images and labels alike.
        motions: Of each modality against the labels; none moves where it is empty.
    """
    half = (np.asarray(crop) - 1) / 2
    offsets = None if bend is None else _bent(bend, crop)
    beyond = 0.0 if offsets is None else float((offsets - _offsets(crop)).abs().max())
    beyond += max((_largest_step(motion, half) for motion in motions if motion is not None), default=0.0)
    reach = np.abs(matrix) @ (half + beyond) + 1
    shape = np.asarray(labels.shape)
    first = np.clip(np.floor(centre - reach), 0, shape - 1).astype(int)
    last = np.clip(np.ceil(centre + reach) + 1, first + 1, shape).astype(int)
    block = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    source = torch.from_numpy(np.ascontiguousarray(images[(slice(None), *block)], dtype=np.float32))
    marked = torch.from_numpy(np.ascontiguousarray(labels[block], dtype=np.float32))
    points = _sampling_points(_offsets(crop) if offsets is None else offsets, centre - first, matrix, last - first)
    nearest = F.grid_sample(marked[None, None], points, mode="nearest", padding_mode="zeros", align_corners=False)
    moved = torch.empty((len(source), *crop))
    still = [index for index in range(len(source)) if not motions or motions[index] is None]
    moved[still] = _linear(source[still] if motions else source, points)
    for index, motion in enumerate(motions):
        if motion is not None:
            turned, shifted = _together(matrix, centre - first, motion)
            moved[index] = _linear(source[index : index + 1], _points_of(offsets, crop, turned, shifted, last - first))[
                0
            ]
    return moved, nearest[0, 0].to(torch.uint8)


def _linear(
    source: Float[Tensor, "channel _ _ _"], points: Float[Tensor, "1 x y z 3"]
) -> Float[Tensor, "channel x y z"]:
    sampled: Tensor = F.grid_sample(source[None], points, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[0]


def _together(matrix: np.ndarray, centre: np.ndarray, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and centre of a crop that is moved first."""
    return matrix @ rotation(motion.angles), centre + matrix @ np.asarray(motion.shift)


def _offsets(crop: tuple[int, int, int]) -> Float[Tensor, "x y z 3"]:
    """From the crop's centre to each of its voxels."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in crop]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def _bent(bend: Bend, crop: tuple[int, int, int]) -> Float[Tensor, "x y z 3"]:
    generator = np.random.default_rng(bend.seed)
    steps = []
    for length in crop:
        field = smooth_field(crop, bend.points, generator)
        centred = field - field.mean()
        distance = length / (bend.points - 1)
        steps.append(centred * (bend.strength * distance / centred.std().clamp_min(1e-6)))
    return _offsets(crop) + torch.stack(steps, dim=-1)


def _largest_step(motion: Motion, half: np.ndarray) -> float:
    """How far the motion takes a voxel of the crop at most, in voxels of the crop along one axis."""
    return float((np.abs(rotation(motion.angles) - np.eye(3)) @ half + np.abs(motion.shift)).max())


def _points_of(
    offsets: Float[Tensor, "x y z 3"] | None,
    crop: tuple[int, int, int],
    matrix: np.ndarray,
    centre: np.ndarray,
    shape: np.ndarray,
) -> Float[Tensor, "1 x y z 3"]:
    """The points of a moved crop; where it is not bent, from three lines instead of a product for each voxel."""
    if offsets is not None:
        return _sampling_points(offsets, centre, matrix, shape)
    scaled = matrix * (2 / shape)[:, None]
    x, y, z = (
        torch.from_numpy(np.outer(np.arange(n) - (n - 1) / 2, scaled[::-1, axis])).float()
        for axis, n in enumerate(crop)
    )
    start = torch.from_numpy((((2 * centre + 1) / shape) - 1)[::-1].copy()).float()
    return ((x + start)[:, None, None] + y[:, None] + z)[None]


def _sampling_points(
    offsets: Float[Tensor, "x y z 3"], centre: np.ndarray, matrix: np.ndarray, shape: np.ndarray
) -> Float[Tensor, "1 x y z 3"]:
    """The points that `grid_sample` reads; it wants (z, y, x) in -1..1 for axes stored as x y z."""
    voxels = offsets @ torch.as_tensor(matrix.T, dtype=torch.float32) + torch.as_tensor(centre, dtype=torch.float32)
    return ((2 * voxels + 1) / torch.as_tensor(shape, dtype=torch.float32) - 1).flip(-1)[None]


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
