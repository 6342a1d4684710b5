"""How far the masks from parts of a subset agree with the mask from all of it. No torch here.

Where sequences tell different things, a mask from all of them is seldom right (docs/results.md). Parts are the subsets
with one sequence less: among all parts, these agree best where the mask is right and worst where it is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
from jaxtyping import Bool

from lacunet.evaluation.metrics import dice
from lacunet.task import Subset

Masks = Mapping[str, Bool[np.ndarray, "x y z"]]
"""By region, all on one grid."""


@dataclass(frozen=True)
class PartMask:
    """The mask from a part of the subset.

    Attributes:
        volumes_ml: By region.
        dice: With the mask from all of the subset, by region.
    """

    volumes_ml: Mapping[str, float]
    dice: Mapping[str, float]


@dataclass(frozen=True)
class Agreement:
    """The masks from all parts, by the part's name."""

    parts: Mapping[str, PartMask]

    def dice(self, region: str) -> float:
        """Mean over the parts, 0 to 1."""
        return fmean(part.dice[region] for part in self.parts.values())

    def extremes(self, region: str) -> tuple[str, str]:
        """The parts with the smallest and the largest volume."""
        names = sorted(self.parts, key=lambda name: self.parts[name].volumes_ml[region])
        return names[0], names[-1]


def parts_of(subset: Subset) -> list[Subset]:
    """A subset with each of its modalities left out in turn; none of a single modality."""
    return [] if len(subset) < 2 else list(combinations(subset, len(subset) - 1))


def agreement_of(whole: Masks, parts: Mapping[str, Masks], voxel_ml: float) -> Agreement:
    """Compare the masks from parts with the mask from all of a subset.

    Args:
        whole: From all of it.
        parts: From each part, by the part's name.
        voxel_ml: Volume of a voxel of their grid, in ml.
    """
    return Agreement(
        {
            name: PartMask(
                volumes_ml={region: float(np.count_nonzero(mask)) * voxel_ml for region, mask in masks.items()},
                dice={region: dice(mask, whole[region]) for region, mask in masks.items()},
            )
            for name, masks in parts.items()
        }
    )
