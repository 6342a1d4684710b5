"""`summary.json`: what it holds, and how it is read. No torch here."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lacunet.errors import DataError


class Means(BaseModel):
    """Means of one region.

    Attributes:
        dice: 0 to 1.
        dice_present: Of the cases whose reference has the region; None where no case has it.
        hd95: mm; None where no case has one.
        n: Cases of a subset; None where these are means over subsets.
        n_hd95: Those of them that have an HD95.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    dice: float
    dice_present: float | None = None
    hd95: float | None = None
    n: int | None = None
    n_hd95: int | None = None


RegionMeans = dict[str, Means]
"""Region -> its means."""


class Empty(BaseModel):
    """Empty masks of each region.

    Attributes:
        references: Region -> cases whose reference is empty.
        predictions: Region -> predictions that are empty, one for each case and subset.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    references: dict[str, int] = {}
    predictions: dict[str, int] = {}


class Identity(BaseModel):
    """What was evaluated, and with which settings."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    weights: str = ""
    task: str = ""
    policy: str = ""
    subsets: tuple[str, ...] = ()
    postprocessing: tuple[str, ...] = ()
    precision: str = "not stated"
    windows: tuple[int, ...] | None = None
    mirror: str = "none"

    def to_json(self) -> dict[str, Any]:
        """What was set, in the order of the attributes."""
        return self.model_dump(exclude_unset=True)


class Summary(BaseModel):
    """The content of `summary.json`, and of the table on a model's card.

    Written are the entries that were set, in this order. Older files and cards lack some of them.

    Attributes:
        model: What was evaluated.
        policy: What empty masks score.
        cases: How many.
        subsets_evaluated: How many.
        subsets: Subset -> means over cases.
        mean: Means over the subsets.
        deviation: Standard deviation of the subsets' means.
        by_size: Number of sequences -> means over the subsets of that size.
        empty: How many masks are empty.
        aurc: Region -> area under the robustness curve of Dice (0 to 1); empty unless every subset was evaluated.
        aurc_normalised: The same, divided by the length of the axis.
        data: Which cases these are, in words.
        task: Its fields; None is the built-in task.
        identity: What was evaluated, and with which settings.
        failed: Case -> why it could not be evaluated.
        environment: Commit, versions and machine.
        seconds: How long the evaluation took.
        folds: Weights of each fold, where evaluations were joined.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    model: str = ""
    policy: str
    cases: int = 0
    subsets_evaluated: int = 0
    subsets: dict[str, RegionMeans] = {}
    mean: RegionMeans
    deviation: RegionMeans = {}
    by_size: dict[int, RegionMeans] = {}
    empty: Empty = Empty()
    aurc: dict[str, float] = {}
    aurc_normalised: dict[str, float] = {}
    data: str = "not stated"
    task: dict[str, Any] | None = None
    identity: Identity = Identity()
    failed: dict[str, str] = {}
    environment: dict[str, Any] = {}
    seconds: float | None = None
    folds: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What was set, in the order of the attributes."""
        return self.model_dump(exclude_unset=True)


def read_summary(path: Path) -> Summary:
    """Read `summary.json`.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a summary ({error}); evaluate again") from error
    return summary_of(content, path)


def summary_of(content: object, source: Path) -> Summary:
    """A summary from its JSON.

    Args:
        content: As in `summary.json`, or `results` of a model's card.
        source: The file, for the error.

    Raises:
        DataError: this is no summary; the first entry that is wrong is named.
    """
    try:
        return Summary.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(
            f"{source}: is no summary of an evaluation ({where}: {first['msg']}); evaluate again"
        ) from error
