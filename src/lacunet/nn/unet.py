"""Encoder and decoder of a 3-D U-Net, as separate modules, so that a method can put its own between them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.conv import ConvBlock, PointConv
from lacunet.nn.limits import require_between


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


class Rise(nn.Module):
    """One level up in a decoder that adds its skips: fewer channels, twice the resolution, plus the skip, a block.

    Args:
        below: Channels of the level below.
        channels: Of this level, and of its skip.
        block: Makes the block from its number of channels.
    """

    def __init__(self, below: int, channels: int, block: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.narrow = PointConv(below, channels)
        self.block = block(channels)

    def forward(
        self, below: Float[Tensor, "batch _ _ _ _"], skip: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        """The decoded features of this level."""
        enlarged = F.interpolate(self.narrow(below), size=skip.shape[2:], mode="trilinear")
        features: Tensor = self.block(enlarged + skip)
        return features


def level_widths(width: int, levels: int, most: int = 320) -> list[int]:
    """Channels of each level: doubled at each, capped at `most`.

    Raises:
        ValueError: so many levels that no scan has a voxel at the coarsest, or more channels than the cap.
    """
    require_between("width", width, 1, most)
    require_between("levels", levels, 1, 10)
    return [min(width * 2**level, most) for level in range(levels)]
