"""The commands, thin: each reads its options, calls one function of the library, and prints what a person needs.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lacunet.errors import DataError, LacunetError, OutputError, UsageError
from lacunet.task import GLIOMA, Task, get_task
from lacunet.terminal import TrainingBar, print_problems, print_segmented, print_summary, progress, say

if TYPE_CHECKING:
    from lacunet.case import CaseFiles
    from lacunet.data.names import Problem
    from lacunet.predict import Predictor

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segments brain tumours from whichever MRI sequences a patient has. Research software, not a medical device.",
)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
ModelName = Annotated[str, typer.Option("--model", "-m", help="A shipped model, a model folder, or a run.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
PrecisionName = Annotated[str, typer.Option(help="auto, bf16 or float32.")]
Window = Annotated[int, typer.Option(help="Voxels of a window's side; 0 sends the whole brain through at once.")]
MethodFile = Annotated[Path | None, typer.Option(help="Python file of a method of your own. It is run.")]
Labels = Annotated[str | None, typer.Option(help="Label convention of the references, where the data cannot tell.")]
Rules = Annotated[list[str] | None, typer.Option("--postprocess", help="A rule that changes masks; may be repeated.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")]


def main() -> None:
    """Run a command; every error a user can meet is one line and an exit status of 1 or 2."""
    try:
        app()
    except LacunetError as error:
        print(f"lacunet: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("lacunet: stopped; --resume goes on with what can be resumed", file=sys.stderr)
        sys.exit(130)
    except MemoryError:
        print("lacunet: not enough memory; use smaller windows (--window 96) or another machine", file=sys.stderr)
        sys.exit(1)


@app.command()
def demo(output: Output = Path("demo"), model: ModelName = "default", seed: int = 7) -> None:
    """An invented patient with two of four sequences: mask and page."""
    from lacunet.demo import run_demo

    predictor = _predictor(model, "auto", "auto", 0, None)
    say("An invented patient of whom only T1ce and FLAIR were acquired ...")
    done = run_demo(predictor, output, seed)
    print_segmented(done, predictor.model.task)
    say(f"\nMask: {done.folder / (done.name + '-mask.nii.gz')}")
    say(f"Page: {done.folder / 'report.html'}  (open it in a browser)")


@app.command()
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
    convention: Annotated[str, typer.Option(help="Label convention of the masks.")] = "brats2023",
    postprocess: Rules = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    resume: Resume = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    method_file: MethodFile = None,
) -> None:
    """Segment one case or a cohort; each mask comes back on its scan's own grid."""
    from lacunet.data.labels import known_convention
    from lacunet.postprocess import get_rule
    from lacunet.segment import Segmented, SegmentSettings, segment_cases

    scans = {"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}
    given = {modality: path for modality, path in scans.items() if path is not None}
    task = _task_of(model)
    settings = SegmentSettings(
        subset=task.subset(subset) if subset else None,
        convention=known_convention(convention, task),
        rules=[get_rule(rule) for rule in postprocess or []],
        probabilities=save_probabilities,
        overwrite=overwrite,
        resume=resume,
    )
    cases, problems = _sources(sources or [], given, name, task)
    _require_writable(output)
    predictor = _predictor(model, device, precision, window, method_file)
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
    _exit_with(problems)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/small/early_fusion.toml; or a run's own.")],
    data: Annotated[Path, typer.Option(help="Folder of cases with references, or a manifest.csv.")],
    output: Output,
    split: Annotated[
        Path | None, typer.Option(help="Split file with train and val; else one fifth of the persons validate.")
    ] = None,
    missing: Annotated[
        Path | None, typer.Option(help="Manifest of what each training case keeps (lacunet missing).")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as train.learning_rate=1e-4.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="Start from a trained model.")] = None,
    resume: Resume = False,
    labels: Labels = None,
    device: Device = "auto",
    method_file: MethodFile = None,
) -> None:
    """Train a method by a recipe."""
    from lacunet.data.missing import apply_missing, read_missing
    from lacunet.data.split import folds
    from lacunet.recipe import read_recipe
    from lacunet.train import train as run_training

    settings = read_recipe(recipe, changes or [])
    task = get_task(settings.task)
    cases = _labelled(data, task, labels)
    if split is not None:
        training, validation = _part(cases, split, "train"), _part(cases, split, "val")
    else:
        first = folds(cases, 5, settings.seed)[0]
        training = [case for case in cases if case.name in first.train]
        validation = [case for case in cases if case.name in first.val]
    if missing is not None:
        training = apply_missing(training, read_missing(missing, task))
    card = {"data": f"{len(training)} cases of {data.resolve().name}"}
    with progress() as bar:
        watcher = TrainingBar(bar)
        model = run_training(
            settings, training, validation, output,
            resume=resume, init=init, device=device, method_file=method_file, card=card, progress=watcher,
        )  # fmt: skip
    say(f"model: {model}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model, a model folder, or a run.")],
    data: Annotated[Path, typer.Argument(help="Folder of cases with references, or a manifest.csv.")],
    output: Output,
    split: Annotated[str | None, typer.Option(help="FILE:PART, such as split.json:test.")] = None,
    subsets: Annotated[str, typer.Option(help="all, or names such as t1c+t2f,t2f.")] = "all",
    policy: Annotated[str, typer.Option(help="What empty masks score (docs/metrics.md).")] = "brats",
    task: Annotated[str | None, typer.Option(help="Read the cases as of another task than the model's: mets.")] = None,
    postprocess: Rules = None,
    resume: Resume = False,
    labels: Labels = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    method_file: MethodFile = None,
) -> None:
    """Score a model on every subset of sequences: a table, a summary and a page."""
    from lacunet.evaluate import EvaluateSettings
    from lacunet.evaluate import evaluate as run_evaluation
    from lacunet.metrics import get_policy
    from lacunet.postprocess import get_rule

    cases_are = get_task(task) if task else _task_of(model)
    settings = EvaluateSettings(
        subsets=cases_are.subsets_named(subsets.split(",")),
        policy=get_policy(policy),
        rules=[get_rule(rule) for rule in postprocess or []],
        data=f"{data.resolve().name}{', ' + split.rpartition(':')[2] if split else ''}",
        resume=resume,
    )
    cases = _labelled(data, cases_are, labels)
    if split is not None:
        cases = _named_part(cases, split)
    predictor = _predictor(model, device, precision, window, method_file, task)
    with progress() as bar:
        job = bar.add_task("evaluating", total=len(cases))
        result = run_evaluation(
            predictor,
            cases,
            output,
            settings,
            lambda case, done, total: bar.update(job, completed=done, description=case),
        )
    print_summary(result.summary, cases_are)
    say(f"\npage: {output / 'report.html'}")
    _exit_with(result.problems)


@app.command()
def methods() -> None:
    """The methods there are, and where they were published."""
    from lacunet.papers import method_names, paper_of

    for name in method_names():
        paper = paper_of(name)
        say(f"{name}\n    {paper.idea}\n    {paper.authors} {paper.year}, {paper.title}. {paper.venue} {paper.url}")


@app.command()
def models() -> None:
    """The models that ship, with their measured Dice."""
    from lacunet.model_folder import model_folder, read_description, shipped_models

    for name in shipped_models():
        description = read_description(model_folder(name))
        card = description["card"]
        spacing = description["preparation"]["spacing"]
        say(f"{name}: {description['method']}, {spacing:g} mm, trained on {card.get('data')}; {card.get('licence')}")
        if "results" in card:
            say(f"  {card['results']['data']}, {card['results']['cases']} cases:")
            print_summary(card["results"], Task.from_json(description["task"]))


@app.command()
def phantom(
    output: Output,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Number of the first; a name is a seed.")] = 0,
    spacing: Annotated[float, typer.Option(help="Millimetres between voxels.")] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace patients that are there.")] = False,
) -> None:
    """Invented patients in BraTS layout, with references."""
    from lacunet.data.phantom import write_phantoms

    _require_writable(output)
    with progress() as bar:
        bar.add_task("inventing", total=None)
        written = write_phantoms(output, count, seed, spacing=spacing, overwrite=overwrite)
    say(f"{len(written)} invented patients in {output}")


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Folder of cases, or a manifest.csv.")],
    labels: Labels = None,
    task: Annotated[str, typer.Option(help="glioma, mets, or a JSON file.")] = "glioma",
) -> None:
    """What is there, what is missing, what is wrong."""
    from lacunet.data.check import check as examine

    findings = examine(data, get_task(task), labels)
    for case in findings.cases:
        place = (
            f"{'x'.join(map(str, case.shape))}, {' x '.join(f'{s:g}' for s in case.spacing)} mm"
            if case.shape and case.spacing
            else ""
        )
        values = f"labels {sorted(case.values)} ({case.convention})" if case.values is not None else "no reference"
        say(f"{case.name}: {'+'.join(case.acquired) or 'no scan'}; {place}; {values}")
        for note in case.notes:
            say(f"    note: {note}")
    say(f"\n{len(findings.cases)} cases; " + "; ".join(f"{name}: {count}" for name, count in findings.subsets.items()))
    for family, count in findings.families.items():
        say(f"{family} names: {count} cases, labels {findings.conventions.get(family) or 'undecided or none'}")
    _exit_with(findings.all_problems)


@app.command()
def missing(
    data: Annotated[Path, typer.Argument(help="Folder of cases, or a manifest.csv.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write, a .csv file.")],
    full: Annotated[float, typer.Option(help="Share of the cases that stay complete, 0 to 1.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Same seed, same draw.")] = 1,
    split: Annotated[str | None, typer.Option(help="FILE:PART, such as split.json:train.")] = None,
) -> None:
    """Draw once which training cases lose which sequences for good; every method then trains on the same."""
    from lacunet.data.find import find_cases
    from lacunet.data.missing import complete_share, draw_missing, write_missing

    cases = find_cases(data)
    if split is not None:
        cases = _named_part(cases, split)
    manifest = draw_missing([case.name for case in cases], GLIOMA, full, seed)
    if output.exists():
        raise OutputError(f"{output}: is there already; a manifest is drawn once, choose another name")
    write_missing(output, manifest)
    say(f"{output}: {len(manifest)} cases, {100 * complete_share(manifest):.1f} % complete")


def _task_of(model: str) -> Task:
    """A model's task, from its description alone."""
    from lacunet.model_folder import model_folder, read_description

    return Task.from_json(read_description(model_folder(model))["task"])


def _predictor(
    model: str, device: str, precision: str, window: int, method_file: Path | None, task: str | None = None
) -> "Predictor":
    if precision not in ("auto", "bf16", "float32"):
        raise UsageError(f"--precision {precision}: use auto, bf16 or float32")
    if window and window < 32:
        raise UsageError(f"--window {window}: at least 32 voxels, or 0 for the whole brain at once")
    from lacunet.model import for_task, load_model
    from lacunet.predict import Predictor, Windows

    windows = Windows((window, window, window)) if window else Windows()
    loaded = load_model(model, method_file)
    if task is not None:
        loaded = for_task(loaded, get_task(task))
    return Predictor(loaded, device, precision, windows)  # type: ignore[arg-type]


def _sources(
    sources: Sequence[Path], given: dict[str, Path], name: str, task: Task
) -> tuple[list["CaseFiles"], list["Problem"]]:
    """The cases to segment: from folders and manifests, or from scans given one by one."""
    from lacunet.data.find import case_from_files, survey

    if given and sources:
        raise UsageError("give either folders or single scans (--t1c FILE ...), not both")
    if given:
        return [case_from_files(given, name, task)], []
    if not sources:
        raise UsageError("nothing to segment: name a case folder, a folder of cases, or scans (--t1c FILE --t2f FILE)")
    cases: list[CaseFiles] = []
    problems: list[Problem] = []
    for source in sources:
        found, wrong = survey(source, task)
        cases += found
        problems += wrong
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{', '.join(twice)}: more than one case of this name; segment them into different folders")
    return cases, problems


def _labelled(data: Path, task: Task, labels: str | None) -> list["CaseFiles"]:
    from lacunet.data.find import find_cases
    from lacunet.data.labels import with_conventions

    return with_conventions(find_cases(data, task, labels), task, labels)


def _named_part(cases: Sequence["CaseFiles"], split: str) -> list["CaseFiles"]:
    """The cases of `FILE:PART`."""
    file, colon, part = split.rpartition(":")
    if not colon:
        raise UsageError(f"--split {split}: expected FILE:PART, such as split.json:test")
    return _part(cases, Path(file), part)


def _part(cases: Sequence["CaseFiles"], file: Path, part: str) -> list["CaseFiles"]:
    from lacunet.data.split import bare_id, read_split
    from lacunet.errors import nearest

    parts = read_split(file, cases)
    if part not in parts:
        raise DataError(f"{file}: has no part '{part}'{nearest(part, parts)}; it has: {', '.join(parts)}")
    return [case for case in cases if bare_id(case.name) in parts[part]]


def _require_writable(folder: Path) -> None:
    """Fail before the long work, not after it."""
    from lacunet.files import write_text

    probe = folder / ".lacunet-can-write"
    write_text(probe, "")
    probe.unlink()


def _exit_with(problems: "Sequence[Problem]") -> None:
    """List what failed, and leave with status 1 if anything did."""
    if problems:
        print_problems(problems)
        raise typer.Exit(1)
