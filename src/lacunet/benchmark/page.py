"""The page of a benchmark as markdown: protocol, trainings, comparison. `benchmark.md`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lacunet.comparison.comparison import Comparison
from lacunet.comparison.markdown import NOTHING, escaped, markdown, markdown_table
from lacunet.comparison.ranking import rank
from lacunet.comparison.ranking_table import ranking_markdown


@dataclass(frozen=True)
class TrainingRow:
    """One finished training.

    Attributes:
        entrant: Its entrant.
        seed: Its seed.
        part: Its fold, or empty.
        seconds: How long it took, validation included.
        commit: Commit of the code at its start.
    """

    entrant: str
    seed: int
    part: str
    seconds: float
    commit: str


def benchmark_page(
    plan: Mapping[str, Any],
    trainings: Sequence[TrainingRow],
    comparisons: Mapping[str, Comparison],
    notes: Sequence[str],
    folds: tuple[int, int] = (1, 1),
) -> str:
    """The protocol, the trainings, then the numbers.

    Args:
        plan: As in `benchmark.json`.
        trainings: The finished ones.
        comparisons: Post-processing rule (empty is none) -> comparison.
        notes: On the entrants: which are one recipe, and what is not the same for all.
        folds: So many of so many are in the numbers.
    """
    done, whole = folds
    parts = ["# Benchmark"]
    if done < whole:
        parts += [f"**{done} of {whole} folds so far**: the cases of the others are not in any number below."]
    parts += [_protocol(plan), _entrants(plan, trainings)]
    parts += ["\n".join(f"* {escaped(words[:1].upper() + words[1:])}." for words in notes)] if notes else []
    parts += [_trainings(trainings)]
    for rule, comparison in comparisons.items():
        parts += [f"## {'After ' + rule if rule else 'Without post-processing'}"]
        parts += [ranking_markdown(rank(comparison))] if len(comparison.names) > 1 else []
        parts += [markdown(comparison)]
    if len(comparisons) > 1:
        parts += ["## Post-processing on and off", _side_by_side(comparisons)]
    return "\n\n".join(parts) + "\n"


def _protocol(plan: Mapping[str, Any]) -> str:
    """Data, lists and their hashes, budget, policy, machine."""
    protocol, environment = plan["protocol"], plan["environment"]
    rows = [
        ["data", escaped(protocol["data"])],
        *(
            [f"{name}: {part}", f"{told['cases']} cases, `{told['sha256']}`"]
            for name, lists in protocol["split"].items()
            for part, told in lists.items()
            if told["cases"]
        ),
        ["training cases lose", escaped(protocol["missing"])],
        *([f"prepared at {escaped(name)}", f"`{sha}`"] for name, sha in plan["prepared"].items()),
        ["budget", _budget(protocol["budget"])],
        *([["learning rates", _rates(protocol)]] if "learning_rates" in protocol else []),
        ["policy", f"`{protocol['policy']}`"],
        ["subsets scored", str(len(protocol["subsets"]))],
        ["windows", f"{protocol['window']} voxels a side" if protocol["window"] else "the whole brain at once"],
        ["precision of the evaluation", escaped(protocol["precision"])],
        ["commit", escaped(str(environment["commit"] or "not stated"))],
        [
            "machine",
            escaped(f"{environment['cuda'] or environment['processor']}, {environment['threads']} threads"),
        ],
        ["torch", escaped(str(environment["packages"]["torch"]))],
    ]
    return markdown_table(["protocol", ""], rows)


def _budget(budget: Mapping[str, Any]) -> str:
    if budget["steps"] is not None:
        return f"{budget['steps']:,} steps a training"
    if budget["seconds"] is not None:
        return f"{budget['seconds']:g} seconds a training, as steps measured before"
    return f"{budget['crops']:,} crops a training" if budget.get("crops") else "each recipe's own steps"


def _rates(protocol: Mapping[str, Any]) -> str:
    """How each entrant's learning rate was chosen."""
    values = ", ".join(f"{rate:g}" for rate in protocol["learning_rates"])
    tried = f", {_budget(protocol['rates_budget'])}" if "rates_budget" in protocol else ""
    return f"the best of {values}, by the cases of `inner: test`{tried}"


def _entrants(plan: Mapping[str, Any], trainings: Sequence[TrainingRow]) -> str:
    """Recipe, steps, and the seconds that they were planned to take."""
    rows = []
    for name in dict.fromkeys(row.entrant for row in trainings):
        entrant = plan["entrants"][name]
        train, pace = entrant["recipe"]["train"], entrant["seconds_a_step"]
        measured = ", ".join(f"{stage} {value:.3g}" for stage, value in pace.items()) if pace else NOTHING
        cells = [f"`{entrant['file']}`", entrant["recipe"]["method"], f"{train['steps']:,}", str(train["batch"])]
        rows.append([escaped(name), *cells, measured])
    return markdown_table(["", "recipe", "method", "steps", "batch", "seconds a step, measured before"], rows)


def _trainings(trainings: Sequence[TrainingRow]) -> str:
    rows = [
        [escaped(row.entrant), str(row.seed), row.part or NOTHING, f"{row.seconds:,.0f}", row.commit]
        for row in trainings
    ]
    return markdown_table(["training", "seed", "fold", "seconds by its own clock, validation included", "commit"], rows)


def _side_by_side(comparisons: Mapping[str, Comparison]) -> str:
    """Mean Dice of each entrant and region under each rule."""
    first = next(iter(comparisons.values()))
    rows = []
    for name in first.names:
        for region in first.shared.task.regions:
            found = [comparison.scores.get(name) for comparison in comparisons.values()]
            cells = [NOTHING if scores is None else f"{scores.dice[region].mean.value:.3f}" for scores in found]
            rows.append([escaped(name), region.upper(), *cells])
    return markdown_table(["mean Dice", "region", *(rule or "none" for rule in comparisons)], rows)
