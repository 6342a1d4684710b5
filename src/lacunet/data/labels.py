"""Label conventions: what the integers of a reference mask mean. Decided for a naming family, never per file.

One mask is not enough: {1, 2} is the same under every BraTS convention, and 4 is enhancing tumour in 2018 and the
resection cavity in 2024. So every convention that the names of a family allow is compared with all values seen in
that family. If the conventions that know these values agree on their meaning, it is decided; otherwise the user must
give `--labels`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from types import EllipsisType

import numpy as np

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.volume import read_voxels
from lacunet.errors import LabelError, UsageError, nearest
from lacunet.task import GLIOMA, Task

ROUNDING = 1e-3
"""How far a label may be from a whole number and still be rounded, with a note."""

MOST_LABEL = 1000
"""Larger values are intensities, not labels."""

PART = 2**20
"""Voxels that are looked at together."""

FAMILY_CONVENTIONS = {
    "brats2013": ("brats2013",),
    "brats2018": ("brats2018", "brats2013", "brats2023"),
    "brats2023": ("brats2023", "brats2024", "brats2018"),
    "ucsf-pdgm": ("brats2018", "brats2023"),
    "upenn-gbm": ("brats2018", "brats2023"),
}
"""The conventions that masks of a naming family may follow, the family's own first. Other families: all."""

EachMask = Callable[
    [Callable[[ImageFile], set[int] | None], Sequence[ImageFile]], Iterable[set[int] | None]
]  # fmt: skip
"""How all references are read: `map`, or that of a pool of processes."""


def known_convention(name: str, task: Task, where: str = "") -> str:
    """The name itself.

    Raises:
        UsageError: the task has no convention of this name.
    """
    if name not in task.conventions:
        known = ", ".join(task.conventions)
        raise UsageError(f"{where}unknown label convention '{name}'{nearest(name, task.conventions)}; known: {known}")
    return name


def decide_convention(family: str, values_seen: Iterable[int], task: Task) -> str:
    """The convention of a naming family from every label value in its references.

    Raises:
        LabelError: the values fit no convention, or several that give them different meanings.
    """
    possible = [name for name in FAMILY_CONVENTIONS.get(family, tuple(task.conventions)) if name in task.conventions]
    found = f"the references of naming family {family}"
    advice = f"{choices(task)}, or a column 'convention' in a manifest.csv"
    return meaning_of(found, values_seen, possible, task, advice, family == "brats2013")


def meaning_of(
    where: str,
    values_seen: Iterable[int],
    possible: Sequence[str],
    task: Task,
    advice: str,
    mixed: bool = False,
) -> str:
    """The one of several conventions that gives label values their meaning.

    Args:
        where: What has the values, for the error.
        values_seen: As on disk.
        possible: Names of conventions, the likeliest first.
        task: Knows them.
        advice: How the user can state a convention.
        mixed: Whether 3 and 4 may stand in one mask without a question.

    Raises:
        LabelError: the values fit none, or several that give them different meanings.
    """
    values = sorted(set(values_seen) | {0})
    fitting = [name for name in possible if set(values) <= set(task.conventions[name])]
    meanings = {tuple(task.conventions[name][value] for value in values) for name in fitting}
    asked = not mixed and {3, 4} <= set(values)
    if len(meanings) == 1 and not asked:
        return fitting[0]
    found = f"labels {_listed(values)} in {where}"
    if not fitting and not asked:
        raise LabelError(f"{found} fit no label convention that may be meant; state one: {advice}")
    raise LabelError(f"{found} do not show which label convention is meant; state it: {advice}")


def with_conventions(
    cases: Sequence[CaseFiles], task: Task = GLIOMA, labels: str | None = None, each: EachMask = map
) -> list[CaseFiles]:
    """The same cases, each reference with its convention. Reads every reference of undecided families once.

    A reference that cannot be read, or that has values of no convention, is left out of the decision;
    it is refused when its case is loaded.

    Args:
        cases: As `find_cases` gives them.
        task: Knows the conventions.
        labels: The convention of all references, by name.
        each: Applies a function to each reference; several processes are quicker.

    Raises:
        LabelError: the convention of a family cannot be decided.
        UsageError: `labels` is no convention of the task.
    """
    if labels is not None:
        known_convention(labels, task)
    undecided: dict[str, list[ImageFile]] = defaultdict(list)
    for case in cases:
        if case.reference is not None and case.convention is None and labels is None:
            undecided[case.family].append(case.reference)
    decided = {
        family: decide_convention(family, pooled_values(_readable(each(_values_or_none, files)), task), task)
        for family, files in undecided.items()
    }

    def settled(case: CaseFiles) -> CaseFiles:
        if case.reference is None or case.convention is not None:
            return case
        return replace(case, convention=labels or decided[case.family])

    return [settled(case) for case in cases]


def pooled_values(values_of_files: Iterable[set[int]], task: Task) -> set[int]:
    """The label values of a family, without the files that have values of no convention at all."""
    known = {value for mapping in task.conventions.values() for value in mapping}
    return {value for values in values_of_files if values <= known for value in values}


def values_in(path: Path) -> set[int]:
    """The label values of a reference mask, rounded as `to_inside` does.

    Raises:
        DataError: the file cannot be read.
        LabelError: values that are not whole numbers.
    """
    return whole_values(read_voxels(path), path.name)[0]


def whole_values(voxels: np.ndarray, where: str) -> tuple[set[int], str | None]:
    """The label values of a mask, rounded as `to_inside` does, and a note where they had to be.

    Raises:
        LabelError: values that are not whole numbers.
    """
    whole, note = _whole_numbers(voxels, where)
    return set(_distinct(whole)), note


def require_known(values: Iterable[int], convention: str, task: Task, where: str) -> None:
    """Refuse label values that a convention does not know.

    Raises:
        LabelError: there are such values.
    """
    mapping = task.conventions[known_convention(convention, task)]
    if unknown := [value for value in sorted(values) if value not in mapping]:
        raise LabelError(
            f"{where}: label values {_listed(unknown)} are unknown to the convention {convention} "
            f"({_listed(mapping)}); if another one is meant, {choices(task)}, or a column 'convention' in a "
            "manifest.csv"
        )


def to_inside(voxels: np.ndarray, convention: str, task: Task, where: str = "mask") -> tuple[np.ndarray, str | None]:
    """A mask as on disk -> labels inside lacunet (uint8), and a note where values had to be rounded.

    Raises:
        LabelError: values that the convention does not know, or that are not whole numbers.
    """
    mapping = task.conventions[known_convention(convention, task)]
    whole, note = _whole_numbers(voxels, where)
    require_known(_distinct(whole), convention, task, where)
    table = np.zeros(max(mapping) + 1, np.uint8)
    table[list(mapping)] = list(mapping.values())
    labels = np.empty_like(whole, np.uint8)
    for part in _parts(whole.shape):
        labels[part] = table[whole[part]]
    return labels, note


def labels_on_disk(convention: str, task: Task) -> dict[str, int]:
    """Name of a label -> its value on disk; the lower one where a convention has two values for a label."""
    mapping = task.conventions[known_convention(convention, task)]
    found = {
        label: min((disk for disk, own in mapping.items() if own == value), default=0)
        for label, value in task.labels.items()
    }
    return {label: disk for label, disk in found.items() if disk}


def to_disk(labels: np.ndarray, convention: str, task: Task) -> np.ndarray:
    """Labels inside lacunet -> values on disk (uint8); the lower one where a convention has two values for a label."""
    mapping = task.conventions[known_convention(convention, task)]
    table = np.zeros(max(mapping.values()) + 1, np.uint8)
    for disk, inside in sorted(mapping.items(), reverse=True):
        table[inside] = disk
    values: np.ndarray = table[labels]
    return values


def _distinct(whole: np.ndarray) -> list[int]:
    """The values of an array of labels, ascending. By counting, since sorting takes ten times as long."""
    low = int(whole.min())
    counts = np.zeros(int(whole.max()) - low + 1, np.int64)
    for part in _parts(whole.shape):
        counts += np.bincount((whole[part] - low).ravel(order="K"), minlength=counts.size)
    return [int(value) + low for value in np.flatnonzero(counts)]


def _whole_numbers(voxels: np.ndarray, where: str) -> tuple[np.ndarray, str | None]:
    """Voxels as int16, and a note when they were not whole before."""
    if not np.isfinite(voxels).all():
        raise LabelError(f"{where}: has NaN or infinite labels; write it again from its source")
    if (largest := max(abs(float(voxels.min())), abs(float(voxels.max())))) > MOST_LABEL:
        raise LabelError(f"{where}: has values up to {largest:g}; labels are small whole numbers, is it a scan?")
    if voxels.dtype.kind in "iu":
        return voxels.astype(np.int16), None
    whole = np.empty_like(voxels, np.int16)
    furthest, example = 0.0, 0.0
    for part in _parts(voxels.shape):
        rounded = np.rint(voxels[part])
        off = np.abs(voxels[part] - rounded)
        whole[part] = rounded
        if off.max() > furthest:
            furthest, example = float(off.max()), float(voxels[part].flat[int(off.argmax())])
    if furthest > ROUNDING:
        raise LabelError(
            f"{where}: label {example:g} is not a whole number; was the mask resampled with interpolation? "
            "Resample it with nearest neighbours, or give the original"
        )
    return whole, f"{where}: labels rounded to whole numbers, such as {example!r}" if furthest else None


def _parts(shape: tuple[int, ...]) -> Iterator[tuple[EllipsisType, slice]]:
    """Parts of an array along its last axis, so that what is computed of one part takes little memory."""
    step = max(1, PART // max(1, prod(shape[:-1])))
    for first in range(0, shape[-1], step):
        yield ..., slice(first, first + step)


def _values_or_none(file: ImageFile) -> set[int] | None:
    try:
        return values_in(file.path)
    except Exception:  # told when the case is loaded, and not before all others
        return None


def _readable(values_of_files: Iterable[set[int] | None]) -> Iterator[set[int]]:
    return (values for values in values_of_files if values is not None)


def _listed(values: Iterable[int]) -> str:
    return "{" + ", ".join(str(value) for value in sorted(values)) + "}"


def choices(task: Task) -> str:
    """How a user states a convention: `--labels with one of ...`."""
    return f"--labels with one of {', '.join(task.conventions)}"
