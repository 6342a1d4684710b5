"""M2FTrans: learned fusion tokens ask what is there; how much they ask a modality weighs its skips."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.attention import Layer, mlp
from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence
from lacunet.nn.branches import Branches
from lacunet.nn.conv import PointConv
from lacunet.nn.fusion import spread
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.placed import Places, maps_of, tokens_of
from lacunet.nn.unet import level_widths
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
Tokens = Float[Tensor, "batch modality token width"]
FusionTokens = Float[Tensor, "batch token width"]
Keyed = Float[Tensor, "batch modality _ _ _ _"]
"""Keys and values of each modality, side by side on channels."""

Weights = Float[Tensor, "batch modality _ _ _"]
"""How much each modality counts at each place: its share of what the fusion token there asked, 0 where it is absent."""

_DEPTH = 3
"""Layers of the masked transformer."""

_HEADS = 8
_RATIO = 16
"""The perceptron is this many times as wide inside as a token: 4,096."""

_SIDE = 5
"""Places along each axis that are learned: those of a crop of 80 voxels."""


@dataclass
class Encoding:
    """What all subsets are made of; zero where a modality is not there.

    Attributes:
        tokens: Of each modality, as each layer of the masked transformer finds them.
        skips: At each finer level, finest first, what each modality adds to the skip.
        channels: Keys and values of the channel attention, at the coarsest level and the one above it.
    """

    tokens: list[Tokens]
    skips: list[list[Feature]]
    channels: list[Keyed]


class M2FTrans(Method[Encoding]):
    """Modality-masked fusion (Shi et al., 2024).

    Each modality has an encoder. At the coarsest level stands a masked transformer: tokens of a modality attend to that
    modality only, learned fusion tokens (one for each place) to everything that is there. The fusion tokens become the
    map that is decoded. Their attention also says how much each modality counts at each place, and weighs its skips at
    all levels. At the two coarsest levels the channels of the fused map attend to the channels of the modalities.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.

    Departures from the paper:
        Group norm and zero padding; the decoder has fewer channels before it enlarges; no dropout. Logits are of
        regions, so the loss is Dice and binary cross-entropy; coarser levels are compared at their own resolution with
        the share of a voxel that a region fills. A modality that is hidden supervises nothing and is no key.
        Because of the mask, a modality's tokens depend on no other modality: they are computed once for all subsets.

    Not stated in the paper, or not in what could be read of it:
        Weights are of the last layer, averaged over heads, summed over a modality's tokens and divided by their sum
        over modalities, so that they add up to 1 whatever is there. Fusion tokens attend to each other too. The channel
        attention has one head; queries and keys are of length 1 over voxels, times a learned factor, as in
        Restormer (Zamir et al., 2022); a perceptron follows. Single and coarse predictions count once each, as means.
    """

    paper = Paper(
        title="M2FTrans: Modality-Masked Fusion Transformer for Incomplete Multi-Modality Brain Tumor Segmentation",
        authors="Shi et al.",
        year=2024,
        venue="IEEE Journal of Biomedical and Health Informatics 28(1)",
        url="https://doi.org/10.1109/JBHI.2023.3326151",
        idea="Learned fusion tokens attend to whatever is there, and their attention weighs each modality's skips.",
    )

    def __init__(self, task: Task, *, width: int = 16, levels: int = 5) -> None:
        super().__init__(task)
        modalities, widths = len(task.modalities), level_widths(width, levels)
        self.divisor = 2 ** (levels - 1)
        self.branches = Branches(modalities, len(task.regions), widths)
        self.places = Places(modalities, widths[-1], _SIDE)
        self.fusion = Places(1, widths[-1], _SIDE)
        nn.init.normal_(self.fusion.learned, std=0.02)
        self.layers = nn.ModuleList(MaskedLayer(widths[-1], _HEADS, _RATIO) for _ in range(_DEPTH))
        self.above = ChannelFusion(modalities, widths[-2])
        self.coarsest = ChannelFusion(modalities, widths[-1])

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Each present modality by its own encoder; its tokens through all layers."""
        return self._encoded(self.branches.encode(images, presence), presence)

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """The present modalities fused, weighed and decoded."""
        return self._levels(encoded, presence)[0]

    def _encoded(self, levels: list[list[Feature]], presence: Presence) -> Encoding:
        there = presence.unbind(dim=1)
        coarsest = [level[-1] for level in levels]
        places = self.places(coarsest[0].shape[2:])
        rows = [tokens_of(own + place) for own, place in zip(coarsest, places, strict=True)]
        found = [rows]
        for layer in self.layers[:-1]:
            found.append([layer(row, None) for row in found[-1]])
        skips = self.branches.skips(levels, presence)
        channels = [
            torch.stack(spread(attention.described([own[level] for own in levels]), there), dim=1)
            for attention, level in ((self.above, -2), (self.coarsest, -1))
        ]
        return Encoding([_stacked(rows, presence) for rows in found], skips, channels)

    def _levels(self, encoded: Encoding, presence: Presence) -> list[LevelLogits]:
        """Logits of every level of the decoder, finest first."""
        grid = encoded.channels[-1].shape[3:]
        fused, weights = self.fuse(encoded.tokens, grid, presence)
        weighed = [weighed_skips(level, weights) for level in encoded.skips]
        *joined, deepest = self.branches.join(weighed, presence)
        fused = self.coarsest(fused, encoded.channels[1], weights, presence)
        deepest = self.above(deepest, encoded.channels[0], weights, presence)
        return self.branches.logits(fused, [*joined, deepest])

    def fuse(self, tokens: list[Tokens], grid: torch.Size, presence: Presence) -> tuple[Feature, Weights]:
        """The map of the fusion tokens after the last layer, and how much each modality counts at each place."""
        fusion = tokens_of(self.fusion(grid)).expand(len(presence), -1, -1)
        weights = fusion.new_zeros(())
        for layer, found in zip(self.layers, tokens, strict=True):
            assert isinstance(layer, MaskedLayer)
            fusion, weights = layer.asked(fusion, found, presence)
        return maps_of(fusion, grid), torch.unflatten(weights, 2, list(grid))

    def stages(self) -> list[Stage]:
        """One stage: segment from what is shown, from each modality alone and at every level."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        levels = self.branches.encode(batch.images, batch.presence)
        logits = self._levels(self._encoded(levels, batch.presence), batch.presence)
        return self.branches.terms(logits, levels, batch.presence, batch.regions)


class MaskedLayer(Layer):
    """A layer of the masked transformer: called with the tokens of one modality, asked by the fusion tokens."""

    def asked(
        self, fusion: FusionTokens, tokens: Tokens, presence: Presence
    ) -> tuple[FusionTokens, Float[Tensor, "batch modality token"]]:
        """The fusion tokens attend to each other and to the tokens of present modalities.

        Args:
            fusion: Before this layer, as many as a modality has tokens.
            tokens: Before this layer, of each modality.
            presence: Which of them are there.

        Returns:
            The fusion tokens after this layer, and the share of each modality in what each of them asked modalities.
        """
        count, attention = fusion.shape[1], self.attention
        row = torch.cat([fusion[:, None], tokens], dim=1)
        projected = attention.project(attention.norm(row)).unflatten(3, (3, attention.heads, -1))
        query, key, value = projected.flatten(1, 2).permute(2, 0, 3, 1, 4).float()
        score = query[:, :, :count] @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        there = F.pad(presence, (1, 0), value=True).repeat_interleave(count, dim=1)[:, None, None]
        share = torch.softmax(score.masked_fill(~there, -torch.inf), dim=-1)
        received = (share @ value).transpose(1, 2).flatten(2)
        fusion = fusion + attention.out(received)
        fusion = fusion + self.mlp(fusion)
        of_modality = torch.unflatten(share.mean(1), 2, (-1, count)).sum(3)[:, :, 1:].transpose(1, 2)
        return fusion, of_modality / of_modality.sum(1, keepdim=True).clamp_min(1e-12)


class ChannelFusion(nn.Module):
    """The channels of a fused map attend to the channels of the modalities that are there, and a perceptron follows."""

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.query = PointConv(channels, channels, bias=False)
        self.describe = nn.ModuleList(PointConv(channels, 2 * channels, bias=False) for _ in range(modalities))
        self.sharpness = nn.Parameter(torch.ones(()))
        self.out = PointConv(channels, channels)
        self.mlp = mlp(channels)

    def described(self, features: list[Feature]) -> list[Feature]:
        """Each modality's keys and values, side by side on channels."""
        return [describe(own) for describe, own in zip(self.describe, features, strict=True)]

    def forward(self, fused: Feature, described: Keyed, weights: Weights, presence: Presence) -> Feature:
        """The fused map with what its channels received.

        Args:
            fused: One subset.
            described: Keys and values; a scalar at a voxel may come after their convolution, which has no bias.
            weights: Of each modality at each place of the coarsest level.
            presence: The subset.
        """
        described = torch.where(presence[:, :, None, None, None, None], described, 0.0)
        described = described * enlarged(weights, described.shape[3:])[:, :, None]
        key, value = described.float().flatten(3).chunk(2, dim=2)
        received = channel_attention(self.query(fused).float().flatten(2), key, value, presence, self.sharpness)
        fused = fused + self.out(received.view_as(fused))
        added: Feature = fused + self.mlp(fused.movedim(1, -1)).movedim(-1, 1)
        return added


def channel_attention(
    query: Float[Tensor, "batch channel voxel"],
    key: Float[Tensor, "batch modality channel voxel"],
    value: Float[Tensor, "batch modality channel voxel"],
    presence: Presence,
    sharpness: Float[Tensor, ""],
) -> Float[Tensor, "batch channel voxel"]:
    """What each channel of the query receives from the channels of the present modalities.

    Args:
        query: Of the fused map.
        key: Compared with it by the cosine over voxels.
        value: What is received.
        presence: The modalities whose channels may be asked.
        sharpness: Times the cosine, before the softmax.
    """
    cosine = F.normalize(query, dim=2) @ F.normalize(key, dim=3).flatten(1, 2).transpose(1, 2)
    there = presence.repeat_interleave(key.shape[2], dim=1)[:, None]
    share = torch.softmax((sharpness * cosine).masked_fill(~there, -torch.inf), dim=-1)
    return share @ value.flatten(1, 2)


def weighed_skips(parts: list[Feature], weights: Weights) -> list[Feature]:
    """Each modality's part of a skip times its weight at the place."""
    finer = enlarged(weights, parts[0].shape[2:])
    return [part * finer[:, index : index + 1] for index, part in enumerate(parts)]


def enlarged(weights: Weights, grid: torch.Size) -> Weights:
    """Weights on a finer grid, each voxel as the coarse one that it lies in."""
    return F.interpolate(weights, size=grid, mode="nearest")


def _stacked(rows: list[Float[Tensor, "_ token width"]], presence: Presence) -> Tokens:
    """Tokens of the cases that have a modality, for all cases; zero elsewhere."""
    tokens = rows[0].new_zeros((*presence.shape, *rows[0].shape[1:]))
    for index, row in enumerate(rows):
        tokens[presence[:, index], index] = row.to(tokens.dtype)
    return tokens
