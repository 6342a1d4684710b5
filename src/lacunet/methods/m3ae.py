"""M3AE: learn to rebuild masked patches and absent modalities, then segment two subsets of each case alike."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence, hide
from lacunet.nn.body import Body
from lacunet.nn.conv import PointConv
from lacunet.nn.limits import require_between, require_levels, require_share
from lacunet.nn.losses import cross_entropy_loss, deeply, dice_loss
from lacunet.nn.masking import Seen, draw_seen, reconstruction_loss
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.unet import level_widths
from lacunet.task import Task


class Answer(NamedTuple):
    """Region logits of the finest resolutions, finest first, and the features of the coarsest."""

    logits: list[LevelLogits]
    bottleneck: Float[Tensor, "batch _ _ _ _"]


class M3AE(Method[Images]):
    """A multimodal masked autoencoder, fine-tuned on pairs of subsets.

    First a U-Net rebuilds all modalities from what is left when modalities and patches are masked; what is masked is
    filled from a substitute image, which is learned with the network. Then it gets heads for the regions, and at each
    step segments two different subsets of each case, whose features at the coarsest level shall agree.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        patches: Masked patches along each side of a crop: 8 are 16 voxels wide in a crop of 128.
        masked: Share of the patches of all modalities that is masked, those of dropped modalities counted.
        substitute: Numbers along each side of the substitute image of a modality; 0 leaves zeros where nothing is seen.
        penalty: Weight of the substitute image's mean square (gamma).
        consistency: Weight of the distance between the features of two subsets (lambda); 0 leaves it out, and then one
            subset is segmented at each step.

    Departures from the paper:
        Its substitute image has a number for each voxel of BraTS' grid (155 x 240 x 240). A crop of a scan from
        anywhere does not say where in the head it lies, so ours is small, and stretched over whatever is shown. It is
        learned at the learning rate of the network, and its penalty is the mean square of its numbers, not their
        distance from their mean. What was not acquired is not compared when images are rebuilt. The paper rebuilds
        validation cases too, without weight decay. Dice and cross-entropy count the same; coarser heads have half the
        weight of the finer one. The second subset is drawn from what was acquired; a case with one modality alone is
        segmented twice from that.

    Not stated in the paper:
        That the substitute image stays as it is while the network is fine-tuned. How many modalities are dropped: each
        number equally likely, then as many patches of the others as the share asks for. How subsets are drawn: a
        recipe's `train.subsets` says, for the first; of all others each is equally likely to be the second.
    """

    paper = Paper(
        title="M3AE: Multimodal Representation Learning for Brain Tumor Segmentation with Missing Modalities",
        authors="Liu et al.",
        year=2023,
        venue="AAAI",
        url="https://arxiv.org/abs/2303.05302",
        idea="Rebuild masked patches and modalities first, with a learned substitute image; then two subsets agree.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        levels: int = 4,
        patches: int = 8,
        masked: float = 0.875,
        substitute: int = 16,
        penalty: float = 0.005,
        consistency: float = 0.1,
    ) -> None:
        super().__init__(task)
        require_levels(levels)
        require_share("masked", masked)
        require_between("patches", patches, 1, 64)
        require_between("substitute", substitute, 0, 64)
        widths, modalities = level_widths(width, levels), len(task.modalities)
        self.divisor = 2 ** (levels - 1)
        self.patches, self.masked, self.penalty, self.consistency = patches, masked, penalty, consistency
        self.substitute = Substitute(modalities, substitute) if substitute else None
        self.body = Body(modalities, widths, "zero")
        self.rebuild = PointConv(width, modalities)
        self.heads = nn.ModuleList(PointConv(channels, len(task.regions)) for channels in widths[:-1][:3])

    def encode(self, images: Images, presence: Presence) -> Images:
        """The images, absent modalities zero; all mixing happens at the input."""
        return hide(images, presence)

    def decode(self, encoded: Images, presence: Presence) -> Logits:
        """The whole network over the present modalities and substitutes of the others."""
        return self.answer(encoded, presence).logits[0]

    def answer(self, images: Images, presence: Presence) -> Answer:
        """Logits and the features that two subsets shall share."""
        seen = presence[:, :, None, None, None]
        features = self.body(*self._filled(images, seen))
        levels = features.decoded[: len(self.heads)]
        return Answer([head(level) for head, level in zip(self.heads, levels, strict=True)], features.encoded[-1])

    def _filled(self, images: Images, seen: Seen) -> tuple[Images, Seen]:
        """What the body takes: images with their substitute, all of which it may see; or images and what is seen."""
        if self.substitute is None:
            return images, seen
        return self.substitute(images, seen), torch.ones_like(seen)

    # ------------------------------------------------ training

    def stages(self) -> list[Stage]:
        """Reconstruction, then fine-tuning on pairs of subsets."""
        filling = [] if self.substitute is None else [self.substitute]
        return [
            Stage("reconstruct", self._reconstruct_loss, trains=[self.body, self.rebuild, *filling], select="loss"),
            Stage("segment", self._segment_loss, trains=[self.body, self.heads]),
        ]

    def _reconstruct_loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """The autoencoder and its substitute image together (eq. 1 and 2)."""
        images = hide(batch.images, batch.acquired)
        seen = draw_seen(batch.acquired, images.shape[2:], self.patches, self.masked)
        rebuilt = self.rebuild(self.body(*self._filled(images, seen)).decoded[0])
        terms = {"reconstruction": reconstruction_loss(rebuilt, images, batch.acquired)}
        if self.substitute is not None:
            terms["penalty"] = self.penalty * self.substitute.size()
        return terms

    def _segment_loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """Both subsets segment, and their coarsest features agree (eq. 3)."""
        images, presence, regions = batch.images, batch.presence, batch.regions
        if self.consistency:
            presence = torch.cat([presence, other_subset(presence, batch.acquired)])
            images, regions = torch.cat([images, images]), torch.cat([regions, regions])
        answer = self.answer(images, presence)
        terms = {
            "dice": deeply(dice_loss, answer.logits, regions),
            "cross_entropy": deeply(cross_entropy_loss, answer.logits, regions),
        }
        if self.consistency:
            one, other = answer.bottleneck.float().chunk(2)
            terms["consistency"] = self.consistency * (one - other).square().mean()
        return terms


class Substitute(nn.Module):
    """A small learned image of each modality, stretched over what is shown.

    Args:
        modalities: How many.
        side: Numbers along each side.
    """

    def __init__(self, modalities: int, side: int) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.zeros(modalities, side, side, side))

    def forward(self, images: Images, seen: Seen) -> Images:
        """The images where they are seen, the substitute elsewhere."""
        stretched = F.interpolate(self.images[None], size=images.shape[2:], mode="trilinear")
        return torch.where(seen, images, stretched.to(images.dtype))

    def size(self) -> Float[Tensor, ""]:
        """The mean square of its numbers."""
        return self.images.square().mean()


def other_subset(presence: Presence, acquired: Presence) -> Presence:
    """Of each case another non-empty subset of what was acquired, each equally likely; the same where there is none."""
    others = presence.clone()
    for other, shown, there in zip(others, presence.cpu(), acquired.cpu(), strict=True):
        members = there.nonzero()[:, 0]
        powers = 2 ** torch.arange(len(members))
        if len(members) > 1:
            number, own = int(torch.randint(1, 2 ** len(members) - 1, ())), int((shown[members] * powers).sum())
            number += number >= own  # passes over the subset that is shown
            other[members.to(other.device)] = ((number // powers) % 2 == 1).to(other.device)
    return others
