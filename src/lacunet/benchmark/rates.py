"""Each entrant's learning rate, chosen among the same ones for all.

A training with each learns from three quarters of the first fold's training persons, and the others choose: the rate
with the best mean Dice over subsets and regions. No test case of the first fold is looked at. The persons who choose
are test persons of other folds, so that one number of each entrant, the same few values for all, has seen them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from lacunet.benchmark.budget import Budget
from lacunet.benchmark.plan import Rates, Split, parts_by_person
from lacunet.errors import DataError, UsageError
from lacunet.evaluation.results import is_evaluation
from lacunet.evaluation.summary import read_summary
from lacunet.files import write_json
from lacunet.reading import read_json
from lacunet.schema import fitted
from lacunet.training.recipe import Recipe

RATES = "rates"
"""In the folder of an entrant: a run for each rate, and beside it `rates.json`."""

_INNER = 4
_ADVICE = "remove the file, and the rate is chosen again"


class Chosen(BaseModel):
    """`rates.json`.

    Attributes:
        dice: Rate -> mean Dice of its training; None where that failed.
        rate: The best.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    dice: dict[str, float | None]
    rate: float


def rates_within(values: Sequence[float], part: Split, budget: Budget | None = None) -> Rates:
    """The rates, and a part of the training cases of a part, by person: a quarter of the persons choose.

    Args:
        values: The rates.
        part: The first fold.
        budget: Of each training that tries one, in steps or crops; None is that of the benchmark.

    Raises:
        DataError: fewer than four persons.
        UsageError: a budget in seconds.
    """
    if budget is not None and budget.seconds is not None:
        raise UsageError("rates_budget: is in seconds; give steps or crops, as in 200crops")
    return Rates(tuple(values), replace(parts_by_person(part.train, _INNER)[0], name="inner"), budget)


def with_rate(recipe: Recipe, rate: float) -> Recipe:
    """The recipe with another learning rate; stages that have one of their own keep its ratio to the recipe's."""
    ratio = rate / recipe.train.learning_rate
    stages = {
        name: stage
        if stage.learning_rate is None
        else stage.model_copy(update={"learning_rate": stage.learning_rate * ratio})
        for name, stage in recipe.stages.items()
    }
    train = recipe.train.model_copy(update={"learning_rate": rate})
    return recipe.model_copy(update={"train": train, "stages": stages})


def rate_folder(folder: Path, rate: float) -> Path:
    """Where the training with one rate is, in the folder of its entrant."""
    return folder / RATES / f"{rate:g}"


def chosen_rate(folder: Path) -> Chosen | None:
    """The choice of an earlier call, if there is one.

    Raises:
        DataError: `rates.json` holds something else.
    """
    path = folder / f"{RATES}.json"
    if not path.is_file():
        return None
    return fitted(Chosen, read_json(path, DataError, _ADVICE), str(path), DataError, _ADVICE)


def choose_rate(folder: Path, rates: Rates, evaluation: str) -> Chosen | None:
    """Choose among the trainings that were scored, and write the choice down: it holds in every later call.

    Args:
        folder: Of the entrant.
        rates: What was tried.
        evaluation: The folder of the scores inside a run.

    Returns:
        None where no training was scored.
    """
    dice = {f"{rate:g}": mean_dice(rate_folder(folder, rate) / evaluation) for rate in rates.values}
    scored = {rate: value for rate, value in dice.items() if value is not None}
    if not scored:
        return None
    chosen = Chosen(dice=dice, rate=float(max(scored, key=scored.__getitem__)))
    write_json(folder / f"{RATES}.json", chosen.model_dump())
    return chosen


def mean_dice(folder: Path) -> float | None:
    """Mean over subsets and regions, or None where there is no finished evaluation."""
    if not is_evaluation(folder):
        return None
    values = [region.dice for region in read_summary(folder / "summary.json").mean.values()]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
