"""How much each loss term of a training acts: its gradient beside the segmentation's; and the run's Dice on validation.

    python scripts/studies/term_shares.py RUN... [--beside segmentation] [--argument kl --argument orthogonality]

A run must have logged gradients (`train.gradients_every`). A cell is the mean norm of a term's gradient over the last
three quarters of the stage's lines, in percent of that of the term `--beside`. Of several stages the last that has this
term counts. `--argument` adds a column with the run's value, so that accuracy can be read against a weight. NAME=RUN
calls a run otherwise. Nothing of a test case is read: weights may be chosen by this table.
"""

import argparse
import inspect
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lacunet.nn.method import get_method
from lacunet.training.log import last_validations, read_log
from lacunet.training.recipe import Recipe, read_recipe

PREFIX = "gradient_norm_"


@dataclass(frozen=True)
class Shares:
    """One run.

    Attributes:
        name: For people.
        arguments: Of the method, those that were asked for.
        validation: The best mean Dice over validation cases, subsets and regions; None without validation cases.
        shares: Term -> its gradient, as a share of that of the term that it is put beside.
    """

    name: str
    arguments: tuple[Any, ...]
    validation: float | None
    shares: dict[str, float]


def main() -> None:
    """Read the command line, print a row for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--beside", default="segmentation", help="the term that the others are divided by")
    parser.add_argument("--argument", action="append", default=[], help="of the method; may be repeated")
    options = parser.parse_args()
    found = [shares_of(words, options.beside, tuple(options.argument)) for words in options.runs]
    print(table(found, options.beside, tuple(options.argument)))


def shares_of(words: str, beside: str, arguments: tuple[str, ...]) -> Shares:
    """What a run's log and recipe say."""
    name, _, path = words.rpartition("=")
    run = Path(path)
    recipe = read_recipe(run / "recipe.toml")
    validations = [line["validation_mean"] for line in last_validations(run)]
    return Shares(
        name or run_name(run),
        tuple(value_of(recipe, argument) for argument in arguments),
        max(validations) if validations else None,
        shares_in(run, beside),
    )


def run_name(run: Path) -> str:
    """The folder's name; in a benchmark (`NAME/seed-1`) with that of the row."""
    return f"{run.parent.name} ({run.name})" if run.name.startswith("seed-") else run.name


def value_of(recipe: Recipe, argument: str) -> Any:
    """An argument as the recipe sets it, else the method's own value."""
    if argument in recipe.arguments:
        return recipe.arguments[argument]
    known = inspect.signature(get_method(recipe.method)).parameters
    if argument not in known:
        raise SystemExit(f"--argument {argument}: {recipe.method} has no such argument; it has: {', '.join(known)}")
    return known[argument].default


def shares_in(run: Path, beside: str) -> dict[str, float]:
    """Mean gradient norms of the terms over the last three quarters, as shares of one of them."""
    lines = [line for line in read_log(run) if f"{PREFIX}{beside}" in line]
    if not lines:
        raise SystemExit(f"{run}: its log has no {PREFIX}{beside}; train with train.gradients_every, or give --beside")
    own = [line for line in lines if line["stage"] == lines[-1]["stage"]]
    late = own[len(own) // 4 :]
    names = sorted({name for line in late for name in line if name.startswith(PREFIX)})
    means = {name.removeprefix(PREFIX): fmean(line[name] for line in late if name in line) for name in names}
    return {term: mean / means[beside] for term, mean in means.items()}


def table(rows: list[Shares], beside: str, arguments: tuple[str, ...]) -> str:
    """Markdown: a row for each run, best on validation first; shares in percent, empty where a run lacks the term."""
    terms = sorted({term for row in rows for term in row.shares if term != beside})
    titles = ["", *arguments, "validation, mean Dice", *(f"{term} (% of {beside})" for term in terms)]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for row in sorted(rows, key=lambda row: -1.0 if row.validation is None else row.validation, reverse=True):
        cells = [row.name, *map(str, row.arguments), "" if row.validation is None else f"{row.validation:.3f}"]
        cells += [f"{100 * row.shares[term]:.1f}" if term in row.shares else "" for term in terms]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
