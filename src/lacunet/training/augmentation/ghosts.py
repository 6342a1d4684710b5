"""Ghosts: a head that moves leaves faint copies of itself along the phase direction of the scan."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacunet.training.augmentation.settings import Ghosts


@dataclass(frozen=True)
class Ghost:
    """The ghosts of one modality.

    Attributes:
        axis: The phase direction.
        shifts: Displacement of each copy, relative to the crop's length: small for jerks, large for periodic motion.
        strength: Brightness of all copies together.
    """

    axis: int
    shifts: tuple[float, ...]
    strength: float


def draw_ghosts(settings: Ghosts, modalities: int, generator: np.random.Generator) -> tuple[Ghost | None, ...]:
    """The ghosts of each modality of a crop; None where there are none."""
    return tuple(_draw_ghost(settings, generator) for _ in range(modalities))


def _draw_ghost(settings: Ghosts, generator: np.random.Generator) -> Ghost | None:
    chosen, periodic = generator.random(2) < (settings.chance, 0.5)
    axis, strength = int(generator.integers(3)), float(generator.uniform(0.2, 1)) * settings.strength
    parts, jerk = int(generator.integers(2, 5)), float(generator.uniform(0.02, 0.06))
    if not chosen:
        return None
    shifts = tuple(copy / parts for copy in range(1, parts)) if periodic else (-jerk, jerk)
    return Ghost(axis, shifts, strength)


def with_ghosts(signal: Float[Tensor, "x y z"], brain: Bool[Tensor, "x y z"], ghost: Ghost) -> Float[Tensor, "x y z"]:
    """The signal with copies added that wrap around the crop, as they wrap around the field of view of a scan."""
    inside = signal * brain
    length = signal.shape[ghost.axis]
    copies = [torch.roll(inside, round(shift * length), dims=ghost.axis) for shift in ghost.shifts]
    return signal * (1 - ghost.strength) + torch.stack(copies).mean(0) * ghost.strength
