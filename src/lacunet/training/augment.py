"""Augmentation: random parameters first, then a deterministic function of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Chance = Annotated[float, Field(ge=0, le=1)]


class Augmentation(BaseModel):
    """How far training images may be moved and changed. Zero switches a part off.

    Attributes:
        flip: Chance to mirror along x, y and z.
        rotate: Largest rotation about each axis, degrees.
        scale: Largest relative change of size: 0.15 means 0.85 to 1.15.
        contrast: Largest relative change of each modality's contrast.
        shift: Largest change of each modality's mean, in standard deviations.
        gamma: Largest exponent of a change of each modality's curve, as a power of e: 0.3 means 0.74 to 1.35.
        noise: Largest deviation of added Gaussian noise, in standard deviations of the image.
        blur: Chance to blur a modality slightly, as thick slices do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    flip: tuple[Chance, Chance, Chance] = (0.5, 0.5, 0.5)
    rotate: float = Field(15.0, ge=0, le=180)
    scale: float = Field(0.15, ge=0, lt=1)
    contrast: float = Field(0.15, ge=0, lt=1)
    shift: float = Field(0.15, ge=0)
    gamma: float = Field(0.25, ge=0)
    noise: float = Field(0.1, ge=0)
    blur: float = Field(0.1, ge=0, le=1)


NO_AUGMENTATION = Augmentation(
    flip=(0.0, 0.0, 0.0), rotate=0.0, scale=0.0, contrast=0.0, shift=0.0, gamma=0.0, noise=0.0, blur=0.0
)


@dataclass(frozen=True)
class Change:
    """One draw of all random parameters; per-modality ones are listed in the task's order.

    Attributes:
        matrix: From directions of the crop to directions of the source (rotation, scale, mirrors), 3 x 3.
        contrast: Factor per modality.
        shift: Added to each modality's brain voxels.
        gamma: Exponent per modality.
        noise: Deviation of the noise per modality.
        blur: Whether a modality is blurred.
        seed: Of the noise itself.
    """

    matrix: np.ndarray
    contrast: tuple[float, ...]
    shift: tuple[float, ...]
    gamma: tuple[float, ...]
    noise: tuple[float, ...]
    blur: tuple[bool, ...]
    seed: int


def draw_change(augmentation: Augmentation, modalities: int, generator: np.random.Generator) -> Change:
    """Random parameters within the bounds of an augmentation."""
    angles = np.radians(generator.uniform(-1, 1, 3) * augmentation.rotate)
    factor = 1.0 + generator.uniform(-1, 1) * augmentation.scale
    mirrors = np.where(generator.random(3) < np.asarray(augmentation.flip), -1.0, 1.0)
    return Change(
        matrix=rotation(angles) @ np.diag(mirrors) * factor,
        contrast=tuple(1.0 + generator.uniform(-1, 1, modalities) * augmentation.contrast),
        shift=tuple(generator.uniform(-1, 1, modalities) * augmentation.shift),
        gamma=tuple(np.exp(generator.uniform(-1, 1, modalities) * augmentation.gamma)),
        noise=tuple(generator.uniform(0, 1, modalities) * augmentation.noise),
        blur=tuple(bool(chosen) for chosen in generator.random(modalities) < augmentation.blur),
        seed=int(generator.integers(2**31)),
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
) -> tuple[Float[Tensor, "modality x y z"], UInt8[Tensor, "x y z"]]:
    """A crop about a point, rotated, scaled and mirrored in the same interpolation; zero beyond the source.

    Args:
        images: `modality x y z`; only the block that the crop needs is read (a memory map stays on disk).
        labels: `x y z`, taken by nearest neighbour.
        centre: The point of the source, in voxels, that the crop is centred on.
        matrix: From directions of the crop to directions of the source.
        crop: Voxels of the crop.
    """
    half = (np.asarray(crop) - 1) / 2
    reach = np.abs(matrix) @ half + 1
    shape = np.asarray(labels.shape)
    first = np.clip(np.floor(centre - reach), 0, shape - 1).astype(int)
    last = np.clip(np.ceil(centre + reach) + 1, first + 1, shape).astype(int)
    block = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    source = torch.from_numpy(np.ascontiguousarray(images[(slice(None), *block)], dtype=np.float32))
    marked = torch.from_numpy(np.ascontiguousarray(labels[block], dtype=np.float32))
    points = _sampling_points(centre - first, matrix, crop, last - first)
    moved = F.grid_sample(source[None], points, mode="bilinear", padding_mode="zeros", align_corners=False)
    nearest = F.grid_sample(marked[None, None], points, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved[0], nearest[0, 0].to(torch.uint8)


def change_intensities(images: Float[Tensor, "modality x y z"], change: Change) -> Float[Tensor, "modality x y z"]:
    """Blur, curve, contrast, shift and noise of each modality, inside its brain; the background stays exactly zero."""
    generator = torch.Generator().manual_seed(change.seed)
    changed = []
    for index, image in enumerate(images):
        noise = torch.randn(image.shape, generator=generator) * change.noise[index]
        brain = image != 0
        if change.blur[index]:
            image = F.avg_pool3d(F.pad(image[None, None], (1,) * 6, mode="replicate"), 3, stride=1)[0, 0]
        image = _curve(image, change.gamma[index]) * change.contrast[index] + change.shift[index] + noise
        changed.append(torch.where(brain, image, 0.0))
    return torch.stack(changed)


def _curve(image: Tensor, gamma: float) -> Tensor:
    """A power law between the image's darkest and brightest voxel, which keep their values."""
    low, high = image.min(), image.max()
    reach = (high - low).clamp_min(1e-6)
    return ((image - low) / reach).clamp(0, 1) ** gamma * reach + low


def _sampling_points(
    centre: np.ndarray, matrix: np.ndarray, crop: tuple[int, int, int], shape: np.ndarray
) -> Float[Tensor, "1 x y z 3"]:
    """The points that `grid_sample` reads; it wants (z, y, x) in -1..1 for axes stored as x y z."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in crop]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    voxels = offsets @ torch.as_tensor(matrix.T, dtype=torch.float32) + torch.as_tensor(centre, dtype=torch.float32)
    return ((2 * voxels + 1) / torch.as_tensor(shape, dtype=torch.float32) - 1).flip(-1)[None]
