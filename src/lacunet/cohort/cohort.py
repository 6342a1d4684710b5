"""The cohort in a folder of results: each case that is done or failed. The folder is all it comes from.

So serial runs, processes, parts and resumed runs give the same, and whoever has the folder can make it anew:

    cohort = cohort_of(folder)
    write_results(folder / "results.csv", cohort)
    write_cohort_page(folder / "cohort.html", cohort)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lacunet.cohort.failures import Failure, read_failures
from lacunet.cohort.result import Result, result_of
from lacunet.errors import DataError
from lacunet.files import why_not_plain
from lacunet.reading import folders_in, is_file
from lacunet.segmentation.layout import SUBJECT, Places, places

Stamp = tuple[int, int, int]
"""Of a file: it changes when the file does."""


@dataclass(frozen=True)
class CohortCase:
    """A case of a cohort.

    Attributes:
        name: The case.
        result: None where there is none.
        failure: Why there is none, or no newer one: the last attempt failed; "" otherwise.
    """

    name: str
    result: Result | None
    failure: str = ""


@dataclass(frozen=True)
class Cohort:
    """The cases in a folder of results.

    Attributes:
        folder: Of the results.
        cases: By name.
        regions: The regions of all cases, in their order.
        read: What was read of each record, so that `cohort_of` need not read it again.
    """

    folder: Path
    cases: Sequence[CohortCase]
    regions: tuple[str, ...]
    read: Mapping[Path, tuple[Stamp, CohortCase]] = field(default_factory=dict, repr=False, compare=False)


def cohort_of(folder: Path, before: Cohort | None = None) -> Cohort:
    """The cohort in a folder of results, of either layout.

    Args:
        folder: The output folder of `lacunet segment`.
        before: What was there a while ago: only records that changed since are read.

    Raises:
        DataError: there is no such folder, or it cannot be opened.
        OutputError: a note about a failure is damaged. A damaged record is a failure of its case.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the output folder of lacunet segment")
    known, read = before.read if before else {}, {}
    for at in finished(folder):
        stamp = _stamp(at.record)
        kept = known.get(at.record)
        read[at.record] = kept if kept and kept[0] == stamp else (stamp, _case(at))
    failures = read_failures(folder)
    named = {failure.case: failure for failure in failures if not failure.nameless}
    cases = [_with_failure(case, named.get(case.name)) for _, case in read.values()]
    done = {case.name for case in cases}
    cases += [CohortCase(one.case, None, one.reason) for one in failures if one.nameless or one.case not in done]
    regions = [*(tuple(case.result.regions) for case in cases if case.result), *(one.regions for one in failures)]
    names = dict.fromkeys(name for each in regions for name in each)
    return Cohort(folder, sorted(cases, key=lambda case: (case.name, case.failure)), tuple(names), read)


def finished(folder: Path) -> Iterator[Places]:
    """The files of each case that is done: it has a record, and the user may read it.

    Raises:
        DataError: the folder cannot be opened.
    """
    for name in _folders(folder):
        if is_file((at := places(folder, name)).record):
            yield at
        for stem in _visits(folder / name) if SUBJECT.fullmatch(name) else ():
            if is_file((at := places(folder, stem, "bids")).record):
                yield at


def _visits(person: Path) -> list[str]:
    """What the visits of a person may be called in a BIDS derivative; none where the folder is closed to the user."""
    try:
        visits = [f"{person.name}_{visit}" for visit in _folders(person)]
    except DataError:
        return []
    return [person.name, *(visit for visit in visits if SUBJECT.fullmatch(visit))]


def _folders(folder: Path) -> list[str]:
    """Names of the folders that may be those of cases."""
    return [name for name in folders_in(folder, DataError, str(folder)) if not why_not_plain(name)]


def _stamp(path: Path) -> Stamp:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _case(at: Places) -> CohortCase:
    """A case that is done. One whose record is damaged has failed: nobody knows what its mask is worth."""
    try:
        name, result = result_of(at)
    except DataError as error:
        return CohortCase(at.stem, None, str(error).replace(str(at.record), at.record.name))
    return CohortCase(name, result)


def _with_failure(case: CohortCase, failure: Failure | None) -> CohortCase:
    """The case, with the failure of a later attempt."""
    if failure is None or (case.result and failure.time < case.result.written):
        return case
    return replace(case, failure=failure.reason)
