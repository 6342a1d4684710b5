"""SMSN: what modalities share is compressed step by step, in two Gaussian bottlenecks that they enter in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lacunet.nn.attention import Layer
from lacunet.nn.batch import Batch, Images, Logits, Presence, hide, shown_subsets
from lacunet.nn.conv import PointConv
from lacunet.nn.fusion import SkipJoin, SkipParts, spread, sum_of_present
from lacunet.nn.limits import require_between
from lacunet.nn.losses import level_terms, mean_terms
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.residual import Decoder, ResidualEncoder, SingleDecoder, levels_of_present, single_losses
from lacunet.nn.unet import level_widths
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]
PerCase = Float[Tensor, "batch"]
Order = Int[Tensor, "batch position"]
"""Which modality enters where: its index in the task, at each position of the sequence."""

Lots = Float[Tensor, "batch 2 modality"]
"""Numbers in [0, 1) that decide an order: a row for who is first, a row for the rest."""

Kind = Literal["sequential", "one_stage", "parallel", "concat"]
Rule = Literal["paper", "available_first", "fixed"]

_FIRST = ("t1c", "t2f", "t2w", "t1n")
"""The order of evaluation: what shows most of a glioma's regions first."""

_BOUND = 8.0
"""Log-variances stay between minus this and this: deviations from 0.02 to 55."""

_HEADS = 8
"""Of the transformer's attention."""

_GRID = 5
"""Voxels along each axis of its position embedding, which is interpolated to those of the box."""

_ACTIVE = 0.01
"""A channel that passes fewer nats at a voxel, on average, has collapsed onto the prior."""


@dataclass
class Encoding:
    """What all subsets are made of.

    Attributes:
        features: Of the coarsest level; zero where the modality is not there.
        skips: At each finer level, finest first, what each modality adds to the skip.
    """

    features: Stacked
    skips: list[list[Feature]]


@dataclass(frozen=True)
class Bottleneck:
    """A Gaussian for each channel at each voxel, and the code that was drawn from it (or is its mean)."""

    mean: Feature
    log_variance: Feature
    code: Feature

    def nats(self) -> Feature:
        """KL(p(z|x) || N(0, 1)) of each channel at each voxel; their sum bounds I(Z;X) from above, on average."""
        return 0.5 * (self.mean.square() + torch.exp(self.log_variance) - 1.0 - self.log_variance)


@dataclass(frozen=True)
class Fused:
    """One subset at the coarsest level, fused in one order.

    Attributes:
        features: For the decoder.
        presence: The subset.
        order: In which the modalities entered.
        shared: z2, what the modalities have in common.
        specific: What each has besides; zero where it is not there.
        bottlenecks: The Gaussian bottlenecks on the way.
    """

    features: Feature
    presence: Presence
    order: Order
    shared: Feature
    specific: Stacked
    bottlenecks: list[Bottleneck]


class SMSN(Method[Encoding]):
    """Sequential information-bottleneck fusion (Liu et al., 2026).

    Each modality has an encoder of its own. At the coarsest level they enter a sequence, an available one first: the
    first two are fused into a bottleneck z1, z1 and the others into z2. A transformer takes from each modality what z2
    does not contain, x_s,i, and the decoder is given x'_i = x_s,i + z2 of every modality; an absent one gives z2
    alone. Finer levels reach the decoder through skips fused of the present modalities.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        fusion: `sequential`; `one_stage` (in sequence, but only the last stage is a bottleneck); `parallel` (one
            bottleneck of all modalities at once, with the same posterior and KL: the twin that the paper's claim is
            held against); `concat` (all at once and no bottleneck: without the paper's IBFM).
        groups: How many modalities enter at each stage of the sequence, such as (3, 1) or (1, 1, 1, 1). Empty: two, and
            then all others, as in the paper.
        reorder: Which modality enters first in training: `paper` (an available one; the rest in any order, available or
            not), `available_first` (all that are available, in any order), `fixed` (T1ce, FLAIR, T2, T1, available or
            not). In evaluation: T1ce, FLAIR, T2, T1, and unless `fixed`, available ones before the others.
        beta: Weight of what z1 is to reconstruct, and every other bottleneck before the last.
        gamma: Weight of what the last one, z2, is to reconstruct. With beta = gamma = 0 nothing is reconstructed.
        kl: Weight of the bottlenecks' KL divergence.
        warmup: Share of the training in which that weight rises from zero, linearly.
        target: What is reconstructed: the encoders' `features`, detached, or the `image` in coarse voxels.
        specific: Whether there are specific features; without them x'_i = z2.
        orthogonality: Weight of the orthogonality loss; 0 leaves it out.
        inner: What it squares at each voxel: the `cosine` of z2 and x_s,i, or their inner `product` by channels.
        subsets: How many subsets of a crop are fused and decoded from one encoding; of all but the first, which
            the recipe shows, any subset of what was acquired is equally likely.

    Departures from the paper:
        Encoders and decoder are M2FTrans' in plan (residual levels, skips fused by three convolutions, an auxiliary
        decoder that modalities share, predictions at every level), with group norm that has affine parameters, zero
        padding, and fewer channels before the decoder enlarges. Without its transformer: bottlenecks take its place.
        Logits are of regions, so the loss is Dice and binary cross-entropy; coarser levels are compared at their own
        resolution with the share of a voxel that a region fills.
        A modality that is hidden supervises nothing: no prediction of its own, no reconstruction, no orthogonality.

    Not stated in the paper:
        The weights: beta = gamma = 1 (inside the box that the paper tests), KL and orthogonality as below, the mean
        of single and of coarse predictions once each. The KL is averaged over channels and voxels, so that its weight
        depends on neither, and warmed up. Posteriors: convolutions with layer norm and a GELU between, as many channels
        as the encoders', log-variances within +-8, begun nearly certain. An embedding tells whose features enter; a
        reconstruction is told whose to make. Errors are squared, averaged over the case's present modalities.
        Evaluation takes means, and its order is ours. The transformer: one layer, pre-norm, twice as wide within,
        embeddings of place and owner, absent modalities are ignored. The inner product is a cosine, which
        cannot be lowered by making features small, averaged over voxels and the case's present modalities. Two
        modalities first and then the rest, also where there are more or fewer than four.
    """

    paper = Paper(
        title="Sequential Information Bottleneck Fusion: Towards Robust and Generalizable Multi-Modal Brain Tumor "
        "Segmentation",
        authors="Liu et al.",
        year=2026,
        venue="ICLR 2026",
        url="https://openreview.net/forum?id=tmV2sOZ8TV",
        idea="Modalities enter two information bottlenecks in turn, an available one first; the rest stays specific.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        levels: int = 5,
        fusion: Kind = "sequential",
        groups: Sequence[int] = (),
        reorder: Rule = "paper",
        beta: float = 1.0,
        gamma: float = 1.0,
        kl: float = 1e-2,
        warmup: float = 0.1,
        target: Literal["features", "image"] = "features",
        specific: bool = True,
        orthogonality: float = 0.1,
        inner: Literal["cosine", "product"] = "cosine",
        subsets: int = 1,
    ) -> None:
        super().__init__(task)
        require_between("subsets", subsets, 1, 15)
        if levels < 2:
            raise ValueError(f"levels = {levels}: at least 2 are needed, one with a skip and one for the fusion")
        modalities, widths = len(task.modalities), level_widths(width, levels)
        self.divisor = 2 ** (levels - 1)
        self.reorder: Rule = "fixed" if fusion in ("parallel", "concat") else reorder
        self.target, self.inner = target, inner
        self.kl, self.warmup, self.orthogonality, self.subsets = kl, warmup, orthogonality, subsets
        self.register_buffer("rank", rank_of(task), persistent=False)
        self.encoders = nn.ModuleList(ResidualEncoder(1, widths) for _ in range(modalities))
        self.owner = nn.Parameter(0.02 * torch.randn(modalities, widths[-1]))
        self.fusion = BottleneckFusion(group_sizes(modalities, fusion, groups), widths[-1], fusion)
        self.reconstructions = nn.ModuleList(
            Reconstruction(modalities, widths[-1], positions, weight, target)
            for positions, weight in self.fusion.to_reconstruct(beta, gamma)
        )
        self.specific = SpecificFeatures(modalities, widths[-1], _HEADS, _GRID) if specific else None
        self.parts = nn.ModuleList(SkipParts(modalities, channels) for channels in widths)
        self.joins = nn.ModuleList(SkipJoin(channels) for channels in widths)
        self.decoder = Decoder(widths)
        self.outputs = nn.ModuleList(PointConv(channels, len(task.regions)) for channels in widths)
        self.single = SingleDecoder(widths, len(task.regions))

    # ------------------------------------------------ features of each modality, and any subset of them

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Each present modality by its own encoder."""
        return self._encoded(self._levels(images, presence), presence)

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """One subset, fused in the order of evaluation and decoded."""
        fused, skips = self.fuse(encoded, presence), self._skips(encoded, presence)
        logits: Logits = self.outputs[0](self.decoder(fused.features, skips)[0])
        return logits

    def fuse(self, encoded: Encoding, presence: Presence, *, drawn: bool = False) -> Fused:
        """One subset at the coarsest level, in the order of evaluation, with what passed its bottlenecks."""
        rule: Rule = "fixed" if self.reorder == "fixed" else "available_first"
        return self._fused(encoded, presence, self._ranks(presence), rule, drawn=drawn)

    def _levels(self, images: Images, presence: Presence) -> list[list[Feature]]:
        """Of each modality the features of every level, finest first, with a row for each case that shows it."""
        return levels_of_present(self.encoders, images, presence)

    def _encoded(self, levels: Sequence[Sequence[Feature]], presence: Presence) -> Encoding:
        there = presence.unbind(dim=1)
        *finer, coarsest = zip(*levels, strict=True)
        skips = [spread(parts(level), there) for parts, level in zip(self.parts, finer, strict=False)]
        return Encoding(torch.stack(spread(coarsest, there), dim=1), skips)

    def _skips(self, encoded: Encoding, presence: Presence) -> list[Feature]:
        sums = [sum_of_present(level, presence) for level in encoded.skips]
        return [join(level) for join, level in zip(self.joins, sums, strict=False)]

    def _fused(self, encoded: Encoding, presence: Presence, lots: Lots, rule: Rule, *, drawn: bool) -> Fused:
        """Re-ordering, the bottlenecks, specific features and their sum with z2."""
        there = presence[:, :, None, None, None, None]
        features = torch.where(there, encoded.features + self.owner[:, :, None, None, None], 0.0)
        order = order_of(presence, lots, rule)
        shared, bottlenecks = self.fusion(in_order(features, order), drawn)
        specific = torch.zeros_like(features)
        if self.specific is not None:
            specific = self.specific(features, shared, presence)
        aggregated = specific + shared[:, None]  # x'_i; z2 alone where modality i is absent
        first, *others = self.parts[-1](aggregated.unbind(dim=1))
        return Fused(self.joins[-1](sum(others, first)), presence, order, shared, specific, bottlenecks)

    def _ranks(self, presence: Presence) -> Lots:
        """The order of evaluation as lots."""
        return self.get_buffer("rank").expand(len(presence), 2, -1)

    # ------------------------------------------------ training

    def stages(self) -> list[Stage]:
        """One stage: segment, compress, reconstruct, and keep apart what is specific."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        seen = batch.presence if self.subsets == 1 else batch.acquired
        levels = self._levels(batch.images, seen)
        encoded = self._encoded(levels, seen)
        fused = [self._drawn(encoded, presence) for presence in shown_subsets(batch, self.subsets)]
        terms = mean_terms([self._terms(one, encoded, batch, clock) for one in fused])
        auxiliary = single_losses(self.single(levels), seen, batch.regions).mean()
        _watch(fused[0].bottlenecks, clock)
        return {"segmentation": terms.pop("segmentation"), "deep": terms.pop("deep"), "auxiliary": auxiliary, **terms}

    def _drawn(self, encoded: Encoding, presence: Presence) -> Fused:
        """A subset, fused in a drawn order, its codes drawn."""
        lots = torch.rand((len(presence), 2, presence.shape[1]), device=presence.device)
        if self.reorder == "fixed":
            lots = self._ranks(presence)
        return self._fused(encoded, presence, lots, self.reorder, drawn=True)

    def _terms(self, fused: Fused, encoded: Encoding, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """The terms of one subset."""
        presence = fused.presence
        decoded = self.decoder(fused.features, self._skips(encoded, presence))
        logits = [output(features) for output, features in zip(self.outputs, decoded, strict=True)]
        terms = level_terms(logits, batch.regions)
        if fused.bottlenecks and self.kl:
            weight = self.kl * min(1.0, clock.progress / self.warmup) if self.warmup else self.kl
            terms["kl"] = weight * torch.stack([bottleneck.nats().mean() for bottleneck in fused.bottlenecks]).sum()
        if len(self.reconstructions):
            terms["reconstruction"] = self._reconstructed(fused, encoded, batch.images).mean()
        if self.specific is not None and self.orthogonality:
            overlap = overlaps(fused.shared, fused.specific, presence, self.inner)
            terms["orthogonality"] = self.orthogonality * overlap.mean()
        return terms

    def _reconstructed(self, fused: Fused, encoded: Encoding, images: Images) -> PerCase:
        """L_r: squared errors, weighed by beta and gamma, averaged over each case's present modalities."""
        targets = encoded.features.detach()
        if self.target == "image":
            targets = F.avg_pool3d(hide(images, fused.presence), self.divisor // 2)[:, :, None]
        total = torch.zeros(len(fused.presence), device=targets.device)
        for reconstruction, bottleneck in zip(self.reconstructions, fused.bottlenecks, strict=True):
            total = total + reconstruction(bottleneck.code, targets, fused.order, fused.presence)
        return total / fused.presence.sum(dim=1).clamp_min(1)


class Fuse(nn.Module):
    """Features side by side in one: convolution, layer norm (as the paper does after each fusion), GELU, convolution.

    Args:
        inputs: Channels that enter.
        channels: Of the code.
        gaussian: Whether the code is drawn from a Gaussian.
    """

    def __init__(self, inputs: int, channels: int, gaussian: bool) -> None:
        super().__init__()
        self.gaussian = gaussian
        self.mix = PointConv(inputs, channels)
        self.norm = nn.LayerNorm(channels)
        self.describe = nn.Conv3d(channels, 2 * channels if gaussian else channels, 3, padding=1)
        if gaussian:
            assert self.describe.bias is not None
            nn.init.constant_(self.describe.bias[channels:], -4.0)  # a deviation of 0.1: nothing is lost at first

    def forward(self, features: Feature, drawn: bool) -> tuple[Feature, Bottleneck | None]:
        """The code, and the bottleneck that it came through."""
        mixed = self.norm(self.mix(features).movedim(1, -1)).movedim(-1, 1)
        described = self.describe(F.gelu(mixed))
        if not self.gaussian:
            return described, None
        mean, raw = described.float().chunk(2, dim=1)
        log_variance = _BOUND * torch.tanh(raw / _BOUND)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean) if drawn else mean
        return code, Bottleneck(mean, log_variance, code)


class BottleneckFusion(nn.Module):
    """The paper's IBFM, and what it is compared with: modalities enter in groups, each with the code so far.

    Args:
        sizes: How many modalities enter at each stage.
        channels: Of a modality's features and of the code.
        kind: Which stages are bottlenecks.
    """

    def __init__(self, sizes: Sequence[int], channels: int, kind: Kind) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.stages = nn.ModuleList(
            Fuse((size + (stage > 0)) * channels, channels, _is_gaussian(kind, last=stage == len(self.sizes) - 1))
            for stage, size in enumerate(self.sizes)
        )

    def forward(self, ordered: Stacked, drawn: bool) -> tuple[Feature, list[Bottleneck]]:
        """z2, and the bottlenecks on the way to it.

        Args:
            ordered: Features in the order in which they enter; zero for absent modalities.
            drawn: Whether codes are drawn, or are the means of their Gaussians.
        """
        code, bottlenecks = ordered[:, 0, :0], []
        for stage, group in zip(self.stages, torch.split(ordered, self.sizes, dim=1), strict=True):
            code, bottleneck = stage(torch.cat([code, group.flatten(1, 2)], dim=1), drawn)
            bottlenecks += [bottleneck] if bottleneck is not None else []
        return code, bottlenecks

    def to_reconstruct(self, beta: float, gamma: float) -> list[tuple[slice, float]]:
        """For each bottleneck the positions that have entered since the last one, and the weight of their errors."""
        if not (beta or gamma):
            return []
        positions: list[slice] = []
        entered = 0
        for stage, end in zip(self.stages, accumulate(self.sizes), strict=True):
            if stage.gaussian:
                positions.append(slice(entered, end))
                entered = end
        return [(entered, beta) for entered in positions[:-1]] + [(entered, gamma) for entered in positions[-1:]]


class Reconstruction(nn.Module):
    """A decoder that rebuilds from a bottleneck's code what entered it (q_psi of L_r), told which modality to rebuild.

    Args:
        modalities: How many there are.
        channels: Of the code.
        positions: Of the sequence, to be reconstructed.
        weight: Of the errors.
        target: `features`, or the `image` at twice the code's resolution.
    """

    def __init__(
        self, modalities: int, channels: int, positions: slice, weight: float, target: Literal["features", "image"]
    ) -> None:
        super().__init__()
        self.positions, self.weight = positions, weight
        self.hidden = nn.Conv3d(channels, channels, 3, padding=1)
        self.scale = nn.Parameter(torch.zeros(modalities, channels))
        self.shift = nn.Parameter(torch.zeros(modalities, channels))
        features = target == "features"
        self.out = PointConv(channels, channels) if features else nn.ConvTranspose3d(channels, 1, 2, stride=2)

    def forward(self, code: Feature, targets: Stacked, order: Order, presence: Presence) -> PerCase:
        """Each case's weighed mean squared errors, summed over the present modalities; absent ones are not computed."""
        entered = order[:, self.positions]
        case, index = presence.gather(1, entered).nonzero(as_tuple=True)
        modality = entered[case, index]
        hidden = F.gelu(self.hidden(code))[case]
        scale, shift = (each[modality][:, :, None, None, None] for each in (self.scale, self.shift))
        made = self.out(hidden * (1 + scale) + shift)
        errors = (made.float() - targets[case, modality].float()).square().mean((1, 2, 3, 4))
        return torch.zeros(len(presence), device=errors.device).index_add(0, case, self.weight * errors)


class SpecificFeatures(nn.Module):
    """A transformer layer over the voxels of z2 and of the present modalities; what it makes of a modality is x_s,i."""

    def __init__(self, modalities: int, channels: int, heads: int, grid: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, channels, grid, grid, grid))
        self.owner = nn.Parameter(0.02 * torch.randn(modalities + 1, channels))
        self.layer = Layer(channels, heads)

    def forward(self, features: Stacked, shared: Feature, presence: Presence) -> Stacked:
        """Specific features, zero where a modality is not there."""
        position = F.interpolate(self.position, size=shared.shape[2:], mode="trilinear")
        maps = torch.cat([features, shared[:, None]], dim=1) + self.owner[:, :, None, None, None] + position
        tokens = maps.flatten(3).transpose(2, 3)
        there = F.pad(presence, (0, 1), value=True)[:, :, None].expand(tokens.shape[:3]).flatten(1)
        mixed = self.layer.gathered(tokens.flatten(1, 2), there, there).view_as(tokens)
        return torch.unflatten(mixed[:, :-1].transpose(2, 3), 3, shared.shape[2:])


def group_sizes(modalities: int, kind: Kind, groups: Sequence[int]) -> list[int]:
    """How many modalities enter at each stage of the fusion.

    Raises:
        ValueError: the groups do not hold each modality once, or are given where all enter at once.
    """
    at_once = kind in ("parallel", "concat")
    if not groups:
        return [modalities] if at_once or modalities <= 2 else [2, modalities - 2]
    if at_once:
        raise ValueError(f"groups = {list(groups)}: with fusion = '{kind}' all modalities enter at once; leave it out")
    if any(not isinstance(size, int) or size < 1 for size in groups) or sum(groups) != modalities:
        raise ValueError(f"groups = {list(groups)}: whole numbers from 1 that add up to the {modalities} modalities")
    return list(groups)


def rank_of(task: Task) -> Float[Tensor, "modality"]:
    """Where each modality comes in the order of evaluation, from 0 to below 1: T1ce, FLAIR, T2, T1, then any other."""
    order = [modality for modality in _FIRST if modality in task.modalities]
    order += [modality for modality in task.modalities if modality not in order]
    return torch.tensor([order.index(modality) / len(order) for modality in task.modalities])


def order_of(presence: Presence, lots: Lots, rule: Rule) -> Order:
    """Which modality enters where. `paper`: the available one of the lowest lot, then the others by their lots."""
    first, rest = lots.unbind(dim=1)
    if rule == "available_first":
        rest = rest + (~presence).float()
    if rule == "paper":
        chosen = torch.where(presence, first, 2.0).argmin(dim=1, keepdim=True)
        rest = rest.scatter(1, chosen, -1.0)
    return rest.argsort(dim=1)


def in_order(features: Stacked, order: Order) -> Stacked:
    """Features by position; `in_order(ordered, order.argsort(1))` puts them back."""
    return features[torch.arange(len(order), device=order.device)[:, None], order]


def overlaps(shared: Feature, specific: Stacked, presence: Presence, inner: Literal["cosine", "product"]) -> PerCase:
    """L_o: the square of z2 . x_s,i at each voxel, averaged over voxels and the case's present modalities."""
    one, other = shared[:, None].float(), specific.float()
    if inner == "cosine":
        one, other = F.normalize(one, dim=2), F.normalize(other, dim=2)
    squares = (one * other).sum(dim=2).square().mean((2, 3, 4))
    return torch.where(presence, squares, 0.0).sum(dim=1) / presence.sum(dim=1).clamp_min(1)


def _is_gaussian(kind: Kind, last: bool) -> bool:
    return kind in ("sequential", "parallel") or (kind == "one_stage" and last)


def _watch(bottlenecks: Sequence[Bottleneck], clock: Clock) -> None:
    """Note what passes each bottleneck: nats of a case, summed over channels and voxels, and active channels."""
    first = 2 if len(bottlenecks) == 1 else 1  # one alone is compared with z2
    for number, bottleneck in enumerate(bottlenecks, start=first):
        nats = bottleneck.nats().detach()
        clock.note(f"nats_z{number}", nats.sum((1, 2, 3, 4)).mean())
        clock.note(f"active_z{number}", (nats.mean((0, 2, 3, 4)) > _ACTIVE).float().mean())
