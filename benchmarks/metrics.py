"""Time of HD95 and Dice of one pair of masks: lacunet against MONAI, in turn, in one process.

    python benchmarks/metrics.py [--repeats 7] [--cases DIR] [--json FILE]

Masks are invented on the 240 x 240 x 155 grid of BraTS: a sphere with a smooth random surface, predicted with another
surface, moved, or with false islands. With `--cases`, the whole tumour of each reference found there is added, its
prediction being the reference eroded and moved. MONAI gets the float tensors that it would otherwise make itself, ready
before its clock starts; both sides use one thread.

Before the clock starts, Dice must equal MONAI's, and HD95 the float64 percentile of MONAI's surface distances, to 1e-6
(relative beyond 1 mm: those distances are float32), else the script stops. MONAI's own HD95 takes the percentile in
float32, where the rank among thousands of distances is itself rounded; the last column shows by how much it is off.
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import nibabel
import numpy as np
import torch
from scipy.ndimage import binary_erosion, gaussian_filter

from lacunet.evaluation.metrics import score
from lacunet.evaluation.surfaces import Spacing

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from monai.metrics import compute_dice, compute_hausdorff_distance
    from monai.metrics.utils import get_edge_surface_distance

SHAPE = (240, 240, 155)
Pair = tuple[str, np.ndarray, np.ndarray, Spacing]


@dataclass(frozen=True)
class Result:
    pair: str
    hd95: float
    lacunet_ms: float
    monai_ms: float
    times_faster: float
    monai_rounding_mm: float


def invented_pairs() -> Iterator[Pair]:
    """Prediction and reference of easy and hard kinds, each with a name."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 4)
    noise /= noise.std()
    radius = np.linalg.norm(np.indices(SHAPE) - (np.array(SHAPE) / 2).reshape(3, 1, 1, 1), axis=0)
    reference = radius + 3 * noise < 30
    other = radius + 3 * np.roll(noise, 40, axis=0) < 31
    millimetre = (1.0, 1.0, 1.0)
    yield "tumour of 110 ml, another surface", other, reference, millimetre
    yield "the same, moved by 15 mm", np.roll(other, 15, axis=1), reference, millimetre
    yield "the same, with false islands", other | ((noise > 3) & (radius < 75)), reference, millimetre
    yield "the same, 1 x 1 x 3 mm", other, reference, (1.0, 1.0, 3.0)
    yield "small, 1.5 ml", radius + noise < 7, radius + np.roll(noise, 40, axis=0) < 7.5, millimetre
    yield "pieces all over the head, of a young network", (noise > 1.2) & (radius < 75), reference, millimetre
    yield "large and ragged, 400 ml", radius + 5 * np.roll(noise, 9, axis=2) < 47, radius + 5 * noise < 45, millimetre


def real_pairs(folder: Path) -> Iterator[Pair]:
    """The whole tumour of every reference in a folder of cases, with a worse copy of it as the prediction."""
    for number, file in enumerate(sorted(folder.glob("*/*seg.nii.gz")), start=1):
        image = nibabel.load(file)
        reference = np.ascontiguousarray(image.dataobj) > 0
        prediction = np.roll(binary_erosion(reference, iterations=2), (3, -2), axis=(0, 1))
        x, y, z = (float(size) for size in image.header.get_zooms()[:3])
        yield f"real whole tumour {number}", prediction, reference, (x, y, z)


def by_lacunet(prediction: np.ndarray, reference: np.ndarray, spacing: Spacing) -> tuple[float, float]:
    """Dice and HD95 (and volumes, which come along)."""
    scores = score(prediction, reference, spacing)
    return scores.dice, scores.hd95


def by_monai(prediction: torch.Tensor, reference: torch.Tensor, spacing: Spacing) -> tuple[float, float]:
    """Dice and HD95."""
    distance = compute_hausdorff_distance(
        prediction, reference, include_background=True, percentile=95, directed=False, spacing=list(spacing)
    )
    return compute_dice(prediction, reference, include_background=True).item(), distance.item()


def exact_monai(prediction: torch.Tensor, reference: torch.Tensor, spacing: Spacing) -> tuple[float, float]:
    """Dice and HD95 from MONAI's surface distances, the percentile taken in float64."""
    _, distances, _ = get_edge_surface_distance(
        prediction[0, 0], reference[0, 0], spacing=list(spacing), symmetric=True
    )
    larger = max(float(np.quantile(one_way.double().numpy(), 0.95)) for one_way in distances)
    return compute_dice(prediction, reference, include_background=True).item(), larger


def timed(function: Callable[[], tuple[float, float]]) -> tuple[float, tuple[float, float]]:
    """Seconds and result of one call."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def compare(pair: Pair, repeats: int) -> Result:
    """Check that the scores agree; then time both in so many turns, after one that is not counted."""
    name, prediction, reference, spacing = pair
    first, second = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference))
    found = by_lacunet(prediction, reference, spacing)
    np.testing.assert_allclose(found, exact_monai(first, second, spacing), rtol=1e-6, atol=1e-6, err_msg=name)
    turns = []
    for _ in range(repeats + 1):
        ours, _ = timed(lambda: by_lacunet(prediction, reference, spacing))
        theirs, (_, distance) = timed(lambda: by_monai(first, second, spacing))
        turns.append((1000 * ours, 1000 * theirs))
    fast, slow = (median(column) for column in zip(*turns[1:], strict=True))
    return Result(name, found[1], fast, slow, slow / fast, abs(distance - found[1]))


def together(results: list[Result]) -> Result:
    """Medians over pairs, and the largest rounding."""
    columns = list(zip(*(astuple(result)[1:] for result in results), strict=True))
    return Result(f"{len(results)} real whole tumours (medians)", *map(median, columns[:-1]), max(columns[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="turns per pair")
    parser.add_argument("--cases", type=Path, help="a folder of cases with references named *seg.nii.gz")
    parser.add_argument("--json", type=Path, help="write the numbers of every pair there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")  # MONAI's, about its own calls
    invented = [compare(pair, options.repeats) for pair in invented_pairs()]
    real = [compare(pair, options.repeats) for pair in real_pairs(options.cases)] if options.cases else []
    versions = ", ".join(f"{package} {version(package)}" for package in ("monai", "scipy", "numpy", "torch"))
    print(f"Medians of {options.repeats}, one thread, {platform.machine()}; {versions}.\n")
    print("| pair | HD95, mm | lacunet, ms | MONAI, ms | times faster | MONAI's rounding, mm |")
    print("|---|---|---|---|---|---|")
    for row in [*invented, *([together(real)] if real else [])]:
        times = f"{row.lacunet_ms:.0f} | {row.monai_ms:.0f} | {row.times_faster:.1f}"
        print(f"| {row.pair} | {row.hd95:.2f} | {times} | {row.monai_rounding_mm:.0e} |")
    print(f"\nLeast of the {len(invented + real)} pairs: {min(row.times_faster for row in invented + real):.1f} times.")
    if options.json:
        rows = [asdict(row) for row in invented + real]
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
