"""How unevenly bright a scan is: the smooth factor that a coil leaves, measured without correcting it. No torch here.

The logarithm of a scan is anatomy plus a smooth field. Neighbouring voxels mostly belong to one tissue, so most
differences between them are those of the field; edges of tissues and of tumours are few and large. A polynomial of
degree 3 is therefore fitted to the differences so that the sum of absolute deviations is smallest, which few large ones
hardly move (Zheng et al., MICCAI 2009, sparseness of gradients). A lesion does not count, but for its outline.
tests/data/test_shading.py measures fields that are known.
"""

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import Grid, box_around

_STEP = 6.0
"""Side of the blocks that voxels are averaged to, mm."""
_DEGREE = 3
_ROUNDS = 15
"""Of re-weighting."""
_LEAST = 0.02
"""Deviations below it weigh alike: noise of a block."""
_DARKEST = 0.1
"""Of the median: darker blocks count as this dark, since the logarithm of fluid can be anything."""
_FEWEST = 100
"""Blocks of brain; fewer tell nothing."""


def shading(image: Float[np.ndarray, "x y z"], grid: Grid) -> float:
    """How many times brighter the field is where it is brightest than where it is darkest: from 1 on.

    Brightest and darkest are its 95th and 5th percentile in the brain.

    Args:
        image: A scan without skull, 0 outside the brain.
        grid: Its grid.

    Returns:
        1 where there is too little brain to tell.
    """
    blocks, filled, spacing = _blocks(image[box_around(image != 0)], grid.spacing)
    inside = ndimage.binary_erosion(filled)  # the brain's surface has a slope of its own
    if np.count_nonzero(inside) < _FEWEST:
        return 1.0
    logs = np.log(np.maximum(blocks, _DARKEST * np.median(blocks[inside])))
    terms = _terms(blocks.shape, spacing, inside)
    field = (terms @ _fit(logs, terms, inside))[filled]
    low, high = np.percentile(field, [5, 95])
    return float(np.exp(high - low))


def _blocks(
    image: Float[np.ndarray, "x y z"], spacing: Sequence[float]
) -> tuple[Float[np.ndarray, "a b c"], Bool[np.ndarray, "a b c"], list[float]]:
    """Means of blocks; those that lie in the brain as a whole; the distance between them, mm."""
    sides = [max(1, round(_STEP / size)) for size in spacing]
    beyond = [(0, -number % side) for number, side in zip(image.shape, sides, strict=True)]
    split = tuple(part for number, side in zip(image.shape, sides, strict=True) for part in (-(-number // side), side))
    values = np.pad(np.maximum(image, 0), beyond).reshape(split).mean(axis=(1, 3, 5), dtype=np.float64)
    filled = np.pad(image > 0, beyond).reshape(split).sum(axis=(1, 3, 5)) == prod(sides)
    return values, filled, [size * side for size, side in zip(spacing, sides, strict=True)]


def _terms(
    shape: Sequence[int], spacing: Sequence[float], inside: Bool[np.ndarray, "a b c"]
) -> Float[np.ndarray, "a b c term"]:
    """All products of powers of the place, in decimetres from the middle, but for the constant."""
    places = np.moveaxis(np.indices(tuple(shape)), 0, -1) * np.asarray(spacing) / 100.0
    places = places - places[inside].mean(axis=0)
    powers = [one for one in product(range(_DEGREE + 1), repeat=3) if 0 < sum(one) <= _DEGREE]
    return np.stack([np.prod(places ** np.asarray(one), axis=-1) for one in powers], axis=-1)


def _fit(
    logs: Float[np.ndarray, "a b c"], terms: Float[np.ndarray, "a b c term"], inside: Bool[np.ndarray, "a b c"]
) -> Float[np.ndarray, " term"]:
    """The factors whose differences between neighbours have the smallest sum of absolute deviations."""
    slopes, steps = [], []
    for axis in range(3):
        here, there = (tuple(slice(*ends) if own == axis else slice(None) for own in range(3))
                       for ends in ((None, -1), (1, None)))  # fmt: skip
        both = inside[here] & inside[there]
        slopes.append((terms[there] - terms[here])[both])
        steps.append((logs[there] - logs[here])[both])
    slope, step = np.concatenate(slopes), np.concatenate(steps)
    weight = np.ones(len(step))
    factors = np.zeros(slope.shape[1])
    ridge = 1e-9 * np.eye(slope.shape[1])
    for _ in range(_ROUNDS):
        weighted = slope * weight[:, None]
        factors = np.linalg.solve(slope.T @ weighted + ridge, weighted.T @ step)
        weight = 1.0 / np.maximum(np.abs(step - slope @ factors), _LEAST)
    return factors
