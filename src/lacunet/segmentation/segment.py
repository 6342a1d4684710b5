"""Case after case: ask, then write. The model is loaded once for a whole cohort."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lacunet.case import CaseFiles
from lacunet.crew.crew import Here, Lost
from lacunet.data.hidden_names import errors_without_names
from lacunet.data.labels import labels_on_disk
from lacunet.data.parts import in_part
from lacunet.data.source_table import SourceRow, failed_rows, gather_tables, own_table, rows_of_files, write_sources
from lacunet.errors import (
    DataError,
    LacunetError,
    OutputError,
    Problem,
    UnpreparedError,
    UsageError,
    problem_of,
)
from lacunet.files import why_not_plain
from lacunet.prediction.predictor import Predictor
from lacunet.prediction.team import Team, as_team
from lacunet.segmentation.answer import ask
from lacunet.segmentation.bids import begin_bids
from lacunet.segmentation.layout import Places, places, refuse_to_replace, require_apart
from lacunet.segmentation.write import Segmented, SegmentSettings, write
from lacunet.task import Task

if TYPE_CHECKING:  # it loads the packages of registration, which a case that is ready does not need
    from lacunet.segmentation.native import Origin

MakeReady = Callable[[CaseFiles], AbstractContextManager[tuple[CaseFiles, "Origin"]]]
"""Imports a case whose scans have skulls or grids of their own, for as long as the context lasts."""

SegmentInto = Callable[[Predictor, Places, Sequence[SourceRow]], Segmented]
"""Segments one case and writes its results to these files; the rows say whose it is."""


@dataclass(frozen=True)
class Job:
    """A case that is to be segmented, in whichever process.

    Attributes:
        name: The case.
        rows: Gives the rows of `sources.csv`; reads all files of the case.
        segment_into: Segments it.
    """

    name: str
    rows: Callable[[], list[SourceRow]]
    segment_into: SegmentInto


def segment_cases(
    predictor: Predictor | Team,
    cases: Sequence[CaseFiles],
    folder: Path,
    settings: SegmentSettings,
    make_ready: MakeReady | None = None,
) -> Generator[Segmented | Problem, None, None]:
    """Segment case by case; one that fails is a `Problem` and the others are still done.

    Args:
        predictor: The model; or a team, whose workers share the cases.
        cases: What to segment.
        folder: Where results go.
        settings: What is written.
        make_ready: Imports scans that have skulls or do not lie on one grid; None refuses them.

    Raises:
        DataError: two cases would have the same result files.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
    """
    each = [
        Job(files.name, partial(rows_of_files, files), partial(_prepared, files, settings, make_ready))
        for files in in_part(settings.part, cases, lambda files: files.name)
    ]
    yield from segment_each(predictor, each, folder, settings)


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
    predictor: Predictor | Team, each: Sequence[Job], folder: Path, settings: SegmentSettings
) -> Generator[Segmented | Problem, None, None]:
    """The loop over cases; one that fails is a `Problem` and the others are still done.

    Args:
        predictor: The model; or a team, whose workers share the cases.
        each: The cases.
        folder: Where results go.
        settings: Whether results are replaced or skipped, and how they are laid out.

    Raises:
        DataError: two cases would have the same result files.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
    """
    team = as_team(predictor)
    _begin([job.name for job in each], folder, settings, team.task)
    alone, table = isinstance(team.crew, Here), settings.table_in(folder)
    try:
        for job, done in zip(each, team.run(each, partial(_done, folder, settings, alone)), strict=True):
            yield _lost(job, folder, settings, done) if isinstance(done, Lost) else done
    finally:
        if not alone:
            gather_tables(table, [own_table(folder, job.name) for job in each if not why_not_plain(job.name)])


def _done(folder: Path, settings: SegmentSettings, alone: bool, predictor: Predictor, job: Job) -> Segmented | Problem:
    """Segment one case. Who works `alone` writes into the table of all cases."""
    try:
        at = places(folder, job.name, settings.layout)
    except LacunetError as error:
        return Problem(job.name, str(error))
    if settings.resume and at.record.is_file():
        return Segmented(job.name, at, {}, (), skipped=True)
    at = replace(at, table=settings.table_in(folder) if alone else own_table(folder, job.name))
    rows: Sequence[SourceRow] = ()
    try:
        rows = job.rows()
        return job.segment_into(predictor, at, rows)
    except UsageError as error:  # nothing was tried
        return Problem(job.name, str(error))
    except Exception as error:
        return failed(problem_of(job.name, error), rows, at.table, at.record)


def _lost(job: Job, folder: Path, settings: SegmentSettings, lost: Lost) -> Problem:
    """The problem of a case whose worker died."""
    table, record = own_table(folder, job.name), places(folder, job.name, settings.layout).record
    try:
        return failed(Problem(job.name, lost.words), job.rows(), table, record)
    except Exception as error:
        return problem_of(job.name, error)


def failed(problem: Problem, rows: Sequence[SourceRow], folder: Path, record: Path) -> Problem:
    """The problem of a case, with its rows in `sources.csv`, where no earlier result of the case is there.

    Args:
        problem: The case, and the error.
        rows: Whose it is.
        folder: Of the table.
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
        begin_bids(folder, task, labels_on_disk(settings.convention, task), settings.dataset)


def _prepared(
    files: CaseFiles,
    settings: SegmentSettings,
    make_ready: MakeReady | None,
    predictor: Predictor,
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
