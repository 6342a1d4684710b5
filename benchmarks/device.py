"""Milliseconds of a training step on a GPU, by crops of a step and students: what one more crop costs there.

    python benchmarks/device.py [--recipe recipes/large/ccsd.toml] [--set train.crop=[96,128,112]]
                                [--device cuda] [--batches 2,4,8] [--students 1,3,6]

Forward, losses, backward, clipping and an optimiser step on one constant batch that is on the device already. Making
crops is not in it: `benchmarks/training.py` measures a whole training. A row is the median of eight steps after four.
"""

import argparse
import time
from itertools import product
from pathlib import Path
from statistics import median

from measure import conditions, print_table, use_cores

RECIPE = Path(__file__).parents[1] / "recipes/large/ccsd.toml"
UNCOUNTED, COUNTED = 4, 8


def main() -> None:
    """One row per number of crops and of students."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", default="2,4,8")
    parser.add_argument("--students", default="1,3,6")
    options = parser.parse_args()
    cores = use_cores()
    rows = []
    for batch, students in product(options.batches.split(","), options.students.split(",")):
        changes = [*options.changes, f"train.batch={batch}", f"arguments.students={students}"]
        milliseconds, peak = measure(options.recipe, changes, options.device)
        rows.append([batch, students, f"{milliseconds:.0f}", f"{milliseconds / int(batch):.0f}", peak])
    print(f"`{options.recipe.name}` {' '.join(options.changes)} on {options.device}; ", end="")
    print(f"{conditions(cores, 'lacunet', 'torch')}\n")
    print_table(["crops a step", "students", "ms a step", "ms a crop", "peak, GiB"], rows)


def measure(recipe_path: Path, changes: list[str], device: str) -> tuple[float, str]:
    """Median milliseconds of a step, and the most memory of the device that was in use."""
    import torch

    from lacunet.nn.batch import Batch
    from lacunet.nn.memory import in_channels_last
    from lacunet.nn.method import Clock, get_method, make_method
    from lacunet.task import GLIOMA
    from lacunet.training.optimiser import make_optimiser
    from lacunet.training.recipe import read_recipe

    recipe = read_recipe(recipe_path, changes)
    on_gpu = device.startswith("cuda")
    torch.backends.cudnn.benchmark = True
    method = in_channels_last(make_method(get_method(recipe.method), GLIOMA, recipe.arguments)).to(device).train()
    parameters = list(method.parameters())
    optimiser = make_optimiser(parameters, recipe.train)
    shape = (recipe.train.batch, len(GLIOMA.modalities), *recipe.train.crop)
    images = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last_3d)
    acquired = torch.ones(shape[:2], dtype=torch.bool, device=device)
    regions = (torch.rand((shape[0], len(GLIOMA.regions), *shape[2:]), device=device) < 0.1).float()
    batch = Batch(images, acquired, acquired, regions, tuple("case" for _ in range(shape[0])))
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for step in range(UNCOUNTED + COUNTED):
        start = time.perf_counter()
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            generator = torch.Generator().manual_seed(step)
            terms = method.stages()[0].loss(batch, Clock(step, UNCOUNTED + COUNTED, generator))
        optimiser.zero_grad()
        torch.stack([term.float() for term in terms.values()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if on_gpu else "not measured"
    return median(times[UNCOUNTED:]), peak


if __name__ == "__main__":
    main()
