"""What networks are given: images with what was acquired and what may be seen. The shape names used everywhere."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Images = Float[Tensor, "batch modality x y z"]
Presence = Bool[Tensor, "batch modality"]
Logits = Float[Tensor, "batch region x y z"]
LevelLogits = Float[Tensor, "batch region _ _ _"]
"""At any resolution."""


@dataclass
class Batch:
    """Crops of some cases, ready for a loss. (Not frozen: Fabric copies what passes a wrapped module's forward.)

    Attributes:
        images: Normalised intensities; the voxels of a modality that was not acquired mean nothing.
        acquired: Whether there is a scan. A modality that was not acquired supervises nothing.
        presence: Whether the network may see it at this step. Never true where `acquired` is false.
        regions: The reference, one 0/1 mask per region of the task.
        names: The cases' names, for messages.
    """

    images: Images
    acquired: Presence
    presence: Presence
    regions: Float[Tensor, "batch region x y z"]
    names: tuple[str, ...]

    def pin_memory(self) -> "Batch":
        """The same batch in memory that a device copies from while the processor goes on."""
        return Batch(
            images=self.images.pin_memory(),
            acquired=self.acquired.pin_memory(),
            presence=self.presence.pin_memory(),
            regions=self.regions.pin_memory(),
            names=self.names,
        )

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(
            images=self.images.to(device, non_blocking=True),
            acquired=self.acquired.to(device, non_blocking=True),
            presence=self.presence.to(device, non_blocking=True),
            regions=self.regions.to(device, non_blocking=True),
            names=self.names,
        )


def shown_subsets(batch: Batch, count: int) -> list[Presence]:
    """The subset that a batch shows and, of each case, others of what was acquired, each equally likely.

    Args:
        batch: Its `presence` is the first.
        count: How many in all. The others may repeat it.
    """
    return [batch.presence, *(_drawn(batch.acquired) for _ in range(count - 1))]


def _drawn(acquired: Presence) -> Presence:
    """A non-empty subset of each case, from torch's own random numbers."""
    subsets = torch.zeros_like(acquired, device="cpu")
    for subset, there in zip(subsets, acquired.cpu(), strict=True):
        members = there.nonzero()[:, 0]
        number = torch.randint(1, 2 ** len(members), ())
        subset[members] = (number >> torch.arange(len(members))) % 2 == 1
    return subsets.to(acquired.device)


def hide(images: Images, presence: Presence) -> Images:
    """Zero every modality that is not present, whatever its voxels hold (0 * NaN would be NaN)."""
    return torch.where(
        presence[:, :, None, None, None], images, torch.zeros((), dtype=images.dtype, device=images.device)
    )
