"""A crop that was stripped badly, is seen in part, and was acquired worse."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lacunet.training.augmentation.change import Change, change_intensities
from lacunet.training.augmentation.field_of_view import missing_voxels
from lacunet.training.augmentation.stripping import stripped_badly


def seen_worse(
    images: Float[Tensor, "modality x y z"],
    labels: UInt8[Tensor, "x y z"],
    acquired: Sequence[bool],
    change: Change,
    centre: np.ndarray,
    shape: tuple[int, int, int],
) -> tuple[Float[Tensor, "modality x y z"], UInt8[Tensor, "x y z"]]:
    """The crop with all that was drawn for it but its place; a modality that was not acquired is zero.

    Where a change takes the last image away, there is nothing to label.

    Args:
        images: The crop's.
        labels: The crop's.
        acquired: One truth value per modality.
        change: The draws.
        centre: The crop's, in voxels of the case.
        shape: Voxels of the case.
    """
    if change.mistake is not None or change.cut is not None:
        seen = (images != 0).any(0)
        if change.mistake is not None:
            images = stripped_badly(images, change.mistake)
        if change.cut is not None:
            x, y, z = labels.shape
            gone = missing_voxels(change.cut, centre, change.matrix, (x, y, z), shape).to(images.device)
            which = slice(None) if change.cut.modality is None else change.cut.modality
            images = images.clone()
            images[which] *= ~gone
        labels = labels * ~(seen & ~(images != 0).any(0))
    return change_intensities(images, change) * torch.tensor(acquired).to(images.device)[:, None, None, None], labels
