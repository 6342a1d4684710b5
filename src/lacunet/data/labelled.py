"""Cases with decided label conventions, and the part of them that a split names."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.data.find import find_cases, survey
from lacunet.data.labels import EachMask, with_conventions
from lacunet.data.split import bare_id, read_split
from lacunet.errors import DataError, Problem, UsageError, nearest
from lacunet.task import Task


def labelled(data: Path, task: Task, labels: str | None, each: EachMask = map) -> list[CaseFiles]:
    """The cases of a folder or manifest, their label conventions decided; for `each` see `with_conventions`."""
    return with_conventions(find_cases(data, task, labels), task, labels, each)


def labelled_or_problems(
    data: Path, task: Task, labels: str | None, each: EachMask = map
) -> tuple[list[CaseFiles], list[Problem]]:
    """As `labelled`, but a faulty case, or one whose reference cannot be told, becomes a problem beside the others.

    Raises:
        DataError: no case is left, or the layout as a whole cannot be understood.
    """
    found = survey(data, task, labels)
    problems = [*found.problems, *found.questions]
    unclear = {problem.case for problem in found.questions}
    cases = [case for case in found.cases if case.name not in unclear]
    if not cases:
        raise DataError(problems[0].message)
    return with_conventions(cases, task, labels, each), problems


def named_part(cases: Sequence[CaseFiles], split: str, faulty: Iterable[str] = ()) -> list[CaseFiles]:
    """The cases of `FILE:PART`. It may name `faulty` cases too, which are left out.

    Raises:
        UsageError: there is no colon.
        DataError: the file has no such part.
    """
    file, colon, part = split.rpartition(":")
    if not colon:
        raise UsageError(f"--split {split}: expected FILE:PART, such as split.json:test")
    return part_of(cases, Path(file), part, faulty)


def part_of(cases: Sequence[CaseFiles], file: Path, part: str, faulty: Iterable[str] = ()) -> list[CaseFiles]:
    """The cases of one part of a split file. It may name `faulty` cases too, which are left out.

    Raises:
        DataError: the file has no such part.
    """
    parts = read_split(file, cases, faulty)
    if part not in parts:
        raise DataError(f"{file}: has no part '{part}'{nearest(part, parts)}; it has: {', '.join(parts)}")
    return [case for case in cases if bare_id(case.name) in parts[part]]
