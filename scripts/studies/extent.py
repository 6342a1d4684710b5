"""Does it matter over which extent a model predicts: the whole brain at once, or windows as large as its crops were?

    python scripts/studies/extent.py MODEL --data DATA --split FILE:val -o extent.csv [--window 64] [--window 96]

A network that was trained on crops and is shown a whole brain meets other statistics in its norms. Of every case and
extent: the Dice of each region, mean over the subsets that the case has; of brains without a tumour (mirrored halves of
these cases, see `mirrored_case`), the millilitres of whole tumour that are found. Printed as tables; `extent.csv` has a
row per case, extent, subset and region.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import fmean

from lacunet.case import Case
from lacunet.data.labelled import labelled, named_part
from lacunet.data.mirrored import mirrored_case
from lacunet.data.nifti import load_case
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.files import whole_file
from lacunet.models.model import Model, load_model
from lacunet.prediction.predictor import Predictor
from lacunet.prediction.windows import Windows
from lacunet.task import Task

WHOLE = "whole brain"


@dataclass(frozen=True)
class Row:
    """What was found of one region; `dice` of a case with a tumour, `false_ml` of a brain without."""

    case: str
    extent: str
    subset: str
    region: str
    dice: float | None
    false_ml: float | None


def main() -> None:
    """Predict every case over every extent; print what differs."""
    options = read_options()
    model = load_model(options.model)
    extents: dict[str, Windows | None] = {WHOLE: None}
    extents |= {f"windows of {side}": Windows((side, side, side), options.overlap) for side in options.window or [64]}
    predictors = {name: Predictor(model, options.device, windows=windows) for name, windows in extents.items()}
    rows = [row for case in cases_of(options, model) for row in rows_of(case, predictors, model.task)]
    with whole_file(options.output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Row))
        writer.writerows(astuple(row) for row in rows)
    print(dice_table(rows, model.task, list(extents)))
    print(healthy_table(rows, list(extents)))


def read_options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", help="FILE:PART; every case of the data if not given")
    parser.add_argument("-o", "--output", type=Path, default=Path("extent.csv"))
    parser.add_argument("--window", type=int, action="append", help="voxels along each side; may be repeated")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def cases_of(options: argparse.Namespace, model: Model) -> Iterator[Case]:
    """The cases, each followed by the healthy brain that it gives, if any."""
    files = labelled(options.data, model.task, None)
    for one in files if options.split is None else named_part(files, options.split):
        case = load_case(one, model.task)
        yield case
        healthy = mirrored_case(case, model.task)
        if healthy is not None:
            yield healthy


def rows_of(case: Case, predictors: dict[str, Predictor], task: Task) -> Iterator[Row]:
    """Every subset that the case has, over every extent."""
    assert case.reference is not None
    reference, ill = region_masks(case.reference, task), bool(case.reference.any())
    subsets = [subset for subset in task.subsets if set(subset) <= set(case.images)]
    for extent, predictor in predictors.items():
        for prediction in predictor.each(case, subsets):
            subset = task.subset_name(prediction.subset)
            for region, mask in prediction.regions().items():
                score = dice(mask, reference[region]) if ill else None
                false = None if ill else float(mask.sum()) * case.grid.voxel_ml
                yield Row(case.name, extent, subset, region, score, false)


def dice_table(rows: Sequence[Row], task: Task, extents: Sequence[str]) -> str:
    """A line per case, then the mean: Dice over the whole brain, and what each other extent adds."""
    scored = [row for row in rows if row.dice is not None]
    columns = [(extent, region) for extent in extents for region in task.regions]
    lines = ["| case | " + " | ".join(f"{region.upper()}, {extent}" for extent, region in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name in [*dict.fromkeys(row.case for row in scored), "mean"]:
        own = scored if name == "mean" else [row for row in scored if row.case == name]
        found = {column: mean_of_cases(own, *column) for column in columns}
        cells = [
            f"{value:.3f}" if extent == WHOLE else f"{value - found[WHOLE, region]:+.3f}"
            for (extent, region), value in found.items()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_of_cases(rows: Sequence[Row], extent: str, region: str) -> float:
    """Mean Dice over each case's subsets, then over the cases."""
    own = [row for row in rows if (row.extent, row.region) == (extent, region)]
    names = dict.fromkeys(row.case for row in own)
    return fmean(fmean(row.dice for row in own if row.case == name and row.dice is not None) for name in names)


def healthy_table(rows: Sequence[Row], extents: Sequence[str]) -> str:
    """A line per brain without a tumour: millilitres of whole tumour found, mean over its subsets."""
    false = [row for row in rows if row.false_ml is not None and row.region == "wt"]
    lines = ["| brain without a tumour | " + " | ".join(f"ml, {extent}" for extent in extents) + " |"]
    lines.append("|---" * (len(extents) + 1) + "|")
    for name in dict.fromkeys(row.case for row in false):
        own = {one: [row.false_ml or 0.0 for row in false if (row.case, row.extent) == (name, one)] for one in extents}
        lines.append(f"| {name} | " + " | ".join(f"{fmean(values):.1f}" for values in own.values()) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
