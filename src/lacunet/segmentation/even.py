"""Shading taken out of scans before a model sees them (N4): only where it is asked for, and always said."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lacunet.case import Case
from lacunet.data.shading import shading
from lacunet.prediction.choices import N4
from lacunet.segmentation.doubts import SHADED
from lacunet.task import Subset, Task


@dataclass(frozen=True)
class Evened:
    """How many times brighter a scan is in one place than in another (`lacunet.data.shading`).

    Attributes:
        before: As it came.
        after: As the model saw it.
    """

    before: float
    after: float


def evened(case: Case, subset: Subset, choice: N4) -> tuple[Case, Mapping[str, Evened]]:
    """The case for the model, and what was done to which scan.

    Args:
        case: The scans as they came.
        subset: Those that the model uses; only they are looked at.
        choice: Which of them N4 corrects: none, those that are more shaded than most scans, or all.
    """
    before = {} if choice == "off" else {modality: shading(case.images[modality], case.grid) for modality in subset}
    chosen = {modality: own for modality, own in before.items() if choice == "on" or own > SHADED}
    if not chosen:
        return case, {}
    from lacunet.intake.build import even_out  # it loads the packages of registration, which takes a while

    images = {modality: even_out(case.images[modality]) for modality in chosen}
    after = {modality: shading(image, case.grid) for modality, image in images.items()}
    changed = replace(case, images={**case.images, **images})
    return changed, {modality: Evened(before[modality], after[modality]) for modality in chosen}


def evened_warnings(task: Task, done: Mapping[str, Evened]) -> list[str]:
    """A sentence for each scan that the model did not see as it came."""
    return [
        f"The model saw {task.titles[modality]} corrected for uneven brightness (N4): {one.before:.2f} times brighter "
        f"in one place than in another before, {one.after:.2f} times after. Pictures show the scan as it came"
        for modality, one in done.items()
    ]
