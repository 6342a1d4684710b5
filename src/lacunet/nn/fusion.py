"""From features of each modality to features of a subset."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lacunet.nn.batch import Images, Presence
from lacunet.nn.conv import PointConv, norm_and_relu

Feature = Float[Tensor, "_ _ _ _ _"]


class SkipParts(nn.Module):
    """The 1x1x1 convolution of a concatenated skip as the sum of a part per modality, so that each is computed once."""

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList([PointConv(channels, channels, bias=False) for _ in range(modalities)])

    def forward(self, features: Sequence[Feature]) -> list[Feature]:
        """Each modality's part, of its feature."""
        return [part(feature) for part, feature in zip(self.parts, features, strict=True)]


class SkipJoin(nn.Sequential):
    """The modalities of a level in one: convolutions of 1, 3 and 1 voxels of their features side by side.

    The first is `SkipParts`; this is the rest, done to the parts' sum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            *norm_and_relu(channels),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            *norm_and_relu(channels),
            PointConv(channels, channels, bias=False),
            *norm_and_relu(channels),
        )


def spread(rows: Sequence[Feature], there: Sequence[Bool[Tensor, "batch"]]) -> list[Feature]:
    """Expand features of the cases that have a modality to all cases, with zeros elsewhere. One item per modality."""
    return [_spread_one(row, cases) for row, cases in zip(rows, there, strict=True)]


def _spread_one(rows: Feature, there: Bool[Tensor, "batch"]) -> Feature:
    if len(rows) == len(there):
        return rows
    everywhere = rows.new_zeros((len(there), *rows.shape[1:])).contiguous(memory_format=torch.channels_last_3d)
    everywhere[there] = rows
    return everywhere


def of_those_that_have_it(images: Images, presence: Presence) -> list[Feature]:
    """The image of each modality, of the cases that have it."""
    columns = presence.T.tolist()
    return [
        images[:, i : i + 1] if all(cases) else images[presence[:, i], i : i + 1] for i, cases in enumerate(columns)
    ]


def members_of(presence: Presence) -> list[tuple[int, ...]]:
    """The indices of each case's modalities."""
    return [tuple(index for index, there in enumerate(row) if there) for row in presence.tolist()]


def mean_of_present(
    features: Float[Tensor, "batch modality _ _ _ _"], presence: Presence
) -> Float[Tensor, "batch _ _ _ _"]:
    """The mean of the features of each case's present modalities."""
    count = presence.sum(dim=1).clamp_min(1)[:, None, None, None, None]
    present = torch.where(presence[:, :, None, None, None, None], features, 0.0)
    return present.sum(dim=1) / count.to(features.dtype)


def sum_of_present(parts: Sequence[Feature], presence: Presence) -> Feature:
    """The sum over the modalities that are there; no selection where the cases agree."""
    kept = [
        part if all(cases) else torch.where(presence[:, index, None, None, None, None], part, 0.0)
        for index, (part, cases) in enumerate(zip(parts, presence.T.tolist(), strict=True))
        if any(cases)
    ]
    return sum(kept[1:], kept[0])
