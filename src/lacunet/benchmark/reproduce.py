"""Trains and scores the rows of a published table by its protocol.

A sweep (`recipes/sweeps/ccsd-table1.toml`) names the published table, the lists of cases, the policy, the
post-processing, and a recipe for each row. What the source does not state the sweep decides, and the page says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean

from lacunet.benchmark.benchmark import benchmark, evaluation_name, failure, score_run
from lacunet.benchmark.plan import BenchmarkSettings, Split
from lacunet.benchmark.sweep import Entrant, row_entrants
from lacunet.benchmark.target import Target, refusals
from lacunet.case import CaseFiles
from lacunet.data.missing import apply_missing, complete_share, draw_missing, write_missing
from lacunet.data.split import PARTS, bare_id
from lacunet.errors import DataError, Problem
from lacunet.evaluation.metrics import get_policy
from lacunet.evaluation.results import Evaluation, is_evaluation, read_evaluation
from lacunet.evaluation.scores import summarise
from lacunet.prediction.postprocess import Rule, get_rule
from lacunet.progress import Progress, Silent
from lacunet.task import Task, get_task


@dataclass(frozen=True)
class Reproduced:
    """One row of the table as trained here.

    Attributes:
        name: Of the row, and of the method in the published table.
        evaluations: Scored as the published masks were, one per seed.
        others: The same with post-processing of the enhancing tumour on instead of off, or off instead of on.
        refusals: Why it cannot be compared with the published column; empty where it can.
    """

    name: str
    evaluations: Sequence[Evaluation]
    others: Sequence[Evaluation]
    refusals: tuple[str, ...]

    @cached_property
    def means(self) -> Mapping[tuple[str, str, str], float]:
        """Of `evaluations`: (subset or `all`, region, `dice` or `hd95`) -> the mean over the seeds."""
        return _means(self.evaluations)

    @cached_property
    def other_means(self) -> Mapping[tuple[str, str, str], float]:
        """The same of `others`."""
        return _means(self.others)


def part_of_lists(names: Mapping[str, Sequence[str]], cases: Sequence[CaseFiles], data: Path) -> Split:
    """The cases of published lists: of all three, or of `test` alone where nothing is trained.

    Raises:
        DataError: some are not in the data.
    """
    there = {bare_id(case.name): case for case in cases}
    missing = [name for part in names.values() for name in part if name not in there]
    if missing:
        lists = "three lists" if len(names) == len(PARTS) else f"{' and '.join(names)} list"
        raise DataError(
            f"{data}: {len(missing)} of the {sum(map(len, names.values()))} cases of the {lists} are missing, such "
            f"as {missing[0]}; the published numbers are means over all of them"
        )
    train, val, test = ([there[name] for name in names.get(part, ())] for part in PARTS)
    return Split("", train, val, test)


def with_incomplete_cases(part: Split, share: float, task: Task, folder: Path) -> tuple[Split, str]:
    """The training cases with the sequences that the protocol keeps (drawn with seed 1, and written); and in words."""
    if share == 1:
        return part, ""
    manifest = draw_missing([case.name for case in part.train], task, share, seed=1)
    write_missing(folder / "missing.csv", manifest, task)
    kept = 100 * complete_share(manifest, task)
    words = f"one to three sequences; {kept:.1f} % of the cases keep all four; drawn with seed 1"
    return replace(part, train=apply_missing(part.train, manifest)), words


def reproduce(
    target: Target,
    part: Split,
    folder: Path,
    settings: BenchmarkSettings,
    given: Mapping[str, Path] | None = None,
    progress: Progress = Silent(),
) -> tuple[list[Reproduced], list[Problem]]:
    """Train every row, or take the given runs; score them by the table's protocol; say which can be compared.

    Args:
        target: The table.
        part: The cases of its lists, with the sequences that its protocol keeps; given runs need only `test`.
        folder: A benchmark; given runs are scored into `ROW/given/`.
        settings: Seeds, device and the like; subsets, policy and rules become the table's.
        given: Row -> a run or a model folder; with it nothing is trained.
        progress: Told of everything.

    Returns:
        The rows that could be scored, and what failed.
    """
    task = get_task("glioma")
    settings = replace(
        settings,
        subsets=task.subsets_named(target.sweep.subsets),
        policy=get_policy(target.sweep.policy),
        rules=tuple(get_rule(name) for name in target.sweep.postprocess or target.other_rules),
    )
    rows = [row for row in row_entrants(target.file, target.sweep) if given is None or row.name in given]
    if given is None:
        problems = list(benchmark(rows, [part], folder, settings, progress).problems)
        models = {row.name: [folder / row.folder / f"seed-{seed}" for seed in settings.seeds] for row in rows}
        paths = models
    else:
        models = {name: [path] for name, path in given.items()}
        paths = {row.name: [folder / row.folder / "given"] for row in rows}
        problems = _score_given(models, paths, part, settings, progress)
    done = []
    for row in rows:
        pairs = [
            pair for pair in zip(models[row.name], paths[row.name], strict=True) if _is_scored(pair[1], settings.rules)
        ]
        if pairs:
            done.append(_reproduced(target, row, pairs))
    return done, problems


def _is_scored(path: Path, rules: Sequence[Rule]) -> bool:
    """Whether both evaluations are there, with and without post-processing."""
    names = (evaluation_name([]), evaluation_name([rule.name for rule in rules]))
    return all(is_evaluation(path / name) for name in names)


def _score_given(
    models: Mapping[str, Sequence[Path]],
    paths: Mapping[str, Sequence[Path]],
    part: Split,
    settings: BenchmarkSettings,
    progress: Progress,
) -> list[Problem]:
    problems: list[Problem] = []
    for name, (model,) in models.items():
        for rules in ((), settings.rules):
            path = paths[name][0] / evaluation_name([rule.name for rule in rules])
            if is_evaluation(path):
                continue
            progress.said(f"{name}: scoring {len(part.test)} cases")
            try:
                problems += score_run(model, part.test, path, rules, settings, progress)
            except Exception as error:  # the other rows continue
                problems += [failure(name, error, path)]
    return problems


def _reproduced(target: Target, row: Entrant, pairs: Sequence[tuple[Path, Path]]) -> Reproduced:
    """One row from its models and the paths of their evaluations."""
    mine, other = (evaluation_name(rules) for rules in (target.sweep.postprocess, target.other_rules))
    evaluations = [read_evaluation(path / mine) for _, path in pairs]
    reasons = dict.fromkeys(
        words
        for (model, _), evaluation in zip(pairs, evaluations, strict=True)
        for words in refusals(target, row.recipe, str(model), evaluation)
    )
    return Reproduced(row.name, evaluations, [read_evaluation(path / other) for _, path in pairs], tuple(reasons))


def _means(evaluations: Sequence[Evaluation]) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], list[float]] = {}
    for one in evaluations:
        summary = summarise(one.rows, one.task, one.policy, "")
        for subset, regions in {**summary.subsets, "all": summary.mean}.items():
            for region, means in regions.items():
                found.setdefault((subset, region, "dice"), []).append(means.dice)
                if means.hd95 is not None:
                    found.setdefault((subset, region, "hd95"), []).append(means.hd95)
    return {key: fmean(values) for key, values in found.items()}
