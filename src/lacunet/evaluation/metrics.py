"""How well a prediction agrees with a reference: Dice, HD95, volumes, AURC. No torch here.

Definitions, policies and measured speed: docs/metrics.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan, prod
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from lacunet.case import box_around
from lacunet.errors import UsageError, nearest
from lacunet.evaluation.surfaces import Mask, Spacing, between_surfaces, distance_quantile
from lacunet.task import Task


@dataclass(frozen=True)
class MetricPolicy:
    """The scores where the formula gives none, because one mask or both masks are empty.

    Attributes:
        name: Written into every table.
        summary: One sentence for people.
        source: Who uses it.
        dice_both_empty: Dice where both masks are empty.
        dice_one_empty: Dice where exactly one of the masks is empty.
        hd95_both_empty: HD95 in mm where both are empty; NaN is left out of means and counted.
        hd95_one_empty: HD95 in mm where exactly one of the masks is empty; NaN likewise.
        distance: `larger` of the two directed percentiles (as MONAI), the percentile of the two directed
            sets `pooled` (as medpy), or `none`: HD95 is not measured (NaN): it takes most of the time of a score.
    """

    name: str
    summary: str
    source: str
    dice_both_empty: float = 1.0
    dice_one_empty: float = 0.0
    hd95_both_empty: float = 0.0
    hd95_one_empty: float = 373.13
    distance: Literal["larger", "pooled", "none"] = "larger"


BRATS = MetricPolicy(
    name="brats",
    summary="An empty region found empty is perfect (Dice 1, HD95 0 mm); one empty mask is the worst there is "
    "(Dice 0, HD95 373.13 mm, the diagonal of the 240 x 240 x 155 mm grid).",
    source="evaluation platform of the BraTS challenges",
)

POLICIES = (
    BRATS,
    MetricPolicy(
        name="brats-pooled",
        summary="As brats, with the distances of both directions pooled before the percentile is taken.",
        source="medpy.metric.binary.hd95 with the empty cases of BraTS",
        distance="pooled",
    ),
    MetricPolicy(
        name="rfnet",
        summary="Dice as brats (its 1e-8 above and below the line gives 1 and 0); no HD95 where a mask is empty, "
        "since the code reports none.",
        source="github.com/dyh127/RFNet, predict.py; mmFormer and IM-Fuse use the same",
        hd95_both_empty=nan,
        hd95_one_empty=nan,
    ),
    MetricPolicy(
        name="m3ae",
        summary="Dice as brats; HD95 is 0 mm as soon as either mask is empty, so that a missed region has the best "
        "distance.",
        source="github.com/ccarliu/m3ae, utils.py and test_18_smu.py",
        hd95_one_empty=0.0,
    ),
    MetricPolicy(
        name="m2ftrans",
        summary="Dice as brats; HD95 is 0 mm where both masks are empty and 1 mm where one is.",
        source="github.com/Jun-Jie-Shi/M2FTrans, after ACN and SMU-Net",
        hd95_one_empty=1.0,
    ),
    MetricPolicy(
        name="demoseg",
        summary="Dice as brats; HD95 of both directions pooled, and left out where either mask is empty.",
        source="github.com/kk42yy/DeMoSeg, evaluation/Metric.py",
        hd95_both_empty=nan,
        hd95_one_empty=nan,
        distance="pooled",
    ),
)
"""Every policy there is, the default first."""


@dataclass(frozen=True)
class RegionScore:
    """Agreement on one region of one case.

    Attributes:
        dice: 0 to 1.
        hd95: mm, or NaN where the policy gives none.
        reference_ml: Volume of the reference.
        prediction_ml: Volume of the prediction.
        reference_empty: The reference has no voxel of the region, so the policy decides the scores.
        prediction_empty: The prediction has no voxel of the region.
    """

    dice: float
    hd95: float
    reference_ml: float
    prediction_ml: float
    reference_empty: bool
    prediction_empty: bool


def policy_names() -> tuple[str, ...]:
    """Names that `get_policy` knows, the default first."""
    return tuple(policy.name for policy in POLICIES)


def get_policy(name: str) -> MetricPolicy:
    """The policy of this name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    for policy in POLICIES:
        if policy.name == name:
            return policy
    known = policy_names()
    raise UsageError(f"unknown metric policy '{name}'{nearest(name, known)}; known: {', '.join(known)}")


def dice(prediction: Mask, reference: Mask, policy: MetricPolicy = BRATS) -> float:
    """Twice the common voxels divided by the voxels of both masks; 0 to 1."""
    return _dice(_count(prediction & reference), _count(prediction), _count(reference), policy)


def hd95(prediction: Mask, reference: Mask, spacing: Spacing, policy: MetricPolicy = BRATS) -> float:
    """The 95 % Hausdorff distance in mm, as the policy defines it; NaN only where the policy gives none."""
    if policy.distance == "none":
        return nan
    there, expected = bool(prediction.any()), bool(reference.any())
    if not there and not expected:
        return policy.hd95_both_empty
    if not there or not expected:
        return policy.hd95_one_empty
    towards, back = between_surfaces(prediction, reference, spacing)
    if policy.distance == "pooled":
        return distance_quantile([towards, back], 0.95)
    return max(distance_quantile([towards], 0.95), distance_quantile([back], 0.95))


def volume_ml(mask: Mask, spacing: Spacing) -> float:
    """Volume of a mask in millilitres."""
    return _count(mask) * prod(spacing) / 1000.0


def region_masks(labels: UInt8[np.ndarray, "x y z"], task: Task) -> dict[str, Mask]:
    """The mask of each region of the task, from labels inside lacunet."""
    return {
        region: np.logical_or.reduce([labels == label for label in members]) for region, members in task.regions.items()
    }


def score_regions(
    prediction: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    spacing: Spacing,
    policy: MetricPolicy = BRATS,
) -> dict[str, RegionScore]:
    """Score each region of a prediction against the reference, in the reference's order of regions.

    Args:
        prediction: A boolean mask `x y z` per region.
        reference: Masks of the same regions and shape.
        spacing: mm.
        policy: What empty masks score.

    Raises:
        ValueError: regions or shapes differ, or a mask is not boolean.
    """
    if set(prediction) != set(reference):
        raise ValueError(f"regions differ: {sorted(prediction)} predicted, {sorted(reference)} in the reference")
    return {region: score(prediction[region], reference[region], spacing, policy) for region in reference}


def score(prediction: np.ndarray, reference: np.ndarray, spacing: Spacing, policy: MetricPolicy = BRATS) -> RegionScore:
    """All scores of one mask against its reference; arguments as for `score_regions`, one mask each."""
    _check(prediction, reference)
    box = box_around(prediction | reference)
    prediction, reference = prediction[box], reference[box]
    found, expected = _count(prediction), _count(reference)
    return RegionScore(
        dice=_dice(_count(prediction & reference), found, expected, policy),
        hd95=hd95(prediction, reference, spacing, policy),
        reference_ml=volume_ml(reference, spacing),
        prediction_ml=volume_ml(prediction, spacing),
        reference_empty=expected == 0,
        prediction_empty=found == 0,
    )


def aurc(means_by_size: Sequence[float], *, normalise: bool = False) -> float:
    """Area under the robustness curve (Xie et al. 2025, CCSD, section 4.6).

    Args:
        means_by_size: Mean score over the subsets of 1, 2, ... N modalities.
        normalise: Divide by the length N - 1 of the axis, so that the area of a constant score is that score.

    Raises:
        ValueError: fewer than two sizes span no area.
    """
    if len(means_by_size) < 2:
        raise ValueError(f"a robustness curve needs two sizes of subset or more, not {len(means_by_size)}")
    area = sum((left + right) / 2 for left, right in pairwise(means_by_size))
    return area / (len(means_by_size) - 1) if normalise else area


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))


def _dice(shared: int, found: int, expected: int, policy: MetricPolicy) -> float:
    if found == 0 and expected == 0:
        return policy.dice_both_empty
    if found == 0 or expected == 0:
        return policy.dice_one_empty
    return 2 * shared / (found + expected)


def _check(prediction: np.ndarray, reference: np.ndarray) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(f"shapes differ: prediction {prediction.shape}, reference {reference.shape}")
    if prediction.dtype != np.bool_ or reference.dtype != np.bool_:
        raise ValueError(f"masks are boolean, not {prediction.dtype} and {reference.dtype}")
