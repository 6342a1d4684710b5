"""A map of features as tokens that know their place, and back."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Places(nn.Module):
    """What tells tokens of a map where they are: learned, zero before training, interpolated to maps of other sizes.

    Args:
        kinds: How many maps there are, each with places of its own.
        width: Channels of a token.
        side: Learned places along each axis.
    """

    def __init__(self, kinds: int, width: int, side: int) -> None:
        super().__init__()
        self.learned = nn.Parameter(torch.zeros(kinds, width, side, side, side))

    def forward(self, grid: Sequence[int]) -> Float[Tensor, "kind width x y z"]:
        """What is added to the tokens of each map.

        Args:
            grid: The map's voxels along x, y and z.
        """
        return F.interpolate(self.learned, size=list(grid), mode="trilinear")


def tokens_of(maps: Float[Tensor, "*lead width x y z"]) -> Float[Tensor, "*lead token width"]:
    """The places of a map in a row."""
    return maps.flatten(-3).transpose(-1, -2)


def maps_of(tokens: Float[Tensor, "*lead token width"], grid: Sequence[int]) -> Float[Tensor, "*lead width x y z"]:
    """Tokens back on their grid.

    Args:
        tokens: As `tokens_of` orders them.
        grid: The voxels of the map along x, y and z.
    """
    return torch.unflatten(tokens.transpose(-1, -2), -1, list(grid))
