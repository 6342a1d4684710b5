"""Motions in mm against nibabel's affines and scipy's interpolation."""

import json
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage

from lacunet.case import Grid
from lacunet.intake.align.rigid import (
    Rigid,
    carry,
    centre_of,
    distances,
    from_itk,
    grid_of,
    grown,
    motion_of,
    to_itk,
    transform_of,
    voxel_points,
)

MOTION = Rigid.about((10, -20, 30), (7, -11, 17), (3, 5, -8))


def oblique(spacing: tuple[float, float, float], shape: tuple[int, int, int], order=(0, 1, 2), signs=(1, 1, 1)) -> Grid:
    affine = Rigid.about((0, 0, 0), (12, 5, -20), (0, 0, 0)).matrix.copy()
    affine[:3, :3] = affine[:3, :3] @ (np.eye(3)[:, order] * signs) @ np.diag(spacing)
    grid = Grid(shape, affine)
    affine[:3, 3] = -centre_of(grid)
    return grid


def test_a_quarter_turn_about_the_upward_axis_takes_right_to_front() -> None:
    turn = Rigid.about((0, 0, 0), (0, 0, 90), (0, 0, 5))
    np.testing.assert_allclose(turn.move(np.array([[2.0, 0, 0]])), [[0, 2, 5]], atol=1e-12)
    assert turn.degrees == pytest.approx(90)
    assert Rigid.identity().degrees == 0


def test_a_turn_leaves_its_centre_where_the_shift_takes_it() -> None:
    np.testing.assert_allclose(MOTION.move(np.array([[10.0, -20, 30]])), [[13, -15, 22]], atol=1e-12)


def test_inverse_and_composition_are_those_of_the_matrices() -> None:
    other = Rigid.about((1, 2, 3), (-3, 40, 8), (9, 9, 9))
    np.testing.assert_allclose(MOTION.inverse.matrix, np.linalg.inv(MOTION.matrix), atol=1e-12)
    points = np.random.default_rng(0).normal(0, 50, (20, 3))
    np.testing.assert_allclose(MOTION.after(other).move(points), MOTION.move(other.move(points)), atol=1e-9)
    assert distances(MOTION, MOTION, points).max() == 0
    assert distances(Rigid.identity(), Rigid.about((0, 0, 0), (0, 0, 0), (3, 4, 0)), points) == pytest.approx(5)


def test_json_keeps_a_motion_to_the_bit() -> None:
    again = Rigid.from_json(json.loads(json.dumps(MOTION.to_json())))
    np.testing.assert_array_equal(again.matrix, MOTION.matrix)


@pytest.mark.parametrize("bad", [np.eye(3), np.diag([2.0, 1, 1, 1]), np.diag([-1.0, 1, 1, 1]), np.ones((4, 4)), "x"])
def test_what_is_no_rigid_motion_is_refused(bad) -> None:
    with pytest.raises(ValueError, match=r"rigid motion|rotate and shift|could not convert"):
        Rigid.from_json(bad.tolist() if isinstance(bad, np.ndarray) else bad)


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (33.0, -4.0, 80.0)])
def test_simpleitk_turns_and_shifts_the_same_way(centre) -> None:
    transform = transform_of(MOTION, centre)
    np.testing.assert_allclose(motion_of(transform).matrix, MOTION.matrix, atol=1e-9)
    ras = np.array([4.0, 5.0, 6.0])
    lps = np.array(transform.TransformPoint((ras * [-1, -1, 1]).tolist()))
    np.testing.assert_allclose(lps * [-1, -1, 1], MOTION.move(ras[None])[0], atol=1e-9)


@pytest.mark.parametrize(("order", "signs"), list(product(permutations(range(3)), [(1, 1, 1), (-1, 1, -1)])))
def test_an_image_lies_where_nibabel_says(order, signs) -> None:
    grid = oblique((1.0, 2.0, 5.5), (7, 8, 9), order, signs)
    voxels = np.random.default_rng(0).random(grid.shape, np.float32)
    image = to_itk(voxels, grid)
    np.testing.assert_array_equal(from_itk(image), voxels)
    np.testing.assert_allclose(grid_of(image).affine, grid.affine, atol=1e-9)
    point = apply_affine(nib.Nifti1Image(voxels, grid.affine).affine, (2, 3, 4))
    np.testing.assert_allclose(np.array(image.TransformIndexToPhysicalPoint((2, 3, 4))) * [-1, -1, 1], point, atol=1e-5)


def test_carrying_is_scipys_linear_interpolation_through_the_affines() -> None:
    source, target = oblique((1.2, 0.9, 3.0), (40, 44, 16)), Grid((30, 30, 30), np.diag([1.0, 1, 1, 1]))
    target.affine[:3, 3] = -15
    voxels = ndimage.gaussian_filter(np.random.default_rng(0).random(source.shape, np.float32), 1.0)
    ours = carry(voxels, source, target, MOTION_SMALL := Rigid.about((0, 0, 0), (4, 9, -6), (2, -1, 1)))
    through = np.linalg.inv(source.affine) @ MOTION_SMALL.matrix @ target.affine
    theirs = ndimage.affine_transform(voxels, through[:3, :3], through[:3, 3], target.shape, order=1, cval=np.nan)
    inside = np.isfinite(theirs)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=2e-4)


def test_carrying_there_and_back_by_whole_voxels_loses_nothing() -> None:
    grid = Grid((10, 11, 12), np.diag([2.0, 2, 2, 1]))
    voxels = np.zeros(grid.shape, np.uint8)
    voxels[3:6, 4:7, 5:8] = np.arange(27).reshape(3, 3, 3)
    shift = Rigid.about((0, 0, 0), (0, 0, 0), (4, -2, 6))
    there = carry(voxels, grid, grid, shift, nearest=True)
    np.testing.assert_array_equal(there[1:4, 5:8, 2:5], voxels[3:6, 4:7, 5:8])
    np.testing.assert_array_equal(carry(there, grid, grid, shift.inverse, nearest=True), voxels)


def test_points_are_centres_of_voxels_and_never_too_many() -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[1, 2, 3] = True
    grid = oblique((1.0, 2.0, 3.0), mask.shape)
    np.testing.assert_allclose(voxel_points(mask, grid), [apply_affine(grid.affine, (1, 2, 3))])
    assert len(voxel_points(np.ones((20, 20, 20), bool), grid, 100)) <= 100


def test_a_margin_is_measured_in_mm_along_each_axis() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    around = grown(mask, Grid(mask.shape, np.diag([1.0, 2.0, 5.5, 1])), 4.0)
    assert [int(np.ptp(axis)) + 1 for axis in np.nonzero(around)] == [9, 5, 3]
