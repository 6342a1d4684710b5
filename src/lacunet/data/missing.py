"""Training with incomplete cases: which modalities each case permanently loses, drawn once for all methods.

The dual-stage method and others are trained so: a share FM of the training cases stays complete (1, 10, 50, 100 %),
and every other case loses one to three of its four modalities, the same ones in every epoch and for every method.
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
from lacunet.files import plain_name, write_text
from lacunet.task import Subset, Task


def draw_missing(names: Iterable[str], task: Task, full_share: float, seed: int) -> dict[str, Subset]:
    """The modalities that each case keeps, by name.

    `round(full_share * n)` cases, at least one, stay complete. For each other case, the number of modalities
    that it loses is drawn uniformly from 1 ... all but one, then a subset of that size, uniformly. The draw depends
    only on the case's name and the seed: it is the same for another order of `names` and for a larger `full_share`.

    Args:
        names: Names of the training cases.
        task: Its modalities.
        full_share: Share of complete cases, 0 ... 1.
        seed: The same seed gives the same draw.

    Raises:
        UsageError: the share is not within 0 ... 1.
        DataError: no names, the same name twice, or one that no file can have.
    """
    listed = sorted(plain_name(name) for name in names)
    if not 0 <= full_share <= 1:
        raise UsageError(f"share of complete cases {full_share}; a number from 0 to 1 is expected")
    if not listed or len(set(listed)) != len(listed):
        raise DataError("missing modalities cannot be drawn: the list of cases is empty or names a case twice")
    complete = max(1, round(full_share * len(listed)))
    order = sorted(listed, key=lambda name: _generator(name, seed, "order").random())
    return {name: task.modalities if name in order[:complete] else _kept(name, task, seed) for name in listed}


def complete_share(manifest: Mapping[str, Subset], task: Task) -> float:
    """The share of cases that is complete in fact: at least one case is, so with 19 cases 1 % becomes 5.3 %."""
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
    """Read what `write_missing` wrote.

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
    """The cases with only those modalities that the manifest keeps.

    Raises:
        DataError: a case has no row, or would keep no modality.
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
    return tuple(modality for index, modality in enumerate(task.modalities) if index not in lost)


def _generator(name: str, seed: int, purpose: str) -> np.random.Generator:
    """Random numbers for one case, the same in every process and for any other cases."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
