"""Whether outlines prefer a lattice: the share of a region's boundary faces at each third of a cube, along each axis.

python scripts/studies/lattice.py MODEL DATA [--split FILE:PART] [--subsets t1n+t1c+t2w+t2f,t2f] [--cube 3]

A network that works on cubes of 3 mm may draw outlines on the cubes' faces. On the case's own grid each face between a
voxel inside a region and one outside has a place between two faces of the cubes: near one (0), at a third or at two
thirds. Without a lattice each has a third of the faces. The references have no lattice and are printed as a control.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from lacunet.data.labelled import labelled, named_part
from lacunet.data.nifti import load_case
from lacunet.data.prepare import Frame, frame_of
from lacunet.evaluation.metrics import region_masks
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor

PLACES = 3


def faces_by_place(
    mask: Bool[np.ndarray, "x y z"], starts: tuple[int, int, int], cubes: tuple[float, float, float]
) -> Float[np.ndarray, "axis place"]:
    """How many boundary faces lie at each place, along each axis.

    Args:
        mask: Of a region.
        starts: The voxel that begins a cube, along each axis.
        cubes: Voxels of a cube along each axis.
    """
    counts = np.zeros((3, PLACES))
    for axis, (start, cube) in enumerate(zip(starts, cubes, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        faces = np.diff(mask.astype(np.int8), axis=axis).astype(bool).sum(axis=others)
        positions = np.arange(1, mask.shape[axis]) - start
        places = np.floor(positions / cube * PLACES + 0.5).astype(int) % PLACES
        counts[axis] += np.bincount(places, weights=faces, minlength=PLACES)
    return counts


def cubes_of(frame: Frame, side: float, spacing: float) -> tuple[float, float, float]:
    """Voxels of the case's grid along each side of a cube of so many millimetres of the network's grid."""
    x, y, z = (size / count * side / spacing for size, count in zip(frame.size, frame.shape, strict=True))
    return x, y, z


def main() -> None:
    """Print the shares, in per cent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--subsets", default="t1n+t1c+t2w+t2f,t2f,t1c")
    parser.add_argument("--cube", type=float, default=3.0, help="millimetres")
    options = parser.parse_args()
    predictor = Predictor(load_model(options.model))
    model, task = predictor.model, predictor.model.task
    files = labelled(options.data, task, None)
    files = named_part(files, options.split) if options.split else files
    subsets = task.subsets_named(options.subsets.split(","))
    counts: dict[tuple[str, str], np.ndarray] = {}
    for one in files:
        case = load_case(one, task)
        for prediction in predictor.each(case, subsets):
            frame = frame_of(case, prediction.subset, model.preparation)
            cubes = cubes_of(frame, options.cube, model.preparation.spacing)
            found = {task.subset_name(prediction.subset): prediction.labels(), "reference": case.reference}
            for what, labels in found.items():
                for region, mask in region_masks(labels, task).items():
                    key = (what, region)
                    counts[key] = counts.get(key, 0) + faces_by_place(mask, frame.start, cubes)
    print(
        f"{model.name}: {len(files)} cases, cubes of {options.cube:g} mm; faces at 0, 1/3 and 2/3 of a cube in per cent"
    )
    for (what, region), faces in sorted(counts.items()):
        shares = 100 * faces / faces.sum(axis=1, keepdims=True).clip(1)
        along = [f"{'xyz'[axis]} " + " ".join(f"{share:3.0f}" for share in row) for axis, row in enumerate(shares)]
        print(f"{what:>16} {region}   {'   '.join(along)}   faces {int(faces.sum())}")


if __name__ == "__main__":
    main()
