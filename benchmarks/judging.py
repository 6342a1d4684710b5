"""How often import's judgement of a registration is right: scans where they belong, moved ones, and other patients'.

    python benchmarks/judging.py [--cases DIR] [--split FILE:PART+PART] [--every N] [--seed 0]

The scans of each case are judged as they are. Then one of T1, T2 and FLAIR, in turn, is changed and judged anew:
shifted by 3, 5 and 10 mm in a direction drawn at random, turned by 5 and 10 degrees about an axis drawn at random,
replaced by that of the case five further on as it lies in its own grid, and by the same registered to the T1ce as
import would.
Without `--cases`, six invented patients are used; with `--every 4`, only every fourth case is changed.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from lacunet.case import Case
from lacunet.data.nifti import load_case
from lacunet.data.phantom.phantom import make_phantom
from lacunet.intake.align.quality import judge_registrations
from lacunet.intake.align.register import register, volume_of
from lacunet.intake.align.rigid import Rigid, carry, grown, voxel_points
from measure import print_table, use_cores
from registration import case_options, chosen_cases, unit

SHIFTS_MM = (3, 5, 10)
TURNS_DEGREES = (5, 10)
VERDICTS = ("good", "doubtful", "failed")
SEQUENCES = ("t1n", "t2w", "t2f")


def patients(folder: Path | None, split: str | None) -> list[Callable[[], Case]]:
    """Real cases, or invented ones, each read when it is called."""
    if folder is None:
        return [partial(make_phantom, number) for number in range(6)]
    return [partial(load_case, files, want_reference=False) for files in chosen_cases(folder, split)]


def verdicts(case: Case, changed: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The verdict on each scan but T1ce, where some were changed."""
    images = {"t1c": case.images["t1c"], **case.images, **changed}
    brain = np.any([image != 0 for image in images.values()], axis=0)
    judged = judge_registrations(images, "t1c", case.grid, np.asarray(ndimage.binary_fill_holes(brain)))
    return {one.step.removeprefix("registration of "): one.verdict for one in judged}


def changes(first: Case, second: Case, modality: str, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """The scan moved, and another patient's, by the name of the row."""
    image, grid = first.images[modality], first.grid
    middle, still = voxel_points(image != 0, grid).mean(0), np.zeros(3)
    shift, axis = unit(generator), unit(generator)
    moved = {f"shifted by {mm} mm": Rigid.about(middle, still, shift * mm) for mm in SHIFTS_MM}
    moved |= {f"turned by {angle} degrees": Rigid.about(middle, axis * angle, still) for angle in TURNS_DEGREES}
    images = {row: carry(image, grid, grid, motion) for row, motion in moved.items()}
    strange = second.images[modality]
    images["another patient's, as it lies"] = carry(strange, second.grid, grid, Rigid.identity())
    around = [grown(scan != 0, at, 4.0) for scan, at in ((first.images["t1c"], grid), (strange, second.grid))]
    fixed, moving = volume_of(first.images["t1c"], grid, around[0]), volume_of(strange, second.grid, around[1])
    found = register(fixed, moving).to_fixed
    images["another patient's, registered"] = carry(strange, second.grid, grid, found.inverse)
    return images


def main() -> None:
    """Print the table."""
    parser = case_options(__doc__)
    parser.add_argument("--every", type=int, default=1, help="change the scans of every so-manieth case only")
    options = parser.parse_args()
    use_cores()
    generator = np.random.default_rng(options.seed)
    counts: dict[str, list[str]] = {"unchanged": []}
    everyone = patients(options.cases, options.split)
    for index, read in enumerate(everyone):
        case = read()
        counts["unchanged"] += verdicts(case, {}).values()
        if index % options.every:
            continue
        modality = SEQUENCES[index // options.every % len(SEQUENCES)]
        for row, image in changes(case, everyone[(index + 5) % len(everyone)](), modality, generator).items():
            counts.setdefault(row, []).append(verdicts(case, {modality: image})[modality])
    rows = [[row, *(str(found.count(verdict)) for verdict in VERDICTS)] for row, found in counts.items()]
    print_table(["second scan", *VERDICTS], rows)


if __name__ == "__main__":
    main()
