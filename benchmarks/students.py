"""Memory and seconds of a training step of `ccsd` by the number of students that are decoded.

    python benchmarks/students.py [--recipe recipes/small/ccsd.toml] [--set train.batch=2]

Each row is a process of its own: one warm-up step, then three; the peak is what the process held at most beyond the
most that it had held before the first step. Were all fifteen subsets stored, it would not depend on the students.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from measure import conditions, print_table, use_cores

RECIPE = Path(__file__).parents[1] / "recipes/small/ccsd.toml"


def main() -> None:
    """One row per number of students, kept and computed again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cores = use_cores()
    if options.row:
        print(json.dumps(measure(options.recipe, [*options.changes, *json.loads(options.row)])))
        return
    rows = []
    for recompute in ("false", "true"):
        for students in (1, 2, 4, 6):
            changes = [f"arguments.students={students}", f"arguments.recompute={recompute}"]
            command = [sys.executable, __file__, "--recipe", str(options.recipe), "--row", json.dumps(changes)]
            command += [part for change in options.changes for part in ("--set", change)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            way = "computed again" if recompute == "true" else "kept"
            rows.append([str(students), way, f"{found['peak']:.0f}", f"{found['seconds']:.2f}"])
    print(f"`{options.recipe.name}` {' '.join(options.changes)}; {conditions(cores, 'lacunet', 'torch')}\n")
    print_table(["students", "their activations", "peak of a step, MiB", "seconds, median of 3"], rows)


def measure(recipe_path: Path, changes: list[str]) -> dict[str, float]:
    """Peak and seconds of a step on one constant batch, subsets of two."""
    import torch

    from lacunet.nn.batch import Batch
    from lacunet.nn.memory import in_channels_last
    from lacunet.nn.method import Clock, get_method, make_method
    from lacunet.task import GLIOMA
    from lacunet.training.recipe import read_recipe

    recipe = read_recipe(recipe_path, changes)
    method = in_channels_last(make_method(get_method(recipe.method), GLIOMA, recipe.arguments)).train()
    shape = (recipe.train.batch, len(GLIOMA.modalities), *recipe.train.crop)
    images = torch.randn(shape).contiguous(memory_format=torch.channels_last_3d)
    acquired = torch.ones(shape[:2], dtype=torch.bool)
    regions = (torch.rand((shape[0], len(GLIOMA.regions), *shape[2:])) < 0.1).float()
    batch = Batch(images, acquired, acquired, regions, tuple("case" for _ in range(shape[0])))
    pairs = next(seed for seed in range(99) if int(torch.randint(1, 4, (), generator=seeded(seed))) == 2)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            terms = method.stages()[0].loss(batch, Clock(50, 100, seeded(pairs)))
        torch.stack([term.float() for term in terms.values()]).sum().backward()
        method.zero_grad()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(4):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"peak": peak, "seconds": median(times[1:])}


def seeded(seed: int):
    import torch

    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    main()
