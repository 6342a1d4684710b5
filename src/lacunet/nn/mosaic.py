"""Patterns by which tokens are exchanged between modalities: an offset for each position of a small cell."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Pattern = Literal["fixed", "learned", "blocks", "slabs", "diagonal", "scattered", "none"]
"""Which positions are exchanged; `offsets_of` says what each means."""

Offsets = Int[Tensor, "_ _ _"]
"""By how many modalities each position of a cell is shifted. The cell is repeated over the grid."""

_SCATTERED = 64
"""Positions of the scattered cell, 4 x 4 x 4."""


def offsets_of(pattern: Pattern, modalities: int) -> Offsets:
    """The cell of a pattern, for so many modalities.

    `fixed` is the mosaic, from which `learned` starts. `blocks` is the mosaic with every position two tokens wide along
    each axis. `slabs` shifts whole planes across the first axis, each by one more than the last. `diagonal` shifts by
    the sum of the three coordinates, so that no two neighbours have the same offset. `scattered` has every offset
    equally often, in an order that was drawn once. `none` shifts nothing.
    """
    with torch.device("cpu"):  # offsets are read as numbers, also while a network without memory is made
        if pattern == "blocks":
            return torch.kron(mosaic(modalities), torch.ones((2, 2, 2), dtype=torch.int64))
        if pattern == "slabs":
            return torch.arange(modalities)[:, None, None]
        if pattern == "diagonal":
            return torch.stack(torch.meshgrid(*[torch.arange(modalities)] * 3, indexing="ij")).sum(0) % modalities
        if pattern == "scattered":
            order = torch.randperm(_SCATTERED, generator=torch.Generator().manual_seed(1))
            return (order % modalities).view(4, 4, 4)
        if pattern == "none":
            return torch.zeros((1, 1, 1), dtype=torch.int64)
        return mosaic(modalities)


def mosaic(modalities: int) -> Offsets:
    """By how many modalities each position is shifted, as a cell that is repeated over the grid.

    Every second position stays; the others take every offset in turn (half way round for those left over), in the
    smallest cell that has room for all: 2 x 2 x 2 up to five modalities.
    """
    side = 2
    while side**3 // 2 < modalities - 1:
        side += 2
    with torch.device("cpu"):
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
