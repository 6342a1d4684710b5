"""One 1 mm case on two cores: seconds and memory of `lacunet segment`, and its network pass against MONAI's.

    python benchmarks/segment.py [--model default] [--spacing MM] [--case DIR] [--window 128] [--repeats 3]

First table: `lacunet segment` as a person runs it, a process of its own, from its start to its end with mask, report
and JSON written, with and without mirror images; the memory is that process's peak resident set.

Second table: from a case in memory to region logits on the same grid, in turns, one process, one precision, the same
network. MONAI's side is its own `NormalizeIntensity` (non-zero voxels, per channel), clipping, PyTorch's resampling to
and from the network's grid, and `SlidingWindowInferer` with half-overlapping Gaussian windows; on the full grid of
240 x 240 x 155 voxels of BraTS, and on the brain's box alone. lacunet finds the box itself.

`--spacing` measures the same weights at another resolution (1 mm costs most). `--model untrained` needs no model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from measure import conditions, in_turns, print_table, run_python, use_cores, write_phantom

if TYPE_CHECKING:
    import torch

    from lacunet.case import Case
    from lacunet.prediction.predictor import Predictor

BRATS_SHAPE = (240, 240, 155)
MAKE_MODEL = """
import sys
from dataclasses import replace
from pathlib import Path
from lacunet.data.prepare import Preparation
from lacunet.nn.method import get_method, make_method
from lacunet.models.model import load_model, save_model
from lacunet.task import GLIOMA
source, folder, spacing = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
if source == "untrained":
    save_model(folder, make_method(get_method("early_fusion"), GLIOMA, {}), Preparation(spacing or 1.0), {})
else:
    model = load_model(source)
    save_model(folder, model.method, replace(model.preparation, spacing=spacing or model.preparation.spacing), {})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a shipped model, a model folder, a run, or `untrained`")
    parser.add_argument("--spacing", type=float, default=0.0, help="mm of the network's grid; the model's own if 0")
    parser.add_argument("--case", type=Path, help="a case folder, instead of an invented patient")
    parser.add_argument("--case-spacing", type=float, default=1.0, help="mm of the invented patient's voxels")
    parser.add_argument("--window", type=int, default=128, help="voxels of a window's side")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cores = use_cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = options.case or write_phantom(folder / "cases", 7, options.case_spacing)
        run_python(MAKE_MODEL, options.model, str(folder / "model"), str(options.spacing))
        # Before anything heavy is imported here: a child's peak counts from the memory of the process that starts it.
        runs = {
            mirror: [
                segment_once(source, folder / "model", folder / f"{mirror}-{i}", mirror)
                for i in range(options.repeats + 1)
            ][1:]
            for mirror in ("none", "sides", "all")
        }
        spacing = json.loads((folder / "model/model.json").read_text(encoding="utf-8"))["preparation"]["spacing"]
        rows, shapes = against_monai(source, folder / "model", options)
    print(
        f"Model `{options.model}` at {spacing:g} mm, medians of {options.repeats}; "
        f"{conditions(cores, 'lacunet', 'monai', 'torch')}\n"
    )
    print_table(
        ["`lacunet segment`, process start to end", "seconds", "peak memory, GiB"],
        [
            *[[f"`--mirror {mirror}`", *cells(measured)] for mirror, measured in runs.items()],
            ["at most, without mirror images", "40", "3"],
        ],
    )
    print(f"\nFrom a case in memory to logits on its grid. {shapes}\n")
    print_table(["way", "seconds", "lacunet is times faster"], rows)


def cells(runs: list[tuple[float, int]]) -> list[str]:
    """Median seconds, largest memory."""
    return [f"{median(seconds for seconds, _ in runs):.1f}", f"{max(peak for _, peak in runs) / 2**30:.2f}"]


def segment_once(case: Path, model: Path, output: Path, mirror: str = "none") -> tuple[float, int]:
    """Seconds and peak bytes of one run of the command."""
    command = [str(Path(sys.executable).with_name("lacunet")), "segment", str(case), "-o", str(output)]
    command += ["--model", str(model), "--device", "cpu", "--mirror", mirror]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def against_monai(source: Path, model: Path, options: argparse.Namespace) -> tuple[list[list[str]], str]:
    """Rows of the second table, and what the grids are."""
    import numpy as np

    from lacunet.case import box_around
    from lacunet.data.find import find_cases  # here, so that the memory of the command is measured before
    from lacunet.data.nifti import load_case
    from lacunet.models.model import load_model
    from lacunet.prediction.predictor import Predictor
    from lacunet.prediction.windows import Windows
    from lacunet.task import GLIOMA

    warnings.simplefilter("ignore")  # MONAI's, about its own calls
    case = load_case(find_cases(source)[0], GLIOMA, want_reference=False)
    sides = box_around(np.any(list(case.images.values()), axis=0))
    start, size = tuple(side.start for side in sides), tuple(side.stop - side.start for side in sides)
    box = placed(case, start, size, size)
    full = placed(case, start, size, BRATS_SHAPE)
    loaded = load_model(str(model))
    at_once = Predictor(loaded, "cpu")
    in_windows = Predictor(loaded, "cpu", windows=Windows((options.window,) * 3))
    ways = {
        "lacunet, full grid in (as used: the box, at once where memory allows)": lambda: at_once(full),
        "MONAI, full grid, windows": partial(by_monai, full, at_once, options.window),
        "lacunet, the box alone, at once": lambda: at_once(box),
        "lacunet, the box alone, windows": lambda: in_windows(box),
        "MONAI, the box alone, windows": partial(by_monai, box, at_once, options.window),
    }
    times = in_turns(list(ways.values()), options.repeats)
    ours = [times[0], times[0], times[2], times[3], times[3]]
    rows = [
        [way, f"{seconds:.1f}", f"{seconds / own:.2f}" if way.startswith("MONAI") else ""]
        for way, seconds, own in zip(ways, times, ours, strict=True)
    ]
    grids = f"Full grid {'x'.join(map(str, BRATS_SHAPE))}, box {'x'.join(map(str, size))} voxels of the case"
    return rows, f"{grids}; windows of {options.window} voxels; {str(at_once.dtype).removeprefix('torch.')}."


def placed(
    case: "Case", start: tuple[int, int, int], size: tuple[int, int, int], shape: tuple[int, int, int]
) -> "Case":
    """The brain's box in the middle of a grid of this shape; cut where it is larger, zero around."""
    from dataclasses import replace

    import numpy as np

    from lacunet.case import Grid

    kept = [min(n, m) for n, m in zip(size, shape, strict=True)]
    from_box = tuple(slice(s + (n - k) // 2, s + (n - k) // 2 + k) for s, n, k in zip(start, size, kept, strict=True))
    to_grid = tuple(slice((m - k) // 2, (m - k) // 2 + k) for m, k in zip(shape, kept, strict=True))
    images = {}
    for modality, image in case.images.items():
        images[modality] = np.zeros(shape, image.dtype)
        images[modality][to_grid] = image[from_box]
    grid = Grid(shape, case.grid.affine)
    return replace(case, images=images, grid=grid, native=grid)


def by_monai(case: "Case", predictor: "Predictor", window: int) -> "torch.Tensor":
    """Region logits on the case's grid by MONAI's transforms and sliding windows over all of it."""
    import numpy as np
    import torch
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import NormalizeIntensity

    from lacunet.data.prepare import resample

    model = predictor.model
    scans = np.stack([case.images[modality] for modality in model.task.modalities if modality in case.images])
    normalised = torch.as_tensor(NormalizeIntensity(nonzero=True, channel_wise=True)(scans))
    there = torch.tensor(model.task.presence(case.images))
    images = torch.zeros((len(there), *case.grid.shape))
    images[there] = normalised.clamp(-model.preparation.clip, model.preparation.clip)
    ratio = [spacing / model.preparation.spacing for spacing in case.grid.spacing]
    x, y, z = (max(1, round(n * r)) for n, r in zip(case.grid.shape, ratio, strict=True))
    small = resample(images, (x, y, z))[None].contiguous(memory_format=torch.channels_last_3d)
    divisor = model.method.divisor
    roi = [min(window, -(-n // divisor) * divisor) for n in (x, y, z)]  # no larger than the grid needs
    inferer = SlidingWindowInferer(roi, sw_batch_size=1, overlap=0.5, mode="gaussian")

    def network(crops: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", predictor.dtype, enabled=predictor.dtype != torch.float32):
            return predictor.networks[0].method(crops, there[None].expand(len(crops), -1)).float()

    with torch.inference_mode():
        return resample(inferer(small, network)[0], case.grid.shape)


if __name__ == "__main__":
    main()
