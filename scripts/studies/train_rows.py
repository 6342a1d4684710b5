"""Train the rows of sweeps to choose among them by validation. Test cases are never read.

    python scripts/studies/train_rows.py SWEEP... --data DATA --split FILE -o FOLDER [--row NAME]... [--base RECIPE]
        [--set KEY=VALUE]... [--missing MANIFEST]

`lacunet benchmark` scores each row on the test part; a grid of weights should not be chosen there. Each row becomes a
run `FOLDER/ROW`, its best mean Dice over validation cases and subsets is printed, and rows that are done are not
trained again; one that was stopped goes on. Rows with the same recipe train once, under the name of the first.
`scripts/studies/term_shares.py FOLDER/*/` puts the rows side by side.
"""

import argparse
from pathlib import Path

from lacunet.benchmark.sweep import Entrant, entrants_of
from lacunet.data.labelled import labelled, part_of
from lacunet.data.missing import apply_missing, read_missing
from lacunet.task import get_task
from lacunet.training.log import last_validations
from lacunet.training.recipe import read_recipe
from lacunet.training.train import train

DONE = "done"
"""In the folder of a row that was trained to its end."""


def main() -> None:
    """Read the command line, train what is not done, print a line for each row."""
    options = read_options()
    rows = chosen_rows(options)
    task = get_task(rows[0].recipe.task)
    cases = labelled(options.data, task, None)
    training, validation = part_of(cases, options.split, "train"), part_of(cases, options.split, "val")
    if options.missing is not None:
        training = apply_missing(training, read_missing(options.missing, task))
    for row in rows:
        run = options.output / row.folder
        if not is_done(row, run):
            train(
                row.recipe, training, validation, run, resume=(run / "recipe.toml").is_file(), device=options.device,
                card={"data": f"{len(training)} cases"}, prepared=options.output / ".prepared",
            )  # fmt: skip
            (run / DONE).touch()
        best = max(line["validation_mean"] for line in last_validations(run))
        print(f"{' = '.join([row.name, *row.also])}: validation {best:.4f}", flush=True)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--row", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--base", type=Path, help="the recipe that sweeps vary, instead of their own")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, for all of them")
    parser.add_argument("--missing", type=Path, help="manifest of what each training case keeps (lacunet missing)")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def chosen_rows(options: argparse.Namespace) -> list[Entrant]:
    """The rows of the sweeps that were asked for, in their order."""
    rows = entrants_of([str(sweep) for sweep in options.sweeps], options.set, options.base)
    names = [name for row in rows for name in (row.name, *row.also)]
    for name in options.row:
        if name not in names:
            raise SystemExit(f"--row {name}: no such row; rows: {', '.join(names)}")
    if min(row.complete for row in rows) < 1 and options.missing is None:
        raise SystemExit("training cases of these rows lack sequences; give --missing (lacunet missing)")
    return [row for row in rows if not options.row or {row.name, *row.also} & set(options.row)]


def is_done(row: Entrant, run: Path) -> bool:
    """Whether an earlier call trained the row to its end."""
    if not (run / DONE).is_file():
        return False
    if read_recipe(run / "recipe.toml") != row.recipe:
        raise SystemExit(f"{run}: was trained by another recipe; choose another folder, or remove it")
    return True


if __name__ == "__main__":
    main()
