"""The encoder of UNETR, for boxes of any size."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.attention import Layer
from lacunet.nn.conv import ConvBlock
from lacunet.nn.limits import require_between

_PATCH = 16
"""Voxels of a token along each axis."""

_GRID = 8
"""Tokens along each axis that positions are learned for: a box of 128 voxels."""

_LAYERS, _HEADS = 12, 12

_TAKEN = (4, 7, 10)
"""After how many layers features are taken for the levels 2, 3 and 4: as MONAI's UNETR, by its authors."""


class UnetrEncoder(nn.Module):
    """A vision transformer on tokens 16 voxels wide; what its layers hold is enlarged for the finer levels.

    Hatamizadeh et al., UNETR, 2022. The transformer is theirs: 12 layers, 12 heads, 48 times the finest level's
    channels (768 at a width of 16). Its positions are learned for 8 x 8 x 8 tokens and interpolated to any other box.
    Enlarging is by transposed convolutions as theirs, with this package's convolution blocks.

    Args:
        width: Channels of the finest level; twice as many at each below, 48 times as many at the coarsest.
        levels: Must be five: the fifth is the transformer's.
        channels: Of the images.

    Raises:
        ValueError: another number of levels, or a width outside 1 to 32.
    """

    def __init__(self, width: int, levels: int, channels: int = 1) -> None:
        super().__init__()
        if levels != 5:
            raise ValueError(f"backbone = unetr: 5 levels are needed, not {levels}")
        require_between("width", width, 1, 32)
        hidden = 48 * width
        self.widths = [width, 2 * width, 4 * width, 8 * width, hidden]
        self.stem = ConvBlock(channels, width)
        self.patches = nn.Conv3d(channels, hidden, _PATCH, _PATCH)
        self.positions = nn.Parameter(0.02 * torch.randn(1, hidden, _GRID, _GRID, _GRID))
        self.layers = nn.ModuleList(Layer(hidden, _HEADS, ratio=4) for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(hidden)
        self.enlarge = nn.ModuleList(_enlarge(hidden, self.widths[level], 4 - level) for level in (1, 2, 3))

    def forward(self, images: Float[Tensor, "row _ x y z"]) -> list[Tensor]:
        """The features of every level, finest first."""
        held, grid = self.transformer(images)
        maps = [torch.unflatten(tokens.transpose(1, 2), 2, grid) for tokens in held]
        finer = [enlarge(features) for enlarge, features in zip(self.enlarge, maps[:-1], strict=True)]
        return [self.stem(images), *finer, maps[-1]]

    def transformer(
        self, images: Float[Tensor, "row _ x y z"]
    ) -> tuple[list[Float[Tensor, "row token hidden"]], list[int]]:
        """The tokens that are taken on the way and the normalised last ones; the grid they lie on."""
        maps = self.patches(images)
        grid = list(maps.shape[2:])
        positions: Tensor = self.positions
        if grid != [_GRID] * 3:
            positions = F.interpolate(positions, size=grid, mode="trilinear")
        tokens = (maps + positions).flatten(2).transpose(1, 2)
        held = []
        for number, layer in enumerate(self.layers, start=1):
            tokens = layer(tokens, None)
            if number in _TAKEN:
                held.append(tokens)
        return [*held, self.norm(tokens)], grid


def _enlarge(hidden: int, channels: int, times: int) -> nn.Sequential:
    """So many doublings of the resolution; a convolution block after each but the first."""
    steps: list[nn.Module] = [nn.ConvTranspose3d(hidden, channels, 2, 2, bias=False)]
    for _ in range(times - 1):
        steps += [nn.ConvTranspose3d(channels, channels, 2, 2, bias=False), ConvBlock(channels, channels)]
    return nn.Sequential(*steps)
