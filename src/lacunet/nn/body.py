"""M3AE's U-Net without heads (Liu et al., 2023): residual blocks, group norm before each convolution, added skips."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Images
from lacunet.nn.conv import GroupNorm
from lacunet.nn.masking import Seen
from lacunet.nn.unet import Rise

Feature = Float[Tensor, "batch _ _ _ _"]


class Features(NamedTuple):
    """The levels of a U-Net, finest first; the coarsest encoded one is the bottleneck, which is not decoded."""

    encoded: list[Tensor]
    decoded: list[Tensor]


class ResidualBlock(nn.Module):
    """Twice group norm, ReLU, convolution; added to what was given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        groups = min(8, channels)
        self.first_norm, self.second_norm = GroupNorm(groups, channels), GroupNorm(groups, channels)
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, features: Feature) -> Feature:
        """Features of the same shape."""
        change = self.first(F.relu(self.first_norm(features)))
        features = features + self.second(F.relu(self.second_norm(change)))
        return features


class Body(nn.Module):
    """A U-Net without heads. It is the same in every network of the method, so that one can start the others.

    Args:
        modalities: Channels of the images.
        widths: Channels of each level, finest first.
        fill: What stands for what is not seen.
    """

    def __init__(self, modalities: int, widths: Sequence[int], fill: str) -> None:
        super().__init__()
        blocks = [1, *[2] * (len(widths) - 2), 4]
        into = [nn.Conv3d(modalities, widths[0], 3, padding=1)]
        into += [nn.Conv3d(above, channels, 3, 2, padding=1) for above, channels in pairwise(widths)]
        self.fill = nn.Parameter(torch.zeros(modalities)) if fill == "learned" else None
        self.levels = nn.ModuleList(
            nn.Sequential(first, *[ResidualBlock(channels) for _ in range(count)])
            for first, channels, count in zip(into, widths, blocks, strict=True)
        )
        self.rises = nn.ModuleList(Rise(below, channels, ResidualBlock) for channels, below in pairwise(widths))

    def forward(self, images: Images, seen: Seen) -> Features:
        """The features of what is seen."""
        filling = images.new_zeros(()) if self.fill is None else self.fill[:, None, None, None].to(images.dtype)
        features = torch.where(seen, images, filling)
        encoded: list[Tensor] = []
        for level in self.levels:
            features = level(features)
            encoded.append(features)
        decoded: list[Tensor] = []
        for rise, skip in reversed(list(zip(self.rises, encoded[:-1], strict=True))):
            features = rise(features, skip)
            decoded.insert(0, features)
        return Features(encoded, decoded)
