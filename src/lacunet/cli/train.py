"""Models: `lacunet train`, `lacunet evaluate`."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.options import (
    Cohorts,
    Device,
    Devices,
    Labels,
    MethodFile,
    MirrorName,
    On,
    Output,
    PartName,
    PrecisionName,
    Resume,
    Rules,
    TumourFree,
    Window,
    crew_for,
)
from lacunet.cli.terminal import progress, say
from lacunet.crew.chosen import ALLOWED
from lacunet.task import get_task


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/small/early_fusion.toml; or a run's own.")],
    data: Annotated[Path, typer.Option(help="Folder of cases with references, or a manifest.csv.")],
    output: Output,
    split: Annotated[
        Path | None,
        typer.Option(help="Split file with train and val; else one fifth of the persons are for validation."),
    ] = None,
    missing: Annotated[
        Path | None, typer.Option(help="Manifest of what each training case keeps (lacunet missing).")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as train.learning_rate=1e-4.")
    ] = None,
    lesions: Annotated[
        Path | None,
        typer.Option(help="Folder of further cases whose lesions are put into crops; the recipe says how often."),
    ] = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Folder of prepared cases that several runs share; else each run has its own.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="Start from a trained model.")] = None,
    init_partly: Annotated[
        bool, typer.Option("--init-partly", help="Take only those weights of --init that fit the recipe's network.")
    ] = False,
    resume: Resume = False,
    labels: Labels = None,
    on: Annotated[str, typer.Option("--on", help=f"Where cases are prepared: {ALLOWED}.")] = "here",
    device: Device = "auto",
    method_file: MethodFile = None,
) -> None:
    """Train a method by a recipe."""
    from lacunet.crew.crew import Here
    from lacunet.crew.over_cores import over_cores
    from lacunet.data.labelled import labelled, part_of
    from lacunet.data.missing import apply_missing, complete_share, read_missing
    from lacunet.data.split import folds
    from lacunet.training.prepare_on import prepare_on
    from lacunet.training.processes import processes_of
    from lacunet.training.recipe import read_recipe
    from lacunet.training.train import train as run_training

    settings = read_recipe(recipe, changes or [])
    task = get_task(settings.task)
    each = partial(over_cores, commands=processes_of(os.environ).here)
    cases = labelled(data, task, labels, each)
    if split is not None:
        training, validation = part_of(cases, split, "train"), part_of(cases, split, "val")
    else:
        first = folds(cases, 5, settings.seed)[0]
        training = [case for case in cases if case.name in first.train]
        validation = [case for case in cases if case.name in first.val]
    card = {"data": f"{len(training)} cases of {data.resolve().name}"}
    if missing is not None:
        training = apply_missing(training, read_missing(missing, task))
        share = complete_share({case.name: task.subset(case.images) for case in training}, task)
        card["data"] += f", {100 * share:.1f} % of them with every sequence"
        say(f"training on {card['data']}")
    given = labelled(lesions, task, None, each) if lesions is not None else []
    if lesions is not None:
        card["data"] += f"; lesions of {len(given)} cases of {lesions.resolve().name}"
    crew, where = crew_for(on, "cpu"), prepared or output / "prepared"
    with progress() as bar:
        if not isinstance(crew, Here):
            prepare_on(crew, training, task, settings.prepare.preparation(), where, bar)
        model = run_training(
            settings, training, validation, output, lesions=given,
            resume=resume, init=init, init_partly=init_partly, device=device, method_file=method_file, card=card,
            progress=bar, prepared=prepared,
        )  # fmt: skip
    say(f"model: {model}")


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model, a model folder or a run; or several, with commas.")],
    data: Annotated[Path, typer.Argument(help="Folder of cases with references, or a manifest.csv.")],
    output: Output,
    split: Annotated[str | None, typer.Option(help="FILE:PART, such as split.json:test.")] = None,
    subsets: Annotated[str, typer.Option(help="all, or names such as t1c+t2f,t2f.")] = "all",
    policy: Annotated[str, typer.Option(help="How empty masks are scored (docs/metrics.md).")] = "brats",
    postprocess: Rules = None,
    tumour_free: TumourFree = False,
    cohort: Cohorts = None,
    resume: Resume = False,
    labels: Labels = None,
    part: PartName = None,
    on: On = "here",
    device: Devices = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    mirror: MirrorName = "none",
    method_file: MethodFile = None,
    task: Annotated[str | None, typer.Option(help="The task of the cases, where it is not the model's: mets.")] = None,
) -> None:
    """Score a model on every subset of sequences: a table, a summary and a page."""
    from lacunet.cli.asked import Asked, evaluate_asked

    asked = Asked(
        model=model,
        data=str(data),
        split=split,
        subsets=subsets,
        policy=policy,
        postprocess=postprocess or [],
        tumour_free=tumour_free,
        cohorts=cohort or [],
        labels=labels,
        device=device,
        precision=precision,
        window=window,
        mirror=mirror,
        method_file=str(method_file) if method_file is not None else None,
        task=task,
    )
    evaluate_asked(asked, output, on, part, resume)
