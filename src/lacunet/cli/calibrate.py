"""Expected accuracy: `lacunet calibrate`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lacunet.cli.options import (
    Devices,
    Labels,
    MethodFile,
    MirrorName,
    On,
    Output,
    PrecisionName,
    Resume,
    Rules,
    Window,
    crew_for,
    exit_with,
    loading_of,
    require_writable,
    task_of,
)
from lacunet.cli.terminal import progress, say
from lacunet.errors import UsageError

if TYPE_CHECKING:
    from lacunet.calibration.out_of_fold import HeldOut
    from lacunet.case import CaseFiles
    from lacunet.crew.crew import Place
    from lacunet.models.calibration import Calibration
    from lacunet.prediction.predictor import Predictor
    from lacunet.prediction.team import Loading


def calibrate(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Fold runs: RUN=FILE:PART (the cases it has not seen), RUN (its own validation cases), or the folder "
            "of a benchmark's folds (folds/ccsd/seed-1)."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of cases with references, or a manifest.csv.")],
    output: Output,
    into: Annotated[
        str | None,
        typer.Option(help="Model folder, run or shipped model that the folds stand for; it gets the calibration."),
    ] = None,
    coverage: Annotated[float, typer.Option(help="Share of the cases that each range is to hold, 0.5 to 0.99.")] = 0.8,
    voxels: Annotated[int, typer.Option(help="How many voxels are sampled from the brain of each case.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the sampled voxels and the resampled persons.")] = 1,
    postprocess: Rules = None,
    resume: Resume = False,
    labels: Labels = None,
    on: On = "here",
    device: Devices = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    mirror: MirrorName = "none",
    method_file: MethodFile = None,
) -> None:
    """What to expect of a model, from cases that the models of its folds have not seen: docs/calibration.md."""
    from lacunet.calibration.calibrate import CalibrateSettings
    from lacunet.calibration.calibrate import calibrate as run_calibration
    from lacunet.calibration.out_of_fold import PassSettings, require_alike
    from lacunet.crew.over_cores import over_cores
    from lacunet.data.labelled import labelled_or_problems
    from lacunet.models.calibration import put_beside
    from lacunet.models.description import read_description
    from lacunet.models.folder import model_folder
    from lacunet.prediction.postprocess import rules_named, rules_of

    if not 0.5 <= coverage <= 0.99 or voxels < 1:
        raise UsageError(
            f"--coverage {coverage:g} --voxels {voxels}: coverage is a share from 0.5 to 0.99, voxels at least 1"
        )
    named = [words for run in runs for words in _folds_of(run)]
    cases, problems = labelled_or_problems(data, task_of(_parsed(named[0])[0]), labels, over_cores)
    faulty = [problem.case for problem in problems]
    folds = [held_out(words, cases, faulty) for words in named]
    if into is not None:
        require_alike([folds[0].model, into])
    own_rules = read_description(model_folder(into or folds[0].model)).postprocessing
    settings = CalibrateSettings(
        coverage=coverage,
        data=data.resolve().name,
        passing=PassSettings(
            voxels=voxels,
            seed=seed,
            rules=rules_of(rules_named(postprocess), own_rules),
            mirror=mirror,
            precision=precision,
            window=window,
            resume=resume,
        ),
    )
    crew = crew_for(on, device)
    require_writable(output)
    with progress() as bar:
        done = run_calibration(
            folds,
            {case.name: case.person for case in cases},
            output,
            settings,
            partial(_predictor_for, loading_of("", precision, window, method_file, mirror=mirror)),
            bar,
            crew,
        )
    for line in calibration_lines(done.calibration):
        say(line)
    problems += done.problems
    if into is not None and not problems:
        say(f"calibrated: {put_beside(done.calibration, model_folder(into))}")
    elif into is not None:
        say(f"{into} is not calibrated, because cases failed; correct them and continue with --resume")
    exit_with(problems)


def _predictor_for(loading: "Loading", model: str, place: "Place") -> "Predictor":
    return replace(loading, model=model).on(place)


def held_out(words: str, cases: Sequence["CaseFiles"], faulty: Sequence[str] = ()) -> "HeldOut":
    """The fold that the command line names: `RUN` or `RUN=FILE:PART`.

    Raises:
        UsageError: the words have another form, or the run kept no split file.
        DataError: no case is held out.
    """
    from lacunet.calibration.out_of_fold import HeldOut, own_split
    from lacunet.data.labelled import part_of
    from lacunet.errors import DataError

    run, split = _parsed(words)
    if split is None:
        path, part = own_split(run), "val"
        if path is None:
            raise UsageError(f"{run}: kept no list of its cases; name those that it has not seen: {run}=FILE:PART")
    else:
        file, colon, part = split.rpartition(":")
        if not colon:
            raise UsageError(f"{words}: expected RUN=FILE:PART, such as runs/fold0=fold0.json:val")
        path = Path(file)
    found = part_of(cases, path, part, faulty)
    if not found:
        raise DataError(f"{path}: part '{part}' is empty; name the cases that {run} has not seen")
    return HeldOut(run, tuple(found))


def _folds_of(words: str) -> list[str]:
    """`RUN=FILE:test` for each fold of a benchmark's folder of folds; any other words as they are.

    Raises:
        UsageError: it is the folder of the whole benchmark.
    """
    from lacunet.models.folder import run_of_benchmark

    folder = Path(words)
    if run := run_of_benchmark(folder):
        raise UsageError(f"{words}: is a benchmark's folder; name the folds of one of its methods, such as {run}")
    runs = sorted(folder.glob("fold-*"))
    return [f"{run}={folder.parents[1] / 'splits' / run.name}.json:test" for run in runs] or [words]


def _parsed(words: str) -> tuple[str, str | None]:
    """The run, and what follows the last `=`; an existing folder is a run even if its name has a `=`."""
    run, equals, split = words.rpartition("=")
    return (run, split) if equals and not Path(words).exists() else (words, None)


def calibration_lines(calibration: "Calibration") -> list[str]:
    """What a calibration found, a line each."""
    from lacunet.models.calibration import calibration_words

    lines = [calibration_words(calibration)]
    for size, temperature in calibration.temperatures.items():
        errors = [
            f"{region.upper()} {one.error:.4f} to {_digits(one.error_calibrated)}"
            for region, one in calibration.reliability[size].items()
        ]
        words = f"{size} sequence{'s' if size > 1 else ''}: temperature {temperature:.2f}"
        lines.append(f"  {words}; calibration error of cases left out {', '.join(errors)}")
    for region, one in calibration.volume_coverage.items():
        share = f"{one.held} of {one.cases} volumes ({one.held / one.cases:.0%})"
        lines.append(f"  {region.upper()}: {calibration.coverage:.0%} ranges held {share} of cases left out")
    return lines + [f"  note: {note}" for note in calibration.notes]


def _digits(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
