"""The calibration of a model, from out-of-fold cases: temperatures, ranges of volume and Dice, gains.

It is a file beside the weights, made by `lacunet calibrate`; docs/calibration.md says what its numbers mean and assume.
No torch here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lacunet.errors import ModelError
from lacunet.files import rounded, write_json
from lacunet.models.description import Card, Description, read_description
from lacunet.models.folder import DESCRIPTION
from lacunet.reading import read_json
from lacunet.schema import Strict, fitted
from lacunet.stats.intervals import Span, volume_span
from lacunet.task import Subset

CALIBRATION = "calibration.json"
_AGAIN = "make it again with lacunet calibrate, or remove the file"

_Score = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=1)]


class Range(Strict):
    """Two ends, the lower one first."""

    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> "Range":
        if self.low > self.high:
            raise ValueError("the lower end is above the upper one")
        return self

    @property
    def span(self) -> Span:
        """As a pair."""
        return self.low, self.high


class RegionExpectation(Strict):
    """One region, from one subset.

    Attributes:
        cases: How many out-of-fold cases have this subset's modalities.
        absent: How many of their references lack the region.
        dice: Mean over the cases.
        dice_range: Range of the Dice of one more case; None if there are too few cases.
        radius_mm: Range of the reference's radius minus the predicted one's in one more case, in mm (`radius_mm` of
            intervals.py); None if there are too few cases.
        agreement: How far the masks from parts of the subset agree with this one in nearly all cases
            (`lacunet.evaluation.agreement`): one more case in twenty is below, in forty for regions inside the first
            one. None if there are too few cases, for
            subsets of one modality, and in older files.
    """

    cases: _Count
    absent: Annotated[int, Field(ge=0)]
    dice: _Score
    dice_range: Range | None
    radius_mm: Range | None
    agreement: _Score | None = None


class Gain(Strict):
    """How much a further modality improves one region.

    Attributes:
        cases: How many out-of-fold cases have the larger subset's modalities.
        dice: Mean difference of the same cases' Dice: with it minus without it.
        range: Range of that mean, from resampled persons; None if there are too few cases.
    """

    cases: _Count
    dice: Annotated[float, Field(ge=-1, le=1)]
    range: Range | None


class Reliability(Strict):
    """How wrong a region's probabilities are, over sampled brain voxels.

    Attributes:
        error: Expected calibration error of the network's own probabilities.
        error_calibrated: The same with a temperature fitted without the voxel's own fold; None if it is the only one.
        likelihood: Mean negative log-likelihood in nats of the network's own probabilities.
        likelihood_calibrated: The same with that temperature.
    """

    error: _Score
    error_calibrated: _Score | None
    likelihood: Annotated[float, Field(ge=0)]
    likelihood_calibrated: Annotated[float, Field(ge=0)] | None


class Coverage(Strict):
    """How many volumes lay inside ranges that were made without the case's own fold, over all subsets.

    Attributes:
        held: Volumes inside.
        cases: All of them.
    """

    held: Annotated[int, Field(ge=0)]
    cases: Annotated[int, Field(ge=0)]


class Seen(Strict):
    """What the cases of a calibration were like, from the smallest to the largest.

    Attributes:
        brain_ml: Volume of the brain, as far as the scans show it.
        voxel_mm: The longest side of a voxel.
        shading: Of the most unevenly bright scan of a case (`lacunet.data.shading`).
        volume_ml: Of the references, by region, over those that have it; regions that none has are left out.
    """

    brain_ml: Range
    voxel_mm: Range
    shading: Range
    volume_ml: dict[str, Range]


class FoldModel(Strict):
    """The model of one fold, which stands for the one that is calibrated.

    Attributes:
        weights: Their SHA-256.
        cases: How many cases it predicted that it had not seen.
        steps: Of its training; None if its card does not say.
    """

    weights: str
    cases: _Count
    steps: _Count | None = None


class Calibration(Strict):
    """The content of `calibration.json`.

    Attributes:
        format: Of the file.
        lacunet: The version that made it.
        weights: SHA-256 of the weights that it lies beside; empty before it is put there.
        task: The task's name.
        method: Of the fold models; the model that it is put beside has the same.
        arguments: The method's.
        preparation: Of the images.
        data: Which cases, in words.
        cases: How many.
        persons: How many persons they come from.
        folds: The models that stand for the one that is calibrated.
        policy: What Dice is where a mask is empty (docs/metrics.md).
        postprocessing: Names of the rules that masks went through.
        mirror: Which mirror images the logits were averaged over.
        coverage: Of every range.
        seed: Of sampled voxels and of resampled persons.
        voxels: How many were sampled from each case.
        temperatures: By number of modalities; shared by the regions.
        reliability: By number of modalities, then by region.
        subsets: By subset, then by region.
        gains: By subset, then by further modality, then by region.
        volume_coverage: By region; empty if there are too few cases.
        seen: What the cases were like; None in older files.
        notes: Warnings to everyone who uses it.
    """

    format: Literal[1] = 1
    lacunet: str
    weights: str = ""
    task: str
    method: str
    arguments: dict[str, Any]
    preparation: dict[str, float]
    data: str
    cases: _Count
    persons: _Count
    folds: list[FoldModel]
    policy: str
    postprocessing: list[str]
    mirror: str = "none"
    coverage: Annotated[float, Field(gt=0, lt=1)]
    seed: int
    voxels: _Count
    temperatures: dict[int, Annotated[float, Field(gt=0)]]
    reliability: dict[int, dict[str, Reliability]]
    subsets: dict[str, dict[str, RegionExpectation]]
    gains: dict[str, dict[str, dict[str, Gain]]]
    volume_coverage: dict[str, Coverage]
    seen: Seen | None = None
    notes: list[str]

    def temperature(self, subset: Subset, mirror: str) -> float:
        """What logits of this subset are divided by.

        It is 1 where no case had so many modalities, and where other mirror images are averaged over: a mean of several
        logits is less extreme than one.
        """
        return self.temperatures.get(len(subset), 1.0) if mirror == self.mirror else 1.0

    def expected(self, subset: str) -> Mapping[str, RegionExpectation]:
        """By region; empty where no case had the subset."""
        return self.subsets.get(subset, {})

    def volume_spans(self, subset: str, volumes: Mapping[str, float]) -> dict[str, Span | None]:
        """Range of the reference's volume in ml, by region; None if there are too few cases.

        Args:
            subset: Its name.
            volumes: The predicted ones, in ml by region.
        """
        found = self.expected(subset)
        spans = {region: one.radius_mm.span if one.radius_mm else None for region, one in found.items()}
        return {region: offsets and volume_span(volumes[region], offsets) for region, offsets in spans.items()}


def read_calibration(folder: Path) -> Calibration | None:
    """The calibration of the model in a folder, or None where there is none.

    Raises:
        ModelError: the file is not a calibration, or it belongs to other weights, another method or another task.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        return None
    calibration, description = read_calibration_file(path), read_description(folder)
    _require_same_kind(path, calibration, description)
    if calibration.weights != description.sha256:
        raise ModelError(
            f"{path}: belongs to other weights (sha256 {calibration.weights[:12] or 'none'}..., here "
            f"{description.sha256[:12]}...); add it again with lacunet calibrate --into, or remove it"
        )
    return calibration


def read_calibration_file(path: Path) -> Calibration:
    """A calibration alone, checked value by value.

    Raises:
        ModelError: unreadable, too large, not JSON, of another format, or with a value that cannot be.
    """
    content = read_json(path, ModelError, _AGAIN, largest=2**20)
    return fitted(Calibration, content, f"{path}: not a calibration", ModelError, _AGAIN)


def calibration_words(calibration: Calibration | None) -> str:
    """Whether a model is calibrated, and from how many cases."""
    if calibration is None:
        return "not calibrated"
    folds, cases = len(calibration.folds), calibration.cases
    return (
        f"calibrated from {cases} out-of-fold case{'s' if cases > 1 else ''} of {calibration.persons} "
        f"person{'s' if calibration.persons > 1 else ''}, {folds} fold{'s' if folds > 1 else ''} ({calibration.data})"
    )


def put_beside(calibration: Calibration, folder: Path) -> Path:
    """Write a calibration into a model folder, as that model's. A note says if its folds had other numbers of steps.

    Raises:
        ModelError: the model's method, task or preparation differs from the fold models'.
    """
    path, description = folder / CALIBRATION, read_description(folder)
    _require_same_kind(path, calibration, description)
    notes = list(dict.fromkeys([*calibration.notes, *_other_steps(calibration, description)]))
    write_calibration(path, calibration.model_copy(update={"weights": description.sha256, "notes": notes}))
    return path


def steps_of(description: Description) -> int | None:
    """How many steps a model's recipe has; None if its card does not say."""
    recipe = Card.model_validate(description.card).recipe
    return recipe.train.steps if recipe is not None else None


def _other_steps(calibration: Calibration, description: Description) -> list[str]:
    own, its = steps_of(description), sorted({fold.steps for fold in calibration.folds if fold.steps is not None})
    if own is None or not its or its == [own]:
        return []
    steps = " or ".join(f"{number:,}" for number in its)
    return [f"the models of the folds were trained for {steps} steps, this one for {own:,}: what is expected is theirs"]


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it, whole or not at all. Measured numbers get five digits; no number of cases tells more."""
    content = calibration.model_dump(mode="json")
    measured = ("temperatures", "reliability", "subsets", "gains", "seen")
    write_json(path, content | {key: rounded(content[key], 5) for key in measured})


def _require_same_kind(path: Path, calibration: Calibration, description: Description) -> None:
    task = description.task
    for what, own, its in (
        ("task", task.name, calibration.task),
        ("method", description.method, calibration.method),
        ("arguments", description.arguments, calibration.arguments),
        ("preparation", description.preparation.model_dump(), calibration.preparation),
    ):
        if own != its:
            raise ModelError(
                f"{path}: was made with models whose {what} is {its}, and {DESCRIPTION} says {own}; calibrate this "
                "model with folds trained as it was (docs/calibration.md)"
            )
    known = {task.subset_name(subset) for subset in task.subsets}
    named = {*calibration.subsets, *calibration.gains}
    regions = {region for one in calibration.subsets.values() for region in one}
    regions |= set(calibration.seen.volume_ml) if calibration.seen else set()
    if unknown := sorted((named - known) | (regions - set(task.regions))):
        raise ModelError(f"{path}: the task '{task.name}' has no {', '.join(unknown)}; {_AGAIN}")
