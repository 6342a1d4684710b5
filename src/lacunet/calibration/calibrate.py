"""From out-of-fold cases to a calibration: temperatures, ranges, gains, and how well these fit cases left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from lacunet.calibration.out_of_fold import (
    HeldOut,
    HeldOutCase,
    PassSettings,
    chose_weights,
    logits_of,
    pass_through,
    require_out_of_fold,
)
from lacunet.crew.crew import Crew, Here, Place
from lacunet.errors import DataError, Problem
from lacunet.evaluation.metrics import BRATS
from lacunet.evaluation.scores import Row, write_rows
from lacunet.models.calibration import (
    CALIBRATION,
    Calibration,
    Coverage,
    FoldModel,
    Gain,
    Range,
    RegionExpectation,
    Reliability,
    Seen,
    steps_of,
    write_calibration,
)
from lacunet.models.description import Description, read_description
from lacunet.models.folder import model_folder
from lacunet.prediction.predictor import Predictor
from lacunet.progress import Progress, Silent
from lacunet.stats.intervals import Span, enclosing, fewest, least_usual, mean_range, radius_mm
from lacunet.stats.temperature import COLDEST, HOTTEST, calibration_error, fit_temperature, negative_log_likelihood
from lacunet.task import Task

UNUSUAL = 0.05
"""The share of cases whose masks from parts of a subset agree less than is called usual; for the regions inside the
first one half of it, so that few pages call any region unreliable."""

Voxels = dict[str, tuple[Float[np.ndarray, "region voxel"], Bool[np.ndarray, "region voxel"]]]
"""Logits and truth of sampled voxels, by the group that is left out together (`groups_of`)."""


@dataclass(frozen=True)
class CalibrateSettings:
    """How a calibration is made.

    Attributes:
        coverage: Share of the cases that each range is to hold.
        data: Which cases these are, in words.
        passing: How the cases are predicted.
    """

    coverage: float = 0.8
    data: str = ""
    passing: PassSettings = field(default_factory=PassSettings)


@dataclass(frozen=True)
class Calibrated:
    """A calibration, done.

    Attributes:
        calibration: As in `calibration.json`.
        problems: Cases that failed.
    """

    calibration: Calibration
    problems: Sequence[Problem]


def calibrate(
    folds: Sequence[HeldOut],
    persons: Mapping[str, str],
    folder: Path,
    settings: CalibrateSettings,
    predictor_for: Callable[[str, Place], Predictor],
    progress: Progress = Silent(),
    crew: Crew = Here(),
) -> Calibrated:
    """Write `calibration.json` and `cases.csv` (the out-of-fold scores, without HD95) into a folder.

    Args:
        folds: Models of one recipe, each with the cases that it has not seen.
        persons: Case -> person, of all data.
        folder: Where the results go; those of each case are kept in its `parts/`.
        settings: How the calibration is made.
        predictor_for: Loads a fold's model where a worker is; called once for each fold that is not done, by each
            worker that has a case of it.
        progress: Told of every case.
        crew: Where the cases are predicted.

    Raises:
        DataError: a case is not out of fold, or every case failed.
        ModelError: the models are not of one kind.
        OutputError: the folder holds another calibration, or cannot be written.
    """
    require_out_of_fold(folds, persons)
    parts: list[HeldOutCase] = []
    problems: list[Problem] = []
    for one in pass_through(folds, folder, settings.passing, predictor_for, progress, crew):
        if isinstance(one, HeldOutCase):
            parts.append(one)
        else:
            problems.append(one)
    if not parts:
        raise DataError("no case to calibrate with: " + "; ".join(problem.message for problem in problems[:3]))
    write_rows(folder / "cases.csv", [row for part in parts for row in part.rows])
    calibration = calibration_of(parts, folds, settings)
    write_calibration(folder / CALIBRATION, calibration)
    return Calibrated(calibration, problems)


def calibration_of(parts: Sequence[HeldOutCase], folds: Sequence[HeldOut], settings: CalibrateSettings) -> Calibration:
    """The calibration that the predicted cases give."""
    descriptions = [read_description(model_folder(fold.model)) for fold in folds]
    task = descriptions[0].task
    table = Table(task, parts)
    coverage, seed = settings.coverage, settings.passing.seed
    temperatures, reliability = _temperatures(parts, table)
    return Calibration(
        lacunet=version("lacunet"),
        task=task.name,
        method=descriptions[0].method,
        arguments=descriptions[0].arguments,
        preparation=descriptions[0].preparation.model_dump(),
        data=settings.data,
        cases=len(parts),
        persons=len({part.person for part in parts}),
        folds=_fold_models(parts, descriptions),
        policy=BRATS.name,
        postprocessing=[rule.name for rule in settings.passing.rules],
        mirror=settings.passing.mirror,
        coverage=coverage,
        seed=seed,
        voxels=settings.passing.voxels,
        temperatures=temperatures,
        reliability=reliability,
        subsets=_subsets(table, coverage),
        gains=_gains(table, coverage, seed),
        volume_coverage=_volume_coverage(table, coverage),
        seen=_seen(parts, task),
        notes=_notes(table, folds, temperatures, coverage),
    )


class Table:
    """The out-of-fold scores and agreement by subset and region, each case with its person and fold."""

    def __init__(self, task: Task, parts: Sequence[HeldOutCase]) -> None:
        self.task = task
        self.person = {part.name: part.person for part in parts}
        self.fold = {part.name: part.fold for part in parts}
        self._agreement = {part.name: part.beside.agreement for part in parts}
        self._rows: dict[tuple[str, str], dict[str, Row]] = {}
        for part in parts:
            for row in part.rows:
                self._rows.setdefault((row.subset, row.region), {})[row.case] = row

    @property
    def subsets(self) -> list[str]:
        """Names of the subsets that any case has, in the task's order."""
        return [name for name in map(self.task.subset_name, self.task.subsets) if (name, self.regions[0]) in self._rows]

    @property
    def regions(self) -> list[str]:
        """In the task's order."""
        return list(self.task.regions)

    def rows(self, subset: str, region: str) -> dict[str, Row]:
        """By case."""
        return self._rows.get((subset, region), {})

    def one_each(self, subset: str, region: str) -> dict[str, Row]:
        """By case, with only the first case (by name) of each person: two cases of one person are not independent."""
        rows = self.rows(subset, region)
        first: dict[str, str] = {}
        for case in sorted(rows):
            first.setdefault(self.person[case], case)
        return {case: rows[case] for case in first.values()}

    def agreement(self, subset: str, region: str) -> list[float]:
        """Mean Dice with the masks from the subset's parts, one case of each person; empty for a single modality."""
        own = [self._agreement[case].get(subset, {}) for case in self.one_each(subset, region)]
        return [regions[region] for regions in own if region in regions]


def residual_mm(row: Row) -> float:
    """The reference's radius minus the prediction's, in mm; an absent region has radius 0."""
    return radius_mm(row.reference_ml) - radius_mm(row.prediction_ml)


def groups_of(table: Table) -> dict[str, str]:
    """Case -> the group that is left out together: its fold, or its person where there is a single fold."""
    single = len(set(table.fold.values())) == 1
    return {case: table.person[case] if single else str(fold) for case, fold in table.fold.items()}


def _fold_models(parts: Sequence[HeldOutCase], descriptions: Sequence[Description]) -> list[FoldModel]:
    counts = [sum(part.fold == fold for part in parts) for fold in range(len(descriptions))]
    return [
        FoldModel(weights=description.sha256, cases=count, steps=steps_of(description))
        for description, count in zip(descriptions, counts, strict=True)
        if count
    ]


def _temperatures(
    parts: Sequence[HeldOutCase], table: Table
) -> tuple[dict[int, float], dict[int, dict[str, Reliability]]]:
    """By number of modalities, one number after the other, so that memory holds the voxels of few subsets."""
    temperatures, reliability = {}, {}
    for size in range(1, len(table.task.modalities) + 1):
        voxels = logits_of(parts, table.task, size, groups_of(table))
        if voxels:
            temperatures[size] = _fit(voxels, list(voxels))
            reliability[size] = reliability_of(voxels, table.regions)
    return temperatures, reliability


def _fit(voxels: Voxels, groups: Sequence[str]) -> float:
    """One temperature for all regions, so that nested probabilities stay nested."""
    logits = np.concatenate([voxels[group][0].ravel() for group in groups])
    return fit_temperature(logits, np.concatenate([voxels[group][1].ravel() for group in groups]))


def reliability_of(voxels: Voxels, regions: Sequence[str]) -> dict[str, Reliability]:
    """How wrong the probabilities of each region are, without and with the temperature of the other groups."""
    others = {group: [other for other in voxels if other != group] for group in voxels}
    left_out = {group: _fit(voxels, rest) for group, rest in others.items() if rest}
    found = {}
    for index, region in enumerate(regions):
        logits = np.concatenate([one[index] for one, _ in voxels.values()])
        truth = np.concatenate([one[index] for _, one in voxels.values()])
        cooled = (
            np.concatenate([one[index] / np.float32(left_out[group]) for group, (one, _) in voxels.items()])
            if left_out
            else None
        )
        found[region] = Reliability(
            error=calibration_error(expit(logits), truth),
            error_calibrated=None if cooled is None else calibration_error(expit(cooled), truth),
            likelihood=negative_log_likelihood(logits, truth),
            likelihood_calibrated=None if cooled is None else negative_log_likelihood(cooled, truth),
        )
    return found


def _subsets(table: Table, coverage: float) -> dict[str, dict[str, RegionExpectation]]:
    return {
        subset: {region: _expected(table, subset, region, coverage) for region in table.regions}
        for subset in table.subsets
    }


def _expected(table: Table, subset: str, region: str, coverage: float) -> RegionExpectation:
    rows, persons = table.rows(subset, region).values(), table.one_each(subset, region).values()
    return RegionExpectation(
        cases=len(rows),
        absent=sum(row.reference_ml == 0 for row in rows),
        dice=fmean(row.dice for row in rows),
        dice_range=_range(enclosing([row.dice for row in persons], coverage)),
        radius_mm=_range(enclosing([residual_mm(row) for row in persons], coverage)),
        agreement=least_usual(table.agreement(subset, region), UNUSUAL / (1 if region == table.regions[0] else 2)),
    )


def _seen(parts: Sequence[HeldOutCase], task: Task) -> Seen:
    """What all cases were like, from the least to the most."""
    facts = [part.beside.facts for part in parts]
    references = {(row.case, row.region): row.reference_ml for part in parts for row in part.rows}
    volumes = {
        region: [volume for (_, own), volume in references.items() if own == region and volume > 0]
        for region in task.regions
    }
    return Seen(
        brain_ml=_extremes([one.brain_ml for one in facts]),
        voxel_mm=_extremes([one.voxel_mm for one in facts]),
        shading=_extremes([max(one.shading.values()) for one in facts]),
        volume_ml={region: _extremes(own) for region, own in volumes.items() if own},
    )


def _extremes(values: Sequence[float]) -> Range:
    return Range(low=min(values), high=max(values))


def _gains(table: Table, coverage: float, seed: int) -> dict[str, dict[str, dict[str, Gain]]]:
    """By subset, then by each modality that it lacks, then by region; only where some case has both subsets."""
    found: dict[str, dict[str, dict[str, Gain]]] = {}
    for subset in table.subsets:
        smaller = table.task.subset(subset)
        for modality in table.task.modalities:
            larger = table.task.subset_name((*smaller, modality))
            if modality not in smaller and larger in table.subsets:
                found.setdefault(subset, {})[modality] = {
                    region: _gain(table, (subset, larger), region, coverage, seed) for region in table.regions
                }
    return found


def _gain(table: Table, pair: tuple[str, str], region: str, coverage: float, seed: int) -> Gain:
    without, with_it = (table.rows(subset, region) for subset in pair)
    gained = {case: row.dice - without[case].dice for case, row in with_it.items()}
    persons = [table.person[case] for case in gained]
    interval = mean_range(list(gained.values()), persons, coverage, seed)
    return Gain(cases=len(gained), dice=fmean(gained.values()), range=_range(interval))


def _volume_coverage(table: Table, coverage: float) -> dict[str, Coverage]:
    """How many volumes of each fold lie inside the ranges from the other folds; empty if there are too few cases."""
    group = groups_of(table)
    found: dict[str, Coverage] = {}
    for region in table.regions:
        held, cases = 0, 0
        for subset in table.subsets:
            rows = table.one_each(subset, region)
            for left_out in sorted(set(group.values())):
                others = [residual_mm(row) for case, row in rows.items() if group[case] != left_out]
                span = enclosing(others, coverage)
                if span is None:
                    continue
                own = [residual_mm(row) for case, row in rows.items() if group[case] == left_out]
                cases += len(own)
                held += sum(span[0] <= residual <= span[1] for residual in own)
        if cases:
            found[region] = Coverage(held=held, cases=cases)
    return found


def _notes(table: Table, folds: Sequence[HeldOut], temperatures: Mapping[int, float], coverage: float) -> list[str]:
    notes = [
        f"the temperature of {size} sequence{'s' if size > 1 else ''} is at the end of what is looked for "
        f"({COLDEST:g} to {HOTTEST:g}): the network's probabilities say little"
        for size, temperature in temperatures.items()
        if temperature in (COLDEST, HOTTEST)
    ]
    persons, needed = len(set(table.person.values())), fewest(coverage)
    if persons < needed:
        notes.append(
            f"{persons} person{'s' if persons > 1 else ''}: too few for {coverage:.0%} ranges, which take {needed}"
        )
    if len(set(table.fold.values())) == 1:
        notes.append("a single model stands for the one that is calibrated; several folds would tell more")
    if chosen := sum(chose_weights(fold) for fold in folds):
        notes.append(
            f"cases held out by {chosen} of {len(folds)} models also validated them: the weights may have been chosen "
            "for these cases, and what is said of them be a little too good"
        )
    return notes


def _range(span: Span | None) -> Range | None:
    return None if span is None else Range(low=span[0], high=span[1])
