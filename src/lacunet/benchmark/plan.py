"""What a benchmark decides before anything trains: the parts, the protocol, and each entrant's recipe with its steps.

It is written to `benchmark.json`, so that a second call uses the same.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lacunet.benchmark.budget import (
    Budget,
    crops_a_step,
    mean_pace,
    seconds_a_step,
    stage_names,
    steps_with_earlier,
    steps_within,
    with_steps,
)
from lacunet.benchmark.sweep import Entrant
from lacunet.case import CaseFiles
from lacunet.comparison.published.tables import choose_tables
from lacunet.crew.memory import ALONE, Share
from lacunet.data.split import folds, split_hash
from lacunet.environment import describe_environment
from lacunet.errors import DataError, OutputError, UsageError, nearest
from lacunet.evaluation.metrics import BRATS, MetricPolicy
from lacunet.files import plain_name, write_json
from lacunet.models.folder import PLAN
from lacunet.nn.papers import method_names
from lacunet.prediction.choices import Precision
from lacunet.prediction.postprocess import Rule
from lacunet.progress import Progress
from lacunet.reading import read_json
from lacunet.schema import fitted
from lacunet.scratch import scratch_folder
from lacunet.task import Subset, get_task
from lacunet.training.prepared import prepare_cases
from lacunet.training.recipe import Recipe

_OTHER_FOLDER = "choose another folder"


@dataclass(frozen=True)
class Split:
    """What one training learns from and is scored on.

    Attributes:
        name: Of a fold; empty where there is one part.
        train: Learns.
        val: Chooses the best weights; without cases the last weights are kept.
        test: Is scored once.
    """

    name: str
    train: Sequence[CaseFiles]
    val: Sequence[CaseFiles]
    test: Sequence[CaseFiles]


@dataclass(frozen=True)
class Rates:
    """Learning rates among which each entrant's is chosen, by a training with each.

    Attributes:
        values: The same for every entrant.
        part: What these trainings learn from and are judged on; no case of the first fold's test is in it.
        budget: Of each of these trainings; None is that of the benchmark.
    """

    values: tuple[float, ...]
    part: Split
    budget: Budget | None = None


@dataclass(frozen=True)
class BenchmarkSettings:
    """How every entrant is trained and scored.

    Attributes:
        data: Which cases these are, in words.
        seeds: Every entrant trains once with each.
        budget: Of one training.
        subsets: What is scored; empty is every subset of the task.
        policy: What empty masks score.
        rules: Each is one more evaluation, with this rule, beside the one without any.
        baseline: What the others are compared with; empty is the first.
        published: Published tables to show beside.
        missing: In words, which sequences the training cases keep; empty is all.
        method_file: Of a method that is not of the package.
        device: `auto`, `cpu`, `cuda`, ...
        precision: Of the evaluation.
        window: Voxels of a window's side in the evaluation; 0 sends the whole brain through at once.
        tumour_free: Also count what is found in brains made of the healthy halves.
        cohorts: How the names of cases begin that are also summarised by themselves.
        rates: Learning rates that are tried for every entrant; None takes those of the recipes.
        account: Also measure what each entrant's training spends (`account.py`).
        seeded: How many of the best entrants train with all seeds, the others with the first alone; 0 is every one.
        until: So many folds are trained and scored; 0 is every one. A later call goes on with the others.
        share: Of the memory, where trainings are side by side.
    """

    data: str = ""
    seeds: tuple[int, ...] = (1,)
    budget: Budget = field(default_factory=Budget)
    subsets: tuple[Subset, ...] = ()
    policy: MetricPolicy = BRATS
    rules: tuple[Rule, ...] = ()
    baseline: str = ""
    published: tuple[str, ...] = ()
    missing: str = ""
    method_file: Path | None = None
    device: str = "auto"
    precision: Precision = "auto"
    window: int = 0
    tumour_free: bool = False
    cohorts: tuple[str, ...] = ()
    rates: Rates | None = None
    account: bool = False
    seeded: int = 0
    until: int = 0
    share: Share = ALONE


def parts_by_person(cases: Sequence[CaseFiles], number: int, seed: int = 1) -> list[Split]:
    """Cross-validation: each case is scored once, by a training that saw no case of its person and chose nothing by it.

    Raises:
        DataError: fewer persons than folds.
    """
    by_name = {case.name: case for case in cases}
    return [
        Split(f"fold-{index}", [by_name[name] for name in fold.train], [], [by_name[name] for name in fold.val])
        for index, fold in enumerate(folds(cases, number, seed), start=1)
    ]


def _require_one_task(entrants: Sequence[Entrant]) -> None:
    tasks = {entrant.recipe.task for entrant in entrants}
    if len(tasks) > 1:
        raise UsageError(f"the recipes have several tasks ({', '.join(sorted(tasks))}); a benchmark has one")


def _require_names(entrants: Sequence[Entrant], settings: BenchmarkSettings) -> None:
    """Refuse unknown names now, and not after the trainings."""
    names = [entrant.name for entrant in entrants]
    if settings.baseline and settings.baseline not in names:
        raise UsageError(
            f"no baseline '{settings.baseline}'{nearest(settings.baseline, names)}; there are: {', '.join(names)}"
        )
    choose_tables(settings.published)
    taken = {"prepared", "splits", *(rule.name for rule in settings.rules)}
    for entrant in entrants:
        if entrant.folder in taken or "=" in entrant.name:
            raise UsageError(f"an entrant cannot be called '{entrant.name}'; give it another name")


class _Entrant(BaseModel):
    """What is read of an entrant in a plan."""

    asked: dict[str, Any]
    recipe: dict[str, Any]


class _Plan(BaseModel):
    """What is read of an earlier call's plan."""

    protocol: dict[str, Any]
    prepared: dict[str, str]
    entrants: dict[str, _Entrant]
    environment: dict[str, Any]


def _old_plan(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"entrants": {}}
    content: dict[str, Any] = read_json(path, OutputError, _OTHER_FOLDER)
    fitted(_Plan, content, f"{path}: is not the plan of a benchmark", OutputError, _OTHER_FOLDER)
    return content


def _require_parts(parts: Sequence[Split]) -> None:
    for part in parts:
        for words, cases in (("to train on", part.train), ("to score", part.test)):
            if not cases:
                raise DataError(f"{part.name or 'the split'}: no case {words}")
        for case in (*part.train, *part.val, *part.test):
            plain_name(case.name)


def make_plan(
    entrants: Sequence[Entrant],
    parts: Sequence[Split],
    folder: Path,
    settings: BenchmarkSettings,
    progress: Progress,
) -> dict[str, Any]:
    """The plan of an earlier call with new entrants added. It is written before it is returned.

    Returns:
        `protocol`; `prepared`, the hash of the prepared cases of each preparation; `environment`; and of each entrant
        `file`, the recipe as `asked` for, the `recipe` with its steps, `seconds_a_step` where they were measured, and
        `tried`: the recipe that tries learning rates, where that has a budget of its own.

    Raises:
        OutputError: the folder holds a benchmark of another protocol, or with another recipe of the same name.
        DataError: a part has no case to train on, or none to score.
        RecipeError: a recipe does not fit its method, or the budget holds no training.
    """
    _require_one_task(entrants)
    _require_parts([*parts, *([settings.rates.part] if settings.rates else [])])
    _require_names(entrants, settings)
    path = folder / PLAN
    old = _old_plan(path)
    asked = {"protocol": _protocol(entrants, parts, settings)}
    _require_same(path, old.get("protocol", {}), asked["protocol"])
    progress.said("preparing cases")
    prepared = dict(old.get("prepared", {}))
    for words, recipe in {_words(entrant.recipe): entrant.recipe for entrant in entrants}.items():
        prepared[words] = _prepared_hash(recipe, parts, folder, progress)
    _require_same(path, old.get("prepared", {}), prepared)
    known = old["entrants"]
    for entrant in entrants:
        before = known.get(entrant.name)
        if before is not None and before["asked"] != _fields(entrant.recipe):
            raise OutputError(
                f"{path}: this benchmark was started with another recipe as '{entrant.name}'; give yours another name "
                f"({entrant.name}-2={entrant.file}) or choose another folder"
            )
    new = [entrant for entrant in entrants if entrant.name not in known]
    decided = _decide(new, parts, folder, settings, progress)
    plan = {**asked, "prepared": prepared, "environment": old.get("environment", describe_environment())}
    plan["entrants"] = {**known, **decided}
    write_json(path, plan)
    return plan


def _protocol(entrants: Sequence[Entrant], parts: Sequence[Split], settings: BenchmarkSettings) -> dict[str, Any]:
    """What must be the same in every call of a benchmark."""
    lists = {
        part.name or "split": {
            name: {"cases": len(cases), "sha256": split_hash(case.name for case in cases)}
            for name, cases in (("train", part.train), ("val", part.val), ("test", part.test))
        }
        for part in [*parts, *([settings.rates.part] if settings.rates else [])]
    }
    task = get_task(entrants[0].recipe.task)
    return {
        "task": task.name,
        "data": settings.data,
        "split": lists,
        "missing": settings.missing or "nothing",
        "complete_training_cases": {
            part.name or "split": sum(set(case.images) >= set(task.modalities) for case in part.train) for part in parts
        },
        "budget": _budget_fields(settings.budget),
        **({"learning_rates": list(settings.rates.values)} if settings.rates else {}),
        **({"rates_budget": _budget_fields(settings.rates.budget)} if settings.rates and settings.rates.budget else {}),
        "subsets": [task.subset_name(subset) for subset in settings.subsets or task.subsets],
        "policy": settings.policy.name,
        "window": settings.window,
        "precision": settings.precision,
    }


def _budget_fields(budget: Budget) -> dict[str, int | float | None]:
    return {name: value for name, value in asdict(budget).items() if name != "crops" or value}


def _require_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse entries that differ; an entry that an earlier call did not write is not compared."""
    different = []
    for key, value in new.items():
        if key in old and old[key] != value:
            different.append(f"{key}: {json.dumps(old[key])} then, {json.dumps(value)} now")
    if different:
        told = "; ".join(different)
        raise OutputError(f"{path}: the benchmark was started with other settings ({told}); choose another folder")


def _prepared_hash(recipe: Recipe, parts: Sequence[Split], folder: Path, progress: Progress) -> str:
    """SHA-256 of the names and hashes of all prepared training cases, in the order of their names."""
    task, cases = get_task(recipe.task), {case.name: case for part in parts for case in part.train}
    ordered = [cases[name] for name in sorted(cases)]
    digest = hashlib.sha256()
    prepared = prepare_cases(ordered, task, recipe.prepare.preparation(), folder / "prepared", recipe.train.workers)
    for done, case in enumerate(prepared, start=1):
        digest.update(f"{case.name}\n{case.sha256}\n".encode())
        progress.advanced("preparing cases", done, len(ordered), "preparing cases")
    return digest.hexdigest()


def _words(recipe: Recipe) -> str:
    return f"{recipe.prepare.spacing:g} mm, clipped at {recipe.prepare.clip:g}"


def _fields(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON; its seed is the benchmark's."""
    fields: dict[str, Any] = recipe.model_dump(by_alias=True, exclude_none=True, mode="json", exclude={"seed"})
    return fields


def _decide(
    entrants: Sequence[Entrant],
    parts: Sequence[Split],
    folder: Path,
    settings: BenchmarkSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Each entrant's recipe with the steps of the budget, and the measurement behind them."""
    budget, paces, files = settings.budget, dict[str, dict[str, float]](), dict[str, Path]()
    for entrant in entrants:
        if (file := method_file_of(entrant.recipe.method, settings)) is not None:
            files[entrant.name] = file
    names = {entrant.name: stage_names(entrant.recipe, files.get(entrant.name)) for entrant in entrants}
    if budget.seconds is not None and entrants:
        progress.doing("measuring seconds a step")
        recipes = {entrant.name: entrant.recipe for entrant in entrants}
        firsts = {entrant.name: first for entrant in entrants if (first := entrant.recipe.earlier()) is not None}
        recipes |= {_before(name): first for name, first in firsts.items()}
        files |= {_before(name): files[name] for name in firsts if name in files}
        with scratch_folder() as scratch:
            paces = seconds_a_step(
                recipes, list(parts[0].train)[:2], scratch,
                prepared=folder / "prepared", device=settings.device, method_files=files,
            )  # fmt: skip
    decided = {}
    for entrant in entrants:
        wanted = {"recipe": budget}
        if settings.rates is not None and settings.rates.budget is not None:
            wanted["tried"] = settings.rates.budget
        decided[entrant.name] = {
            "file": entrant.file.as_posix(),
            "asked": _fields(entrant.recipe),
            **{
                word: _fields(_within(one, entrant, names[entrant.name], paces, files.get(entrant.name)))
                for word, one in wanted.items()
            },
            "seconds_a_step": paces.get(entrant.name),
            **({"seconds_a_step_before": paces[key]} if (key := _before(entrant.name)) in paces else {}),
            "environment": describe_environment(),
        }
    return decided


def _within(
    budget: Budget,
    entrant: Entrant,
    stages: Sequence[str],
    paces: Mapping[str, Mapping[str, float]],
    method_file: Path | None,
) -> Recipe:
    """The entrant's recipe with the steps that a budget holds."""
    recipe = entrant.recipe
    if budget.steps is not None:
        recipe = with_steps(recipe, budget.steps)
    elif budget.seconds is not None:
        recipe = with_steps(recipe, _steps_of(recipe, entrant.name, stages, paces, budget.seconds, "s"))
    elif budget.crops is not None:
        crops = _crops_a_step(entrant, method_file)
        recipe = with_steps(recipe, _steps_of(recipe, entrant.name, stages, crops, float(budget.crops), "crops"))
    recipe.steps_of(stages)
    return recipe


def _before(name: str) -> str:
    """What the training that comes before an entrant's is called among the measurements."""
    return f"{name}, before"


def _crops_a_step(entrant: Entrant, method_file: Path | None) -> dict[str, dict[str, float]]:
    """Crops of a step of each stage, of an entrant and of the training before it."""
    first = entrant.recipe.earlier()
    found = {entrant.name: crops_a_step(entrant.recipe, method_file)}
    return found if first is None else {**found, _before(entrant.name): crops_a_step(first, method_file)}


def _steps_of(
    recipe: Recipe,
    name: str,
    stages: Sequence[str],
    paces: Mapping[str, Mapping[str, float]],
    amount: float,
    unit: str,
) -> int:
    """The steps that a budget of seconds or crops holds, with those of the training before, if there is one."""
    first = recipe.earlier()
    if first is None:
        return steps_within(recipe, stages, paces[name], amount, unit)
    own, pace = mean_pace(recipe, stages, paces[name]), paces[_before(name)]
    others = list(pace) if first.objective != recipe.objective else stages
    return steps_with_earlier(recipe, own, first, mean_pace(first, others, pace), amount, unit)


def method_file_of(method: str, settings: BenchmarkSettings) -> Path | None:
    """The user's file, for a recipe whose method is not in the package."""
    return None if method in method_names() else settings.method_file


def notes_on(entrants: Sequence[Entrant]) -> list[str]:
    """In words: rows that are one recipe, and sections that should be the same for a fair comparison and differ."""
    found = [f"'{one.name}' is the same recipe as {_quoted(one.also)}, trained once" for one in entrants if one.also]
    for section, words in (
        ("prepare", "preparation"), ("augment", "augmentation"), ("transplant", "transplants"),
        ("validate", "validation"),
    ):  # fmt: skip
        values: dict[str, list[str]] = {}
        for entrant in entrants:
            values.setdefault(json.dumps(_fields(entrant.recipe)[section]), []).append(entrant.name)
        if len(values) > 1:
            groups = " | ".join(", ".join(names) for names in values.values())
            found.append(f"{words} differs ({groups}); --common RECIPE takes it from one recipe for all")
    return found


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
