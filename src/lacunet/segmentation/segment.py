"""Case after case: ask, then write. The model is loaded once for a whole cohort."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lacunet.case import CaseFiles
from lacunet.data.hidden_names import errors_without_names
from lacunet.data.labels import labels_on_disk
from lacunet.data.source_table import SourceRow, failed_rows, rows_of_files, write_sources
from lacunet.errors import (
    DataError,
    LacunetError,
    OutputError,
    Problem,
    UnpreparedError,
    UsageError,
    problem_of,
)
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.answer import ask
from lacunet.segmentation.layout import Places, begin_bids, places, refuse_to_replace, require_apart
from lacunet.segmentation.write import Segmented, SegmentSettings, write
from lacunet.task import Task

if TYPE_CHECKING:  # it loads the packages of registration, which a case that is ready does not need
    from lacunet.segmentation.native import Origin

MakeReady = Callable[[CaseFiles], AbstractContextManager[tuple[CaseFiles, "Origin"]]]
"""Imports a case whose scans have skulls or grids of their own, for as long as the context lasts."""

SegmentInto = Callable[[Places, Sequence[SourceRow]], Segmented]
"""Segments one case and writes its results to these files; the rows say whose it is."""


@dataclass(frozen=True)
class Job:
    """A case that is to be segmented.

    Attributes:
        name: The case.
        rows: Gives the rows of `sources.csv`; reads all files of the case.
        segment_into: Segments it.
    """

    name: str
    rows: Callable[[], list[SourceRow]]
    segment_into: SegmentInto


def segment_cases(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    folder: Path,
    settings: SegmentSettings,
    make_ready: MakeReady | None = None,
) -> Iterator[Segmented | Problem]:
    """Segment case by case; one that fails is a `Problem` and the others are still done.

    Args:
        predictor: The model.
        cases: What to segment.
        folder: Where results go.
        settings: What is written.
        make_ready: Imports scans that have skulls or do not lie on one grid; None refuses them.

    Raises:
        DataError: two cases would have the same result files.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
    """
    each = [
        Job(files.name, partial(rows_of_files, files), partial(_prepared, predictor, files, settings, make_ready))
        for files in cases
    ]
    yield from segment_each(each, folder, settings, predictor.model.task)


def segment_case(predictor: Predictor, files: CaseFiles, folder: Path, settings: SegmentSettings) -> Segmented:
    """Segment one case into `folder`: the mask, the page and, last of all, the record (`layout.places`).

    `sources.csv` in `folder` says whose case it is.

    Args:
        predictor: The model.
        files: A case whose scans have no skull and lie on one grid.
        folder: Where results go.
        settings: What is written.

    Raises:
        DataError: a scan is not what it should be.
        OutputError: the results cannot be written.
        UsageError: the case lacks a modality of `settings.subset`.
    """
    at = places(folder, files.name, settings.layout)
    with errors_without_names(files):
        return ask_and_write(predictor, files, settings, at, rows_of_files(files))


def segment_each(
    each: Sequence[Job], folder: Path, settings: SegmentSettings, task: Task
) -> Iterator[Segmented | Problem]:
    """The loop over cases; one that fails is a `Problem` and the others are still done.

    Args:
        each: The cases.
        folder: Where results go.
        settings: Whether results are replaced or skipped, and how they are laid out.
        task: Names the labels.

    Raises:
        DataError: two cases would have the same result files.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
    """
    _begin([job.name for job in each], folder, settings, task)
    for job in each:
        try:
            at = places(folder, job.name, settings.layout)
        except LacunetError as error:
            yield Problem(job.name, str(error))
            continue
        if settings.resume and at.record.is_file():
            yield Segmented(job.name, at, {}, (), skipped=True)
            continue
        rows: Sequence[SourceRow] = ()
        try:
            rows = job.rows()
            done = job.segment_into(at, rows)
        except UsageError as error:  # nothing was tried
            yield Problem(job.name, str(error))
        except Exception as error:
            yield failed(problem_of(job.name, error), rows, folder, at.record)
        else:
            yield done


def failed(problem: Problem, rows: Sequence[SourceRow], folder: Path, record: Path) -> Problem:
    """The problem of a case, with its rows in `sources.csv`, where no earlier result of the case is there.

    Args:
        problem: The case, and the error.
        rows: Whose it is.
        folder: The output folder.
        record: Says that an earlier result is there.
    """
    try:
        if not record.exists():
            write_sources(folder, failed_rows(rows, problem.message))
    except OutputError as error:
        if problem.message != str(error):
            return replace(problem, message=f"{problem.message}; {error}")
    return problem


def ask_and_write(
    predictor: Predictor,
    files: CaseFiles,
    settings: SegmentSettings,
    at: Places,
    rows: Sequence[SourceRow],
    origin: "Origin | None" = None,
) -> Segmented:
    """Segment one case; see `answer.ask` and `write.write` for arguments and errors."""
    answer = ask(
        predictor,
        files,
        settings.subset,
        settings.rules,
        settings.reference,
        origin,
        settings.n4,
        settings.leave_out_bad,
    )
    return write(answer, at, settings, rows)


def _begin(names: Sequence[str], folder: Path, settings: SegmentSettings, task: Task) -> None:
    """Before the first case: nothing is replaced unless the user asks, and a BIDS derivative gets its top."""
    require_apart(names, settings.layout)
    if not settings.overwrite and not settings.resume:
        for name in names:
            with suppress(DataError):  # a name that cannot be a folder's is the problem of its case alone
                refuse_to_replace(places(folder, name, settings.layout).record)
    if settings.layout == "bids" and names:
        begin_bids(folder, task, labels_on_disk(settings.convention, task))


def _prepared(
    predictor: Predictor,
    files: CaseFiles,
    settings: SegmentSettings,
    make_ready: MakeReady | None,
    at: Places,
    rows: Sequence[SourceRow],
) -> Segmented:
    """Segment a case as it is, or import it first where it needs that."""
    with errors_without_names(files):
        try:
            return ask_and_write(predictor, files, settings, at, rows)
        except UnpreparedError:
            if make_ready is None:
                raise
        with make_ready(files) as (ready, origin):
            return ask_and_write(predictor, ready, settings, at, rows, origin)
