"""CCSD: shared and specific encoders, and a network that teaches itself from richer to poorer subsets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, pairwise
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence, hide
from lacunet.nn.composition import AttentiveComposition, Composition
from lacunet.nn.conv import ConvBlock, PointConv
from lacunet.nn.criticality import (
    cosine_criticality,
    decremental_path,
    feature_gradient_norms,
    fixed_criticality,
)
from lacunet.nn.detail import Detail
from lacunet.nn.fusion import SkipParts, members_of, of_those_that_have_it, spread
from lacunet.nn.limits import require_between
from lacunet.nn.losses import bernoulli_divergence, checked_weights, deeply, segmentation_losses
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.patch import FoldedSmoothing, fold, unfold
from lacunet.nn.ramp import ramp_up
from lacunet.nn.shared_specific import ModalityClassifier, neighbours_apart
from lacunet.nn.unet import Encoder, Rise, level_widths
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
PerCase = Float[Tensor, "batch"]
Student = tuple[Presence, PerCase]
"""A subset of each case, with its weight in the case's mean."""
Kind = Literal["fused", "shared", "specific"]
Choice = bool | Tensor
"""Whether a modality is there: in all cases, in none, or in those of a mask."""

_RAMP = 0.1
"""Share of the training in which the weights of both distillations rise to their value."""


@dataclass
class Skip:
    """One of the finer levels, encoded. Lists hold an item per modality, in the task's order.

    Attributes:
        parts: What each modality adds to the skip where it is present.
        absent: What each adds where it is not: the same part, of the shared feature of an empty image.
    """

    parts: list[Feature]
    absent: list[Feature]


@dataclass
class Encoding:
    """What all subsets are assembled from; no subset is stored. Lists hold an item per modality.

    Attributes:
        fused: Composed features at the coarsest level; zero where the modality is not there.
        shared: Those of the shared encoder.
        specific: Those of each modality's own encoder.
        empty: The shared encoder's answer to an empty image, a batch of one.
        skips: The finer levels, finest first.
        details: What each modality adds to the correction at the images' resolution; None without `detail`.
    """

    fused: list[Feature]
    shared: list[Feature]
    specific: list[Feature]
    empty: Feature
    skips: list[Skip]
    details: Skip | None


class CCSD(Method[Encoding]):
    """Shared and specific encoders, composed; the full set and richer subsets teach poorer ones.

    One encoder is shared by all modalities and each has one of its own. A present modality enters the decoder as its
    fused feature, an absent one as the shared encoder's answer to an empty image (sec. 3.2). In training, all subsets
    of a drawn size learn from the full set (HMSD, eq. 1-3), and along a path that loses the most critical modality
    first, each subset learns from the one before (DMCD, eq. 4-8).

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        hmsd: Weight of hierarchical modality self-distillation; 0 leaves it out.
        dmcd: Weight of decremental modality combination distillation; 0 leaves it out.
        temperature: Of eq. 3.
        alignment: Weight of ShaSpec's first loss, which makes the shared features of a case's modalities alike (0.1
            there); 0 leaves it out.
        classification: Weight of its second, by which specific features tell their modality (0.02 there); 0 leaves it
            out.
        supervise: Which predictions meet the reference: `full`, `students`, or `both`.
        students: At most this many subsets of the drawn size at a step, drawn at random; 0 takes all of them.
        deep: Whether coarser levels of the decoder meet the reference too, each with half the weight of the finer one.
        region_weights: How much each region counts where predictions meet the reference, in the task's order; equally
            if not given.
        batch_dice: Whether the Dice of a loss is that of all crops of a batch together, and not the mean of theirs.
        feature: What is distilled (table 4): `fused`, `shared` or `specific`.
        match: Where eq. 8 compares: after the `decoder`'s first block, where modalities mix, or on the `concatenation`.
        composition: How the shared and the specific feature become one: a `convolution` (sec. 3.1) or `attention`.
        criticality: `cosine` (eq. 4-5), `gradient` (eq. 9) or `ablation`: how far the loss rises without a modality.
        path: Remove the modality with the `max` or the `min` score first, or a `random` one (table 5).
        patch: Voxels along each side of the cubes that the encoders read and the decoder writes as channels. 1 is the
            paper's; 2 works at half the resolution, on an eighth of the positions.
        detail: Channels of a correction of the logits at the images' own resolution (`nn/detail.py`); 0 leaves it out.
            With cubes as channels alone, small details are lost.
        smooth: Whether each voxel's logits are averaged with its neighbours'. Without it, outlines prefer the faces of
            the cubes.
        recompute: Do not keep the students' activations for the backward pass, compute them again: less memory, more
            time, the same gradients.

    Departures from the paper:
        The encoders are those of a plain U-Net, not ShaSpec's residual networks with atrous pooling, with group norm.
        Each region has a sigmoid, so eq. 2 is the divergence of Bernoulli distributions.
        Eq. 8 compares features after the decoder's first block: on the concatenation itself teacher and student differ
        in the removed slot only, which no remaining modality can change. A case that lacks modalities in training has
        what was acquired as its full set; the paper assumes four. `patch`, `detail`, `smooth`, `deep`,
        `region_weights`, `batch_dice`, and the words `attention` and `ablation` are ours.

    Not stated in the paper:
        Temperature (4), weights of the two distillations (1 and 0.1) and their ramp (the first 10 % of the steps, as
        exp(-5 (1 - t)^2)); the norm of eq. 8 (mean of squares over the pairs); which predictions meet the reference
        (full set and students, each once). One path per case, features flattened (eq. 5), scores always of the fused
        features; eq. 9 takes the full set's loss and the Euclidean norm, once a step. ShaSpec's two losses: left out.
        The last two modalities have equal scores; their scores in the full set decide, then the task's order. What
        `train.subsets` shows is not used: the losses draw their own subsets of what was acquired.
    """

    paper = Paper(
        title="CCSD: Cross-Modal Compositional Self-Distillation for Robust Brain Tumor Segmentation with Missing "
        "Modalities",
        authors="Xie et al.",
        year=2025,
        venue="arXiv 2511.14599",
        url="https://arxiv.org/abs/2511.14599",
        idea="A shared and a specific encoder per modality; subsets learn from the full set and from richer subsets.",
    )

    region_weights: Tensor | None

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        levels: int = 5,
        hmsd: float = 1.0,
        dmcd: float = 0.1,
        temperature: float = 4.0,
        alignment: float = 0.0,
        classification: float = 0.0,
        supervise: Literal["full", "students", "both"] = "both",
        students: int = 0,
        deep: bool = False,
        region_weights: Sequence[float] | None = None,
        batch_dice: bool = False,
        feature: Kind = "fused",
        match: Literal["decoder", "concatenation"] = "decoder",
        composition: Literal["convolution", "attention"] = "convolution",
        criticality: Literal["cosine", "gradient", "ablation"] = "cosine",
        path: Literal["max", "min", "random"] = "max",
        patch: int = 1,
        detail: int = 0,
        smooth: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__(task)
        if temperature <= 0:
            raise ValueError(f"temperature = {temperature}: it must be above 0")
        require_between("patch", patch, 1, 8)
        require_between("detail", detail, 0, 64)
        self.hmsd, self.dmcd, self.temperature, self.recompute = hmsd, dmcd, temperature, recompute
        self.alignment = alignment
        self.supervise, self.students, self.feature, self.match = supervise, students, feature, match
        self.criticality, self.path, self.batch_dice = criticality, path, batch_dice
        self.register_buffer("region_weights", checked_weights(region_weights, task), persistent=False)
        modalities, widths = len(task.modalities), level_widths(width, levels)
        self.patch, self.divisor = patch, patch * 2 ** (levels - 1)
        self.shared = Encoder(patch**3, widths)
        self.specific = nn.ModuleList([Encoder(patch**3, widths) for _ in task.modalities])
        self.compose = (AttentiveComposition if composition == "attention" else Composition)(widths[-1])
        self.fuse = ConvBlock(modalities * widths[-1], widths[-1])
        self.skips = nn.ModuleList([SkipParts(modalities, channels) for channels in widths[:-1]])
        self.rises = nn.ModuleList([Rise(below, channels, _two_convolutions) for channels, below in pairwise(widths)])
        self.head = PointConv(width, len(task.regions) * patch**3)
        coarser = widths[1:-1] if deep else []
        self.coarser = nn.ModuleList([PointConv(channels, len(task.regions)) for channels in coarser])
        self.smooth = FoldedSmoothing(len(task.regions), patch) if smooth else None
        self.detail = Detail(modalities, len(task.regions), width, detail, patch) if detail else None
        self.classification = classification
        self.classify = ModalityClassifier(modalities, widths[-1]) if classification else None

    # ------------------------------------------------ sec. 3.1, 3.2: any subset from one encoding

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Features of every present image and of an empty one; each encoder sees each image once."""
        images = hide(images, presence)
        there = presence.unbind(dim=1)
        cases = [fold(one, self.patch) for one in of_those_that_have_it(images, presence)]
        counts = [*map(len, cases), 1]
        nothing = fold(torch.zeros_like(images[:1, :1]), self.patch)
        *finer, coarsest = self.shared(torch.cat([*cases, nothing]))
        *shared, empty = coarsest.split(counts)
        specific = [encoder(case)[-1] for encoder, case in zip(self.specific, cases, strict=True)]
        fused = self.compose(torch.cat(shared), torch.cat(specific)).split(counts[:-1])
        return Encoding(
            fused=spread(fused, there),
            shared=spread(shared, there),
            specific=spread(specific, there),
            empty=empty,
            skips=[_skip(level.split(counts), parts, there) for level, parts in zip(finer, self.skips, strict=True)],
            details=None if self.detail is None else _detail(cases, self.detail, there),
        )

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """One subset, assembled and decoded."""
        return self._levels(encoded, [presence], "fused")[0][0]

    def _levels(self, encoded: Encoding, subsets: Sequence[Presence], kind: Kind) -> list[list[LevelLogits]]:
        """For each subset, logits at the images' resolution, then those of coarser levels if they meet the reference.

        All subsets pass through the decoder together, as one batch: a GPU is given fewer orders.
        """
        choices = [_choices(presence) for presence in subsets]
        features = [self.fuse(_joined([self._concatenation(encoded, each, kind) for each in choices]))]
        for skip, rise in reversed(list(zip(encoded.skips, self.rises, strict=True))):
            features.insert(0, rise(features[0], _joined([_assembled(skip, each) for each in choices])))
        logits = self.head(features[0])
        if self.detail is not None and encoded.details is not None:
            details = _joined([_assembled(encoded.details, each) for each in choices])
            logits = logits + self.detail(details, features[0])
        if self.smooth is not None:
            logits = self.smooth(logits)
        coarser = [head(level) for head, level in zip(self.coarser, features[1:], strict=False)]
        levels = [unfold(logits, self.patch), *coarser]
        return [list(own) for own in zip(*(level.chunk(len(subsets)) for level in levels), strict=True)]

    def _concatenation(self, encoded: Encoding, choices: Sequence[Choice], kind: Kind) -> Feature:
        """Z_S: the features of all modalities side by side, present or not."""
        absent = torch.zeros_like(encoded.empty) if kind == "specific" else encoded.empty
        slots: Sequence[Feature] = getattr(encoded, kind)
        return torch.cat([_chosen(there, slot, absent) for there, slot in zip(choices, slots, strict=True)], dim=1)

    # ------------------------------------------------ training: richer subsets teach poorer ones

    def stages(self) -> list[Stage]:
        """One stage: the network teaches itself while it learns to segment."""
        return [Stage(name="distil", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        encoded = self.encode(batch.images, batch.acquired)
        batch = replace(batch, acquired=batch.acquired.cpu())  # read once: subsets are drawn by the processor
        taught = self.supervise != "full" or self.hmsd > 0
        students = self._students(batch.acquired, _size(batch, clock), clock) if taught else []
        full, *poorer = self._decoded(encoded, [batch.acquired, *(presence for presence, _ in students)])
        supervised = self._compared(full, batch.regions)
        weight = ramp_up(clock.progress, _RAMP)
        terms = {"full": supervised.mean()} if self.supervise != "students" else {}
        if self.supervise != "full":
            compared = [self._compared(levels, batch.regions) for levels in poorer]
            terms["students"] = _shared_out(compared, students).mean()
        if self.hmsd:
            distilled = self._distilled(encoded, full[0], batch.acquired, students, [own[0] for own in poorer])
            terms["hmsd"] = self.hmsd * weight * distilled.mean()
        if self.dmcd:
            dmcd = self._decremental(batch, encoded, supervised, clock)
            terms["dmcd"] = self.dmcd * weight * dmcd.mean()
        return terms | self._disentangled(encoded, members_of(batch.acquired))

    def _disentangled(self, encoded: Encoding, members: Sequence[tuple[int, ...]]) -> dict[str, Tensor]:
        """ShaSpec's two losses, where they have a weight."""
        terms = {}
        if self.alignment:
            terms["alignment"] = self.alignment * neighbours_apart(encoded.shared, members).mean()
        if self.classify is not None:
            terms["classification"] = self.classification * self.classify(encoded.specific, members).mean()
        return terms

    def losses(self, batch: Batch, encoded: Encoding, presence: Presence) -> PerCase:
        """The segmentation loss of each case from a subset of what is encoded."""
        return self._compared(self._levels(encoded, [presence], "fused")[0], batch.regions)

    def _compared(self, levels: Sequence[LevelLogits], regions: Float[Tensor, "batch region x y z"]) -> PerCase:
        """Dice and cross-entropy of each case, at all resolutions."""
        loss = partial(segmentation_losses, weights=self.region_weights, together=self.batch_dice)
        return deeply(loss, levels, regions)

    def _decoded(self, encoded: Encoding, subsets: Sequence[Presence]) -> list[list[LevelLogits]]:
        """As `_levels`, of fused features; all but the first are computed again in the backward pass if so wished."""
        if not self.recompute:
            return self._levels(encoded, subsets, "fused")
        return [*self._levels(encoded, subsets[:1], "fused"), *self._again(encoded, subsets[1:], "fused")]

    def _again(self, encoded: Encoding, subsets: Sequence[Presence], kind: Kind) -> list[list[LevelLogits]]:
        again = partial(checkpoint, self._levels, use_reentrant=False, preserve_rng_state=False)
        return [again(encoded, [presence], kind)[0] for presence in subsets]

    def _distilled(
        self, encoded: Encoding, full: Logits, acquired: Presence, students: Sequence[Student], own: Sequence[Logits]
    ) -> PerCase:
        """HMSD: the full set, without gradient, teaches all subsets of a drawn size (eq. 1-3).

        Returns:
            The students' divergence from the teacher, the mean over a case's students.
        """
        teacher = full.detach()
        if self.feature != "fused":
            decoded = self._again if self.recompute else self._levels
            teacher = self._levels(encoded, [acquired], self.feature)[0][0].detach()
            own = [levels[0] for levels in decoded(encoded, [presence for presence, _ in students], self.feature)]
        return _shared_out([bernoulli_divergence(teacher, one, self.temperature) for one in own], students)

    def _students(self, acquired: Presence, size: int, clock: Clock) -> list[Student]:
        """S_k (eq. 1): the subsets of one size of each case, with their weight in the case's mean.

        A case with fewer modalities has smaller and fewer subsets. While other cases go on, its first subsets are
        decoded again with weight 0.
        """
        lots = torch.rand(2 ** acquired.shape[1], generator=clock.shared).tolist()  # one for each subset there can be
        subsets = []
        for members in members_of(acquired):
            own = list(combinations(members, max(1, min(size, len(members) - 1))))
            if self.students:
                own = sorted(own, key=lambda subset: lots[sum(2**member for member in subset)])[: self.students]
            subsets.append(own)
        students = []
        for turn in range(max(map(len, subsets))):
            presence = _presence_like(acquired, [own[turn % len(own)] for own in subsets])
            weights = [1 / len(own) if turn < len(own) else 0.0 for own in subsets]
            students.append((presence, torch.tensor(weights, device=acquired.device)))
        return students

    def _decremental(self, batch: Batch, encoded: Encoding, supervised: PerCase, clock: Clock) -> PerCase:
        """DMCD: along each case's path, every subset, without gradient, teaches the next poorer one (eq. 8)."""
        acquired = batch.acquired
        paths = self._paths(batch, encoded, supervised, clock)
        for path in paths:
            clock.note(f"path/{self._lost_in_order(path)}", 1 / len(paths))
        longest = max(map(len, paths))
        steps = [[path[min(step, len(path) - 1)] for path in paths] for step in range(longest)]  # an ended path waits
        with torch.no_grad():  # the full set only teaches
            richest = self._matched(encoded, acquired)
        poorer = [self._matched(encoded, _presence_like(acquired, subsets)) for subsets in steps[1:]]
        distances = [
            (student.float() - teacher.detach().float()).square().mean((1, 2, 3, 4))
            for teacher, student in pairwise([richest, *poorer])
        ]
        pairs = torch.tensor([max(len(path) - 1, 1) for path in paths], device=supervised.device)
        return sum(distances, torch.zeros_like(supervised)) / pairs

    def _matched(self, encoded: Encoding, presence: Presence) -> Feature:
        concatenation = self._concatenation(encoded, _choices(presence), self.feature)
        features: Feature = concatenation if self.match == "concatenation" else self.fuse(concatenation)
        return features

    def _paths(self, batch: Batch, encoded: Encoding, supervised: PerCase, clock: Clock) -> list[list[tuple[int, ...]]]:
        """The subsets of each case's path, richest first (eq. 6-7)."""
        acquired = batch.acquired
        if self.path == "random":
            drawn = torch.rand(acquired.shape[1], generator=clock.shared)  # one order of removal for the whole step
            criticalities = [fixed_criticality(drawn)] * len(acquired)
        elif self.criticality == "gradient":
            criticalities = [fixed_criticality(scores) for scores in feature_gradient_norms(supervised, encoded.fused)]
        elif self.criticality == "ablation":
            criticalities = [fixed_criticality(rises) for rises in self.rises_without(batch, encoded, supervised)]
        else:
            criticalities = [cosine_criticality(torch.stack(case)) for case in zip(*encoded.fused, strict=True)]
        removes = min if self.path == "min" else max
        return [
            decremental_path(members, criticality, removes)
            for members, criticality in zip(members_of(acquired), criticalities, strict=True)
        ]

    @torch.no_grad()
    def rises_without(self, batch: Batch, encoded: Encoding, supervised: PerCase) -> Float[Tensor, "batch modality"]:
        """How far each case's loss rises without each modality; 0 where it has no such modality, or no other.

        Args:
            batch: Images and reference.
            encoded: All modalities that were acquired.
            supervised: The loss of each case from all of them.
        """
        rises = []
        for index in range(batch.acquired.shape[1]):
            rest = batch.acquired.clone()
            rest[:, index] = False
            rest = torch.where(rest.any(1, keepdim=True), rest, batch.acquired)
            rises.append(self.losses(batch, encoded, rest) - supervised)
        return torch.stack(rises, dim=1)

    def _lost_in_order(self, path: Sequence[tuple[int, ...]]) -> str:
        lost = [next(iter(set(richer) - set(poorer))) for richer, poorer in pairwise(path)]
        return "-".join(self.task.modalities[index] for index in [*lost, *path[-1]])


def _two_convolutions(channels: int) -> ConvBlock:
    return ConvBlock(channels, channels)


def _skip(level: Sequence[Feature], parts: nn.Module, there: Sequence[Bool[Tensor, "batch"]]) -> Skip:
    *shared, empty = level
    return Skip(parts=spread(parts(shared), there), absent=parts([empty] * len(shared)))


def _detail(images: Sequence[Feature], detail: Detail, there: Sequence[Bool[Tensor, "batch"]]) -> Skip:
    parts = spread(detail.parts(images), there)
    return Skip(parts=parts, absent=[torch.zeros_like(part[:1]) for part in parts])


def _assembled(skip: Skip, choices: Sequence[Choice]) -> Feature:
    """The skip or detail of one subset: the sum of what each modality adds, present or not."""
    first, *others = [_chosen(*slot) for slot in zip(choices, skip.parts, skip.absent, strict=True)]
    return sum(others, first)


def _size(batch: Batch, clock: Clock) -> int:
    """k of eq. 1, drawn for all cases of a step."""
    return int(torch.randint(1, batch.acquired.shape[1], (), generator=clock.shared))


def _joined(parts: Sequence[Feature]) -> Feature:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _shared_out(values: Sequence[PerCase], students: Sequence[Student]) -> PerCase:
    """The mean over each case's students."""
    weighted = [share.to(value.device) * value for value, (_, share) in zip(values, students, strict=True)]
    return torch.stack(weighted).sum(dim=0)


def _presence_like(presence: Presence, subsets: Sequence[tuple[int, ...]]) -> Presence:
    """One subset per case as a mask."""
    rows = [[index in subset for index in range(presence.shape[1])] for subset in subsets]
    return torch.tensor(rows, device=presence.device)


def _choices(presence: Presence) -> list[Choice]:
    """Which cases have each modality: a plain truth value where all cases agree."""
    columns = presence.T.tolist()
    return [
        all(cases) if all(cases) or not any(cases) else presence[:, index, None, None, None, None]
        for index, cases in enumerate(columns)
    ]


def _chosen(choice: Choice, present: Feature, absent: Feature) -> Feature:
    """The one feature in the cases that have the modality, the other in the rest."""
    if isinstance(choice, Tensor):
        return torch.where(choice.to(present.device), present, absent)
    return present if choice else absent.expand_as(present)
