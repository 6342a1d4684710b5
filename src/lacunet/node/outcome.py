"""What came of segmenting a study: a file that the program that works on it writes, and the node reads."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from lacunet.errors import OutputError
from lacunet.files import write_json
from lacunet.reading import read_json
from lacunet.schema import Strict, fitted

FILE_NAME = "outcome.json"

Kind = Literal["mask", "picture", "report"]


class Made(Strict):
    """An object that is to be sent.

    Attributes:
        uid: Its SOPInstanceUID.
        kind: What it is.
        file: Where it lies, below the outcome's folder.
    """

    uid: str
    kind: Kind
    file: str


class Outcome(Strict):
    """What came of a study.

    Attributes:
        reason: Why it failed; "" where it did not.
        volumes_ml: By the title of a region.
        notes: Cautions, doubts and warnings, free of personal data.
        made: What is to be sent, in this order.
        seconds: How long it took.
    """

    reason: str = ""
    volumes_ml: dict[str, float] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made: tuple[Made, ...] = ()
    seconds: float = 0.0


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write it, last of all files of the folder.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(folder / FILE_NAME, outcome.model_dump(mode="json"))


def read_outcome(folder: Path) -> Outcome:
    """Read it.

    Raises:
        OutputError: it is not there, since the program ended before, or is none.
    """
    advice = "do the study again: lacunet node retry"
    if not (folder / FILE_NAME).is_file():
        raise OutputError(f"the program that worked on it left no result; {advice}")
    content = read_json(folder / FILE_NAME, OutputError, advice)
    return fitted(Outcome, content, FILE_NAME, OutputError, advice)
