"""How reliable a mask is: by out-of-fold cases if the model is calibrated, else by the model's card."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lacunet.models.calibration import Calibration
from lacunet.models.model import Model
from lacunet.report.page import millilitres, sentence
from lacunet.segmentation.calibration_words import helpful_sequence, span_words
from lacunet.segmentation.doubts import Doubt, Kind
from lacunet.stats.intervals import Span
from lacunet.task import Subset, Task

LOW = 0.6
"""A lower expected Dice is marked as low."""


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
    """

    dice: Mapping[str, float]
    cases: int
    data: str
    ranges: Mapping[str, Span | None] = field(default_factory=dict)
    coverage: float | None = None
    notes: Sequence[str] = ()

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
        withheld: Regions of which nothing is said, since this case is not like those that the numbers come from; each
            with the kinds of doubt.
    """

    expectation: Expectation | None
    volume_words: Mapping[str, str] = field(default_factory=dict)
    helpful_sequence: str | None = None
    warnings: Sequence[str] = ()
    record: Mapping[str, Any] | None = None
    withheld: Mapping[str, Sequence[Kind]] = field(default_factory=dict)


def expected_of(
    model: Model,
    subset: Subset,
    volumes: Mapping[str, float],
    rules: Sequence[str],
    mirror: str,
    card: Expectation | None,
    corrected: bool = False,
) -> Expected:
    """What is known of a mask.

    Args:
        model: With or without a calibration.
        subset: The modalities that were used.
        volumes: What was predicted, in ml by region.
        rules: Names of the post-processing that the mask went through.
        mirror: Which mirror images were averaged over.
        card: What the model's card says of the subset.
        corrected: Whether the model saw scans that N4 had corrected.
    """
    calibration = model.calibration
    if calibration is None:
        return Expected(card)
    name = model.task.subset_name(subset)
    temperature = calibration.temperature(subset, mirror)
    record = {"cases": calibration.cases, "data": calibration.data, "temperature": temperature}
    why = _why_not(calibration, rules, mirror, model.task.subset_title(subset), name)
    if corrected:
        why = "The calibration is of scans that were not corrected for uneven brightness (N4): it gives no ranges here"
    if why:
        return Expected(card, warnings=[why], record=record)
    spans = agreeing(calibration.volume_spans(name, volumes), volumes, model.task)
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
    return Expected(_expectation(calibration, name), words, sentence, record=record)


def withhold(expected: Expected, regions: Mapping[str, Sequence[Doubt]]) -> Expected:
    """The same, with neither a Dice nor a range of these regions, for these reasons."""
    if not regions:
        return expected
    record = None if expected.record is None else dict(expected.record)
    for key in ("volume_ranges_ml", "dice_ranges"):
        if record is not None and key in record:
            record[key] = {region: None if region in regions else span for region, span in record[key].items()}
    return replace(
        expected,
        expectation=_without(expected.expectation, regions),
        volume_words={region: words for region, words in expected.volume_words.items() if region not in regions},
        record=record,
        withheld={region: tuple(doubt.kind for doubt in doubts) for region, doubts in regions.items()},
    )


def _without(expectation: Expectation | None, regions: Collection[str]) -> Expectation | None:
    """None where nothing is left."""
    if expectation is None:
        return None
    dice = {region: one for region, one in expectation.dice.items() if region not in regions}
    if not dice:
        return None
    ranges = {region: span for region, span in expectation.ranges.items() if region not in regions}
    return replace(expectation, dice=dice, ranges=ranges)


def agreeing(spans: Mapping[str, Span | None], volumes: Mapping[str, float], task: Task) -> dict[str, Span | None]:
    """Ranges of volumes that contradict neither the volume found nor each other. They only become wider.

    A range holds the volume found; the range of a region begins no later, and ends no later, than that of a region
    around it. Coverage can only grow.

    Args:
        spans: In ml by region; None where there are too few cases.
        volumes: Those found, in ml by region.
        task: Says which region lies in which.
    """
    wide = {
        region: None if span is None else (min(span[0], volumes[region]), max(span[1], volumes[region]))
        for region, span in spans.items()
    }
    labels = {region: set(task.regions[region]) for region in wide}
    found: dict[str, Span | None] = {}
    for region, span in wide.items():
        if span is None:
            found[region] = None
            continue
        around = [other for name, other in wide.items() if other is not None and labels[name] >= labels[region]]
        inside = [other for name, other in wide.items() if other is not None and labels[name] <= labels[region]]
        found[region] = min(low for low, _ in around), max(high for _, high in inside)
    return found


def card_expectation(model: Model, subset: Subset) -> Expectation | None:
    """What the model's card says of a subset, or None when it says nothing."""
    expected = model.expected_dice(subset)
    results = model.card.get("results", {})
    if not expected:
        return None
    return Expectation(expected, int(results.get("cases", 0)), str(results.get("data", "")))


def _expectation(calibration: Calibration, subset: str) -> Expectation:
    found = calibration.expected(subset)
    return Expectation(
        dice={region: one.dice for region, one in found.items()},
        cases=max(one.cases for one in found.values()),
        data=calibration.data,
        ranges=_dice_spans(calibration, subset),
        coverage=calibration.coverage,
        notes=calibration.notes,
    )


def _dice_spans(calibration: Calibration, subset: str) -> dict[str, Span | None]:
    """They hold the mean, too."""
    found = calibration.expected(subset)
    spans = {region: one.dice_range.span if one.dice_range else None for region, one in found.items()}
    return {
        region: span and (min(span[0], found[region].dice), max(span[1], found[region].dice))
        for region, span in spans.items()
    }


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


def caveat(model: Model, subset: Subset) -> str:
    """That a volume does not show that there is a tumour; if the card knows it, what is found where there is none."""
    words = "A volume is no evidence of a tumour: the model also finds some in brains without one"
    found = model.found_without_tumour(subset)
    if found is None:
        return words
    region, volume, cases = found
    brains = f"{cases} such brain{'' if cases == 1 else 's'}"
    return f"{words} ({region.upper()} from these sequences in {brains}: {millilitres(volume)} ml, median)"
