"""Whether runs can be compared, and on which cases. No torch here.

Runs of different tasks, metric policies or references are refused, and runs without a common case. Other differences
give a warning: cases and subsets that some runs lack, post-processing, precision, the same weights twice, several cases
of one person.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose

import numpy as np
from jaxtyping import Bool, Float

from lacunet.data.names import person_of
from lacunet.errors import DataError
from lacunet.evaluation.metrics import MetricPolicy
from lacunet.evaluation.results import Evaluation, Run
from lacunet.task import Task

Pair = tuple[str, str]
"""A case and a subset."""


@dataclass(frozen=True)
class ScoreArrays:
    """The scores of one training on the shared cases; NaN where there is none.

    Attributes:
        dice: 0 to 1.
        hd95: mm; NaN also where the policy gives none.
        prediction_ml: Volume of the prediction.
    """

    dice: Float[np.ndarray, "case subset region"]
    hd95: Float[np.ndarray, "case subset region"]
    prediction_ml: Float[np.ndarray, "case subset region"]


@dataclass(frozen=True)
class Aligned:
    """What all runs have, in one order.

    Attributes:
        task: Of every run.
        policy: Of every run.
        cases: Names, sorted.
        subsets: Names, in the task's order.
        reference_ml: Volume of the references.
        scores: Run -> the scores of each of its trainings.
        warnings: Sentences that the reader must see.
    """

    task: Task
    policy: MetricPolicy
    cases: tuple[str, ...]
    subsets: tuple[str, ...]
    reference_ml: Float[np.ndarray, "case region"]
    scores: Mapping[str, tuple[ScoreArrays, ...]]
    warnings: tuple[str, ...]

    @property
    def whole_subsets(self) -> tuple[str, ...]:
        """The subsets that every case was scored for."""
        there = [np.isfinite(one.dice).all(axis=(0, 2)) for trainings in self.scores.values() for one in trainings]
        return tuple(name for name, whole in zip(self.subsets, np.all(there, axis=0), strict=True) if whole)

    def with_hd95(self, name: str) -> Bool[np.ndarray, "case subset region"]:
        """Which masks of a run have an HD95 in any of its trainings; some policies give a missed region none."""
        there: np.ndarray = np.any([np.isfinite(one.hd95) for one in self.scores[name]], axis=0)
        return there

    def size_title(self, size: int) -> str:
        """`2 of 4`: the subsets of so many sequences."""
        return f"{size} of {len(self.task.modalities)}"

    @property
    def divided(self) -> list[str]:
        """The regions that some references have and some lack."""
        there = {region: self.with_reference(region) for region in self.task.regions}
        return [region for region, cases in there.items() if cases.any() and not cases.all()]

    def with_reference(self, region: str) -> Bool[np.ndarray, " case"]:
        """Which cases have the region in their reference; all cases for a name that is no region (`mean`)."""
        regions = list(self.task.regions)
        if region not in regions:
            return np.ones(len(self.cases), bool)
        there: np.ndarray = self.reference_ml[:, regions.index(region)] > 0
        return there


@dataclass(frozen=True)
class TitledEvaluation:
    """One training of a run, with a title that no other training has."""

    title: str
    evaluation: Evaluation

    @property
    def pairs(self) -> set[Pair]:
        """The cases and subsets that were scored."""
        return {(row.case, row.subset) for row in self.evaluation.rows}


def align(runs: Sequence[Run]) -> Aligned:
    """Bring runs onto the cases and subsets that all of them have.

    Raises:
        DataError: tasks, policies or references differ, or nothing is shared.
    """
    trainings = [TitledEvaluation(_title(run, index), one) for run in runs for index, one in enumerate(run.trainings)]
    _refuse_other_tasks(trainings)
    _refuse_other_policies(trainings)
    task = trainings[0].evaluation.task
    common = set.intersection(*(training.pairs for training in trainings))
    if not common:
        names = ", ".join(training.title for training in trainings)
        raise DataError(f"{names}: no case and subset that all of them scored; evaluate them on the same cases")
    cases = tuple(sorted({case for case, _ in common}))
    of_common = {subset for _, subset in common}
    subsets = tuple(name for name in map(task.subset_name, task.subsets) if name in of_common)
    references = _references(trainings, cases)
    return Aligned(
        task=task,
        policy=trainings[0].evaluation.policy,
        cases=cases,
        subsets=subsets,
        reference_ml=np.array([[references[case, region] for region in task.regions] for case in cases]),
        scores={run.name: tuple(_scores(one, common, cases, subsets) for one in run.trainings) for run in runs},
        warnings=(*_warn_of_coverage(trainings, common), *_warn_of_settings(trainings), *_warn_of_persons(cases)),
    )


def _title(run: Run, index: int) -> str:
    return run.name if len(run.trainings) == 1 else f"training {index + 1} of {run.name}"


def _refuse_other_tasks(trainings: Sequence[TitledEvaluation]) -> None:
    first = trainings[0]
    for training in trainings[1:]:
        one, other = first.evaluation.task, training.evaluation.task
        if (one.modalities, dict(one.regions)) != (other.modalities, dict(other.regions)):
            raise DataError(
                f"the task differs: {_task_words(one)} in {first.title}, {_task_words(other)} in {training.title}; "
                "other labels or sequences mean other regions, compare runs of one task"
            )


def _task_words(task: Task) -> str:
    regions = ", ".join(f"{name} = {'+'.join(map(str, labels))}" for name, labels in task.regions.items())
    return f"{task.name} ({'+'.join(task.modalities)}; {regions})"


def _refuse_other_policies(trainings: Sequence[TitledEvaluation]) -> None:
    """Policies score empty masks differently; the models can be evaluated again with one policy."""
    first = trainings[0]
    for training in trainings[1:]:
        one, other = first.evaluation.policy.name, training.evaluation.policy.name
        if one != other:
            raise DataError(
                f"the metric policy differs: '{one}' in {first.title}, '{other}' in {training.title}; "
                f"evaluate one of them again with --policy {one} or {other}"
            )


def _references(trainings: Sequence[TitledEvaluation], cases: Sequence[str]) -> dict[tuple[str, str], float]:
    """Reference volume of each case and region in ml.

    Raises:
        DataError: the volumes of two evaluations differ.
    """
    wanted = set(cases)
    found: dict[tuple[str, str], tuple[str, float]] = {}
    for training in trainings:
        for row in training.evaluation.rows:
            if row.case not in wanted:
                continue
            title, volume = found.setdefault((row.case, row.region), (training.title, row.reference_ml))
            if not isclose(volume, row.reference_ml, rel_tol=1e-6, abs_tol=1e-9):
                raise DataError(
                    f"{row.case}: the reference of {row.region} has {volume:g} ml in {title} and {row.reference_ml:g} "
                    f"ml in {training.title}; these are not the same annotations on the same grid, so the scores "
                    "cannot be paired; evaluate both on the same data"
                )
    return {key: volume for key, (_, volume) in found.items()}


def _scores(one: Evaluation, common: set[Pair], cases: Sequence[str], subsets: Sequence[str]) -> ScoreArrays:
    """The shared rows of one evaluation as arrays."""
    of_case, of_subset, of_region = (
        {name: index for index, name in enumerate(names)} for names in (cases, subsets, one.task.regions)
    )
    scores = ScoreArrays(*(np.full((len(of_case), len(of_subset), len(of_region)), np.nan) for _ in range(3)))
    for row in one.rows:
        if (row.case, row.subset) in common:
            at = of_case[row.case], of_subset[row.subset], of_region[row.region]
            scores.dice[at], scores.hd95[at], scores.prediction_ml[at] = row.dice, row.hd95, row.prediction_ml
    return scores


def _warn_of_coverage(trainings: Sequence[TitledEvaluation], common: set[Pair]) -> list[str]:
    """Cases that failed, and cases and subsets that not every run has."""
    cases = {case for case, _ in common}
    found = []
    for training in trainings:
        failed = training.evaluation.summary.failed
        if failed:
            found.append(f"{training.title} failed on {_number(failed)}, left out for every run: {_some(failed)}")
        more = {case for case, _ in training.pairs} - cases
        if more:
            found.append(f"{training.title} was also scored on {_number(more)}, left out here: {_some(more)}")
        subsets = {subset for case, subset in training.pairs - common if case in cases}
        if subsets:
            found.append(f"{training.title} was also scored from subsets that are left out here: {_some(subsets)}")
    return found


def _warn_of_settings(trainings: Sequence[TitledEvaluation]) -> list[str]:
    """Settings that may differ, and that the reader must know."""
    summaries = {training.title: training.evaluation.summary for training in trainings}
    told = {
        "Post-processing differs": {
            name: ", ".join(one.identity.postprocessing) or "none" for name, one in summaries.items()
        },
        "Precision differs": {name: one.identity.precision for name, one in summaries.items()},
        "Windows differ": {
            name: "x".join(map(str, one.identity.windows or ())) or "whole brain" for name, one in summaries.items()
        },
        "Averaging over mirror images differs": {name: one.identity.mirror for name, one in summaries.items()},
        "The data have different names, but shared cases have the same references": {
            name: one.data for name, one in summaries.items()
        },
    }
    found = [f"{words}: {_listed(values)}" for words, values in told.items() if len(set(values.values())) > 1]
    owners: dict[str, list[str]] = defaultdict(list)
    for name, one in summaries.items():
        owners[one.identity.weights or name].append(name)
    return found + [f"{' and '.join(names)} have the same weights" for names in owners.values() if len(names) > 1]


def _warn_of_persons(cases: Sequence[str]) -> list[str]:
    persons = len({person_of(case) for case in cases})
    if persons == len(cases):
        return []
    return [
        f"{len(cases)} cases are of {persons} persons; cases of one person resemble each other, so p is too small "
        "and intervals are too narrow"
    ]


def _number(cases: Mapping[str, str] | set[str]) -> str:
    return f"{len(cases)} case{'' if len(cases) == 1 else 's'}"


def _some(names: Mapping[str, str] | set[str]) -> str:
    """The first three names, and how many more there are."""
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _listed(values: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in values.items())
