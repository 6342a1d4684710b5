"""Cases, subsets and regions -> a table of scores, its summary and a page."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from lacunet.case import Case, CaseFiles
from lacunet.crew.crew import Lost
from lacunet.data.mirrored import mirrored_case
from lacunet.data.nifti import load_case
from lacunet.environment import describe_environment
from lacunet.errors import DataError, OutputError, Problem, problem_of
from lacunet.evaluation.cohorts import cohorts_of, require_cohorts
from lacunet.evaluation.heat import worst_cases
from lacunet.evaluation.masks import masks_of
from lacunet.evaluation.metrics import BRATS, MetricPolicy, region_masks, score_regions
from lacunet.evaluation.page import CasePicture, EvaluationView, write_evaluation_page
from lacunet.evaluation.results import TUMOUR_FREE
from lacunet.evaluation.scores import Row, read_rows, rows_of, summarise, write_rows
from lacunet.evaluation.summary import Identity, Summary
from lacunet.files import path_in, write_json
from lacunet.models.model import Model
from lacunet.prediction.postprocess import Rule, apply_rules, rules_of
from lacunet.prediction.predictor import Predictor
from lacunet.prediction.team import Team, as_team
from lacunet.progress import Progress, Silent
from lacunet.reading import read_json
from lacunet.task import Subset, Task


@dataclass(frozen=True)
class EvaluateSettings:
    """What is evaluated, and how it is scored.

    Attributes:
        subsets: Subsets of the modalities; a case is scored for those that it has.
        policy: What empty masks score.
        rules: Post-processing, in order; None: the model's own.
        data: Which cases these are, in words, for the page.
        pictures: How many of the worst cases are drawn.
        tumour_free: Also segment what `mirrored_case` makes of the cases with a tumour in one half.
        cohorts: How the names of cases begin that are also summarised by themselves.
        resume: Continue an evaluation that was stopped.
    """

    subsets: tuple[Subset, ...]
    policy: MetricPolicy = BRATS
    rules: Sequence[Rule] | None = None
    data: str = ""
    pictures: int = 6
    tumour_free: bool = False
    cohorts: Sequence[str] = ()
    resume: bool = False

    def rules_for(self, model: Model) -> tuple[Rule, ...]:
        """The rules that masks of a model go through."""
        return rules_of(self.rules, model.postprocessing)


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation.

    Attributes:
        summary: As in `summary.json`.
        problems: Cases that could not be evaluated.
    """

    summary: Summary
    problems: Sequence[Problem]


def evaluate(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    folder: Path,
    settings: EvaluateSettings,
    progress: Progress = Silent(),
    team: Team | None = None,
) -> Evaluated:
    """Write `cases.csv`, `summary.json` and `report.html` into a folder, with `tumour_free.csv` where it is asked for.

    The rows of each case are written to `folder/parts/` as soon as the case is scored, so that a stopped evaluation can
    be continued (`settings.resume`).

    Args:
        predictor: The model on its device.
        cases: With references; their label convention is decided.
        folder: Where the results go.
        settings: What is evaluated.
        progress: Told of every case.
        team: Predictors like this one, whose workers share the cases; None: this one scores them all.

    Raises:
        DataError: no case could be evaluated.
        OutputError: the folder holds another evaluation, or cannot be written.
        UsageError: no case belongs to one of the cohorts.
    """
    started = time.monotonic()
    require_cohorts([files.name for files in cases], settings.cohorts)
    identity = _identity(predictor, settings)
    _open_folder(folder, identity, settings.resume)
    rows: list[Row] = []
    apart: list[Row] = []
    problems: list[Problem] = []
    for one in _each_scored(as_team(team or predictor), cases, folder, settings, progress):
        if isinstance(one, Problem):
            problems.append(one)
        else:
            rows += one.rows
            apart += one.apart
    if not rows:
        raise DataError("no case could be evaluated: " + "; ".join(problem.message for problem in problems[:3]))
    task = predictor.model.task
    cohorts = cohorts_of(rows, settings.cohorts, task, settings.policy)
    facts = {
        **({"cohorts": cohorts} if cohorts else {}),
        "data": settings.data,
        "task": task.to_json(),
        "identity": identity,
        "failed": {problem.case: problem.message for problem in problems},
        "environment": describe_environment(),
        "seconds": round(time.monotonic() - started, 1),
    }
    summary = summarise(rows, task, settings.policy, predictor.model.name, apart).model_copy(update=facts)
    write_rows(folder / "cases.csv", rows)
    if apart:
        write_rows(folder / TUMOUR_FREE, apart)
    write_json(folder / "summary.json", summary.to_json())
    write_evaluation_page(folder / "report.html", _view(predictor, cases, rows, summary, problems, settings))
    return Evaluated(summary, problems)


def score_part(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    folder: Path,
    settings: EvaluateSettings,
    progress: Progress = Silent(),
    team: Team | None = None,
) -> list[Problem]:
    """The beginning of `evaluate`, for some of the cases: their rows are kept in `folder/parts/`, where a call of
    `evaluate` with all cases and `settings.resume` finds them.

    Returns:
        Cases that could not be evaluated.

    Raises:
        OutputError: the folder holds another evaluation, or cannot be written.
    """
    _open_folder(folder, _identity(predictor, settings), resume=True)
    scored = _each_scored(as_team(team or predictor), cases, folder, settings, progress)
    return [one for one in scored if isinstance(one, Problem)]


@dataclass(frozen=True)
class Scored:
    """One case, scored.

    Attributes:
        rows: Its own.
        apart: Of the brain without a tumour that it gives.
    """

    rows: Sequence[Row]
    apart: Sequence[Row]


def _each_scored(
    team: Team, cases: Sequence[CaseFiles], folder: Path, settings: EvaluateSettings, progress: Progress
) -> Iterator[Scored | Problem]:
    scored = team.run(cases, partial(_scored, folder, settings))
    for done, files in enumerate(cases):
        progress.advanced("scoring cases", done, len(cases), f"scoring {files.name}")
        one = next(scored)
        yield Problem(files.name, one.words) if isinstance(one, Lost) else one
    progress.advanced("scoring cases", len(cases), len(cases), "scored")


def _scored(folder: Path, settings: EvaluateSettings, predictor: Predictor, files: CaseFiles) -> Scored | Problem:
    """Score a case; its rows are kept in `folder`."""
    try:
        rows = _rows_of_case(predictor, files, folder, settings)
        return Scored(rows, _rows_without_tumour(predictor, files, folder, settings))
    except Exception as error:
        return problem_of(files.name, error)


def score_case(predictor: Predictor, case: Case, settings: EvaluateSettings) -> list[Row]:
    """The rows of one case, in the order of the task's subsets.

    Raises:
        DataError: the case has no reference, or none of the subsets.
    """
    if case.reference is None:
        raise DataError(f"{case.name}: has no reference mask; an evaluation needs one")
    task = predictor.model.task
    possible = [subset for subset in settings.subsets if set(subset) <= set(case.images)]
    if not possible:
        raise DataError(f"{case.name}: has only {', '.join(case.acquired(task))}, none of the subsets asked for")
    reference = region_masks(case.reference, task)
    rows: dict[Subset, list[Row]] = {}
    rules = settings.rules_for(predictor.model)
    for prediction in predictor.each(case, possible):
        scores = score_regions(masks_of(prediction, rules, case.grid), reference, case.grid.spacing, settings.policy)
        rows[prediction.subset] = rows_of(case.name, task.subset_name(prediction.subset), scores)
    return [row for subset in possible for row in rows[subset]]


def _rows_of_case(predictor: Predictor, files: CaseFiles, folder: Path, settings: EvaluateSettings) -> list[Row]:
    part = path_in(folder / "parts", files.name, ".csv")
    if settings.resume and part.is_file():
        return read_rows(part)
    rows = score_case(predictor, load_case(files, predictor.model.task), settings)
    write_rows(part, rows)
    return rows


def _rows_without_tumour(predictor: Predictor, files: CaseFiles, folder: Path, settings: EvaluateSettings) -> list[Row]:
    """The rows of the brain without a tumour that a case gives; none where it gives none, or if it is not asked for."""
    if not settings.tumour_free:
        return []
    part = path_in(folder / "parts" / "tumour_free", files.name, ".csv")
    if settings.resume and part.is_file():
        return read_rows(part)
    task = predictor.model.task
    case = mirrored_case(load_case(files, task), task)
    rows = [] if case is None else score_case(predictor, case, settings)
    write_rows(part, rows)
    return rows


def _identity(predictor: Predictor, settings: EvaluateSettings) -> Identity:
    """What must be the same for parts to belong to one evaluation."""
    task = predictor.model.task
    return Identity(
        weights=predictor.model.sha256,
        task=task.name,
        policy=settings.policy.name,
        subsets=tuple(task.subset_name(subset) for subset in settings.subsets),
        postprocessing=tuple(rule.name for rule in settings.rules_for(predictor.model)),
        precision=str(predictor.dtype).removeprefix("torch."),
        windows=predictor.windows.size,
        mirror=predictor.mirror,
    )


def _open_folder(folder: Path, identity: Identity, resume: bool) -> None:
    path = folder / "parts" / "evaluation.json"
    if path.is_file():
        if not resume:
            raise OutputError(
                f"{folder}: holds an evaluation already; continue it with --resume or choose another folder"
            )
        if read_json(path, OutputError, "choose another folder") != json.loads(json.dumps(identity.to_json())):
            raise OutputError(f"{folder}: holds an evaluation of another model or with other settings; choose another")
    write_json(path, identity.to_json())


def _view(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    rows: Sequence[Row],
    summary: Summary,
    problems: Sequence[Problem],
    settings: EvaluateSettings,
) -> EvaluationView:
    model = predictor.model
    worst = worst_cases(model.task, rows, settings.pictures)
    by_name = {files.name: files for files in cases}
    return EvaluationView(
        model=model.name,
        task=model.task,
        summary=summary,
        rows=rows,
        data=settings.data,
        policy_words=settings.policy.summary,
        pictures=[_picture(predictor, by_name[name], subset, settings) for name, subset in worst],
        warnings=[f"{problem.case} was left out: {problem.message}" for problem in problems],
        provenance={
            "lacunet": version("lacunet"),
            "model": model.name,
            "weights (sha256)": model.sha256,
            "trained on": str(model.card.get("data", "not stated")),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "network grid": predictor.grids,
            "post-processing": ", ".join(rule.name for rule in settings.rules_for(model)) or "none",
        },
    )


def _picture(predictor: Predictor, files: CaseFiles, subset_name: str, settings: EvaluateSettings) -> CasePicture:
    task = predictor.model.task
    case = load_case(files, task)
    assert case.reference is not None
    subset = task.subset(subset_name)
    labels = apply_rules(settings.rules_for(predictor.model), predictor(case, subset).found(case.grid))
    modality = next(m for m in _clearest_first(task) if m in subset)
    return CasePicture(case.name, subset_name, modality, case.images[modality], case.grid, labels, case.reference)


def _clearest_first(task: Task) -> list[str]:
    """The task's modalities from last to first: FLAIR shows most of a glioma."""
    return list(reversed(task.modalities))
