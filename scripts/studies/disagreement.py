"""Which masks are called doubtful, and whether these are the wrong ones: train and validation cases, never test ones.

    python scripts/studies/disagreement.py DATA --split DATA/split.json -o runs/doubts [--model default]

Every case is segmented from every subset of its sequences: as it is, made healthy where one half is
(`lacunet.data.mirrored`), and shaded (2.7 times brighter here than there). Of each mask: Dice, how far the masks from
parts of the subset agree, how much lies on both sides or far from the rest, how unevenly bright the scans are, and the
doubts that `lacunet segment` would name. Cases that the model was trained with can be left out (`--unseen`: a split
file whose train part they are). `masks.csv` keeps what is found, so that the script goes on where it was stopped; the
tables are printed as Markdown.
"""

import argparse
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from math import nan
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from lacunet.case import Case, Grid
from lacunet.data.labelled import labelled
from lacunet.data.mirrored import mirrored_case
from lacunet.data.nifti import load_case
from lacunet.data.prepare import prepare_images, prepare_reference
from lacunet.data.scan_facts import ScanFacts, scan_facts
from lacunet.data.split import read_split
from lacunet.description.midline import midline_of
from lacunet.description.where import where_of
from lacunet.evaluation.agreement import Masks, agreement_of, parts_of
from lacunet.evaluation.fit import fits_of
from lacunet.evaluation.masks import masks_of
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.files import whole_file
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Prediction, Predictor
from lacunet.segmentation.doubts import Signs, doubts_of
from lacunet.task import Subset
from scan_changes import CHANGES, changed

CONDITIONS = ("as it is", "healthy", "shaded")
GOOD, WRONG = 0.7, 0.5
"""Dice of the whole tumour from which a mask is good, and below which it is wrong."""


@dataclass(frozen=True)
class Mask:
    """What is known of one mask of the whole tumour."""

    case: str
    condition: str
    subset: str
    dice: float
    volume_ml: float
    reference_ml: float
    agreement: float
    both_sides: float
    distant_ml: float
    shading: float
    doubts: str

    @property
    def size(self) -> int:
        """How many sequences it comes from."""
        return self.subset.count("+") + 1


def main() -> None:
    """Read the command line, look at every mask, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--unseen", type=Path, help="split file of the model's training")
    parser.add_argument("--model", default="default")
    parser.add_argument("--conditions", nargs="+", default=CONDITIONS, choices=CONDITIONS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    predictor = Predictor(load_model(options.model))
    cases = {files.name: files for files in labelled(options.data, predictor.model.task, None)}
    parts = read_split(options.split, list(cases.values()))
    seen = read_split(options.unseen, list(cases.values()))["train"] if options.unseen else []
    table = options.output / "masks.csv"
    masks = read_masks(table)
    for condition in options.conditions:
        for name in [*parts["val"], *parts["train"]]:
            if name in seen or any((mask.case, mask.condition) == (name, condition) for mask in masks):
                continue
            case = under(condition, load_case(cases[name], predictor.model.task), predictor)
            if case is None:
                continue
            masks += looked_at(predictor, case, name, condition)
            write_masks(table, masks)
            print(f"{condition}: {name}", flush=True)
    print(tables([mask for mask in masks if mask.case not in seen]))


def under(condition: str, case: Case, predictor: Predictor) -> Case | None:
    """The case under a condition; None where it cannot be made healthy."""
    if condition == "healthy":
        return mirrored_case(case, predictor.model.task)
    return changed(case, CHANGES[2]) if condition == "shaded" else case


def looked_at(predictor: Predictor, case: Case, name: str, condition: str) -> list[Mask]:
    """Of every subset that the case has, all on the network's grid of all its sequences, which is quick."""
    task, acquired = predictor.model.task, case.acquired(predictor.model.task)
    others = [subset for subset in task.subsets if set(subset) < set(acquired)]
    found = {one.subset: one for one in predictor.with_parts(case, acquired, others)}
    frame = found[acquired].answers[0].frame
    truth = region_masks(prepare_reference(case, task, frame).numpy(), task)
    facts = scan_facts(case, acquired)
    images = prepare_images(case, task, predictor.model.preparation, frame).numpy()
    brains = {modality: image != 0 for modality, image in zip(task.modalities, images, strict=True)}
    whole = next(iter(task.regions))
    regions = {subset: masks_of(one, predictor.own_rules, None) for subset, one in found.items()}
    masks = []
    for subset, one in found.items():
        signs = signs_of(one, regions, np.logical_or.reduce([brains[modality] for modality in subset]), facts)
        doubts = doubts_of(task, subset, signs, predictor.model.calibration)
        masks.append(
            Mask(
                case=name,
                condition=condition,
                subset=task.subset_name(subset),
                dice=dice(regions[subset][whole], truth[whole]),
                volume_ml=signs.volumes[whole],
                reference_ml=float(truth[whole].sum()) * one.voxel_ml,
                agreement=signs.agreement.dice(whole) if signs.agreement else nan,
                both_sides=signs.where.both_sides,
                distant_ml=signs.where.distant_ml,
                shading=max(signs.facts.shading.values()),
                doubts=", ".join(doubt.kind for doubt in doubts),
            )
        )
    return masks


def signs_of(one: Prediction, regions: Mapping[Subset, Masks], brain: np.ndarray, facts: ScanFacts) -> Signs:
    """As `lacunet segment` sees them, but for the grid."""
    task, masks = one.task, regions[one.subset]
    parts = {task.subset_name(part): regions[part] for part in parts_of(one.subset)}
    frame = one.answers[0].frame
    grid = Grid(frame.shape, frame.affine)
    return Signs(
        volumes={region: float(mask.sum()) * one.voxel_ml for region, mask in masks.items()},
        agreement=agreement_of(masks, parts, one.voxel_ml) if parts else None,
        where=where_of(masks[next(iter(masks))], midline_of(brain, grid), grid),
        facts=replace(facts, shading={modality: facts.shading[modality] for modality in one.subset}),
        fits=fits_of(one.subset, {subset: own[next(iter(masks))] for subset, own in regions.items()}),
    )


def write_masks(path: Path, masks: Iterable[Mask]) -> None:
    """As a table."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Mask)])
        writer.writerows(astuple(mask) for mask in masks)


def read_masks(path: Path) -> list[Mask]:
    """What an earlier run wrote; nothing if there was none."""
    if not path.is_file():
        return []
    words = ("case", "condition", "subset", "doubts")
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Mask(**{key: value if key in words else float(value) for key, value in row.items()})
            for row in csv.DictReader(file)
        ]


def tables(masks: Sequence[Mask]) -> str:
    """What is usual, and what the doubts are worth, as Markdown."""
    return "\n".join([*usual(masks), "", *worth(masks), "", calm(masks)])


def usual(masks: Sequence[Mask]) -> list[str]:
    """By number of sequences: how far masks of unchanged cases agree, and the Dice of those that agree least."""
    own = [mask for mask in masks if mask.condition == "as it is"]
    lines = [
        "| sequences | masks | agreement: 5 % have less than | 50 % | rank correlation with Dice | their Dice | all |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in sorted({mask.size for mask in own} - {1}):
        group = [mask for mask in own if mask.size == size]
        values, scores = (np.array([getattr(mask, key) for mask in group]) for key in ("agreement", "dice"))
        low, middle = np.percentile(values, [5, 50])
        rank = float(spearmanr(values, scores).statistic)
        few, mean = scores[values <= low].mean(), scores.mean()
        lines.append(f"| {size} | {len(group)} | {low:.2f} | {middle:.2f} | {rank:.2f} | {few:.2f} | {mean:.2f} |")
    return lines


def worth(masks: Sequence[Mask]) -> list[str]:
    """The share of masks that are called doubtful, by what they are, and for which reasons."""
    kinds = sorted({kind for mask in masks for kind in mask.doubts.split(", ") if kind})
    lines = [
        f"| scans | sequences | masks of Dice | number | doubtful | {' | '.join(kinds)} |",
        "|---|---|---|---|---|" + "---|" * len(kinds),
    ]
    for condition in CONDITIONS:
        for size in range(1, 5):
            for words, low, high in (
                (f"{GOOD} or more", GOOD, 2.0), ("between", WRONG, GOOD), (f"less than {WRONG}", -1.0, WRONG)
            ):  # fmt: skip
                own = [
                    mask for mask in masks
                    if (mask.condition, mask.size) == (condition, size) and low <= mask.dice < high
                ]  # fmt: skip
                if own:
                    shares = [sum(kind in mask.doubts for mask in own) / len(own) for kind in kinds]
                    doubtful = sum(bool(mask.doubts) for mask in own) / len(own)
                    cells = " | ".join(f"{share:.0%}" for share in (doubtful, *shares))
                    lines.append(f"| {condition} | {size} | {words} | {len(own)} | {cells} |")
    return lines


def calm(masks: Sequence[Mask]) -> str:
    """How many unchanged cases have no doubt from all their sequences."""
    most: dict[str, Mask] = {}
    for mask in masks:
        if mask.condition == "as it is" and mask.size >= most.get(mask.case, mask).size:
            most[mask.case] = mask
    doubtful = {mask.case: mask for mask in most.values() if mask.doubts}
    named = ", ".join(f"{case} ({mask.doubts}; Dice {mask.dice:.2f})" for case, mask in doubtful.items())
    others = f"; the others: {named}" if named else ""
    return f"From all sequences, {len(most) - len(doubtful)} of {len(most)} cases have no doubt{others}."


if __name__ == "__main__":
    main()
