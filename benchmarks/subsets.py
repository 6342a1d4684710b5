"""Every subset of one case: encoded once and decoded for each, against one prediction after another.

    python benchmarks/subsets.py [--method NAME] [--spacing 2] [--repeats 3] [--case DIR]

One loaded, untrained network per method (weights do not change the time), an invented patient or `--case`. A method
that mixes modalities at its input has nothing to encode ahead and gains only what preparing the scans once saves.
Before the clock starts, both ways must give the same masks, else the script stops.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from measure import conditions, in_turns, print_table, use_cores, write_phantom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", help="a method; may be repeated; all when not given")
    parser.add_argument("--spacing", type=float, default=2.0, help="mm of the network's grid")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", type=Path, help="a case folder with all modalities, instead of an invented patient")
    options = parser.parse_args()
    cores = use_cores()
    with tempfile.TemporaryDirectory() as folder:
        source = options.case or write_phantom(Path(folder), seed=7, spacing=min(options.spacing, 4.0) / 2)
        rows = measure(source, options)
    print(f"{len(rows)} methods, medians of {options.repeats}; {conditions(cores, 'lacunet', 'torch')}\n")
    print_table(["method", "all subsets at once, s", "one after another, s", "times faster"], rows)


def measure(source: Path, options: argparse.Namespace) -> list[list[str]]:
    """One row per method."""
    import numpy as np  # here, so that the number of threads is set before

    from lacunet.data.find import find_cases
    from lacunet.data.nifti import load_case
    from lacunet.data.prepare import Preparation
    from lacunet.method import get_method, make_method, method_names
    from lacunet.model import Model
    from lacunet.predict import Predictor
    from lacunet.task import GLIOMA

    case = load_case(find_cases(source)[0], GLIOMA, want_reference=False)
    rows = []
    for name in options.method or method_names():
        method = make_method(get_method(name), GLIOMA, {}).eval()
        predictor = Predictor(Model(name, method, Preparation(options.spacing), {}, ""), "cpu")

        def together(predictor: Predictor = predictor) -> dict[tuple[str, ...], np.ndarray]:
            return {found.subset: found.labels() for found in predictor.each(case, GLIOMA.subsets)}

        def apart(predictor: Predictor = predictor) -> dict[tuple[str, ...], np.ndarray]:
            return {subset: predictor(case, subset).labels() for subset in GLIOMA.subsets}

        require_equal(together(), apart())
        fast, slow = in_turns([partial(together), partial(apart)], options.repeats)
        rows.append([name, f"{fast:.1f}", f"{slow:.1f}", f"{slow / fast:.2f}"])
    return rows


def require_equal(one: dict, other: dict) -> None:
    """The same mask for every subset, but for voxels in a thousand on the threshold (bf16 rounds)."""
    for subset, mask in one.items():
        different = float((mask != other[subset]).mean())
        if different > 1e-3:
            raise SystemExit(f"{'+'.join(subset)}: the two ways differ in {different:.2%} of the voxels")


if __name__ == "__main__":
    main()
