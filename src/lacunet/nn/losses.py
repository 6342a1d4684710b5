"""Loss terms that two methods or more use."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_BARE = 0.03
"""Share of a crop's voxels. The first false voxels are then as steep as beside a well-segmented tumour of half as many:
26 ml in a crop of 80 voxels at 1.5 mm."""


def dice_losses(
    logits: Float[Tensor, "batch region x y z"],
    regions: Float[Tensor, "batch region x y z"],
    smooth: float = 1.0,
) -> Float[Tensor, "batch"]:
    """One minus the soft Dice, averaged over the regions of each case.

    Args:
        logits: Region logits; a sigmoid is applied here.
        regions: 0/1 masks.
        smooth: Voxels added above and below: an empty region that is predicted empty then costs nothing. A crop without
            any region gets `_BARE` of its voxels instead. With one voxel it costs 1 as soon as a few are predicted,
            however many: nothing would be learnt from it.
    """
    probability = torch.sigmoid(logits.float())
    overlap = (probability * regions).sum((2, 3, 4))
    total = probability.sum((2, 3, 4)) + regions.sum((2, 3, 4))
    bare = (regions.sum((1, 2, 3, 4)) == 0)[:, None]
    added = torch.where(bare, _BARE * regions[0, 0].numel(), smooth)
    return (1.0 - (2.0 * overlap + added) / (total + added)).mean(dim=1)


def dice_loss(
    logits: Float[Tensor, "batch region x y z"], regions: Float[Tensor, "batch region x y z"]
) -> Float[Tensor, ""]:
    """`dice_losses`, averaged over the cases, so that a large tumour does not outweigh a small one."""
    return dice_losses(logits, regions).mean()


def cross_entropy_losses(
    logits: Float[Tensor, "batch region x y z"], regions: Float[Tensor, "batch region x y z"]
) -> Float[Tensor, "batch"]:
    """Binary cross-entropy, averaged over the voxels and regions of each case."""
    return F.binary_cross_entropy_with_logits(logits.float(), regions, reduction="none").mean((1, 2, 3, 4))


def cross_entropy_loss(
    logits: Float[Tensor, "batch region x y z"], regions: Float[Tensor, "batch region x y z"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of every voxel and region, averaged over both."""
    return F.binary_cross_entropy_with_logits(logits.float(), regions)


def segmentation_losses(
    logits: Float[Tensor, "batch region x y z"], regions: Float[Tensor, "batch region x y z"]
) -> Float[Tensor, "batch"]:
    """Dice plus binary cross-entropy with equal weights, the usual sum of the field, for each case."""
    return dice_losses(logits, regions) + cross_entropy_losses(logits, regions)


def segmentation_loss(
    logits: Float[Tensor, "batch region x y z"], regions: Float[Tensor, "batch region x y z"]
) -> Float[Tensor, ""]:
    """`segmentation_losses`, averaged over the cases."""
    return dice_loss(logits, regions) + cross_entropy_loss(logits, regions)


def deeply(
    loss: Callable[[Tensor, Tensor], Tensor],
    logits: Sequence[Float[Tensor, "batch region _ _ _"]],
    regions: Float[Tensor, "batch region x y z"],
) -> Float[Tensor, ""]:
    """A loss at several resolutions, each with half the weight of the one before; the weights sum to 1.

    Args:
        loss: Of logits and regions.
        logits: Finest first, each half as wide as the one before.
        regions: The reference at the finest; a coarse voxel's is the share of it that the region fills.
    """
    weights = [0.5**level for level in range(len(logits))]
    losses = [loss(own, F.avg_pool3d(regions, 2**level)) for level, own in enumerate(logits)]
    return torch.stack([weight * one for weight, one in zip(weights, losses, strict=True)]).sum() / sum(weights)
