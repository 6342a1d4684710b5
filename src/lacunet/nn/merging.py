"""Tokens that are alike merged into one, and given back (after ToMe, Bolya et al., 2023)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lacunet.nn.attention import Layer

Tokens = Float[Tensor, "row token width"]
Slots = Int[Tensor, "row token"]
"""For each token of a row, the place in the merged row that it is part of."""

Destinations = Int[Tensor, "row destination"]
"""The tokens of a row into which others may be merged."""


@torch.no_grad()
def slots_of(tokens: Tokens, destinations: Destinations, merged: int) -> Slots:
    """Bipartite matching: the tokens that are most like a destination are merged into the one that they are most like.

    Alike is measured by the cosine. Tokens that stay keep their order.

    Args:
        tokens: Of several rows, each matched by itself.
        destinations: As many in each row, none twice.
        merged: How many of the other tokens of a row are merged.
    """
    unit = F.normalize(tokens.float(), dim=2)
    targets = unit.gather(1, destinations[..., None].expand(-1, -1, unit.shape[2]))
    likeness, nearest = (unit @ targets.transpose(1, 2)).max(dim=2)
    likeness = likeness.scatter(1, destinations, -torch.inf)
    gone = torch.zeros_like(likeness, dtype=torch.bool).scatter(1, likeness.topk(merged, dim=1).indices, True)
    slots = (~gone).cumsum(dim=1) - 1
    return torch.where(gone, slots.gather(1, destinations).gather(1, nearest), slots)


def merge(tokens: Tokens, slots: Slots, left: int) -> Float[Tensor, "row left width"]:
    """The mean of the tokens of each slot, for so many slots."""
    wide = slots[..., None].expand_as(tokens)
    sums = tokens.new_zeros((len(tokens), left, tokens.shape[2])).scatter_add(1, wide, tokens)
    counts = tokens.new_zeros((len(tokens), left)).scatter_add(1, slots, tokens.new_ones(slots.shape))
    return sums / counts[..., None]


def unmerge(merged: Float[Tensor, "row left width"], slots: Slots) -> Tokens:
    """Each token's slot's token."""
    return merged.gather(1, slots[..., None].expand(-1, -1, merged.shape[2]))


def merged_layer(layer: Layer, tokens: Tokens, destinations: Destinations, merged: int) -> Tokens:
    """A transformer layer over the merged row; what it adds there is added to every token that went into it.

    Args:
        layer: Of the merged row.
        tokens: See `slots_of`, as for the others.
        destinations: See `slots_of`.
        merged: See `slots_of`.
    """
    slots = slots_of(tokens, destinations, merged)
    fewer = merge(tokens, slots, tokens.shape[1] - merged)
    added = layer(fewer, None) - fewer
    return tokens + unmerge(added, slots).to(tokens.dtype)
