"""What happens to a modality while it is acquired: shading, ghosts, thick slices and noise, then normalising."""

from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacunet.data.prepare import resample
from lacunet.training.augmentation.ghosts import Ghost, draw_ghosts, with_ghosts
from lacunet.training.augmentation.settings import Augmentation, Rician, Slices
from lacunet.training.augmentation.shading import Shade, draw_shading, gain_of
from lacunet.training.augmentation.statistics import mean_and_deviation, with_statistics

ZERO = (-4.5, -2.0)
"""Where no signal lies in the brain's standard deviations; z-scores forget it, and scans differ."""


@dataclass(frozen=True)
class Acquisition:
    """How one modality is acquired.

    Attributes:
        zero: The normalised intensity of no signal.
        shade: Its shading.
        ghost: Its ghosts.
        coarser: Voxels of the crop per acquired voxel, along each axis.
        noise: Deviation of each receiver channel's noise in a voxel of the crop, in standard deviations of the brain.
        seed: Of the noise itself.
    """

    zero: float
    shade: Shade | None
    ghost: Ghost | None
    coarser: tuple[float, float, float]
    noise: float
    seed: int

    @property
    def changes(self) -> bool:
        """Whether the modality is changed at all."""
        return self.shade is not None or self.ghost is not None or self.noise > 0 or max(self.coarser) > 1


def draw_acquisitions(
    augmentation: Augmentation, modalities: int, spacing: float, generator: np.random.Generator
) -> tuple[Acquisition, ...]:
    """How each modality is acquired; `spacing` is the crop's, in mm."""
    for_zero, for_shades, for_ghosts, for_slices, for_noise = generator.spawn(5)
    zeros = for_zero.uniform(*ZERO, modalities)
    shades = draw_shading(augmentation.shading, modalities, for_shades)
    ghosts = draw_ghosts(augmentation.ghosts, modalities, for_ghosts)
    slices = [_draw_slices(augmentation.slices, spacing, for_slices) for _ in range(modalities)]
    noises = [_draw_noise(augmentation.rician, for_noise) for _ in range(modalities)]
    seeds = for_noise.integers(2**31, size=modalities)
    return tuple(
        Acquisition(float(zeros[index]), shades[index], ghosts[index], slices[index], noises[index], int(seeds[index]))
        for index in range(modalities)
    )


def _draw_slices(settings: Slices, spacing: float, generator: np.random.Generator) -> tuple[float, float, float]:
    chosen, isotropic = generator.random(2) < (settings.chance, settings.isotropic)
    part, axis = float(generator.random()), int(generator.integers(3))
    thickest = settings.thickest / 2 if isotropic else settings.thickest
    factor = max(1.0, (spacing + part * (thickest - spacing)) / spacing)
    along = [chosen and (isotropic or index == axis) for index in range(3)]
    x, y, z = (factor if coarser else 1.0 for coarser in along)
    return x, y, z


def _draw_noise(settings: Rician, generator: np.random.Generator) -> float:
    chosen, part = generator.random() < settings.chance, float(generator.random())
    return part * settings.strength if chosen else 0.0


def acquired_again(image: Float[Tensor, "x y z"], acquisition: Acquisition) -> Float[Tensor, "x y z"]:
    """One modality, as if a worse scanner had acquired it; the brain's mean and deviation and the background stay."""
    brain = image != 0
    if not acquisition.changes:
        return image
    zero = _no_signal(image, brain, acquisition.zero)
    signal = image - zero
    if acquisition.shade is not None:
        signal = signal * gain_of(acquisition.shade, _shape(signal), image.device)
    if acquisition.ghost is not None:
        signal = with_ghosts(signal, brain, acquisition.ghost)
    coarse = tuple(max(1, round(n / factor)) for n, factor in zip(_shape(signal), acquisition.coarser, strict=True))
    signal = resample(signal[None], (coarse[0], coarse[1], coarse[2]))[0]
    if acquisition.noise > 0:
        averaged = float(np.sqrt(np.prod(acquisition.coarser)))  # a larger voxel has less noise
        signal = rician(
            signal, acquisition.noise / averaged, torch.Generator(image.device).manual_seed(acquisition.seed)
        )
    signal = resample(signal[None], _shape(image))[0]
    return with_statistics(signal, brain, *mean_and_deviation(image, brain))


def rician(signal: Float[Tensor, "x y z"], deviation: float, generator: torch.Generator) -> Float[Tensor, "x y z"]:
    """The magnitude of a signal whose two channels have Gaussian noise; without signal its mean is 1.25 deviations."""
    real, imaginary = torch.randn((2, *signal.shape), generator=generator, device=signal.device) * deviation
    return torch.hypot(signal.clamp_min(0) + real, imaginary)


def _no_signal(image: Tensor, brain: Bool[Tensor, "x y z"], drawn: float) -> Float[Tensor, ""]:
    """The intensity of no signal: the drawn one, but not above the darkest hundredth of the brain."""
    some = torch.where(brain, image, nan)[::3, ::3, ::3]
    darkest: Tensor = some.flatten().nanquantile(0.01)
    return darkest.nan_to_num(drawn).clamp_max(drawn)


def _shape(image: Tensor) -> tuple[int, int, int]:
    x, y, z = image.shape
    return x, y, z
