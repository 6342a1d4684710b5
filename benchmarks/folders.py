"""Seconds to find, to label and to check many folders of cases, each with four tiny scans and a reference.

    python benchmarks/folders.py [--cases 10000] [--profile 25]

The files of all cases are one set of five, under other names (hard links), so that the disk holds little and its cache
has all of it: what is measured is lacunet's own time for a case, and not that of reading voxels. `find` reads names,
`label` decides the label convention (it reads each reference once), `check` reads every file once.
"""

import argparse
import cProfile
import os
import pstats
import tempfile
from pathlib import Path

from measure import conditions, print_table, seconds, use_cores

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
SIDE = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="print the N slowest functions of each")
    options = parser.parse_args()
    cores = use_cores()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "cases"
        make_folders(data, options.cases)
        rows = measure(data, options.profile)
    print(f"{options.cases} cases; {conditions(cores, 'lacunet', 'numpy')}\n")
    head = ["what", "seconds", "processor seconds", "of them, ms a case"]
    print_table(head, [[a, f"{b:.1f}", f"{c:.1f}", f"{1000 * c / options.cases:.2f}"] for a, b, c in rows])


def make_folders(data: Path, count: int) -> None:
    """Folders `BraTS-GLI-00000-000` with `t1n`, `t1c`, `t2w`, `t2f` and `seg`."""
    import nibabel as nib
    import numpy as np

    generator = np.random.default_rng(1)
    data.mkdir()
    first = data / "BraTS-GLI-00000-000"
    first.mkdir()
    brain = np.zeros((SIDE,) * 3, np.int16)
    for modality in MODALITIES:
        brain[1:-1, 1:-1, 1:-1] = generator.integers(50, 1500, (SIDE - 2,) * 3)
        nib.save(nib.Nifti1Image(brain, np.eye(4)), first / f"{first.name}-{modality}.nii.gz")
    labels = np.zeros((SIDE,) * 3, np.uint8)
    labels[2:5, 2:5, 2:5] = [[[1, 2, 3]] * 3] * 3
    nib.save(nib.Nifti1Image(labels, np.eye(4)), first / f"{first.name}-seg.nii.gz")
    for number in range(1, count):
        folder = data / f"BraTS-GLI-{number:05d}-000"
        folder.mkdir()
        for kind in (*MODALITIES, "seg"):
            os.link(first / f"{first.name}-{kind}.nii.gz", folder / f"{folder.name}-{kind}.nii.gz")


def measure(data: Path, profiled: int) -> list[tuple[str, float, float]]:
    """Each step, its seconds, and those of processors, which a busy machine does not change much."""
    from lacunet.crew.over_cores import over_cores
    from lacunet.data.check import check
    from lacunet.data.find import find_cases, survey_all
    from lacunet.data.labels import with_conventions
    from lacunet.task import GLIOMA

    find_cases(next(data.iterdir()), GLIOMA)  # imports
    found = find_cases(data, GLIOMA)
    steps = {
        "find": lambda: survey_all([data], GLIOMA),
        "label, one process": lambda: with_conventions(found, GLIOMA),
        "label, all cores": lambda: with_conventions(found, GLIOMA, each=over_cores),
        "find and check, one process": lambda: check(data, GLIOMA),
        "find and check, all cores": lambda: check(data, GLIOMA, each=over_cores),
    }
    rows = []
    for name, step in steps.items():
        before = processor_seconds()
        if profiled:
            profile = cProfile.Profile()
            wall = seconds(lambda step=step, profile=profile: profile.runcall(step))
            pstats.Stats(profile).sort_stats("tottime").print_stats(profiled)
        else:
            wall = seconds(step)
        rows.append((name, wall, processor_seconds() - before))
    return rows


def processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    main()
