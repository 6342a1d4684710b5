"""Dual-stage: sequences are missing in training too. Rebuild them, complete the cases, distil; a prompt makes heads."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lacunet.errors import ModelError, RecipeError
from lacunet.nn.batch import Batch, Images, Logits, Presence, hide
from lacunet.nn.body import Body, Features
from lacunet.nn.conv import PointConv, point_convolution
from lacunet.nn.limits import require_between, require_levels, require_share
from lacunet.nn.linear import Linear
from lacunet.nn.losses import cross_entropy_loss, deeply, dice_loss, segmentation_loss
from lacunet.nn.masking import Seen, draw_seen, reconstruction_loss
from lacunet.nn.method import Clock, Critic, Method, Stage, make_method
from lacunet.nn.papers import Paper
from lacunet.nn.prompts import prompt_vectors
from lacunet.nn.unet import level_widths
from lacunet.task import Task

Feature = Float[Tensor, "batch _ _ _ _"]
Indicator = Literal["none", "binary", "text", "text+visual"]
Vectors = Float[Tensor, "subset width"]
"""A row per subset, in the order of its number (the sum of 2 ** index of what is in it), from 1."""


class Output(NamedTuple):
    """Region logits of the finest resolutions, finest first, and the features they come from."""

    logits: list[Tensor]
    features: Features


class DualStage(Method[Images]):
    """A network that rebuilds absent modalities helps another one to segment without them.

    First, a network learns to rebuild all modalities from masked ones; where a modality was never acquired, a frozen
    critic judges by its segmentation whether the estimate looks real (eq. 1-3). Its weights then start two networks: a
    recovery module, which completes each training case, and the student, which sees a random subset of what was
    acquired. A frozen teacher sees the completed case; the student learns its features, and the recovery module is
    refined by its segmentation (eq. 4, 5, 7). Teacher and student have prediction layers that a hyper-network makes
    from a sentence that names the modalities, and from what is seen (eq. 6). Only the student is used in the end.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        fill: What stands for what is not seen: `zero`, or a `learned` number per modality.
        patches: Masked patches along each side of a crop: 8 are 16 voxels wide in a crop of 128.
        masked: Share of the patches of all modalities that is masked in reconstruction, absent ones counted.
        distribution: Weight of the critic in reconstruction (lambda of eq. 3); 0 leaves it out, and needs no critic.
        ctd: Complete-then-distil (table 3): `off` (a), the teacher sees what is `available` (b), completed by a `fixed`
            recovery module (c), or by one that is `refined` (d).
        teacher: `finetuned` like the student without a teacher, or the `critic`.
        supervise: What teacher and student are asked for: `dice`, as eq. 7 has it, or `dice+cross_entropy`. Dice alone
            hardly penalises false voxels where a crop has no tumour at all.
        refine: Weight of the refinement of the recovery module (alpha of eq. 7).
        anchor: Weight of eq. 1 beside eq. 5, so that the module goes on rebuilding while it is refined; eq. 7 has none.
        hides: What eq. 1 hides from the module there: `patches`, as in reconstruction, or whole `modalities`, as when
            it is used; of these only what is hidden is compared.
        distil: Weight of the distillation (beta of eq. 7).
        compare: Features are distilled `normed`, as the next layer's group norm sees them, or `plain`, as eq. 4 has it.
        reach: Whether the gradient of the distillation reaches the recovery module too.
        indicator: What the prediction layers of teacher and student depend on (figure 5): `none`, the `binary` code of
            what is there, the `text` of the prompt, or `text+visual`.
        text: The table of prompts: `minilm`, or a file that `scripts/release/make_prompts.py` wrote.
        keep: What a model folder holds: the student, or the recovery module too, for `lacunet complete`.
        parts: Which networks there are. Only a model folder says other than `all`.
        text_width: The width of a model folder's own table of prompts, which is among its weights.

    Departures from the paper:
        The text encoder is MiniLM, whose weights a Python package carries, not CLIP; `scripts/release/make_prompts.py`
        makes CLIP's table from its weights. Each region has a sigmoid.

    Not stated in the paper:
        The critic (zero-filled, modality dropout, Dice and cross-entropy, plain heads) and the teacher (the pre-trained
        network fine-tuned as the student is, without a teacher; its code says that all is there). Masking: a uniform
        number of modalities is dropped, of the rest as many patches as leave one eighth of all, as M3AE; never-acquired
        modalities count as masked. The critic judges the whole reconstruction; norms are means over voxels. Distilled
        are the encoder's levels and the decoder's but the finest, normed, since the streams of residual blocks have no
        scale of their own and would drown the task; the teacher's are constants, so that eq. 5 alone moves the recovery
        module. The prediction layers are the heads of the three finest resolutions, each trained by half of the finer
        one's weight; the hyper-network adds to learned weights, and adds nothing at first. The visual part is the mean
        of the bottleneck. What all sentences share is taken off their embeddings.
    """

    paper = Paper(
        title="Tackling Dual-stage Missing Modalities in Brain Tumor Segmentation via Robust Modality Reconstruction "
        "and Prompt-guided Modality Adaptation",
        authors="Zhao et al.",
        year=2026,
        venue="AAAI (an earlier version: arXiv 2406.01987)",
        url="https://arxiv.org/abs/2406.01987",
        idea="Sequences missing in training too: rebuilt under a critic's eye, a teacher sees the completed case, a "
        "prompt makes the heads.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        levels: int = 4,
        fill: Literal["zero", "learned"] = "zero",
        patches: int = 8,
        masked: float = 0.875,
        distribution: float = 0.1,
        ctd: Literal["off", "available", "fixed", "refined"] = "refined",
        teacher: Literal["finetuned", "critic"] = "finetuned",
        supervise: Literal["dice", "dice+cross_entropy"] = "dice",
        refine: float = 1.0,
        anchor: float = 0.0,
        hides: Literal["patches", "modalities"] = "patches",
        distil: float = 0.1,
        compare: Literal["normed", "plain"] = "normed",
        reach: bool = False,
        indicator: Indicator = "text+visual",
        text: str = "minilm",
        keep: Literal["student", "student+recovery"] = "student",
        parts: Literal["all", "student", "student+recovery"] = "all",
        text_width: int = 0,
    ) -> None:
        super().__init__(task)
        require_levels(levels)
        require_share("masked", masked)
        require_between("patches", patches, 1, 64)
        require_between("text_width", text_width, 0, 16384)
        self.patches, self.masked, self.distribution = patches, masked, distribution
        self.ctd, self.taught_by, self.refine, self.anchor, self.distil = ctd, teacher, refine, anchor, distil
        self.supervise, self.compare, self.reach, self.hides = supervise, compare, reach, hides
        self.given_critic: Critic | None = None
        widths = level_widths(width, levels)
        self.divisor = 2 ** (levels - 1)
        self.keep, self.parts = keep, parts
        self._kept: dict[str, Any] = {"width": width, "levels": levels, "fill": fill, "indicator": indicator}
        vectors = None
        if indicator in ("text", "text+visual"):
            if parts == "all":
                text, vectors = prompt_vectors(text, task)
            else:  # a model folder has them among its weights
                vectors = torch.zeros((len(task.subsets), text_width))
            self._kept |= {"text": text, "text_width": vectors.shape[1]}
        self.student = Segmenter(task, widths, fill, indicator, vectors)
        self.recovery = Recovery(len(task.modalities), widths, fill) if parts != "student" else None
        if parts == "all":
            self.critic = Segmenter(task, widths, fill, "none", None)
            self.teacher = Segmenter(task, widths, fill, indicator, vectors)

    # ------------------------------------------------ in use: the student alone

    def encode(self, images: Images, presence: Presence) -> Images:
        """The images, absent modalities zero; all mixing happens at the input."""
        return hide(images, presence)

    def decode(self, encoded: Images, presence: Presence) -> Logits:
        """The whole student over the present modalities."""
        answer: Output = self.student(encoded, presence)
        return answer.logits[0]

    def complete(self, images: Images, presence: Presence) -> Images:
        """Real where present, the recovery module's estimate elsewhere.

        Raises:
            ModelError: the model was kept without its recovery module.
        """
        if self.recovery is None:
            raise ModelError(
                "the model was kept without its recovery module; train with arguments.keep = 'student+recovery'"
            )
        seen = presence[:, :, None, None, None]
        if bool(presence.all()):
            return images
        return torch.where(seen, images, self.recovery(images, seen).to(images.dtype))

    def deployed(self) -> "DualStage":
        """The student, and the recovery module where `keep` says so; the prompts are among the weights."""
        return self if self.parts != "all" else self._alone(self.student, self.keep)

    def _alone(self, segmenter: "Segmenter", parts: str = "student") -> "DualStage":
        """A method that uses this network, not a copy of it."""
        plain = segmenter.hyper is None
        arguments = self._kept | {"parts": parts} | ({"indicator": "none"} if plain else {})
        alone = make_method(DualStage, self.task, arguments)
        alone.student = segmenter
        if alone.recovery is not None:
            alone.recovery = self.recovery
        return alone

    # ------------------------------------------------ training

    def take_critic(self, critic: Critic) -> None:
        """Judge estimates by a trained network (footnote 1 of the paper) and train no critic.

        Raises:
            RecipeError: the critic is also to be the teacher, whose features only a critic of one's own has.
        """
        if self.ctd != "off" and self.taught_by == "critic":
            raise RecipeError(
                "arguments.teacher = 'critic': a critic that is given (critic.model) has no features to distil; "
                "train a critic, or a teacher: arguments.teacher = 'finetuned'"
            )
        self.given_critic = critic

    def stages(self) -> list[Stage]:
        """A critic, reconstruction, a teacher, distillation; ablations leave some of it out."""
        if self.parts != "all" or self.recovery is None:
            raise ModelError(
                "a model folder of dual_stage has no parts for training; train from a recipe without `parts`"
            )
        distilled = [self.student, self.recovery] if self.ctd == "refined" else [self.student]
        return [
            Stage(
                name="critic",
                loss=self._critic_loss,
                trains=[self.critic],
                judged=lambda: self._alone(self.critic),
                wanted=self.given_critic is None
                and (bool(self.distribution) or (self.ctd != "off" and self.taught_by == "critic")),
            ),
            Stage(name="reconstruct", loss=self._reconstruct_loss, trains=[self.recovery], select="loss"),
            Stage(
                name="teacher",
                loss=self._teacher_loss,
                trains=[self.teacher],
                before=lambda: self._start(self.teacher),
                judged=lambda: self._alone(self.teacher),
                wanted=self.ctd != "off" and self.taught_by == "finetuned",
            ),
            Stage(
                name="distil",
                loss=self._distil_loss,
                trains=distilled,
                before=lambda: self._start(self.student),
            ),
        ]

    def _start(self, segmenter: "Segmenter") -> None:
        """Copy what reconstruction has learned, all but the last layer."""
        assert self.recovery is not None
        segmenter.body.load_state_dict(self.recovery.body.state_dict())

    def _critic_loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """Stage 0: a segmentation network on incomplete data."""
        logits = self.critic(batch.images, batch.presence).logits
        return {
            "dice": deeply(dice_loss, logits, batch.regions),
            "cross_entropy": deeply(cross_entropy_loss, logits, batch.regions),
        }

    def _reconstruct_loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """Stage 1: mask-reconstruction, with the frozen critic's segmentation of it (eq. 3)."""
        rebuilt, loss = self._rebuild(batch, clock)
        terms = {"reconstruction": loss}
        if self.distribution:
            terms["distribution"] = self.distribution * segmentation_loss(self._judgement(rebuilt), batch.regions)
        return terms

    def _judgement(self, rebuilt: Images) -> Logits:
        """The frozen critic's segmentation of estimates of all modalities (f of eq. 2)."""
        everything = torch.ones((len(rebuilt), rebuilt.shape[1]), dtype=torch.bool, device=rebuilt.device)
        if self.given_critic is not None:
            return self.given_critic(rebuilt, everything)
        answer: Output = self.critic(rebuilt, everything)
        return answer.logits[0]

    def _rebuild(self, batch: Batch, clock: Clock) -> tuple[Images, Tensor]:
        """All modalities, rebuilt from randomly drawn patches, and their distance from what was acquired (eq. 1)."""
        assert self.recovery is not None
        images, acquired = hide(batch.images, batch.acquired), batch.acquired
        seen = draw_seen(acquired, images.shape[2:], self.patches, self.masked)
        rebuilt: Images = self.recovery(images, seen)
        hidden = acquired[:, :, None, None, None] & ~seen
        clock.note("hidden_error", root_mean_square(rebuilt.detach() - images, hidden))
        return rebuilt, reconstruction_loss(rebuilt, images, acquired)

    def _anchored(self, batch: Batch, clock: Clock) -> Tensor:
        """Eq. 1 while the recovery module is refined."""
        if self.hides == "patches":
            return self._rebuild(batch, clock)[1]
        assert self.recovery is not None
        images, shown = hide(batch.images, batch.acquired), drawn_part(batch.acquired)
        rebuilt: Images = self.recovery(images, shown[:, :, None, None, None])
        hidden = batch.acquired & ~shown
        clock.note("hidden_error", root_mean_square(rebuilt.detach() - images, hidden[:, :, None, None, None]))
        return reconstruction_loss(rebuilt, images, hidden)

    def _teacher_loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """Stage 2a: the task alone, with modality dropout."""
        answer: Output = self.teacher(batch.images, batch.presence)
        return {"task": self._task_loss(answer, batch)}

    def _distil_loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """Stage 2b: complete, then distil (eq. 7)."""
        student: Output = self.student(batch.images, batch.presence)
        terms = {"task": self._task_loss(student, batch)}
        if self.ctd == "off":
            return terms
        shown, images = batch.acquired, batch.images
        if self.ctd != "available":
            clock.note("completed", (~batch.acquired).any(dim=1).float().mean())
            shown, images = torch.ones_like(shown), self.complete(images, shown)
        teacher: Output = (self.critic if self.taught_by == "critic" else self.teacher)(images, shown)
        if self.ctd == "refined" and self.refine:
            terms["recovery"] = self.refine * segmentation_loss(teacher.logits[0], batch.regions)  # eq. 5
        if self.ctd == "refined" and self.anchor:
            terms["reconstruction"] = self.anchor * self._anchored(batch, clock)
        if self.distil:
            levels = [distilled_levels(answer.features) for answer in (teacher, student)]
            if self.compare == "normed":
                levels = [[normed(feature) for feature in features] for features in levels]
            taught = levels[0] if self.reach else [feature.detach() for feature in levels[0]]
            terms["distillation"] = self.distil * feature_distance(taught, levels[1])
        return terms

    def _task_loss(self, answer: Output, batch: Batch) -> Tensor:
        return deeply(dice_loss if self.supervise == "dice" else segmentation_loss, answer.logits, batch.regions)


# ------------------------------------------------ networks: M3AE's U-Net (Liu et al., 2023), with three kinds of heads


class Recovery(nn.Module):
    """From what is seen of the images to all modalities: phi of eq. 3, later the recovery module."""

    def __init__(self, modalities: int, widths: Sequence[int], fill: str) -> None:
        super().__init__()
        self.body = Body(modalities, widths, fill)
        self.head = PointConv(widths[0], modalities)

    def forward(self, images: Images, seen: Seen) -> Images:
        """Every modality, rebuilt; float32."""
        rebuilt: Tensor = self.head(self.body(images, seen).decoded[0])
        return rebuilt.float()


class Segmenter(nn.Module):
    """A network that segments; its heads may depend on which modalities there are.

    Args:
        task: Modalities and regions.
        widths: Channels of each level, finest first.
        fill: What stands for absent modalities.
        indicator: What the heads depend on.
        vectors: The prompts as vectors, where they do on text.
    """

    def __init__(
        self, task: Task, widths: Sequence[int], fill: str, indicator: Indicator, vectors: Vectors | None
    ) -> None:
        super().__init__()
        self.body = Body(len(task.modalities), widths, fill)
        self.heads = nn.ModuleList(PointConv(channels, len(task.regions)) for channels in widths[:-1][:3])
        self.hyper = None
        if indicator != "none":
            describe: Binary | Prompt = Binary(len(task.modalities))
            if vectors is not None:
                describe = Prompt(vectors, widths[-1] if indicator == "text+visual" else 0)
            self.hyper = HyperNetwork(describe, [(len(task.regions), channels) for channels in widths[:-1][:3]])

    def forward(self, images: Images, presence: Presence) -> Output:
        """Logits at the finest resolutions, and the features."""
        features = self.body(images, presence[:, :, None, None, None])
        levels = features.decoded[: len(self.heads)]
        if self.hyper is None:
            return Output([head(level) for head, level in zip(self.heads, levels, strict=True)], features)
        changes = self.hyper(features.encoded[-1], presence)
        logits = [predict(*layer) for layer in zip(self.heads, levels, changes, strict=True)]
        return Output(logits, features)


class Binary(nn.Module):
    """The paper's simpler indicator: the code of what is there, through two layers."""

    width = 64

    def __init__(self, modalities: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Linear(modalities, self.width), nn.GELU(), Linear(self.width, self.width))

    def forward(self, bottleneck: Feature, presence: Presence) -> Float[Tensor, "batch width"]:
        """The indicator of each case."""
        indicator: Tensor = self.mlp(presence.float())
        return indicator


class Prompt(nn.Module):
    """The sentence that names the modalities, as a vector, beside the mean of the features (Z_v and Z_t of eq. 6).

    Args:
        vectors: Of the sentences. Frozen, and kept among the weights, so that a model needs no text encoder.
        visual: Channels of the features; 0 leaves them out.
    """

    vectors: Tensor

    def __init__(self, vectors: Vectors, visual: int) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors.clone())
        self.norm = nn.LayerNorm(visual) if visual else None
        self.width = visual + vectors.shape[1]

    def forward(self, bottleneck: Feature, presence: Presence) -> Float[Tensor, "batch width"]:
        """The indicator of each case."""
        text = self.vectors[subset_number(presence) - 1]
        return text if self.norm is None else torch.cat([self.norm(bottleneck.float().mean((2, 3, 4))), text], dim=1)


class HyperNetwork(nn.Module):
    """The perceptron of eq. 6: an indicator to what is added to the weights and biases of the prediction layers.

    Its last layer begins at zero: the network begins as one with plain heads.

    Args:
        describe: Makes the indicator.
        layers: Regions and channels of each prediction layer.
    """

    def __init__(self, describe: Binary | Prompt, layers: Sequence[tuple[int, int]], hidden: int = 256) -> None:
        super().__init__()
        self.describe = describe
        self.shapes = [(regions, channels + 1) for regions, channels in layers]
        last = Linear(hidden, sum(rows * columns for rows, columns in self.shapes))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(Linear(describe.width, hidden), nn.GELU(), last)

    def forward(self, bottleneck: Feature, presence: Presence) -> list[Float[Tensor, "batch region _"]]:
        """For each prediction layer, weights and (last) bias; float32."""
        with torch.autocast(bottleneck.device.type, enabled=False):
            numbers = self.mlp(self.describe(bottleneck, presence))
        parts = numbers.split([rows * columns for rows, columns in self.shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]


def predict(
    head: nn.Module, features: Feature, changes: Float[Tensor, "batch region _"]
) -> Float[Tensor, "batch region _ _ _"]:
    """A prediction layer whose weights and biases are each case's own."""
    assert isinstance(head, nn.Conv3d)
    assert head.bias is not None
    weights, biases = head.weight + changes[:, :, :-1, None, None, None], head.bias + changes[:, :, -1]
    cases = zip(features, weights, biases, strict=True)
    return torch.cat([point_convolution(case[None], weight, bias) for case, weight, bias in cases])


def subset_number(presence: Presence) -> Tensor:
    """The sum of 2 ** index of the modalities that are there."""
    return (presence * 2 ** torch.arange(presence.shape[1], device=presence.device)).sum(dim=1)


# ------------------------------------------------ formulas


def drawn_part(acquired: Presence) -> Presence:
    """Of each case's modalities a uniformly drawn number, but not all; the one that it has, where it has one alone."""
    shown = torch.zeros_like(acquired)
    for case, there in zip(shown, acquired.cpu(), strict=True):
        members = there.nonzero()[:, 0]
        count = 1 + int(torch.randint(max(len(members) - 1, 1), ()))
        case[members[torch.randperm(len(members))[:count]].to(case.device)] = True
    return shown


def distilled_levels(features: Features) -> list[Tensor]:
    """F_l of eq. 4: all levels of the encoder, and of the decoder all but the finest, whose logits have a reference."""
    return [*features.encoded, *features.decoded[1:]]


def feature_distance(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Eq. 4, with the mean of squares of each level."""
    pairs = zip(teacher, student, strict=True)
    return torch.stack([(one.float() - other.float()).square().mean() for one, other in pairs]).sum()


def normed(features: Feature) -> Feature:
    """Group norm without weights: removes the scale of a residual stream, as every next layer does."""
    channels = features.shape[1]
    return F.group_norm(features.float().contiguous(), min(8, channels))


def root_mean_square(values: Tensor, where: Bool[Tensor, "..."]) -> Float[Tensor, ""]:
    """Over the voxels where `where` is true; 0 if it never is."""
    return (torch.where(where, values.float(), 0.0).square().sum() / where.sum().clamp_min(1)).sqrt()
