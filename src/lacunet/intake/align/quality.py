"""Judges every step of import by a number. The thresholds were set on real scans, and on failures made from them.

docs/import.md states how many right results pass and how many wrong ones are detected.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import Grid, box_around
from lacunet.intake.align.rigid import Rigid, voxel_points

Verdict = Literal["good", "doubtful", "failed"]

JUDGING_BINS = 32
"""Grey values that the joint histogram tells apart along either axis."""

JUDGING_SPACING_MM = 2.0
"""Scans are compared on voxels averaged to about this size."""

MARGIN_VOXELS = 2
"""The outermost voxels of the brain are left out: where scans are stripped alike, its outline would count too much."""

MOST_POINTS = 40_000
"""At most so many voxels are compared."""

LEAST_POINTS = 500
"""With fewer voxels, the fit is not measured and counts as failed."""

SHIFT_MM = 8.0
TURN_DEGREES = 8.0
"""How far a scan is moved to see whether it fits better elsewhere."""

PEAK = (1.1, 0.8)
"""From the first value on a registration is good, below the second it has failed."""

EDGES = 0.25
"""A doubtful fit has failed where the edges of the two scans correlate less than this: another patient's brain fits
roughly too."""

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


def judge_registration(
    modality: str,
    reference: str,
    fixed: Float[np.ndarray, "x y z"],
    moving: Float[np.ndarray, "x y z"],
    grid: Grid,
    brain: Bool[np.ndarray, "x y z"],
) -> Judgement:
    """Whether two scans on one grid are really aligned, judged by the tissue inside the brain (`peak`)."""
    value, edges = _fit(fixed, moving, grid, brain)
    verdict = _verdict(value, PEAK)
    if verdict == "doubtful" and edges < EDGES:
        verdict = "failed"
    sentence = {
        "good": f"{modality} lies on {reference}: moved by 8 mm or 8 degrees it would fit worse in every direction",
        "doubtful": f"{modality} may not lie exactly on {reference}, or be another patient's: moved by 8 mm or 8 "
        "degrees it would fit about as well; look at the pictures",
        "failed": f"{modality} does not fit {reference}: another patient, another part of the body, or too poor a scan",
    }[verdict]
    return Judgement(f"registration of {modality}", value, verdict, sentence)


def peak(
    fixed: Float[np.ndarray, "x y z"],
    moving: Float[np.ndarray, "x y z"],
    grid: Grid,
    brain: Bool[np.ndarray, "x y z"],
) -> float:
    """How much better two scans fit as they lie than after the best of twelve motions of 8 mm or 8 degrees.

    The geometric mean of two ratios: of the mutual information of their grey values, and of the rank correlation of the
    strength of their edges; both inside the brain alone. Above 1, none of the motions improves the fit.
    """
    return _fit(fixed, moving, grid, brain)[0]


def _fit(
    fixed: Float[np.ndarray, "x y z"],
    moving: Float[np.ndarray, "x y z"],
    grid: Grid,
    brain: Bool[np.ndarray, "x y z"],
) -> tuple[float, float]:
    """The peak, and the rank correlation of the strength of edges, of the scans as they lie."""
    one, two, inside, small = _smaller(fixed, moving, grid, brain)
    points = voxel_points(inside, small, MOST_POINTS)
    if len(points) < LEAST_POINTS:
        return 0.0, 0.0
    back = np.linalg.inv(small.affine)
    grey, edges = _sample(one, back, points), _sample(_edges(one), back, points)
    other_edges = _edges(two)

    def fits(motion: Rigid) -> tuple[float, float]:
        moved = motion.move(points)
        return _information(grey, _sample(two, back, moved)), _correlation(edges, _sample(other_edges, back, moved))

    here = fits(Rigid.identity())
    near = np.array([fits(motion) for motion in _trials(points.mean(0))]).max(0)
    ratios = [max(value, 0.0) / max(float(best), 1e-6) for value, best in zip(here, near, strict=True)]
    return float(np.sqrt(ratios[0] * min(ratios[1], 10.0))), here[1]


def _trials(centre: np.ndarray) -> list[Rigid]:
    """Six shifts and six rotations."""
    still = np.zeros(3)
    axes = [sign * axis for axis in np.eye(3) for sign in (-1.0, 1.0)]
    shifts = [Rigid.about(centre, still, SHIFT_MM * axis) for axis in axes]
    return shifts + [Rigid.about(centre, TURN_DEGREES * axis, still) for axis in axes]


def _smaller(
    fixed: np.ndarray, moving: np.ndarray, grid: Grid, brain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Grid]:
    """Both scans averaged over blocks of voxels within the brain, the mask of the inner brain, and their grid."""
    sides = box_around(brain)
    low, high = np.array([side.start for side in sides]), np.array([side.stop for side in sides])
    parts = [max(1, round(JUDGING_SPACING_MM / spacing)) for spacing in grid.spacing]
    high = low + (high - low) // parts * parts
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    weight = _blocks(brain[box].astype(np.float32), parts)
    means = [_blocks(image[box] * brain[box], parts) / np.maximum(weight, 1e-6) for image in (fixed, moving)]
    affine = grid.affine @ np.diag([*parts, 1.0])
    affine[:3, 3] = grid.affine[:3, :3] @ (low + (np.asarray(parts) - 1) / 2) + grid.affine[:3, 3]
    x, y, z = weight.shape
    inside = ndimage.binary_erosion(weight > 0.5, iterations=MARGIN_VOXELS)
    return means[0], means[1], np.asarray(inside), Grid((x, y, z), affine)


def _blocks(image: np.ndarray, parts: Sequence[int]) -> np.ndarray:
    x, y, z = (size // part for size, part in zip(image.shape, parts, strict=True))
    shape = (x, parts[0], y, parts[1], z, parts[2])
    return np.asarray(image.reshape(shape).mean(axis=(1, 3, 5)), dtype=np.float32)


def _edges(image: np.ndarray) -> np.ndarray:
    """Strength of the gradient at a scale of one voxel."""
    squares = [ndimage.gaussian_filter1d(image, 1.0, axis=axis, order=1) ** 2 for axis in range(3)]
    return np.asarray(np.sqrt(sum(squares)), dtype=np.float32)


def _sample(image: np.ndarray, back: np.ndarray, points: np.ndarray) -> np.ndarray:
    voxels = (points @ back[:3, :3].T + back[:3, 3]).T
    return np.asarray(ndimage.map_coordinates(image, voxels, order=1, output=np.float32, mode="nearest"))


def _information(one: np.ndarray, two: np.ndarray) -> float:
    """Mutual information in nats of two lists of grey values, in bins with equal counts."""
    flat = np.bincount(_ranks(one) * JUDGING_BINS + _ranks(two), minlength=JUDGING_BINS * JUDGING_BINS)
    joint = flat.reshape(JUDGING_BINS, JUDGING_BINS) / flat.sum()
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / product[there])).sum())


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.searchsorted(np.quantile(values, np.linspace(0, 1, JUDGING_BINS + 1)[1:-1]), values))


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    """Rank correlation (Spearman's; ties are ranked in their order)."""
    first, second = (np.argsort(np.argsort(values)).astype(np.float64) for values in (one, two))
    return float(np.corrcoef(first, second)[0, 1])


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
