"""What a mask loses on its way from a scan's grid to the case's grid and back.

    python benchmarks/native.py [--cases DIR] [--split FILE:PART+PART] [--seed 0]

The annotator's mask of each case is laid once on the grid of a scan made anew (slices of 1, 3 and 5.5 mm along any
axis, oblique, the head turned by up to 20 degrees and shifted by up to 20 mm): the mask as it would be drawn there.
It goes to a case's grid and back, and what is lost is 1 minus the Dice of the two on the scan's grid: as region maps
(the way of a network's probabilities), and as labels cut at 1 mm in between. Motions are the true ones; what
registration adds is in registration.py. Without `--cases`, four invented patients are used.
"""

import numpy as np

from lacunet.case import Case, Grid
from lacunet.data.nifti import load_case
from lacunet.data.phantom.phantom import make_phantom
from lacunet.evaluation.metrics import dice
from lacunet.intake.align.atlas import case_grid
from lacunet.intake.align.rigid import Rigid, voxel_points
from lacunet.segmentation.resample import averaged, labels_of_regions, onto_scan, regions_of_labels
from lacunet.task import GLIOMA
from measure import print_table, use_cores
from registration import case_options, chosen_cases, draw_motion, scan_again

THICKNESSES = (1.0, 3.0, 5.5)
LEAST_VOXELS = 50


def losses(case: Case, thickness: float, generator: np.random.Generator) -> dict[tuple[str, str], float]:
    """Loss of Dice by way and region; a region of fewer voxels on the scan than `LEAST_VOXELS` is left out."""
    assert case.reference is not None
    image = next(iter(case.images.values()))
    centre = voxel_points(image > 0, case.grid).mean(0)
    motion = draw_motion(generator, centre, 20.0, 20.0)
    made = scan_again(generator, image, case.grid, thickness)
    scan = Grid(made.grid.shape, motion.matrix @ made.grid.affine)
    drawn = onto_scan(regions_of_labels(case.reference, GLIOMA), case.grid, scan, motion.inverse, GLIOMA)
    centred = Rigid.about(centre, (0, 0, 0), np.array([0.3, -16.2, 6.4]) - centre)
    to_case = draw_motion(generator, np.array([0.0, -16.0, 6.0]), 30.0, 2.0).after(centred).after(motion.inverse)
    maps = {
        region: averaged(values, scan, case_grid(), to_case.inverse)
        for region, values in regions_of_labels(drawn, GLIOMA).items()
    }
    ways = {"maps": maps, "labels": regions_of_labels(labels_of_regions(maps, GLIOMA), GLIOMA)}
    lost = {}
    for way, regions in ways.items():
        back = onto_scan(regions, case_grid(), scan, to_case, GLIOMA)
        for region, members in GLIOMA.regions.items():
            expected = np.isin(drawn, members)
            if expected.sum() >= LEAST_VOXELS:
                lost[way, region] = 1.0 - dice(np.isin(back, members), expected)
    return lost


def main() -> None:
    """Print the table."""
    options = case_options(__doc__, "a folder of cases with references").parse_args()
    use_cores()
    if options.cases is None:
        patients = [make_phantom(number) for number in range(4)]
    else:
        cases = (load_case(files) for files in chosen_cases(options.cases, options.split))
        patients = [case.only([next(iter(case.images))]) for case in cases]  # one scan's extent is enough
    generator = np.random.default_rng(options.seed)
    rows = []
    for thickness in THICKNESSES:
        results = [losses(case, thickness, generator) for case in patients]
        for way in ("maps", "labels"):
            cells = []
            for region in GLIOMA.regions:
                values = [found[way, region] for found in results if (way, region) in found]
                cells.append(f"{np.mean(values):.1%} ({max(values):.1%})" if values else "")
            rows.append([f"{thickness:g} mm", way, str(len(results)), *cells])
    print_table(
        ["slices", "in between", "cases", *(f"{region.upper()}: mean (worst)" for region in GLIOMA.regions)], rows
    )


if __name__ == "__main__":
    main()
