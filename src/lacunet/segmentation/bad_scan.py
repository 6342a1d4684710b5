"""A scan that does not fit the others: which one it is, and what to do about it.

The limits are what nearly all good scans keep; `scripts/studies/corruption.py` measures them (docs/report.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lacunet.evaluation.fit import Fit
from lacunet.report.page import dice_words
from lacunet.task import Subset, Task

LEAST_FIT: Mapping[str, float] = {"t1n": -0.70, "t1c": -0.65, "t2w": -0.70, "t2f": -0.70}
"""By sequence: the score of its fit below which a scan is taken to be bad."""
LEAST_FIT_ELSE = -0.70
"""The same for other sequences than those that were measured."""


@dataclass(frozen=True)
class BadScan:
    """A scan that does not fit the others.

    Attributes:
        modality: Which it is.
        fit: How it fits.
        least: The score that good scans of this sequence have at least.
    """

    modality: str
    fit: Fit
    least: float


def bad_scan_of(fits: Mapping[str, Fit]) -> BadScan | None:
    """The scan that is farthest below the limit of its sequence; None where none is below.

    Args:
        fits: By modality; empty for fewer than three.
    """
    found = [BadScan(modality, fit, LEAST_FIT.get(modality, LEAST_FIT_ELSE)) for modality, fit in fits.items()]
    below = [one for one in found if one.fit.score < one.least]
    return min(below, key=lambda one: one.fit.score - one.least, default=None)


def without(subset: Subset, bad: BadScan) -> Subset:
    """The other modalities."""
    return tuple(modality for modality in subset if modality != bad.modality)


def recommendation(task: Task, subset: Subset, bad: BadScan) -> str:
    """Which scan does not fit, and what to do, as a sentence."""
    return (
        f"{task.titles[bad.modality]} may be a bad scan (motion, shading, another sequence or another place): "
        f"{_numbers(bad)}; look at it, and if it is bad, segment again without it (--leave-out-bad, or --subset "
        f"{task.subset_name(without(subset, bad))})"
    )


def left_out_words(task: Task, bad: BadScan) -> str:
    """Which scan was left out, and why, as a sentence."""
    return (
        f"{task.titles[bad.modality]} was not used, since it may be a bad scan (--leave-out-bad): {_numbers(bad)}. "
        "Look at it: a tumour that it alone shows is left out too"
    )


def _numbers(bad: BadScan) -> str:
    return (
        f"the mask from it alone has a Dice of {dice_words(bad.fit.alone)} with the mask from the other sequences, "
        f"and the masks from each of those alone {dice_words(bad.fit.others)} on average"
    )
