"""Cases with decided label conventions, and the part of them that a split names."""

from collections.abc import Sequence
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.split import bare_id, read_split
from lacunet.errors import DataError, UsageError, nearest
from lacunet.task import Task


def labelled(data: Path, task: Task, labels: str | None) -> list[CaseFiles]:
    """The cases of a folder or manifest, their label conventions decided."""
    return with_conventions(find_cases(data, task, labels), task, labels)


def named_part(cases: Sequence[CaseFiles], split: str) -> list[CaseFiles]:
    """The cases of `FILE:PART`.

    Raises:
        UsageError: there is no colon.
        DataError: the file has no such part.
    """
    file, colon, part = split.rpartition(":")
    if not colon:
        raise UsageError(f"--split {split}: expected FILE:PART, such as split.json:test")
    return part_of(cases, Path(file), part)


def part_of(cases: Sequence[CaseFiles], file: Path, part: str) -> list[CaseFiles]:
    """The cases of one part of a split file.

    Raises:
        DataError: the file has no such part.
    """
    parts = read_split(file, cases)
    if part not in parts:
        raise DataError(f"{file}: has no part '{part}'{nearest(part, parts)}; it has: {', '.join(parts)}")
    return [case for case in cases if bare_id(case.name) in parts[part]]
