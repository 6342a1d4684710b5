"""Training seconds that the small recipes take: seconds a step of each, in turns, times its steps.

    python benchmarks/budget.py [--recipe recipes/small/NAME.toml ...] [--steps 12] [--rounds 3]

A fair comparison gives each method equal seconds on the same machine. The steps of the small recipes are chosen by this
script, as `lacunet benchmark --budget 30min` chooses steps. Loading of data is included, validation is not; the first
five steps of each stage are not counted. A step draws the same numbers in every round, because the steps of some
methods differ in cost.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

from measure import conditions, print_table, use_cores, write_phantom

SMALL = Path(__file__).resolve().parents[1] / "recipes/small"


def main() -> None:
    """One row per recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, action="append", help="may be repeated; all small ones when not given")
    parser.add_argument("--steps", type=int, default=12, help="counted steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cores = use_cores()
    recipes = [path.resolve() for path in options.recipe or sorted(SMALL.glob("*.toml"))]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(None):  # Fabric greets on stderr
        rows = measure(Path(folder), recipes, options.steps, options.rounds)
    print(f"Means of {options.steps} steps, each the median of {options.rounds} rounds;", end=" ")
    print(f"{conditions(cores, 'lacunet', 'torch')}\n")
    print_table(["recipe", "seconds a step", "steps", "crops seen", "seconds in all"], rows)


def measure(folder: Path, paths: list[Path], steps: int, rounds: int) -> list[list[str]]:
    """Seconds of the counted steps of each recipe, the recipes taking turns; stages by their shares."""
    from lacunet.benchmark.budget import seconds_a_step, stage_names
    from lacunet.data.find import find_cases  # here, so that the number of threads is set before
    from lacunet.data.labels import with_conventions
    from lacunet.training.recipe import read_recipe

    for seed in (7, 8):
        write_phantom(folder / "cases", seed, spacing=2.0)
    cases = with_conventions(find_cases(folder / "cases"))
    recipes = {str(path): read_recipe(path) for path in paths}
    pace = seconds_a_step(recipes, cases, folder / "runs", device="cpu", counted=steps, rounds=rounds)
    rows = []
    for path in paths:
        recipe, of_stage = recipes[str(path)], pace[str(path)]
        names = stage_names(recipe)
        shared = dict(zip(names, recipe.steps_of(names), strict=True))
        total = sum(shared[stage] * seconds for stage, seconds in of_stage.items())
        done = sum(shared[stage] for stage in of_stage)
        crops = sum(shared[stage] * recipe.for_stage(stage).batch for stage in of_stage)
        name = path.stem if path.parent == SMALL else f"{path.parent.name}/{path.stem}"
        rows.append([name, f"{total / done:.3f}", f"{done:,}", f"{crops:,}", f"{total:,.0f}"])
    return rows


if __name__ == "__main__":
    main()
