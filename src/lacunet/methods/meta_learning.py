"""Meta-learning: a step on partial images must help on complete ones, and features must not tell what is missing."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from lacunet.nn.batch import Batch, Images, Logits, Presence, hide
from lacunet.nn.conv import PointConv
from lacunet.nn.linear import Linear
from lacunet.nn.losses import segmentation_loss
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.unet import Decoder, Encoder, level_widths
from lacunet.task import Task

Levels = list[Float[Tensor, "batch modality _ _ _ _"]]
"""Features of each level, finest first."""
Bottleneck = Float[Tensor, "batch channel _ _ _"]


class MetaLearning(Method[Levels]):
    """An encoder per modality and the mean of what is present, trained by first-order meta-learning.

    Each step has two halves (Finn et al. 2017). In the first, the weights theta segment each case from a part of its
    modalities, and one step of gradient descent makes theta' = theta - rate * gradient (meta-training). In the second,
    theta' segments the complete cases of the batch from all modalities (meta-testing), and the gradient of that loss at
    theta' moves theta. Beside them, a detector learns to tell from the bottleneck which modalities were shown, and the
    encoders learn that it says of partial images: all of them.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level of each encoder; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        rate: Of the step from theta to theta'; 0 leaves meta-learning out: both halves are then at theta.
        meta_test: Weight of the second half.
        adversarial: Weight with which the encoders deceive the detector; 0 leaves the detector out.

    Departures from the paper:
        First order: the gradient of the second half is that at theta', not through the step. The first half's loss is
        minimised too, since predictions are made at theta, from partial images. A batch without a complete case takes
        for the second half all that its cases have; the paper draws complete cases for each step.
        Each region has a sigmoid; Dice and cross-entropy.

    Not stated in the paper (its abstract is what was at hand; all of this is our reading):
        The network: U-Net encoders, features of the present modalities averaged at each level. The rate (0.01, plain
        gradient descent), both weights (1 and 0.1). The detector: two layers on the bottleneck's mean over all places,
        binary cross-entropy of each modality. The encoders are given the detector's cross-entropy to "all are there";
        the detector learns from features that are detached, of partial and of complete images.
    """

    paper = Paper(
        title="Enhancing Modality-Agnostic Representations via Meta-Learning for Brain Tumor Segmentation",
        authors="Konwer et al.",
        year=2023,
        venue="ICCV",
        url="https://arxiv.org/abs/2302.04308",
        idea="A step on partial images must help on complete ones; features must not tell what is missing.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        levels: int = 5,
        rate: float = 1e-2,
        meta_test: float = 1.0,
        adversarial: float = 0.1,
    ) -> None:
        super().__init__(task)
        if min(rate, meta_test, adversarial) < 0:
            raise ValueError(f"rate, meta_test, adversarial = {rate}, {meta_test}, {adversarial}: none is below 0")
        widths = level_widths(width, levels)
        self.divisor = 2 ** (levels - 1)
        self.rate, self.meta_test, self.adversarial = rate, meta_test, adversarial
        self.network = MeanFusion(len(task.modalities), len(task.regions), widths)
        self.detector = Detector(widths[-1], len(task.modalities))

    def encode(self, images: Images, presence: Presence) -> Levels:
        """Features of every modality at every level."""
        return self.network.encode(images, presence)

    def decode(self, encoded: Levels, presence: Presence) -> Logits:
        """The mean over the present modalities, decoded."""
        return self.network.decode(encoded, presence)[0]

    def stages(self) -> list[Stage]:
        """One stage: both halves of every step, and the detector."""
        trained = [self.network, *([self.detector] if self.adversarial else [])]
        return [Stage(name="meta", loss=self._loss, trains=trained)]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        logits, partial = self.network(batch.images, batch.presence)
        inner = segmentation_loss(logits, batch.regions)
        weights = adapted(self.network, inner, self.rate) if self.meta_test else {}
        chosen = _for_meta_test(batch.acquired)
        clock.note("complete_cases", float(batch.acquired.cpu().all(dim=1).sum()))
        terms = {"meta_training": inner}
        seen = [(partial, batch.presence)]
        if self.meta_test:
            images, acquired = batch.images[chosen], batch.acquired[chosen]
            logits, complete = functional_call(self.network, weights, (images, acquired))
            terms["meta_testing"] = self.meta_test * segmentation_loss(logits, batch.regions[chosen])
            seen.append((complete, acquired))
        if self.adversarial:
            found = [self._detected(features.detach(), shown) for features, shown in seen]
            terms["detector"] = torch.stack(found).mean()
            terms["deceived"] = self.adversarial * self._deceived(partial)
        return terms

    def _detected(self, features: Bottleneck, shown: Presence) -> Float[Tensor, ""]:
        """How badly the detector tells which modalities were shown."""
        return F.binary_cross_entropy_with_logits(self.detector(features).float(), shown.float())

    def _deceived(self, features: Bottleneck) -> Float[Tensor, ""]:
        """How far the detector is from saying "all are there"; its own weights get no gradient."""
        frozen = {name: weight.detach() for name, weight in self.detector.named_parameters()}
        says = functional_call(self.detector, frozen, (features,)).float()
        return F.binary_cross_entropy_with_logits(says, torch.ones_like(says))


class MeanFusion(nn.Module):
    """U-Net encoders of single modalities; at each level the mean of the present ones; one decoder."""

    def __init__(self, modalities: int, regions: int, widths: list[int]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([Encoder(1, widths) for _ in range(modalities)])
        self.decoder = Decoder(widths)
        self.head = PointConv(widths[0], regions)

    def encode(self, images: Images, presence: Presence) -> Levels:
        """Features of every modality at every level."""
        shown = hide(images, presence).unsqueeze(2).unbind(dim=1)
        each = [encoder(image) for encoder, image in zip(self.encoders, shown, strict=True)]
        return [torch.stack(level, dim=1) for level in zip(*each, strict=True)]

    def decode(self, encoded: Levels, presence: Presence) -> tuple[Logits, Bottleneck]:
        """Region logits of the present modalities, and the coarsest level of their mean."""
        fused = [_mean_of_present(level, presence) for level in encoded]
        return self.head(self.decoder(fused)[-1]), fused[-1]

    def forward(self, images: Images, presence: Presence) -> tuple[Logits, Bottleneck]:
        """Both in one, so that it can be called with other weights."""
        return self.decode(self.encode(images, presence), presence)


class Detector(nn.Module):
    """Which modalities a bottleneck was made of: a logit each."""

    def __init__(self, channels: int, modalities: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Linear(channels, channels), nn.LeakyReLU(0.2), Linear(channels, modalities))

    def forward(self, features: Bottleneck) -> Float[Tensor, "batch modality"]:
        """From the mean over all places."""
        logits: Tensor = self.layers(features.mean((2, 3, 4)))
        return logits


def adapted(network: nn.Module, loss: Float[Tensor, ""], rate: float) -> dict[str, Tensor]:
    """The weights after one step of gradient descent: theta' = theta - rate * gradient.

    The gradient is a constant, so that a loss at theta' has the same gradient for theta as for theta' (first order).
    """
    weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    gradients = torch.autograd.grad(loss, list(weights.values()), retain_graph=True)
    return {name: weight - rate * gradient for (name, weight), gradient in zip(weights.items(), gradients, strict=True)}


def _for_meta_test(acquired: Presence) -> list[int]:
    """Indices of the complete cases; of all, where none is complete."""
    complete = [index for index, there in enumerate(acquired.cpu().all(dim=1).tolist()) if there]
    return complete or list(range(len(acquired)))


def _mean_of_present(
    features: Float[Tensor, "batch modality channel x y z"], presence: Presence
) -> Float[Tensor, "batch channel x y z"]:
    there = presence[:, :, None, None, None, None]
    return torch.where(there, features, 0.0).sum(dim=1) / there.sum(dim=1).clamp_min(1)
