"""A changed crop of a case: cut out, then stripped badly, seen in part, and acquired again."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lacunet.training.augmentation.change import Change, change_intensities
from lacunet.training.augmentation.field_of_view import missing_voxels
from lacunet.training.augmentation.space import cut_out
from lacunet.training.augmentation.stripping import stripped_badly


def changed_crop(
    images: np.ndarray,
    labels: np.ndarray,
    acquired: Sequence[bool],
    centre: np.ndarray,
    change: Change,
    crop: tuple[int, int, int],
) -> tuple[Float[Tensor, "modality x y z"], UInt8[Tensor, "x y z"]]:
    """A crop about a point with all that was drawn for it; a modality that was not acquired is zero.

    Where a change takes the last image away, there is nothing to label.

    Args:
        images: `modality x y z` of the case.
        labels: `x y z` of the case.
        acquired: One truth value per modality.
        centre: The point of the case, in voxels, that the crop is centred on.
        change: The draws.
        crop: Voxels of the crop.
    """
    made, marked = cut_out(images, labels, centre, change.matrix, crop, bend=change.bend, motions=change.motions)
    if change.mistake is not None or change.cut is not None:
        seen = (made != 0).any(0)
        if change.mistake is not None:
            made = stripped_badly(made, change.mistake)
        if change.cut is not None:
            x, y, z = labels.shape
            gone = missing_voxels(change.cut, centre, change.matrix, crop, (x, y, z))
            which = slice(None) if change.cut.modality is None else change.cut.modality
            made[which] = made[which] * ~gone
        marked = marked * ~(seen & ~(made != 0).any(0))
    return change_intensities(made, change) * torch.tensor(acquired)[:, None, None, None], marked
