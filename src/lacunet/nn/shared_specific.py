"""ShaSpec's two losses: shared features of modalities become alike, and specific ones tell which modality they are of.

Wang et al. 2023, Multi-Modal Learning with Missing Modality via Shared-Specific Feature Modelling, CVPR.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.linear import Linear

Feature = Float[Tensor, "_ _ _ _ _"]
PerCase = Float[Tensor, "batch"]


def neighbours_apart(shared: Sequence[Feature], members: Sequence[tuple[int, ...]]) -> PerCase:
    """How far each case's shared features are from their neighbours', in a ring: mean absolute difference.

    Args:
        shared: A feature per modality.
        members: The modalities of each case. One that stands alone is its own neighbour, at a distance of 0.
    """
    rings = [[shared[index][case].float() for index in own] for case, own in enumerate(members)]
    return torch.stack([_ring(ring) for ring in rings])


def _ring(features: Sequence[Float[Tensor, "channel x y z"]]) -> Float[Tensor, ""]:
    pairs = zip(features, [*features[1:], features[0]], strict=True)
    return torch.stack([(one - other).abs().mean() for one, other in pairs]).mean()


class ModalityClassifier(nn.Module):
    """Which modality a specific feature is of, from its mean over all places."""

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.linear = Linear(channels, modalities)

    def forward(self, specific: Sequence[Feature], members: Sequence[tuple[int, ...]]) -> PerCase:
        """Cross-entropy of each case, the mean over its modalities."""
        pooled = [specific[index][case].mean((1, 2, 3)) for case, own in enumerate(members) for index in own]
        truth = torch.tensor([index for own in members for index in own], device=pooled[0].device)
        losses = F.cross_entropy(self.linear(torch.stack(pooled)).float(), truth, reduction="none")
        return torch.stack([case.mean() for case in torch.split(losses, [*map(len, members)])])
