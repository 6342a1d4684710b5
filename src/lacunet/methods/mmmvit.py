"""MMMViT: all scales of a modality enter its transformer, and modalities are correlated place by place."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.among import related, side_by_side
from lacunet.nn.attention import Layer
from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence
from lacunet.nn.branches import Branches
from lacunet.nn.conv import PointConv
from lacunet.nn.linear import Linear
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.tokens import mean_pool
from lacunet.nn.unet import level_widths
from lacunet.nn.within import Encoding, WithinEach
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]

_ENLARGE = 4
"""A token has this many times the channels of the coarsest level: 512 where that has 128."""

_HEADS = 8
_RATIO = 1
"""The perceptron is as wide inside as a token: 512."""

_SIDE = 8
"""Places along each axis that are learned: those of a crop of 128 voxels."""


class MMMViT(Method[Encoding]):
    """Multiscale multimodal vision transformer (Qiu et al., 2024).

    Built on mmFormer, with two changes. A token of the transformer within a modality is made of the features of all
    levels at its place, not of the coarsest level alone. Fusion takes two steps: at each place, the present modalities
    are mixed by how they correlate with each other there; a transformer then relates all their places.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.

    Departures from the paper:
        An absent modality has a correlation of minus infinity before the softmax, so that the shares of those that are
        there add up to 1. (In the public code it has 0, which takes a share.) It is no key of the transformer, and
        supervises nothing. Group norm, zero padding, no dropout; the decoder has fewer channels before it enlarges.
        Logits are of regions, so the loss is Dice and binary cross-entropy; coarser levels are compared at their own
        resolution with the share of a voxel that a region fills.

    Not stated in the paper, or not in what could be read of it:
        Finer levels reach a token as means over its place. The correlation of two modalities is the product of a
        learned query of one and a learned key of the other at the same place, divided by the root of the width; what is
        mixed are the tokens themselves, and the mix is added to them. Single and coarse predictions count once
        each, as means.
    """

    paper = Paper(
        title="MMMViT: Multiscale Multimodal Vision Transformer for Brain Tumor Segmentation with Missing Modalities",
        authors="Qiu et al.",
        year=2024,
        venue="Biomedical Signal Processing and Control 90",
        url="https://doi.org/10.1016/j.bspc.2023.105827",
        idea="All scales enter each modality's transformer; modalities are correlated place by place, then related.",
    )

    def __init__(self, task: Task, *, width: int = 8, levels: int = 5) -> None:
        super().__init__(task)
        modalities, widths = len(task.modalities), level_widths(width, levels)
        token = _ENLARGE * widths[-1]
        self.divisor = 2 ** (levels - 1)
        self.branches = Branches(modalities, len(task.regions), widths)
        self.within = WithinEach(modalities, sum(widths), token, _HEADS, _RATIO, _SIDE)
        self.correlation = Correlation(token)
        self.among = Layer(token, _HEADS, _RATIO)
        self.narrow = PointConv(modalities * token, widths[-1])

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Each present modality by its own encoder and, all scales together, its transformer."""
        return self._encoded(self.branches.encode(images, presence), presence)

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """The present modalities correlated, related and decoded."""
        return self._levels(encoded, presence)[0]

    def _encoded(self, levels: list[list[Feature]], presence: Presence) -> Encoding:
        tokens = self.within([all_scales(own) for own in levels], presence)
        return Encoding(tokens, self.branches.skips(levels, presence))

    def _levels(self, encoded: Encoding, presence: Presence) -> list[LevelLogits]:
        """Logits of every level of the decoder, finest first."""
        mixed = self.within.placed(self.correlation(encoded.tokens, presence))
        fused = self.narrow(side_by_side(related(self.among, mixed, presence)))
        return self.branches.logits(fused, self.branches.join(encoded.skips, presence))

    def stages(self) -> list[Stage]:
        """One stage: segment from what is shown, from each modality alone and at every level."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        levels = self.branches.encode(batch.images, batch.presence)
        logits = self._levels(self._encoded(levels, batch.presence), batch.presence)
        return self.branches.terms(logits, levels, batch.presence, batch.regions)


class Correlation(nn.Module):
    """Modalities mixed at each place, by how they correlate there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = Linear(width, width, bias=False)
        self.key = Linear(width, width, bias=False)

    def forward(self, tokens: Stacked, presence: Presence) -> Stacked:
        """Each present modality's tokens and the mix of all present ones at the same place; zero where absent."""
        there = presence[:, :, None, None, None, None]
        tokens = torch.where(there, tokens, 0.0)
        last = tokens.movedim(2, -1)
        shares = shares_of(self.query(last), self.key(last), presence)
        mix = torch.einsum("bijxyz,bjxyzc->bicxyz", shares.to(last.dtype), last)
        return torch.where(there, tokens + mix, 0.0)


def shares_of(
    query: Float[Tensor, "batch modality x y z width"],
    key: Float[Tensor, "batch modality x y z width"],
    presence: Presence,
) -> Float[Tensor, "batch modality modality x y z"]:
    """At each place, the share of each present modality (second) in the mix of each modality (first)."""
    score = torch.einsum("bixyzc,bjxyzc->bijxyz", query, key).float() / query.shape[-1] ** 0.5
    absent = ~presence[:, None, :, None, None, None]
    return torch.softmax(score.masked_fill(absent, -torch.inf), dim=2)


def all_scales(levels: Sequence[Feature]) -> Feature:
    """The features of every level side by side on the coarsest level's grid, finer ones as means over its voxels."""
    coarser = range(len(levels) - 1, 0, -1)
    pooled = [mean_pool(own, 2**halvings) for own, halvings in zip(levels, coarser, strict=False)]
    return torch.cat([*pooled, levels[-1]], dim=1)
