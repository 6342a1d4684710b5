"""The errors a user can meet. The command line prints each as one line; nothing else escapes from good code."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class LacunetError(Exception):
    """Something that the user can understand and mend. The message says where, what, what was expected, what to do."""

    exit_status = 1


class UsageError(LacunetError):
    """The command or its options are off; nothing was read yet."""

    exit_status = 2


class DataError(LacunetError):
    """A scan, a case or a folder of cases is not what it should be."""


class GeometryError(DataError):
    """Scans of one case do not lie on one grid, or a grid makes no sense."""


class UnpreparedError(GeometryError):
    """Scans as a scanner leaves them, on grids of their own or with skull: `lacunet import` makes them ready."""


class LabelError(DataError):
    """A reference mask has values that its convention does not know, or no convention fits."""


class OutputError(LacunetError):
    """A result cannot be written."""


class RecipeError(LacunetError):
    """A recipe has a key or a value that means nothing."""

    exit_status = 2


class ModelError(LacunetError):
    """A model folder is incomplete, changed or unsafe."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one case, in one line for the user."""

    case: str
    message: str


def nearest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'learning_rate'?"`, or nothing when no known word is near."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
