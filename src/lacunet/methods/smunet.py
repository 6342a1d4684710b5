"""SMU-Net: a network that sees everything and one that sees a subset learn together; content and style shall match."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from lacunet.errors import ModelError
from lacunet.nn.batch import Batch, Images, Logits, Presence, hide
from lacunet.nn.conv import ConvBlock, PointConv
from lacunet.nn.limits import require_levels
from lacunet.nn.linear import Linear
from lacunet.nn.losses import segmentation_loss
from lacunet.nn.method import Clock, Method, Stage, make_method
from lacunet.nn.papers import Paper
from lacunet.nn.ramp import ramp_up
from lacunet.nn.unet import Decoder, Encoder, level_widths
from lacunet.task import Task

Feature = Float[Tensor, "batch channel x y z"]

_RAMP = 0.08
"""Share of the training in which the weight of the consistency rises: 20 of 250 epochs."""


class Answer(NamedTuple):
    """What a path says of its images.

    Attributes:
        logits: Of the regions.
        content: What the coarsest features say of the anatomy.
        style: What they say of how it looks.
    """

    logits: Logits
    content: Feature
    style: Feature


class SMUNet(Method[Images]):
    """Style matching (Azad et al., 2022), as one network for all subsets.

    Two U-Nets are trained together: one is shown all that was acquired, the other a subset. At the coarsest level each
    takes its features apart into content and style. The poorer path's content shall be that of the richer one, its
    style have the same correlations between channels, and a discriminator shall not tell the two styles apart; its
    probabilities shall be the same. Which modalities are there is a code that scales and shifts the poorer path's
    style. Only the poorer path is used in the end.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        consistency: Weight of the distance between both paths' probabilities, reached after 8 % of the training.
        content: Weight of the distance between contents.
        style: Weight of the distance between the styles' correlations.
        adversarial: Weight of deceiving the discriminator; 0 leaves the discriminator out.
        parts: Which networks there are. Only a model folder says other than `all`.

    Departures from the paper:
        It trains a network for each subset that may be met. Here one poorer path sees another subset at each step, and
        is told which by the code; otherwise one style would have to match fifteen. Its U-Nets are residual, ours plain.
        What was not acquired is absent in the richer path too. Dice and cross-entropy; a sigmoid per region.

    Not stated in the paper:
        The richer path is a constant for the poorer one. Content is what a gate of the channels' means lets pass, style
        a 1x1x1 convolution; both are joined by another one. Correlations are means over places. The discriminator
        learns at the same steps, by a term of its own whose gradient reaches nothing else.
    """

    paper = Paper(
        title="SMU-Net: Style matching U-Net for brain tumor segmentation with missing modalities",
        authors="Azad et al.",
        year=2022,
        venue="MIDL",
        url="https://arxiv.org/abs/2204.02961",
        idea="A network that sees all modalities and one that sees a subset learn together; content and style match.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        levels: int = 4,
        consistency: float = 10.0,
        content: float = 0.2,
        style: float = 1e-4,
        adversarial: float = 2e-4,
        parts: Literal["all", "student"] = "all",
    ) -> None:
        super().__init__(task)
        require_levels(levels)
        widths = level_widths(width, levels)
        self.divisor = 2 ** (levels - 1)
        self.consistency, self.content, self.style, self.adversarial = consistency, content, style, adversarial
        self.parts, self._size = parts, {"width": width, "levels": levels}
        self.student = Path(task, widths, coded=True)
        if parts == "all":
            self.teacher = Path(task, widths, coded=False)
            self.discriminator = Discriminator(widths[-1])

    def encode(self, images: Images, presence: Presence) -> Images:
        """The images, absent modalities zero; all mixing happens at the input."""
        return hide(images, presence)

    def decode(self, encoded: Images, presence: Presence) -> Logits:
        """The whole poorer path over the present modalities."""
        answer: Answer = self.student(encoded, presence)
        return answer.logits

    def deployed(self) -> "SMUNet":
        """The poorer path alone."""
        if self.parts == "student":
            return self
        alone = make_method(SMUNet, self.task, self._size | {"parts": "student"})
        alone.student = self.student
        return alone

    # ------------------------------------------------ training

    def stages(self) -> list[Stage]:
        """One stage: both paths and the discriminator learn together."""
        if self.parts != "all":
            raise ModelError("a model folder of smunet has no parts for training; train from a recipe without `parts`")
        return [Stage("match", self._loss, trains=[self.student, self.teacher, self.discriminator])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        rich: Answer = self.teacher(batch.images, batch.acquired)
        poor: Answer = self.student(batch.images, batch.presence)
        terms = {
            "full": 0.4 * segmentation_loss(rich.logits, batch.regions),
            "missing": 0.6 * segmentation_loss(poor.logits, batch.regions),
        }
        wanted = Answer(*(part.detach() for part in rich))
        if self.consistency:
            apart = (torch.sigmoid(poor.logits.float()) - torch.sigmoid(wanted.logits.float())).square().mean()
            terms["consistency"] = self.consistency * ramp_up(clock.progress, _RAMP) * apart
        if self.content:
            terms["content"] = self.content * (poor.content.float() - wanted.content.float()).square().mean()
        if self.style:
            apart = (correlations(poor.style) - correlations(wanted.style)).square().mean()
            terms["style"] = self.style * apart
        if self.adversarial:
            fixed = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
            deceived = functional_call(self.discriminator, fixed, (poor.style,))
            terms["adversarial"] = self.adversarial * judged(deceived, full=True)
            told = judged(self.discriminator(wanted.style), full=True)
            terms["discriminator"] = (told + judged(self.discriminator(poor.style.detach()), full=False)) / 2
        return terms


class Path(nn.Module):
    """A U-Net whose coarsest features are taken apart into content and style, and joined again.

    Args:
        task: Modalities and regions.
        widths: Channels of each level, finest first.
        coded: Whether what is present scales and shifts the style.
    """

    def __init__(self, task: Task, widths: list[int], coded: bool) -> None:
        super().__init__()
        modalities, channels = len(task.modalities), widths[-1]
        self.encoder = Encoder(modalities, widths)
        self.gate = nn.Sequential(
            Linear(channels, channels), nn.LeakyReLU(0.01), Linear(channels, channels), nn.Sigmoid()
        )
        self.style = PointConv(channels, channels)
        self.code = Linear(modalities, 2 * channels) if coded else None
        self.join = ConvBlock(2 * channels, channels)
        self.decoder = Decoder(widths)
        self.head = PointConv(widths[0], len(task.regions))

    def forward(self, images: Images, presence: Presence) -> Answer:
        """Logits, content and style of the present modalities."""
        *skips, coarsest = self.encoder(hide(images, presence))
        content = coarsest * self.gate(coarsest.mean((2, 3, 4)))[:, :, None, None, None]
        style = self.style(coarsest)
        if self.code is not None:
            scale, shift = self.code(presence.float())[:, :, None, None, None].to(style.dtype).chunk(2, dim=1)
            style = (1 + scale) * style + shift
        joined = self.join(torch.cat([content, style], dim=1))
        return Answer(self.head(self.decoder([*skips, joined])[-1]), content, style)


class Discriminator(nn.Module):
    """Whether a style is that of the richer path, from its means and deviations over all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(Linear(2 * channels, channels), nn.LeakyReLU(0.2), Linear(channels, 1))

    def forward(self, style: Feature) -> Float[Tensor, "batch"]:
        """A logit of each case: above 0 for the richer path."""
        places = style.float().flatten(2)
        means = places.mean(dim=2)
        deviations = ((places - means[:, :, None]).square().mean(dim=2) + 1e-5).sqrt()
        logits: Tensor = self.perceptron(torch.cat([means, deviations], dim=1))[:, 0]
        return logits


def judged(logits: Float[Tensor, "batch"], *, full: bool) -> Float[Tensor, ""]:
    """Cross-entropy of the discriminator's logits, if the styles are said to be those of the richer path or not."""
    return F.softplus(-logits.float() if full else logits.float()).mean()


def correlations(style: Feature) -> Float[Tensor, "batch channel channel"]:
    """The Gram matrix: of each pair of channels the mean product over all places."""
    places = style.float().flatten(2)
    return places @ places.transpose(1, 2) / places.shape[2]
