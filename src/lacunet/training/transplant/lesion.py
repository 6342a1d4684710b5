"""A lesion as it is transplanted: moved, with a soft edge, and with the healthy shell around it."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from torch import Tensor

from lacunet.case import box_around
from lacunet.training.augmentation.space import cut_out
from lacunet.training.dilation import dilated
from lacunet.training.prepared import PreparedCase
from lacunet.training.transplant.graft import Graft

CHOSEN = 128  # added to the labels of the chosen lesion, so that one interpolation moves both
SHELL = 6.0  # mm
ROUNDED = 4  # power of the superellipsoid that rounds off a lesion which an array's faces cut


@dataclass(frozen=True)
class Lesion:
    """A lesion in a box of a crop's voxels.

    Attributes:
        images: The donor's, moved.
        labels: Of this lesion alone; zero elsewhere.
        weight: Share of the donor in the mixture: 1 in the lesion, falling to 0 around it.
        shell: Healthy brain of the donor around the lesion.
        inside: Share of the lesion that lies in the donor's brain.
    """

    images: Float[Tensor, "modality x y z"]
    labels: UInt8[Tensor, "x y z"]
    weight: Float[Tensor, "x y z"]
    shell: Bool[Tensor, "x y z"]
    inside: float


def cut_lesion(
    donor: PreparedCase, graft: Graft, crop: tuple[int, int, int], *, edge: float, spacing: float
) -> Lesion | None:
    """One lesion of a donor, changed as drawn; None if nothing of it is left.

    Where the donor's array ends in the lesion, as a small cube about a tumour does, the lesion is rounded off.

    Args:
        donor: A prepared case with a tumour.
        graft: The draws.
        crop: Voxels of the crop that it is for; its box is not larger.
        edge: Width of the soft rim, mm.
        spacing: Millimetres between voxels.
    """
    labels = np.array(donor.labels)
    chosen, box = _piece(labels, graft.lesion)
    centre = np.array([(side.start + side.stop - 1) / 2 for side in box])
    half = np.array([(side.stop - side.start) / 2 for side in box])
    reach = np.abs(np.linalg.inv(graft.matrix)) @ half + (SHELL + edge) / spacing
    x, y, z = (int(min(n, 2 * np.ceil(r))) for n, r in zip(crop, reach, strict=True))
    size = (x, y, z)
    marked = labels + CHOSEN * chosen.astype(np.uint8)
    images, moved = cut_out(donor.images, marked, centre, graft.matrix, size, bend=graft.bend)
    lesion, tumour, brain = moved >= CHOSEN, moved % CHOSEN > 0, (images != 0).any(0)
    known = torch.ones(size)
    if _reaches_a_face(box, labels.shape):
        known = _rounded(labels.shape, centre, graft.matrix, size, edge / spacing)
    weight = torch.where(lesion, 1.0, (2 * _blurred(lesion, edge / spacing)).clamp_max(1.0)) * known
    pasted = lesion & (weight >= 0.5)
    if not pasted.any():
        return None
    return Lesion(
        images=images,
        labels=moved % CHOSEN * pasted,
        weight=weight * brain,
        shell=around(pasted, spacing) & brain & ~tumour,
        inside=float((pasted & brain).sum() / pasted.sum()),
    )


def around(region: Bool[Tensor, "x y z"], spacing: float) -> Bool[Tensor, "x y z"]:
    """A region and the shell around it in which intensities are compared."""
    return dilated(region, max(1, round(SHELL / spacing)))


def _piece(labels: np.ndarray, which: float) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """One connected lesion and the box around it; the chance of each is its share of the tumour's voxels."""
    tumour = labels > 0
    whole = box_around(tumour)
    pieces, count = ndimage.label(tumour[whole])
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    number = 1 + int(np.searchsorted(np.cumsum(sizes), which * sizes.sum(), side="right"))
    chosen = np.zeros_like(tumour)
    chosen[whole] = pieces == number
    return chosen, box_around(chosen)


def _reaches_a_face(box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> bool:
    return any(side.start == 0 or side.stop == n for side, n in zip(box, shape, strict=True))


def _rounded(
    shape: tuple[int, ...], centre: np.ndarray, matrix: np.ndarray, size: tuple[int, int, int], edge: float
) -> Float[Tensor, "x y z"]:
    """1 in the rounded middle of the donor's array, falling to 0 at its faces."""
    steps = torch.meshgrid(*[torch.arange(n) - (n - 1) / 2 for n in size], indexing="ij")
    offsets = torch.stack(steps, dim=-1) @ torch.from_numpy(matrix.T).float()
    middle = (np.asarray(shape) - 1) / 2
    place = (offsets + torch.from_numpy(centre - middle).float()) / torch.tensor(shape).mul(0.5)
    radius = place.abs().pow(ROUNDED).sum(-1).pow(1 / ROUNDED)
    return ((1 - radius) * min(shape) / 2 / max(1.0, edge)).clamp(0, 1)


def _blurred(region: Bool[Tensor, "x y z"], width: float) -> Float[Tensor, "x y z"]:
    """A region averaged twice; just outside a flat edge half of it is left, and nothing at about `width`."""
    radius = max(1, round(width / 2))
    blurred = region[None, None].float()
    for _ in range(2):
        blurred = F.avg_pool3d(blurred, 2 * radius + 1, stride=1, padding=radius)
    return blurred[0, 0]
