"""M3FeCon: what is missing is what is masked; a transformer rebuilds its coarsest features from those of the rest."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.attention import Layer
from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence, hide
from lacunet.nn.conv import PointConv
from lacunet.nn.fusion import of_those_that_have_it, spread
from lacunet.nn.limits import require_levels
from lacunet.nn.linear import Linear
from lacunet.nn.losses import cross_entropy_loss, deeply, dice_loss
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.unet import Decoder, Encoder, level_widths
from lacunet.task import Task

Stacked = Float[Tensor, "batch modality channel x y z"]
"""Features of each modality; zero where it is not there."""

Level = Float[Tensor, "batch modality _ _ _ _"]
"""The same, of any resolution."""

_WIDTH, _HEADS, _RATIO = 128, 4, 2
"""Of a token; of the attention; how many times wider the perceptron is inside: 256."""

_SIDE = 4
"""Places along each axis that are learned: those of a crop of 128 voxels at six levels."""


class M3FeCon(Method[list[Level]]):
    """Missing as masking: feature reconstruction across any modalities.

    Each modality has an encoder of its own, with its share of the channels of one network. At the coarsest level, what
    is there enters a transformer layer as tokens, and learned tokens enter in place of what is not. From what leaves it
    the features of absent modalities are rebuilt; the features of present ones stay as they are. All modalities side by
    side go to one decoder, whose skips are zero where a modality is absent. In training, what was acquired and is
    hidden says what should have been rebuilt. Cases that lack a modality teach as complete ones do.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level, all modalities together; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        reconstruction: Weight of the distance between rebuilt and real features; 0 leaves it out.

    Departures from the paper:
        Group norm in place of instance norm, trilinear enlargement in place of transposed convolution; a sigmoid per
        region. Learned tokens and places are interpolated where a box has others than a crop of 128. Subsets are drawn
        case by case, not once for a batch.

    Not stated in the paper:
        Only its abstract could be read; sizes are those that others report of their implementations. Real features are
        constants where rebuilt ones are compared with them: an encoder that made its features small would be easy to
        rebuild. The distance is the mean square over modalities that were acquired and are hidden; its weight is 1.
    """

    paper = Paper(
        title="Missing as Masking: Arbitrary Cross-Modal Feature Reconstruction for Incomplete Multimodal Brain Tumor "
        "Segmentation",
        authors="Zeng et al.",
        year=2024,
        venue="MICCAI",
        url="https://openreview.net/forum?id=P529DMsY4d",
        idea="Learned tokens stand for absent modalities; a transformer rebuilds their coarsest features.",
    )

    def __init__(self, task: Task, *, width: int = 32, levels: int = 6, reconstruction: float = 1.0) -> None:
        super().__init__(task)
        require_levels(levels)
        modalities, regions = len(task.modalities), len(task.regions)
        each = [max(channels // modalities, 1) for channels in level_widths(width, levels)]
        together = [modalities * channels for channels in each]
        self.divisor = 2 ** (levels - 1)
        self.reconstruction = reconstruction
        self.encoders = nn.ModuleList(Encoder(1, each) for _ in task.modalities)
        self.rebuild = Rebuild(modalities, each[-1])
        self.decoder = Decoder(together)
        self.heads = nn.ModuleList(PointConv(channels, regions) for channels in together[:-1])

    def encode(self, images: Images, presence: Presence) -> list[Level]:
        """Each present image by its own encoder."""
        cases = of_those_that_have_it(hide(images, presence), presence)
        levels = [encoder(case) for encoder, case in zip(self.encoders, cases, strict=True)]
        there = presence.unbind(dim=1)
        return [torch.stack(spread(level, there), dim=1) for level in zip(*levels, strict=True)]

    def decode(self, encoded: list[Level], presence: Presence) -> Logits:
        """The present modalities, what is rebuilt of the others, and the decoder."""
        return self._answer(encoded, presence)[0][0]

    def _answer(self, encoded: Sequence[Level], presence: Presence) -> tuple[list[LevelLogits], Stacked]:
        """Region logits of every level but the coarsest, finest first, and all rebuilt features."""
        *finer, coarsest = [only(level, presence) for level in encoded]
        rebuilt = self.rebuild(coarsest, presence)
        completed = torch.where(presence[:, :, None, None, None, None], coarsest, rebuilt)
        decoded = self.decoder([level.flatten(1, 2) for level in (*finer, completed)])[:0:-1]
        return [head(level) for head, level in zip(self.heads, decoded, strict=True)], rebuilt

    # ------------------------------------------------ training

    def stages(self) -> list[Stage]:
        """One stage: segment, and rebuild what is hidden."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        encoded = self.encode(batch.images, batch.acquired)
        logits, rebuilt = self._answer(encoded, batch.presence)
        terms = {
            "dice": deeply(dice_loss, logits, batch.regions),
            "cross_entropy": deeply(cross_entropy_loss, logits, batch.regions),
        }
        if self.reconstruction:
            apart = distance(rebuilt, encoded[-1].detach(), batch.acquired & ~batch.presence)
            terms["reconstruction"] = self.reconstruction * apart
        return terms


class Rebuild(nn.Module):
    """The coarsest features of every modality, from those that are there: one transformer layer.

    Args:
        modalities: How many.
        channels: Of a modality's features.
    """

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.enter = Linear(channels, _WIDTH)
        self.leave = Linear(_WIDTH, channels)
        self.absent = nn.Parameter(0.02 * torch.randn(modalities, _WIDTH, _SIDE, _SIDE, _SIDE))
        self.places = nn.Parameter(0.02 * torch.randn(modalities, _WIDTH, _SIDE, _SIDE, _SIDE))
        self.layer = Layer(_WIDTH, _HEADS, _RATIO)
        self.norm = nn.LayerNorm(_WIDTH)

    def forward(self, features: Stacked, presence: Presence) -> Stacked:
        """What is rebuilt of every modality, present or not."""
        grid = features.shape[3:]
        there = presence[:, :, None, None]
        present = self.enter(features.flatten(3).transpose(2, 3))
        tokens = torch.where(there, present, learned(self.absent, grid).to(present.dtype))
        tokens = tokens + learned(self.places, grid).to(present.dtype)
        mixed = self.layer(tokens.flatten(1, 2), None).view_as(tokens)
        rebuilt: Tensor = self.leave(self.norm(mixed))
        return torch.unflatten(rebuilt.transpose(2, 3), 3, list(grid)).to(features.dtype)


def learned(maps: Float[Tensor, "modality width x y z"], grid: Sequence[int]) -> Float[Tensor, "modality token width"]:
    """A learned map as tokens of another grid."""
    if list(grid) != list(maps.shape[2:]):
        maps = F.interpolate(maps, size=list(grid), mode="trilinear")
    return maps.flatten(2).transpose(1, 2)


def only(features: Level, presence: Presence) -> Level:
    """Zero what is not present."""
    return torch.where(presence[:, :, None, None, None, None], features, 0.0)


def distance(rebuilt: Stacked, real: Stacked, hidden: Presence) -> Float[Tensor, ""]:
    """The mean square between rebuilt and real features of hidden modalities; 0 where nothing is hidden."""
    squares = torch.where(hidden[:, :, None, None, None, None], rebuilt.float() - real.float(), 0.0).square()
    return squares.mean((2, 3, 4, 5)).sum() / hidden.sum().clamp_min(1)
