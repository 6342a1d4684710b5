"""How much worse masks become where scans are worse: validation cases changed in one way at a time, from every subset.

    python scripts/studies/stress.py DATA --split DATA/split.json:val --models old=runs/old new=default -o runs/stress

Writes `stress.csv` (a row for each model, change, case, subset and region) and `stress.md` (for each model: mean Dice
of the unchanged cases, how far each change moves it, and how often one more sequence makes a mask worse), and goes on
where it was stopped: what a case gave is kept in `parts/` (choose another folder for other subsets). `--changes` and
`--subsets` choose some; `NAME=MODEL,MODEL` is several models as one. `scan_changes.py` says what the changes are; they
are drawn from the case's name, so that every model sees the same scans.

Six cases with ten changes take about five minutes of one core for a small network at 1.5 mm: a changed case is encoded
once for all its subsets, and Dice is that on the network's grid, which differs little from that of `lacunet evaluate`.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from math import nan
from pathlib import Path
from statistics import fmean

from lacunet.case import Case, CaseFiles
from lacunet.data.labelled import labelled, named_part
from lacunet.data.nifti import load_case
from lacunet.data.prepare import prepare_reference
from lacunet.evaluation.masks import masks_of
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.evaluation.monotony import monotony
from lacunet.evaluation.scores import Row, read_rows, write_rows
from lacunet.files import path_in, whole_file, write_text
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.task import Subset, Task
from scan_changes import CHANGES, Change, changed, without_surroundings

UNCHANGED = Change("unchanged", "the cases as they are", lambda case, generator: case)


@dataclass(frozen=True)
class Score:
    """The Dice of one region of one case, changed in one way, from one subset."""

    model: str
    change: str
    case: str
    subset: str
    region: str
    dice: float


def main() -> None:
    """Read the command line, score what is not scored yet, write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", help="FILE:PART; all cases without it")
    parser.add_argument("--models", nargs="+", default=["default"], help="models, or NAME=MODEL[,MODEL...]")
    parser.add_argument("--changes", nargs="+", default=[one.name for one in CHANGES], help="names of changes")
    parser.add_argument("--subsets", default="all", help="all, or names such as t1c+t2f,t2f")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    known = {one.name: one for one in CHANGES}
    if unknown := [name for name in options.changes if name not in known]:
        parser.error(f"no change {', '.join(unknown)}; there are {', '.join(known)}")
    changes = [UNCHANGED, *(known[name] for name in options.changes)]
    models = {name: source for name, _, source in (one.rpartition("=") for one in options.models)}
    scores: list[Score] = []
    for name, source in models.items():
        predictor = Predictor([load_model(one) for one in source.split(",")])
        task = predictor.model.task
        cases = labelled(options.data, task, None)
        cases = named_part(cases, options.split) if options.split else cases
        subsets = task.subsets_named(options.subsets.split(","))
        scores += scores_of(name or source, predictor, cases, changes, subsets, options.output)
    write_scores(options.output / "stress.csv", scores)
    text = markdown(scores, changes, task)
    write_text(options.output / "stress.md", text)
    print(text)


def scores_of(
    name: str,
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    changes: Sequence[Change],
    subsets: Sequence[Subset],
    folder: Path,
) -> list[Score]:
    """The scores of one model; those of a case and a change are read where they were kept."""
    scores: list[Score] = []
    for files in cases:
        case: Case | None = None
        for change in changes:
            kept = folder / "parts" / predictor.model.sha256[:12] / f"{len(subsets)} subsets" / change.name
            part = path_in(kept, files.name, ".csv")
            if not part.is_file():
                case = case or without_surroundings(load_case(files, predictor.model.task))
                write_rows(part, rows_of(predictor, changed(case, change), subsets))
                print(f"{name}: {files.name}, {change.name}", flush=True)
            scores += [Score(name, change.name, row.case, row.subset, row.region, row.dice) for row in read_rows(part)]
    return scores


def rows_of(predictor: Predictor, case: Case, subsets: Sequence[Subset]) -> list[Row]:
    """Dice of every subset that the case has and every region that its reference has, without HD95.

    All subsets come from one encoding, in the box of all sequences, and are compared on the network's grid.
    """
    task, acquired = predictor.model.task, case.acquired(predictor.model.task)
    asked = [subset for subset in subsets if set(subset) <= set(acquired)]
    whole, *others = predictor.with_parts(case, acquired, [subset for subset in asked if subset != acquired])
    reference = region_masks(prepare_reference(case, task, whole.answers[0].frame).numpy(), task)
    rows = []
    for prediction in (whole, *others) if acquired in asked else others:
        found, voxel = masks_of(prediction, predictor.own_rules, None), prediction.voxel_ml
        rows += [
            Row(case.name, task.subset_name(prediction.subset), region, dice(found[region], mask), nan,
                float(mask.sum()) * voxel, float(found[region].sum()) * voxel)
            for region, mask in reference.items()
            if mask.any()
        ]  # fmt: skip
    return rows


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """As a table."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Score)])
        writer.writerows(astuple(score) for score in scores)


def markdown(scores: Sequence[Score], changes: Sequence[Change], task: Task) -> str:
    """A table for each model: means over cases, then over subsets; of changed cases the difference."""
    full = task.subset_name(task.modalities)
    lines = []
    for model in dict.fromkeys(score.model for score in scores):
        own = [score for score in scores if score.model == model]
        cases, subsets = (len({getattr(score, key) for score in own}) for key in ("case", "subset"))
        names = " | ".join(region.upper() for region in task.regions)
        lines += [
            f"**{model}**: {cases} cases, {subsets} subsets; where scans are changed, the difference of Dice.", "",
            f"| scans | {names} | all sequences: {names} | worst case | worse with one more sequence |",
            "|---|" + "---|" * (2 * len(task.regions) + 2),
        ]  # fmt: skip
        before = {key: _mean(own, UNCHANGED.name, *key) for key in _keys(task, full)}
        cells = " | ".join(f"{before[key]:.3f}" for key in _keys(task, full))
        lines.append(f"| {UNCHANGED.words} | {cells} | | {_worse(own, UNCHANGED.name, task)} |")
        for change in changes:
            if change.name == UNCHANGED.name:
                continue
            moved = " | ".join(f"{_mean(own, change.name, *key) - before[key]:+.3f}" for key in _keys(task, full))
            worst, worse = _worst(own, change.name, task), _worse(own, change.name, task)
            lines.append(f"| {change.words} | {moved} | {worst} | {worse} |")
        lines.append("")
    return "\n".join(lines)


def _keys(task: Task, full: str) -> list[tuple[str, str | None]]:
    """Regions over all subsets, then from all sequences alone."""
    return [(region, subset) for subset in (None, full) for region in task.regions]


def _mean(scores: Sequence[Score], change: str, region: str, subset: str | None) -> float:
    """Over cases, then over subsets (or of one subset); NaN where there is none."""
    groups: dict[str, list[float]] = {}
    for score in scores:
        if (score.change, score.region) == (change, region) and subset in (None, score.subset):
            groups.setdefault(score.subset, []).append(score.dice)
    return fmean(map(fmean, groups.values())) if groups else nan


def _worst(scores: Sequence[Score], change: str, task: Task) -> str:
    """The case whose first region loses most over its subsets, and how much."""
    region = next(iter(task.regions))
    falls = {
        case: _mean(own, change, region, None) - _mean(own, UNCHANGED.name, region, None)
        for case in dict.fromkeys(score.case for score in scores)
        if (own := [score for score in scores if score.case == case])
    }
    case = min(falls, key=lambda name: falls[name])
    return f"{region.upper()} {falls[case]:+.3f} ({case})"


def _worse(scores: Sequence[Score], change: str, task: Task) -> str:
    """In what share of steps one more sequence lowers Dice, by region."""
    dice = {(one.case, one.subset, one.region): one.dice for one in scores if one.change == change}
    return ", ".join(f"{region.upper()} {own.share:.0%}" for region, own in monotony(dice, task).items())


if __name__ == "__main__":
    main()
