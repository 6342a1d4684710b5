"""Judges every step of import by a number. The thresholds were set on real scans, and on failures made from them.

docs/import.md states how many right results pass and how many wrong ones are detected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import Grid
from lacunet.intake.align.likeness import fit_of

Verdict = Literal["good", "doubtful", "failed"]
Image = Float[np.ndarray, "x y z"]
Images = Mapping[str, Image]
Brain = Bool[np.ndarray, "x y z"]

LIKENESS = (0.85, 0.7)
"""From the first likeness of edges on, two scans are of one brain; below the second, they are of two."""

AWAY_MM = (2.0, 4.0)
"""Up to the first distance from its best place a scan lies where it belongs, beyond the second it does not."""

BRAIN_ML = ((900.0, 2000.0), (500.0, 2300.0))
"""Plausible volumes of a brain with its fluid; outside the second range it is not a brain."""

AGREEMENT = (0.93, 0.85)
"""Dice of brain masks found in two scans: good from the first value on, failed below the second."""

COVERED = (0.95, 0.3)
"""Share of the brain that a scan shows: good from the first value on, failed below the second."""

ATLAS = 0.75
"""From this Dice of the brain with the average one on, its pose is trusted."""


@dataclass(frozen=True)
class Judgement:
    """The judgement of one step.

    Attributes:
        step: `registration of t2f`, `brain`, `coverage of t1n`, ...
        value: The number that decides; the sentence says what it measures.
        verdict: `good`, `doubtful` (a person should look) or `failed`.
        sentence: For the reader.
    """

    step: str
    value: float
    verdict: Verdict
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """For import.json."""
        return {**asdict(self), "value": round(self.value, 4)}


# ---------------------------------------------------------------- registration


def judge_registrations(images: Images, reference: str, grid: Grid, brain: Brain) -> list[Judgement]:
    """Whether the scans of a case are of one brain and aligned.

    Each scan is judged against the reference. Sequences of one person can have few edges in common, so a scan that is
    not like the reference is judged against those that are, and counts as good where one of them shows the same brain.

    Args:
        images: By modality, on one grid; 0 where a scan shows nothing.
        reference: The modality of the scan that the others were aligned with.
        grid: Of all.
        brain: The case's brain.
    """
    judged: dict[str, Judgement] = {}
    trusted = [reference]
    for other in trusted:  # it grows
        for modality in images:
            before = judged.get(modality)
            if modality == reference or (before is not None and before.value >= LIKENESS[0]):
                continue
            both = ndimage.binary_fill_holes(brain & (images[modality] != 0) & (images[other] != 0))
            found = judge_registration(modality, other, images[other], images[modality], grid, np.asarray(both))
            if before is None or found.value > before.value:
                judged[modality] = found
            if found.verdict == "good":
                trusted.append(modality)
    return [judged[modality] for modality in images if modality != reference]


def judge_registration(
    modality: str,
    reference: str,
    fixed: Image,
    moving: Image,
    grid: Grid,
    brain: Brain,
) -> Judgement:
    """Whether two scans on one grid are of one brain and really aligned, judged by the tissue inside the brain.

    The number is the likeness of their edges (`likeness.Fit`). A scan of the same brain in another place fails too.
    """
    fit = fit_of(fixed, moving, grid, brain, LIKENESS[0])
    step = f"registration of {modality}"
    same = _verdict(fit.likeness, LIKENESS)
    if same == "failed" or (same == "doubtful" and fit.away_mm > AWAY_MM[0]):
        said = f"{modality} does not fit {reference}: another patient, another part of the body, or too poor a scan"
        return Judgement(step, fit.likeness, "failed", said)
    if fit.away_mm > AWAY_MM[0]:
        placed: Verdict = "failed" if fit.away_mm > AWAY_MM[1] else "doubtful"
        said = f"{modality} does not lie on {reference}: it would fit best about {fit.away_mm:.0f} mm away"
        return Judgement(step, fit.likeness, placed, said if placed == "failed" else f"{said}; look at the pictures")
    if same == "doubtful":
        said = f"{modality} may be another patient's, or a poor scan: only some of its edges are those of {reference}"
        return Judgement(step, fit.likeness, same, f"{said}; look at the pictures")
    return Judgement(step, fit.likeness, same, f"{modality} lies on {reference}, and shows the same brain")


# ---------------------------------------------------------------- brain, coverage, pose


def judge_brain(brain: Bool[np.ndarray, "x y z"], grid: Grid) -> Judgement:
    """Whether the volume of the brain is plausible."""
    volume = float(np.count_nonzero(brain)) * grid.voxel_ml
    (low, high), (least, most) = BRAIN_ML
    verdict: Verdict = "good" if low <= volume <= high else "doubtful" if least <= volume <= most else "failed"
    range_text = f"{low:.0f} to {high:.0f} ml are expected"
    sentence = {
        "good": f"the brain measures {volume:.0f} ml",
        "doubtful": f"the brain measures {volume:.0f} ml, and {range_text}: look at it",
        "failed": f"what was taken for the brain measures {volume:.0f} ml, and {range_text}",
    }[verdict]
    return Judgement("brain", volume, verdict, sentence)


def judge_agreement(votes: Sequence[Bool[np.ndarray, "x y z"]]) -> Judgement:
    """Whether the same brain was found in all scans: the smallest Dice of two brain masks."""
    value = min(brain_dice(one, two) for one, two in combinations(votes, 2))
    return _agreement(value, f"Dice {value:.2f}")


def judge_containment(votes: Sequence[Bool[np.ndarray, "x y z"]]) -> Judgement:
    """Whether the brains of scans that came without skull lie in each other: some may show less of the brain.

    The smallest share of the smaller of two brains that lies in the larger.
    """
    value = min(_overlap(one, two, float(min(one.sum(), two.sum()))) for one, two in combinations(votes, 2))
    return _agreement(value, f"{value:.0%} of the smaller lies in the larger")


def brain_dice(one: Bool[np.ndarray, "x y z"], two: Bool[np.ndarray, "x y z"]) -> float:
    """The Dice of two brains; 0 of two that are empty."""
    return _overlap(one, two, float(one.sum() + two.sum()) / 2)


def _overlap(one: Bool[np.ndarray, "x y z"], two: Bool[np.ndarray, "x y z"], voxels: float) -> float:
    """Common voxels of two brains, as a share of `voxels`; 0 where both are empty."""
    return float((one & two).sum()) / max(0.5, voxels)


def _agreement(value: float, number: str) -> Judgement:
    verdict = _verdict(value, AGREEMENT)
    sentence = {
        "good": f"the scans agree on where the brain is ({number})",
        "doubtful": f"the scans agree only in part on where the brain is ({number}); look at the pictures",
        "failed": f"the scans do not agree on where the brain is ({number})",
    }[verdict]
    return Judgement("agreement on the brain", value, verdict, sentence)


def judge_coverage(modality: str, share: float) -> Judgement:
    """How much of the brain a scan shows."""
    verdict = _verdict(share, COVERED)
    sentence = {
        "good": f"{modality} shows {share:.0%} of the brain",
        "doubtful": f"{modality} shows only {share:.0%} of the brain; what lies outside is unknown to it",
        "failed": f"{modality} shows only {share:.0%} of the brain; leave it out",
    }[verdict]
    return Judgement(f"coverage of {modality}", share, verdict, sentence)


def judge_pose(overlap: float) -> Judgement:
    """Whether the brain lies like the average one. If not, it was not rotated: that is doubtful, never a failure."""
    good = overlap >= ATLAS
    found = f"the brain lies like the average one (Dice {overlap:.2f})"
    missed = f"the brain could not be laid on the average one (Dice {overlap:.2f}); the case keeps the scan's own pose"
    return Judgement("pose", overlap, "good" if good else "doubtful", found if good else missed)


def _verdict(value: float, limits: tuple[float, float]) -> Verdict:
    good, failed = limits
    return "good" if value >= good else "doubtful" if value >= failed else "failed"
