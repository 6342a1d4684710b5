"""What the integers of a mask mean that somebody else drew or corrected: said, named, known from its case, or asked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Shaped, UInt8

from lacunet.data.labels import choices, known_convention, meaning_of, to_inside, whole_values
from lacunet.errors import LabelError
from lacunet.task import Task

From = Literal["option", "segments", "case", "values"]
"""What decided: the option --labels, the names of the segments, the case's record, or the values themselves."""

_WORDS = {
    "necrotic_core": "necrosis|necrotic|ncr|net|ncr net|(necrotic |non enhancing |nonenhancing |necrotic tumor )core",
    "oedema": "oedema|edema|ed|snfh|peritumoral edema|peritumoural oedema",
    "enhancing": "enhancing|enhancement|enhancing tumou?r|et|active tumou?r",
}
"""What people call the labels of the built-in tasks."""


_MOST_VALUES = 20
"""Different ones of a mask; more are grey values."""


@dataclass(frozen=True)
class Understood:
    """A mask whose integers are understood.

    Attributes:
        labels: Labels inside lacunet.
        convention: The name of the label convention; None where segments were named.
        by: What decided.
        notes: For the user.
    """

    labels: UInt8[np.ndarray, "x y z"]
    convention: str | None
    by: From
    notes: tuple[str, ...] = ()


def understood(
    voxels: Shaped[np.ndarray, "x y z"],
    names: Mapping[int, str],
    task: Task,
    option: str | None,
    of_case: str | None,
    possible: Sequence[str],
    where: str,
) -> Understood:
    """The labels of a mask.

    Args:
        voxels: As on disk.
        names: Of the file's segments by value, where it names them.
        task: Knows the conventions.
        option: The convention that the user states.
        of_case: The convention of lacunet's own mask of the case.
        possible: Conventions that the values may follow, the likeliest first.
        where: What the mask is called in errors.

    Raises:
        LabelError: the values do not show which convention is meant, or it does not know them.
        UsageError: the task has no convention of the name.
    """
    if option is not None:
        labels, note = to_inside(voxels, known_convention(option, task, "--labels: "), task, where)
        return Understood(labels, option, "option", _notes(note))
    values, note = whole_values(voxels, where)
    drawn = sorted(values - {0})
    if len(drawn) > _MOST_VALUES:
        raise LabelError(
            f"{where}: has {len(drawn)} different values; a mask has a few labels, is it a scan? Give the mask"
        )
    meant = {value: _label_named(names.get(value, ""), task) for value in drawn}
    if drawn and all(meant.values()):
        return Understood(_painted(voxels, meant), None, "segments", _notes(note))
    if any(meant.values()):
        unknown = next(value for value, label in meant.items() if not label)
        raise LabelError(
            f"{where}: the name of the segment with value {unknown} is none of {', '.join(task.labels)}, and other "
            f"names are; rename it, or state what the values mean: {choices(task)}"
        )
    if of_case is not None and values <= set(task.conventions.get(of_case, ())):
        return Understood(to_inside(voxels, of_case, task, where)[0], of_case, "case", _notes(note))
    convention = meaning_of(where, values, possible, task, choices(task))
    return Understood(to_inside(voxels, convention, task, where)[0], convention, "values", _notes(note))


def _notes(note: str | None) -> tuple[str, ...]:
    return (note,) if note else ()


def _label_named(name: str, task: Task) -> int | None:
    """The label inside lacunet that a segment's name means; None where it is not known."""
    words = " ".join(re.findall(r"[a-z]+", name.lower()))
    for label, value in task.labels.items():
        if words == label.replace("_", " ") or re.fullmatch(_WORDS.get(label, ""), words or "-"):
            return value
    return None


def _painted(voxels: Shaped[np.ndarray, "x y z"], meant: Mapping[int, int | None]) -> UInt8[np.ndarray, "x y z"]:
    labels = np.zeros(voxels.shape, np.uint8)
    for value, label in meant.items():
        labels[np.rint(voxels) == value] = label or 0
    return labels
