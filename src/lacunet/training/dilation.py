"""Regions made larger."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor


def dilated(region: Bool[Tensor, "x y z"], reach: int) -> Bool[Tensor, "x y z"]:
    """A region with all voxels that are at most `reach` voxels away along every axis."""
    grown = region[None, None].to(torch.float32)
    for axis in range(3):  # along one axis after the other, which costs less than a cube
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[axis], padding[axis] = 2 * reach + 1, reach
        grown = F.max_pool3d(grown, tuple(kernel), stride=1, padding=tuple(padding))
    return grown[0, 0] > 0
