"""MIFPN: what all modalities have in common, and a learned prompt, stand in for a modality that is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.among import side_by_side
from lacunet.nn.attention import Layer
from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence
from lacunet.nn.branches import Branches
from lacunet.nn.conv import PointConv, norm_and_relu
from lacunet.nn.fusion import spread
from lacunet.nn.linear import Linear
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.placed import Places, maps_of, tokens_of
from lacunet.nn.unet import level_widths
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]
PerCase = Float[Tensor, "batch"]
Choice = Float[Tensor, "batch modality"]

_DEPTH = 3
"""Layers of the transformer."""

_HEADS = 8
_RATIO = 16
"""The perceptron is this many times as wide inside as a token: 4,096."""

_SIDE = 5
"""Places along each axis that are learned: those of a crop of 80 voxels."""

_INVARIANCE = 0.1
"""Weight of the divergence between modalities."""


@dataclass
class Encoding:
    """What all subsets are made of; zero where a modality is not there.

    Attributes:
        invariant: What the adapter that modalities share made of each one's coarsest level.
        specific: What each one's own adapter made of it.
        skips: At each finer level, finest first, what each modality adds to the skip where its mask lets it.
        scores: At each of those levels, how much each modality is to be chosen.
    """

    invariant: Stacked
    specific: Stacked
    skips: list[list[Feature]]
    scores: list[Choice]


class MIFPN(Method[Encoding]):
    """Multimodal invariant feature prompt network (Diao et al., 2025), as we read its abstract.

    At the coarsest level, an adapter that modalities share makes invariant features of each, and its own adapter makes
    specific ones; a divergence draws the invariant ones of a case together. A missing modality is stood in for: the
    mean of the invariant features that are there takes the place of its own, and a learned prompt that of its specific
    ones. A transformer relates all modalities, present or stood in for. In the skips each modality has a mask, and
    modalities are chosen among by a softmax over those that are there.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.

    Departures from the paper:
        This is our reading: we know the abstract, and that the method builds on M2FTrans with prompts, adapters and a
        Kullback-Leibler term. Sizes, encoders and decoder are M2FTrans'. Group norm, zero padding, no dropout. Logits
        are of regions, so the loss is Dice and binary cross-entropy; coarser levels are compared at their own
        resolution with the share of a voxel that a region fills. A modality that is hidden supervises nothing.

    Not stated in the paper, or not in what could be read of it:
        An adapter is a 1x1x1 convolution with a norm. The divergence is of each modality's softmax over channels from
        their mean over the present ones, averaged over voxels, times 0.1. A mask is a sigmoid at each voxel; a choice
        is made from the mean of a modality's features, times the number of present modalities, so that weights are 1 on
        average. Single and coarse predictions count once each, as means.
    """

    paper = Paper(
        title="Multimodal Invariant Feature Prompt Network for Brain Tumor Segmentation with Missing Modalities",
        authors="Diao et al.",
        year=2025,
        venue="Neurocomputing",
        url="https://doi.org/10.1016/j.neucom.2024.128847",
        idea="What modalities have in common, and a learned prompt, stand in for a missing one before the fusion.",
    )

    def __init__(self, task: Task, *, width: int = 16, levels: int = 5) -> None:
        super().__init__(task)
        modalities, widths = len(task.modalities), level_widths(width, levels)
        deepest = widths[-1]
        self.divisor = 2 ** (levels - 1)
        self.branches = Branches(modalities, len(task.regions), widths)
        self.invariant = adapter(deepest)
        self.specific = nn.ModuleList(adapter(deepest) for _ in range(modalities))
        self.prompts = Places(modalities, deepest, _SIDE)
        nn.init.normal_(self.prompts.learned, std=0.02)
        self.places = Places(modalities, deepest, _SIDE)
        self.compose = Linear(2 * deepest, deepest)
        self.layers = nn.ModuleList(Layer(deepest, _HEADS, _RATIO) for _ in range(_DEPTH))
        self.narrow = PointConv(modalities * deepest, deepest)
        self.masks = nn.ModuleList(
            nn.ModuleList(PointConv(channels, 1) for _ in range(modalities)) for channels in widths[:-1]
        )
        self.choices = nn.ModuleList(
            nn.ModuleList(Linear(channels, 1) for _ in range(modalities)) for channels in widths[:-1]
        )

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Each present modality by its own encoder, and what is invariant and specific of it."""
        return self._encoded(self.branches.encode(images, presence), presence)

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """The present modalities and what stands in for the others, related and decoded."""
        return self._levels(encoded, presence)[0]

    def _encoded(self, levels: list[list[Feature]], presence: Presence) -> Encoding:
        there, coarsest = presence.unbind(dim=1), [own[-1] for own in levels]
        invariant = [self.invariant(own) for own in coarsest]
        specific = [adapt(own) for adapt, own in zip(self.specific, coarsest, strict=True)]
        finer = list(zip(*levels, strict=True))[:-1]
        masks = [spread(_each(heads, level), there) for heads, level in zip(self.masks, finer, strict=True)]
        means = [[own.float().mean((2, 3, 4)) for own in level] for level in finer]
        skips = self.branches.skips(levels, presence)
        return Encoding(
            invariant=torch.stack(spread(invariant, there), dim=1),
            specific=torch.stack(spread(specific, there), dim=1),
            skips=[masked_parts(parts, level) for parts, level in zip(skips, masks, strict=True)],
            scores=[_scores(_each(heads, own), presence) for heads, own in zip(self.choices, means, strict=True)],
        )

    def _levels(self, encoded: Encoding, presence: Presence) -> list[LevelLogits]:
        """Logits of every level of the decoder, finest first."""
        fused = self.narrow(side_by_side(self.related(encoded, presence)))
        skips = [chosen_parts(parts, own, presence) for parts, own in zip(encoded.skips, encoded.scores, strict=True)]
        return self.branches.logits(fused, self.branches.join(skips, presence))

    def related(self, encoded: Encoding, presence: Presence) -> Stacked:
        """The tokens of all modalities, present or stood in for, after the transformer."""
        grid = encoded.invariant.shape[3:]
        both = stood_in(encoded.invariant, encoded.specific, self.prompts(grid), presence)
        tokens = self.compose(tokens_of(both)) + tokens_of(self.places(grid))
        row = tokens.flatten(1, 2)
        for layer in self.layers:
            row = layer(row, None)
        return maps_of(row.view_as(tokens), grid)

    def stages(self) -> list[Stage]:
        """One stage: segment, and draw together what modalities have in common."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        levels = self.branches.encode(batch.images, batch.presence)
        encoded = self._encoded(levels, batch.presence)
        terms = self.branches.terms(self._levels(encoded, batch.presence), levels, batch.presence, batch.regions)
        return {**terms, "invariance": _INVARIANCE * divergence(encoded.invariant, batch.presence).mean()}


def adapter(channels: int) -> nn.Sequential:
    """Features of the same size, voxel by voxel."""
    return nn.Sequential(PointConv(channels, channels, bias=False), *norm_and_relu(channels))


def stood_in(
    invariant: Stacked, specific: Stacked, prompts: Float[Tensor, "modality channel x y z"], presence: Presence
) -> Float[Tensor, "batch modality both x y z"]:
    """Invariant and specific features side by side; of a missing modality the others' mean and its prompt.

    Args:
        invariant: Of every modality.
        specific: Of every modality.
        prompts: One map for each modality.
        presence: Whose features may be used.
    """
    there = presence[:, :, None, None, None, None]
    common = torch.where(there, invariant, 0.0).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp_min(1)
    return torch.cat([torch.where(there, invariant, common), torch.where(there, specific, prompts)], dim=2)


def divergence(invariant: Stacked, presence: Presence) -> PerCase:
    """How far each case's present modalities are from their mean: KL(p_i || mean of p), averaged over them.

    At each voxel, p_i is the softmax of modality i's features over channels. One modality alone is at 0.
    """
    there, count = presence[:, :, None, None, None, None], presence.sum(1).clamp_min(1)
    logarithm = torch.log_softmax(torch.where(there, invariant, 0.0).float(), dim=2)
    share = torch.where(there, logarithm.exp(), 0.0)
    common = (share.sum(1, keepdim=True) / count[:, None, None, None, None, None]).clamp_min(1e-12)
    apart = (share * (logarithm - common.log())).sum(2).mean((2, 3, 4))
    return apart.sum(1) / count


def masked_parts(parts: Sequence[Feature], masks: Sequence[Feature]) -> list[Feature]:
    """Each modality's part of a skip times the sigmoid of its mask."""
    return [part * torch.sigmoid(mask) for part, mask in zip(parts, masks, strict=True)]


def chosen_parts(parts: Sequence[Feature], scores: Choice, presence: Presence) -> list[Feature]:
    """Each modality's part times its share in the softmax over the present ones, times how many they are."""
    shares = torch.softmax(scores.masked_fill(~presence, -torch.inf), dim=1) * presence.sum(1, keepdim=True)
    weights = shares[:, :, None, None, None, None].to(parts[0].dtype)
    return [part * weights[:, index] for index, part in enumerate(parts)]


def _each(heads: nn.Module, features: Sequence[Tensor]) -> list[Tensor]:
    """Each modality's head of its features."""
    return [head(own) for head, own in zip(heads.children(), features, strict=True)]


def _scores(rows: Sequence[Float[Tensor, "_ 1"]], presence: Presence) -> Choice:
    """Scores of the cases that have a modality, for all cases; zero elsewhere."""
    scores = torch.zeros(presence.shape, device=presence.device)
    for index, row in enumerate(rows):
        scores[presence[:, index], index] = row[:, 0].float()
    return scores
