"""What a format is for these tests, and what is found about one mutant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fuzz.mutate import Way
from lacunet.errors import LacunetError

Read = Callable[[Path, Path], object]
"""Reads the sample in a folder as lacunet does; what it writes goes into a second folder. It returns where lacunet uses
the file, and raises a LacunetError where lacunet refuses it."""

Result = Literal["read", "refused", "other"]
"""`other` is a fault: another exception, a signal, too much time or memory, a file elsewhere, something printed."""


@dataclass(frozen=True)
class Format:
    """A kind of input.

    Attributes:
        name: For the table.
        write: Writes a good sample into an empty folder.
        read: As lacunet reads it.
        ways: File of the sample -> the ways in which it is damaged.
        after: Called with the folder after the damage: hashes of damaged files in other files are set right.
    """

    name: str
    write: Callable[[Path], None]
    read: Read
    ways: Mapping[str, Sequence[Way]]
    after: Callable[[Path], None] = lambda folder: None


@dataclass(frozen=True)
class Reading:
    """What became of one mutant.

    Attributes:
        format: Its format.
        number: Its number, which is its seed; -1 is the good sample.
        result: See `Result`.
        words: What was raised, or what was seen.
        seconds: To read it.
        kibibytes: The most memory that it took beside what the process had.
    """

    format: str
    number: int
    result: Result
    words: str
    seconds: float = 0.0
    kibibytes: int = 0


def files(**contents: bytes) -> Callable[[Path], None]:
    """A function that writes these files; `__` in a name stands for a dot."""

    def write(folder: Path) -> None:
        for name, content in contents.items():
            (folder / name.replace("__", ".")).write_bytes(content)

    return write


def every_step(*steps: Callable[[], object]) -> None:
    """Do every step, though an earlier one is refused; then the first refusal is raised."""
    refusals = []
    for step in steps:
        try:
            step()
        except LacunetError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
