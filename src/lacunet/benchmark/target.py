"""The published table to reproduce, and whether a training and its evaluation can be compared with it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from lacunet.benchmark.sweep import Sweep, read_sweep, recipes_folder
from lacunet.comparison.published.lists import Lists
from lacunet.comparison.published.tables import PublishedTable, Scored, choose_tables, differences, not_stated
from lacunet.data.split import split_hash
from lacunet.errors import UsageError, nearest
from lacunet.evaluation.results import Evaluation
from lacunet.models.description import read_description
from lacunet.models.folder import model_folder
from lacunet.nn.method import get_method
from lacunet.nn.papers import method_names
from lacunet.training.recipe import Recipe, laid_over

ET_RULE = "et500-ncr"
"""The rule that most public code applies to the enhancing tumour, beside the scores of the mask as it is."""

FREE = (
    "seed",
    "train.workers",
    "train.save_every",
    "train.log_every",
    "train.gradients_every",
    "arguments.recompute",
)
"""What may differ between recipes: the seed, and what does not change the training's result."""


@dataclass(frozen=True)
class Target:
    """The table that is reproduced.

    Attributes:
        file: Of the sweep.
        sweep: The rows, and the protocol.
        lists: The published lists of cases.
        table: The published numbers; None where the protocol is published and the numbers are not.
    """

    file: Path
    sweep: Sweep
    lists: Lists
    table: PublishedTable | None

    @property
    def other_rules(self) -> tuple[str, ...]:
        """The rule for the enhancing tumour where the published masks have no rule; no rule where they have one."""
        return () if self.sweep.postprocess else (ET_RULE,)

    @property
    def counted(self) -> bool:
        """Whether the source states how many cases it scored."""
        return self.table is not None and self.table.test_cases is not None

    @property
    def assumed(self) -> tuple[str, ...]:
        """What the source does not state and the sweep decides, in words."""
        if self.table is None:
            return ()
        rules = ", ".join(self.sweep.postprocess) or "none"
        chosen = (f"the test list of {self.lists.name}", f"policy '{self.sweep.policy}'", f"rules: {rules}", "none")
        every = dict(
            zip(
                not_stated(replace(self.table, test=(), policy="", postprocessing=None, mirror="")), chosen, strict=True
            )
        )
        return tuple(f"{words}: here {every[words]}" for words in not_stated(self.table))


def find_target(name: str, known: Mapping[str, Lists]) -> Target:
    """The table of this name (`ccsd-table1`), or of a sweep's file.

    Raises:
        UsageError: there is no such sweep, or it names no lists: then it is for `lacunet benchmark`.
    """
    file = Path(name) if name.endswith(".toml") else recipes_folder() / "sweeps" / f"{name}.toml"
    if not file.is_file():
        names = sorted(path.stem for path in file.parent.glob("*.toml") if "\nlists" in path.read_text("utf-8"))
        raise UsageError(f"no table '{name}'{nearest(name, names)}; known: {', '.join(names)}")
    sweep = read_sweep(file)
    if not sweep.lists:
        raise UsageError(f"{file}: names no published lists; `lacunet benchmark {file}` trains its rows")
    if sweep.lists not in known:
        raise UsageError(f"{file}: no published lists '{sweep.lists}'{nearest(sweep.lists, known)}")
    (table,) = choose_tables([sweep.published]) if sweep.published else (None,)
    for row in sweep.rows:
        if table is not None and row not in table.methods:
            raise UsageError(f"{file}: {table.name} has no '{row}'{nearest(row, table.methods)}")
    return Target(file, sweep, known[sweep.lists], table)


def refusals(target: Target, recipe: Recipe, model: str, evaluation: Evaluation) -> list[str]:
    """Why one training and its evaluation cannot be compared with the published column.

    Args:
        target: The table.
        recipe: Of the row.
        model: The run, or its model folder.
        evaluation: Of the model.
    """
    description = read_description(model_folder(model))
    card = description.card
    return [
        *(f"recipe: {words}" for words in recipe_differences(recipe, card.get("recipe"))),
        *_other_training(target, card),
        *_other_evaluation(target, evaluation, description.sha256),
    ]


def recipe_differences(wanted: Recipe, found: Mapping[str, Any] | None) -> list[str]:
    """The differences between two recipes, key by key; what is not written has its default, as in an older recipe."""
    if found is None:
        return ["the model does not say how it was trained"]
    one, other = _flat(wanted.model_dump(by_alias=True, mode="json")), _flat(_complete(found))
    keys = dict.fromkeys([*one, *other])
    return [f"{key} is {other.get(key)!r}, not {one.get(key)!r}" for key in keys if one.get(key) != other.get(key)]


def _complete(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with every key, some of which a model's version of lacunet may not have had."""
    return laid_over(Recipe(method="").model_dump(by_alias=True, mode="json"), fields)


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`train.steps` -> value, for every key that changes the result of the training."""
    arguments = {**_defaults(fields.get("method", "")), **fields.get("arguments", {})}
    flat: dict[str, Any] = {}
    for section, values in {**fields, "arguments": arguments}.items():
        if isinstance(values, Mapping):
            flat |= {f"{section}.{key}": _plain(value) for key, value in values.items()}
        else:
            flat[section] = _plain(values)
    return {key: value for key, value in flat.items() if key not in FREE and value is not None and value != {}}


def _defaults(method: str) -> dict[str, Any]:
    """The arguments of a method of the package that a recipe may leave out."""
    if method not in method_names():
        return {}
    parameters = inspect.signature(get_method(method)).parameters
    return {name: one.default for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}


def _plain(value: Any) -> Any:
    """Tuples as lists, as in JSON."""
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value


def _other_training(target: Target, card: Mapping[str, Any]) -> list[str]:
    """Other training or validation cases than the lists', or other losses."""
    found = []
    for part, key in (("train", "training_list"), ("val", "validation_list")):
        if card.get(key) != target.lists.parts[part].sha256:
            told = f"hash {card[key][:12]}..." if card.get(key) else "not stated by the model"
            found.append(f"the {part} cases are not the {part} list of {target.lists.name} ({told})")
    complete = max(1, round(target.sweep.complete * target.lists.parts["train"].cases))
    if card.get("complete_cases") != complete:
        found.append(
            f"{card.get('complete_cases', 'not stated how many')} training cases were complete, not {complete}"
        )
    return found


def _other_evaluation(target: Target, evaluation: Evaluation, weights: str) -> list[str]:
    """Other cases, subsets, policy, post-processing or weights."""
    sweep, identity = target.sweep, evaluation.summary.identity
    cases = sorted({row.case for row in evaluation.rows})
    wanted = {evaluation.task.subset_name(subset) for subset in evaluation.task.subsets_named(sweep.subsets)}
    found = []
    if split_hash(cases) != target.lists.parts["test"].sha256:
        found.append(f"{len(cases)} cases were scored, which are not the test list of {target.lists.name}")
    if {(row.case, row.subset) for row in evaluation.rows} != set(product(cases, wanted)):
        found.append("other subsets were scored")
    if evaluation.policy.name != sweep.policy:
        found.append(f"empty masks score by '{evaluation.policy.name}', not by '{sweep.policy}'")
    if identity.postprocessing != sweep.postprocess:
        ours, theirs = (", ".join(rules) or "none" for rules in (identity.postprocessing, sweep.postprocess))
        found.append(f"post-processing: {ours}, not {theirs}")
    if identity.weights != weights:
        found.append("the evaluation is of other weights")
    if target.table is not None:
        table = replace(
            target.table,
            test=target.table.test or (target.lists.parts["test"].sha256,),
            policy=target.table.policy or sweep.policy,
            postprocessing=sweep.postprocess if target.table.postprocessing is None else target.table.postprocessing,
            mirror=target.table.mirror or "none",
        )
        same = table.subsets  # both means are over the scored subsets
        scored = Scored(cases, same, evaluation.policy.name, identity.postprocessing, identity.mirror)
        return found or differences(table, scored)
    return found
