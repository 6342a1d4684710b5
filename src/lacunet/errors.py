"""The errors that a user can meet. The command line prints each as one line; any other exception is a bug."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


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


class OutputError(LacunetError):
    """A result cannot be written."""


class RecipeError(LacunetError):
    """A recipe has an unknown key or an invalid value."""

    exit_status = 2


class ModelError(LacunetError):
    """A model folder is incomplete, changed or unsafe."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one case, in one line for the user."""

    case: str
    message: str


def nearest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'learning_rate'?"`, or an empty string when no known word is similar."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
