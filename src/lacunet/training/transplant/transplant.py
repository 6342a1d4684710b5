"""A transplant: a donor is chosen, its lesion cut out, a place found, intensities matched, images and labels mixed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lacunet.data.prepare import Preparation
from lacunet.training.augmentation.statistics import mean_and_deviation, with_statistics
from lacunet.training.prepared import PreparedCase
from lacunet.training.transplant.graft import Graft
from lacunet.training.transplant.lesion import Lesion, around, cut_lesion
from lacunet.training.transplant.mix import matched, mixed
from lacunet.training.transplant.place import Windows, find_place
from lacunet.training.transplant.settings import Transplant


@dataclass(frozen=True)
class Donors:
    """Whose lesions are transplanted, and how.

    Attributes:
        settings: The recipe's.
        cases: Prepared cases with tumours; training cases and cases of a folder of lesions, never others.
        preparation: Theirs, and the crops'.
    """

    settings: Transplant
    cases: Sequence[PreparedCase]
    preparation: Preparation

    def able(self, acquired: Sequence[bool]) -> list[PreparedCase]:
        """The cases that have a tumour and every modality that a crop has."""
        return [
            case
            for case in self.cases
            if any(case.counts.values())
            and all(has for has, needed in zip(case.acquired, acquired, strict=True) if needed)
        ]


def with_lesion(
    images: Float[Tensor, "modality x y z"],
    labels: UInt8[Tensor, "x y z"],
    acquired: Sequence[bool],
    donors: Donors,
    graft: Graft,
) -> tuple[Float[Tensor, "modality x y z"], UInt8[Tensor, "x y z"], str | None]:
    """A crop with a lesion of another case, and the name of that case; the crop itself and None where there is none.

    There is none if the draw is against it, no donor has all modalities of the crop, or no place is plausible.
    """
    settings, tumour = donors.settings, labels > 0
    able = donors.able(acquired)
    if graft.luck >= (settings.beside if tumour.any() else settings.chance) or not able:
        return images, labels, None
    donor, spacing = able[int(graft.donor * len(able))], donors.preparation.spacing
    x, y, z = labels.shape
    lesion = cut_lesion(donor, graft, (x, y, z), edge=settings.edge, spacing=spacing)
    if lesion is None:
        return images, labels, None
    brain = (images != 0).any(0)
    windows = find_place(lesion, brain, tumour, np.random.default_rng(graft.seed))
    if windows is None:
        return images, labels, None
    return *_placed(images, labels, lesion, windows, donors.preparation), donor.name


def _placed(
    images: Tensor, labels: Tensor, lesion: Lesion, windows: Windows, preparation: Preparation
) -> tuple[Tensor, Tensor]:
    in_crop, in_box = windows
    brain = (images[:, *in_crop] != 0).any(0)
    pasted = (lesion.labels[in_box] > 0) & brain
    shell = around(pasted, preparation.spacing) & ~pasted & (labels[in_crop] == 0)
    changed, weight = images.clone(), lesion.weight[in_box]
    for index, image in enumerate(images):
        there, donor = image[in_crop], lesion.images[index]
        fitted = matched(donor[in_box], lesion.shell[in_box], there, shell, preparation.clip)
        changed[index][in_crop] = mixed(there, fitted, weight * (donor[in_box] != 0))
        if there.any():
            changed[index] = with_statistics(changed[index], image != 0, *mean_and_deviation(image, image != 0))
    marked = labels.clone()
    marked[in_crop] = torch.where(pasted, lesion.labels[in_box], labels[in_crop])
    return changed, marked
