"""ShaSpec: a shared and a specific encoder; an absent modality is the mean of what the present ones share."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Batch, Images, Logits, Presence, hide
from lacunet.nn.composition import Composition
from lacunet.nn.conv import ConvBlock, PointConv
from lacunet.nn.fusion import mean_of_present, members_of, of_those_that_have_it, spread
from lacunet.nn.limits import require_share
from lacunet.nn.losses import cross_entropy_loss, dice_loss
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.shared_specific import ModalityClassifier, neighbours_apart
from lacunet.nn.unet import Encoder, Rise, level_widths
from lacunet.task import Task

Stacked = Float[Tensor, "batch modality channel x y z"]
"""Features of each modality; zero where it is not there."""


class Encoding(NamedTuple):
    """What all subsets are made of.

    Attributes:
        shared: The shared encoder's features of each level, finest first.
        specific: Those of each modality's own encoder, at the coarsest level.
        fused: Both in one, at the coarsest level.
    """

    shared: list[Float[Tensor, "batch modality _ _ _ _"]]
    specific: Stacked
    fused: Stacked


class ShaSpec(Method[Encoding]):
    """Shared-specific feature modelling (Wang et al., 2023).

    One encoder is shared by all modalities, and each has one of its own. A present modality enters the decoder as the
    projection of its shared and specific feature, added to the shared one; an absent one as the mean of the shared
    features of those that are there. Two losses keep the features apart: the shared ones of a case's modalities become
    alike, and from a specific one its modality can be told.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        alignment: Weight of the distance between the shared features of neighbours (alpha); 0 leaves it out.
        classification: Weight of telling a modality from its specific feature (beta); 0 leaves it out.
        complete: Share of the training, at its beginning, in which all that was acquired is shown.

    Departures from the paper:
        The encoders are those of a plain U-Net, not residual networks of 50 layers with atrous pooling, and norms are
        group norms; cross-entropy is the regions' mean, not their sum. Skips carry the shared encoder's finer features,
        and where a modality is absent the mean of the present ones, as at the coarsest level. Cases of a batch have
        subsets of their own. A modality that is not shown enters neither loss.

    Not stated in the paper:
        Neighbours form a ring in the task's order of what is there; their distance is the mean absolute difference.
        The classifier is given the mean of a specific feature over all places. That subsets are drawn only after a
        first part with complete cases is the authors' training, its length (80 of 180 thousand steps) theirs.
    """

    paper = Paper(
        title="Multi-Modal Learning with Missing Modality via Shared-Specific Feature Modelling",
        authors="Wang et al.",
        year=2023,
        venue="CVPR",
        url="https://arxiv.org/abs/2307.14126",
        idea="Shared and specific encoders; an absent modality is the mean of the others' shared features.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        levels: int = 5,
        alignment: float = 0.1,
        classification: float = 0.02,
        complete: float = 0.444,
    ) -> None:
        super().__init__(task)
        require_share("complete", complete)
        modalities, widths = len(task.modalities), level_widths(width, levels)
        self.divisor = 2 ** (levels - 1)
        self.alignment, self.classification, self.complete_share = alignment, classification, complete
        self.shared = Encoder(1, widths)
        self.specific = nn.ModuleList(Encoder(1, widths) for _ in task.modalities)
        self.compose = Composition(widths[-1])
        self.fuse = ConvBlock(modalities * widths[-1], widths[-1])
        self.skips = nn.ModuleList(PointConv(modalities * channels, channels) for channels in widths[:-1])
        self.rises = nn.ModuleList(Rise(below, channels, _two_convolutions) for channels, below in pairwise(widths))
        self.head = PointConv(width, len(task.regions))
        self.classify = ModalityClassifier(modalities, widths[-1])

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Every present image by both of its encoders."""
        there = presence.unbind(dim=1)
        cases = of_those_that_have_it(hide(images, presence), presence)
        counts = [*map(len, cases)]
        shared = self.shared(torch.cat(cases))
        specific = torch.cat([encoder(case)[-1] for encoder, case in zip(self.specific, cases, strict=True)])
        fused = self.compose(shared[-1], specific) + shared[-1]
        levels = [torch.stack(spread(each.split(counts), there), dim=1) for each in (*shared, specific, fused)]
        return Encoding(levels[:-2], levels[-2], levels[-1])

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """One subset: what is there, and the mean of what it shares for the rest."""
        *finer, coarsest = encoded.shared
        features = self.fuse(completed(encoded.fused, coarsest, presence).flatten(1, 2))
        for shared, skip, rise in reversed(list(zip(finer, self.skips, self.rises, strict=True))):
            features = rise(features, skip(completed(shared, shared, presence).flatten(1, 2)))
        logits: Logits = self.head(features)
        return logits

    def stages(self) -> list[Stage]:
        """One stage: at first from all that was acquired, then from subsets."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        presence = batch.acquired if clock.progress < self.complete_share else batch.presence
        encoded = self.encode(batch.images, presence)
        logits, members = self.decode(encoded, presence), members_of(presence)
        terms = {
            "dice": dice_loss(logits, batch.regions),
            "cross_entropy": cross_entropy_loss(logits, batch.regions),
        }
        if self.alignment:
            apart = neighbours_apart(encoded.shared[-1].unbind(dim=1), members)
            terms["alignment"] = self.alignment * apart.mean()
        if self.classification:
            told = self.classify(encoded.specific.unbind(dim=1), members)
            terms["classification"] = self.classification * told.mean()
        return terms


def completed(features: Stacked, shared: Stacked, presence: Presence) -> Stacked:
    """The features of present modalities; for each absent one, the mean of the present ones' shared features."""
    absent = mean_of_present(shared, presence)[:, None]
    return torch.where(presence[:, :, None, None, None, None], features, absent)


def _two_convolutions(channels: int) -> ConvBlock:
    return ConvBlock(channels, channels)
