"""An evaluation as it was asked for: the same for every part of a cohort, and for what makes the table whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lacunet.cli.options import crew_for, end_of_part, exit_with, first_device, loading_of, part_for, task_of, team_like
from lacunet.cli.terminal import print_summary, progress, say
from lacunet.data.parts import in_part
from lacunet.data.source_table import PARTS
from lacunet.errors import OutputError
from lacunet.files import write_json
from lacunet.prediction.choices import Mirror, Precision
from lacunet.reading import is_file, read_json
from lacunet.schema import Strict, fitted
from lacunet.task import Task, get_task

if TYPE_CHECKING:
    from lacunet.case import CaseFiles
    from lacunet.errors import Problem
    from lacunet.evaluation.evaluate import EvaluateSettings

_ADVICE = "give the evaluation's command again, with --resume and without --part"


class Asked(Strict):
    """The options of `lacunet evaluate`, as they were typed, but for where the work is done and where results go."""

    model: str
    data: str
    split: str | None
    subsets: str
    policy: str
    postprocess: list[str]
    tumour_free: bool
    cohorts: list[str]
    labels: str | None
    device: str
    precision: Precision
    window: int
    mirror: Mirror
    method_file: str | None
    task: str | None

    @property
    def cases_are(self) -> Task:
        """The task of the cases."""
        return get_task(self.task) if self.task else task_of(self.model)


def is_asked(folder: Path) -> bool:
    """Whether an output folder holds parts of an evaluation."""
    return is_file(_file(folder))


def read_asked(folder: Path) -> Asked:
    """What the parts in an output folder were asked for.

    Raises:
        OutputError: the file is damaged.
    """
    path = _file(folder)
    return fitted(Asked, read_json(path, OutputError, _ADVICE), str(path), OutputError, _ADVICE)


def evaluate_asked(asked: Asked, output: Path, on: str, part_words: str | None, resume: bool) -> None:
    """Evaluate all cases, or a part of them; the last part makes the whole table.

    Args:
        asked: The evaluation.
        output: Where the results go.
        on: Where the work is done.
        part_words: `3/20`; None: all cases.
        resume: Go on where it stopped.
    """
    from lacunet.crew.crew import Place
    from lacunet.evaluation.evaluate import evaluate, score_part

    part, crew = part_for(part_words, output), crew_for(on, asked.device)
    settings = _settings(asked, resume)
    cases, problems = _cases(asked)
    method_file = Path(asked.method_file) if asked.method_file else None
    loading = loading_of(asked.model, asked.precision, asked.window, method_file, asked.task, asked.mirror)
    predictor = loading.on(Place(first_device(on, asked.device)))
    team = team_like(predictor, crew, loading)
    if part is not None:
        own = in_part(part, list(enumerate(cases)), lambda one: one[1].name)
        with progress() as bar:
            failed = score_part(predictor, [files for _, files in own], output, settings, bar, team)
        write_json(_file(output), asked.model_dump(mode="json"))
        if not end_of_part(output, part, {files.name: place for place, files in own}):
            exit_with([*problems, *failed])
            return
        settings, team = _settings(asked, resume=True), None
    with progress() as bar:
        result = evaluate(predictor, cases, output, settings, bar, team)
    print_summary(result.summary, asked.cases_are)
    say()
    say(f"page: {output / 'report.html'}")
    exit_with([*problems, *result.problems])


def _settings(asked: Asked, resume: bool) -> "EvaluateSettings":
    from lacunet.evaluation.evaluate import EvaluateSettings
    from lacunet.evaluation.metrics import get_policy
    from lacunet.prediction.postprocess import rules_named

    part = f", {asked.split.rpartition(':')[2]}" if asked.split else ""
    return EvaluateSettings(
        subsets=asked.cases_are.subsets_named(asked.subsets.split(",")),
        policy=get_policy(asked.policy),
        rules=rules_named(asked.postprocess),
        data=f"{Path(asked.data).resolve().name}{part}",
        tumour_free=asked.tumour_free,
        cohorts=asked.cohorts,
        resume=resume,
    )


def _cases(asked: Asked) -> "tuple[Sequence[CaseFiles], list[Problem]]":
    from lacunet.crew.over_cores import over_cores
    from lacunet.data.labelled import labelled_or_problems, named_part

    cases, problems = labelled_or_problems(Path(asked.data), asked.cases_are, asked.labels, over_cores)
    if asked.split is not None:
        cases = named_part(cases, asked.split, [problem.case for problem in problems])
    return cases, problems


def _file(output: Path) -> Path:
    return output / PARTS / "evaluation.json"
