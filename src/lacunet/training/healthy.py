"""Training examples without a tumour: healthy halves of cases, mirrored. They are not counted as patients."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lacunet.case import CaseFiles
from lacunet.data.mirrored import mirrored_case
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Preparation
from lacunet.files import path_in
from lacunet.task import Task
from lacunet.training.prepared import PreparedCase, Wanted, fingerprint, prepare_all, prepared_case, write_prepared


def prepare_mirrored(
    cases: Sequence[CaseFiles], task: Task, preparation: Preparation, folder: Path, workers: int = 0
) -> Iterator[PreparedCase | None]:
    """The brain without a tumour that each case gives, as `prepare_cases`; None for a case that gives none.

    Raises:
        LacunetError: a case cannot be read; the first one, in their order.
    """
    wanted = [
        Wanted(
            path_in(folder, files.name, f"-{fingerprint(files, preparation, 'mirrored')}"),
            partial(_mirror_into, files, task, preparation),
        )
        for files in cases
    ]
    for files, one, facts in zip(cases, wanted, prepare_all(wanted, workers), strict=True):
        name = facts["name"]
        yield prepared_case(name, task.presence(files.images), one.folder, facts) if name else None


def _mirror_into(files: CaseFiles, task: Task, preparation: Preparation, folder: Path) -> Mapping[str, Any]:
    brain = mirrored_case(load_case(files, task), task)
    if brain is None:
        return {"name": None}
    return {"name": brain.name, **write_prepared(brain, task, preparation, folder)}
