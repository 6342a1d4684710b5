"""Whether probabilities are right: the temperature that corrects them, and their calibration error. No torch here.

All functions take single voxels of one region: a logit, and whether the voxel is in the reference.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.special import expit

VoxelLogits = Float[np.ndarray, " voxel"]
Truth = Bool[np.ndarray, " voxel"]

COLDEST, HOTTEST = 0.1, 10.0
"""The range of the search. A temperature at one of its ends is no fit."""

CONFIDENCE_BINS = 15


def fit_temperature(logits: VoxelLogits, truth: Truth) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017), from `COLDEST` to `HOTTEST`.

    The negative log-likelihood is convex in the inverse temperature, so the root of its slope is the only minimum.

    Raises:
        ValueError: there is no voxel.
    """
    if not logits.size:
        raise ValueError("no voxel to fit a temperature to")

    def slope(sharpness: float) -> float:
        return float(np.mean(logits * (expit(sharpness * logits) - truth), dtype=np.float64))

    if slope(1 / HOTTEST) >= 0:
        return HOTTEST
    if slope(1 / COLDEST) <= 0:
        return COLDEST
    return 1 / float(brentq(slope, 1 / HOTTEST, 1 / COLDEST, xtol=1e-7))


def negative_log_likelihood(logits: VoxelLogits, truth: Truth, temperature: float = 1.0) -> float:
    """Mean over voxels, in nats: ln(1 + exp(z / T)) - y z / T."""
    scaled = logits / temperature
    return float(np.mean(np.logaddexp(0, scaled) - np.where(truth, scaled, 0), dtype=np.float64))


def calibration_error(probabilities: VoxelLogits, truth: Truth, bins: int = CONFIDENCE_BINS) -> float:
    """Expected calibration error, over bins of equal width.

    In each bin, the difference between the mean probability and the share of voxels in the region; averaged over bins,
    weighted by their voxels. 0 is perfect.
    """
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    said = np.bincount(bin_of, weights=probabilities, minlength=bins)
    true = np.bincount(bin_of, weights=truth, minlength=bins)
    return float(np.abs(said - true).sum() / probabilities.size)
