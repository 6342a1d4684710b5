"""Scans as a scanner leaves them to masks, pages and all: seconds and memory of `lacunet segment` on such a source.

    python benchmarks/raw_scans.py [--source DIR] [--model default] [--repeats 1]

`lacunet segment` as a person runs it, a process of its own, from its start to its end: read, recognised, registered,
without skull, segmented, masks back on the scans' own grids, report and JSON written. The memory is that process's peak
resident set. Without `--source` an invented patient is used: four sequences without skull, in slices of 1, 3 and 5.5
mm, the head moved between them; it needs no skull stripper, which a real one does.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np

from measure import conditions, print_table, use_cores
from segment import segment_once

MOST_SECONDS, MOST_GIB = 180, 4
THICKNESS = {"t1n": 5.5, "t1c": 1.0, "t2w": 3.0, "t2f": 5.5}


def invented(folder: Path) -> Path:
    """Four sequences of one person, each on a grid of its own."""
    from lacunet.data.phantom.phantom import make_phantom
    from lacunet.intake.align.rigid import voxel_points
    from registration import draw_motion, scan_again

    case = make_phantom(7)
    generator = np.random.default_rng(0)
    folder.mkdir()
    for modality, image in case.images.items():
        made = scan_again(generator, image, case.grid, THICKNESS[modality])
        centre = voxel_points(image > 0, case.grid).mean(0)
        moved = draw_motion(generator, centre, 10.0, 10.0).matrix @ made.grid.affine
        nib.save(nib.Nifti1Image(np.rint(made.voxels).astype(np.int16), moved), folder / f"x_{modality}.nii.gz")
    return folder


def main() -> None:
    """Print what it took, the limits, and what import spent its time on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a folder or archive of scans, instead of an invented patient")
    parser.add_argument("--model", default="default", help="a shipped model, a model folder, or a run")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    cores = use_cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = options.source or invented(folder / "scans")
        runs = [segment_once(source, Path(options.model), folder / f"out-{i}") for i in range(options.repeats)]
        (record,) = folder.glob("out-0/*/case.json")
        steps = json.loads(record.read_text(encoding="utf-8"))["provenance"]["import"]
    print(
        f"Model `{options.model}`, medians of {options.repeats}; {conditions(cores, 'lacunet', 'SimpleITK', 'torch')}\n"
    )
    print_table(
        ["`lacunet segment` of raw scans, process start to end", "measured", "at most"],
        [
            ["seconds", f"{median(seconds for seconds, _ in runs):.0f}", str(MOST_SECONDS)],
            ["peak memory, GiB", f"{max(peak for _, peak in runs) / 2**30:.2f}", str(MOST_GIB)],
        ],
    )
    print(f"\n{steps}")


if __name__ == "__main__":
    main()
