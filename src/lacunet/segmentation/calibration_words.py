"""What a calibration says about a case, in words: ranges, and which further sequence would help most."""

from collections.abc import Callable, Mapping, Sequence

from lacunet.models.calibration import Gain
from lacunet.report.page import dice_words, join_words, millilitres
from lacunet.stats.intervals import Span
from lacunet.task import Task

TOO_FEW = "too few cases"


def span_words(span: Span | None, coverage: float, number: Callable[[float], str] = millilitres) -> str:
    """`80 %: 27.1 to 45.0`, or that there were too few cases to give a range."""
    if span is None:
        return f"{coverage * 100:g} %: {TOO_FEW}"
    low, high = span
    return f"{coverage * 100:g} %: {number(low)} to {number(high)}"


def helpful_sequence(task: Task, gains: Mapping[str, Mapping[str, Gain]], coverage: float) -> str | None:
    """Which further sequence helped most in the out-of-fold cases, as a sentence on them and not on this patient.

    A sequence is shown to help a region if the whole range of its mean gain lies above 0; of those that are, the one
    with the largest gain is named, with every region that it is shown to help.

    Args:
        task: Names and orders.
        gains: By sequence that was not used, then by region.
        coverage: Of the gains' ranges.

    Returns:
        None where `gains` is empty, as it is when all sequences were used.
    """
    if not gains:
        return None
    told = {modality: regions for modality, regions in gains.items() if any(gain.range for gain in regions.values())}
    if not told:
        return f"Which further sequence would help is not known: {TOO_FEW} ({_source(gains)})."
    source = _source(told)
    shown = {modality: _shown(regions) for modality, regions in told.items()}
    best = max(told, key=lambda modality: max((gain.dice for gain in shown[modality].values()), default=0.0))
    if not shown[best]:
        names, others = (
            [task.titles[modality] for modality in gains if (modality in told) is known] for known in (True, False)
        )
        more = f" Of {join_words(others)} it is not known: {TOO_FEW}." if others else ""
        return f"Of {join_words(names)}, no sequence is shown to help {source}.{more}"
    parts = [_gain_words(task.titles[region], gain, coverage) for region, gain in _largest_first(shown[best])]
    words = f"{task.titles[best]} would help most: {join_words(parts)}, {source}"
    return f"{words}. A mean over cases, not advice for a patient."


def _source(gains: Mapping[str, Mapping[str, Gain]]) -> str:
    cases = sorted({gain.cases for regions in gains.values() for gain in regions.values()})
    return f"in {' or '.join(map(str, cases))} out-of-fold case{'' if cases == [1] else 's'}"


def _shown(regions: Mapping[str, Gain]) -> dict[str, Gain]:
    return {region: gain for region, gain in regions.items() if gain.range is not None and gain.range.low > 0}


def _largest_first(gains: Mapping[str, Gain]) -> Sequence[tuple[str, Gain]]:
    return sorted(gains.items(), key=lambda pair: -pair[1].dice)


def _gain_words(title: str, gain: Gain, coverage: float) -> str:
    assert gain.range is not None
    return f"{title} Dice {signed(gain.dice)} ({span_words(gain.range.span, coverage, signed)})"


def signed(value: float) -> str:
    """A difference of Dice with its sign: `+0.21`."""
    return f"{'−' if value < 0 else '+'}{dice_words(abs(value))}"
