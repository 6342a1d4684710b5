"""Features of each modality as tokens on a coarse grid, and back."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Presence
from lacunet.nn.conv import PointConv
from lacunet.nn.linear import Linear

Rows = Float[Tensor, "row channel x y z"]
"""Features of present modalities only: a row for each, ordered by case and then by modality."""

Tokens = Float[Tensor, "batch modality token width"]
"""Features at the positions of a coarse grid. The tokens of an absent modality change no other token."""


class Tokenise(nn.Module):
    """Features to tokens: mean over voxels, linear; plus its position (a depthwise convolution) and its modality."""

    def __init__(self, channels: int, width: int, side: int, modalities: int) -> None:
        super().__init__()
        self.side = side
        self.project = PointConv(channels, width)
        self.position = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.modality = nn.Parameter(0.02 * torch.randn(modalities, width))

    def forward(self, rows: Rows, presence: Presence) -> tuple[Tokens, list[int]]:
        """Tokens of every modality, zero where it is absent, and the grid they lie on."""
        maps = self.project(mean_pool(rows, self.side))
        maps = maps + self.position(maps)
        there = maps.flatten(2).transpose(1, 2) + self.modality[presence.nonzero()[:, 1], None]
        tokens = there.new_zeros((*presence.shape, *there.shape[1:]))
        tokens[presence] = there
        return tokens, list(maps.shape[2:])


class Gate(nn.Module):
    """Tokens back into the features: normalise, linear, times a gate that is zero before training, enlarge, add."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.back = Linear(width, channels)
        self.open = Linear(width, 1)
        for parameter in self.open.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, rows: Rows, tokens: Float[Tensor, "row token width"], grid: Sequence[int]
    ) -> tuple[Rows, Float[Tensor, ""]]:
        """The features with their update, and how far the gate is open on average, 0 to 1."""
        tokens = self.norm(tokens)
        opening = torch.tanh(self.open(tokens))
        update = (opening * self.back(tokens)).unflatten(1, list(grid)).movedim(-1, 1)  # so its channels lie last
        if update.shape[2:] != rows.shape[2:]:
            update = F.interpolate(update, size=rows.shape[2:], mode="trilinear")
        return rows + update.to(rows.dtype), opening.float().abs().mean()


def mean_pool(rows: Rows, side: int) -> Float[Tensor, "row channel _ _ _"]:
    """The mean of each cube of so many voxels a side (in any precision and order of memory, on a CPU too)."""
    voxels = rows.movedim(1, -1)
    for axis in (1, 3, 5):
        voxels = torch.unflatten(voxels, axis, (-1, side))
    return (voxels.sum((2, 4, 6)) / side**3).movedim(-1, 1)
