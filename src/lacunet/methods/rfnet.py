"""RFNet: which modality counts how much is decided region by region, from a first guess of where the regions are."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence
from lacunet.nn.conv import PointConv, norm_and_relu
from lacunet.nn.fusion import spread
from lacunet.nn.limits import require_levels, require_share
from lacunet.nn.linear import Linear
from lacunet.nn.losses import cross_entropy_loss, dice_loss, segmentation_loss
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.residual import Decoder, ResidualEncoder, SingleDecoder, levels_of_present, single_losses
from lacunet.nn.unet import level_widths
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]
"""Features of each modality; zero where it is not there."""

Level = Float[Tensor, "batch modality _ _ _ _"]
"""The same, of any resolution."""

Maps = Float[Tensor, "batch part x y z"]
"""How likely a place is outside of all regions (first), and in each region."""


class RFNet(Method[list[Level]]):
    """Region-aware fusion (Ding et al., 2021).

    Each modality has an encoder of its own. At every level a map says how likely each region is at each place. For each
    region, the features there are averaged, and from the averages of all modalities a perceptron says how much each
    modality counts in that region. What results goes to the decoder as its skip. So that each encoder learns on its
    own and the maps mean what they say, both meet the reference: the encoders through one decoder for all of them.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        alone: Share of the training, at its beginning, in which the fused prediction is not compared with the
            reference, only the encoders' own ones and the maps.

    Departures from the paper:
        Its regions are disjoint labels with a softmax; ours overlap and have a sigmoid each, beside a map of what is
        outside of all of them. Group norm, zero padding. Its loss is weighted cross-entropy and Dice, ours Dice and
        binary cross-entropy. Predictions of single modalities count as their mean, and so do maps of the levels, each
        at its own resolution. The paper trains each encoder on every case; here on what was acquired.

    Not stated in the paper:
        Sizes of the perceptrons (as wide inside as the level) and of the map's convolutions (a quarter of it). That the
        fused prediction waits for the first 20 of 300 epochs is the authors' training.
    """

    paper = Paper(
        title="RFNet: Region-aware Fusion Network for Incomplete Multi-modal Brain Tumor Segmentation",
        authors="Ding et al.",
        year=2021,
        venue="ICCV",
        url="https://openaccess.thecvf.com/content/ICCV2021/html/"
        "Ding_RFNet_Region-Aware_Fusion_Network_for_Incomplete_Multi-Modal_Brain_Tumor_Segmentation_ICCV_2021_paper.html",
        idea="A first map of the regions says, for each of them, how much each modality counts.",
    )

    def __init__(self, task: Task, *, width: int = 16, levels: int = 4, alone: float = 0.067) -> None:
        super().__init__(task)
        require_levels(levels)
        require_share("alone", alone)
        modalities, regions, widths = len(task.modalities), len(task.regions), level_widths(width, levels)
        self.divisor = 2 ** (levels - 1)
        self.alone = alone
        self.encoders = nn.ModuleList(ResidualEncoder(1, widths) for _ in task.modalities)
        self.maps = nn.ModuleList(RegionMap(modalities, channels, regions) for channels in widths)
        self.fusions = nn.ModuleList(RegionFusion(modalities, channels, regions + 1) for channels in widths)
        self.decoder = Decoder(widths)
        self.head = PointConv(width, regions)
        self.single = SingleDecoder(widths, regions)

    def encode(self, images: Images, presence: Presence) -> list[Level]:
        """Each present modality by its own encoder."""
        return _stacked(levels_of_present(self.encoders, images, presence), presence)

    def decode(self, encoded: list[Level], presence: Presence) -> Logits:
        """The present modalities, fused region by region at each level, and decoded."""
        return self._answer(encoded, presence)[0]

    def _answer(self, encoded: Sequence[Level], presence: Presence) -> tuple[Logits, list[LevelLogits]]:
        """Region logits, and those of each level's map, finest first."""
        shown = [torch.where(presence[:, :, None, None, None, None], level, 0.0) for level in encoded]
        maps = [predict(level) for predict, level in zip(self.maps, shown, strict=True)]
        *skips, coarsest = [
            fuse(level, likely_parts(logits)) for fuse, level, logits in zip(self.fusions, shown, maps, strict=True)
        ]
        return self.head(self.decoder(coarsest, skips)[0]), maps

    # ------------------------------------------------ training

    def stages(self) -> list[Stage]:
        """One stage: segment from each modality alone, from the maps, and then fused."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        levels = levels_of_present(self.encoders, batch.images, batch.acquired)
        logits, maps = self._answer(_stacked(levels, batch.acquired), batch.presence)
        guesses = [segmentation_loss(own, F.avg_pool3d(batch.regions, 2**level)) for level, own in enumerate(maps)]
        terms = {
            "single": single_losses(self.single(levels), batch.acquired, batch.regions).mean(),
            "maps": torch.stack(guesses).mean(),
        }
        if clock.progress >= self.alone:
            terms["dice"] = dice_loss(logits, batch.regions)
            terms["cross_entropy"] = cross_entropy_loss(logits, batch.regions)
        return terms


class RegionMap(nn.Module):
    """Where each region is, as logits, from the features of all modalities of a level side by side."""

    def __init__(self, modalities: int, channels: int, regions: int) -> None:
        super().__init__()
        narrow = max(channels // 4, 1)
        self.layers = nn.Sequential(
            PointConv(modalities * channels, narrow, bias=False),
            *norm_and_relu(narrow),
            nn.Conv3d(narrow, narrow, 3, padding=1, bias=False),
            *norm_and_relu(narrow),
            PointConv(narrow, regions),
        )

    def forward(self, features: Stacked) -> LevelLogits:
        """Logits of each region."""
        logits: Tensor = self.layers(features.flatten(1, 2))
        return logits


class RegionFusion(nn.Module):
    """The modalities of a level in one: half of the channels from what each region picks, half from all side by side.

    Args:
        modalities: How many.
        channels: Of the level.
        parts: Regions, and what is outside of them.
    """

    def __init__(self, modalities: int, channels: int, parts: int) -> None:
        super().__init__()
        half = max(channels // 2, 1)
        self.weigh = nn.ModuleList(Weigh(modalities, channels) for _ in range(parts))
        self.regions = _three_convolutions(parts * channels, channels, half)
        self.shortcut = _three_convolutions(modalities * channels, channels, channels - half)

    def forward(self, features: Stacked, parts: Maps) -> Feature:
        """Features for the decoder."""
        picked = [
            part[:, None] * weighted(features, weigh(features, part))
            for weigh, part in zip(self.weigh, parts.to(features.dtype).unbind(dim=1), strict=True)
        ]
        fused = [self.regions(torch.cat(picked, dim=1)), self.shortcut(features.flatten(1, 2))]
        return torch.cat(fused, dim=1)


class Weigh(nn.Module):
    """How much each modality counts in one region: a perceptron of the features' means there."""

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(
            Linear(modalities * channels, channels), nn.LeakyReLU(0.2), Linear(channels, modalities)
        )

    def forward(self, features: Stacked, part: Float[Tensor, "batch x y z"]) -> Float[Tensor, "batch modality"]:
        """A weight from 0 to 1 for each modality."""
        weights: Tensor = torch.sigmoid(self.perceptron(means_within(features, part).flatten(1)))
        return weights


def likely_parts(logits: LevelLogits) -> Maps:
    """Probabilities of being outside of all regions and in each, without gradient: the maps learn by themselves."""
    inside = torch.sigmoid(logits.detach().float())
    return torch.cat([(1 - inside).prod(dim=1, keepdim=True), inside], dim=1)


def means_within(features: Stacked, part: Float[Tensor, "batch x y z"]) -> Float[Tensor, "batch modality channel"]:
    """The mean of each channel over a part, whose places count by their probability; zero where there is no part."""
    part = part[:, None, None].float()
    return (features.float() * part).sum((3, 4, 5)) / part.sum((3, 4, 5)).clamp_min(1e-3)


def weighted(features: Stacked, weights: Float[Tensor, "batch modality"]) -> Feature:
    """The sum of the modalities' features, each times its weight."""
    return (weights[:, :, None, None, None, None].to(features.dtype) * features).sum(dim=1)


def _three_convolutions(channels_in: int, channels: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        PointConv(channels_in, channels, bias=False),
        *norm_and_relu(channels),
        nn.Conv3d(channels, channels, 3, padding=1, bias=False),
        *norm_and_relu(channels),
        PointConv(channels, channels_out, bias=False),
        *norm_and_relu(channels_out),
    )


def _stacked(levels: Sequence[Sequence[Feature]], presence: Presence) -> list[Level]:
    there = presence.unbind(dim=1)
    return [torch.stack(spread(level, there), dim=1) for level in zip(*levels, strict=True)]
