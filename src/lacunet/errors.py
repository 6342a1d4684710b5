"""The errors that a user can meet. The command line prints each as one line; any other exception is a bug."""

import traceback
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of controls, invisible marks, halves of pairs, and ends of lines and paragraphs."""

_JOINERS = "\u200c\u200d"
"""Invisible marks that words of Persian and of Indian languages are spelled with."""


class LacunetError(Exception):
    """An error that the user can correct. The message says where, what was found, what was expected, what to do."""

    exit_status = 1


class UsageError(LacunetError):
    """The command or its options are wrong."""

    exit_status = 2


class DataError(LacunetError):
    """A scan, a case or a folder of cases is damaged, incomplete or unsuitable."""


class GeometryError(DataError):
    """Scans of one case do not lie on one grid, or a grid is impossible."""


class UnpreparedError(GeometryError):
    """Scans as they come from the scanner, on different grids or with skull: `lacunet import` prepares them."""


class LabelError(DataError):
    """A reference mask has values that its convention does not know, or no convention fits."""


class WholeBrainError(LabelError):
    """A mask covers most of the brain, as no tumour does."""


class OutputError(LacunetError):
    """A result cannot be written."""


class RecipeError(LacunetError):
    """A recipe has an unknown key or an invalid value."""

    exit_status = 2


class ModelError(LacunetError):
    """A model folder is incomplete, changed or unsafe."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one case, in one line for the user.

    Attributes:
        case: The case's name.
        message: The line.
        details: The traceback of an error that nobody foresaw. It may name a patient; only `lacunet --debug` shows it.
    """

    case: str
    message: str
    details: str = field(default="", compare=False, repr=False)


def problem_of(case: str, error: Exception) -> Problem:
    """What stopped a case, whatever it was, so that the other cases are still done."""
    if isinstance(error, LacunetError):
        return Problem(case, str(error))
    if _is_lack_of_memory(error):
        return Problem(case, "not enough memory for this case; use smaller windows (--window 96) or another machine")
    return Problem(case, unforeseen(error), "".join(traceback.format_exception(error)))


def _is_lack_of_memory(error: Exception) -> bool:
    """On a CPU torch has no type of its own for it, on a GPU a kind of RuntimeError."""
    words = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in words or "out of memory" in words)
    )


def unforeseen(error: Exception) -> str:
    """One line that asks for a report of an error that nobody foresaw.

    It has the error's kind and, of errors of the system, the system's reason; not its text, which may name a patient.
    """
    reason = error.strerror if isinstance(error, OSError) else None
    kind = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return (
        f"an error in lacunet itself ({kind}); please report it with what `lacunet --debug` shows, without names of "
        "patients"
    )


def visible(text: str) -> str:
    """A text as one line that neither steers a terminal nor hides a part of itself.

    Control characters, ends of lines, marks of direction and bytes that are no text become what Python writes for them
    (`\\x1b`, `\\n`, `\\u202e`).
    """
    if text.isprintable():
        return text
    return "".join(char if _is_shown(char) else char.encode("unicode_escape").decode() for char in text)


def _is_shown(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in _UNSHOWN


def nearest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'learning_rate'?"`, or an empty string when no known word is similar."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
