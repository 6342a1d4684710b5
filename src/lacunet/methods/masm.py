"""MASM: modalities attend to each other in the skips of a U-Net (aware) and at its bottleneck (shift)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.attention import Attention, Layer, mlp
from lacunet.nn.backbone import Backbone, make_encoder
from lacunet.nn.batch import Batch, Images, Logits, Presence, shown_subsets
from lacunet.nn.conv import PointConv
from lacunet.nn.join import Join
from lacunet.nn.keep import Cooling, KeepScore, hard_mask, temperature_at
from lacunet.nn.limits import require_between
from lacunet.nn.linear import Linear
from lacunet.nn.losses import cross_entropy_loss, deeply, dice_loss, mean_terms
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.mosaic import Pattern, offsets_of, shift
from lacunet.nn.papers import Paper
from lacunet.nn.reweigh import Beside, Reweigh
from lacunet.nn.tokens import Gate, Rows, Tokenise, Tokens
from lacunet.nn.unet import Decoder
from lacunet.task import Task

_TOKEN_WIDTH = 256
"""Most channels of a token; it has twice its level's where that is less."""

_HEADS = 4
"""Of every attention."""

_LAYERS = 2
"""Of the Modality-Shift block; every other one shifts the other way round."""


@dataclass(frozen=True)
class Encoding:
    """The features of every level, finest first, and the modalities that they belong to."""

    levels: list[Tensor]
    presence: Presence

    def only(self, presence: Presence) -> list[Tensor]:
        """The rows of a subset of the modalities that were encoded."""
        kept = presence[self.presence]
        return self.levels if bool(kept.all()) else [level[kept] for level in self.levels]


class Mixed(NamedTuple):
    """Rows after the blocks of a level, and what is logged.

    Attributes:
        rows: Features of the present modalities.
        gate: How far the gate of the Modality-Aware block is open, 0 to 1.
        kept: The share of the tokens that it kept.
        shift_gate: How far the gate of the Modality-Shift block is open.
    """

    rows: Rows
    gate: Tensor | None = None
    kept: Tensor | None = None
    shift_gate: Tensor | None = None


class MASM(Method[Encoding]):
    """Modality-Aware blocks in the skips and a Modality-Shift block at the bottleneck of a U-Net (Huang et al., 2024).

    One encoder sees every modality by itself. In each skip, tokens of little use are pruned and replaced by the
    partner's, and the modalities of a pair (T1 with T1ce, T2 with FLAIR) attend to each other. At the bottleneck, a
    mosaic of positions is exchanged between modalities, so that attention over the positions of one mixes all of them.

    The paper is about complete cases. Any subset is our extension: absent modalities are no keys, replace nothing and
    are left out of every sum; `missing="off"` trains on complete cases as the paper does.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels. At every level a token is as
            wide as a voxel of the last level but one: 16 voxels of the image with six levels, 8 with five.
        aware: Whether the skips have Modality-Aware blocks.
        shift: Whether the bottleneck has the Modality-Shift block. With neither, the network is a U-Net that
            concatenates the modalities at every level.
        layers: `paper` puts the blocks there; with `all` each kind that is wanted is on every level, skips and
            bottleneck. Where a level has both, Modality-Aware comes first.
        pairs: The groups within which the skips attend, each modality in one; neighbours in the task's order if not
            given. A group may have any size: `[["t1n", "t1c", "t2w", "t2f"]]` lets everything attend to everything.
        prune: Whether tokens are pruned.
        keep: The share of tokens to keep that `keep_weight` asks for.
        keep_weight: Of the squared distance to `keep` in the loss, averaged over the levels; 0 leaves it out.
        temperature: Of the masks' gradient when training begins.
        last_temperature: When it ends.
        cooling: Whether it falls by equal factors (`exponential`) or by equal steps (`linear`).
        pattern: Of the shift: `fixed` is the mosaic, `learned` starts from it; `blocks`, `slabs`, `diagonal`,
            `scattered` and `none` are other patterns (`nn/mosaic.py`).
        beside: What weighs the update of each shift layer (open question 2): its channels (`channel`), its places
            (`spatial`), `both`, or `nothing`.
        missing: `any` trains on what the recipe shows; `off` on everything that was acquired.
        subsets: With `any`, how many subsets of a crop are decoded from one encoding; of all but the first, which the
            recipe shows, any subset of what was acquired is equally likely.
        backbone: `unet`; `swin`, the encoder of SwinUNETR (MONAI, six levels, a width divisible by 24); or `unetr`,
            that of UNETR (five levels; its positions are interpolated to the box).

    Departures from the paper:
        Any subset of the modalities can be present. The logits are of regions that overlap, not of labels. Group norm.
        Blocks return to the features through a gate that is zero at first, so that training starts from the plain
        U-Net; its opening is logged.

    Not stated in the paper:
        Widths (nnU-Net's), the size of tokens, heads and the depth of the shift, positions (a depthwise convolution, so
        that any box will do), whether the pairs of a level share a block (they do, told apart by an embedding), what
        the keep-mask sees and its temperature (as DynamicViT; 5 to 0.5), the mosaic, the loss (Dice and cross-entropy
        at the three finest resolutions) and the optimiser. A price for kept tokens: the paper names none, ours is
        small. Without one, masks learn only from a gradient that passes through nearly closed gates.
    """

    paper = Paper(
        title="Modality-Aware and Shift Mixer for Multi-modal Brain Tumor Segmentation",
        authors="Huang et al.",
        year=2024,
        venue="arXiv 2403.02074",
        url="https://arxiv.org/abs/2403.02074",
        idea="Pairs of modalities attend to each other in the skips, all of them at the bottleneck by shifted patches.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 32,
        levels: int = 6,
        aware: bool = True,
        shift: bool = True,
        layers: Literal["paper", "all"] = "paper",
        pairs: Sequence[Sequence[str]] | None = None,
        prune: bool = True,
        keep: float = 0.7,
        keep_weight: float = 0.1,
        temperature: float = 5.0,
        last_temperature: float = 0.5,
        cooling: Cooling = "exponential",
        pattern: Pattern = "fixed",
        beside: Beside = "nothing",
        missing: Literal["any", "off"] = "any",
        subsets: int = 1,
        backbone: Backbone = "unet",
    ) -> None:
        super().__init__(task)
        if levels < 2:
            raise ValueError(f"levels = {levels}: at least 2 are needed, one with a skip and the bottleneck")
        require_between("subsets", subsets, 1, 15)
        for name, value in (("temperature", temperature), ("last_temperature", last_temperature)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} = {value}: must be above 0")
        groups, count = modality_groups(pairs, task), len(task.modalities)
        encoder, widths = make_encoder(backbone, width, levels)
        sides = [2 ** (levels - 2 - level) for level in range(levels - 1)] + [1]
        tokens = [TokenSize(w, min(2 * w, _TOKEN_WIDTH), side) for w, side in zip(widths, sides, strict=True)]
        self.divisor = 2 ** (levels - 1)
        self.missing, self.keep, self.keep_weight, self.subsets = missing, keep, keep_weight, subsets
        self.temperature, self.last_temperature, self.cooling = temperature, last_temperature, cooling
        self.encoder = encoder
        everywhere = layers == "all"
        self.aware = nn.ModuleList(
            ModalityAware(size, _HEADS, groups, prune) for size in tokens[: levels if everywhere else -1] if aware
        )
        self.shift = ModalityShift(tokens[-1], _HEADS, _LAYERS, count, pattern, beside) if shift else None
        self.shift_in_skips = nn.ModuleList(
            ModalityShift(size, _HEADS, _LAYERS, count, pattern, beside) for size in tokens[:-1] if shift and everywhere
        )
        self.joins = nn.ModuleList(Join(channels, count) for channels in widths)
        self.decoder = Decoder(widths)
        self.outputs = nn.ModuleList(PointConv(channels, len(task.regions)) for channels in widths[: levels - 1][:3])

    def encode(self, images: Images, presence: Presence) -> Encoding:
        """Every present modality by itself, through the one encoder."""
        return Encoding(self.encoder(images[presence][:, None]), presence)

    def decode(self, encoded: Encoding, presence: Presence) -> Logits:
        """The subset's rows, mixed at each level, joined and decoded."""
        decoded, _ = self._decode(encoded, presence)
        logits: Logits = self.outputs[0](decoded[-1])
        return logits

    def stages(self) -> list[Stage]:
        """One stage: segment from what is shown."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _decode(
        self, encoded: Encoding, presence: Presence, temperature: float | None = None
    ) -> tuple[list[Tensor], list[Mixed]]:
        """Decoded features, finest last, and the blocks' outputs; keep-masks are drawn if there is a temperature."""
        mixed = [Mixed(rows) for rows in encoded.only(presence)]
        for level, block in enumerate(self.aware):
            mixed[level] = block(mixed[level].rows, presence, temperature)
        for level, block in enumerate(self.shift_in_skips):
            mixed[level] = shifted(block, mixed[level], presence)
        if self.shift is not None:
            mixed[-1] = shifted(self.shift, mixed[-1], presence)
        joined = [join(level.rows, presence) for join, level in zip(self.joins, mixed, strict=True)]
        return self.decoder(joined), mixed

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        whole = self.missing == "off"
        temperature = temperature_at(clock.progress, self.temperature, self.last_temperature, self.cooling)
        encoded = self.encode(batch.images, batch.presence if self.subsets == 1 and not whole else batch.acquired)
        subsets = [batch.acquired] if whole else shown_subsets(batch, self.subsets)
        decoded = [self._decode(encoded, presence, temperature) for presence in subsets]
        _watch(decoded[0][1], clock)
        return mean_terms([self._terms(*one, batch) for one in decoded])

    def _terms(self, decoded: Sequence[Tensor], mixed: Sequence[Mixed], batch: Batch) -> dict[str, Tensor]:
        """The terms of one subset."""
        terms = self._segmentation(decoded, batch.regions)
        shares = [level.kept for level in mixed if level.kept is not None]
        if self.keep_weight and shares:
            terms["keep"] = self.keep_weight * (torch.stack(shares) - self.keep).square().mean()
        return terms

    def _segmentation(
        self, decoded: Sequence[Tensor], regions: Float[Tensor, "batch region x y z"]
    ) -> dict[str, Tensor]:
        """Dice and cross-entropy at the finest resolutions."""
        logits = [output(decoded[-1 - level]) for level, output in enumerate(self.outputs)]
        return {
            "dice": deeply(dice_loss, logits, regions),
            "cross_entropy": deeply(cross_entropy_loss, logits, regions),
        }


class TokenSize(NamedTuple):
    """What the tokens of a level are made of.

    Attributes:
        channels: Of the features.
        width: Channels of a token.
        side: Of a token, in voxels of this level.
    """

    channels: int
    width: int
    side: int


class ModalityAware(nn.Module):
    """Prune tokens, let each group attend to itself, replace pruned tokens by the partner's.

    Args:
        size: Of the features and their tokens.
        heads: Of the attention.
        groups: Indices of the modalities that attend to each other.
        prune: Whether tokens are pruned.
    """

    def __init__(self, size: TokenSize, heads: int, groups: Sequence[Sequence[int]], prune: bool) -> None:
        super().__init__()
        channels, width, _ = size
        order = [modality for group in groups for modality in group]
        self.groups = groups
        self.back_in_order = [order.index(modality) for modality in range(len(order))]
        self.tokenise = Tokenise(*size, len(order))
        self.score = KeepScore(width) if prune else None
        self.layer = Layer(width, heads)
        self.replacement = Linear(width, width)
        self.gate = Gate(channels, width)

    def forward(self, rows: Rows, presence: Presence, temperature: float | None) -> Mixed:
        """The rows, updated from their partners.

        Args:
            rows: Features of the present modalities.
            presence: The modalities that they belong to.
            temperature: Of the masks' gradient, in training: masks are drawn, and pruned tokens computed but masked.
                None in use: masks are not drawn, and pruned tokens cost nothing.
        """
        tokens, grid = self.tokenise(rows, presence)
        parts, shares = [], []
        for group in self.groups:
            own, there = tokens[:, group], presence[:, group]
            kept = there[:, :, None].expand(own.shape[:3]).float()
            if self.score is not None:
                score = self.score(own, there)
                shares.append((kept * hard_mask(score, temperature)).sum())
                kept = kept * hard_mask(score, temperature, drawn=temperature is not None)
            parts.append(self.within(own, there, kept, dense=temperature is not None))
        mixed = torch.cat(parts, dim=1)[:, self.back_in_order]
        rows, opening = self.gate(rows, mixed[presence], grid)
        share = torch.stack(shares).sum() / (presence.sum() * tokens.shape[2]) if shares else None
        return Mixed(rows, opening, share)

    def within(
        self, tokens: Tokens, presence: Presence, kept: Float[Tensor, "batch modality token"], dense: bool
    ) -> Tokens:
        """One group: kept tokens after attention; pruned ones replaced by their partners', or zero if there is none."""
        keys = kept.detach() > 0.5
        queries = presence[:, :, None].expand(keys.shape) if dense else keys
        attended = self.layer.gathered(tokens.flatten(1, 2), queries.flatten(1), keys.flatten(1)).view_as(tokens)
        partners = mean_of_partners(self.replacement(tokens), presence)
        return kept[..., None] * attended + (1 - kept[..., None]) * partners


class ModalityShift(nn.Module):
    """Tokens of a pattern of places move to another modality, attend there, and move back.

    Args:
        size: Of the features and their tokens; every voxel of the bottleneck is one.
        heads: Of the attentions.
        layers: How many; every other one shifts the other way round.
        modalities: How many there are.
        pattern: Of the places; a learned one starts as the fixed one.
        beside: What weighs the update of each layer.
    """

    def __init__(
        self, size: TokenSize, heads: int, layers: int, modalities: int, pattern: Pattern, beside: Beside
    ) -> None:
        super().__init__()
        channels, width, _ = size
        start = F.one_hot(offsets_of(pattern, modalities), modalities).float()
        self.preference = nn.Parameter(start) if pattern == "learned" else None
        self.register_buffer("fixed", start, persistent=False)
        self.tokenise = Tokenise(*size, modalities)
        self.layers = nn.ModuleList(ShiftLayer(width, heads) for _ in range(layers))
        self.gate = Gate(channels, width)
        self.beside = nn.ModuleList(Reweigh(width, beside) for _ in range(layers) if beside != "nothing")

    def forward(self, rows: Rows, presence: Presence) -> Mixed:
        """The rows, updated from all other modalities."""
        tokens, grid = self.tokenise(rows, presence)
        pattern = self.pattern(grid)
        for number, layer in enumerate(self.layers):
            mixed = layer(tokens, presence, pattern, turns=1 if number % 2 == 0 else -1)
            tokens = tokens + self.beside[number](mixed - tokens, grid) if self.beside else mixed
        rows, opening = self.gate(rows, tokens[presence], grid)
        return Mixed(rows, shift_gate=opening)

    def pattern(self, grid: Sequence[int]) -> Float[Tensor, "token offset"]:
        """The mosaic, repeated over the grid, as one-hot offsets. A learned one has a straight-through gradient."""
        cell = self.get_buffer("fixed")
        if self.preference is not None:
            soft = self.preference.softmax(-1)
            cell = F.one_hot(soft.argmax(-1), soft.shape[-1]) + (soft - soft.detach())
        sides = cell.shape[:3]
        x, y, z = (torch.arange(n, device=cell.device) % side for n, side in zip(grid, sides, strict=True))
        return cell[x[:, None, None], y[:, None], z].flatten(0, 2)


class ShiftLayer(nn.Module):
    """Shift, attend over the positions of each modality, shift back, attend over the modalities at each position."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.over_places = Attention(width, heads)
        self.over_modalities = Attention(width, heads)
        self.mlp = mlp(width)

    def forward(self, tokens: Tokens, presence: Presence, pattern: Float[Tensor, "token offset"], turns: int) -> Tokens:
        """The shifted tokens, each with its presence, attend and are shifted back."""
        keys = presence[:, :, None].expand(tokens.shape[:3])
        moved_keys = shift(keys[..., None].float(), pattern.detach(), turns)[..., 0] > 0.5
        moved = shift(tokens, pattern, turns)
        moved = moved + self.over_places(moved.flatten(0, 1), moved_keys.flatten(0, 1)).view_as(moved)
        back = shift(moved, pattern, -turns).transpose(1, 2)
        attended = self.over_modalities(back.flatten(0, 1), keys.transpose(1, 2).flatten(0, 1))
        tokens = (back + attended.view_as(back)).transpose(1, 2)
        mixed: Tokens = tokens + self.mlp(tokens)
        return mixed


def shifted(block: nn.Module, mixed: Mixed, presence: Presence) -> Mixed:
    """The rows of a level after its Modality-Shift block; what its Modality-Aware block noted stays."""
    moved: Mixed = block(mixed.rows, presence)
    return mixed._replace(rows=moved.rows, shift_gate=moved.shift_gate)


def modality_groups(pairs: Sequence[Sequence[str]] | None, task: Task) -> list[list[int]]:
    """The modalities' indices by group; neighbours in the task's order (T1 with T1ce, T2 with FLAIR) if not given.

    Raises:
        ValueError: a modality is in no group or in two.
    """
    count = len(task.modalities)
    if pairs is None:
        return [list(range(first, min(first + 2, count))) for first in range(0, count, 2)]
    groups = [[task.modalities.index(task.modality(word)) for word in group] for group in pairs]
    if sorted(index for group in groups for index in group) != list(range(count)):
        raise ValueError(
            f"pairs = {[list(group) for group in pairs]}: each of {', '.join(task.modalities)} must be named once"
        )
    return [group for group in groups if group]


def _watch(mixed: Sequence[Mixed], clock: Clock) -> None:
    """Note how far the gates of each level are open, and which share of its tokens is kept."""
    for number, level in enumerate(mixed, start=1):
        if level.gate is not None:
            clock.note(f"gate_level{number}", level.gate)
        if level.kept is not None:
            clock.note(f"kept_level{number}", level.kept)
        if level.shift_gate is not None:
            clock.note(f"gate_level{number}" if level.gate is None else f"shift_gate_level{number}", level.shift_gate)


def mean_of_partners(tokens: Tokens, presence: Presence) -> Tokens:
    """Of each modality's tokens, the mean over the group's other present ones; zero where there is none."""
    count = presence.shape[1]
    others = presence[:, None] & ~torch.eye(count, dtype=torch.bool, device=presence.device)
    weights = others / others.sum(2, keepdim=True).clamp_min(1)
    return torch.einsum("bmo,botc->bmtc", weights.to(tokens.dtype), tokens)
