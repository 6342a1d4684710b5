"""Tokens of the modalities that are there: related with each other, and side by side in one map."""

from jaxtyping import Float
from torch import Tensor

from lacunet.nn.attention import Layer
from lacunet.nn.batch import Presence
from lacunet.nn.placed import maps_of, tokens_of

Feature = Float[Tensor, "_ _ _ _ _"]
Stacked = Float[Tensor, "batch modality channel x y z"]


def related(layer: Layer, maps: Stacked, presence: Presence) -> Stacked:
    """Each token of each present modality attends to all tokens of all present ones; absent ones are zero."""
    tokens = tokens_of(maps)
    there = presence[:, :, None].expand(tokens.shape[:3]).flatten(1)
    mixed = layer.gathered(tokens.flatten(1, 2), there, there).view_as(tokens)
    return maps_of(mixed, maps.shape[3:])


def side_by_side(maps: Stacked) -> Feature:
    """Modalities on channels: the first modality's, then the second's, at the same place."""
    return maps.flatten(1, 2)
