"""What N4 does to masks: validation cases as they are and shaded, segmented without it, where it is needed, and always.

    python scripts/studies/n4.py DATA --split DATA/split.json:val -o runs/n4 [--model default]

Shading is put on by `scan_changes.py`, 1.35, 1.8 and 2.7 times; N4 is that of `lacunet segment --n4`. A few subsets
stand for all. The output folder keeps every Dice, so that the script goes on where it was stopped; the table is printed
as Markdown.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean

from lacunet.case import Case
from lacunet.data.labelled import labelled, named_part
from lacunet.data.nifti import load_case
from lacunet.evaluation.scores import Row, read_rows, write_rows
from lacunet.files import path_in
from lacunet.models.model import load_model
from lacunet.prediction.choices import N4
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.doubts import SHADED
from lacunet.segmentation.even import evened
from lacunet.task import Task
from scan_changes import CHANGES, changed, without_surroundings
from stress import UNCHANGED, rows_of

SUBSETS = ("t2f", "t1c+t2f", "t1n+t2w", "t1n+t1c+t2w+t2f")
CHOICES: tuple[N4, ...] = ("off", "auto", "on")
SCANS = (UNCHANGED, *(change for change in CHANGES if change.name.startswith("shading")))


@dataclass(frozen=True)
class Scored:
    """The rows of one case under a change and a choice."""

    change: str
    choice: str
    rows: Sequence[Row]


def main() -> None:
    """Read the command line, score what is not scored yet, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", required=True, help="FILE:PART")
    parser.add_argument("--model", default="default")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    predictor = Predictor(load_model(options.model))
    task = predictor.model.task
    subsets = [task.subset(name) for name in SUBSETS]
    scored: list[Scored] = []
    for files in named_part(labelled(options.data, task, None), options.split):
        places = {(change.name, choice): options.output / predictor.model.sha256[:12] / change.name / choice
                  for change, choice in product(SCANS, CHOICES)}  # fmt: skip
        parts = {key: path_in(folder, files.name, ".csv") for key, folder in places.items()}
        for change in SCANS:
            if all(parts[change.name, choice].is_file() for choice in CHOICES):
                continue
            case = changed(without_surroundings(load_case(files, task)), change)
            for choice, seen in seen_with(case, task).items():
                write_rows(parts[change.name, choice], rows_of(predictor, seen, subsets))
            print(f"{files.name}, {change.name}", flush=True)
        for change, choice in product(SCANS, CHOICES):
            scored.append(Scored(change.name, choice, read_rows(parts[change.name, choice])))
    print(table(scored, task))


def seen_with(case: Case, task: Task) -> dict[str, Case]:
    """By choice, what the model sees; N4, which takes long, is done once."""
    corrected, done = evened(case, case.acquired(task), "on")
    uneven = {modality: corrected.images[modality] for modality, one in done.items() if one.before > SHADED}
    return {"off": case, "auto": replace(case, images={**case.images, **uneven}), "on": corrected}


def table(scored: Sequence[Scored], task: Task) -> str:
    """Mean Dice by region over cases and subsets, and the largest loss of a case against `off`."""
    names = " | ".join(region.upper() for region in task.regions)
    lines = [f"| scans | --n4 | {names} | worst case, {names} |", "|---|---|" + "---|" * (2 * len(task.regions))]
    for change, choice in product(SCANS, CHOICES):
        plain, own = (_by_case(scored, change.name, one) for one in ("off", choice))
        means = " | ".join(f"{fmean(own[region].values()):.3f}" for region in task.regions)
        worst = [min(dice - plain[region][case] for case, dice in own[region].items()) for region in task.regions]
        lines.append(f"| {change.words} | {choice} | {means} | {' | '.join(f'{fall:+.3f}' for fall in worst)} |")
    return "\n".join(lines)


def _by_case(scored: Sequence[Scored], change: str, choice: str) -> dict[str, dict[str, float]]:
    """Region -> case -> mean Dice over the subsets."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in scored:
        if (one.change, one.choice) == (change, choice):
            for row in one.rows:
                found.setdefault(row.region, {}).setdefault(row.case, []).append(row.dice)
    return {region: {case: fmean(dice) for case, dice in cases.items()} for region, cases in found.items()}


if __name__ == "__main__":
    main()
