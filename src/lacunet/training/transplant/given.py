"""Cases that give lesions only, prepared. A small cube about a tumour is enough of a case."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.files import path_in
from lacunet.task import Task
from lacunet.training.prepared import (
    Facts,
    PreparedCase,
    Wanted,
    fingerprint,
    prepare_all,
    prepared_case,
    write_prepared,
)
from lacunet.training.ranks import ALONE, Ranks


def prepare_lesions(
    cases: Sequence[CaseFiles],
    task: Task,
    preparation: Preparation,
    folder: Path,
    workers: int = 0,
    ranks: Ranks = ALONE,
) -> Iterator[PreparedCase]:
    """As `prepare_cases`, but scans need not show a whole brain; what is no brain must be exactly 0.

    Raises:
        LacunetError: a case cannot be read; the first one, in their order.
    """
    wanted = [
        Wanted(
            path_in(folder, files.name, f"-lesion-{fingerprint(files, task, preparation)}"),
            partial(_prepare_into, files, task, preparation),
        )
        for files in cases
    ]
    for files, one, facts in zip(cases, wanted, prepare_all(wanted, workers, ranks), strict=True):
        yield prepared_case(facts, task.presence(files.images), one.folder)


def _prepare_into(files: CaseFiles, task: Task, preparation: Preparation, folder: Path) -> Facts:
    return write_prepared(load_case(files, task, whole=False), task, preparation, folder)
