"""Where in a crop a lesion is put."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lacunet.training.dilation import dilated
from lacunet.training.transplant.lesion import Lesion

TRIES = 30
ALLOWED = 0.02  # share of a lesion that may lie outside the brain in addition to what did at home
LEAST = 0.6  # share of a lesion that must lie inside the crop
GAP = 2  # voxels between a lesion and a tumour

Windows = tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]]


def find_place(
    lesion: Lesion, brain: Bool[Tensor, "x y z"], tumour: Bool[Tensor, "x y z"], generator: np.random.Generator
) -> Windows | None:
    """The first of some random places where the lesion is plausible, or None.

    Plausible: no more of it outside the brain than at home, away from any tumour, and most of it inside the crop.

    Returns:
        The same voxels as indices of the crop and as indices of the lesion's box.
    """
    pasted = lesion.labels > 0
    around = dilated(tumour, GAP)
    free, number = brain & ~around, int(pasted.sum())
    for middle in generator.integers(0, brain.shape, (TRIES, 3)).tolist():
        if not free[tuple(middle)]:
            continue
        in_crop, in_box = windows_about(middle, brain.shape, pasted.shape)
        part = pasted[in_box]
        seen = int(part.sum())
        outside = seen - int((part & brain[in_crop]).sum())
        if (
            seen >= LEAST * number
            and outside <= (1 - lesion.inside + ALLOWED) * seen
            and not (part & around[in_crop]).any()
        ):
            return in_crop, in_box
    return None


def windows_about(middle: list[int], crop: torch.Size, box: torch.Size) -> Windows:
    """The voxels that a crop shares with a box whose middle lies on one of the crop's voxels."""
    starts = [at - n // 2 for at, n in zip(middle, box, strict=True)]
    ends = [start + n for start, n in zip(starts, box, strict=True)]
    x, y, z = (slice(max(0, a), min(b, n)) for a, b, n in zip(starts, ends, crop, strict=True))
    u, v, w = (slice(side.start - a, side.stop - a) for side, a in zip((x, y, z), starts, strict=True))
    return (x, y, z), (u, v, w)
