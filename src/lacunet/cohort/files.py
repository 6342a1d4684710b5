"""Keeps `results.csv` and `cohort.html` beside the results while case after case is done.

Both are made of what lies in the folder, and replaced as a whole: a run that is killed leaves them whole, and the next
one brings them up to date. Workers only write the results of their cases.
"""

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lacunet.cohort.cohort import Cohort, cohort_of
from lacunet.cohort.failures import forget_failure, forget_nameless, note_failure
from lacunet.cohort.page import write_cohort_page
from lacunet.cohort.table import write_results
from lacunet.data.parts import Part
from lacunet.errors import OutputError, Problem
from lacunet.intake.found import Survey
from lacunet.segmentation.layout import COHORT_PAGE, RESULTS_TABLE
from lacunet.segmentation.write import Segmented

MOST_TIME = 0.02
"""Of a run that goes into both files: with thousands of cases they are not written after each."""


def write_cohort(folder: Path, before: Cohort | None = None) -> Cohort:
    """Bring both files of an output folder up to date. A single case gets none.

    Args:
        folder: The output folder.
        before: What was there a while ago; only what changed since is read.

    Raises:
        OutputError: one cannot be written, or a note about a failure is damaged.
    """
    cohort = cohort_of(folder, before)
    if len(cohort.cases) > 1 or (folder / RESULTS_TABLE).exists():
        write_results(folder / RESULTS_TABLE, cohort)
        write_cohort_page(folder / COHORT_PAGE, cohort)
    return cohort


def with_cohort(
    results: Iterable[Survey | Segmented | Problem], folder: Path, regions: Sequence[str], part: Part | None = None
) -> Generator[Survey | Segmented | Problem | OutputError, None, None]:
    """The results of a run, as they come; failures are noted in the folder, and both files follow.

    A file that cannot be written for a moment (a spreadsheet has it open) ends no run.

    Args:
        results: Of each case.
        folder: Where they lie.
        regions: Of the task.
        part: The part of the cohort that is run.

    Yields:
        The results; at the end an error, where the files could not be brought up to date.
    """
    label = str(part) if part else ""
    cohort, due = None, 0.0
    notes = _Notes(folder, regions, label, alone=part is None and not (folder / RESULTS_TABLE).exists())
    try:
        for number, result in enumerate(results):
            if number == 0:  # a run that is refused has no result, and changes nothing
                with suppress(OutputError):  # told at the end
                    forget_nameless(folder, label)
            if not isinstance(result, Survey):
                with suppress(OutputError):
                    notes.take(result)
                    began = time.monotonic()
                    if began >= due:
                        cohort = write_cohort(folder, cohort)
                        due = time.monotonic() + (time.monotonic() - began) / MOST_TIME
            yield result
    except BaseException:
        if cohort is not None:
            with suppress(OutputError):
                write_cohort(folder, cohort)
        raise
    try:
        write_cohort(folder, cohort)
    except OutputError as error:
        yield error


@dataclass
class _Notes:
    """Keeps the failures of a run in its folder.

    Attributes:
        folder: Where the results lie.
        regions: Of the task.
        part: The part of the cohort that is run.
        alone: The next result may be the only one: if it is a failure, it waits for another, so that nothing is
            written of a run whose one source is bad.
        waiting: Such a failure.
    """

    folder: Path
    regions: Sequence[str]
    part: str
    alone: bool
    waiting: Problem | None = None

    def take(self, result: Segmented | Problem) -> None:
        """Note a failure, or forget an earlier one."""
        if self.alone and isinstance(result, Problem):
            self.alone, self.waiting = False, result
            return
        before, self.alone, self.waiting = self.waiting, False, None
        if before is not None:
            note_failure(self.folder, before, self.regions, self.part)
        if isinstance(result, Problem):
            note_failure(self.folder, result, self.regions, self.part)
        elif not result.skipped:
            forget_failure(self.folder, result.name)
