"""A change in words: the verdict, and what a reader must not miss."""

from lacunet.report.page import join_words, millilitres, sentence
from lacunet.stats.intervals import Span
from lacunet.task import Task
from lacunet.visits.numbers import Comparison, RegionChange, Verdict
from lacunet.visits.pair import Pair
from lacunet.visits.placed import Laid

NOTHING_IN_COMMON = (
    "No sequence is used at both visits, so a change of the tumour cannot be told from the change of sequences"
)
NO_DIAGNOSIS = "Numbers of two masks, not a diagnosis"


def signed(value: float) -> str:
    """A change of a volume, without its unit: `+12.3`, `−4.0`, `0.0`."""
    words = millilitres(abs(value))
    return words if value == 0 else f"{'+' if value > 0 else '−'}{words}"


def signed_percent(value: float) -> str:
    """`+25 %`, `−50 %`."""
    return "0 %" if abs(value) < 0.5 else f"{'+' if value > 0 else '−'}{abs(value):.0f} %"


def range_words(span: Span | None, coverage: float | None) -> str:
    """`80 %: −1.2 to +8.4`; "" without a range."""
    if span is None or coverage is None:
        return ""
    return f"{coverage * 100:g} %: {signed(span[0])} to {signed(span[1])}"


def verdict_words(common: Comparison | None, task: Task) -> str:
    """The verdict in one sentence, without its full stop; it rests on the sequences that both visits have."""
    if common is None:
        return NOTHING_IN_COMMON
    coverage, regions = common.coverage, common.regions
    parts = [
        f"{task.titles[region]} {change.verdict} by {millilitres(abs(change.ml))} ml ({_beside(change, coverage)})"
        for region, change in regions.items()
        if change.verdict in ("larger", "smaller")
    ]
    if parts:
        parts[0] += ", more than the error of measurement"
    if names := _titles("no change shown", common, task):
        parts.append(f"no change shown of the {join_words(names)}")
    if names := _titles("not known", common, task):
        parts.append(f"whether the {join_words(names)} changed is not known")
    return sentence(f"{'; '.join(parts)}, from {task.subset_title(common.earlier.subset)} at both visits")


def _titles(verdict: Verdict, one: Comparison, task: Task) -> list[str]:
    return [task.titles[region] for region, change in one.regions.items() if change.verdict == verdict]


def _beside(change: RegionChange, coverage: float | None) -> str:
    percent = "" if change.percent is None else signed_percent(change.percent)
    return ", ".join(filter(None, (percent, range_words(change.span, coverage) + " ml")))


def reasons(comparison: Comparison, task: Task) -> list[str]:
    """A sentence for each region of which it is not known whether it changed."""
    return [
        f"{sentence(task.titles[region])}: {change.why}" for region, change in comparison.regions.items() if change.why
    ]


def warnings_of(pair: Pair, laid: Laid, everything: Comparison, common: Comparison | None, task: Task) -> list[str]:
    """What a reader must not miss."""
    found = []
    if not everything.equal:
        found += _of_sequences(everything, common, task)
    both = ("earlier", pair.earlier, everything.earlier), ("later", pair.later, everything.later)
    for word, visit, measured in both:
        said = [*(one.sentence for one in visit.record.cautions), *(one.sentence for one in visit.record.doubts)]
        found += [f"The {word} visit: {words}" for words in said]
        if measured.changed:
            found.append(f"The mask of the {word} visit was changed after it was segmented, so no range holds for it")
    if not pair.named:
        found.append("Only the likeness of the scans says that both visits are of one person; make sure of it")
    if set(pair.earlier.record.inputs_sha256.values()) & set(pair.later.record.inputs_sha256.values()):
        found.append("Both visits have a scan in common, the very same file")
    if laid.judgement.verdict != "good":
        found.append(sentence(laid.judgement.sentence))
    return found


def _of_sequences(everything: Comparison, common: Comparison | None, task: Task) -> list[str]:
    first, second = (task.subset_title(one.subset) for one in (everything.earlier, everything.later))
    differ = f"The sequences differ: {first} at the earlier visit, {second} at the later one"
    if common is None:
        return [differ]
    found = [f"{differ}; the verdict rests on {task.subset_title(common.earlier.subset)}, which both have"]
    regions = common.regions
    seen = [
        f"{task.titles[region]} {signed(one.ml)} ml, and {signed(regions[region].ml)} ml from the same sequences"
        for region, one in everything.regions.items()
        if one.verdict in ("larger", "smaller") and regions[region].verdict != one.verdict
    ]
    if seen:
        found.append(f"What seems to be a change comes from the sequences: {'; '.join(seen)}")
    return found
