"""Shading: the smooth change of brightness over the head that receiving coils leave."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacunet.data.prepare import resample
from lacunet.training.augmentation.fields import smooth_field
from lacunet.training.augmentation.settings import Shading

OCTAVES = (2, 3, 4)
COARSE = 4


@dataclass(frozen=True)
class Shade:
    """The shading of one modality.

    Attributes:
        deviation: Of the logarithm of the gain, over the crop.
        likeness: How much of the field is the one that all modalities of the crop share: one coil received them all.
        common: Seed of the shared field.
        own: Seed of the modality's own field.
    """

    deviation: float
    likeness: float
    common: int
    own: int


def draw_shading(settings: Shading, modalities: int, generator: np.random.Generator) -> tuple[Shade | None, ...]:
    """The shading of each modality of a crop; None where there is none."""
    common, likeness = int(generator.integers(2**31)), float(generator.random())
    chosen = generator.random(modalities) < settings.chance
    deviations = generator.uniform(0.2, 1, modalities) * settings.strength
    seeds = generator.integers(2**31, size=modalities)
    return tuple(
        Shade(float(deviations[index]), likeness, common, int(seeds[index])) if chosen[index] else None
        for index in range(modalities)
    )


def gain_of(shade: Shade, shape: tuple[int, int, int], device: torch.device | None = None) -> Float[Tensor, "x y z"]:
    """The factor of each voxel's intensity: exp of a field of several octaves."""
    x, y, z = (max(2, n // COARSE) for n in shape)  # so smooth a field needs few voxels
    coarse = (x, y, z)
    shared, own = (_octaves(coarse, seed, device) for seed in (shade.common, shade.own))
    field = shade.likeness * shared + (1 - shade.likeness) * own
    centred = field - field.mean()
    return resample(torch.exp(centred * (shade.deviation / centred.std().clamp_min(1e-6)))[None], shape)[0]


def _octaves(shape: tuple[int, int, int], seed: int, device: torch.device | None) -> Float[Tensor, "x y z"]:
    generator = np.random.default_rng(seed)
    shares = generator.uniform(0, 1, len(OCTAVES))
    return torch.stack(
        [share * smooth_field(shape, points, generator, device) for share, points in zip(shares, OCTAVES, strict=True)]
    ).sum(0)
