"""Which modality is the hardest to replace, and subsets that lose one after the other."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Feature = Float[Tensor, "_ _ _ _ _"]
PerCase = Float[Tensor, "batch"]

Criticality = Callable[[tuple[int, ...]], Mapping[int, float]]
"""A subset to the score of each member; the higher, the less the others can replace it."""


def cosine_criticality(features: Float[Tensor, "modality channel x y z"]) -> Criticality:
    """Minus the mean cosine similarity to the others of the subset (eq. 4), of flattened features of a case (eq. 5)."""
    directions = F.normalize(features.detach().float().flatten(1), dim=1)
    similarities = directions @ directions.T
    table = ((similarities + similarities.T) / 2).tolist()  # exactly symmetric, so that ties are ties

    def score(subset: tuple[int, ...]) -> Mapping[int, float]:
        return {i: -sum(table[i][j] for j in subset if j != i) / max(len(subset) - 1, 1) for i in subset}

    return score


def fixed_criticality(scores: Float[Tensor, "modality"]) -> Criticality:
    """The same scores in every subset."""
    values = scores.tolist()
    return lambda subset: {i: values[i] for i in subset}


def feature_gradient_norms(losses: PerCase, features: Sequence[Feature]) -> Float[Tensor, "batch modality"]:
    """The norm of the gradient of each case's loss by the feature of each modality (eq. 9)."""
    gradients = torch.autograd.grad(
        losses.sum(), features, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.stack([gradient.float().flatten(1).norm(dim=1) for gradient in gradients], dim=1)


def decremental_path(
    members: tuple[int, ...], criticality: Criticality, removes: Callable[..., int] = max
) -> list[tuple[int, ...]]:
    """Subsets from all members to one, each without the most critical member of the one before (eq. 6-7).

    The scores of two members are always equal. As in any tie, their scores in the full set then decide, and if these
    are equal too, the first member is removed.
    """
    whole = criticality(members)
    path = [members]
    while len(path[-1]) > 1:
        now = criticality(path[-1])
        lost = removes(path[-1], key=lambda member: (now[member], whole[member]))
        path.append(tuple(member for member in path[-1] if member != lost))
    return path
