"""Estimates of absent sequences, and sentences about them: `lacunet complete`, `lacunet prompts`."""

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
from lacunet.errors import OutputError
from lacunet.task import get_task


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
    name: Annotated[str, typer.Option(help="Name of the case when scans are given one by one.")] = "case",
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
    cases, problems = cases_of(sources or [], given, name, task)
    require_writable(output)
    predictor = predictor_of(model, device, precision, window, method_file)
    done = 0
    with progress() as bar:
        bar.advanced("completing", 0, len(cases), "completing")
        for number, result in enumerate(complete_cases(predictor, cases, output, settings), start=1):
            bar.advanced("completing", number, len(cases), "completing")
            if isinstance(result, Completed):
                done += 1
                print_completed(result, task)
            else:
                problems.append(result)
    say(f"{done} of {done + len(problems)} cases in {output}. Estimates are not scans.")
    exit_with(problems)


def prompts(
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write, a .safetensors file.")],
    encoder: Annotated[str, typer.Option(help="clip (openai/clip-vit-base-patch32) or minilm.")] = "clip",
    weights: Annotated[
        Path | None, typer.Option(help="Folder with the encoder's weights; else the hub is asked.")
    ] = None,
    task: Annotated[str, typer.Option(help="glioma, or a JSON file.")] = "glioma",
) -> None:
    """A text encoder's table of the sentences that dual_stage is told (arguments.text = FILE)."""
    from lacunet.nn.prompts import make_table, text_encoder, write_table

    if output.suffix != ".safetensors":
        raise OutputError(f"{output}: a table of prompts ends in .safetensors; its sentences go to a .json beside it")
    if output.exists():
        raise OutputError(f"{output}: is there already; choose another name")
    chosen = get_task(task)
    encode, provenance = text_encoder(encoder, None if weights is None else str(weights))
    table = make_table(chosen, encode, provenance)
    write_table(output, table)
    say(f"{output}: {len(table.sentences)} sentences by {table.name}, {table.vectors.shape[1]} numbers each")
