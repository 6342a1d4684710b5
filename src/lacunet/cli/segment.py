"""Masks: `lacunet segment`, `lacunet demo`."""

from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.import_ import Allow, Name, ShowNames, StripperName, Study, importer_of
from lacunet.cli.options import (
    Device,
    MethodFile,
    MirrorName,
    ModelName,
    Output,
    Overwrite,
    PrecisionName,
    Resume,
    Rules,
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
from lacunet.cli.terminal import print_segmented, print_survey, progress, say
from lacunet.errors import UsageError
from lacunet.segmentation.layout import Layout


def demo(output: Output = Path("demo"), model: ModelName = "default", seed: int = 7) -> None:
    """An invented patient with two of four sequences: mask and page."""
    from lacunet.segmentation.demo import run_demo

    predictor = predictor_of(model, "auto", "auto", 0, None)
    say("An invented patient with T1ce and FLAIR only ...")
    done = run_demo(predictor, output, seed)
    print_segmented(done, predictor.model.task)
    say(f"\nMask: {done.places.mask}")
    say(f"Page: {done.places.page}  (open it in a browser)")


def segment(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Case folders, folders of cases, a manifest.csv; or DICOM, in a folder or an archive."),
    ] = None,
    output: Output = Path("segmentations"),
    model: ModelName = "default",
    t1n: T1n = None,
    t1c: T1c = None,
    t2w: T2w = None,
    t2f: T2f = None,
    name: Name = None,
    subset: Annotated[str | None, typer.Option(help="Use only these of a case's sequences, such as t1c+t2f.")] = None,
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write a map per region.")
    ] = False,
    raw_probabilities: Annotated[
        bool, typer.Option("--raw-probabilities", help="Write the maps as the network gives them, not calibrated.")
    ] = False,
    convention: Annotated[str, typer.Option(help="Label convention of the masks.")] = "brats2023",
    postprocess: Rules = None,
    onto: Annotated[
        list[str] | None,
        typer.Option(
            help="After import: a scan that gets a mask on its own grid; else T1ce or FLAIR. May be repeated."
        ),
    ] = None,
    study: Study = None,
    stripper: StripperName = "auto",
    allow: Allow = False,
    show_names: ShowNames = False,
    may_import: Annotated[
        bool,
        typer.Option("--import/--no-import", help="Import scans with skull or on grids of their own, or refuse them."),
    ] = True,
    layout: Annotated[Layout, typer.Option(help="A folder per case (plain), or a BIDS derivative (bids).")] = "plain",
    viewer: Annotated[
        bool,
        typer.Option("--viewer/--no-viewer", help="Put scans and an interactive viewer into each page, or not."),
    ] = True,
    overwrite: Overwrite = False,
    resume: Resume = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    mirror: MirrorName = "none",
    method_file: MethodFile = None,
) -> None:
    """Segment one case or a cohort; each mask comes back on its scan's own grid.

    DICOM, and scans with skull or on grids of their own, are imported first (see `lacunet import`); --t1c FILE and the
    like then say which series is which.
    """
    from lacunet.data.labels import known_convention
    from lacunet.errors import Problem
    from lacunet.intake.found import Survey
    from lacunet.intake.importer import needs_import
    from lacunet.prediction.postprocess import get_rule
    from lacunet.segmentation.segment import SegmentSettings, segment_cases
    from lacunet.segmentation.sources import Sources
    from lacunet.segmentation.sources import segment as run_segmentation

    given = given_scans(t1n, t1c, t2w, t2f)
    task = task_of(model)
    settings = SegmentSettings(
        subset=task.subset(subset) if subset else None,
        convention=known_convention(convention, task),
        rules=[get_rule(rule) for rule in postprocess or []],
        probabilities=save_probabilities or raw_probabilities,
        raw_probabilities=raw_probabilities,
        overwrite=overwrite,
        resume=resume,
        layout=layout,
        viewer=viewer,
    )
    exports = [source for source in sources or [] if may_import and needs_import(source, task)]
    named = [source for source in sources or [] if source not in exports]
    overrule = given if exports else {}
    if len(exports) > 1 and overrule:
        raise UsageError(f"--{next(iter(overrule))} overrules one source, and there are {len(exports)}")
    cases, problems = cases_of(named, given, name or "case", task) if named or not exports else ([], [])
    require_writable(output)
    predictor = predictor_of(model, device, precision, window, method_file, mirror=mirror)
    targets = [task.modality(word) for word in onto or []]
    done = 0
    with progress() as bar:
        number, total = 0, len(cases) + len(exports)
        bar.advanced("segmenting", number, total, "segmenting")
        importer = importer_of(overrule, study, stripper, device, allow, show_names, name, bar, task)
        if may_import:
            there = Sources(cases, exports)
            results = run_segmentation(predictor, there, output, settings, importer, targets)
        else:
            results = segment_cases(predictor, cases, output, settings)
        for result in results:
            if isinstance(result, Survey):
                print_survey(result, task)
                total += len(result.visits) - 1
                bar.advanced("segmenting", number, total, "segmenting")
                continue
            number += 1
            bar.advanced("segmenting", number, total, "segmenting")
            if isinstance(result, Problem):
                problems.append(result)
            else:
                done += 1
                print_segmented(result, task)
    say(f"{done} of {done + len(problems)} cases in {output}")
    exit_with(problems)
