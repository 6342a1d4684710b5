"""How reliable a mask is: by out-of-fold cases if the model is calibrated, else by the model's card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

from lacunet.models.calibration import Calibration
from lacunet.models.model import Model
from lacunet.report.page import dice_words, join_words, sentence
from lacunet.segmentation.calibration_words import helpful_sequence, span_words
from lacunet.stats.intervals import Span
from lacunet.task import Subset, Task

UNRELIABLE = 0.6
"""Regions with a lower expected Dice are called unreliable."""


@dataclass(frozen=True)
class Expectation:
    """What a model's card, or its calibration, says of one subset.

    Attributes:
        dice: Mean Dice by region, 0 to 1.
        cases: How many cases the means rest on.
        data: Which cases: "test split of ...".
        ranges: Range of one more case's Dice, by region; None where there are too few cases. Empty from a card.
        coverage: Of the ranges; None from a card.
        notes: What a reader of a calibration's numbers must not miss.
        complete: Mean Dice by region from all sequences, to tell a missing sequence from a hard region; empty: unknown.
    """

    dice: Mapping[str, float]
    cases: int
    data: str
    ranges: Mapping[str, Span | None] = field(default_factory=dict)
    coverage: float | None = None
    notes: Sequence[str] = ()
    complete: Mapping[str, float] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Where the numbers come from: the calibration or the card, and how many cases."""
        cases = f"{self.cases} case{'' if self.cases == 1 else 's'} ({self.data})"
        return f"the model's card: {cases}" if self.coverage is None else f"out-of-fold predictions: {cases}"


@dataclass(frozen=True)
class Expected:
    """What a case's page and record say beside the mask.

    Attributes:
        expectation: The Dice to expect, or None.
        volume_words: A volume's range in words, by region; empty without a calibration.
        helpful_sequence: A sentence, or None.
        warnings: Sentences that a reader must not miss.
        record: For `case.json`; None without a calibration.
    """

    expectation: Expectation | None
    volume_words: Mapping[str, str] = field(default_factory=dict)
    helpful_sequence: str | None = None
    warnings: Sequence[str] = ()
    record: Mapping[str, Any] | None = None


def expected_of(
    model: Model,
    subset: Subset,
    volumes: Mapping[str, float],
    rules: Sequence[str],
    mirror: str,
    card: Expectation | None,
) -> Expected:
    """What is known of a mask.

    Args:
        model: With or without a calibration.
        subset: The modalities that were used.
        volumes: What was predicted, in ml by region.
        rules: Names of the post-processing that the mask went through.
        mirror: Which mirror images were averaged over.
        card: What the model's card says of the subset.
    """
    calibration = model.calibration
    if calibration is None:
        return Expected(card)
    name = model.task.subset_name(subset)
    temperature = calibration.temperature(subset, mirror)
    record = {"cases": calibration.cases, "data": calibration.data, "temperature": temperature}
    if why := _why_not(calibration, rules, mirror, model.task.subset_title(subset), name):
        return Expected(card, warnings=[why], record=record)
    spans = calibration.volume_spans(name, volumes)
    sentence = helpful_sequence(model.task, calibration.gains.get(name, {}), calibration.coverage)
    record |= {
        "coverage": calibration.coverage,
        "volume_ranges_ml": {region: _rounded(span, 3) for region, span in spans.items()},
        "dice_ranges": {region: _rounded(span, 4) for region, span in _dice_spans(calibration, name).items()},
        "gains": {
            modality: {region: gain.model_dump(mode="json") for region, gain in regions.items()}
            for modality, regions in calibration.gains.get(name, {}).items()
        },
        "helpful_sequence": sentence,
        "notes": list(calibration.notes),
    }
    words = {region: span_words(span, calibration.coverage) for region, span in spans.items()}
    return Expected(
        _expectation(calibration, name, model.task.subset_name(model.task.modalities)), words, sentence, record=record
    )


def card_expectation(model: Model, subset: Subset) -> Expectation | None:
    """What the model's card says of a subset, or None when it says nothing."""
    expected = model.expected_dice(subset)
    results = model.card.get("results", {})
    if not expected:
        return None
    complete = model.expected_dice(model.task.modalities)
    return Expectation(expected, int(results.get("cases", 0)), str(results.get("data", "")), complete=complete)


def _expectation(calibration: Calibration, subset: str, complete: str) -> Expectation:
    found = calibration.expected(subset)
    return Expectation(
        dice={region: one.dice for region, one in found.items()},
        cases=max(one.cases for one in found.values()),
        data=calibration.data,
        ranges=_dice_spans(calibration, subset),
        coverage=calibration.coverage,
        notes=calibration.notes,
        complete={region: one.dice for region, one in calibration.expected(complete).items()},
    )


def _dice_spans(calibration: Calibration, subset: str) -> dict[str, Span | None]:
    found = calibration.expected(subset)
    return {region: one.dice_range.span if one.dice_range else None for region, one in found.items()}


def _why_not(calibration: Calibration, rules: Sequence[str], mirror: str, title: str, subset: str) -> str | None:
    """Why a calibration says nothing of a mask, or None where it does."""
    if list(rules) != calibration.postprocessing:
        with_them = ", ".join(calibration.postprocessing) or "none"
        return f"The calibration is of masks with other post-processing ({with_them}): it gives no ranges here"
    if mirror != calibration.mirror:
        return f"The calibration is of masks with other mirror images ({calibration.mirror}): it gives no ranges here"
    if not calibration.expected(subset):
        return f"No out-of-fold case has {title}: the calibration gives no ranges here"
    return None


def _rounded(span: Span | None, digits: int) -> list[float] | None:
    return None if span is None else [round(end, digits) for end in span]


def inference_warnings(task: Task, subset: Subset) -> list[str]:
    """A sentence for each region that no sequence in use can show."""
    return [
        f"{sentence(task.titles[region])} is inferred, not seen: it shows in "
        f"{' or '.join(task.titles[modality] for modality in task.shown_by[region])} only, and none was used"
        for region, evidence in task.evidence(subset).items()
        if evidence == "inferred"
    ]


def expectation_warnings(
    task: Task, subset: Subset, expected: Expectation | None, threshold: float = UNRELIABLE
) -> list[str]:
    """A sentence for each region of which little is expected: `ET without T1ce is unreliable: expected Dice 0.41`.

    Where the region is unreliable from all sequences too, the sentence says so and names no missing sequence.

    Args:
        task: Names and orders.
        subset: The modalities used.
        expected: Of this subset; a region that is not there, or NaN, gives no sentence.
        threshold: Dice below which a region is called unreliable.
    """
    if expected is None:
        return []
    absent = [task.titles[modality] for modality in task.modalities if modality not in subset]
    sentences = []
    for region in task.regions:
        value, complete = (of.get(region, nan) for of in (expected.dice, expected.complete))
        if not value < threshold:
            continue
        hard = bool(absent) and complete < threshold
        without = f" without {join_words(absent)}" if absent and not hard else ""
        beside = f", from all sequences {dice_words(complete)}" if hard else ""
        sentences.append(f"{region.upper()}{without} is unreliable: expected Dice {dice_words(value)}{beside}")
    return sentences
