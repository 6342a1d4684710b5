"""Cases prepared by a crew, before a training takes them from the folder."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.crew.crew import Crew, Lost, Place
from lacunet.data.prepare import Preparation
from lacunet.errors import DataError
from lacunet.progress import Progress
from lacunet.task import Task
from lacunet.training.prepared import prepare_cases


def prepare_on(
    crew: Crew, cases: Sequence[CaseFiles], task: Task, preparation: Preparation, folder: Path, progress: Progress
) -> None:
    """Prepare each case into `folder`, where `prepare_cases` then finds it.

    Raises:
        LacunetError: a case cannot be read; the first one, in their order.
        DataError: a case's worker died twice.
    """
    made = crew.run(cases, partial(_worker, task, preparation, folder))
    for done, (files, one) in enumerate(zip(cases, made, strict=True), start=1):
        if isinstance(one, Lost):
            raise DataError(f"{files.name}: {one.words}")
        progress.advanced("preparing cases", done, len(cases), "preparing cases")


def _worker(task: Task, preparation: Preparation, folder: Path, place: Place) -> Callable[[CaseFiles], None]:
    return partial(_prepare, task, preparation, folder)


def _prepare(task: Task, preparation: Preparation, folder: Path, files: CaseFiles) -> None:
    list(prepare_cases([files], task, preparation, folder))
