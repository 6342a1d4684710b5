"""How certain a piece of tumour must be to stay: Dice, and what is found without a tumour, for several limits.

    python scripts/studies/doubtful_pieces.py DATA --split DATA/split.json:val -o runs/doubtful

A piece stays where its volume in ml times the mean logit of the whole tumour in it is at least the limit (the rule
`doubtful10` has 10). Cases are segmented from every subset of their sequences, and so are the brains without a tumour
that their healthy halves give; masks are compared on the network's grid. The table is printed as Markdown, and written
to `doubtful.md`, with the smallest such product of a piece of which half is tumour, from all sequences.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from statistics import fmean, median

import numpy as np
from jaxtyping import Bool

from lacunet.case import Case
from lacunet.data.labelled import labelled, named_part
from lacunet.data.mirrored import mirrored_case
from lacunet.data.nifti import load_case
from lacunet.data.prepare import prepare_reference
from lacunet.evaluation.agreement import Masks
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.files import write_text
from lacunet.models.model import load_model
from lacunet.prediction.postprocess import Found, certainty_of_pieces, drop_doubtful_pieces
from lacunet.prediction.predictor import Prediction, Predictor
from lacunet.report.page import millilitres
from lacunet.task import Task
from scan_changes import without_surroundings

LIMITS = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0)


@dataclass(frozen=True)
class Scored:
    """One mask at one limit.

    Attributes:
        limit: What a piece needs to stay.
        sequences: How many were used.
        dice: By region; empty of a brain without a tumour, and without regions that the reference lacks.
        found_ml: Of the whole tumour.
    """

    limit: float
    sequences: int
    dice: Mapping[str, float]
    found_ml: float


def main() -> None:
    """Read the command line, segment, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", help="FILE:PART; all cases without it")
    parser.add_argument("--model", default="default")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    model = replace(load_model(options.model), postprocessing=())
    predictor, task = Predictor(model), model.task
    cases = labelled(options.data, task, None)
    scored: list[Scored] = []
    healthy: list[Scored] = []
    smallest = inf
    for files in named_part(cases, options.split) if options.split else cases:
        case = load_case(files, task)
        for prediction, truth in predictions_of(predictor, case):
            scored += scored_at_limits(prediction, truth)
            if prediction.subset == task.modalities:
                smallest = min(smallest, smallest_true_piece(prediction.found_on_grid(), next(iter(truth.values()))))
        mirrored = mirrored_case(case, task)
        if mirrored is not None:
            for prediction, truth in predictions_of(predictor, mirrored):
                healthy += scored_at_limits(prediction, truth)
        print(f"{files.name}: done", flush=True)
    text = f"{markdown(scored, healthy, task)}\nsmallest true piece from all sequences: {smallest:.0f}\n"
    write_text(options.output / "doubtful.md", text)
    print(text)


def predictions_of(predictor: Predictor, case: Case) -> Iterator[tuple[Prediction, Masks]]:
    """From every subset of the case's sequences, with the reference on the same grid."""
    task, case = predictor.model.task, without_surroundings(case)
    acquired = case.acquired(task)
    parts = [subset for subset in task.subsets if set(subset) < set(acquired)]
    for prediction in predictor.with_parts(case, acquired, parts):
        yield prediction, region_masks(prepare_reference(case, task, prediction.answers[0].frame).numpy(), task)


def scored_at_limits(prediction: Prediction, truth: Masks) -> list[Scored]:
    """One mask at every limit."""
    found, task = prediction.found_on_grid(), prediction.task
    whole = next(iter(task.regions))
    scored = []
    for limit in LIMITS:
        masks = region_masks(drop_doubtful_pieces(found, least=limit), task)
        of_truth = {region: dice(masks[region], mask) for region, mask in truth.items() if mask.any()}
        found_ml = float(masks[whole].sum()) * found.grid.voxel_ml
        scored.append(Scored(limit, len(prediction.subset), of_truth, found_ml))
    return scored


def smallest_true_piece(found: Found, truth: Bool[np.ndarray, "x y z"]) -> float:
    """The smallest product of volume and mean logit of the pieces of which at least half is tumour."""
    pieces, certainty = certainty_of_pieces(found)
    true = np.bincount(pieces.ravel(), weights=truth.ravel())[1:] / np.bincount(pieces.ravel())[1:]
    return float(certainty[true >= 0.5].min(initial=inf))


def markdown(scored: Sequence[Scored], healthy: Sequence[Scored], task: Task) -> str:
    """A row for each limit: mean Dice by region over all masks, and ml without a tumour by number of sequences."""
    names = " | ".join(region.upper() for region in task.regions)
    sizes = sorted({one.sequences for one in healthy})
    heads = [f"without a tumour, from {size}, ml: median (mean)" for size in sizes]
    lines = [" | ".join(["| limit", names, *heads]) + " |", "|" + "---|" * (1 + len(task.regions) + len(sizes))]
    for limit in LIMITS:
        regions: dict[str, list[float]] = defaultdict(list)
        for one in scored:
            for region, value in one.dice.items() if one.limit == limit else ():
                regions[region].append(value)
        volumes = [[one.found_ml for one in healthy if (one.limit, one.sequences) == (limit, size)] for size in sizes]
        cells = [f"{fmean(regions[region]):.3f}" for region in task.regions]
        cells += [f"{millilitres(median(own))} ({millilitres(fmean(own))})" for own in volumes]
        lines.append(f"| {limit:g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
