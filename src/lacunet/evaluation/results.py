"""Finds and reads the folders of evaluations, and checks that their two files agree. No torch here."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path

from lacunet.errors import DataError, UsageError
from lacunet.evaluation.cohorts import OTHERS, cohorts_of
from lacunet.evaluation.metrics import MetricPolicy, get_policy
from lacunet.evaluation.scores import Row, read_rows, summarise, write_rows
from lacunet.evaluation.summary import Identity, RegionMeans, Summary, read_summary, require_regions
from lacunet.files import write_json
from lacunet.task import GLIOMA, Task

FILES = ("cases.csv", "summary.json")
TUMOUR_FREE = "tumour_free.csv"
"""Beside them where further brains without a tumour were evaluated: columns as in `cases.csv`."""


@dataclass(frozen=True)
class Evaluation:
    """What `lacunet evaluate` wrote into a folder.

    Attributes:
        folder: The folder.
        summary: From `summary.json`.
        rows: From `cases.csv`.
        apart: From `tumour_free.csv`; none where there is no such file.
        task: As written; the built-in task where none is written.
        policy: The metric policy of the scores.
    """

    folder: Path
    summary: Summary
    rows: Sequence[Row]
    apart: Sequence[Row]
    task: Task
    policy: MetricPolicy


@dataclass(frozen=True)
class Run:
    """A column of a comparison: one evaluation, or those of several trainings of one method (seeds)."""

    name: str
    trainings: tuple[Evaluation, ...]


def read_runs(runs: Mapping[str, Sequence[Path]]) -> list[Run]:
    """Runs from their folders, in the same order.

    Args:
        runs: A run's name -> for each of its trainings the folder of an evaluation, or a run that holds exactly one.

    Raises:
        UsageError: there is no run, a run has no folder, or a folder is given twice.
        DataError: a folder holds no evaluation, or several, or one that cannot be read.
    """
    if not runs:
        raise UsageError("nothing to compare: name folders that `lacunet evaluate` wrote, or NAME=FOLDER")
    folders = {name: [evaluation_folder(path) for path in paths] for name, paths in runs.items()}
    refuse_twice([folder for own in folders.values() for folder in own])
    for name, own in folders.items():
        if not own:
            raise UsageError(f"run '{name}' has no evaluation; give the folder of one")
    return [Run(name, tuple(map(read_evaluation, own))) for name, own in folders.items()]


def refuse_twice(folders: Sequence[Path]) -> None:
    """Refuse folders that are the same.

    Raises:
        UsageError: naming them.
    """
    counted = Counter(folder.resolve() for folder in folders)
    twice = [str(folder) for folder, count in counted.items() if count > 1]
    if twice:
        raise UsageError(f"{', '.join(twice)}: given more than once; compare different evaluations")


def evaluation_folder(path: Path) -> Path:
    """The folder itself, or the only evaluation right below it.

    Raises:
        DataError: there is none, it is not finished, there are several, or this is a file.
    """
    if path.is_file():
        here = f", here {path.parent}" if is_evaluation(path.parent) else ""
        raise DataError(f"{path}: is a file; name the folder of an evaluation ({' and '.join(FILES)}){here}")
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; name one that `lacunet evaluate` wrote")
    if is_evaluation(path):
        return path
    if (path / "parts").is_dir() or any((path / name).exists() for name in FILES):
        raise DataError(f"{path}: the evaluation is not finished; `lacunet evaluate ... --resume` continues it")
    inside = sorted(entry for entry in path.iterdir() if entry.is_dir() and is_evaluation(entry))
    if len(inside) > 1:
        listed = ", ".join(entry.name for entry in inside)
        raise DataError(f"{path}: holds several evaluations ({listed}); name one of them, such as {inside[0]}")
    if not inside:
        raise DataError(f"{path}: no evaluation here ({' and '.join(FILES)}); `lacunet evaluate` writes one")
    return inside[0]


def is_evaluation(folder: Path) -> bool:
    """Whether the folder has both files of a finished evaluation."""
    return all((folder / name).is_file() for name in FILES)


def read_evaluation(folder: Path) -> Evaluation:
    """Read and check its files.

    Raises:
        DataError: one of them cannot be read, or they do not belong together.
    """
    summary = read_summary(folder / "summary.json")
    rows = read_rows(folder / "cases.csv")
    apart = read_rows(folder / TUMOUR_FREE) if (folder / TUMOUR_FREE).is_file() else []
    source = f"{folder / 'summary.json'}: its task"
    task = GLIOMA if summary.task is None else Task.from_json(summary.task, source, DataError, "evaluate again")
    require_regions(summary, task, folder / "summary.json")
    try:
        policy = get_policy(summary.policy)
    except UsageError as error:
        raise DataError(f"{folder / 'summary.json'}: {error}") from error
    if not _same_means(summary.mean, summarise(rows, task, policy, summary.model).mean):
        raise DataError(f"{folder}: summary.json and cases.csv do not agree; evaluate again")
    return Evaluation(folder, summary, rows, apart, task, policy)


def join_evaluations(folders: Sequence[Path], folder: Path) -> Path:
    """One evaluation of the folds of a cross-validation: the rows of all of them, each case once.

    Args:
        folders: Evaluations of disjoint cases by models of one recipe.
        folder: Where the files go; earlier ones are replaced.

    Raises:
        DataError: their tasks, policies or settings differ, or they share a case.
    """
    found = [read_evaluation(path) for path in folders]
    first = found[0]
    for one in found[1:]:
        settings = [_identity_of_folds(x.summary.identity, "") for x in (first, one)]
        if (one.task.to_json(), one.policy, settings[1]) != (first.task.to_json(), first.policy, settings[0]):
            raise DataError(
                f"{one.folder}: was scored with other settings than {first.folder}; use the same for all folds"
            )
    folder_of: dict[str, Path] = {}
    for one in found:
        for case in {row.case for row in one.rows}:
            if case in folder_of:
                raise DataError(
                    f"{case}: is scored in {folder_of[case]} and in {one.folder}; a case belongs to one fold"
                )
            folder_of[case] = one.folder
    rows = [row for one in found for row in one.rows]
    apart = [row for one in found for row in one.apart]
    weights = hashlib.sha256("\n".join(one.summary.identity.weights for one in found).encode()).hexdigest()
    named = dict.fromkeys(name for one in found for name in one.summary.cohorts if name != OTHERS)
    cohorts = cohorts_of(rows, list(named), first.task, first.policy)
    facts = {
        **({"cohorts": cohorts} if cohorts else {}),
        "data": f"{first.summary.data}, out of {len(found)} folds",
        "task": first.task.to_json(),
        "identity": _identity_of_folds(first.summary.identity, weights),
        "failed": {case: words for one in found for case, words in one.summary.failed.items()},
        "environment": first.summary.environment,
        "folds": tuple(one.summary.identity.weights for one in found),
    }
    summary = summarise(rows, first.task, first.policy, first.summary.model, apart).model_copy(update=facts)
    write_rows(folder / "cases.csv", rows)
    if apart:
        write_rows(folder / TUMOUR_FREE, apart)
    write_json(folder / "summary.json", summary.to_json())
    return folder


def _identity_of_folds(identity: Identity, weights: str) -> Identity:
    """The settings of a fold, with the weights of all folds."""
    return Identity(
        weights=weights,
        postprocessing=identity.postprocessing,
        precision=identity.precision,
        windows=identity.windows,
        mirror=identity.mirror,
    )


def _same_means(written: RegionMeans, computed: RegionMeans) -> bool:
    """Whether two `mean` entries of a summary are equal."""
    return set(written) == set(computed) and all(
        _same(written[region].dice, means.dice) and _same(written[region].hd95, means.hd95)
        for region, means in computed.items()
    )


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
