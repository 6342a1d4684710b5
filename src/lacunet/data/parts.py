"""A cohort in parts, each done by a command of its own (`--part 3/20`), and made whole when the last one is done.

A case's part comes from a hash of its name, so that further cases move none. In the output folder `.parts/3-of-20.json`
says that a part is done, and `.parts/3-of-20/` has its rows of `sources.csv` until all are there.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from lacunet.data.source_table import PARTS, gather_tables
from lacunet.errors import DataError, OutputError, UsageError
from lacunet.files import write_json
from lacunet.reading import read_json
from lacunet.schema import Strict, fitted

Item = TypeVar("Item")

_MOST_PARTS = 100_000


@dataclass(frozen=True)
class Part:
    """One part of a cohort.

    Attributes:
        number: Which, from 1.
        of: How many there are.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def label(self) -> str:
        """As a name of a file."""
        return f"{self.number}-of-{self.of}"

    def has(self, name: str) -> bool:
        """Whether a case of this name belongs to it."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1


def read_part(words: str) -> Part:
    """`3/20` -> the third of twenty parts.

    Raises:
        UsageError: another form, or a part that there is not.
    """
    number, slash, of = words.partition("/")
    if not (slash and _is_number(number) and _is_number(of) and 1 <= int(of) <= _MOST_PARTS):
        raise UsageError(f"--part {words}: expected which part of how many, such as 3/20")
    if not 1 <= int(number) <= int(of):
        raise UsageError(
            f"--part {words}: there is no such part, they are 1/{int(of)} to {int(of)}/{int(of)}; for a SLURM array "
            f"that is --array=1-{int(of)}"
        )
    return Part(int(number), int(of))


def in_part(part: Part | None, items: Sequence[Item], name_of: Callable[[Item], str]) -> list[Item]:
    """The items whose names belong to a part; all of them where there is none."""
    return [item for item in items if part is None or part.has(name_of(item))]


def table_of(folder: Path, part: Part | None) -> Path:
    """The folder for rows of `sources.csv`: the output folder, or one of the part until all parts are there."""
    return folder if part is None else folder / PARTS / part.label


class _Marker(Strict):
    """What says that a part is done.

    Attributes:
        cases: Its cases, each with its place among all.
    """

    cases: dict[str, Annotated[int, Field(ge=0)]]


def begin_part(folder: Path, part: Part) -> None:
    """Refuse a part where the folder was begun in another number of parts.

    Raises:
        OutputError: it was.
    """
    others = {other for _, other in _there(folder)} - {part.of}
    if others:
        raise OutputError(
            f"{folder}: was begun in {min(others)} parts; go on with --part .../{min(others)}, or choose another folder"
        )


def end_part(folder: Path, part: Part, cases: Mapping[str, int]) -> list[int]:
    """Say that a part is done; the last one makes `sources.csv` whole.

    Args:
        folder: The output folder.
        part: The part.
        cases: The names of its cases, each with its place among all.

    Returns:
        The parts that are missing still.

    Raises:
        OutputError: a file cannot be written.
    """
    write_json(folder / PARTS / f"{part.label}.json", {"cases": dict(cases)})
    missing = missing_of(folder, part.of)
    if not missing:
        gather_parts(folder)
    return missing


def gather_parts(folder: Path) -> int:
    """Make `sources.csv` whole from the tables of all parts, in the order of the cases.

    Returns:
        How many parts there are.

    Raises:
        DataError: the folder holds no parts, or some are missing.
        OutputError: a file cannot be written.
    """
    there = _there(folder)
    if not there:
        raise DataError(f"{folder}: holds no part of a cohort; name the output folder of commands with --part")
    of = max(of for _, of in there)
    if missing := missing_of(folder, of):
        raise DataError(f"{folder}: {missing_words(missing, of)}; run what is missing, then gather again")
    parts = [Part(number, of) for number in range(1, of + 1)]
    places: dict[str, int] = {}
    for part in parts:
        path = folder / PARTS / f"{part.label}.json"
        advice = "remove it, and run that part again"
        places |= fitted(_Marker, read_json(path, DataError, advice), str(path), DataError, advice).cases
    gather_tables(folder, [table_of(folder, part) for part in parts], places)
    return of


def missing_of(folder: Path, of: int) -> list[int]:
    """The numbers of the parts that are not done."""
    done = {number for number, other in _there(folder) if other == of}
    return [number for number in range(1, of + 1) if number not in done]


def missing_words(missing: Sequence[int], of: int) -> str:
    """`3 of 20 parts are missing: 2, 7 to 8`."""
    spans: list[list[int]] = []
    for number in missing:
        if spans and spans[-1][-1] == number - 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    said = ", ".join(" to ".join(map(str, span)) for span in spans)
    return f"{len(missing)} of {of} parts {'is' if len(missing) == 1 else 'are'} missing: {said}"


def _there(folder: Path) -> list[tuple[int, int]]:
    """Number and count of each part that is done."""
    found = []
    for path in (folder / PARTS).glob("*-of-*.json"):
        number, _, of = path.stem.partition("-of-")
        if _is_number(number) and _is_number(of):
            found.append((int(number), int(of)))
    return found


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 10
