"""Attention within windows of a grid, which lie half a window further in every other layer (Liu et al., Swin, 2021)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.attention import Layer

Maps = Float[Tensor, "row channel x y z"]


class WindowLayer(nn.Module):
    """A transformer layer in which the places of a window attend to each other; places outside of the grid are no keys.

    Windows that are shifted start before the grid, so nothing attends across the grid's borders. Where a place is, a
    depthwise convolution says.

    Args:
        width: Channels.
        heads: Of the attention.
        side: Places along each side of a window.
        shifted: Whether windows start half a side before the grid, along each axis that is longer than a window.
        ratio: How many times wider the perceptron is inside.
    """

    def __init__(self, width: int, heads: int, side: int, shifted: bool, ratio: int = 4) -> None:
        super().__init__()
        self.side, self.shifted = side, shifted
        self.position = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.layer = Layer(width, heads, ratio)

    def forward(self, maps: Maps) -> Maps:
        """The maps, each place with what it received from its window."""
        grid = list(maps.shape[2:])
        starts = [self.side // 2 if self.shifted and length > self.side else 0 for length in grid]
        maps = maps + self.position(maps)
        tokens = cut(maps, self.side, starts)
        inside = cut(torch.ones_like(maps[:1, :1]), self.side, starts)[:, :, 0] > 0.5
        mixed = self.layer(tokens, inside.repeat(len(maps), 1))
        return together(mixed, self.side, starts, grid)


def cut(maps: Maps, side: int, starts: Sequence[int]) -> Float[Tensor, "window place channel"]:
    """Windows of a map, zero outside of it; all windows of the first row first.

    Args:
        maps: To be cut.
        side: Of a window.
        starts: How many places the first window starts before the map, along each axis.
    """
    padding = [(start, -(start + length) % side) for start, length in zip(starts, maps.shape[2:], strict=True)]
    padded = F.pad(maps, [places for pair in reversed(padding) for places in pair])
    row, channel, *lengths = padded.shape
    x, y, z = (length // side for length in lengths)
    windows = padded.reshape(row, channel, x, side, y, side, z, side).permute(0, 2, 4, 6, 3, 5, 7, 1)
    return windows.reshape(row * x * y * z, side**3, channel)


def together(
    windows: Float[Tensor, "window place channel"], side: int, starts: Sequence[int], grid: Sequence[int]
) -> Maps:
    """The inverse of `cut`."""
    x, y, z = (-(-(start + length) // side) for start, length in zip(starts, grid, strict=True))
    cubes = windows.reshape(len(windows) // (x * y * z), x, y, z, side, side, side, windows.shape[-1])
    shape = (len(cubes), windows.shape[-1], x * side, y * side, z * side)
    maps = cubes.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(shape)
    for axis, (start, length) in enumerate(zip(starts, grid, strict=True), start=2):
        maps = maps.narrow(axis, start, length)
    return maps.contiguous(memory_format=torch.channels_last_3d)
