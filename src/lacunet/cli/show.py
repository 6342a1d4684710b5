"""What there is: `lacunet methods`, `lacunet models`, `lacunet check`."""

from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.options import Labels, ShowNames, TaskName, exit_with
from lacunet.cli.terminal import dropped, print_left_out, print_models, print_summary, say
from lacunet.task import get_task


def methods() -> None:
    """The methods, and where they were published."""
    from lacunet.nn.papers import method_names, paper_of

    for name in method_names():
        paper = paper_of(name)
        say(name)
        say(f"    {paper.idea}")
        say(f"    {paper.authors} {paper.year}, {paper.title}. {paper.venue} {paper.url}")


def models(
    names: Annotated[list[str] | None, typer.Argument(help="Models or runs; if none, all that ship.")] = None,
) -> None:
    """The models that ship, with their measured Dice."""
    from lacunet.evaluation.summary import require_regions, summary_of
    from lacunet.models.calibration import calibration_words, read_calibration
    from lacunet.models.description import read_description
    from lacunet.models.folder import DEFAULT, model_folder, model_name, shipped_models

    folders = [model_folder(name) for name in names or shipped_models()]
    descriptions = {folder: read_description(folder) for folder in folders}
    if not names:
        print_models(descriptions, DEFAULT)
    for folder, description in descriptions.items():
        card = description.card
        data = f", trained on {card['data']}" if card.get("data") else ""
        licence = f"; {card['licence']}" if card.get("licence") else ""
        say()
        say(f"{model_name(folder)}: {description.methods}{data}{licence}")
        if "results" in card:
            results = summary_of(card["results"], folder)
            require_regions(results, description.task, folder)
            say(f"  {results.data}, {results.cases} cases:")
            print_summary(results, description.task)
        calibration = read_calibration(folder)
        say(f"  {calibration_words(calibration)}")
        for note in calibration.notes if calibration else []:
            say(f"    note: {note}")


def check(
    data: Annotated[Path, typer.Argument(help="Folder of cases, or a manifest.csv.")],
    labels: Labels = None,
    task: TaskName = "glioma",
    show_names: ShowNames = False,
) -> None:
    """What is there, what is missing, what is wrong."""
    from lacunet.crew.over_cores import over_cores
    from lacunet.data.check import check as examine

    findings = examine(data, get_task(task), labels, show_names, over_cores)
    for case in findings.cases:
        grid = (
            f"{'x'.join(map(str, case.shape))}, {' x '.join(f'{s:g}' for s in case.spacing)} mm"
            if case.shape and case.spacing
            else ""
        )
        values = f"labels {sorted(case.values)} ({case.convention})" if case.values is not None else "no reference"
        say(f"{case.name}: {'+'.join(case.acquired) or 'no scan'}; {grid}; {values}")
        if case.files:
            say(f"    {', '.join(f'{modality}: {name}' for modality, name in case.files.items())}")
        for note in case.notes:
            say(f"    note: {note}")
    say()
    say(f"{len(findings.cases)} cases; " + "; ".join(f"{name}: {count}" for name, count in findings.subsets.items()))
    for family, count in findings.families.items():
        say(f"{family} names: {count} cases, labels {findings.conventions.get(family) or 'undecided or none'}")
    print_left_out(findings.left_out)
    if findings.left_out:
        say(dropped(len(findings.left_out)))
    exit_with(findings.all_problems)
