"""Hospital scans to cases: `lacunet import`, and the importer of `lacunet segment`."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lacunet.cli.options import (
    On,
    Output,
    Overwrite,
    PartName,
    Resume,
    ShowNames,
    T1c,
    T1n,
    T2f,
    T2w,
    TaskName,
    crew_for,
    end_of_part,
    exit_with,
    given_scans,
    part_for,
    require_writable,
)
from lacunet.cli.terminal import dropped, print_imported, print_survey, progress, say
from lacunet.intake.align.choices import Stripper
from lacunet.progress import Progress
from lacunet.task import Task, get_task

if TYPE_CHECKING:
    from lacunet.intake.importer import Importer

Name = Annotated[str | None, typer.Option(help="Name of the case; it appears in results and file names.")]
Study = Annotated[
    str | None, typer.Option(help="Which of several visits: its date (2021-03-04) or the study's short name.")
]
StripperName = Annotated[Stripper, typer.Option("--stripper", help="What removes the skull.")]
Allow = Annotated[bool, typer.Option("--allow", help="Go on even if a step of import is judged to have failed.")]


def import_(
    source: Annotated[Path, typer.Argument(help="A folder or archive of DICOM, a BIDS folder, or loose NIfTI files.")],
    output: Output,
    t1n: T1n = None,
    t1c: T1c = None,
    t2w: T2w = None,
    t2f: T2f = None,
    name: Name = None,
    study: Study = None,
    stripper: StripperName = "auto",
    bias_correction: Annotated[bool, typer.Option("--n4", help="Correct the bias field of every scan.")] = False,
    allow: Allow = False,
    show_names: ShowNames = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    part: PartName = None,
    on: On = "here",
    device: Annotated[str, typer.Option(help="Where hd-bet computes: cpu or cuda.")] = "cpu",
    task: TaskName = "glioma",
) -> None:
    """Hospital scans to cases: recognised, registered, without skull, on one grid. Nothing is sent anywhere.

    --t1c FILE and the like say which series is which: a NIfTI file, a file of the series, or its number.
    """
    from lacunet.data.parts import in_part
    from lacunet.errors import Problem
    from lacunet.intake.build import ImportSettings
    from lacunet.intake.importer import Imported, Importer
    from lacunet.intake.survey import Wishes

    known = get_task(task)
    overrule = given_scans(t1n, t1c, t2w, t2f)
    chosen, crew = part_for(part, output), crew_for(on, device)
    require_writable(output)
    problems: list[Problem] = []
    done, left_out, where = 0, 0, dict[str, int]()
    with progress() as bar, ExitStack() as begun:
        bar.doing("looking")
        importer = Importer(
            wishes=Wishes(overrule, study, show_names),
            settings=ImportSettings(stripper, device, bias_correction, allow, overwrite),
            name=name,
            progress=bar,
            task=known,
        )
        for result in begun.enter_context(closing(importer.import_into(source, output, resume, chosen, crew))):
            if isinstance(result, Imported):
                done += 1
                print_imported(result, known)
            elif isinstance(result, Problem):
                problems.append(result)
            else:
                print_survey(result, known)
                left_out = result.dropped
                visits = list(enumerate(result.visits))
                own = in_part(chosen, visits, lambda one: importer.name_of(one[1]))
                where = {importer.name_of(visit): place for place, visit in own}
    if done:
        say()
        say(f"lacunet segment {output} segments what was imported")
    if left_out:
        say(f"{done} {'case' if done == 1 else 'cases'} in {output}; {dropped(left_out)}")
    if chosen is not None:
        end_of_part(output, chosen, where)
    exit_with(problems)


def importer_of(
    overrule: dict[str, Path],
    study: str | None,
    stripper: Stripper,
    device: str,
    allow: bool,
    show_names: bool,
    name: str | None,
    progress: Progress,
    task: Task,
) -> "Importer":
    """The importer that the options of `lacunet segment` describe."""
    from lacunet.intake.build import ImportSettings
    from lacunet.intake.importer import Importer
    from lacunet.intake.survey import Wishes

    settings = ImportSettings(stripper, "cuda" if device.startswith("cuda") else "cpu", allow=allow)
    return Importer(Wishes(overrule, study, show_names), settings, name, progress, task)
