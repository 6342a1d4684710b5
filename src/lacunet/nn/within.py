"""Transformers within modalities: the places of a coarse map related with each other, each modality by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.attention import Layer
from lacunet.nn.batch import Presence
from lacunet.nn.conv import PointConv
from lacunet.nn.fusion import spread
from lacunet.nn.placed import Places, maps_of, tokens_of

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]


@dataclass
class Encoding:
    """What all subsets are made of.

    Attributes:
        tokens: What each modality's own transformer made of it; zero where it is not there.
        skips: At each finer level, finest first, what each modality adds to the skip.
    """

    tokens: Stacked
    skips: list[list[Feature]]


class WithinEach(nn.Module):
    """A map of each modality as tokens that know their place, through a transformer layer of its own.

    Args:
        modalities: How many there are.
        channels: Of the maps.
        width: Of a token.
        heads: Of the attention.
        ratio: How many times as wide as a token the perceptron is inside.
        side: Places along each axis that are learned.
    """

    def __init__(self, modalities: int, channels: int, width: int, heads: int, ratio: int, side: int) -> None:
        super().__init__()
        self.places = Places(modalities, width, side)
        self.each = nn.ModuleList(Within(channels, width, heads, ratio) for _ in range(modalities))

    def forward(self, maps: Sequence[Feature], presence: Presence) -> Stacked:
        """The tokens of every modality on their grid; zero where it is not there.

        Args:
            maps: Of each modality, with a row for each case that has it.
            presence: Which cases have it.
        """
        places = self.places(maps[0].shape[2:])
        tokens = [within(own, place) for within, own, place in zip(self.each, maps, places, strict=True)]
        return torch.stack(spread(tokens, presence.unbind(dim=1)), dim=1)

    def placed(self, tokens: Stacked) -> Stacked:
        """Tokens that are told their place and modality once more."""
        placed: Stacked = tokens + self.places(tokens.shape[3:])
        return placed


class Within(nn.Module):
    """Tokens of one modality's map, each of which attends to all of them."""

    def __init__(self, channels: int, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.widen = PointConv(channels, width)
        self.layer = Layer(width, heads, ratio)

    def forward(self, features: Feature, place: Float[Tensor, "width x y z"]) -> Feature:
        """The tokens on the map's grid."""
        maps = self.widen(features) + place
        return maps_of(self.layer(tokens_of(maps), None), features.shape[2:])
