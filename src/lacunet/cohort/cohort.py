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
from lacunet.errors import DataError
from lacunet.files import why_not_plain
from lacunet.segmentation.layout import SUBJECT, Places, places
from lacunet.segmentation.result import Result, result_of

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
        DataError: there is no such folder.
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
    """The files of each case that is done: it has a record."""
    for name in _folders(folder):
        if (at := places(folder, name)).record.is_file():
            yield at
        if SUBJECT.fullmatch(name):
            visits = [f"{name}_{visit}" for visit in _folders(folder / name)]
            for stem in [name, *(visit for visit in visits if SUBJECT.fullmatch(visit))]:
                if (at := places(folder, stem, "bids")).record.is_file():
                    yield at


def _folders(folder: Path) -> list[str]:
    """Names of the folders that may be those of cases."""
    return sorted(path.name for path in folder.iterdir() if not why_not_plain(path.name) and path.is_dir())


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
