"""How often import's judgement of a registration is right: scans where they belong, and the same ones shifted.

    python benchmarks/judging.py [--cases DIR] [--split FILE:PART+PART] [--seed 0]

Each case's T1, T2 and FLAIR are judged against its T1ce: as they are, and shifted by 5 and by 10 mm in a direction
that is drawn for each pair; and one of the three sequences of the case five further on, registered to the T1ce
as import would. Without `--cases`, six invented patients are used.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from lacunet.case import Case
from lacunet.data.nifti import load_case
from lacunet.data.phantom.phantom import make_phantom
from lacunet.intake.align.quality import judge_registration
from lacunet.intake.align.register import register, volume_of
from lacunet.intake.align.rigid import carry, grown
from measure import print_table, use_cores
from registration import case_options, chosen_cases, unit

SHIFTS_MM = (0, 5, 10)
VERDICTS = ("good", "doubtful", "failed")


def patients(folder: Path | None, split: str | None) -> list[Callable[[], Case]]:
    """Real cases, or invented ones, each read when it is called."""
    if folder is None:
        return [partial(make_phantom, number) for number in range(6)]
    return [partial(load_case, files, want_reference=False) for files in chosen_cases(folder, split)]


def of_another(first: Case, second: Case, modality: str) -> str:
    """The verdict on another patient's scan, laid on the first one's T1ce as well as it can be."""
    fixed, moving = first.images["t1c"], second.images[modality]
    around = [grown(image != 0, case.grid, 4.0) for image, case in ((fixed, first), (moving, second))]
    found = register(volume_of(fixed, first.grid, around[0]), volume_of(moving, second.grid, around[1]))
    laid = carry(moving, second.grid, first.grid, found.to_fixed.inverse)
    both = (fixed != 0) & (laid != 0)
    return judge_registration(modality, "t1c", fixed, laid, first.grid, both).verdict


def main() -> None:
    """Print the table."""
    options = case_options(__doc__).parse_args()
    use_cores()
    generator = np.random.default_rng(options.seed)
    counts = {shift: dict.fromkeys(VERDICTS, 0) for shift in SHIFTS_MM}
    everyone = patients(options.cases, options.split)
    for read in everyone:
        case = read()
        brain = np.any([image > 0 for image in case.images.values()], axis=0)
        for modality in ("t1n", "t2w", "t2f"):
            direction = unit(generator)
            for shift in SHIFTS_MM:
                image = np.roll(case.images[modality], np.round(direction * shift).astype(int), (0, 1, 2))
                judged = judge_registration(modality, "t1c", case.images["t1c"], image, case.grid, brain)
                counts[shift][judged.verdict] += 1
    rows = [[f"shifted by {shift} mm", *(str(counts[shift][verdict]) for verdict in VERDICTS)] for shift in SHIFTS_MM]
    strange = [
        of_another(read(), everyone[(index + 5) % len(everyone)](), ("t1n", "t2w", "t2f")[index % 3])
        for index, read in enumerate(everyone)
    ]
    rows.append(["another patient's", *(str(strange.count(verdict)) for verdict in VERDICTS)])
    print_table(["second scan", *VERDICTS], rows)


if __name__ == "__main__":
    main()
