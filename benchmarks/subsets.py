"""Every subset of one case: encoded once and decoded for each, against one prediction after another, and by hand.

    python benchmarks/subsets.py [--method NAME] [--spacing 2] [--repeats 3] [--case DIR]

One loaded, untrained network per method (weights do not change the time), an invented patient or `--case`. A method
that mixes modalities at its input has nothing to encode ahead and gains only what preparing the scans once saves. By
hand is the lower limit: prepare and encode once, and for each subset decode and go back to the scan's grid.
Before the clock starts, all ways must give the same masks, else the script stops.
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
    head = ["method", "all subsets at once, s", "one after another, s", "of that", "by hand, s", "of that"]
    print_table(head, rows)


def measure(source: Path, options: argparse.Namespace) -> list[list[str]]:
    """One row per method."""
    import numpy as np  # here, so that the number of threads is set before
    import torch

    from lacunet.data.find import find_cases
    from lacunet.data.nifti import load_case
    from lacunet.data.prepare import Preparation, frame_of, labels_of, prepare_images
    from lacunet.models.model import Model
    from lacunet.nn.method import get_method, make_method, method_names
    from lacunet.prediction.predictor import Predictor
    from lacunet.prediction.windows import pad_to
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

        @torch.inference_mode()
        def by_hand(predictor: Predictor = predictor) -> dict[tuple[str, ...], np.ndarray]:
            method = predictor.networks[0].method
            frame = frame_of(case, GLIOMA.modalities, predictor.model.preparation)
            images = prepare_images(case, GLIOMA, predictor.model.preparation, frame)
            box = (slice(None), *(slice(0, n) for n in images.shape[1:]))
            padded = pad_to(images[None], method.divisor).contiguous(memory_format=torch.channels_last_3d)
            precision = partial(torch.autocast, "cpu", predictor.dtype, enabled=predictor.dtype != torch.float32)
            with precision():
                encoded = method.encode(padded, torch.ones(1, 4, dtype=torch.bool))
            masks = {}
            for subset in GLIOMA.subsets:
                with precision():
                    logits = method.decode(encoded, torch.tensor([GLIOMA.presence(subset)])).float()
                masks[subset] = labels_of(frame.undo(logits[0][box], fill=-30.0) > 0, GLIOMA).numpy()
            return masks

        require_equal(together(), apart())
        require_equal(together(), by_hand())
        fast, slow, least = in_turns([partial(together), partial(apart), partial(by_hand)], options.repeats)
        shares = f"{fast / slow:.2f}", f"{fast / least:.2f}"
        rows.append([name, f"{fast:.1f}", f"{slow:.1f}", shares[0], f"{least:.1f}", shares[1]])
    return rows


def require_equal(one: dict, other: dict) -> None:
    """The same mask for every subset, but for a few voxels on the threshold: untrained, and bf16 rounds."""
    for subset, mask in one.items():
        different = float((mask != other[subset]).mean())
        if different > 5e-3:
            raise SystemExit(f"{'+'.join(subset)}: the two ways differ in {different:.2%} of the voxels")


if __name__ == "__main__":
    main()
