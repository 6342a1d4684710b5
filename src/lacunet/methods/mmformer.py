"""mmFormer: a transformer within each modality, and another among those that are there."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from lacunet.nn.among import related, side_by_side
from lacunet.nn.attention import Layer
from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence
from lacunet.nn.branches import Branches
from lacunet.nn.conv import PointConv
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.unet import level_widths
from lacunet.nn.within import Encoding, WithinEach
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]

_ENLARGE = 4
"""A token has this many times the channels of the coarsest level: 512 where that has 128."""

_HEADS = 8
_RATIO = 8
"""The perceptron is this many times as wide inside as a token: 4,096."""

_SIDE = 8
"""Places along each axis that are learned: those of a crop of 128 voxels."""


class MMFormer(Method[Encoding]):
    """Hybrid modality-specific encoders and a modality-correlated one (Zhang et al., 2022).

    Each modality has a convolutional encoder of its own. A transformer layer relates the places of its coarsest level
    with each other (within the modality); a second one relates all places of all present modalities. The modalities
    lie side by side on channels then, a 1x1x1 convolution makes one map of them, and a decoder with skips of the
    present modalities goes up from there. A decoder that modalities share predicts from each alone, and every level of
    the other decoder predicts too; both in training only.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.

    Departures from the paper:
        Convolutions are in M2FTrans' order (norm after the convolution) with group norm and zero padding, and the
        decoder has fewer channels before it enlarges. No dropout. Logits are of regions, so the loss is Dice and binary
        cross-entropy; coarser levels are compared at their own resolution with the share of a voxel that a region
        fills. A modality that is hidden supervises nothing, is no key of the attention, and costs nothing.
        Modalities are put side by side on channels, place by place. (The public code reshapes the row of all tokens
        instead, which lays four neighbouring places of one modality on one place.)

    Not stated in the paper:
        What tells a token its place is learned for each modality, and both transformers add it. The shared decoder
        starts from the convolutions' features, not from the transformer's. Single and coarse
        predictions count once each, as means. Places are interpolated where a box has others than a crop of 128.
    """

    paper = Paper(
        title="mmFormer: Multimodal Medical Transformer for Incomplete Multimodal Learning of Brain Tumor Segmentation",
        authors="Zhang et al.",
        year=2022,
        venue="MICCAI 2022",
        url="https://arxiv.org/abs/2206.02425",
        idea="A transformer within each modality and one among those that are there, between encoders and decoder.",
    )

    def __init__(self, task: Task, *, width: int = 8, levels: int = 5) -> None:
        super().__init__(task)
        modalities, widths = len(task.modalities), level_widths(width, levels)
        self.divisor = 2 ** (levels - 1)
        self.branches = Branches(modalities, len(task.regions), widths)
        token = _ENLARGE * widths[-1]
        self.within = WithinEach(modalities, widths[-1], token, _HEADS, _RATIO, _SIDE)
        self.among = Layer(token, _HEADS, _RATIO)
        self.narrow = PointConv(modalities * token, widths[-1])

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Each present modality by its own encoder and transformer."""
        return self._encoded(self.branches.encode(images, presence), presence)

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """The present modalities related, joined and decoded."""
        return self._levels(encoded, presence)[0]

    def _encoded(self, levels: list[list[Feature]], presence: Presence) -> Encoding:
        tokens = self.within([level[-1] for level in levels], presence)
        return Encoding(tokens, self.branches.skips(levels, presence))

    def _levels(self, encoded: Encoding, presence: Presence) -> list[LevelLogits]:
        """Logits of every level of the decoder, finest first."""
        fused = self.narrow(side_by_side(related(self.among, self.within.placed(encoded.tokens), presence)))
        return self.branches.logits(fused, self.branches.join(encoded.skips, presence))

    def stages(self) -> list[Stage]:
        """One stage: segment from what is shown, from each modality alone and at every level."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        levels = self.branches.encode(batch.images, batch.presence)
        logits = self._levels(self._encoded(levels, batch.presence), batch.presence)
        return self.branches.terms(logits, levels, batch.presence, batch.regions)
