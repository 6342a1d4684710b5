"""Cubes of voxels as channels: the same numbers on a coarser grid."""

from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.conv import point_convolution


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


class FoldedConv(nn.Conv3d):
    """A convolution of voxels, computed on folded images: `fold(convolution(images))` from `fold(images)`.

    Weights and names are those of `torch.nn.Conv3d` at the images' resolution, so each position in a cube is treated
    alike. With few channels a processor is faster at it in this form, although most factors are zero, because it
    multiplies many channels at once.

    Args:
        channels_in: Of a voxel.
        channels_out: Of a voxel.
        kernel: Voxels along each side of the kernel: 1, or 3.
        side: Voxels along each side of a cube.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: Literal[1, 3], side: int) -> None:
        super().__init__(channels_in, channels_out, kernel, padding=kernel // 2)
        self.side = side

    def forward(self, folded: Float[Tensor, "batch _ x y z"]) -> Float[Tensor, "batch _ x y z"]:
        """The folded result; voxels outside the image are zero."""
        weight = folded_kernel(self.weight, self.side)
        bias = None if self.bias is None else self.bias.repeat_interleave(self.side**3)
        if self.kernel_size == (1, 1, 1):
            return point_convolution(folded, weight, bias)
        return F.conv3d(folded, weight, bias, padding=1)


class FoldedSmoothing(nn.Module):
    """Voxels averaged with their neighbours, by (1, 2, 1) / 4 along each axis, computed on folded images.

    Logits of cubes jump at the cubes' faces, and so outlines lie there. Averaged, they rise over three voxels, and
    where they pass zero depends on how large they are on both sides. Outside the image is zero, which changes no sign.

    Args:
        channels: Of a voxel; each is averaged by itself.
        side: Voxels along each side of a cube.
    """

    kernel: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        one = line[:, None, None] * line[:, None] * line
        each = torch.eye(channels)[:, :, None, None, None] * one
        self.register_buffer("kernel", folded_kernel(each, side), persistent=False)

    def forward(self, folded: Float[Tensor, "batch _ x y z"]) -> Float[Tensor, "batch _ x y z"]:
        """Folded, as before."""
        return F.conv3d(folded, self.kernel.to(folded.dtype), padding=1)


def folded_kernel(kernel: Float[Tensor, "out in k k k"], side: int) -> Float[Tensor, "_ _ k k k"]:
    """The kernel that does to folded images what this one, of one or three voxels a side, does to images."""
    if side == 1:
        return kernel
    taps = kernel.shape[-1]
    place = kernel.new_zeros((side, taps, taps, side))  # to a position, through a tap, from a cube, from a position
    for position, tap in product(range(side), range(taps)):
        cube, origin = divmod(position + tap - taps // 2, side)
        place[position, tap, cube + taps // 2, origin] = 1
    spread = torch.einsum("oiabc,saxu,tbyv,rczw->ostriuvwxyz", kernel, place, place, place)
    folded = spread.reshape(kernel.shape[0] * side**3, kernel.shape[1] * side**3, taps, taps, taps)
    return folded.contiguous(memory_format=torch.channels_last_3d)
