"""Sample pages from invented arrays, to look at while working on templates.

python scripts/figures/look_at_reports.py DIR
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lacunet.case import Grid
from lacunet.comparison.comparison import CompareSettings, compare_runs
from lacunet.comparison.page import comparison_page
from lacunet.evaluation.heat import worst_cases
from lacunet.evaluation.metrics import BRATS
from lacunet.evaluation.page import CasePicture, EvaluationView, write_evaluation_page
from lacunet.evaluation.results import read_runs
from lacunet.evaluation.scores import Row, summarise, write_rows
from lacunet.files import write_json, write_text
from lacunet.segmentation.doubts import Doubt
from lacunet.segmentation.expectation import Expectation
from lacunet.segmentation.page import CaseView, write_case_page
from lacunet.task import GLIOMA, Subset

SHAPE, SPACING = (150, 180, 60), (1.0, 1.0, 2.4)
GRID = Grid(SHAPE, np.diag([*SPACING, 1.0]))
SIGNALS = {"t1n": (100, 70, 80, 70), "t1c": (100, 60, 75, 170), "t2w": (90, 170, 150, 140), "t2f": (90, 130, 160, 140)}
EXPECTED = {True: {"wt": 0.88, "tc": 0.81, "et": 0.77}, False: {"wt": 0.85, "tc": 0.64, "et": 0.41}}


def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """True inside; voxels as unit."""
    offsets = np.indices(SHAPE).reshape(3, -1).T - np.array(centre)
    return ((offsets / np.array(radii)) ** 2).sum(axis=1).reshape(SHAPE) <= 1


def tumour(shift: float) -> np.ndarray:
    """Labels of a tumour on the patient's right, moved forwards by `shift` voxels."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[ellipsoid((102, 105 + shift, 34), (24, 30, 11))] = 2
    labels[ellipsoid((104, 102 + shift, 34), (14, 16, 7))] = 3
    labels[ellipsoid((104, 102 + shift, 34), (9, 11, 4.5))] = 1
    return labels


def image(modality: str, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Grey values: a noisy brain with ventricles and the tumour."""
    brain = ellipsoid((75, 90, 30), (66, 82, 28))
    signal = np.take(np.array(SIGNALS[modality]), labels).astype(np.float32)
    for side in (64, 86):
        signal[ellipsoid((side, 92, 32), (5, 24, 7)) & (labels == 0)] = 200 if modality == "t2w" else 30
    return np.where(brain, signal + generator.normal(0, 5, SHAPE), 0).astype(np.float32)


def volumes(labels: np.ndarray) -> dict[str, float]:
    """Volume by region, in ml."""
    return {region: float(np.isin(labels, own).sum() * GRID.voxel_ml) for region, own in GLIOMA.regions.items()}


def case(name: str, acquired: Subset, used: Subset, prediction: np.ndarray, reference: np.ndarray | None) -> CaseView:
    """A view of an invented case."""
    generator = np.random.default_rng(0)
    expected = Expectation(EXPECTED["t1c" in used], 6, "invented cases")
    return CaseView(
        name=name,
        task=GLIOMA,
        images={modality: image(modality, tumour(0), generator) for modality in acquired},
        grid=GRID,
        prediction=prediction,
        subset=used,
        volumes=volumes(prediction),
        reference=reference,
        reference_volumes={} if reference is None else volumes(reference),
        expected=expected,
        caveat="A volume is no evidence of a tumour: the model also finds some in brains without one",
        doubts=[] if "t1c" in used else [Doubt("both sides", "51 % of the whole tumour found lies on both sides")],
        provenance={
            "model": "invented",
            "command": "python scripts/figures/look_at_reports.py",
            "weights sha256": "0" * 64,
        },
        viewer=True,
        helpful_sequence=None if "t1c" in used else "T1ce would help most: expected Dice of ET 0.77 instead of 0.41.",
    )


def invented_rows(generator: np.random.Generator, cases: int) -> list[Row]:
    """Plausible scores; the second case has no FLAIR and no enhancing tumour."""
    rows = []
    for number in range(cases):
        sizes = {"wt": generator.uniform(30, 150), "tc": generator.uniform(5, 30), "et": generator.uniform(1, 5)}
        sizes["et"] *= number != 1
        ease = generator.uniform(-0.2, 0.05)
        for subset in GLIOMA.subsets:
            if number == 1 and "t2f" in subset:
                continue
            for region, size in sizes.items():
                dice = EXPECTED["t1c" in subset][region] + ease + 0.02 * len(subset) + generator.normal(0, 0.03)
                dice = float(np.clip(dice, 0, 1)) if size else 0.0
                hd95 = (1 - dice) * 40 if size else 373.13
                found = size * generator.uniform(0.7, 1.3) if size else 0.4
                name = f"invented {number:02d}"
                rows.append(Row(name, GLIOMA.subset_name(subset), region, dice, hd95, size, found))
    return rows


def evaluation() -> EvaluationView:
    """A view of an invented evaluation."""
    generator = np.random.default_rng(1)
    rows = invented_rows(generator, 8)
    pictures = [
        CasePicture(name, subset, "t1c", image("t1c", tumour(0), generator), GRID, tumour(4 - 3 * index), tumour(0))
        for index, (name, subset) in enumerate(worst_cases(GLIOMA, rows, 4))
    ]
    return EvaluationView(
        model="invented",
        task=GLIOMA,
        summary=summarise(rows, GLIOMA, BRATS, "invented"),
        rows=rows,
        data="all invented",
        policy_words="both empty counts as Dice 1 and HD95 0 mm; one empty as Dice 0 and HD95 373.13 mm",
        pictures=pictures,
        provenance={"command": "python scripts/figures/look_at_reports.py"},
    )


def comparison(folder: Path) -> str:
    """The page of five invented methods, one of them trained twice, beside published tables."""
    runs: dict[str, list[Path]] = {}
    for index, name in enumerate(("steady", "bold", "bold", "a method with a rather long name", "small", "new")):
        evaluation_of = folder / f"{index}"
        rows = [replace(row, dice=min(1.0, row.dice * (1 + 0.04 * index))) for row in invented_rows_of(index)]
        write_rows(evaluation_of / "cases.csv", rows)
        write_json(evaluation_of / "summary.json", summarise(rows, GLIOMA, BRATS, name).to_json())
        runs.setdefault(name, []).append(evaluation_of)
    return comparison_page(
        compare_runs(read_runs(runs), CompareSettings(published=("brats2018-ccsd", "brats2020-smsn")))
    )


def invented_rows_of(seed: int) -> list[Row]:
    """Rows of the same invented cases, with scores of their own."""
    rows = invented_rows(np.random.default_rng(1), 12)
    noise = np.random.default_rng(seed).normal(0, 0.02, len(rows))
    return [
        replace(row, dice=float(np.clip(row.dice + error, 0, 1)) if row.dice else 0.0)
        for row, error in zip(rows, noise, strict=True)
    ]


def main() -> None:
    """Write the pages and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    everything, nothing = GLIOMA.modalities, np.zeros(SHAPE, np.uint8)
    pages = {
        "complete": case("Complete", everything, everything, tumour(2), tumour(0)),
        "two": case("Two sequences", ("t2w", "t2f"), ("t2w", "t2f"), tumour(0), None),
        "one": case("One sequence", ("t2f",), ("t2f",), tumour(0), None),
        "nothing": case("No tumour found", ("t1c", "t2f"), ("t1c", "t2f"), nothing, None),
    }
    for name, view in pages.items():
        write_case_page(folder / f"{name}.html", view)
    write_evaluation_page(folder / "evaluation.html", evaluation())
    with TemporaryDirectory() as made:
        write_text(folder / "compare.html", comparison(Path(made)))
    print(f"{len(pages) + 2} pages in {folder}")


if __name__ == "__main__":
    main()
