"""What a model says of a case from a subset and from parts of it, all from one encoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from lacunet.case import Case
from lacunet.evaluation.agreement import Masks, parts_of
from lacunet.evaluation.fit import Fit, fits_of, subsets_for_fits
from lacunet.evaluation.masks import masks_of
from lacunet.prediction.postprocess import Rule
from lacunet.prediction.predictor import Prediction, Predictor
from lacunet.task import Subset


@dataclass(frozen=True)
class Asked:
    """What a model says.

    Attributes:
        answers: From the subset, and from those parts that may be used instead of it.
        masks: By subset, then by region, on the network's grid.
    """

    answers: Mapping[Subset, Prediction]
    masks: Mapping[Subset, Masks]

    def fits(self, subset: Subset) -> dict[str, Fit]:
        """How well each modality of a subset fits the others; empty for fewer than three."""
        region = next(iter(self.masks[subset]))
        return fits_of(subset, {part: masks[region] for part, masks in self.masks.items()})


def ask_in_parts(
    predictor: Predictor, case: Case, subset: Subset, one_may_go: bool, rules: Sequence[Rule] = ()
) -> Asked:
    """Ask for a subset, and for the parts that say how far its modalities agree and whether one is bad.

    Args:
        predictor: The model.
        case: The scans as the model sees them.
        subset: The modalities to use.
        one_may_go: Whether the mask may be taken from a part without one modality; then its parts are asked for too.
        rules: Post-processing of all masks, in order.
    """
    kept = {subset, *(parts_of(subset) if one_may_go else ())}
    answers: dict[Subset, Prediction] = {}
    masks: dict[Subset, Masks] = {}
    for one in predictor.with_parts(case, subset, _parts(subset, one_may_go)):
        masks[one.subset] = masks_of(one, rules, None)
        if one.subset in kept:  # the maps of the others need much memory
            answers[one.subset] = one
    return Asked(answers, masks)


def _parts(subset: Subset, one_may_go: bool) -> list[Subset]:
    """Without one modality each; for three or more each alone; and without two each, where one may go. Each once."""
    two_less = list(combinations(subset, len(subset) - 2)) if one_may_go and len(subset) >= 3 else []
    return list(dict.fromkeys([*parts_of(subset), *subsets_for_fits(subset), *two_less]))
