"""Where a crop's voxels lie in its case: rotated, scaled, mirrored, bent, and each modality moved a little."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from lacunet.training.augmentation.fields import smooth_field
from lacunet.training.augmentation.settings import Elastic, Misregistration

Mode = Literal["bilinear", "nearest"]


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
    offsets = None if bend is None else _bent(bend, crop)
    still = [index for index in range(len(images)) if not motions or motions[index] is None]
    own = _place_of(centre, matrix, crop, offsets, labels.shape)
    moved = torch.empty((len(images), *crop))
    moved[still] = own.taken(images, still, "bilinear")
    for index, motion in enumerate(motions):
        if motion is not None:
            turned, shifted = _together(matrix, centre, motion)
            moved[index] = _place_of(shifted, turned, crop, offsets, labels.shape).taken(images, [index], "bilinear")[0]
    return moved, own.taken(labels[None], [0], "nearest")[0].to(torch.uint8)


def _place_of(
    centre: np.ndarray,
    matrix: np.ndarray,
    crop: tuple[int, int, int],
    offsets: Float[Tensor, "x y z 3"] | None,
    shape: tuple[int, ...],
) -> "_Block | _Points":
    start = centre - (np.asarray(crop) - 1) / 2
    if offsets is None and (np.abs(matrix) == np.eye(3)).all() and (start == np.round(start)).all():
        return _Block(start.astype(int), crop, tuple(np.flatnonzero(np.diag(matrix) < 0).tolist()))
    furthest = (np.asarray(crop) - 1) / 2 if offsets is None else offsets.abs().amax((0, 1, 2)).numpy()
    reach = np.abs(matrix) @ furthest + 1
    first = np.clip(np.floor(centre - reach), 0, np.asarray(shape) - 1).astype(int)
    last = np.clip(np.ceil(centre + reach) + 1, first + 1, shape).astype(int)
    return _Points(first, last, _points_of(offsets, crop, matrix, centre - first, last - first))


@dataclass(frozen=True)
class _Block:
    """Each voxel of the crop is one of the source's, or lies beyond it: nothing is interpolated.

    Attributes:
        start: The source's voxel at the crop's first one, before mirroring.
        crop: Voxels of the crop.
        mirrored: Axes of the crop.
    """

    start: np.ndarray
    crop: tuple[int, int, int]
    mirrored: tuple[int, ...]

    def taken(self, source: np.ndarray, channels: Sequence[int], mode: Mode) -> Float[Tensor, "channel x y z"]:
        """The crop of these channels."""
        shape = source.shape[1:]
        first, last = np.clip(self.start, 0, shape), np.clip(self.start + self.crop, 0, shape)
        there = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        here = tuple(slice(a, b) for a, b in zip(first - self.start, last - self.start, strict=True))
        block = np.zeros((len(channels), *self.crop), np.float32)
        for target, channel in zip(block, channels, strict=True):
            target[here] = source[channel][there]
        return torch.from_numpy(block).flip([axis + 1 for axis in self.mirrored])


@dataclass(frozen=True)
class _Points:
    """Each voxel of the crop is interpolated; only the block that this needs is read.

    Attributes:
        first: Corner of the block.
        last: The opposite corner, exclusive.
        points: As `grid_sample` wants them.
    """

    first: np.ndarray
    last: np.ndarray
    points: Float[Tensor, "1 x y z 3"]

    def taken(self, source: np.ndarray, channels: Sequence[int], mode: Mode) -> Float[Tensor, "channel x y z"]:
        """The crop of these channels."""
        there = tuple(slice(a, b) for a, b in zip(self.first, self.last, strict=True))
        block = np.stack([source[channel][there] for channel in channels], dtype=np.float32)
        sampled: Tensor = F.grid_sample(
            torch.from_numpy(block)[None], self.points, mode=mode, padding_mode="zeros", align_corners=False
        )
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
