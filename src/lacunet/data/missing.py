"""Training with incomplete cases: which cases lose which modalities for good, written down once for all methods.

The setting of the dual-stage method and others: a share FM of the training cases stays complete (1, 10, 50, 100 %),
every other case loses one to three of its four modalities, the same ones in every epoch and for every method.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lacunet.case import CaseFiles
from lacunet.errors import DataError, UsageError, nearest
from lacunet.files import write_text
from lacunet.task import Subset, Task


def draw_missing(names: Iterable[str], task: Task, full_share: float, seed: int) -> dict[str, Subset]:
    """What each case keeps, by name, drawn once.

    `round(full_share * n)` cases, at least one, stay complete. Each other case loses a number of modalities that is
    uniform over 1 ... all but one, and then a subset of that size, uniformly. What a case would lose depends on its
    name and the seed alone, so that another order of `names`, or a larger `full_share`, draws the same.

    Args:
        names: Cases of the training part.
        task: Its modalities.
        full_share: Share of complete cases, 0 ... 1.
        seed: Same seed, same draw.

    Raises:
        UsageError: the share is not within 0 ... 1.
        DataError: no names, or a name twice.
    """
    listed = sorted(names)
    if not 0 <= full_share <= 1:
        raise UsageError(f"share of complete cases {full_share}; a number from 0 to 1 is expected")
    if not listed or len(set(listed)) != len(listed):
        raise DataError("missing modalities are drawn for a list of cases, each once")
    complete = max(1, round(full_share * len(listed)))
    order = sorted(listed, key=lambda name: _generator(name, seed, "order").random())
    return {name: task.modalities if name in order[:complete] else _kept(name, task, seed) for name in listed}


def complete_share(manifest: Mapping[str, Subset], task: Task) -> float:
    """The share of cases that really is complete (with 19 cases, 1 % is one case: 5.3 %)."""
    return sum(kept == task.modalities for kept in manifest.values()) / len(manifest)


def write_missing(path: Path, manifest: Mapping[str, Subset], task: Task) -> None:
    """Write `case,acquired` (`BraTS-GLI-00000-000,t1c+t2f`), sorted by case, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "acquired"])
    for name in sorted(manifest):
        writer.writerow([name, task.subset_name(manifest[name])])
    write_text(path, text.getvalue())


def read_missing(path: Path, task: Task) -> dict[str, Subset]:
    """What `write_missing` wrote.

    Raises:
        DataError: unreadable, other columns, a case twice, or an unknown modality.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({getattr(error, 'strerror', None) or error})") from error
    if not rows or not {"case", "acquired"} <= set(rows[0]):
        raise DataError(f"{path}: columns 'case' and 'acquired' and a row per case are expected")
    manifest: dict[str, Subset] = {}
    for row in rows:
        name = row["case"]
        if name in manifest:
            raise DataError(f"{path}: case {name} has two rows; keep one")
        try:
            manifest[name] = task.subset(row["acquired"] or "")
        except UsageError as error:
            raise DataError(f"{path}: case {name}: {error}") from error
    return manifest


def apply_missing(cases: Sequence[CaseFiles], manifest: Mapping[str, Subset]) -> list[CaseFiles]:
    """The cases as if only what the manifest keeps had ever been acquired; a case it does not name is refused.

    Raises:
        DataError: a case without a row, or one of which nothing would be left.
    """
    return [_without(case, manifest) for case in cases]


def _without(case: CaseFiles, manifest: Mapping[str, Subset]) -> CaseFiles:
    if case.name not in manifest:
        raise DataError(
            f"case {case.name} has no row in the list of missing modalities{nearest(case.name, manifest)}; "
            "draw the list for all training cases"
        )
    images = {modality: file for modality, file in case.images.items() if modality in manifest[case.name]}
    if not images:
        kept, there = "+".join(manifest[case.name]), "+".join(case.images)
        raise DataError(f"case {case.name}: nothing is left of {there} when only {kept} is kept; draw the list again")
    return replace(case, images=images)


def _kept(name: str, task: Task, seed: int) -> Subset:
    generator = _generator(name, seed, "lost")
    number = len(task.modalities)
    lost = generator.choice(number, size=int(generator.integers(1, number)), replace=False)
    return tuple(modality for place, modality in enumerate(task.modalities) if place not in lost)


def _generator(name: str, seed: int, purpose: str) -> np.random.Generator:
    """Random numbers of one case, the same in every process and whatever the other cases are."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
