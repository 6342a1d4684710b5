"""Cubes of voxels as channels: the same numbers on a coarser grid."""

import torch
from jaxtyping import Float
from torch import Tensor


def fold(images: Float[Tensor, "batch channel x y z"], side: int) -> Float[Tensor, "batch _ _ _ _"]:
    """To [batch, channel * side ** 3, x / side, y / side, z / side]; the position in the cube varies fastest."""
    if side == 1:
        return images
    batch, channels, *voxels = images.shape
    x, y, z = (size // side for size in voxels)
    cut = images.reshape(batch, channels, x, side, y, side, z, side).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return cut.reshape(batch, channels * side**3, x, y, z).contiguous(memory_format=torch.channels_last_3d)


def unfold(folded: Float[Tensor, "batch channel x y z"], side: int) -> Float[Tensor, "batch _ _ _ _"]:
    """The inverse of `fold`."""
    if side == 1:
        return folded
    batch, channels, x, y, z = folded.shape
    cut = folded.reshape(batch, channels // side**3, side, side, side, x, y, z).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return cut.reshape(batch, channels // side**3, x * side, y * side, z * side)
