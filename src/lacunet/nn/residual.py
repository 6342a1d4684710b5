"""Encoders of one modality and their decoder in M2FTrans' plan: residual levels, skips side by side with what rises."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Images, Presence, hide
from lacunet.nn.conv import ConvBlock, PointConv, norm_and_relu
from lacunet.nn.losses import segmentation_losses

Feature = Float[Tensor, "_ _ _ _ _"]
PerCase = Float[Tensor, "batch"]


class ResidualEncoder(nn.Module):
    """Levels of a convolution, which halves the resolution after the first, and two more around a shortcut."""

    def __init__(self, channels_in: int, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = pairwise([channels_in, *widths])
        self.enter = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(above, channels, 3, stride=2 if level else 1, padding=1, bias=False), *norm_and_relu(channels)
            )
            for level, (above, channels) in enumerate(pairs)
        )
        self.blocks = nn.ModuleList(ConvBlock(channels, channels) for channels in widths)

    def forward(self, images: Feature) -> list[Feature]:
        """The features of every level, finest first."""
        features: list[Feature] = []
        for enter, block in zip(self.enter, self.blocks, strict=True):
            images = enter(images)
            images = images + block(images)
            features.append(images)
        return features


class Decoder(nn.Module):
    """From the coarsest level up: fewer channels, twice the resolution, beside the skip, two convolutions."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.narrow = nn.ModuleList(PointConv(below, channels) for channels, below in pairwise(widths))
        self.blocks = nn.ModuleList(ConvBlock(2 * channels, channels) for channels in widths[:-1])

    def forward(self, coarsest: Feature, skips: Sequence[Feature]) -> list[Feature]:
        """The decoded features of every level, finest first, the coarsest as they came."""
        decoded = [coarsest]
        for narrow, block, skip in reversed(list(zip(self.narrow, self.blocks, skips, strict=True))):
            enlarged = F.interpolate(narrow(decoded[0]), size=skip.shape[2:], mode="trilinear")
            decoded.insert(0, block(torch.cat([enlarged, skip], dim=1)))
        return decoded


class SingleDecoder(nn.Module):
    """Predictions from each modality alone, by one decoder for all; used in training only."""

    def __init__(self, widths: Sequence[int], regions: int) -> None:
        super().__init__()
        self.decoder = Decoder(widths)
        self.output = PointConv(widths[0], regions)

    def forward(self, levels: Sequence[Sequence[Feature]]) -> Float[Tensor, "row region x y z"]:
        """A row for each modality and each case that shows it, the cases of the first modality first."""
        *finer, coarsest = [torch.cat(level) for level in zip(*levels, strict=True)]
        logits: Tensor = self.output(self.decoder(coarsest, finer)[0])
        return logits


def levels_of_present(encoders: Iterable[nn.Module], images: Images, presence: Presence) -> list[list[Feature]]:
    """Of each modality the features of every level, finest first, with a row for each case that shows it.

    Args:
        encoders: One for each modality.
        images: What is not present is not read.
        presence: Which modalities are encoded.
    """
    images = hide(images, presence)
    return [encoder(images[presence[:, i], i : i + 1]) for i, encoder in enumerate(encoders)]


def single_losses(
    logits: Float[Tensor, "row region x y z"], presence: Presence, regions: Float[Tensor, "batch region x y z"]
) -> PerCase:
    """What the rows of `SingleDecoder` cost, averaged over each case's present modalities."""
    case = presence.T.nonzero()[:, 1]
    losses = segmentation_losses(logits, regions[case])
    total = torch.zeros(len(presence), device=losses.device).index_add(0, case, losses)
    return total / presence.sum(dim=1).clamp_min(1)
