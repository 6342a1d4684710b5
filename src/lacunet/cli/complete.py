"""Estimates of the sequences that a patient lacks: `lacunet complete`."""

from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.options import (
    Device,
    MethodFile,
    Output,
    Overwrite,
    PrecisionName,
    Resume,
    ShowNames,
    T1c,
    T1n,
    T2f,
    T2w,
    Window,
    cases_of,
    exit_with,
    given_scans,
    predictor_of,
    require_writable,
    task_of,
)
from lacunet.cli.terminal import print_completed, progress, say


def complete(
    model: Annotated[str, typer.Option("--model", "-m", help="A model or a run that kept its recovery module.")],
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Case folders, folders of cases, or a manifest.csv.")
    ] = None,
    output: Output = Path("completions"),
    t1n: T1n = None,
    t1c: T1c = None,
    t2w: T2w = None,
    t2f: T2f = None,
    name: Annotated[str | None, typer.Option(help="Name of the case when scans are given one by one.")] = None,
    show_names: ShowNames = False,
    subset: Annotated[
        str | None,
        typer.Option(help="Show the network only these sequences, and estimate all others, scanned or not."),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    method_file: MethodFile = None,
) -> None:
    """Estimate the sequences that a case lacks, to look at. Estimates are not scans, and are marked as such."""
    from lacunet.segmentation.complete import Completed, CompleteSettings, complete_cases

    given = given_scans(t1n, t1c, t2w, t2f)
    task = task_of(model)
    settings = CompleteSettings(task.subset(subset) if subset else None, overwrite, resume)
    found = cases_of(sources or [], given, name, task, show_names)
    problems = list(found.problems)
    require_writable(output)
    predictor = predictor_of(model, device, precision, window, method_file)
    done = 0
    with progress() as bar:
        bar.advanced("completing", 0, len(found.cases), "completing")
        for number, result in enumerate(complete_cases(predictor, found.cases, output, settings), start=1):
            bar.advanced("completing", number, len(found.cases), "completing")
            if isinstance(result, Completed):
                done += 1
                print_completed(result, task)
            else:
                problems.append(result)
    say(f"{done} of {done + len(problems)} cases in {output}. Estimates are not scans.")
    exit_with(problems)
