"""Many trainings under one protocol: same data, budget, augmentation and seeds; each scored once; then compared.

A benchmark is a folder. Its protocol is written to `benchmark.json` before anything trains. A second call with the same
protocol continues where the first stopped, and may add entrants and seeds.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lacunet.benchmark.account import account_of
from lacunet.benchmark.accounts_table import Spent, accounts_markdown
from lacunet.benchmark.page import TrainingRow, benchmark_page
from lacunet.benchmark.plan import BenchmarkSettings, Split, make_plan, method_file_of, notes_on
from lacunet.benchmark.rates import choose_rate, chosen_rate, mean_dice, rate_folder, with_rate
from lacunet.benchmark.sweep import Entrant
from lacunet.case import CaseFiles
from lacunet.comparison.compare import compare
from lacunet.comparison.comparison import CompareSettings, Comparison
from lacunet.comparison.ranking import RANKING, rank
from lacunet.crew.crew import Crew, Here, Lost, Place
from lacunet.errors import DataError, LacunetError, Problem, visible
from lacunet.evaluation.evaluate import EvaluateSettings, evaluate
from lacunet.evaluation.results import is_evaluation, join_evaluations
from lacunet.files import write_json, write_text
from lacunet.models.description import read_description
from lacunet.models.folder import model_folder
from lacunet.models.model import load_model
from lacunet.prediction.postprocess import Rule
from lacunet.prediction.predictor import Predictor
from lacunet.prediction.windows import Windows
from lacunet.progress import Progress, Silent
from lacunet.reading import read_json
from lacunet.schema import fitted
from lacunet.task import get_task
from lacunet.training.log import read_log
from lacunet.training.prepare_on import prepare_on
from lacunet.training.recipe import Recipe, make_recipe
from lacunet.training.train import BEFORE, train

FAILED = "failed.txt"
"""In the folder of a run or an evaluation: the traceback, where it failed by an error in code and not in data."""

_TRAIN_AGAIN = "remove the folder of the training, and it is done again"


@dataclass(frozen=True)
class PlannedRun:
    """One training of a benchmark."""

    entrant: str
    seed: int
    part: Split
    folder: Path

    @property
    def title(self) -> str:
        """`ccsd seed 1 fold-2`."""
        return " ".join(filter(None, [self.entrant, f"seed {self.seed}", self.part.name]))


@dataclass(frozen=True)
class Benchmarked:
    """The results of a benchmark so far.

    Attributes:
        comparison: Without post-processing; None where nothing could be scored.
        problems: Trainings and cases that failed.
        evaluations: Entrant -> folders of its evaluations without post-processing, one per seed.
    """

    comparison: Comparison | None
    problems: Sequence[Problem]
    evaluations: Mapping[str, Sequence[Path]]


def benchmark(
    entrants: Sequence[Entrant],
    parts: Sequence[Split],
    folder: Path,
    settings: BenchmarkSettings,
    progress: Progress = Silent(),
    crew: Crew | None = None,
) -> Benchmarked:
    """Train, score and compare; continue where an earlier call stopped.

    Args:
        entrants: What is trained.
        parts: One, or the folds of a cross-validation.
        folder: `benchmark.json`, `splits/`, `ENTRANT/seed-N/` (a run, its evaluations inside), `compare.html`,
            `comparison.csv`, `ranking.json`, `benchmark.md`; of a benchmark that chooses learning rates
            `ENTRANT/rates/RATE/` and `ENTRANT/rates.json`; with `settings.account` `spent.json`.
        settings: How every entrant is trained and scored.
        progress: Told of everything.
        crew: Where the trainings are; None: here, on the device of `settings`, one after the other.

    Raises:
        OutputError: the folder holds a benchmark of another protocol.
        RecipeError: a recipe does not fit its method, or the budget holds no training.
        DataError: a part has no case to train on, or none to score.
    """
    crew = crew or Here(settings.device)
    if not isinstance(crew, Here):
        _prepare_on(crew, entrants, parts, folder, progress)
    plan = make_plan(entrants, parts, folder, settings, progress)
    for part in [*parts, *([settings.rates.part] if settings.rates else [])]:
        lists = {"train": part.train, "val": part.val, "test": part.test}
        write_json(
            folder / "splits" / f"{part.name or 'split'}.json",
            {name: [case.name for case in cases] for name, cases in lists.items()},
        )
    recipes, problems = _recipes(plan, entrants, folder, settings, progress, crew)
    whole, parts = len(parts), parts[: settings.until or None]
    first = settings.seeds[:1] if settings.seeded else settings.seeds
    problems += _trained_and_scored(_planned(recipes, entrants, first, parts, folder), folder, settings, progress, crew)
    if settings.seeded and len(parts) == whole:
        best = _best(entrants, parts, folder, settings)
        planned = _planned(recipes, best, settings.seeds[1:], parts, folder)
        problems += _trained_and_scored(planned, folder, settings, progress, crew)
    evaluations, missing = _evaluations(entrants, parts, folder, settings)
    missing += _without_baseline(entrants, evaluations, settings)
    comparisons = _comparisons(evaluations, folder, settings)
    rows = _trainings(entrants, parts, folder, settings)
    page = benchmark_page(plan, rows, comparisons, notes_on(entrants), (len(parts), whole))
    if settings.account:
        spent, failed = _spent(recipes, entrants, rows, folder, settings, progress)
        problems += failed
        page += f"\n## What each training spent\n\n{accounts_markdown(spent)}\n"
    write_text(folder / "benchmark.md", page)
    plain = evaluations.get("", {})
    return Benchmarked(comparisons.get(""), [*problems, *missing], plain)


def _recipes(
    plan: Mapping[str, Any],
    entrants: Sequence[Entrant],
    folder: Path,
    settings: BenchmarkSettings,
    progress: Progress,
    crew: Crew,
) -> tuple[dict[str, Recipe], list[Problem]]:
    """Entrant -> its recipe with the learning rate that is best for it; without those that learn with no rate."""
    recipes = {entrant.name: make_recipe(plan["entrants"][entrant.name]["recipe"]) for entrant in entrants}
    rates = settings.rates
    if rates is None:
        return recipes, []
    open_ones = [entrant for entrant in entrants if chosen_rate(folder / entrant.folder) is None]
    planned = []
    for entrant in open_ones:
        for rate in rates.values:
            part, path = replace(rates.part, name=f"rate {rate:g}"), rate_folder(folder / entrant.folder, rate)
            tried = plan["entrants"][entrant.name].get("tried")
            recipe = with_rate(make_recipe(tried) if tried else recipes[entrant.name], rate)
            recipe = recipe.model_copy(update={"seed": settings.seeds[0]})
            planned.append((PlannedRun(entrant.name, settings.seeds[0], part, path), recipe))
    # Dice alone chooses. Distances would take longer than these trainings: young networks find pieces everywhere.
    by_dice = replace(settings, rules=(), policy=replace(settings.policy, distance="none"))
    problems = [*_trained_and_scored(planned, folder, by_dice, progress, crew)]
    found = {}
    for entrant in entrants:
        own = folder / entrant.folder
        chosen = chosen_rate(own) or choose_rate(own, rates, evaluation_name([]))
        if chosen is not None:
            found[entrant.name] = with_rate(recipes[entrant.name], chosen.rate)
    return found, problems


def _planned(
    recipes: Mapping[str, Recipe],
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    parts: Sequence[Split],
    folder: Path,
) -> list[tuple[PlannedRun, Recipe]]:
    """Every training of these entrants with these seeds, with its recipe: all entrants of a fold before the next."""
    return [
        (
            PlannedRun(entrant.name, seed, part, folder / entrant.folder / f"seed-{seed}" / part.name),
            recipes[entrant.name].model_copy(update={"seed": seed}),
        )
        for seed in seeds
        for part in parts
        for entrant in entrants
        if entrant.name in recipes
    ]


def _best(
    entrants: Sequence[Entrant], parts: Sequence[Split], folder: Path, settings: BenchmarkSettings
) -> list[Entrant]:
    """The entrants with the best mean Dice so far, by their first seed alone."""
    alone = replace(settings, seeds=settings.seeds[:1], rules=())
    evaluations = _evaluations(entrants, parts, folder, alone)[0].get("", {})
    dice = {name: mean_dice(path) for name, (path,) in evaluations.items()}
    order = sorted(dice, key=lambda name: -(dice[name] or 0.0))[: settings.seeded]
    return [entrant for entrant in entrants if entrant.name in order]


def _spent(
    recipes: Mapping[str, Recipe],
    entrants: Sequence[Entrant],
    trainings: Sequence[TrainingRow],
    folder: Path,
    settings: BenchmarkSettings,
    progress: Progress,
) -> tuple[dict[str, Spent], list[Problem]]:
    """Entrant -> what one of its trainings spent; and what could not be measured."""
    spent, problems = {}, []
    for entrant in entrants:
        if (recipe := recipes.get(entrant.name)) is None:
            continue
        own, account = folder / entrant.folder, None
        progress.doing(f"{entrant.name}: counting what a training spends")
        try:
            account = account_of(recipe, own, settings.device, method_file_of(recipe.method, settings))
        except Exception as error:  # a user's method may raise anything; the others are counted
            problems.append(failure(f"{entrant.name}, what it spends", error, own))
        seconds = [row.seconds for row in trainings if row.entrant == entrant.name]
        took = fmean(seconds) if seconds else None
        spent[entrant.name] = Spent(account, took, chosen_rate(own), recipe.train.learning_rate)
    write_json(folder / "spent.json", {name: one.to_json() for name, one in spent.items()})
    return spent, problems


def evaluation_name(rules: Sequence[str]) -> str:
    """`test`, or `test-et500-ncr`: the folder of an evaluation inside its run."""
    return "-".join(["test", *rules])


def _prepare_on(
    crew: Crew, entrants: Sequence[Entrant], parts: Sequence[Split], folder: Path, progress: Progress
) -> None:
    """Prepare the training cases of all parts, once for each preparation that a recipe wants."""
    cases = {files.name: files for part in parts for files in part.train}
    ordered = [cases[name] for name in sorted(cases)]
    wanted = {(entrant.recipe.task, entrant.recipe.prepare.preparation()) for entrant in entrants}
    for task, preparation in sorted(wanted, key=str):
        prepare_on(crew, ordered, get_task(task), preparation, folder / "prepared", progress)


def _trained_and_scored(
    runs: Sequence[tuple[PlannedRun, Recipe]],
    folder: Path,
    settings: BenchmarkSettings,
    progress: Progress,
    crew: Crew,
) -> Iterator[Problem]:
    """What fails of the trainings and their evaluations, wherever the crew does them."""
    here = isinstance(crew, Here)
    watched: Progress = progress if here else Silent()  # a worker elsewhere has no terminal; its run keeps a log
    done = crew.run(runs, partial(_trainer, folder, settings, watched))
    for number, ((training, _), problems) in enumerate(zip(runs, done, strict=True), start=1):
        if not here:
            progress.advanced("training and scoring", number, len(runs), f"{training.title}: done")
        yield from [Problem(training.title, problems.words)] if isinstance(problems, Lost) else problems


def _trainer(
    folder: Path, settings: BenchmarkSettings, progress: Progress, place: Place
) -> Callable[[tuple[PlannedRun, Recipe]], list[Problem]]:
    """A worker that trains and scores in its place."""
    return partial(_train_and_score, folder, replace(settings, device=place.device, share=place.share), progress)


def _train_and_score(
    folder: Path, settings: BenchmarkSettings, progress: Progress, run: tuple[PlannedRun, Recipe]
) -> list[Problem]:
    """One training and its evaluations, unless they are finished; a failure is returned, and the others continue."""
    training, recipe = run
    title = training.title
    done = training.folder / "done.json"
    problems: list[Problem] = []
    try:
        if not done.is_file():
            progress.said(f"{title}: training, {recipe.train.steps:,} steps")
            _train(training, recipe, folder, settings, progress)
            write_json(done, {"seconds": training_seconds(training.folder)})
        for rules in ((), *((rule,) for rule in settings.rules)):
            path = training.folder / evaluation_name([rule.name for rule in rules])
            if not is_evaluation(path):
                names = [rule.name for rule in rules]
                progress.said(", ".join([f"{title}: scoring {len(training.part.test)} cases", *names]))
                failed = score_run(training.folder, training.part.test, path, rules, settings, progress)
                problems += [Problem(f"{title}, {problem.case}", problem.message) for problem in failed]
        (training.folder / FAILED).unlink(missing_ok=True)
    except Exception as error:  # a user's method may raise anything; the other trainings continue
        problems.append(failure(title, error, training.folder))
    return problems


def failure(title: str, error: Exception, folder: Path) -> Problem:
    """Why a training or a scoring failed; the traceback is kept in the folder unless the error is lacunet's own."""
    if isinstance(error, LacunetError):
        return Problem(title, str(error))
    lines = "".join(traceback.format_exception(error)).splitlines()
    write_text(folder / FAILED, "".join(f"{visible(line)}\n" for line in lines))
    first = next(iter(str(error).strip().splitlines()), "no message")
    return Problem(title, f"{type(error).__name__}: {first} (where: {folder / FAILED})")


def _train(training: PlannedRun, recipe: Recipe, folder: Path, settings: BenchmarkSettings, progress: Progress) -> None:
    train(
        recipe,
        training.part.train,
        training.part.val,
        training.folder,
        resume=(training.folder / "recipe.toml").is_file(),
        device=settings.device,
        method_file=method_file_of(recipe.method, settings),
        card={"data": f"{len(training.part.train)} cases of {settings.data}"},
        progress=progress,
        prepared=folder / "prepared",
        share=settings.share,
    )


def score_run(
    run: Path,
    cases: Sequence[CaseFiles],
    path: Path,
    rules: Sequence[Rule],
    settings: BenchmarkSettings,
    progress: Progress,
) -> list[Problem]:
    """Evaluate a run, or continue its evaluation; returns the cases that failed."""
    own = read_description(model_folder(str(run))).method
    model = load_model(str(run), method_file_of(own, settings))
    windows = Windows((settings.window,) * 3 if settings.window else None, share=settings.share)
    predictor = Predictor(model, settings.device, settings.precision, windows)
    wanted = EvaluateSettings(
        subsets=settings.subsets or model.task.subsets,
        policy=settings.policy,
        rules=rules,
        data=settings.data,
        tumour_free=settings.tumour_free,
        cohorts=[one for one in settings.cohorts if any(files.name.startswith(one) for files in cases)],
        resume=True,
    )
    return list(evaluate(predictor, cases, path, wanted, progress).problems)


def training_seconds(run: Path) -> float:
    """Seconds that a training took, validation included, with the one that came before it.

    The parts of a resumed training are added up.
    """
    total, last = training_seconds(run / BEFORE) if (run / BEFORE).is_dir() else 0.0, 0.0
    for line in read_log(run):
        now = line["seconds"]
        total, last = (total + last, now) if now < last else (total, now)
    return round(total + last, 1)


class _Done(BaseModel):
    """`done.json` of a finished training."""

    seconds: Annotated[float, Field(ge=0)]


class _Environment(BaseModel):
    """What is read of a run's `environment.json`."""

    commit: str | None


def _seconds_and_commit(run: Path) -> tuple[float, str | None]:
    contents = [read_json(run / name, DataError, _TRAIN_AGAIN) for name in ("done.json", "environment.json")]
    done = fitted(_Done, contents[0], str(run / "done.json"), DataError, _TRAIN_AGAIN)
    made = fitted(_Environment, contents[1], str(run / "environment.json"), DataError, _TRAIN_AGAIN)
    return done.seconds, made.commit


def _evaluations(
    entrants: Sequence[Entrant], parts: Sequence[Split], folder: Path, settings: BenchmarkSettings
) -> tuple[dict[str, dict[str, list[Path]]], list[Problem]]:
    """Rule -> entrant -> its finished evaluations, one per seed; folds are joined to one."""
    found: dict[str, dict[str, list[Path]]] = {}
    problems = []
    for rule in ("", *(rule.name for rule in settings.rules)):
        name = evaluation_name([rule] if rule else [])
        for entrant in entrants:
            for seed in settings.seeds:
                run = folder / entrant.folder / f"seed-{seed}"
                paths = [run / part.name / name for part in parts]
                if not all(map(is_evaluation, paths)):
                    continue
                try:
                    path = join_evaluations(paths, run / name) if len(paths) > 1 else paths[0]
                    found.setdefault(rule, {}).setdefault(entrant.name, []).append(path)
                except LacunetError as error:
                    problems.append(Problem(f"{entrant.name} seed {seed}", str(error)))
    return found, problems


def _without_baseline(
    entrants: Sequence[Entrant], evaluations: Mapping[str, Mapping[str, Sequence[Path]]], settings: BenchmarkSettings
) -> list[Problem]:
    """A problem for each rule without the baseline: the others are then compared with the first that was scored."""
    wanted = settings.baseline or entrants[0].name
    return [
        Problem(
            f"baseline {wanted}",
            f"has no evaluation{' after ' + rule if rule else ''}; "
            f"the others are compared with {next(iter(scored))} instead",
        )
        for rule, scored in evaluations.items()
        if wanted not in scored
    ]


def _comparisons(
    evaluations: Mapping[str, Mapping[str, Sequence[Path]]], folder: Path, settings: BenchmarkSettings
) -> dict[str, Comparison]:
    """Rule -> its comparison, written into the folder, for a rule into a folder of its name inside."""
    found = {}
    for rule, of_entrants in evaluations.items():
        baseline = settings.baseline if settings.baseline in of_entrants else ""
        found[rule] = compare(of_entrants, folder / rule, CompareSettings(baseline, settings.published))
        if len(of_entrants) > 1:
            write_json(folder / rule / RANKING, rank(found[rule]).to_json())
    return found


def _trainings(
    entrants: Sequence[Entrant], parts: Sequence[Split], folder: Path, settings: BenchmarkSettings
) -> list[TrainingRow]:
    """What each finished training took, for the page."""
    rows = []
    for entrant in entrants:
        for seed in settings.seeds:
            for part in parts:
                run = folder / entrant.folder / f"seed-{seed}" / part.name
                if (run / "done.json").is_file():
                    took, commit = _seconds_and_commit(run)
                    rows.append(TrainingRow(entrant.name, seed, part.name, took, commit or "not stated"))
    return rows
