"""Masks: `lacunet segment`, `lacunet demo`."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lacunet.cli.import_ import Allow, Name, StripperName, Study, importer_of
from lacunet.cli.options import (
    Devices,
    Labels,
    MethodFile,
    MirrorName,
    ModelName,
    On,
    Output,
    Overwrite,
    PartName,
    PrecisionName,
    Resume,
    Rules,
    ShowNames,
    T1c,
    T1n,
    T2f,
    T2w,
    Window,
    cases_of,
    crew_for,
    end_of_part,
    exit_with,
    given_scans,
    loading_of,
    part_for,
    predictor_of,
    require_writable,
    task_of,
    team_of,
)
from lacunet.cli.tally import Tally
from lacunet.cli.terminal import print_left_out, print_segmented, progress, say
from lacunet.errors import UsageError
from lacunet.prediction.choices import N4
from lacunet.segmentation.layout import COHORT_PAGE, Layout

if TYPE_CHECKING:
    from lacunet.segmentation.sources import Sources
    from lacunet.segmentation.write import Segmented
    from lacunet.task import Task


MOST_LINES = 10
"""Lines about what is left out for one reason; `sources.csv` and `lacunet check` have all."""


def demo(output: Output = Path("demo"), model: ModelName = "default", seed: int = 7) -> None:
    """An invented patient with two of four sequences: mask and page."""
    from lacunet.segmentation.demo import run_demo

    predictor = predictor_of(model, "auto", "auto", 0, None)
    say("An invented patient with T1ce and FLAIR only ...")
    done = run_demo(predictor, output, seed)
    print_segmented(done, predictor.model.task)
    say()
    say(f"Mask: {done.places.mask}")
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
        bool, typer.Option("--raw-probabilities", help="These maps as the network gives them, not calibrated.")
    ] = False,
    convention: Annotated[str, typer.Option(help="Label convention of the masks.")] = "brats2023",
    postprocess: Rules = None,
    onto: Annotated[
        list[str] | None,
        typer.Option(help="Scan whose own grid gets a mask after import; default T1ce, else FLAIR. May be repeated."),
    ] = None,
    study: Study = None,
    stripper: StripperName = "auto",
    allow: Allow = False,
    show_names: ShowNames = False,
    may_import: Annotated[
        bool, typer.Option("--import/--no-import", help="Import or refuse scans with skull or on grids of their own.")
    ] = True,
    references: Annotated[
        bool,
        typer.Option("--references", help="Measure the Dice with the reference mask of each case that has one."),
    ] = False,
    labels: Labels = None,
    layout: Annotated[Layout, typer.Option(help="A folder per case (plain), or a BIDS derivative (bids).")] = "plain",
    viewer: Annotated[
        bool,
        typer.Option("--viewer/--no-viewer", help="Put scans and an interactive viewer into each page, or not."),
    ] = True,
    n4: Annotated[
        N4,
        typer.Option(
            "--n4", help="Correct uneven brightness before the model sees a scan: off, auto (very uneven ones), on."
        ),
    ] = "off",
    leave_out_bad: Annotated[
        bool,
        typer.Option("--leave-out-bad", help="Leave out a scan that does not fit the others, of three or more."),
    ] = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    part: PartName = None,
    on: On = "here",
    device: Devices = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    mirror: MirrorName = "none",
    method_file: MethodFile = None,
) -> None:
    """Segment one case or a cohort; each mask comes back on its scan's own grid.

    DICOM, and scans with skull or on grids of their own, are imported first (see `lacunet import`); --t1c FILE and the
    like then say which series is which.
    """
    from lacunet.cohort.files import with_cohort, write_cohort
    from lacunet.crew.crew import Here
    from lacunet.data.labels import known_convention, with_conventions
    from lacunet.data.parts import in_part, table_of
    from lacunet.data.source_table import write_sources
    from lacunet.errors import OutputError, Problem
    from lacunet.intake.found import Survey
    from lacunet.prediction.postprocess import rules_named
    from lacunet.progress import Silent
    from lacunet.segmentation.bids import source_dataset
    from lacunet.segmentation.segment import segment_cases
    from lacunet.segmentation.sources import segment as segment_sources
    from lacunet.segmentation.write import SegmentSettings

    given = given_scans(t1n, t1c, t2w, t2f)
    task = task_of(model)
    settings = SegmentSettings(
        subset=task.subset(subset) if subset else None,
        convention=known_convention(convention, task),
        rules=rules_named(postprocess),
        probabilities=save_probabilities or raw_probabilities,
        raw_probabilities=raw_probabilities,
        reference=references,
        overwrite=overwrite,
        resume=resume,
        layout=layout,
        dataset=source_dataset(sources[0], output, show_names) if sources and len(sources) == 1 else None,
        viewer=viewer,
        n4=n4,
        leave_out_bad=leave_out_bad,
        part=part_for(part, output),
    )
    found = _sources_of(sources or [], given, name, task, may_import, show_names)
    if references:
        found = replace(found, cases=with_conventions(found.cases, task, labels))
    crew = crew_for(on, device)
    require_writable(output)
    team = team_of(crew, loading_of(model, precision, window, method_file, mirror=mirror))
    print_left_out(found.left_out, MOST_LINES)
    targets = [task.modality(word) for word in onto or []]
    unwritten: list[Problem] = []
    results_in: dict[str, Path] = {}
    where = {files.name: place for place, files in enumerate(found.cases)}
    own = {files.name: where[files.name] for files in in_part(settings.part, found.cases, lambda files: files.name)}
    tally = Tally(len(found.problems) + len(own) + len(found.exports), len(found.left_out))
    with progress() as bar, ExitStack() as begun:
        tally.show(bar)
        overrule = given if found.exports else {}
        steps = bar if isinstance(crew, Here) else Silent()  # workers elsewhere cannot draw here
        importer = importer_of(overrule, study, stripper, device, allow, show_names, name, steps, task)
        each: Iterable[Survey | Segmented | Problem]
        if may_import:
            each = begun.enter_context(closing(segment_sources(team, found, output, settings, importer, targets)))
        else:
            cases = begun.enter_context(closing(segment_cases(team, found.cases, output, settings)))
            each = chain(found.problems, cases)
        results = begun.enter_context(closing(with_cohort(each, output, tuple(task.regions), settings.part)))
        for result in results:
            if isinstance(result, OutputError):
                unwritten.append(Problem("the cohort", str(result)))
                continue
            if isinstance(result, Survey):
                tally.survey(result, task)
                tally.total += len(result.visits) - 1
                own |= {importer.name_of(visit): len(where) + place for place, visit in enumerate(result.visits)}
                tally.show(bar)
                continue
            tally.count(result)
            tally.show(bar)
            if not isinstance(result, Problem):
                results_in[result.name] = result.folder
                print_segmented(result, task)
    write_sources(table_of(output, settings.part), found.rows)
    tally.say(tally.number, "cases", output)
    _offer_changes(results_in, {files.name: files.person for files in found.cases}, output, model)
    if settings.part is not None and end_of_part(output, settings.part, own):
        write_cohort(output)
    if (output / COHORT_PAGE).is_file():
        say(f"page: {output / COHORT_PAGE}")
    exit_with([*tally.problems, *unwritten])


def _offer_changes(results: dict[str, Path], persons: dict[str, str], output: Path, model: str) -> None:
    """A line for every two visits of one person: what to type to compare them."""
    from lacunet.visits.offers import change_commands

    options = [] if model == "default" else ["--model", model]
    commands = change_commands(results, persons, output, options)
    for command in commands[:MOST_LINES]:
        say(f"two visits of one person: {command}")
    if len(commands) > MOST_LINES:
        say(f"and {len(commands) - MOST_LINES} more such pairs (docs/visits.md)")


def _sources_of(
    paths: Sequence[Path], given: dict[str, Path], name: str | None, task: "Task", may_import: bool, show_names: bool
) -> "Sources":
    """What there is to segment; scans given one by one make a case, or overrule what an export's series are taken for.

    Raises:
        DataError: a folder holds neither cases nor an export, or two cases have one name.
        UsageError: nothing is named, one name is given for several cases, or scans are given beside cases or beside
            several exports.
    """
    from lacunet.segmentation.sources import Sources, read_sources, under_name

    if not paths:
        return Sources(cases=cases_of([], given, name, task, show_names).cases)
    found = read_sources(paths, task, may_import, show_names)
    if given and len(found.exports) > 1:
        raise UsageError(f"--{next(iter(given))} works with one source only, and there are {len(found.exports)}")
    if given and len(found.exports) < len(paths):
        raise UsageError("give either folders or single scans (--t1c FILE ...), not both")
    return under_name(found, name)
