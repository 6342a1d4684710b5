"""IM-Fuse: a state space reads the sequences' tokens one after another, and learned tokens keep what it found."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence
from lacunet.nn.branches import Branches
from lacunet.nn.conv import PointConv
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.placed import Places, maps_of, tokens_of
from lacunet.nn.state_space import StateSpace
from lacunet.nn.unet import level_widths
from lacunet.nn.within import Encoding, WithinEach
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]
Kinds = Float[Tensor, "kind token width"]

Order = Literal["interleaved", "concatenated"]
"""How the tokens of one case stand in a row: place by place, or modality by modality."""

_ENLARGE = 4
"""A token has this many times the channels of the coarsest level: 512 where that has 128."""

_HEADS = 8
_RATIO = 8
"""Of the transformers within modalities: the perceptron's width against a token's."""

_SIDE = 8
"""Places along each axis that are learned: those of a crop of 128 voxels."""


class IMFuse(Method[Encoding]):
    """mmFormer with a Mamba block in the place of the transformer among modalities (Pipoli et al., 2025).

    Each modality has an encoder and, at its coarsest level, a transformer layer. A learned token is added for each
    place. Tokens of the present modalities and learned tokens stand in one row, which a Mamba block reads in order;
    what it gives at the learned tokens is the map that is decoded. A row that is interleaved has, place by place, the
    token of each present modality and then the learned one.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        order: `interleaved`, or `concatenated`: all tokens of one modality, then of the next, the learned ones last.

    Departures from the paper:
        Tokens of absent modalities are left out of the row (not zeros in it), so that the state neither decays nor
        moves there. Skips are those of mmFormer; the Mamba blocks that may stand in them, with a learned token for
        each voxel, are left out: they fix the size of a crop. Group norm, zero padding, no dropout. Logits are of
        regions, so the loss is Dice and binary cross-entropy; coarser levels are compared at their own resolution with
        the share of a voxel that a region fills. A modality that is hidden supervises nothing.

    Not stated in the paper, or not in what could be read of it:
        One Mamba block of the usual sizes (16 states, four tokens of convolution, twice as wide within), pre-norm with
        a sum around it, in one direction. Modalities stand in the task's order. A 1x1x1 convolution makes the coarsest
        level's channels of the learned tokens. Single and coarse predictions count once each, as means.
    """

    paper = Paper(
        title="IM-Fuse: A Mamba-based Fusion Block for Brain Tumor Segmentation with Incomplete Modalities",
        authors="Pipoli et al.",
        year=2025,
        venue="MICCAI 2025",
        url="https://github.com/AImageLab-zip/IM-Fuse",
        idea="A Mamba block reads the tokens of what is there, place by place, into learned tokens.",
    )

    def __init__(self, task: Task, *, width: int = 8, levels: int = 5, order: Order = "interleaved") -> None:
        super().__init__(task)
        modalities, widths = len(task.modalities), level_widths(width, levels)
        token = _ENLARGE * widths[-1]
        self.divisor = 2 ** (levels - 1)
        self.order: Order = order
        self.branches = Branches(modalities, len(task.regions), widths)
        self.within = WithinEach(modalities, widths[-1], token, _HEADS, _RATIO, _SIDE)
        self.learned = Places(1, token, _SIDE)
        nn.init.normal_(self.learned.learned, std=0.02)
        self.reader = StateSpace(token)
        self.narrow = PointConv(token, widths[-1])

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Each present modality by its own encoder and transformer."""
        return self._encoded(self.branches.encode(images, presence), presence)

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """The present modalities read into the learned tokens, and those decoded."""
        return self._levels(encoded, presence)[0]

    def fuse(self, tokens: Stacked, presence: Presence) -> Feature:
        """The learned tokens of each case, after the row of its present modalities has been read."""
        grid = tokens.shape[3:]
        learned, placed = tokens_of(self.learned(grid)), tokens_of(self.within.placed(tokens))
        fused = []
        for own, there in zip(placed, presence, strict=True):
            kinds = torch.cat([own[there], learned])
            row = self.reader(in_a_row(kinds, self.order)[None])[0]
            fused.append(last_kind(row, len(kinds), self.order))
        return maps_of(torch.stack(fused), grid)

    def _encoded(self, levels: list[list[Feature]], presence: Presence) -> Encoding:
        tokens = self.within([level[-1] for level in levels], presence)
        return Encoding(tokens, self.branches.skips(levels, presence))

    def _levels(self, encoded: Encoding, presence: Presence) -> list[LevelLogits]:
        """Logits of every level of the decoder, finest first."""
        fused = self.narrow(self.fuse(encoded.tokens, presence))
        return self.branches.logits(fused, self.branches.join(encoded.skips, presence))

    def stages(self) -> list[Stage]:
        """One stage: segment from what is shown, from each modality alone and at every level."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        levels = self.branches.encode(batch.images, batch.presence)
        logits = self._levels(self._encoded(levels, batch.presence), batch.presence)
        return self.branches.terms(logits, levels, batch.presence, batch.regions)


def in_a_row(kinds: Kinds, order: Order) -> Float[Tensor, "_ width"]:
    """The tokens of several kinds, as many of each, in one row.

    Args:
        kinds: The tokens of the present modalities and then the learned ones.
        order: Place by place (every kind of the first place, then of the second), or kind by kind.
    """
    return (kinds.transpose(0, 1) if order == "interleaved" else kinds).flatten(0, 1)


def last_kind(row: Float[Tensor, "_ width"], kinds: int, order: Order) -> Float[Tensor, "token width"]:
    """The tokens of the last of so many kinds, out of a row that `in_a_row` made."""
    if order == "interleaved":
        return row[kinds - 1 :: kinds]
    return row[-(len(row) // kinds) :]
