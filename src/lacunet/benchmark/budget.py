"""How long a step of a recipe takes here, and how many steps a budget of seconds or of crops holds.

Steps are decided by a measurement before a training begins. So schedules end at the last step, and the written recipe
can be repeated without a clock.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

from lacunet.case import CaseFiles
from lacunet.errors import RecipeError, UsageError
from lacunet.progress import Silent
from lacunet.training.objective import made_for
from lacunet.training.recipe import Recipe, laid_over, make_recipe
from lacunet.training.train import train

UNCOUNTED = 5
"""First steps of a stage, which are slower: memory is allocated and kernels are chosen."""
COUNTED = 12
ROUNDS = 3
LEAST = 10
"""The fewest steps of a budget."""

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """What each training may use: steps, seconds or crops; where none is given, the recipe's own steps."""

    steps: int | None = None
    seconds: float | None = None
    crops: int | None = None


def read_budget(words: str) -> Budget:
    """`2000steps`, `4000crops`, `1800s`, `30min`, `1.5h`.

    Raises:
        UsageError: something else.
    """
    match = re.fullmatch(r"([\d_]+(?:\.\d+)?)\s*(steps|crops|s|min|h)", words.strip())
    if not match or float(match[1]) <= 0 or (match[2] in ("steps", "crops") and "." in match[1]):
        raise UsageError(
            f"--budget {words}: not a budget; write for example 2000steps, 4000crops, 1800s, 30min or 1.5h"
        )
    if match[2] == "steps":
        return Budget(steps=int(match[1]))
    if match[2] == "crops":
        return Budget(crops=int(match[1]))
    return Budget(seconds=float(match[1]) * _UNITS[match[2]])


class _Stopwatch(Silent):
    """Notes when each step of each stage ended."""

    def __init__(self, stages: Sequence[str]) -> None:
        self.times: dict[str, list[float]] = {stage: [] for stage in stages}

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        """A step of a stage is done, or something else that is not measured."""
        if job in self.times:
            self.times[job].append(time.perf_counter())

    def counted(self) -> dict[str, list[float]]:
        """Stage -> seconds of its counted steps."""
        return {
            stage: [after - before for before, after in pairwise(times[UNCOUNTED:])]
            for stage, times in self.times.items()
            if times
        }


def seconds_a_step(
    recipes: Mapping[str, Recipe],
    cases: Sequence[CaseFiles],
    scratch: Path,
    *,
    prepared: Path | None = None,
    device: str = "auto",
    method_files: Mapping[str, Path] | None = None,
    counted: int = COUNTED,
    rounds: int = ROUNDS,
) -> dict[str, dict[str, float]]:
    """Seconds a step, measured by short trainings without validation; the recipes take turns. Reading data is included.

    Each round repeats the same steps, so that their median leaves out what else the machine did. Logging gradients
    (`gradients_every`) is not measured.

    Args:
        recipes: By name.
        cases: Two or three training cases.
        scratch: An empty folder for the short trainings.
        prepared: See `train`.
        device: See `train`.
        method_files: Files of methods that are not of the package, by the recipe's name.
        counted: Steps of each stage that are measured.
        rounds: How often.

    Returns:
        Name -> stage -> seconds, for the stages that the recipe runs.
    """
    turns: dict[str, list[dict[str, list[float]]]] = {name: [] for name in recipes}
    for number in range(rounds):
        for index, (name, recipe) in enumerate(recipes.items()):
            file = (method_files or {}).get(name)
            names = stage_names(recipe, file)
            watch, short = _Stopwatch(names), _short(recipe, names, counted)
            folder = scratch / f"{index}-{number}"
            train(short, cases, [], folder, device=device, method_file=file, progress=watch, prepared=prepared)
            turns[name].append(watch.counted())
    return {
        name: {
            stage: fmean(median(times) for times in zip(*(turn[stage] for turn in all_turns), strict=True))
            for stage in all_turns[0]
        }
        for name, all_turns in turns.items()
    }


def stage_names(recipe: Recipe, method_file: Path | None = None) -> list[str]:
    """All stages that share `train.steps`, also those that the arguments leave out."""
    return [stage.name for stage in made_for(recipe, method_file)[1]]


def crops_a_step(recipe: Recipe, method_file: Path | None = None) -> dict[str, float]:
    """Crops of a step of each stage that runs: a pace that is known without a measurement."""
    stages = [stage for stage in made_for(recipe, method_file)[1] if stage.wanted]
    return {stage.name: float(recipe.for_stage(stage.name).batch) for stage in stages}


def steps_within(
    recipe: Recipe, names: Sequence[str], pace: Mapping[str, float], amount: float, unit: str = "s"
) -> int:
    """The `train.steps` with which the stages that run take so many seconds, or crops, together.

    Args:
        recipe: Its `[stages]` say how steps are shared.
        names: All stages, in the method's order.
        pace: Seconds or crops a step of the stages that run.
        amount: The budget.
        unit: `s` or `crops`, for the message.

    Raises:
        RecipeError: it holds fewer than `LEAST` steps.
    """
    mean = mean_pace(recipe, names, pace)
    return _steps(recipe, mean, amount, unit)


def steps_with_earlier(
    recipe: Recipe, mean: float, first: Recipe, first_mean: float, amount: float, unit: str = "s"
) -> int:
    """The steps of a training and of the one before it, shared as they share them, that take so many seconds or crops.

    Args:
        recipe: The training.
        mean: Its seconds or crops a step.
        first: The one before it.
        first_mean: That one's.
        amount: The budget.
        unit: `s` or `crops`, for the message.

    Raises:
        RecipeError: it holds fewer than `LEAST` steps.
    """
    both = recipe.train.steps + first.train.steps
    return _steps(recipe, (recipe.train.steps * mean + first.train.steps * first_mean) / both, amount, unit)


def mean_pace(recipe: Recipe, names: Sequence[str], pace: Mapping[str, float]) -> float:
    """Seconds or crops a step of `train.steps`, of which a stage that is left out takes its share in no time."""
    shares = {name: recipe.stages[name].share if name in recipe.stages else 1.0 for name in names}
    return sum(shares[name] * pace[name] for name in pace) / sum(shares.values())


def _steps(recipe: Recipe, mean: float, amount: float, unit: str) -> int:
    steps = round(amount / mean)
    if steps < LEAST:
        raise RecipeError(
            f"{recipe.method}: {amount:g} {unit} hold {steps} steps of {mean:.2g} {unit}; give more or a smaller recipe"
        )
    return steps


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with other steps, validated as often as before.

    Where it has `[before]`, these are the steps of both trainings, shared as the recipe shares them.
    """
    first = recipe.earlier()
    if first is None:
        return _resized(recipe, steps)
    own = min(max(1, round(steps * recipe.train.steps / (recipe.train.steps + first.train.steps))), steps - 1)
    shorter = _resized(first, steps - own)
    change = {"train": {"steps": shorter.train.steps}, "validate": {"every": shorter.validate_.every}}
    return _resized(recipe, own).model_copy(update={"before": laid_over(recipe.before, change)})


def _resized(recipe: Recipe, steps: int) -> Recipe:
    every = max(1, round(recipe.validate_.every * steps / recipe.train.steps))
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"steps": steps}),
            "validate_": recipe.validate_.model_copy(update={"every": every}),
        }
    )


def _short(recipe: Recipe, names: Sequence[str], counted: int) -> Recipe:
    """The recipe with the same few steps in each stage. A few cases need not give any brain without a tumour."""
    fields = recipe.model_dump(by_alias=True, exclude_none=True, mode="json")
    each = UNCOUNTED + counted + 1
    fields.pop("before", None)
    fields["train"] |= {"steps": each * len(names), "gradients_every": 0, "save_every": each}
    fields["train"] |= {"healthy": 0.0, "phantoms": 0}
    fields["stages"] = {name: {**fields["stages"].get(name, {}), "share": 1.0} for name in names}
    return make_recipe(fields)
