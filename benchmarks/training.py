"""Seconds a step of `lacunet.training.train`, with loading of data, against a bare loop over the same network.

    python benchmarks/training.py [--recipe recipes/small/early_fusion.toml] [--steps 20] [--rounds 3]
                                  [--set train.workers=1] [--data DIR]

The bare loop has one constant batch in memory and does forward, Dice + cross-entropy, backward and an optimiser step in
the recipe's precision, weights and images in channels-last order: only what no training can leave out. lacunet's loop
also cuts crops, augments, hides modalities, clips, averages, schedules and logs. The two take turns; each round's first
five steps are not counted. Cases are prepared before, as in any training after its first minute.
"""

import argparse
import contextlib
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from measure import conditions, print_table, use_cores, write_phantom

if TYPE_CHECKING:
    from lacunet.case import CaseFiles
    from lacunet.training.recipe import Recipe

UNCOUNTED = 5


class Stopwatch:
    """The progress of a training: notes when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        if job != "preparing cases":
            self.times.append(time.perf_counter())

    def doing(self, words: str) -> None:
        pass

    def said(self, words: str) -> None:
        pass

    def steps(self) -> list[float]:
        """Seconds of the counted steps."""
        return [after - before for before, after in pairwise(self.times[UNCOUNTED:])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes/small/early_fusion.toml")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=20, help="counted steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a folder of cases with references, instead of two invented patients")
    options = parser.parse_args()
    cores = use_cores()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(None):  # Fabric greets on stderr
        ours, bare = measure(Path(folder), options)
    first, other = median(ours), median(bare)
    print(f"{len(ours)} steps of `{options.recipe.name}` each; {conditions(cores, 'lacunet', 'torch')}\n")
    print_table(
        ["loop", "seconds a step, median", "against the bare loop"],
        [
            ["lacunet, data included", f"{first:.3f}", f"{first / other - 1:+.1%}"],
            ["bare forward, backward, optimiser step", f"{other:.3f}", ""],
        ],
    )


def measure(folder: Path, options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds of each counted step of lacunet's loop and of the bare one, in turns."""
    from lacunet.data.find import find_cases  # here, so that the number of threads is set before
    from lacunet.data.labels import with_conventions
    from lacunet.task import get_task
    from lacunet.training.recipe import read_recipe

    recipe = read_recipe(options.recipe, [*options.changes, f"train.steps={options.steps + UNCOUNTED + 1}"])
    task = get_task(recipe.task)
    if options.data is None:
        for seed in (7, 8):
            write_phantom(folder / "cases", seed, spacing=max(recipe.prepare.spacing, 1.0))
    cases = with_conventions(find_cases(options.data or folder / "cases", task), task)
    ours: list[float] = []
    bare: list[float] = []
    for number in range(options.rounds):
        ours += by_lacunet(recipe, cases, folder / f"run-{number}")
        bare += by_a_bare_loop(recipe)
    return ours, bare


def by_lacunet(recipe: "Recipe", cases: "list[CaseFiles]", folder: Path) -> list[float]:
    """Seconds of each counted step of a training without validation."""
    from lacunet.training.train import train

    watch = Stopwatch()
    train(recipe, cases, [], folder, device="cpu", progress=watch)
    return watch.steps()


def by_a_bare_loop(recipe: "Recipe") -> list[float]:
    """Seconds of each counted step over one constant batch."""
    import torch

    from lacunet.nn.losses import segmentation_loss
    from lacunet.nn.memory import in_channels_last
    from lacunet.nn.method import get_method, make_method
    from lacunet.task import get_task
    from lacunet.training.optimiser import make_optimiser

    task, settings = get_task(recipe.task), recipe.train
    method = in_channels_last(make_method(get_method(recipe.method), task, recipe.arguments)).train()
    optimiser = make_optimiser(list(method.parameters()), settings)
    images = torch.randn((settings.batch, len(task.modalities), *settings.crop))
    images = images.contiguous(memory_format=torch.channels_last_3d)
    regions = (torch.rand((settings.batch, len(task.regions), *settings.crop)) < 0.1).float()
    presence = torch.ones((settings.batch, len(task.modalities)), dtype=torch.bool)
    watch = Stopwatch()
    for step in range(settings.steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
            logits = method(images, presence)
        loss = segmentation_loss(logits, regions)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        watch.advanced("bare", step + 1, settings.steps, f"loss {float(loss):.3f}")
    return watch.steps()


if __name__ == "__main__":
    main()
