"""TMFormer: tokens that are alike are merged before they attend, within a modality and among those that are there."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lacunet.nn.among import side_by_side
from lacunet.nn.attention import Layer
from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence
from lacunet.nn.branches import Branches
from lacunet.nn.conv import PointConv
from lacunet.nn.fusion import spread
from lacunet.nn.merging import merged_layer
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.placed import Places, maps_of, tokens_of
from lacunet.nn.residual import single_losses
from lacunet.nn.unet import level_widths
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]
Scores = Float[Tensor, "batch modality x y z"]
"""How likely a place is tumour, as one modality sees it: the highest of its regions' logits."""

_ENLARGE = 4
"""A token has this many times the channels of the coarsest level: 512 where that has 128."""

_HEADS = 8
_RATIO = 8
"""The perceptron is this many times as wide inside as a token: 4,096."""

_SIDE = 8
"""Places along each axis that are learned: those of a crop of 128 voxels."""

_WINDOW = 2
"""Tokens along each axis of a window, of which one is kept for certain."""


@dataclass
class Encoding:
    """What all subsets are made of; zero where a modality is not there.

    Attributes:
        tokens: What each modality's own transformer made of its coarsest level.
        scores: Where each modality sees a tumour.
        skips: At each finer level, finest first, what each modality adds to the skip.
    """

    tokens: Stacked
    scores: Scores
    skips: list[list[Feature]]


class TMFormer(Method[Encoding]):
    """Token merging transformer (Zhang et al., 2024).

    Built on mmFormer. A coarse mask, predicted from the coarsest level of each modality, says which tokens matter.
    Within a modality, the token of each window that is most likely tumour is kept, and those of the others that are
    most like a kept one are merged into it. Among modalities, the token of each place that is most likely tumour is
    kept, and those of the other present modalities are merged. A transformer layer relates what is left, and what it
    adds goes back to every token that was merged.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.

    Departures from the paper:
        This is our reading of the abstract and of what is known of the merging itself; the rest of the paper's network
        could not be read, and is mmFormer's here. Absent tokens are neither kept nor merged. Group norm, zero
        padding, no dropout. Logits are of regions, so the loss is Dice and binary cross-entropy; coarser levels are
        compared at their own resolution with the share of a voxel that a region fills. A modality that is hidden
        supervises nothing.

    Not stated in the paper, or not in what could be read of it:
        Windows of 2 x 2 x 2 tokens; half of a modality's tokens are merged. Among modalities all but one token of a
        place are merged, so that what is left does not grow with the number of modalities. The coarse mask is a 1x1x1
        convolution that modalities share, with the same loss as the others, at its own resolution. Single, coarse and
        deep predictions count once each, as means.
    """

    paper = Paper(
        title="TMFormer: Token Merging Transformer for Brain Tumor Segmentation with Missing Modalities",
        authors="Zhang et al.",
        year=2024,
        venue="AAAI 38, pp. 7414-7422",
        url="",
        idea="Tokens that are alike are merged before they attend; those that are likely tumour are kept.",
    )

    def __init__(self, task: Task, *, width: int = 8, levels: int = 5) -> None:
        super().__init__(task)
        modalities, widths = len(task.modalities), level_widths(width, levels)
        token = _ENLARGE * widths[-1]
        self.divisor = 2 ** (levels - 1)
        self.branches = Branches(modalities, len(task.regions), widths)
        self.mask = PointConv(widths[-1], len(task.regions))
        self.places = Places(modalities, token, _SIDE)
        self.widen = nn.ModuleList(PointConv(widths[-1], token) for _ in range(modalities))
        self.within = nn.ModuleList(Layer(token, _HEADS, _RATIO) for _ in range(modalities))
        self.among = Layer(token, _HEADS, _RATIO)
        self.narrow = PointConv(modalities * token, widths[-1])

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Each present modality by its own encoder and transformer."""
        levels = self.branches.encode(images, presence)
        return self._encoded(levels, self._masks(levels), presence)

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """The present modalities merged, related and decoded."""
        return self._levels(encoded, presence)[0]

    def _masks(self, levels: list[list[Feature]]) -> list[Feature]:
        """The coarse mask of each modality, as region logits."""
        return [self.mask(own[-1]) for own in levels]

    def _encoded(self, levels: list[list[Feature]], masks: list[Feature], presence: Presence) -> Encoding:
        grid, there = masks[0].shape[2:], presence.unbind(dim=1)
        scores = [mask.detach().float().amax(dim=1, keepdim=True) for mask in masks]
        tokens = []
        for index, (widen, layer, place) in enumerate(zip(self.widen, self.within, self.places(grid), strict=True)):
            assert isinstance(layer, Layer)
            row = tokens_of(widen(levels[index][-1]) + place)
            tokens.append(maps_of(merged_layer(layer, row, likeliest(scores[index]), row.shape[1] // 2), grid))
        return Encoding(
            tokens=torch.stack(spread(tokens, there), dim=1),
            scores=torch.cat(spread(scores, there), dim=1),
            skips=self.branches.skips(levels, presence),
        )

    def _levels(self, encoded: Encoding, presence: Presence) -> list[LevelLogits]:
        """Logits of every level of the decoder, finest first."""
        placed = encoded.tokens + self.places(encoded.tokens.shape[3:])
        fused = self.narrow(side_by_side(related_by_merging(self.among, placed, encoded.scores, presence)))
        return self.branches.logits(fused, self.branches.join(encoded.skips, presence))

    def stages(self) -> list[Stage]:
        """One stage: segment from what is shown, from each modality alone, coarsely and at every level."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        levels = self.branches.encode(batch.images, batch.presence)
        masks = self._masks(levels)
        logits = self._levels(self._encoded(levels, masks, batch.presence), batch.presence)
        coarse = single_losses(torch.cat(masks), batch.presence, F.avg_pool3d(batch.regions, self.divisor))
        return {**self.branches.terms(logits, levels, batch.presence, batch.regions), "coarse": coarse.mean()}


def likeliest(scores: Float[Tensor, "row 1 x y z"]) -> Int[Tensor, "row window"]:
    """Of each window of a map, the number of the token with the highest score; windows at the border may be smaller."""
    _, found = F.max_pool3d(scores, _WINDOW, ceil_mode=True, return_indices=True)
    return found.flatten(1)


def related_by_merging(layer: Layer, maps: Stacked, scores: Scores, presence: Presence) -> Stacked:
    """Tokens of each case's present modalities related: one of each place is kept, the others are merged into those.

    Args:
        layer: Of the merged tokens.
        maps: Tokens of every modality.
        scores: The modality with the highest score at a place keeps its token.
        presence: The others are neither kept nor merged, and are zero in the result.
    """
    tokens = tokens_of(maps)
    mixed = torch.zeros_like(tokens)
    for case, there in enumerate(presence):
        own = tokens[case, there]
        places = own.shape[1]
        keeper = scores[case, there].flatten(1).argmax(dim=0)
        kept = keeper * places + torch.arange(places, device=keeper.device)
        row = merged_layer(layer, own.flatten(0, 1)[None], kept[None], (len(own) - 1) * places)
        mixed[case, there] = row.view_as(own).to(mixed.dtype)
    return maps_of(mixed, maps.shape[3:])
