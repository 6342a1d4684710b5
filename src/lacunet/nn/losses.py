"""Loss terms that two methods or more use."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lacunet.task import Task

Weights = Float[Tensor, "region"]
"""How much each region of the task counts."""


_EMPTY = 0.02
"""Share of the voxels of a crop at which the loss of an empty region is one half."""


def dice_losses(
    logits: Float[Tensor, "batch region x y z"],
    regions: Float[Tensor, "batch region x y z"],
    smooth: float = 1.0,
    *,
    weights: Weights | None = None,
    together: bool = False,
) -> Float[Tensor, "batch"]:
    """One minus the soft Dice, averaged over the regions of each case.

    The Dice of an empty region is 0 whatever is predicted, so its gradient vanishes. For such a region the loss is
    P / (P + 2 % of the voxels), P being the sum of the probabilities: 0 where nothing is predicted, and steep for the
    small false islands that matter.

    Args:
        logits: Region logits; a sigmoid is applied here.
        regions: 0/1 masks.
        smooth: Voxels added above and below the fraction.
        weights: Of the regions in the average; equal if not given.
        together: One Dice of all voxels of the batch, the same for each case: a case without a region then has a small
            part in it, and not a Dice of its own.
    """
    probability = torch.sigmoid(logits.float())
    overlap = (probability * regions).sum((2, 3, 4))
    predicted, wanted = probability.sum((2, 3, 4)), regions.sum((2, 3, 4))
    if together:
        overlap, predicted, wanted = (
            sums.mean(dim=0, keepdim=True).expand_as(sums) for sums in (overlap, predicted, wanted)
        )
        smooth = smooth / len(logits)
    dice = (2.0 * overlap + smooth) / (predicted + wanted + smooth)
    empty = predicted / (predicted + _EMPTY * regions[0, 0].numel())
    return _over_regions(torch.where(wanted > 0, 1.0 - dice, empty), weights)


def dice_loss(
    logits: Float[Tensor, "batch region x y z"], regions: Float[Tensor, "batch region x y z"]
) -> Float[Tensor, ""]:
    """`dice_losses`, averaged over the cases, so that a large tumour does not outweigh a small one."""
    return dice_losses(logits, regions).mean()


def cross_entropy_losses(
    logits: Float[Tensor, "batch region x y z"],
    regions: Float[Tensor, "batch region x y z"],
    *,
    weights: Weights | None = None,
) -> Float[Tensor, "batch"]:
    """Binary cross-entropy, averaged over the voxels and regions of each case; the regions may have weights."""
    each = F.binary_cross_entropy_with_logits(logits.float(), regions, reduction="none")
    return each.mean((1, 2, 3, 4)) if weights is None else _over_regions(each.mean((2, 3, 4)), weights)


def cross_entropy_loss(
    logits: Float[Tensor, "batch region x y z"], regions: Float[Tensor, "batch region x y z"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of every voxel and region, averaged over both."""
    return F.binary_cross_entropy_with_logits(logits.float(), regions)


def segmentation_losses(
    logits: Float[Tensor, "batch region x y z"],
    regions: Float[Tensor, "batch region x y z"],
    *,
    weights: Weights | None = None,
    together: bool = False,
) -> Float[Tensor, "batch"]:
    """Dice plus binary cross-entropy with equal weights, the usual sum of the field, for each case.

    Args:
        logits: See `dice_losses`, as for the others.
        regions: See `dice_losses`.
        weights: Of the regions, in both.
        together: One Dice for the batch.
    """
    dice = dice_losses(logits, regions, weights=weights, together=together)
    return dice + cross_entropy_losses(logits, regions, weights=weights)


def segmentation_loss(
    logits: Float[Tensor, "batch region x y z"], regions: Float[Tensor, "batch region x y z"]
) -> Float[Tensor, ""]:
    """`segmentation_losses`, averaged over the cases."""
    return dice_loss(logits, regions) + cross_entropy_loss(logits, regions)


def deeply(
    loss: Callable[[Tensor, Tensor], Tensor],
    logits: Sequence[Float[Tensor, "batch region _ _ _"]],
    regions: Float[Tensor, "batch region x y z"],
) -> Float[Tensor, "*cases"]:
    """A loss at several resolutions, each with half the weight of the one before; the weights sum to 1.

    Args:
        loss: Of logits and regions: one number, or one for each case.
        logits: Finest first, at the resolution of the regions or a whole number of times coarser.
        regions: The reference at the finest; a coarse voxel's is the share of it that the region fills.
    """
    weights = [0.5**level for level in range(len(logits))]
    sides = [regions.shape[2] // own.shape[2] for own in logits]
    coarse = [regions if side == 1 else F.avg_pool3d(regions, side) for side in sides]
    losses = [loss(own, reference) for own, reference in zip(logits, coarse, strict=True)]
    weighted = [weight * one for weight, one in zip(weights, losses, strict=True)]
    return torch.stack(weighted).sum(dim=0) / sum(weights)


def level_terms(
    logits: Sequence[Float[Tensor, "batch region _ _ _"]], regions: Float[Tensor, "batch region x y z"]
) -> dict[str, Tensor]:
    """`segmentation`: Dice and cross-entropy of the finest level. `deep`: their mean over the coarser ones.

    Args:
        logits: Finest first, each level half as fine as the one before.
        regions: The reference at the finest; a coarse voxel's is the share of it that the region fills.
    """
    losses = [segmentation_losses(own, F.avg_pool3d(regions, 2**level)).mean() for level, own in enumerate(logits)]
    return {"segmentation": losses[0], "deep": torch.stack(losses[1:]).mean()}


def bernoulli_divergence(
    teacher: Float[Tensor, "batch region x y z"], student: Float[Tensor, "batch region x y z"], temperature: float
) -> Float[Tensor, "batch"]:
    """KL(teacher || student) of the softened probabilities of every voxel and region, times temperature ** 2.

    Xie et al. 2025, eq. 2-3. The factor keeps the gradient's size whatever the temperature (Hinton et al., 2015).
    """
    teacher, student = teacher.float() / temperature, student.float() / temperature
    # with p = sigmoid(t) and log(1 - p) = log p - t: p log(p / q) + (1 - p) log((1 - p) / (1 - q)) is
    divergence = F.logsigmoid(teacher) - F.logsigmoid(student) - torch.sigmoid(-teacher) * (teacher - student)
    return temperature**2 * divergence.mean((1, 2, 3, 4))


def mean_terms(terms: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each loss term, over dictionaries that have the same ones."""
    first = terms[0]
    return {name: torch.stack([each[name] for each in terms]).mean() for name in first}


def checked_weights(weights: Sequence[float] | None, task: Task) -> Weights | None:
    """Weights of a task's regions from an argument of a method.

    Raises:
        ValueError: not one for each region, one below 0, or all 0.
    """
    if weights is None:
        return None
    if len(weights) != len(task.regions) or min(weights) < 0 or not any(weights):
        raise ValueError(f"region_weights = {list(weights)}: one for each of {', '.join(task.regions)}, not below 0")
    return torch.tensor(weights, dtype=torch.float32)


def _over_regions(values: Float[Tensor, "batch region"], weights: Weights | None) -> Float[Tensor, "batch"]:
    return values.mean(dim=1) if weights is None else (values * weights).sum(dim=1) / weights.sum()
