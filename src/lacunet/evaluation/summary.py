"""`summary.json`: what it holds, and how it is read. No torch here."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lacunet.errors import DataError
from lacunet.reading import read_json, shown
from lacunet.schema import fitted
from lacunet.task import Task

_AGAIN = "evaluate again"


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


class Monotony(BaseModel):
    """How often one more sequence makes the masks of a region worse, over the cases whose reference has it.

    Attributes:
        steps: Cases times subsets times sequences that can be added.
        worse: Those in which Dice falls by more than 0.01.
        share: Of all steps.
        fall: Mean of these falls, 0 to 1; None where there are none.
        worst: The largest.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    steps: int
    worse: int
    share: float
    fall: float | None = None
    worst: float | None = None


class FalsePositives(BaseModel):
    """Volumes that were found in brains without a tumour, of one region.

    Attributes:
        masks: How many: of each case one for each subset.
        mean: ml.
        median: ml.
        worst: ml.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    masks: int
    mean: float
    median: float
    worst: float


class TumourFree(BaseModel):
    """What is found in brains without a tumour.

    Attributes:
        cases: How many.
        subsets: Subset -> region -> volumes over the cases.
        by_size: Number of sequences -> region -> volumes over the cases and the subsets of that size.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    cases: int
    subsets: dict[str, dict[str, FalsePositives]] = {}
    by_size: dict[int, dict[str, FalsePositives]] = {}


class Cohort(BaseModel):
    """Means of some of the cases.

    Attributes:
        cases: How many.
        mean: Means over the subsets.
        full: From all sequences; empty if that was not evaluated.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    cases: int
    mean: RegionMeans
    full: RegionMeans = {}


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
        monotony: Region -> how often one more sequence makes its masks worse.
        tumour_free: What is found in brains without a tumour; None where none was evaluated.
        cohorts: Beginning of the cases' names -> means of these cases; empty where no cohorts were asked for.
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
    monotony: dict[str, Monotony] = {}
    tumour_free: TumourFree | None = None
    cohorts: dict[str, Cohort] = {}
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
    return summary_of(read_json(path, DataError, _AGAIN), path)


def summary_of(content: object, source: Path) -> Summary:
    """A summary from its JSON.

    Args:
        content: As in `summary.json`, or `results` of a model's card.
        source: The file, for the error.

    Raises:
        DataError: this is no summary; the first entry that is wrong is named.
    """
    return fitted(Summary, content, f"{source}: is no summary of an evaluation", DataError, _AGAIN)


def require_regions(summary: Summary, task: Task, source: Path) -> None:
    """Refuse a summary whose means are not those of a task's subsets and regions.

    Raises:
        DataError: a subset that the task does not have, or means without one of its regions.
    """
    subsets = {task.subset_name(subset) for subset in task.subsets}
    tables = {"mean": summary.mean, **{f"subsets.{name}": means for name, means in summary.subsets.items()}}
    if summary.deviation:
        tables["deviation"] = summary.deviation
    for key, means in tables.items():
        if missing := [region for region in task.regions if region not in means]:
            raise DataError(f"{source}: '{key}' has no region {missing[0]} of the task {shown(task.name)}; {_AGAIN}")
    if unknown := sorted(summary.subsets.keys() - subsets):
        raise DataError(f"{source}: the task {shown(task.name)} has no subset {shown(unknown[0])}; {_AGAIN}")
