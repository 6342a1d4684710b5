"""Convolution blocks."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_SLAB = 2**20
"""Numbers that are normalised at once: 4 MiB."""


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` that is fast in training, and in use gives the same numbers with any number of threads.

    Weights and names are the same, and so are the numbers, up to rounding.

    Training: with one or two channels a group, PyTorch 2.13's backward pass on a CPU takes several times longer in
    channels-last order than in contiguous order, even with the time for copying (`benchmarks/norm.py`).

    Use: in channels-last order on a CPU, PyTorch's forward pass cuts the voxels into one part per thread and adds up
    each in float32. Its sums then depend on the number of threads, and in the end so does the mask.
    """

    def forward(self, features: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch channel x y z"]:
        """Normalised within each group of channels of each case."""
        if features.device.type != "cpu":
            return self._as_given(features)
        if not features.requires_grad:
            return self._by_slabs(features)
        if self.num_channels > 2 * self.num_groups:
            return super().forward(features)
        normalised = super().forward(features.contiguous())
        return normalised.contiguous(memory_format=torch.channels_last_3d)

    def _as_given(self, features: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch channel x y z"]:
        """In the precision of the features, with moments in float32: autocast would read and write twice as much."""
        with torch.autocast(features.device.type, enabled=False):
            weight, bias = self.weight.to(features.dtype), self.bias.to(features.dtype)
            return F.group_norm(features, self.num_groups, weight, bias, self.eps)

    def _by_slabs(self, features: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch channel x y z"]:
        """Moments of each slab and channel in float32, joined in float64. A slab fits into the processor's cache."""
        plane = features[:, :, 0].numel()
        slabs = torch.split(features, max(1, _SLAB // max(plane, 1)), dim=2)
        found = [_moments(slab.float()) for slab in slabs]
        shares = torch.tensor([slab.shape[2] / features.shape[2] for slab in slabs], dtype=torch.float64)
        grouped = (len(features), self.num_groups, self.num_channels // self.num_groups, len(slabs))
        means, variances = (torch.stack(each, dim=2).double().view(grouped) for each in zip(*found, strict=True))
        mean = (means * shares).sum(3).mean(2)
        variance = ((variances + (means - mean[:, :, None, None]).square()) * shares).sum(3).mean(2)
        scale = self._per_channel((variance + self.eps).rsqrt()) * self.weight.double()
        shift = self.bias.double() - self._per_channel(mean) * scale
        scale, shift = (one.float()[:, :, None, None, None] for one in (scale, shift))
        normalised = torch.empty_like(features)
        for slab, result in zip(slabs, torch.split(normalised, slabs[0].shape[2], dim=2), strict=True):
            result.copy_(torch.addcmul(shift, slab.float(), scale))
        return normalised

    def _per_channel(self, values: Float[Tensor, "batch group"]) -> Float[Tensor, "batch channel"]:
        return values.repeat_interleave(self.num_channels // self.num_groups, dim=1)


def _moments(slab: Float[Tensor, "batch channel x y z"]) -> tuple[Tensor, Tensor]:
    """Mean and variance of each case and channel. PyTorch never shares one of these sums among threads."""
    mean = slab.mean((2, 3, 4), keepdim=True)
    return mean[:, :, 0, 0, 0], (slab - mean).square_().mean((2, 3, 4))


class PointConv(nn.Conv3d):
    """A 1x1x1 convolution that gives the same numbers on one thread as on several, in the same memory order.

    Weights and names are those of `torch.nn.Conv3d`.
    """

    def __init__(self, channels_in: int, channels_out: int, *, bias: bool = True) -> None:
        super().__init__(channels_in, channels_out, 1, bias=bias)

    def forward(self, features: Float[Tensor, "batch _ x y z"]) -> Float[Tensor, "batch _ x y z"]:
        """Each voxel by itself."""
        return point_convolution(features, self.weight, self.bias)


def point_convolution(
    features: Float[Tensor, "batch _ x y z"], weight: Float[Tensor, "channel _ 1 1 1"], bias: Tensor | None
) -> Float[Tensor, "batch _ x y z"]:
    """A 1x1x1 convolution, by the same program on one thread as on several.

    In float32 and on one thread of a CPU, PyTorch 2.13 leaves oneDNN for a program that adds up in another order and is
    slower, but not for a dilated convolution. A kernel of one voxel is the same with any dilation.
    """
    return F.conv3d(features, weight, bias, dilation=2 if features.device.type == "cpu" else 1)


def norm_and_relu(channels: int) -> list[nn.Module]:
    """Group norm and a leaky ReLU, to follow a convolution."""
    return [GroupNorm(min(8, channels), channels), nn.LeakyReLU(0.01)]


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
