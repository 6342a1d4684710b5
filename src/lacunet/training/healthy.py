"""Training examples without a tumour: healthy halves of cases, mirrored, and invented brains. They are no patients."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lacunet.case import CaseFiles, box_around
from lacunet.data.mirrored import mirrored_case
from lacunet.data.nifti import load_case
from lacunet.data.phantom.anatomy import box_grid
from lacunet.data.phantom.phantom import draw_patient, healthy_brain_of
from lacunet.data.prepare import Preparation
from lacunet.files import path_in
from lacunet.task import Task
from lacunet.training.painting import TISSUES, statistics_of
from lacunet.training.prepared import (
    Facts,
    PreparedCase,
    Wanted,
    fingerprint,
    hashed,
    prepare_all,
    prepared_case,
    write_array,
    write_prepared,
)
from lacunet.training.ranks import ALONE, Ranks

FIRST_SEED = 50_000
"""Of the invented brains that trainings are shown; tests and evaluations use smaller ones."""
_PHANTOMS = 1
"""The version of what is drawn of them; another one prepares them again."""


def prepare_mirrored(
    cases: Sequence[CaseFiles],
    task: Task,
    preparation: Preparation,
    folder: Path,
    workers: int = 0,
    ranks: Ranks = ALONE,
) -> Iterator[PreparedCase | None]:
    """The brain without a tumour that each case gives, as `prepare_cases`; None for a case that gives none.

    Raises:
        LacunetError: a case cannot be read; the first one, in their order.
    """
    wanted = [
        Wanted(
            path_in(folder, files.name, f"-mirrored-{fingerprint(files, task, preparation)}"),
            partial(_mirror_into, files, task, preparation),
        )
        for files in cases
    ]
    for files, one, facts in zip(cases, wanted, prepare_all(wanted, workers, ranks), strict=True):
        yield prepared_case(facts, task.presence(files.images), one.folder) if facts.name else None


def prepare_phantoms(
    count: int, task: Task, preparation: Preparation, folder: Path, workers: int = 0, ranks: Ranks = ALONE
) -> Iterator[PreparedCase]:
    """Invented brains without a tumour: the shares of their tissues; the scans are painted at each crop."""
    wanted = [
        Wanted(
            path_in(folder, f"phantom-{seed}-tissues-{hashed(task, preparation, {'phantom': _PHANTOMS})}"),
            partial(_phantom_into, seed, task, preparation),
        )
        for seed in range(FIRST_SEED, FIRST_SEED + count)
    ]
    for one, facts in zip(wanted, prepare_all(wanted, workers, ranks), strict=True):
        yield prepared_case(facts, (True,) * len(task.modalities), one.folder)


def _phantom_into(seed: int, task: Task, preparation: Preparation, folder: Path) -> Facts:
    grid = box_grid(preparation.spacing)
    tissues, _, brain = healthy_brain_of(draw_patient(seed), seed, grid)
    box = box_around(brain)
    shares = np.stack([tissues.fractions[name] for name in TISSUES])
    whole = np.zeros((len(TISSUES), *grid.shape), np.float16)
    whole[:, brain] = shares
    write_array(folder / "images.npy", whole[(slice(None), *box)])
    labels = np.zeros(brain[box].shape, np.uint8)
    write_array(folder / "labels.npy", labels)
    x, y, z = labels.shape
    return Facts(
        name=f"phantom-{seed} (without tumour)",
        shape=(x, y, z),
        counts=dict.fromkeys(task.regions, 0),
        tissues=statistics_of(shares, preparation.clip),
    )


def _mirror_into(files: CaseFiles, task: Task, preparation: Preparation, folder: Path) -> Facts:
    brain = mirrored_case(load_case(files, task), task)
    if brain is None:
        return Facts(name="")
    return write_prepared(brain, task, preparation, folder)
