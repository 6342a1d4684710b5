"""Evaluation folders made by hand: a Dice for each case, subset and region, and everything else to be changed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lacunet.evaluation.metrics import get_policy
from lacunet.evaluation.scores import Row, summarise, write_rows
from lacunet.files import write_json
from lacunet.task import GLIOMA, Task

SUBSETS = tuple(GLIOMA.subset_name(subset) for subset in GLIOMA.subsets)
SIX = tuple("abcdef")
ScoreOf = Callable[[str, str, str], float]
"""Case, subset, region -> Dice."""


def rows_made(
    dice: ScoreOf,
    cases: Sequence[str] = SIX,
    subsets: Sequence[str] = SUBSETS,
    task: Task = GLIOMA,
    without: Sequence[tuple[str, str]] = (),
    hd95: ScoreOf = lambda case, subset, region: 5.0,
) -> list[Row]:
    """A row for each case, subset and region; `without` names cases and regions whose reference is empty."""
    return [
        Row(
            case,
            subset,
            region,
            dice(case, subset, region),
            hd95(case, subset, region),
            reference_ml=0.0 if (case, region) in without else 10.0,
            prediction_ml=2.0,
        )
        for case in cases
        for subset in subsets
        for region in task.regions
    ]


def write_evaluation(
    folder: Path, rows: Sequence[Row], policy: str = "brats", task: Task = GLIOMA, **extra: Any
) -> Path:
    """What `lacunet evaluate` would leave; `extra` changes entries of the summary."""
    identity = {"weights": folder.as_posix(), "policy": policy, "postprocessing": [], "precision": "float32"}
    identity |= {"windows": None, **extra.pop("identity", {})}
    extra |= {} if task is GLIOMA else {"task": task.to_json()}
    told = {"data": "made by hand", "identity": identity, "failed": {}, "environment": {"commit": "abc"}, **extra}
    write_rows(folder / "cases.csv", rows)
    scores = summarise(rows, task, get_policy(policy), "model").to_json()
    write_json(folder / "summary.json", {**scores, **told})
    return folder


def steady(value: float, gains: Sequence[float] = (), cases: Sequence[str] = SIX) -> ScoreOf:
    """The same Dice everywhere, and a gain for each case."""
    own = dict(zip(cases, gains, strict=False))
    return lambda case, subset, region: value + own.get(case, 0.0)
