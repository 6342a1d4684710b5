"""Convolution blocks."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` whose backward pass is fast on a CPU too.

    Weights and names are the same, and so are the numbers, up to rounding. With one or two channels a group, PyTorch
    2.13's backward pass on a CPU takes several times longer in channels-last order than in contiguous order, even
    with the time for copying (`benchmarks/norm.py`).
    """

    def forward(self, features: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch channel x y z"]:
        """Normalised within each group of channels of each case."""
        narrow = self.num_channels <= 2 * self.num_groups
        if not (narrow and features.requires_grad and features.device.type == "cpu"):
            return super().forward(features)
        normalised = super().forward(features.contiguous())
        return normalised.contiguous(memory_format=torch.channels_last_3d)


class ConvBlock(nn.Module):
    """Two times 3x3x3 convolution, group norm, leaky ReLU; the first convolution may halve the resolution.

    Group norm has affine parameters and works with a batch of one, on maps of one voxel, and the same in training and
    evaluation.
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1, groups: int = 8) -> None:
        super().__init__()
        groups = min(groups, channels_out)
        self.first = nn.Conv3d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.first_norm = GroupNorm(groups, channels_out)
        self.second = nn.Conv3d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = GroupNorm(groups, channels_out)

    def forward(self, features: Float[Tensor, "batch _ _ _ _"]) -> Float[Tensor, "batch _ _ _ _"]:
        """Features at the same resolution, or at half of it."""
        features = F.leaky_relu(self.first_norm(self.first(features)), 0.01)
        return F.leaky_relu(self.second_norm(self.second(features)), 0.01)
