"""What `ccsd` costs with more modalities than four: a training step, and answers from all subsets.

    python benchmarks/modalities.py [--recipe recipes/small/ccsd.toml] [--modalities 4 5 6] [--students 0 2] [--side 64]

Each row is a process of its own: one warm-up step, then three. The paper caches the features of all 2^N - 1 subsets:
one column is what these would hold (at the coarsest level alone), "parts" what is held here instead. The images are
invented: nothing is learnt, only the cost is measured.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from measure import conditions, print_table, use_cores

RECIPE = Path(__file__).parents[1] / "recipes/small/ccsd.toml"


def main() -> None:
    """A row per number of modalities and of students."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--modalities", type=int, nargs="+", default=[4, 5, 6])
    parser.add_argument("--students", type=int, nargs="+", default=[0, 2], help="at a step; 0 is all of the drawn size")
    parser.add_argument("--side", type=int, default=64, help="voxels of a crop along each side")
    parser.add_argument("--row", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cores = use_cores()
    if options.row:
        print(json.dumps(measure(options.recipe, options.side, *options.row)))
        return
    rows = []
    for students in options.students:
        for modalities in options.modalities:
            command = [sys.executable, __file__, "--recipe", str(options.recipe), "--side", str(options.side)]
            command += ["--row", str(modalities), str(students)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            decoded = f"{found['students']:.0f}"
            numbers = [found[key] for key in ("cached", "parts", "peak")]
            rows.append(
                [str(modalities), str(2**modalities - 1), decoded, *(f"{number:.1f}" for number in numbers)]
                + [f"{found[key]:.2f}" for key in ("step", "answers")]
            )
    print(f"`{options.recipe.name}`, crops of {options.side}; {conditions(cores, 'lacunet', 'torch')}\n")
    heads = ["modalities", "subsets", "students of a step, at most", "all subsets cached, MiB", "parts, MiB"]
    print_table([*heads, "peak of a step, MiB", "seconds of a step", "seconds of all subsets' answers"], rows)


def measure(recipe_path: Path, side: int, modalities: int, students: int) -> dict[str, float]:
    """Peak and seconds of a step that draws the size with the most subsets, and seconds of answers from all subsets."""
    import torch

    from lacunet.methods.ccsd import CCSD
    from lacunet.nn.batch import Batch
    from lacunet.nn.memory import in_channels_last
    from lacunet.nn.method import Clock, make_method
    from lacunet.task import GLIOMA
    from lacunet.training.recipe import read_recipe

    names = tuple(f"m{index}" for index in range(modalities))
    titles = {**GLIOMA.titles, **{name: name for name in names}}
    task = replace(GLIOMA, name="many", modalities=names, titles=titles, aliases={}, shown_by={})
    arguments = {**read_recipe(recipe_path).arguments, "students": students}
    method = in_channels_last(make_method(CCSD, task, arguments)).train()
    images = torch.randn(1, modalities, side, side, side).contiguous(memory_format=torch.channels_last_3d)
    everything = torch.ones(1, modalities, dtype=torch.bool)
    regions = (torch.rand(1, len(GLIOMA.regions), side, side, side) < 0.1).float()
    batch = Batch(images, everything, everything, regions, ("case",))
    most = modalities // 2
    seed = next(seed for seed in range(999) if int(torch.randint(1, modalities, (), generator=seeded(seed))) == most)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            terms = method.stages()[0].loss(batch, Clock(50, 100, seeded(seed)))
        torch.stack([term.float() for term in terms.values()]).sum().backward()
        method.zero_grad()

    def answers() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            encoded = method.encode(images, everything)
            for subset in task.subsets:
                method.decode(encoded, torch.tensor([task.presence(subset)]))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps = timed(step)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    method.eval()
    encoded = method.encode(images, everything)
    one = sum(feature.nbytes for feature in encoded.fused) / 2**20
    return {
        "students": len(method._students(everything, most, Clock(50, 100, seeded(seed)))),
        "cached": one * (2**modalities - 1),
        "parts": one + encoded.empty.nbytes / 2**20,
        "peak": peak,
        "step": steps,
        "answers": timed(answers),
    }


def timed(action) -> float:
    """Median seconds of three calls after a first one."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def seeded(seed: int):
    import torch

    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    main()
