"""Masks: `lacunet segment`, `lacunet demo`."""

from pathlib import Path
from typing import Annotated

import typer

from lacunet.commands.options import (
    Device,
    MethodFile,
    ModelName,
    Output,
    PrecisionName,
    Resume,
    Rules,
    Window,
    cases_of,
    exit_with,
    predictor_of,
    require_writable,
    task_of,
)
from lacunet.terminal import print_segmented, progress, say


def demo(output: Output = Path("demo"), model: ModelName = "default", seed: int = 7) -> None:
    """An invented patient with two of four sequences: mask and page."""
    from lacunet.demo import run_demo

    predictor = predictor_of(model, "auto", "auto", 0, None)
    say("An invented patient of whom only T1ce and FLAIR were acquired ...")
    done = run_demo(predictor, output, seed)
    print_segmented(done, predictor.model.task)
    say(f"\nMask: {done.places.mask}")
    say(f"Page: {done.places.page}  (open it in a browser)")


def segment(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Case folders, folders of cases, or a manifest.csv.")
    ] = None,
    output: Output = Path("segmentations"),
    model: ModelName = "default",
    t1n: Annotated[Path | None, typer.Option("--t1n", "--t1", help="The T1 scan, without contrast.")] = None,
    t1c: Annotated[Path | None, typer.Option("--t1c", "--t1ce", help="The T1 scan with contrast.")] = None,
    t2w: Annotated[Path | None, typer.Option("--t2w", "--t2", help="The T2 scan.")] = None,
    t2f: Annotated[Path | None, typer.Option("--t2f", "--flair", help="The FLAIR scan.")] = None,
    name: Annotated[str, typer.Option(help="Name of the case when scans are given one by one.")] = "case",
    subset: Annotated[str | None, typer.Option(help="Use only these of a case's sequences, such as t1c+t2f.")] = None,
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write a map per region.")
    ] = False,
    raw_probabilities: Annotated[
        bool, typer.Option("--raw-probabilities", help="The same as the network gives them, not calibrated.")
    ] = False,
    convention: Annotated[str, typer.Option(help="Label convention of the masks.")] = "brats2023",
    postprocess: Rules = None,
    layout: Annotated[str, typer.Option(help="plain (a folder per case) or bids (a BIDS derivative).")] = "plain",
    viewer: Annotated[
        bool, typer.Option("--viewer/--no-viewer", help="Scans and an interactive viewer inside each page, or not.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    resume: Resume = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    method_file: MethodFile = None,
) -> None:
    """Segment one case or a cohort; each mask comes back on its scan's own grid."""
    from lacunet.data.labels import known_convention
    from lacunet.layout import known_layout
    from lacunet.postprocess import get_rule
    from lacunet.segment import Segmented, SegmentSettings, segment_cases

    scans = {"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}
    given = {modality: path for modality, path in scans.items() if path is not None}
    task = task_of(model)
    settings = SegmentSettings(
        subset=task.subset(subset) if subset else None,
        convention=known_convention(convention, task),
        rules=[get_rule(rule) for rule in postprocess or []],
        probabilities=save_probabilities or raw_probabilities,
        raw_probabilities=raw_probabilities,
        overwrite=overwrite,
        resume=resume,
        layout=known_layout(layout),
        viewer=viewer,
    )
    cases, problems = cases_of(sources or [], given, name, task)
    require_writable(output)
    predictor = predictor_of(model, device, precision, window, method_file)
    done: list[Segmented] = []
    with progress() as bar:
        job = bar.add_task("segmenting", total=len(cases))
        for result in segment_cases(predictor, cases, output, settings):
            bar.advance(job)
            if isinstance(result, Segmented):
                done.append(result)
                print_segmented(result, task)
            else:
                problems.append(result)
    say(f"{len(done)} of {len(done) + len(problems)} cases in {output}")
    exit_with(problems)
