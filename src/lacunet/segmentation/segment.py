"""Case after case: ask, then write. The model is loaded once for a whole cohort."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lacunet.case import CaseFiles
from lacunet.data.labels import labels_on_disk
from lacunet.errors import LacunetError, Problem, UnpreparedError
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.answer import ask
from lacunet.segmentation.layout import Places, begin_bids, places, refuse_to_replace, require_apart
from lacunet.segmentation.write import Segmented, SegmentSettings, write
from lacunet.task import Task

if TYPE_CHECKING:  # it loads the packages of registration, which a case that is ready does not need
    from lacunet.segmentation.native import Origin

MakeReady = Callable[[CaseFiles], AbstractContextManager[tuple[CaseFiles, "Origin"]]]
"""Imports a case whose scans have skulls or grids of their own, for as long as the context lasts."""

SegmentInto = Callable[[Places], Segmented]
"""Segments one case and writes its results to these files."""


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
    each = [(files.name, partial(_prepared, predictor, files, settings, make_ready)) for files in cases]
    yield from segment_each(each, folder, settings, predictor.model.task)


def segment_case(predictor: Predictor, files: CaseFiles, folder: Path, settings: SegmentSettings) -> Segmented:
    """Segment one case into `folder`: the mask, the page and, last of all, the record (`layout.places`).

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
    return ask_and_write(predictor, files, settings, places(folder, files.name, settings.layout))


def segment_each(
    each: Sequence[tuple[str, SegmentInto]], folder: Path, settings: SegmentSettings, task: Task
) -> Iterator[Segmented | Problem]:
    """The loop over cases; one that fails is a `Problem` and the others are still done.

    Args:
        each: The name of each case, and what segments it.
        folder: Where results go.
        settings: Whether results are replaced or skipped, and how they are laid out.
        task: Names the labels.

    Raises:
        DataError: two cases would have the same result files.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
    """
    _begin([name for name, _ in each], folder, settings, task)
    for name, segment_into in each:
        try:
            at = places(folder, name, settings.layout)
            if settings.resume and at.record.is_file():
                yield Segmented(name, at, {}, (), skipped=True)
            else:
                yield segment_into(at)
        except LacunetError as error:
            yield Problem(name, str(error))


def ask_and_write(
    predictor: Predictor, files: CaseFiles, settings: SegmentSettings, at: Places, origin: "Origin | None" = None
) -> Segmented:
    """Segment one case; see `answer.ask` and `write.write` for arguments and errors."""
    return write(ask(predictor, files, settings.subset, settings.rules, settings.reference, origin), at, settings)


def _begin(names: Sequence[str], folder: Path, settings: SegmentSettings, task: Task) -> None:
    """Before the first case: nothing is replaced unless the user asks, and a BIDS derivative gets its top."""
    require_apart(names, settings.layout)
    if not settings.overwrite and not settings.resume:
        for name in names:
            refuse_to_replace(places(folder, name, settings.layout).record)
    if settings.layout == "bids" and names:
        begin_bids(folder, task, labels_on_disk(settings.convention, task))


def _prepared(
    predictor: Predictor, files: CaseFiles, settings: SegmentSettings, make_ready: MakeReady | None, at: Places
) -> Segmented:
    """Segment a case as it is, or import it first where it needs that."""
    try:
        return ask_and_write(predictor, files, settings, at)
    except UnpreparedError:
        if make_ready is None:
            raise
    with make_ready(files) as (ready, origin):
        return ask_and_write(predictor, ready, settings, at, origin)
