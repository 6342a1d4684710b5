"""How well the mask from each sequence alone fits the mask from all the others. No torch here.

A bad scan (motion, shading, another sequence's name, another place) gives a mask of its own, and without it the others
agree: it fits the mask from the others worse than each of them alone does. Some sequences fit worse than others in good
scans too, so each has a limit of its own (`lacunet.segmentation.bad_scan`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from jaxtyping import Bool

from lacunet.evaluation.agreement import parts_of
from lacunet.evaluation.metrics import dice
from lacunet.task import Subset

FEWEST = 3
"""Of two sequences that disagree, none is known to be the bad one."""


@dataclass(frozen=True)
class Fit:
    """How well one sequence fits the others.

    Attributes:
        alone: Dice of the mask from it alone with the mask from all the others together.
        others: The same of the others: mean Dice of the masks from each of them alone with that mask.
    """

    alone: float
    others: float

    @property
    def score(self) -> float:
        """From -1 to 1; below 0 where it fits worse than the others do."""
        return self.alone - self.others


def subsets_for_fits(subset: Subset) -> list[Subset]:
    """The parts whose masks are compared: each modality alone, and each left out; none of fewer than three."""
    return [] if len(subset) < FEWEST else [*((modality,) for modality in subset), *parts_of(subset)]


def fits_of(subset: Subset, masks: Mapping[Subset, Bool[np.ndarray, "x y z"]]) -> dict[str, Fit]:
    """The fit of each modality; empty for fewer than three.

    It is not known of a modality where all the others together find nothing: a Dice with an empty mask is 0 or 1.

    Args:
        subset: The modalities.
        masks: Of one region, from each of `subsets_for_fits` at least, on one grid.
    """
    if len(subset) < FEWEST:
        return {}
    rests = {modality: tuple(other for other in subset if other != modality) for modality in subset}
    return {modality: _fit(modality, rest, masks) for modality, rest in rests.items() if masks[rest].any()}


def _fit(modality: str, others: Subset, masks: Mapping[Subset, Bool[np.ndarray, "x y z"]]) -> Fit:
    rest = masks[others]
    return Fit(alone=dice(masks[(modality,)], rest), others=fmean(dice(masks[(one,)], rest) for one in others))
