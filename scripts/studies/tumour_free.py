"""What models find in brains without a tumour, in ml, from every subset of their sequences.

    python scripts/studies/tumour_free.py DATA --split DATA/split.json:val --models old=runs/old default -o runs/free

The brains are those of `lacunet evaluate --tumour-free`, here without the cases themselves and without HD95, which is
quick: the healthy half of a case, where it has one, and its mirror image. `--healthy FOLDER` adds the scans of people
without a tumour, prepared as cases (no skull, one grid); they need no reference. `parts/` keeps what a case gave, so
that the script goes on where it was stopped. Volumes are those on the network's grid. The tables are printed as
Markdown, and written to `tumour_free.md`.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path
from statistics import median

from lacunet.case import Case, CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labelled import labelled, named_part
from lacunet.data.mirrored import mirrored_case
from lacunet.data.nifti import load_case
from lacunet.evaluation.masks import masks_of
from lacunet.evaluation.scores import Row, read_rows, write_rows
from lacunet.evaluation.summary import FalsePositives
from lacunet.evaluation.tumour_free import tumour_free
from lacunet.files import path_in, write_text
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.report.page import millilitres
from lacunet.task import Task
from scan_changes import without_surroundings


def main() -> None:
    """Read the command line, segment what is not segmented yet, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", help="FILE:PART; all cases without it")
    parser.add_argument("--healthy", type=Path, help="a folder of cases without a tumour")
    parser.add_argument("--models", nargs="+", default=["default"], help="models, or NAME=MODEL[,MODEL...]")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    texts = []
    for name, _, source in (one.rpartition("=") for one in options.models):
        predictor = Predictor([load_model(one) for one in source.split(",")])
        task, kept = predictor.model.task, options.output / "parts" / predictor.model.sha256[:12]
        cases = labelled(options.data, task, None)
        cases = named_part(cases, options.split) if options.split else cases
        rows = rows_of(predictor, cases, lambda case, own=task: mirrored_case(case, own), kept / "mirrored")
        if options.healthy is not None:
            rows += rows_of(predictor, find_cases(options.healthy, task), lambda case: case, kept / "healthy")
        texts.append(markdown(name or source, rows, task))
    text = "\n".join(texts)
    write_text(options.output / "tumour_free.md", text)
    print(text)


def rows_of(
    predictor: Predictor, cases: Sequence[CaseFiles], without: Callable[[Case], Case | None], kept: Path
) -> list[Row]:
    """The volumes of every case that has a brain without a tumour; those that were kept are read."""
    rows: list[Row] = []
    for files in cases:
        part = path_in(kept, files.name, ".csv")
        if not part.is_file():
            case = without(load_case(files, predictor.model.task))
            write_rows(part, [] if case is None else volumes_of(predictor, case))
            print(f"{files.name}: {'no healthy half' if case is None else 'done'}", flush=True)
        rows += read_rows(part)
    return rows


def volumes_of(predictor: Predictor, case: Case) -> list[Row]:
    """From every subset of its sequences, all from one encoding."""
    task, case = predictor.model.task, without_surroundings(case)
    acquired = case.acquired(task)
    parts = [subset for subset in task.subsets if set(subset) < set(acquired)]
    return [
        Row(case.name, task.subset_name(one.subset), region, float(not mask.any()), nan, 0.0,
            float(mask.sum()) * one.voxel_ml)
        for one in predictor.with_parts(case, acquired, parts)
        for region, mask in masks_of(one, predictor.own_rules, None).items()
    ]  # fmt: skip


def markdown(model: str, rows: Sequence[Row], task: Task) -> str:
    """Median (mean, worst) in ml by subset and by number of sequences; of two or more the median over all masks."""
    found = tumour_free({(row.case, row.subset, row.region): row.prediction_ml for row in rows}, task)
    if found is None:
        return f"**{model}**: no case has a healthy half.\n"
    lines = [
        f"**{model}**: {found.cases} brain{'' if found.cases == 1 else 's'} without a tumour, ml found: median (mean, "
        "worst).", "",
        f"| from | {' | '.join(region.upper() for region in task.regions)} |",
        "|---|" + "---|" * len(task.regions),
    ]  # fmt: skip
    lines += [f"| {task.subset_title(task.subset(name))} | {_cells(own)} |" for name, own in found.subsets.items()]
    lines += [f"| any {size} | {_cells(own)} |" for size, own in found.by_size.items()]
    whole = next(iter(task.regions))
    several = [row.prediction_ml for row in rows if row.region == whole and len(task.subset(row.subset)) > 1]
    if several:
        lines += ["", f"From two or more sequences, {whole.upper()}: {millilitres(median(several))} ml (median)."]
    return "\n".join([*lines, ""])


def _cells(regions: Mapping[str, FalsePositives]) -> str:
    return " | ".join(
        f"{millilitres(one.median)} ({millilitres(one.mean)}, {millilitres(one.worst)})" for one in regions.values()
    )


if __name__ == "__main__":
    main()
