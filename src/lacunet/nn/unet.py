"""Encoder and decoder of a 3-D U-Net, apart, so that methods can put what they like between them."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.conv import ConvBlock


class Encoder(nn.Module):
    """A stack of convolution blocks; each after the first halves the resolution."""

    def __init__(self, channels_in: int, widths: Sequence[int]) -> None:
        super().__init__()
        first = ConvBlock(channels_in, widths[0])
        deeper = [ConvBlock(a, b, stride=2) for a, b in pairwise(widths)]
        self.levels = nn.ModuleList([first, *deeper])

    def forward(self, images: Float[Tensor, "batch _ x y z"]) -> list[Tensor]:
        """The features of every level, finest first."""
        features: list[Tensor] = []
        for level in self.levels:
            images = level(images)
            features.append(images)
        return features


class Decoder(nn.Module):
    """From the features of every level back to the finest one: enlarge, join the skip, convolve."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        upwards = list(reversed(widths))
        self.levels = nn.ModuleList([ConvBlock(below + skip, skip) for below, skip in pairwise(upwards)])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The decoded features of every level, coarsest first (the bottleneck itself), finest last."""
        *skips, below = features
        decoded = [below]
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            enlarged = F.interpolate(decoded[-1], size=skip.shape[2:], mode="trilinear")
            decoded.append(level(torch.cat([enlarged, skip], dim=1)))
        return decoded


def level_widths(width: int, levels: int, most: int = 320) -> list[int]:
    """Channels of each level: doubled at each, capped at `most`."""
    return [min(width * 2**level, most) for level in range(levels)]
