"""Diameters, foci, side and distance to the midline, of shapes whose numbers are known."""

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.data.midplane import Plane
from lacunet.description.pose import Pose
from lacunet.description.shape import diameters_of, shape_of

SHAPE = (80, 90, 40)
POSE = Pose(Plane(np.array([1.0, 0.0, 0.0]), 0.0), None)


def grid(*spacing: float) -> Grid:
    """The middle of the array lies at the origin."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.asarray(SHAPE) - 1) / 2 * spacing
    return Grid(SHAPE, affine)


def places(of: Grid) -> np.ndarray:
    return np.moveaxis(np.indices(SHAPE), 0, -1) @ of.affine[:3, :3].T + of.affine[:3, 3]


def ellipsoid(of: Grid, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    return (((places(of) - centre) / np.asarray(radii)) ** 2).sum(axis=-1) <= 1


def turned_box(of: Grid, length: float, width: float, degrees: float) -> np.ndarray:
    at, angle = places(of), np.radians(degrees)
    along = np.cos(angle) * at[..., 0] + np.sin(angle) * at[..., 1]
    aside = np.cos(angle) * at[..., 1] - np.sin(angle) * at[..., 0]
    return (np.abs(along) <= length / 2) & (np.abs(aside) <= width / 2) & (np.abs(at[..., 2]) < 3)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 5), (0.5, 1, 2)])
def test_an_ellipsoid_has_its_two_axes_in_the_slice_through_its_middle(spacing):
    of = grid(*spacing)
    found = diameters_of(ellipsoid(of, (0, 0, 0), (9.0, 18.0, 7.0)), of)
    in_slice = np.sqrt(1 - (spacing[2] / 2 / 7) ** 2)  # the middle lies between two slices
    assert found.longest == pytest.approx(36 * in_slice, abs=1.2)
    assert found.across == pytest.approx(18 * in_slice, abs=1.2)
    assert found.product == found.longest * found.across
    assert abs(found.slice - 19.5) * spacing[2] < 7


@pytest.mark.parametrize("degrees", [0, 30, 45, 77])
def test_the_longest_line_of_a_box_is_its_diagonal_however_it_is_turned(degrees):
    of = grid(1, 1, 1)
    found = diameters_of(turned_box(of, 40, 15, degrees), of)
    diagonal = np.hypot(40, 15)
    assert found.longest == pytest.approx(diagonal, abs=2)
    assert found.across == pytest.approx(15 * diagonal / 40, abs=1.5)  # between the long sides, through the middle


def test_pieces_of_one_slice_are_measured_apart():
    of = grid(1, 1, 1)
    both = ellipsoid(of, (-20, 0, 0), (8, 8, 8)) | ellipsoid(of, (20, 0, 0), (8, 8, 8))
    assert diameters_of(both, of).longest == pytest.approx(16, abs=1.5)


def test_one_voxel_is_as_long_as_it_is():
    of = grid(2, 3, 4)
    mask = np.zeros(SHAPE, bool)
    mask[5, 6, 7] = True
    found = diameters_of(mask, of)
    assert (found.longest, found.across, found.slice) == (3.0, 2.0, 7)


def test_foci_are_counted_from_a_tenth_of_a_millilitre_on_the_largest_first():
    of = grid(1, 1, 1)
    large, small = ellipsoid(of, (20, 5, 3), (9, 9, 9)), ellipsoid(of, (-25, -10, 0), (4, 4, 4))
    speck = ellipsoid(of, (0, 35, 10), (2, 2, 2))
    found = shape_of(large | small | speck, POSE, of)
    assert [focus.ml for focus in found.foci] == pytest.approx([large.sum() / 1000, small.sum() / 1000])
    assert found.foci[0].centre == pytest.approx((20, 5, 3), abs=0.6)
    assert found.foci[1].centre == pytest.approx((-25, -10, 0), abs=0.6)
    assert [focus.measurable for focus in found.foci] == [True, False]
    assert found.largest is found.foci[0]
    assert found.voxels == (large | small | speck).sum()
    slices = [focus.diameters.slice for focus in found.foci]
    assert slices == pytest.approx([22.5, 19.5], abs=1.6)


def test_a_long_thin_focus_may_be_the_largest_by_volume_and_not_by_product():
    of = grid(1, 1, 1)
    column, disc = ellipsoid(of, (-20, 0, 0), (6, 6, 19)), ellipsoid(of, (20, 0, 0), (12, 12, 2.6))
    found = shape_of(column | disc, POSE, of)
    assert found.foci[0].centre[0] < 0
    assert found.largest.centre[0] > 0


@pytest.mark.parametrize(
    ("x", "side", "share", "distance"),
    [(20.0, "right", 1.0, 12.0), (-20.0, "left", 0.0, 12.0), (0.0, "both", 0.5, 0.0), (7.0, "right", 0.97, 0.0)],
)
def test_side_and_distance_are_counted_from_the_midline(x, side, share, distance):
    of = grid(1, 1, 1)
    found = shape_of(ellipsoid(of, (x, 0, 0), (8, 8, 8)), POSE, of).place
    assert found.side == side
    assert found.right_share == pytest.approx(share, abs=0.04)
    assert found.midline_mm == pytest.approx(distance, abs=0.6)


def test_the_midline_may_be_moved():
    of = grid(1, 1, 1)
    found = shape_of(ellipsoid(of, (20, 0, 0), (8, 8, 8)), Pose(Plane(np.array([1.0, 0.0, 0.0]), 32.0), None), of).place
    assert (found.side, found.midline_mm) == ("left", pytest.approx(4.0, abs=0.6))


def test_an_empty_mask_has_no_shape_and_a_speck_no_focus():
    of = grid(1, 1, 1)
    mask = np.zeros(SHAPE, bool)
    assert shape_of(mask, POSE, of) is None
    mask[50, 50, 20] = True
    found = shape_of(mask, POSE, of)
    assert (found.voxels, found.foci, found.largest) == (1, (), None)


def test_nothing_is_said_of_a_place_where_nobody_knows_how_the_brain_lies():
    of = grid(1, 1, 1)
    mask = ellipsoid(of, (20, 0, 0), (8, 8, 8))
    assert shape_of(mask, None, of).place is None
    assert shape_of(mask, POSE, of).place.lobes is None  # the brain does not fit the average one
