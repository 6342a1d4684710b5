"""Smooth random fields, made of few numbers."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def smooth_field(
    shape: tuple[int, int, int], points: int, generator: np.random.Generator, device: torch.device | None = None
) -> Float[Tensor, "x y z"]:
    """A cubic B-spline through a random grid.

    Args:
        shape: Voxels of the field.
        points: Control points along each side of it, at least 2; the smallest detail is about one of their distances.
        generator: The normal numbers at the control points; the field's deviation is about half of theirs.
        device: Where the field is made; the processor if not given.
    """
    field = torch.from_numpy(generator.standard_normal((points + 2,) * 3).astype(np.float32)).to(device)
    for length in shape:  # each product moves the axis that it has refined to the end
        field = torch.tensordot(field, _spline_weights(length, points).to(device), dims=([0], [1]))
    return field


def _spline_weights(length: int, points: int) -> Float[Tensor, "length points_2"]:
    """How much each of `points + 2` coefficients gives to each voxel of a side."""
    place = torch.linspace(0, points - 1, length)
    first = place.floor().clamp_max(points - 2)
    t = place - first
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = torch.zeros(length, points + 2)
    for offset, part in enumerate(parts):
        weights.scatter_(1, (first.long() + offset)[:, None], part[:, None] / 6)
    return weights
