"""How well known rigid motions are found again: lacunet's registration, and greedy's beside it where it is installed.

    python benchmarks/registration.py [--cases DIR] [--split FILE:PART+PART] [--tries 100] [--seed 0]

Each try takes a case, two of its sequences, and scans both anew: slices of 1, 3 or 5.5 mm along any axis, oblique by up
to 10 degrees, one try in five with a quarter of the brain outside the field of view. The second scan is then moved by a
rotation of up to 20 degrees about any axis and a shift of up to 20 mm in any direction, and registration has to find
that motion from the voxels alone. The error is the mean distance, over the voxels of the brain, between where a voxel
is brought and where it belongs. Without `--cases`, invented patients are used. `--only greedy` measures the peer alone.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lacunet.case import Case, CaseFiles, Grid
from lacunet.data.find import find_cases
from lacunet.data.labelled import named_part
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case
from lacunet.data.phantom.phantom import make_phantom
from lacunet.intake.align.register import Volume, register, volume_of
from lacunet.intake.align.rigid import Rigid, carry, distances, to_itk, voxel_points
from measure import conditions, print_table, use_cores

MOST_DEGREES = 20.0
MOST_MM = 20.0
GOAL_MM = 1.0


@dataclass(frozen=True)
class Scanned:
    """A scan made anew: voxels on a grid of its own."""

    voxels: np.ndarray
    grid: Grid
    thickness: float


@dataclass(frozen=True)
class Try:
    """Two scans of one patient, and the motion that takes points of the first to points of the second."""

    name: str
    fixed: Scanned
    moving: Scanned
    truth: Rigid
    brain: np.ndarray
    cut: bool


def unit(generator: np.random.Generator) -> np.ndarray:
    """A direction, all alike."""
    vector = generator.standard_normal(3)
    return vector / np.linalg.norm(vector)


def draw_motion(generator: np.random.Generator, centre: np.ndarray, degrees: float, shift: float) -> Rigid:
    """A turn about any axis through `centre` and a shift, each drawn evenly up to its limit."""
    axis, angle = unit(generator), np.deg2rad(generator.uniform(0, degrees))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre + unit(generator) * generator.uniform(0, shift) - turn @ centre
    return Rigid(matrix)


def scan_again(
    generator: np.random.Generator, image: np.ndarray, grid: Grid, thickness: float, cut: float = 0.0
) -> Scanned:
    """Slices of this thickness along an axis drawn at random, each the mean over its own depth.

    `cut` is the share of the brain, along a random axis and side, that lies outside the field of view.
    """
    brain = voxel_points(image > 0, grid, 20_000)
    middle = brain.mean(0)
    oblique = draw_motion(generator, middle, 10.0, 0.0)
    across = int(generator.integers(3)) if thickness > 1 else 2
    spacing = np.full(3, 1.0 if thickness <= 1 else 0.9)
    spacing[across] = thickness
    local = oblique.inverse.move(brain)
    low, high = local.min(0) - 6.0, local.max(0) + 6.0
    if cut > 0:
        axis, side = int(generator.integers(3)), int(generator.integers(2))
        if side:
            low[axis] = np.quantile(local[:, axis], cut)
        else:
            high[axis] = np.quantile(local[:, axis], 1 - cut)
    shape = np.maximum(4, np.ceil((high - low) / spacing)).astype(int)
    affine = oblique.matrix @ np.diag([*spacing, 1.0])
    affine[:3, 3] = oblique.move(low[None])[0]
    depth = max(1, round(thickness))
    fine_shape, fine = shape.copy(), affine.copy()
    fine_shape[across] *= depth
    fine[:3, across] /= depth
    fine[:3, 3] -= affine[:3, across] * (depth - 1) / (2 * depth)
    x, y, z = (int(size) for size in fine_shape)
    voxels = carry(image, grid, Grid((x, y, z), fine), Rigid.identity())
    folded = [*shape[:across], shape[across], depth, *shape[across + 1 :]]
    slices = voxels.reshape(folded).mean(across + 1)
    x, y, z = slices.shape
    return Scanned(slices.astype(np.float32), Grid((x, y, z), affine), thickness)


def make_try(number: int, seed: int, case: Case) -> Try:
    """The try of this number: the same patient, scans and motion whenever it is asked for."""
    generator = np.random.default_rng([seed, number])
    one, two = generator.choice(sorted(case.images), 2, replace=False)
    cut = number % 5 == 4
    fixed = scan_again(generator, case.images[one], case.grid, float(generator.choice([1.0, 1.0, 3.0, 5.5])))
    moving = scan_again(
        generator, case.images[two], case.grid, float(generator.choice([1.0, 3.0, 5.5, 5.5])), 0.25 if cut else 0.0
    )
    brain = voxel_points(case.images[one] > 0, case.grid)
    motion = draw_motion(generator, brain.mean(0), MOST_DEGREES, MOST_MM)
    moved = Grid(moving.grid.shape, motion.matrix @ moving.grid.affine)
    name = f"{case.name} {two} {moving.thickness:g} mm -> {one} {fixed.thickness:g} mm"
    return Try(name, fixed, Scanned(moving.voxels, moved, moving.thickness), motion, brain, cut)


def tries(count: int, seed: int, folder: Path | None, split: str | None) -> Iterator[Try]:
    """So many tries, over all cases in turn."""
    if folder is None:
        patients = [make_phantom(number) for number in range(min(count, 6))]
        yield from (make_try(number, seed, patients[number % len(patients)]) for number in range(count))
        return
    found = chosen_cases(folder, split)
    for number in range(count):
        yield make_try(number, seed, load_case(found[number % len(found)], want_reference=False))


def chosen_cases(folder: Path, split: str | None) -> list[CaseFiles]:
    """The cases of a folder, or those in the parts of a split: `split.json:train+val`."""
    cases = with_conventions(find_cases(folder))
    if split is None:
        return cases
    file, _, parts = split.rpartition(":")
    names = {case.name for part in parts.split("+") for case in named_part(cases, f"{file}:{part}")}
    return [case for case in cases if case.name in names]


def case_options(about: str | None, cases: str = "a folder of cases") -> argparse.ArgumentParser:
    """A command line with `--cases`, `--split` and `--seed`; scripts add theirs."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, help=cases)
    parser.add_argument("--split", help="FILE:PART+PART; all cases otherwise")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def by_lacunet(attempt: Try) -> Rigid:
    """Registration as `lacunet import` does it; from points of the fixed scan to points of the moving one."""
    volumes: list[Volume] = [volume_of(scan.voxels, scan.grid) for scan in (attempt.fixed, attempt.moving)]
    return register(*volumes).to_fixed.inverse


def by_greedy(attempt: Try) -> Rigid:
    """The same by greedy (pip install picsl_greedy): rigid, mutual information, 200 random starts, one thread."""
    from picsl_greedy import Greedy3D

    greedy = Greedy3D()
    greedy.execute(
        "-i fixed moving -a -dof 6 -m NMI -n 100x60x20 -ia-identity -search 200 12 10 -threads 1 -o motion",
        fixed=to_itk(attempt.fixed.voxels, attempt.fixed.grid),
        moving=to_itk(attempt.moving.voxels, attempt.moving.grid),
        motion=None,
    )
    return Rigid(np.asarray(greedy["motion"], dtype=np.float64))


WAYS = {"lacunet": by_lacunet, "greedy": by_greedy}


def row(way: str, errors: np.ndarray, times: np.ndarray) -> list[str]:
    """A line of the table."""
    return [
        way,
        str(len(errors)),
        f"{(errors < GOAL_MM).mean():.0%}",
        f"{np.median(errors):.2f}",
        f"{np.percentile(errors, 95):.2f}",
        f"{errors.max():.2f}",
        f"{np.median(times):.1f}",
    ]


def main() -> None:
    """Print every try to stderr, and the table."""
    parser = case_options(__doc__)
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--only", choices=WAYS)
    options = parser.parse_args()
    cores = use_cores()
    ways = [options.only] if options.only else [way for way in WAYS if way == "lacunet" or find_spec("picsl_greedy")]
    results: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number, attempt in enumerate(tries(options.tries, options.seed, options.cases, options.split)):
        before = distances(Rigid.identity(), attempt.truth, attempt.brain).mean()
        for way in ways:
            start = time.process_time()
            error = distances(WAYS[way](attempt), attempt.truth, attempt.brain).mean()
            results[way].append((error, time.process_time() - start))
            told = f"{number} {attempt.name}{' cut' if attempt.cut else ''}: {before:.1f} -> {error:.2f} mm by {way}"
            print(told, file=sys.stderr, flush=True)
    print(conditions(cores, "lacunet", "SimpleITK") + "\n")
    print_table(
        ["way", "tries", f"under {GOAL_MM:g} mm", "median error, mm", "95th percentile", "worst", "seconds of a core"],
        [row(way, *np.array(found).T) for way, found in results.items()],
    )


if __name__ == "__main__":
    main()
