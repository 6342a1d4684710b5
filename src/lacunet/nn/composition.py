"""From the shared and the specific feature of a modality to one feature."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.attention import Layer
from lacunet.nn.conv import GroupNorm

Feature = Float[Tensor, "_ _ _ _ _"]


class Composition(nn.Module):
    """Shared and specific feature of a modality to its fused feature: concatenate, convolve, norm, non-linearity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(2 * channels, channels, 3, padding=1, bias=False)
        self.norm = GroupNorm(min(8, channels), channels)

    def forward(self, shared: Feature, specific: Feature) -> Feature:
        """The fused feature."""
        return F.leaky_relu(self.norm(self.convolution(torch.cat([shared, specific], dim=1))), 0.01)


class AttentiveComposition(nn.Module):
    """The same with attention instead of the convolution: every place of both features asks every place of both.

    A token is a place of one of the two features, and says by a learned vector which of the two it is of. The two
    tokens of a place are added.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kinds = nn.Parameter(0.02 * torch.randn(2, channels))
        self.layer = Layer(channels, heads=math.gcd(8, channels))
        self.norm = GroupNorm(min(8, channels), channels)

    def forward(self, shared: Feature, specific: Feature) -> Feature:
        """The fused feature."""
        tokens = torch.stack([shared.flatten(2), specific.flatten(2)], dim=1).transpose(2, 3)
        tokens = tokens + self.kinds[:, None]
        mixed = self.layer(tokens.flatten(1, 2), None).unflatten(1, (2, -1)).sum(1)
        places = mixed.transpose(1, 2).reshape_as(shared)
        return F.leaky_relu(self.norm(places), 0.01)
