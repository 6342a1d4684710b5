"""Why a mask may be wrong: what can be seen of it, and of the scans, without knowing the truth.

Where there is a doubt, neither a Dice nor a range of a volume is stated: both are of cases unlike this one. The limits
were measured: docs/results.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lacunet.data.scan_facts import ScanFacts
from lacunet.description.where import FAR, Where
from lacunet.evaluation.agreement import Agreement
from lacunet.evaluation.fit import Fit
from lacunet.models.calibration import Calibration, Seen
from lacunet.report.page import dice_words, millilitres
from lacunet.segmentation.bad_scan import bad_scan_of, recommendation
from lacunet.stats.intervals import Span
from lacunet.task import METS, Subset, Task

Kind = Literal[
    "nothing found", "bad scan", "disagreement", "both sides", "pieces", "volume", "brain", "voxels", "shading"
]

USUAL_AGREEMENT: Mapping[int, float] = {2: 0.42, 3: 0.60, 4: 0.73}
"""By number of sequences: the whole tumour's mean Dice with the masks from parts of the sequences, in 19 of 20 cases of
the first model that was `default` (docs/results.md). For models whose calibration does not say it."""
BOTH_SIDES = 0.35
"""A tumour seldom has so much of itself at the same places on both sides."""
DISTANT_ML = 10.0
"""A glioma seldom has so much of itself far from its largest piece."""
SHADED = 1.8
"""Few scans are so many times brighter in one place than in another."""


@dataclass(frozen=True)
class Doubt:
    """A reason why a mask may be wrong.

    Attributes:
        kind: For programs.
        sentence: For people.
    """

    kind: Kind
    sentence: str


@dataclass(frozen=True)
class Signs:
    """What can be seen of a mask and of its scans.

    Attributes:
        volumes: ml by region, after post-processing.
        agreement: With the masks from parts of the subset; None for a single modality.
        where: Where the largest region lies.
        facts: What the scans are like.
        fits: How well each modality fits the others; empty for fewer than three.
        taken_out_ml: The pieces that post-processing left out of the mask, the largest first.
    """

    volumes: Mapping[str, float]
    agreement: Agreement | None
    where: Where
    facts: ScanFacts
    fits: Mapping[str, Fit] = field(default_factory=dict)
    taken_out_ml: Sequence[float] = ()


def doubts_of(task: Task, subset: Subset, signs: Signs, calibration: Calibration | None) -> list[Doubt]:
    """Why the mask may be wrong as a whole; nothing in nine of ten usual cases.

    Args:
        task: Names and orders.
        subset: The modalities used.
        signs: What can be seen of the mask.
        calibration: Of the model; None, or an older one, leaves out some doubts and judges others by common limits.
    """
    seen = calibration.seen if calibration else None
    return [
        *_of_volume(task, signs, seen),
        *_of_fits(task, subset, signs.fits),
        *_of_agreement(task, subset, signs.agreement, calibration),
        *_of_place(task, signs.where),
        *_of_scans(task, signs.facts, seen),
    ]


def usual_agreement(task: Task, subset: Subset, region: str, calibration: Calibration | None) -> float | None:
    """How far the masks from parts of the subset agree in nearly all cases; None where that is not known."""
    expected = calibration.expected(task.subset_name(subset)).get(region) if calibration else None
    if expected is not None and expected.agreement is not None:
        return expected.agreement
    return USUAL_AGREEMENT.get(len(subset)) if region == _whole(task) else None


def unreliable_regions(
    task: Task, subset: Subset, signs: Signs, calibration: Calibration | None
) -> dict[str, list[Doubt]]:
    """Regions inside the whole that are less certain than usual from this subset, or of another size, and why.

    Args:
        task: Names and orders.
        subset: The modalities used.
        signs: What can be seen of the mask.
        calibration: Of the model; without one nothing is known of these regions.
    """
    inner = [region for region in task.regions if region != _whole(task)]
    found = {region: [*_of_region(task, subset, region, signs, calibration)] for region in inner}
    return {region: doubts for region, doubts in found.items() if doubts}


def _of_region(
    task: Task, subset: Subset, region: str, signs: Signs, calibration: Calibration | None
) -> Iterator[Doubt]:
    usual, agreement = usual_agreement(task, subset, region, calibration), signs.agreement
    if agreement is not None and usual is not None and agreement.dice(region) < usual:
        yield Doubt(
            "disagreement",
            f"{region.upper()} is unreliable here: the masks from parts of the sequences agree with it less than usual "
            f"({_agreement_words(agreement.dice(region), usual)})",
        )
    if signs.volumes[region] > 0:  # a tumour need not have every region
        yield from _of_size(task, region, signs, calibration.seen if calibration else None)


def _whole(task: Task) -> str:
    return next(iter(task.regions))


def _of_volume(task: Task, signs: Signs, seen: Seen | None) -> Iterator[Doubt]:
    if signs.volumes[_whole(task)] == 0:
        said = (
            "All that the model outlined is too doubtful for the mask" if signs.taken_out_ml else "No tumour was found"
        )
        yield Doubt("nothing found", f"{said}, and the model was measured on cases that have a tumour")
    else:
        yield from _of_size(task, _whole(task), signs, seen)


def _of_size(task: Task, region: str, signs: Signs, seen: Seen | None) -> Iterator[Doubt]:
    known, volume = seen.volume_ml.get(region) if seen else None, signs.volumes[region]
    if known is not None and not known.low <= volume <= known.high:
        yield Doubt(
            "volume",
            f"The {task.titles[region]} found has {millilitres(volume)} ml, those of the cases that the model was "
            f"calibrated with {millilitres(known.low)} to {millilitres(known.high)} ml",
        )


def _of_fits(task: Task, subset: Subset, fits: Mapping[str, Fit]) -> Iterator[Doubt]:
    if bad := bad_scan_of(fits):
        yield Doubt("bad scan", recommendation(task, subset, bad))


def _of_agreement(
    task: Task, subset: Subset, agreement: Agreement | None, calibration: Calibration | None
) -> Iterator[Doubt]:
    whole = _whole(task)
    usual = usual_agreement(task, subset, whole, calibration)
    if agreement is None or usual is None or not agreement.dice(whole) < usual:
        return
    least, most = (
        f"{millilitres(agreement.parts[name].volumes_ml[whole])} ml from {task.subset_title(task.subset(name))}"
        for name in agreement.extremes(whole)
    )
    words = _agreement_words(agreement.dice(whole), usual)
    yield Doubt("disagreement", f"The sequences disagree: {task.titles[whole]} {least}, {most} ({words})")


def _agreement_words(found: float, usual: float) -> str:
    return f"mean Dice with this mask {dice_words(found)}, usually at least {dice_words(usual)}"


def _of_place(task: Task, where: Where) -> Iterator[Doubt]:
    title = task.titles[_whole(task)]
    if where.both_sides > BOTH_SIDES:
        yield Doubt(
            "both sides",
            f"{100 * where.both_sides:.0f} % of the {title} found lies at the same places on both sides of the brain, "
            "as anatomy and shading do and tumours seldom do",
        )
    if where.distant_ml > DISTANT_ML and task.name != METS.name:  # metastases are often several
        yield Doubt(
            "pieces",
            f"{millilitres(where.distant_ml)} ml of the {title} found lie more than {FAR:g} mm from its largest piece: "
            "a second tumour or a false finding",
        )


def _of_scans(task: Task, facts: ScanFacts, seen: Seen | None) -> Iterator[Doubt]:
    if seen is not None and not _near(facts.brain_ml, seen.brain_ml.span, 1.1):
        yield Doubt(
            "brain",
            f"The scans show {facts.brain_ml:.0f} ml of brain, those that the model was calibrated with "
            f"{seen.brain_ml.low:.0f} to {seen.brain_ml.high:.0f} ml",
        )
    if seen is not None and not _near(facts.voxel_mm, seen.voxel_mm.span, 1.5):
        yield Doubt(
            "voxels",
            f"The longest side of a voxel is {facts.voxel_mm:.2g} mm, of the scans that the model was calibrated with "
            f"{_span_words(seen.voxel_mm.span)} mm",
        )
    limit = seen.shading.high if seen else SHADED
    if shaded := {modality: factor for modality, factor in facts.shading.items() if factor > limit}:
        worst = max(shaded, key=lambda modality: shaded[modality])
        than = "those that the model was calibrated with" if seen else "most scans"
        yield Doubt(
            "shading",
            f"{task.titles[worst]} is unevenly bright: {shaded[worst]:.2f} times brighter in one place than in "
            f"another, {than} at most {limit:.2f} times",
        )


def _near(value: float, span: Span, factor: float) -> bool:
    """Whether a value lies in a range, or beyond its ends by no more than this factor."""
    low, high = span
    return low / factor <= value <= high * factor


def _span_words(span: Span) -> str:
    low, high = (f"{end:.2g}" for end in span)
    return low if low == high else f"{low} to {high}"
