"""Options that several commands share, and what is made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lacunet.cli.terminal import print_problems, say
from lacunet.crew.chosen import ALLOWED
from lacunet.errors import UsageError
from lacunet.prediction.choices import Mirror, Precision
from lacunet.task import Task, get_task

if TYPE_CHECKING:
    from lacunet.crew.crew import Crew
    from lacunet.data.hidden_names import Surveyed
    from lacunet.data.parts import Part
    from lacunet.errors import Problem
    from lacunet.prediction.predictor import Predictor
    from lacunet.prediction.team import Loading, Team

Cohorts = Annotated[
    list[str] | None,
    typer.Option("--cohort", help="Also summarise by themselves the cases whose names begin so; may be repeated."),
]
TumourFree = Annotated[
    bool, typer.Option("--tumour-free", help="Also count what is found in brains made of the healthy halves.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
ModelName = Annotated[
    str, typer.Option("--model", "-m", help="A shipped model, a model folder or a run; or several, with commas.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Devices = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps; or cuda:0,1: a process for each.")]
PartName = Annotated[
    str | None,
    typer.Option("--part", help="Only these cases, such as 3/20: the third of twenty parts (docs/scale.md)."),
]
On = Annotated[str, typer.Option("--on", help=f"Where the work is done: {ALLOWED} (docs/scale.md).")]
PrecisionName = Annotated[
    Precision, typer.Option("--precision", help="Of the arithmetic; auto takes bf16 where the hardware multiplies it.")
]
Window = Annotated[int, typer.Option(help="Voxels of a window's side; 0 sends the whole brain through at once.")]
MirrorName = Annotated[
    Mirror,
    typer.Option("--mirror", help="Average over mirror images: none, sides (twice the passes) or all (8 times)."),
]
MethodFile = Annotated[Path | None, typer.Option(help="Python file of a method of your own. It is run.")]
Labels = Annotated[str | None, typer.Option(help="Label convention of the references, where the data cannot tell.")]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--postprocess", help="A rule that changes masks, in place of the model's own; may be repeated; none: no rule."
    ),
]
TaskName = Annotated[str, typer.Option("--task", help="glioma, mets, or a JSON file that describes a task.")]
ShowNames = Annotated[bool, typer.Option("--show-names", help="Show file names, which may hold the name of a patient.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
T1n = Annotated[Path | None, typer.Option("--t1n", "--t1", help="The T1 scan, without contrast.")]
T1c = Annotated[Path | None, typer.Option("--t1c", "--t1ce", help="The T1 scan with contrast.")]
T2w = Annotated[Path | None, typer.Option("--t2w", "--t2", help="The T2 scan.")]
T2f = Annotated[Path | None, typer.Option("--t2f", "--flair", help="The FLAIR scan.")]


def task_of(model: str) -> Task:
    """The task of a model, or of several, from the first one's description alone."""
    from lacunet.models.description import read_description
    from lacunet.models.ensemble import members_of
    from lacunet.models.folder import model_folder

    return read_description(model_folder(members_of(model)[0])).task


def predictor_of(
    model: str,
    device: str,
    precision: Precision,
    window: int,
    method_file: Path | None,
    task: str | None = None,
    mirror: Mirror = "none",
) -> "Predictor":
    """A loaded model, or several, ready to predict; the cases may be of another task than the model's own."""
    from lacunet.crew.crew import Place

    return loading_of(model, precision, window, method_file, task, mirror).on(Place(device))


def loading_of(
    model: str,
    precision: Precision,
    window: int,
    method_file: Path | None,
    task: str | None = None,
    mirror: Mirror = "none",
) -> "Loading":
    """How a model, or several, is loaded; see `predictor_of`."""
    if window and window < 32:
        raise UsageError(f"--window {window}: at least 32 voxels, or 0 for the whole brain at once")
    from lacunet.prediction.team import Loading

    return Loading(model, precision, window, method_file and method_file.absolute(), task, mirror)


def crew_for(on: str, device: str) -> "Crew":
    """The crew that `--on` and `--device` name. Says so where its processes are in each other's way."""
    from lacunet.crew.chosen import crew_of, crowding
    from lacunet.crew.crew import Here

    crew = crew_of(on, device)
    if not isinstance(crew, Here):
        import torch

        if words := crowding(crew, torch.get_num_threads()):
            say(f"note: {words}")
    return crew


def team_of(crew: "Crew", loading: "Loading") -> "Team":
    """Predictors on the workers of a crew. One that works here is loaded now, so that a fault of it is told first."""
    from lacunet.crew.crew import Here, Place
    from lacunet.prediction.team import Team, as_team

    if isinstance(crew, Here):
        return as_team(loading.on(Place(crew.device)))
    return Team(crew, get_task(loading.task) if loading.task else task_of(loading.model), loading.on)


def part_for(words: str | None, folder: Path) -> "Part | None":
    """The part of a cohort that `--part` names.

    Raises:
        UsageError: there is no such part.
        OutputError: the folder was begun in another number of parts.
    """
    from lacunet.data.parts import begin_part, read_part

    if words is None:
        return None
    part = read_part(words)
    begin_part(folder, part)
    return part


def end_of_part(folder: Path, part: "Part", cases: Mapping[str, int]) -> bool:
    """Say that a part is done, and which are missing still; whether none is."""
    from lacunet.data.parts import end_part, missing_words

    missing = end_part(folder, part, cases)
    if missing:
        say(f"part {part} is done; {missing_words(missing, part.of)}")
    else:
        say(f"part {part} is done, and so are all others")
    return not missing


def first_device(on: str, device: str) -> str:
    """Where this process itself predicts, beside its workers: on a cluster it may lack what they have."""
    from lacunet.crew.chosen import crew_of
    from lacunet.crew.crew import Here
    from lacunet.crew.processes import Processes

    match crew_of(on, device):
        case Here() as crew:
            return crew.device
        case Processes() as crew:
            return crew.devices[0]
    return "cpu" if device == "cpu" else "auto"


def team_like(predictor: "Predictor", crew: "Crew", loading: "Loading") -> "Team | None":
    """The predictor of this process on the workers of a crew, with its precision; None where the crew is here."""
    from dataclasses import replace

    from lacunet.crew.crew import Here
    from lacunet.prediction.device import precision_of
    from lacunet.prediction.team import Team

    if isinstance(crew, Here):
        return None
    same = replace(loading, precision=precision_of(predictor.dtype))
    return Team(crew, predictor.model.task, same.on)


def cases_of(
    sources: Sequence[Path], given: dict[str, Path], name: str | None, task: Task, show_names: bool
) -> "Surveyed":
    """The cases to segment: from folders and manifests, or from scans given one by one."""
    from lacunet.data.hidden_names import Surveyed, case_given, survey_named

    if given and sources:
        raise UsageError("give either folders or single scans (--t1c FILE ...), not both")
    if given:
        return Surveyed([case_given(given, name or "case", task, show_names)])
    if not sources:
        raise UsageError("nothing to segment: name a case folder, a folder of cases, or scans (--t1c FILE --t2f FILE)")
    return survey_named(sources, task, show_names)


def given_scans(t1n: Path | None, t1c: Path | None, t2w: Path | None, t2f: Path | None) -> dict[str, Path]:
    """The options that name scans, by modality."""
    scans = {"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}
    return {modality: path for modality, path in scans.items() if path is not None}


def require_writable(folder: Path) -> None:
    """Fail before the long work, not after it."""
    from lacunet.files import write_text

    probe = folder / ".lacunet-can-write"
    write_text(probe, "")
    probe.unlink()


def exit_with(problems: "Sequence[Problem]") -> None:
    """List what failed, and leave with status 1 if anything did."""
    if problems:
        print_problems(problems)
        raise typer.Exit(1)
