"""MASM: modalities attend to each other in the skips of a U-Net (aware) and at its bottleneck (shift)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lacunet.nn.attention import Attention, Layer, mlp
from lacunet.nn.batch import Batch, Images, Logits, Presence, shown_subsets
from lacunet.nn.conv import ConvBlock, PointConv
from lacunet.nn.limits import require_between
from lacunet.nn.losses import cross_entropy_loss, deeply, dice_loss, mean_terms
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.unet import Decoder, Encoder, level_widths
from lacunet.task import Task

Rows = Float[Tensor, "row channel x y z"]
"""Features of present modalities only: a row for each, ordered by case and then by modality."""

Tokens = Float[Tensor, "batch modality token width"]
"""Features at the positions of a coarse grid. The tokens of an absent modality change no other token."""

_HOT, _COLD = 5.0, 0.5
"""The temperature of the keep-masks' gradient when training begins and when it ends."""

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
    """Rows after a block, and what is logged: how far its gate is open and which share of the tokens it kept."""

    rows: Rows
    gate: Tensor | None = None
    kept: Tensor | None = None


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
        pairs: The groups within which the skips attend, each modality in one; neighbours in the task's order if not
            given. A group may have any size: `[["t1n", "t1c", "t2w", "t2f"]]` lets everything attend to everything.
        prune: Whether tokens are pruned.
        keep: The share of tokens to keep that `keep_weight` asks for.
        keep_weight: Of the squared distance to `keep` in the loss, averaged over the levels; 0 leaves it out.
        pattern: Of the shift: the mosaic itself, or offsets learned from there on.
        missing: `any` trains on what the recipe shows; `off` on everything that was acquired.
        subsets: With `any`, how many subsets of a crop are decoded from one encoding; of all but the first, which the
            recipe shows, any subset of what was acquired is equally likely.
        backbone: `unet`, or `swin`, the encoder of SwinUNETR (MONAI, six levels, a width divisible by 24).

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
        pairs: Sequence[Sequence[str]] | None = None,
        prune: bool = True,
        keep: float = 0.7,
        keep_weight: float = 0.1,
        pattern: Literal["fixed", "learned"] = "fixed",
        missing: Literal["any", "off"] = "any",
        subsets: int = 1,
        backbone: Literal["unet", "swin"] = "unet",
    ) -> None:
        super().__init__(task)
        if levels < 2:
            raise ValueError(f"levels = {levels}: at least 2 are needed, one with a skip and the bottleneck")
        require_between("subsets", subsets, 1, 15)
        groups, count, learned = modality_groups(pairs, task), len(task.modalities), pattern == "learned"
        if backbone == "swin":
            require_between("width", width, 24, 96)
            encoder: nn.Module = SwinEncoder(width, levels)
            widths = [width, *(width * 2**level for level in range(levels - 1))]
        else:
            widths = level_widths(width, levels)
            encoder = Encoder(1, widths)
        token_widths = [min(2 * channels, _TOKEN_WIDTH) for channels in widths]
        self.divisor = 2 ** (levels - 1)
        self.missing, self.keep, self.keep_weight, self.subsets = missing, keep, keep_weight, subsets
        self.encoder = encoder
        self.aware = nn.ModuleList(
            ModalityAware(widths[level], token_widths[level], 2 ** (levels - 2 - level), _HEADS, groups, prune)
            for level in range(levels - 1 if aware else 0)
        )
        self.shift = ModalityShift(widths[-1], token_widths[-1], _HEADS, _LAYERS, count, learned) if shift else None
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
        if self.shift is not None:
            mixed[-1] = self.shift(mixed[-1].rows, presence)
        joined = [join(level.rows, presence) for join, level in zip(self.joins, mixed, strict=True)]
        return self.decoder(joined), mixed

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        whole = self.missing == "off"
        temperature = _HOT * (_COLD / _HOT) ** clock.progress
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


class ModalityAware(nn.Module):
    """The block of a skip: prune tokens, let each group attend to itself, replace pruned tokens by the partner's.

    Args:
        channels: Of the features.
        width: Channels of a token.
        side: Of a token, in voxels of this level.
        heads: Of the attention.
        groups: Indices of the modalities that attend to each other.
        prune: Whether tokens are pruned.
    """

    def __init__(
        self, channels: int, width: int, side: int, heads: int, groups: Sequence[Sequence[int]], prune: bool
    ) -> None:
        super().__init__()
        order = [modality for group in groups for modality in group]
        self.groups = groups
        self.back_in_order = [order.index(modality) for modality in range(len(order))]
        self.tokenise = Tokenise(channels, width, side, len(order))
        self.score = KeepScore(width) if prune else None
        self.layer = Layer(width, heads)
        self.replacement = nn.Linear(width, width)
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


class KeepScore(nn.Module):
    """How much a token is worth keeping, from itself and the mean of its group (as in DynamicViT, Rao et al., 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.describe = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        last = nn.Linear(width // 2, 1)
        nn.init.constant_(last.bias, 2.0)  # most are kept at first
        self.judge = nn.Sequential(nn.Linear(width, width // 2), nn.GELU(), last)

    def forward(self, tokens: Tokens, presence: Presence) -> Float[Tensor, "batch modality token"]:
        """Above zero: more likely kept than not."""
        local, overall = self.describe(tokens).chunk(2, dim=-1)
        there = presence[:, :, None, None]
        count = (presence.sum(1) * tokens.shape[2]).clamp_min(1)[:, None, None, None]
        overall = torch.where(there, overall, 0.0).sum((1, 2), keepdim=True) / count
        score: Tensor = self.judge(torch.cat([local, overall.expand_as(local)], dim=-1))
        return score[..., 0].float()


class ModalityShift(nn.Module):
    """The block of the bottleneck: tokens in a mosaic move to another modality, attend there, and move back.

    Args:
        channels: Of the features.
        width: Channels of a token; every voxel of the bottleneck is one.
        heads: Of the attentions.
        layers: How many; every other one shifts the other way round.
        modalities: How many there are.
        learned: Whether the mosaic is learned; it starts as the fixed one.
    """

    def __init__(self, channels: int, width: int, heads: int, layers: int, modalities: int, learned: bool) -> None:
        super().__init__()
        start = F.one_hot(mosaic(modalities), modalities).float()
        self.preference = nn.Parameter(start) if learned else None
        self.register_buffer("fixed", start, persistent=False)
        self.tokenise = Tokenise(channels, width, 1, modalities)
        self.layers = nn.ModuleList(ShiftLayer(width, heads) for _ in range(layers))
        self.gate = Gate(channels, width)

    def forward(self, rows: Rows, presence: Presence) -> Mixed:
        """The rows, updated from all other modalities."""
        tokens, grid = self.tokenise(rows, presence)
        pattern = self.pattern(grid)
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, presence, pattern, turns=1 if number % 2 == 0 else -1)
        return Mixed(*self.gate(rows, tokens[presence], grid))

    def pattern(self, grid: Sequence[int]) -> Float[Tensor, "token offset"]:
        """The mosaic, repeated over the grid, as one-hot offsets. A learned one has a straight-through gradient."""
        cell = self.get_buffer("fixed")
        if self.preference is not None:
            soft = self.preference.softmax(-1)
            cell = F.one_hot(soft.argmax(-1), soft.shape[-1]) + (soft - soft.detach())
        x, y, z = (torch.arange(length, device=cell.device) % len(cell) for length in grid)
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


class Tokenise(nn.Module):
    """Features to tokens: mean over voxels, linear; plus its position (a depthwise convolution) and its modality."""

    def __init__(self, channels: int, width: int, side: int, modalities: int) -> None:
        super().__init__()
        self.side = side
        self.project = PointConv(channels, width)
        self.position = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.modality = nn.Parameter(0.02 * torch.randn(modalities, width))

    def forward(self, rows: Rows, presence: Presence) -> tuple[Tokens, list[int]]:
        """Tokens of every modality, zero where it is absent, and the grid they lie on."""
        maps = self.project(mean_pool(rows, self.side))
        maps = maps + self.position(maps)
        there = maps.flatten(2).transpose(1, 2) + self.modality[presence.nonzero()[:, 1], None]
        tokens = there.new_zeros((*presence.shape, *there.shape[1:]))
        tokens[presence] = there
        return tokens, list(maps.shape[2:])


class Gate(nn.Module):
    """Tokens back into the features: normalise, linear, times a gate that is zero before training, enlarge, add."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.back = nn.Linear(width, channels)
        self.open = nn.Linear(width, 1)
        for parameter in self.open.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, rows: Rows, tokens: Float[Tensor, "row token width"], grid: Sequence[int]
    ) -> tuple[Rows, Float[Tensor, ""]]:
        """The features with their update, and how far the gate is open on average, 0 to 1."""
        tokens = self.norm(tokens)
        opening = torch.tanh(self.open(tokens))
        update = (opening * self.back(tokens)).unflatten(1, list(grid)).movedim(-1, 1)  # so its channels lie last
        if update.shape[2:] != rows.shape[2:]:
            update = F.interpolate(update, size=rows.shape[2:], mode="trilinear")
        return rows + update.to(rows.dtype), opening.float().abs().mean()


class Join(nn.Module):
    """The modalities of a level in one: a 1x1x1 convolution of their channels side by side.

    Computed as a sum over the present modalities, which is scaled up for the absent ones, as in dropout.
    """

    def __init__(self, channels: int, modalities: int) -> None:
        super().__init__()
        bound = (modalities * channels) ** -0.5
        self.weight = nn.Parameter(torch.empty(modalities, channels, channels).uniform_(-bound, bound))

    def forward(self, rows: Rows, presence: Presence) -> Float[Tensor, "batch channel x y z"]:
        """Features of each case."""
        case, modality = presence.nonzero(as_tuple=True)
        weighed = torch.bmm(rows.movedim(1, -1).flatten(1, 3), self.weight[modality])
        joined = weighed.new_zeros((len(presence), *weighed.shape[1:])).index_add(0, case, weighed)
        raised = presence.shape[1] / presence.sum(1).clamp_min(1)
        joined = joined * raised[:, None, None].to(joined.dtype)
        return torch.unflatten(joined, 1, rows.shape[2:]).movedim(-1, 1)


class SwinEncoder(nn.Module):
    """The encoder of SwinUNETR (Hatamizadeh et al., 2022) behind a convolution at full resolution."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        if levels != 6 or width % 24:
            raise ValueError(f"backbone = swin: 6 levels and a width divisible by 24 are needed, not {levels}, {width}")
        try:
            import einops  # noqa: F401  (MONAI's module is imported without it, and then does not run)
            from monai.networks.nets.swin_unetr import SwinTransformer
        except ImportError as error:
            raise ValueError("backbone = swin needs MONAI and einops: pip install 'lacunet[swin]'") from error
        self.stem = ConvBlock(1, width)
        with torch.device("cpu"):  # it reads numbers from tensors while it is made, which those without memory refuse
            self.swin = SwinTransformer(
                in_chans=1,
                embed_dim=width,
                window_size=(7, 7, 7),
                patch_size=(2, 2, 2),
                depths=(2, 2, 2, 2),
                num_heads=(3, 6, 12, 24),
            )

    def forward(self, images: Float[Tensor, "row 1 x y z"]) -> list[Tensor]:
        """The features of every level, finest first."""
        return [self.stem(images), *self.swin(images)]


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


def hard_mask(
    score: Float[Tensor, "batch modality token"], temperature: float | None, *, drawn: bool = False
) -> Float[Tensor, "batch modality token"]:
    """Exactly 0 or 1, with the gradient of a sigmoid: the straight-through Gumbel-softmax of two classes.

    The difference of two Gumbel draws is one logistic draw, so that one score stands for the two.

    Args:
        score: The logit of keeping.
        temperature: Of the sigmoid that lends its gradient; None gives none.
        drawn: Whether the mask is drawn with the score's probability, or is 1 where that is above one half.
    """
    if drawn:
        chance = torch.rand_like(score).clamp(1e-6, 1 - 1e-6)
        score = score + torch.logit(chance)
    hard = (score > 0).float()
    if temperature is None:
        return hard
    soft = torch.sigmoid(score / temperature)
    return hard + (soft - soft.detach())


def _watch(mixed: Sequence[Mixed], clock: Clock) -> None:
    """Note how far the gates of each level are open, and which share of its tokens is kept."""
    for number, level in enumerate(mixed, start=1):
        if level.gate is not None:
            clock.note(f"gate_level{number}", level.gate)
        if level.kept is not None:
            clock.note(f"kept_level{number}", level.kept)


def mean_of_partners(tokens: Tokens, presence: Presence) -> Tokens:
    """Of each modality's tokens, the mean over the group's other present ones; zero where there is none."""
    count = presence.shape[1]
    others = presence[:, None] & ~torch.eye(count, dtype=torch.bool, device=presence.device)
    weights = others / others.sum(2, keepdim=True).clamp_min(1)
    return torch.einsum("bmo,botc->bmtc", weights.to(tokens.dtype), tokens)


def mosaic(modalities: int) -> Int[Tensor, "side side side"]:
    """By how many modalities each position is shifted, as a cell that is repeated over the grid.

    Every second position stays; the others take every offset in turn (half way round for those left over), in the
    smallest cell that has room for all: 2 x 2 x 2 up to five modalities.
    """
    side = 2
    while side**3 // 2 < modalities - 1:
        side += 2
    with torch.device("cpu"):  # its numbers are read here, also while a network without memory is made
        odd = torch.stack(torch.meshgrid(*[torch.arange(side)] * 3, indexing="ij")).sum(0) % 2 == 1
        offsets = torch.full((side, side, side), 0)
        offsets[odd] = torch.tensor(
            [offset if offset < modalities else modalities // 2 for offset in range(1, int(odd.sum()) + 1)]
        )
    return offsets


def shift(
    tokens: Float[Tensor, "batch modality token _"], pattern: Float[Tensor, "token offset"], turns: int
) -> Float[Tensor, "batch modality token _"]:
    """Each position takes its token from the modality that is its offset further on, cyclically.

    Args:
        tokens: To be shifted.
        pattern: The offset of each position, one-hot.
        turns: 1 shifts, -1 shifts back.
    """
    turned = [tokens.roll(-turns * offset, dims=1) for offset in range(pattern.shape[1])]
    return (torch.stack(turned, dim=-1) * pattern[:, None]).sum(-1)


def mean_pool(rows: Rows, side: int) -> Float[Tensor, "row channel _ _ _"]:
    """The mean of each cube of so many voxels a side (in any precision and order of memory, on a CPU too)."""
    voxels = rows.movedim(1, -1)
    for axis in (1, 3, 5):
        voxels = torch.unflatten(voxels, axis, (-1, side))
    return (voxels.sum((2, 4, 6)) / side**3).movedim(-1, 1)
