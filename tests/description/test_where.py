"""Where a mask lies: on both sides of an invented head, turned and moved, and in pieces."""

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.description.midline import midline_of, outline_plane
from lacunet.description.where import Where, where_of

SHAPE = (80, 96, 80)
GRID = Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))


def places(shift: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """Of each voxel in mm in a head's own axes: moved to the right, and turned about the vertical by degrees."""
    at = (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.asarray(SHAPE) - 1) / 2) * 2.0
    at[..., 0] -= shift
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return np.stack([cos * at[..., 0] + sin * at[..., 1], cos * at[..., 1] - sin * at[..., 0], at[..., 2]], axis=-1)


def found_in(mask: np.ndarray, brain: np.ndarray, grid: Grid) -> Where:
    return where_of(mask, midline_of(brain, grid), grid)


def ball(at: np.ndarray, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return ((at - np.asarray(centre)) ** 2).sum(axis=-1) < radius**2


def head(at: np.ndarray) -> np.ndarray:
    return ((at / np.array([62.0, 82.0, 66.0])) ** 2).sum(axis=-1) < 1


@pytest.mark.parametrize(("shift", "turn"), [(0, 0), (7, 0), (0, 12), (-6, -9)])
def test_a_mask_on_both_sides_is_told_from_one_on_one_side(shift, turn):
    at = places(shift, turn)
    right, left = ball(at, (32, 10, 5), 14), ball(at, (-32, 10, 5), 14)
    assert found_in(right, head(at), GRID).both_sides == 0
    assert found_in(right | left, head(at), GRID).both_sides > 0.9
    elsewhere = ball(at, (-32, -40, 5), 14)
    assert found_in(right | elsewhere, head(at), GRID).both_sides < 0.05


def test_the_share_counts_what_lies_opposite():
    at = places()
    mask = ball(at, (32, 10, 5), 16) | ball(at, (-32, 10, 5), 16) | ball(at, (32, -45, 5), 16)
    assert found_in(mask, head(at), GRID).both_sides == pytest.approx(2 / 3, abs=0.05)


def test_what_crosses_the_middle_is_not_on_both_sides():
    at = places()
    assert found_in(ball(at, (0, 10, 5), 9), head(at), GRID).both_sides == 0


def test_the_plane_is_where_the_head_is_mirrored():
    at = places(shift=7, turn=10)
    plane = outline_plane(head(at), np.array([2.0, 2.0, 2.0]))
    assert plane.normal == pytest.approx([np.cos(np.radians(10)), np.sin(np.radians(10)), 0], abs=0.03)
    middle = (np.asarray(SHAPE) - 1) / 2 * 2.0 + np.array([7.0, 0, 0])
    assert plane.distance(middle[:, None])[0] == pytest.approx(0, abs=1.0)


def test_pieces_count_if_they_are_far_from_the_largest_and_not_tiny():
    at = places()
    largest = ball(at, (30, 30, 0), 14)
    near, far, tiny = ball(at, (30, 0, 0), 8), ball(at, (30, -40, 0), 10), ball(at, (-30, 40, 0), 4)
    volume = np.count_nonzero(far) * 8 / 1000
    assert found_in(largest, head(at), GRID).distant_ml == 0
    assert found_in(largest | near, head(at), GRID).distant_ml == 0
    assert found_in(largest | near | far | tiny, head(at), GRID).distant_ml == pytest.approx(volume, rel=0.15)


def test_thin_and_thick_slices_tell_the_same():
    at = places()
    mask = ball(at, (32, 10, 5), 14) | ball(at, (-32, 10, 5), 14)
    thick = Grid((80, 96, 27), np.diag([2.0, 2.0, 6.0, 1.0]))
    assert found_in(mask[:, :, ::3], head(at)[:, :, ::3], thick).both_sides > 0.9


def test_an_empty_mask_lies_nowhere():
    at = places()
    found = found_in(np.zeros(SHAPE, bool), head(at), GRID)
    assert (found.both_sides, found.distant_ml) == (0.0, 0.0)
