"""One bad scan and absent ones together: what masks lose, whether it is noticed, and what leaving it out gives.

    lacunet phantom -n 6 -o phantoms
    python scripts/studies/corruption.py phantoms -o runs/corruption-phantoms
    python scripts/studies/corruption.py DATA --split DATA/split.json:train -o runs/corruption-limits --only-limits
    python scripts/studies/corruption.py DATA --split DATA/split.json:val -o runs/corruption

Each sequence of each case is made bad in turn, in every way of `one_bad_scan.py`, and the case is segmented from every
subset. Compared are: never leaving anything out, always leaving out the bad scan (as if somebody knew), and leaving out
what `lacunet segment --leave-out-bad` would. `--only-limits` looks at the unchanged cases alone: of their fits come the
limits in `lacunet.segmentation.bad_scan` (`LEAST_FIT`): the 2.5th percentile, rounded down to 0.05. A model agrees with
itself more on cases that it was trained with: take others where there are enough.

A case in one condition is encoded once for all its subsets: four sequences and twelve corruptions are 49 passes a case.
What a condition gave is kept in `parts/`, so that the script goes on where it was stopped; other limits need no pass.
`corruption.csv` has a row for each case, bad scan, subset and region; the tables are in `corruption.md`, and printed.
"""

import argparse
import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import nan
from pathlib import Path
from statistics import fmean

import numpy as np

from lacunet.case import Case, CaseFiles
from lacunet.data.labelled import labelled, named_part
from lacunet.data.nifti import load_case
from lacunet.data.prepare import prepare_reference
from lacunet.errors import DataError
from lacunet.evaluation.fit import Fit, fits_of
from lacunet.evaluation.masks import masks_of
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.files import path_in, rounded, whole_file, write_json, write_text
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.reading import read_json
from lacunet.segmentation.bad_scan import LEAST_FIT, bad_scan_of
from lacunet.task import Subset, Task
from one_bad_scan import CORRUPTIONS, TAKEN_FOR, Corruption, corrupted
from scan_changes import without_surroundings

GOOD = "none"
"""Where no scan is bad."""


@dataclass(frozen=True)
class Seen:
    """A case in one condition, from every subset.

    Attributes:
        case: Its name.
        kind: Of the corruption; `GOOD` without one.
        strength: Of the corruption.
        bad: The sequence that is bad; empty without one.
        dice: By subset, then by region that the reference has.
        fits: By subset of three or more, then by sequence.
        changes: By subset, then by sequence: Dice of the masks with and without it.
    """

    case: str
    kind: str
    strength: str
    bad: str
    dice: Mapping[str, Mapping[str, float]]
    fits: Mapping[str, Mapping[str, Fit]]
    changes: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Outcome:
    """The Dice of one region from one subset with a bad scan in it, by what is done about it."""

    case: str
    kind: str
    strength: str
    bad: str
    subset: str
    region: str
    score: float
    left_out: str
    never: float
    always: float
    by_score: float

    @property
    def size(self) -> int:
        """How many sequences there are, the bad one counted."""
        return self.subset.count("+") + 1


def main() -> None:
    """Read the command line, segment what is not segmented yet, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", help="FILE:PART; all cases without it")
    parser.add_argument("--model", default="default")
    parser.add_argument("--corruptions", nargs="+", help="kinds, or kinds with a strength ('motion 0.3'); else all")
    parser.add_argument("--only-limits", action="store_true", help="unchanged cases alone")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    words = options.corruptions or [one.name for one in CORRUPTIONS]
    chosen = [] if options.only_limits else [one for one in CORRUPTIONS if {one.name, one.kind} & set(words)]
    if not chosen and not options.only_limits:
        parser.error(f"no such corruption; there are {', '.join(one.name for one in CORRUPTIONS)}")
    predictor = Predictor([load_model(one) for one in options.model.split(",")])
    task = predictor.model.task
    cases = labelled(options.data, task, None)
    cases = named_part(cases, options.split) if options.split else cases
    seen = [one for files in cases for one in seen_of(predictor, files, chosen, options.output)]
    outcomes = [outcome for one in seen for outcome in outcomes_of(one, task)]
    write_outcomes(options.output / "corruption.csv", outcomes)
    text = "\n\n".join("\n".join(table) for table in tables(seen, outcomes, task))
    write_text(options.output / "corruption.md", text + "\n")
    print(text)


def seen_of(predictor: Predictor, files: CaseFiles, corruptions: Sequence[Corruption], folder: Path) -> list[Seen]:
    """One case as it is, and with each sequence bad in each way; what was kept is read."""
    kept = folder / "parts" / predictor.model.sha256[:12]
    case: Case | None = None
    found = []
    for corruption in (None, *corruptions):
        for bad in predictor.model.task.modalities if corruption else ("",):
            words = f"{corruption.name}, {bad}" if corruption else GOOD
            if bad not in ("", *files.images) or (corruption and not _possible(files, corruption, bad)):
                continue
            part = path_in(kept / words, files.name, ".json")
            if not part.is_file():
                case = case or without_surroundings(load_case(files, predictor.model.task))
                changed = corrupted(case, bad, corruption) if corruption else case
                write_json(part, rounded(looked_at(predictor, changed), 5))
                print(f"{files.name}: {words}", flush=True)
            kind, strength = (corruption.kind, corruption.strength) if corruption else (GOOD, "")
            found.append(_read(part, files.name, kind, strength, bad))
    return found


def _possible(files: CaseFiles, corruption: Corruption, bad: str) -> bool:
    """Whether the case has the sequence that should lie under the bad one's name."""
    if corruption.kind != "identity":
        return True
    return bad in TAKEN_FOR and TAKEN_FOR[bad][corruption.strength == "unlike"] in files.images


def looked_at(predictor: Predictor, case: Case) -> dict[str, dict[str, dict[str, object]]]:
    """Dice, fits and changes of every subset of a case, from one encoding, on the network's grid."""
    task, acquired = predictor.model.task, case.acquired(predictor.model.task)
    others = [subset for subset in task.subsets if set(subset) < set(acquired)]
    found = {one.subset: one for one in predictor.with_parts(case, acquired, others)}
    truth = region_masks(prepare_reference(case, task, found[acquired].answers[0].frame).numpy(), task)
    masks = {subset: masks_of(one, predictor.own_rules, None) for subset, one in found.items()}
    whole = {subset: regions[next(iter(task.regions))] for subset, regions in masks.items()}
    name = task.subset_name
    return {
        "dice": {
            name(subset): {region: dice(own[region], mask) for region, mask in truth.items() if mask.any()}
            for subset, own in masks.items()
        },
        "fits": {
            name(subset): {modality: [fit.alone, fit.others] for modality, fit in fits_of(subset, whole).items()}
            for subset in masks
        },
        "changes": {
            name(subset): {
                modality: dice(whole[subset], whole[tuple(one for one in subset if one != modality)])
                for modality in subset
            }
            for subset in masks
            if len(subset) > 1
        },
    }


def _read(part: Path, case: str, kind: str, strength: str, bad: str) -> Seen:
    kept = read_json(part, DataError, "remove it, and it is made again")
    fits = {
        subset: {modality: Fit(*numbers) for modality, numbers in own.items()} for subset, own in kept["fits"].items()
    }
    return Seen(case, kind, strength, bad, kept["dice"], fits, kept["changes"])


def outcomes_of(seen: Seen, task: Task) -> list[Outcome]:
    """Every subset with the bad scan in it (without a bad scan: every subset) and every region."""
    rows = []
    for name, regions in seen.dice.items():
        subset = task.subset(name)
        if seen.bad and seen.bad not in subset:
            continue
        found = bad_scan_of(seen.fits[name])
        left = found.modality if found else ""
        fit = seen.fits[name].get(seen.bad)
        for region, never in regions.items():
            always, by_score = (seen.dice[_rest(task, subset, gone)][region] for gone in (seen.bad, left))
            rows.append(
                Outcome(
                    seen.case, seen.kind, seen.strength, seen.bad, name, region, fit.score if fit else nan, left,
                    never, always, by_score,
                )
            )  # fmt: skip
    return rows


def _rest(task: Task, subset: Subset, gone: str) -> str:
    """The subset without one sequence; the last one stays."""
    return task.subset_name([modality for modality in subset if modality != gone] or subset)


def write_outcomes(path: Path, outcomes: Iterable[Outcome]) -> None:
    """As a table."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Outcome)])
        writer.writerows(astuple(one) for one in outcomes)


def tables(seen: Sequence[Seen], outcomes: Sequence[Outcome], task: Task) -> list[list[str]]:
    """The limits, what is noticed, and what is gained, as Markdown."""
    bad = [one for one in seen if one.bad]
    made = [limits(seen, task)]
    return [*made, noticed(seen, task), gained(outcomes), by_subset(outcomes, task)] if bad else made


def limits(seen: Sequence[Seen], task: Task) -> list[str]:
    """By sequence: the scores of good scans, over all subsets of three or more."""
    lines = [
        "| sequence | fits of good scans | 1 % are below | 2.5 % | 5 % | median | limit | below it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for modality in task.modalities:
        scores = [
            fits[modality].score
            for one in seen if not one.bad
            for fits in one.fits.values() if modality in fits
        ]  # fmt: skip
        if scores:
            numbers = " | ".join(f"{value:.2f}" for value in np.percentile(scores, [1, 2.5, 5, 50]))
            limit = LEAST_FIT.get(modality, nan)
            below = fmean(score < limit for score in scores)
            lines.append(f"| {task.titles[modality]} | {len(scores)} | {numbers} | {limit:.2f} | {below:.1%} |")
    return lines


def noticed(seen: Sequence[Seen], task: Task) -> list[str]:
    """Of subsets of three or more: how often which scan is found, and how well three scores tell bad from good.

    The area under the curve compares the bad scan with the same scan of the same subsets where it is good.
    """
    lines = [
        "| bad scan | subsets | it is found | another one | nothing | AUC: fit | mask from it alone | change by it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    good = {one.case: one for one in seen if not one.bad}
    for kind, strength in dict.fromkeys((one.kind, one.strength) for one in seen):
        own = [one for one in seen if (one.kind, one.strength) == (kind, strength)]
        named = [(one.bad, bad_scan_of(fits)) for one in own for fits in one.fits.values() if _counts(fits, one.bad)]
        found = [(bad, scan.modality if scan else "") for bad, scan in named]
        right = fmean(left == bad for bad, left in found) if kind != GOOD else nan
        wrong = fmean(left not in ("", bad) for bad, left in found)
        nothing = fmean(left == "" for _, left in found)
        areas = [nan, nan, nan] if kind == GOOD else _areas(own, good)
        numbers = " | ".join("" if np.isnan(area) else f"{area:.2f}" for area in areas)
        share = "" if np.isnan(right) else f"{right:.0%}"
        lines.append(f"| {kind} {strength} | {len(found)} | {share} | {wrong:.0%} | {nothing:.0%} | {numbers} |")
    return lines


def _counts(fits: Mapping[str, Fit], bad: str) -> bool:
    return bad in fits if bad else bool(fits)


def _areas(bad: Sequence[Seen], good: Mapping[str, Seen]) -> list[float]:
    """Area under the curve of the fit, of the Dice of the mask from the scan alone, and of the change without it."""
    pairs = [
        (_scores(one, name), _scores(good[one.case], name, one.bad))
        for one in bad
        for name, fits in one.fits.items()
        if _counts(fits, one.bad) and one.case in good and one.bad in good[one.case].fits[name]
    ]
    return [
        float(np.mean([(low < high) + 0.5 * (low == high) for low in worse for high in better])) if worse else nan
        for worse, better in (([pair[0][k] for pair in pairs], [pair[1][k] for pair in pairs]) for k in range(3))
    ]


def _scores(seen: Seen, subset: str, modality: str = "") -> tuple[float, float, float]:
    modality = modality or seen.bad
    fit = seen.fits[subset][modality]
    return fit.score, fit.alone, seen.changes[subset][modality]


def gained(outcomes: Sequence[Outcome]) -> list[str]:
    """Mean Dice over regions, sequences and subsets, by the number of sequences."""
    sizes = sorted({one.size for one in outcomes})
    heads = " | ".join(f"{size}: never | always | by score" for size in sizes)
    lines = [f"| bad scan | {heads} |", "|---|" + "---|" * (3 * len(sizes))]
    for kind, strength in dict.fromkeys((one.kind, one.strength) for one in outcomes):
        own = [one for one in outcomes if (one.kind, one.strength) == (kind, strength)]
        cells = [cell for size in sizes for cell in _three([one for one in own if one.size == size])]
        lines.append(f"| {kind} {strength} | {' | '.join(cells)} |")
    return lines


def by_subset(outcomes: Sequence[Outcome], task: Task) -> list[str]:
    """Mean Dice over regions and bad sequences by subset: never / always / by score."""
    names = [task.subset_name(subset) for subset in task.subsets if len(subset) > 1]
    titles = " | ".join(task.subset_title(task.subset(name)) for name in names)
    lines = [f"| bad scan | {titles} |", "|---|" + "---|" * len(names)]
    for kind, strength in dict.fromkeys((one.kind, one.strength) for one in outcomes):
        own = [one for one in outcomes if (one.kind, one.strength) == (kind, strength)]
        cells = [_in_one_cell([one for one in own if one.subset == name]) for name in names]
        lines.append(f"| {kind} {strength} | {' | '.join(cells)} |")
    return lines


def _in_one_cell(outcomes: Sequence[Outcome]) -> str:
    return " / ".join(cell for cell in _three(outcomes) if cell)


def _three(outcomes: Sequence[Outcome]) -> list[str]:
    """Without a bad scan there is nothing that could always be left out."""
    if not outcomes:
        return ["", "", ""]
    always = [one.always for one in outcomes if one.bad]
    means = [fmean(one.never for one in outcomes), fmean(always) if always else nan,
             fmean(one.by_score for one in outcomes)]  # fmt: skip
    return ["" if np.isnan(mean) else f"{mean:.3f}" for mean in means]


if __name__ == "__main__":
    main()
