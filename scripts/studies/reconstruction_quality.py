"""How close a recovery module's estimates are to scans that were held out, beside the mean of the scans shown.

    pip install scikit-image
    python scripts/studies/reconstruction_quality.py RUN DATA --split FILE:val -o DIR [--pictures 2]

Every case is seen through every subset of its sequences but the full one, and each other sequence is estimated. On the
network's grid, in its units (standard deviations from the mean of the brain): the mean absolute error, and SSIM (Wang
et al., 2004, Gaussian window of 1.5 voxels, the range of the real scan), each over the brain and over the whole tumour
of the reference. The crude alternative is the mean of what was shown. Writes `quality.csv` with every number, and a
picture for some cases; prints the means as a markdown table, and in which means the estimates are not better: a model
whose estimates are worth showing has none. The pictures show patients: keep DIR outside the repository.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

import matplotlib
import numpy as np
import torch
from skimage.metrics import structural_similarity

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from lacunet.case import Case
from lacunet.data.labelled import labelled, named_part
from lacunet.data.nifti import load_case
from lacunet.data.prepare import frame_of, prepare_images, prepare_reference
from lacunet.models.model import Model, load_model
from lacunet.prediction.windows import pad_to
from lacunet.task import Subset


@dataclass(frozen=True)
class Row:
    """One sequence of one case, estimated from one subset.

    Attributes:
        case: Its name.
        subset: What was shown.
        sequence: What was estimated.
        region: `brain` or `tumour`.
        mae: Of the estimate, in standard deviations.
        ssim: Of the estimate, mean over the region.
        mean_mae: Of the mean of what was shown.
        mean_ssim: The same's.
    """

    case: str
    subset: str
    sequence: str
    region: str
    mae: float
    ssim: float
    mean_mae: float
    mean_ssim: float


@dataclass(frozen=True)
class Prepared:
    """A case on the network's grid: images as `modality x y z`, and the tumour of its reference."""

    name: str
    images: np.ndarray
    tumour: np.ndarray


def main() -> None:
    """Read the command line, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a run or a model folder with a recovery module (arguments.keep)")
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", required=True, metavar="FILE:PART")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=2, help="cases that are drawn")
    options = parser.parse_args()
    model = load_model(options.model)
    cases = named_part(labelled(options.data, model.task, None), options.split)
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for number, files in enumerate(cases):
        case = prepare(load_case(files, model.task), model)
        rows += measure(case, model)
        if number < options.pictures:
            draw(case, model).savefig(options.output / f"{case.name}.png", dpi=100, facecolor="black")
    write(options.output / "quality.csv", rows)
    print_table(rows, model)
    worse = not_better(rows)
    print(f"\nThe estimates are not better than that mean in: {', '.join(worse) or 'nothing'}.")


def prepare(case: Case, model: Model) -> Prepared:
    """All sequences in the box of all of them."""
    frame = frame_of(case, case.acquired(model.task), model.preparation)
    images = prepare_images(case, model.task, model.preparation, frame)
    return Prepared(case.name, images.numpy(), prepare_reference(case, model.task, frame).numpy() > 0)


def estimate(images: np.ndarray, subset: Subset, model: Model) -> np.ndarray:
    """All sequences, as `lacunet complete` estimates them from a subset: nothing outside the brain that it shows."""
    presence = torch.tensor([model.task.presence(subset)])
    with torch.inference_mode():
        completed = model.method.complete(pad_to(torch.from_numpy(images)[None], model.method.divisor), presence)
    cut = tuple(slice(0, n) for n in images.shape[1:])
    clip = model.preparation.clip
    found: np.ndarray = completed[0][(slice(None), *cut)].clamp(-clip, clip).numpy()
    shown = np.any([images[model.task.modalities.index(modality)] != 0 for modality in subset], axis=0)
    return np.where(shown, found, np.float32(0))


def measure(case: Prepared, model: Model) -> Iterator[Row]:
    """Every subset, every sequence outside it, both regions."""
    task = model.task
    for subset in task.subsets[:-1]:
        estimates = estimate(case.images, subset, model)
        crude = case.images[[task.modalities.index(modality) for modality in subset]].mean(axis=0)
        for index, sequence in enumerate(task.modalities):
            if sequence in subset:
                continue
            real = case.images[index]
            brain = real != 0
            errors = [np.abs(one - real) for one in (estimates[index], crude)]
            maps = [likeness(one, real) for one in (estimates[index], crude)]
            for region, mask in (("brain", brain), ("tumour", case.tumour & brain)):
                if mask.any():
                    numbers = [float(one[mask].mean()) for pair in zip(errors, maps, strict=True) for one in pair]
                    yield Row(case.name, task.subset_name(subset), sequence, region, *numbers)


def likeness(one: np.ndarray, real: np.ndarray) -> np.ndarray:
    """SSIM around every voxel."""
    _, found = structural_similarity(
        real,
        one,
        data_range=float(real.max() - real.min()),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return np.asarray(found)


def write(path: Path, rows: list[Row]) -> None:
    """One line a row."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def print_table(rows: list[Row], model: Model) -> None:
    """Means over cases and subsets, by sequence and by how many were shown; the mean of the shown in brackets."""
    cases = len({row.case for row in rows})
    print(f"{model.name}, {cases} cases. In brackets: the mean of the sequences that were shown.\n")
    print("| estimated | shown | MAE brain (SD) | MAE tumour | SSIM brain | SSIM tumour |")
    print("|---|---|---|---|---|---|")
    sizes = range(1, len(model.task.modalities))
    for sequence in (*model.task.modalities, None):
        for size in sizes:
            chosen = [row for row in rows if row.sequence == (sequence or row.sequence) and _size(row) == size]
            cells = []
            for name in ("mae", "ssim"):
                for region in ("brain", "tumour"):
                    own = [row for row in chosen if row.region == region]
                    ours = fmean(getattr(row, name) for row in own)
                    cells.append(f"{ours:.3f} ({fmean(getattr(row, f'mean_{name}') for row in own):.3f})")
            title = model.task.titles[sequence] if sequence else "*mean*"
            print(f"| {title} | {size} | {' | '.join(cells)} |")


def not_better(rows: list[Row]) -> list[str]:
    """The means over cases, subsets and sequences in which the estimate is no better than the mean of what was shown.

    A mean for each measure, region and number of shown sequences: twelve for four sequences.
    """
    found: list[str] = []
    for name, sign in (("mae", -1), ("ssim", 1)):
        for region in ("brain", "tumour"):
            for size in sorted({_size(row) for row in rows}):
                own = [row for row in rows if row.region == region and _size(row) == size]
                gains = [sign * (getattr(row, name) - getattr(row, f"mean_{name}")) for row in own]
                if gains and fmean(gains) <= 0:
                    found.append(f"{name.upper()} {region}, {size} shown")
    return found


def _size(row: Row) -> int:
    return row.subset.count("+") + 1


def draw(case: Prepared, model: Model) -> plt.Figure:
    """A row per sequence: the scan; its estimate from all others and from one other; the mean of the others."""
    task = model.task
    height = int(np.argmax(case.tumour.sum((0, 1)))) or case.tumour.shape[2] // 2
    columns = ("scan", "estimate from 3", "mean of 3", "estimate from 1")
    shape = case.images.shape[1:3]
    size = (2.1 * len(columns) * shape[0] / shape[1] + 0.4, 2.1 * len(task.modalities) + 0.3)
    figure, axes = plt.subplots(len(task.modalities), len(columns), figsize=size, facecolor="black")
    for index, (sequence, row) in enumerate(zip(task.modalities, axes, strict=True)):
        others = tuple(modality for modality in task.modalities if modality != sequence)
        one = others[0] if sequence in ("t1n", "t1c") else others[-1]
        shown = (
            case.images[index],
            estimate(case.images, others, model)[index],
            np.delete(case.images, index, axis=0).mean(axis=0),
            estimate(case.images, (one,), model)[index],
        )
        brain = case.images[index] != 0
        for axis, volume, title in zip(row, shown, columns, strict=True):
            axis.imshow(np.where(brain, volume, -10)[:, :, height].T, origin="lower", cmap="gray", vmin=-2.5, vmax=2.5)
            if case.tumour[:, :, height].any():
                axis.contour(case.tumour[:, :, height].T, [0.5], colors="#4cc9f0", linewidths=0.8)
            words = f"from {task.titles[one]}" if title == "estimate from 1" else ""
            axis.text(0.03, 0.03, words, color="white", fontsize=8, transform=axis.transAxes)
            axis.set_xticks([])
            axis.set_yticks([])
            if index == 0:
                axis.set_title(title, color="white", fontsize=9)
        row[0].set_ylabel(task.titles[sequence], color="white", fontsize=10)
    figure.tight_layout(pad=0.4)
    return figure


if __name__ == "__main__":
    main()
