"""Where slices lie: their directions and heights, compared within stated tolerances.

Never by rounding: two numbers that differ in the last digit could fall on two sides of a rounding edge."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from lacunet.intake.read.frames import Slice

ORIENTATION_TOLERANCE = 0.01
"""Direction cosines that differ by less are one direction (half a degree). Rounded exports differ by up to 0.001;
planes of a localiser, or stacks of several angles, by far more."""

SAME_PLACE_MM = 0.1
"""Slices nearer to each other lie at one place. No head is scanned in steps as small; positions are rounded to 0.1 mm
at most."""

UNEVEN_MM = 0.25
"""Slices farther than this from equal distances are interpolated, with a warning."""

UNEVEN_SHARE = 0.2
"""The same as a share of the distance between slices, for slices thinner than a millimetre: where one is missing in the
middle, its neighbours are half a step off."""

EXACT_MM = 1e-4
"""Positions nearer to equal distances than this are exact; a line is fitted to all others."""

ROUNDED_MM = 0.02
"""Positions rounded to 0.01 mm are less than this from equal distances; from here on the user is told."""


def alike(values: Float[np.ndarray, "values numbers"], tolerance: float) -> Int[np.ndarray, " values"]:
    """The group of each value, counted from 0: values nearer to each other than the tolerance, in every number, are
    in one group, also by way of values in between."""
    unique, inverse = np.unique(values, axis=0, return_inverse=True)
    group = np.full(len(unique), -1)
    count = 0
    for start in range(len(unique)):
        if group[start] >= 0:
            continue
        waiting = [start]
        group[start] = count
        while waiting:
            far = np.abs(unique - unique[waiting.pop()]).max(axis=1)
            near = np.flatnonzero((group < 0) & (far <= tolerance))
            group[near] = count
            waiting += near.tolist()
        count += 1
    return np.asarray(group[inverse.reshape(-1)])


def orientations(slices: Sequence[Slice]) -> int:
    """In how many directions slices lie; 0 where one of them does not say."""
    given = {one.orientation for one in slices}
    if None in given or not given:
        return 0
    return int(alike(np.array(sorted(one for one in given if one), float), ORIENTATION_TOLERANCE).max()) + 1


def directions(slices: Sequence[Slice]) -> Float[np.ndarray, "2 3"] | None:
    """Unit vectors along the rows and down the columns (LPS+), at right angles, of slices that lie in one direction.

    The mean, where they differ in the last digits. None where a header does not state them, or not as unit vectors."""
    if orientations(slices) != 1:
        return None
    given = np.array([one.orientation for one in slices], float)
    along, down = (given[0] if (given == given[0]).all() else given.mean(axis=0)).reshape(2, 3)
    if not all(0.9 < np.linalg.norm(axis) < 1.1 for axis in (along, down)) or abs(along @ down) > 0.1:
        return None
    along = along / np.linalg.norm(along)
    down = down - along * (along @ down)
    return np.stack([along, down / np.linalg.norm(down)])


def heights(slices: Sequence[Slice], normal: Float[np.ndarray, "3"] | None) -> Float[np.ndarray, " slices"]:
    """The position of each slice along the normal, mm; empty where one is not known."""
    if normal is None or any(one.position is None for one in slices):
        return np.zeros(0)
    return np.asarray(np.array([one.position for one in slices], float) @ normal)


def unevenness(sorted_heights: Float[np.ndarray, " slices"]) -> float:
    """Largest distance of a slice from its position at equal distances between the first and the last, mm."""
    if len(sorted_heights) < 3:
        return 0.0
    even = np.linspace(sorted_heights[0], sorted_heights[-1], len(sorted_heights))
    return float(np.abs(sorted_heights - even).max())


def is_even(sorted_heights: Float[np.ndarray, " slices"]) -> bool:
    """Whether slices lie at different places and at equal distances, as nearly as matters."""
    steps = np.diff(sorted_heights)
    if len(steps) and steps.min() < SAME_PLACE_MM:
        return False
    limit = min(UNEVEN_MM, UNEVEN_SHARE * float(np.median(steps))) if len(steps) else UNEVEN_MM
    return bool(unevenness(sorted_heights) <= limit)
