"""IMS2Trans: one small Swin encoder for all modalities, which is told whose image it sees."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence, hide
from lacunet.nn.conv import ConvBlock, GroupNorm, PointConv
from lacunet.nn.fusion import SkipJoin, SkipParts, spread, sum_of_present
from lacunet.nn.limits import require_between
from lacunet.nn.losses import segmentation_losses
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.residual import Decoder, SingleDecoder, single_losses
from lacunet.nn.unet import level_widths
from lacunet.nn.window import WindowLayer
from lacunet.task import Task

Feature = Float[Tensor, "_ _ _ _ _"]

_HEAD = 8
"""Channels of a head of the attention."""

_REACH = 2
"""Shifted perceptrons look so many places to both sides."""


class IMS2Trans(Method[list[list[Feature]]]):
    """A scalable Swin transformer for incomplete modalities (Zhang et al., 2024).

    One encoder sees each modality by itself, with a learned label of which one it is: a convolution block at full
    resolution, Swin layers below, and perceptrons over shifted channels at the coarsest level. Present modalities are
    joined at each level, and a decoder goes up from there. In training, crops of a batch are cut into each other, and a
    contrastive loss draws the features of one crop's modalities together and away from those of other crops.

    Args:
        task: Modalities in, regions out.
        width: Channels of the two finest levels; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        window: Places along each side of a window.
        contrast: Weight of the contrastive loss; 0 leaves it out.
        temperature: Of that loss.
        cut_mix: Chance that the crops of a batch are cut into each other at a step.

    Departures from the paper:
        Positions come from depthwise convolutions, not from a table for each window; shifted windows start before the
        grid, and do not go round it. Group norm in convolutions; a sigmoid per region. Crops are mixed within a batch;
        the authors mix with the batch before. With a batch of one nothing is mixed and no features are drawn apart.

    Not stated in the paper:
        Only its abstract and public notes could be read. Ours: everything but the encoder's widths, depths, window and
        patch, CutMix with a share drawn uniformly, and the weight 0.1; above all what the contrastive loss compares
        (means over all places of the coarsest features, by their cosine, temperature 0.1), the shifted perceptrons
        (as UNeXt's, along each axis in turn), joining and decoding (as for smsn, with its auxiliary
        decoder), which add up to the 4.47 million parameters that are published.
    """

    paper = Paper(
        title="Scalable Swin Transformer Network for Brain Tumor Segmentation from Incomplete MRI Modalities",
        authors="Zhang et al.",
        year=2024,
        venue="Artificial Intelligence in Medicine",
        url="https://github.com/hudscomdz/IMS2Trans",
        idea="One small Swin encoder for all modalities, told whose image it sees; crops are cut into each other.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 24,
        levels: int = 5,
        window: int = 7,
        contrast: float = 0.1,
        temperature: float = 0.1,
        cut_mix: float = 0.5,
    ) -> None:
        super().__init__(task)
        lower = level_widths(width, levels)[:-1]
        if levels < 3:
            raise ValueError(f"levels = {levels}: at least 3, two of them below the images' resolution")
        require_between("window", window, 2, 16)
        if not 0 <= cut_mix <= 1:
            raise ValueError(f"cut_mix = {cut_mix}: a chance from 0 to 1")
        if temperature <= 0:
            raise ValueError(f"temperature = {temperature}: it must be above 0")
        modalities, regions, widths = len(task.modalities), len(task.regions), [width, *lower]
        self.divisor = 2 ** (levels - 1)
        self.contrast, self.temperature, self.cut_mix = contrast, temperature, cut_mix
        self.encoder = LabelledEncoder(modalities, widths, window)
        self.parts = nn.ModuleList(SkipParts(modalities, channels) for channels in widths)
        self.joins = nn.ModuleList(SkipJoin(channels) for channels in widths)
        self.decoder = Decoder(widths)
        self.outputs = nn.ModuleList(PointConv(channels, regions) for channels in widths)
        self.single = SingleDecoder(widths, regions)

    def encode(self, images: Images, presence: Presence) -> list[list[Feature]]:
        """At each level, finest first, what each modality adds to the joined features."""
        return self._parts(self._features(images, presence), presence)

    def decode(self, encoded: list[list[Feature]], presence: Presence) -> Logits:
        """The present modalities, joined and decoded."""
        return self._levels(encoded, presence)[0]

    def _features(self, images: Images, presence: Presence) -> list[list[Feature]]:
        """Of each modality the features of every level, finest first, with a row for each case that shows it."""
        images = hide(images, presence)
        return [self.encoder(images[there, index : index + 1], index) for index, there in enumerate(presence.T)]

    def _parts(self, features: Sequence[Sequence[Feature]], presence: Presence) -> list[list[Feature]]:
        there, levels = presence.unbind(dim=1), zip(*features, strict=True)
        return [spread(parts(level), there) for parts, level in zip(self.parts, levels, strict=True)]

    def _levels(self, encoded: Sequence[Sequence[Feature]], presence: Presence) -> list[LevelLogits]:
        """Region logits of every level, finest first."""
        joined = [join(sum_of_present(level, presence)) for join, level in zip(self.joins, encoded, strict=True)]
        decoded = self.decoder(joined[-1], joined[:-1])
        return [output(level) for output, level in zip(self.outputs, decoded, strict=True)]

    # ------------------------------------------------ training

    def stages(self) -> list[Stage]:
        """One stage: segment crops that are cut into each other."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        if self.cut_mix and float(torch.rand(())) < self.cut_mix:
            batch = mixed(batch, drawn_box(batch.images.shape[2:]))
        features = self._features(batch.images, batch.presence)
        logits = self._levels(self._parts(features, batch.presence), batch.presence)
        losses = [
            segmentation_losses(own, F.avg_pool3d(batch.regions, 2**level)).mean() for level, own in enumerate(logits)
        ]
        terms = {
            "segmentation": losses[0],
            "deep": torch.stack(losses[1:]).mean(),
            "auxiliary": single_losses(self.single(features), batch.presence, batch.regions).mean(),
        }
        if self.contrast:
            pooled = torch.cat([levels[-1].float().mean((2, 3, 4)) for levels in features])
            owners = batch.presence.T.nonzero()[:, 1]
            terms["contrast"] = self.contrast * contrastive_loss(pooled, owners, self.temperature)
        return terms


class LabelledEncoder(nn.Module):
    """Features of one modality's images; the label of the modality is added where the resolution is first halved.

    Args:
        modalities: How many labels.
        widths: Channels of each level, finest first.
        window: Places along each side of a window.
    """

    def __init__(self, modalities: int, widths: Sequence[int], window: int) -> None:
        super().__init__()
        self.stem = ConvBlock(1, widths[0])
        self.labels = nn.Parameter(0.02 * torch.randn(modalities, widths[1]))
        self.halve = nn.ModuleList([nn.Conv3d(1, widths[1], 2, 2)])
        self.halve.extend(nn.Conv3d(above, below, 2, 2) for above, below in pairwise(widths[1:]))
        self.layers = nn.ModuleList(
            nn.Sequential(
                *[WindowLayer(channels, max(channels // _HEAD, 1), window, shifted) for shifted in (False, True)]
            )
            for channels in widths[1:-1]
        )
        self.layers.append(nn.Sequential(ShiftedPerceptron(widths[-1]), ShiftedPerceptron(widths[-1])))
        self.norms = nn.ModuleList(GroupNorm(1, channels) for channels in widths[1:])

    def forward(self, images: Feature, modality: int) -> list[Feature]:
        """Features of every level, finest first."""
        features, levels = images, [self.stem(images)]
        for level, (halve, layers, norm) in enumerate(zip(self.halve, self.layers, self.norms, strict=True)):
            features = halve(features)
            if level == 0:
                features = features + self.labels[modality][:, None, None, None].to(features.dtype)
            features = layers(features)
            levels.append(norm(features))
        return levels


class ShiftedPerceptron(nn.Module):
    """Perceptrons over channels whose parts come from places around, along each axis in turn (UNeXt's, in 3-D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = GroupNorm(1, width)
        self.axes = nn.ModuleList(PointConv(width, width) for _ in range(3))
        self.near = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.out = PointConv(width, width)

    def forward(self, features: Feature) -> Feature:
        """Features of the same shape."""
        change = self.norm(features)
        for axis, perceptron in enumerate(self.axes, start=2):
            change = F.gelu(perceptron(shifted_parts(change, axis, _REACH)))
        answer: Tensor = features + self.out(F.gelu(self.near(change)))
        return answer


def shifted_parts(features: Feature, axis: int, reach: int) -> Feature:
    """Channels in as many parts as there are shifts from -reach to reach; each part from as many places before."""
    length = features.shape[axis]
    parts = features.tensor_split(2 * reach + 1, dim=1)
    moved = []
    for part, by in zip(parts, range(-reach, reach + 1), strict=True):
        kept = max(length - abs(by), 0)
        padding = [0, 0] * (4 - axis) + ([by, 0] if by > 0 else [0, -by])
        source = part.narrow(axis, 0 if by > 0 else length - kept, kept)
        moved.append(F.pad(source, padding).narrow(axis, 0, length))
    return torch.cat(moved, dim=1)


def contrastive_loss(
    pooled: Float[Tensor, "batch channel"], owners: Int[Tensor, "batch"], temperature: float
) -> Float[Tensor, ""]:
    """Features of one case's modalities are alike, and unlike those of other cases (InfoNCE).

    For each pair of rows of one case: minus the logarithm of its share among that row's similarities with this partner
    and with all rows of other cases. 0 where there is no pair.

    Args:
        pooled: A row for each present modality of each case.
        owners: The case of each row.
        temperature: What cosines are divided by.
    """
    rows = F.normalize(pooled, dim=1)
    similar = torch.exp(rows @ rows.T / temperature)
    one_case = owners[:, None] == owners
    others = torch.where(one_case, 0.0, similar).sum(dim=1, keepdim=True)
    pairs = one_case & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    costs = torch.log1p(others / similar)
    return torch.where(pairs, costs, 0.0).sum() / pairs.sum().clamp_min(1)


def drawn_box(shape: Sequence[int]) -> Bool[Tensor, "x y z"]:
    """A box somewhere in a crop, whose share of the volume is drawn uniformly (CutMix with beta(1, 1))."""
    side = float(torch.rand(())) ** (1 / 3)
    box = torch.zeros(*shape, dtype=torch.bool)
    lengths = [round(side * length) for length in shape]
    starts = [int(torch.randint(length - own + 1, ())) for length, own in zip(shape, lengths, strict=True)]
    x, y, z = (slice(start, start + own) for start, own in zip(starts, lengths, strict=True))
    box[x, y, z] = True
    return box


def mixed(batch: Batch, box: Bool[Tensor, "x y z"]) -> Batch:
    """Each crop with a box of the crop before it, images and reference; a modality is there if both have it.

    Crops of two cases that show no modality in common stay as they are.
    """
    presence = batch.presence & batch.presence.roll(1, 0)
    taken = presence.any(dim=1)
    inside = taken[:, None, None, None, None] & box.to(taken.device)
    whole = taken[:, None]
    return Batch(
        images=torch.where(inside, batch.images.roll(1, 0), batch.images),
        acquired=torch.where(whole, batch.acquired & batch.acquired.roll(1, 0), batch.acquired),
        presence=torch.where(whole, presence, batch.presence),
        regions=torch.where(inside, batch.regions.roll(1, 0), batch.regions),
        names=batch.names,
    )
