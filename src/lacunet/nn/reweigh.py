"""Attention by weights between 0 and 1: of channels, of places (CBAM, Woo et al., 2018). Each modality by itself."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.linear import Linear
from lacunet.nn.tokens import Tokens

Beside = Literal["nothing", "channel", "spatial", "both"]
"""Which of the two weigh tokens."""


class Reweigh(nn.Module):
    """Channels first, then places, as CBAM does; either may be left out.

    Args:
        width: Channels of a token.
        which: What is weighed.
    """

    def __init__(self, width: int, which: Beside) -> None:
        super().__init__()
        self.channel = ChannelAttention(width) if which in ("channel", "both") else None
        self.spatial = SpatialAttention() if which in ("spatial", "both") else None

    def forward(self, tokens: Tokens, grid: Sequence[int]) -> Tokens:
        """The tokens of a grid, smaller where they count less."""
        if self.channel is not None:
            tokens = tokens * self.channel(tokens)
        if self.spatial is not None:
            tokens = tokens * self.spatial(tokens, grid)
        return tokens


class ChannelAttention(nn.Module):
    """CBAM, eq. 2: sigmoid(MLP(mean) + MLP(maximum)), both over the places of a modality."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(width // 16, 4)
        self.mlp = nn.Sequential(Linear(width, narrow), nn.ReLU(), Linear(narrow, width))

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch modality 1 width"]:
        """The weight of each channel of each modality."""
        weights: Tensor = self.mlp(tokens.mean(2)) + self.mlp(tokens.amax(2))
        return weights.sigmoid()[:, :, None]


class SpatialAttention(nn.Module):
    """CBAM, eq. 3: sigmoid(convolution(mean, maximum)), both over the channels of a token.

    The convolution is 3 voxels wide where CBAM's is 7: the grid of a bottleneck has four tokens a side.
    """

    def __init__(self) -> None:
        super().__init__()
        self.around = nn.Conv3d(2, 1, 3, padding=1)

    def forward(self, tokens: Tokens, grid: Sequence[int]) -> Float[Tensor, "batch modality token 1"]:
        """The weight of each place of each modality."""
        both = torch.stack([tokens.mean(3), tokens.amax(3)], dim=2)
        weights: Tensor = self.around(torch.unflatten(both.flatten(0, 1), 2, list(grid)))
        return weights.sigmoid().reshape(*tokens.shape[:3], 1)
