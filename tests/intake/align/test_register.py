"""Known motions are found again, always the same way; and what registration is made of."""

import importlib.util
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from lacunet.case import Case, Grid
from lacunet.intake.align.atlas import case_grid, template, to_atlas, upright
from lacunet.intake.align.register import best_starts, coarser, head_mask, refine, register, volume_of
from lacunet.intake.align.rigid import Rigid, carry, distances, grid_of, to_itk, voxel_points
from phantoms_made import make_phantom
from small import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def patient() -> Case:
    return make_phantom(seed=11, spacing=2.0)


def thick(case: Case, modality: str, motion: Rigid, slices: float = 5.5) -> tuple[np.ndarray, Grid]:
    """A scan in upright slices, each the mean of 3 places over its depth, placed as if the head had moved."""
    count = int(case.grid.shape[2] * 2.0 / slices)
    affine = case.grid.affine.copy()
    affine[:3, 2] = 0, 0, slices / 3
    fine = Grid((case.grid.shape[0], case.grid.shape[1], 3 * count), affine)
    voxels = carry(case.images[modality], case.grid, fine, Rigid.identity())
    voxels = voxels.reshape(*fine.shape[:2], count, 3).mean(-1).astype(np.float32)
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 2]
    affine[2, 2] = slices
    return voxels, Grid((*fine.shape[:2], count), motion.matrix @ affine)


@pytest.mark.parametrize(
    ("fixed", "moving", "degrees", "shift"),
    [
        ("t1c", "t2f", (12, -10, 11), (9, -12, 13)),
        pytest.param("t2w", "t1n", (-3, 19, 4), (-18, 6, -4), marks=pytest.mark.slow),
    ],
)
def test_a_known_motion_of_a_thick_scan_is_found_to_a_millimetre(patient, fixed, moving, degrees, shift) -> None:
    brain = voxel_points(patient.images["t1n"] > 0, patient.grid)
    truth = Rigid.about(brain.mean(0), degrees, shift)
    voxels, grid = thick(patient, moving, truth)
    before = distances(Rigid.identity(), truth, brain).mean()
    found = register(volume_of(patient.images[fixed], patient.grid), volume_of(voxels, grid))
    assert before > 15
    assert distances(found.to_fixed.inverse, truth, brain).mean() < 1.0


def test_the_thicker_scan_may_be_the_fixed_one_and_the_answer_is_the_same_to_the_bit(patient) -> None:
    brain = voxel_points(patient.images["t1n"] > 0, patient.grid)
    truth = Rigid.about(brain.mean(0), (2, 3, -2), (2, 1, -3))
    voxels, grid = thick(patient, "t2w", truth)
    fixed, moving = volume_of(voxels, grid), volume_of(patient.images["t1c"], patient.grid)
    one, two = (refine(fixed, moving, Rigid.identity()) for _ in range(2))
    assert distances(one.to_fixed, truth, brain).mean() < 1.0
    np.testing.assert_array_equal(one.to_fixed.matrix, two.to_fixed.matrix)
    assert one.similarity == two.similarity > 0


def test_starts_hold_the_headers_word_when_it_is_right_and_lie_apart(patient) -> None:
    volume = volume_of(patient.images["t1c"], patient.grid)
    starts = best_starts(volume, volume_of(patient.images["t2w"], patient.grid), seed=0)
    brain = voxel_points(patient.images["t1n"] > 0, patient.grid)
    assert distances(starts[0], Rigid.identity(), brain).mean() < 12.5
    for one in range(len(starts)):
        for two in range(one):
            assert distances(starts[one], starts[two], brain).mean() > 10


def test_coarser_images_span_the_same_box_and_keep_the_mean() -> None:
    old = Grid((20, 30, 8), np.diag([1, 1, 5.5, 1.0]))
    image = to_itk(np.random.default_rng(0).random(old.shape, np.float32), old)
    small = coarser(image, 4.0)
    assert small.GetSize() == (5, 8, 8)
    for axis in range(3):
        assert small.GetSize()[axis] * small.GetSpacing()[axis] == pytest.approx(
            image.GetSize()[axis] * image.GetSpacing()[axis]
        )
    assert sitk.GetArrayViewFromImage(small).mean() == pytest.approx(0.5, abs=0.01)
    corners = [grid.affine[:3, 3] - grid.affine[:3, :3] @ np.full(3, 0.5) for grid in (old, grid_of(small))]
    np.testing.assert_allclose(*corners, atol=1e-9)


def test_the_head_is_told_from_noise(patient) -> None:
    noise = np.abs(np.random.default_rng(0).normal(0, 5, patient.grid.shape)).astype(np.float32)
    image = patient.images["t1n"] + noise
    mask, brain = head_mask(image, patient.grid), patient.images["t1n"] > 0
    assert (mask & brain).sum() > 0.99 * brain.sum()
    assert mask.sum() < 1.6 * brain.sum()


def test_a_turned_brain_is_laid_on_the_average_one(patient) -> None:
    image, brain = patient.images["t1c"], patient.images["t1c"] > 0
    points = voxel_points(brain, patient.grid)
    straight, overlap = to_atlas(image, patient.grid, brain)
    motion = Rigid.about(points.mean(0), (14, -8, 10), (20, -15, 30))
    turned = Grid(patient.grid.shape, motion.matrix @ patient.grid.affine)
    again, _ = to_atlas(image, turned, brain)
    assert overlap > 0.85
    assert straight.degrees < 12
    assert distances(again.after(motion), straight, points).mean() < 2.0


def test_the_case_grid_holds_the_average_brain_with_room_around_it() -> None:
    average, grid = template()
    laid = carry((average > 0).astype(np.float32), grid, case_grid(), Rigid.identity()) > 0.5
    assert laid.sum() == pytest.approx((average > 0).sum() * 1.5**3, rel=0.01)
    filled = np.argwhere(laid)
    assert (filled.min(0) >= 15).all()
    assert (np.array(laid.shape) - filled.max(0) >= 15).all()


def test_without_the_atlas_the_brain_is_shifted_to_the_middle_and_not_turned(patient) -> None:
    brain = patient.images["t1c"] > 0
    motion = upright(patient.grid, brain)
    assert motion.degrees == 0
    filled = np.argwhere(carry(brain.astype(np.float32), patient.grid, case_grid(), motion.inverse) > 0.5)
    middle = (filled.min(0) + filled.max(0)) / 2
    np.testing.assert_allclose(middle, (np.array(case_grid().shape) - 1) / 2, atol=1.5)


def test_the_benchmark_makes_the_same_try_again_and_its_truth_is_true(patient, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    specification = importlib.util.spec_from_file_location("registration_benchmark", BENCHMARKS / "registration.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "registration_benchmark", module)
    specification.loader.exec_module(module)
    one, two = module.make_try(4, 0, patient), module.make_try(4, 0, patient)
    np.testing.assert_array_equal(one.moving.voxels, two.moving.voxels)
    np.testing.assert_array_equal(one.truth.matrix, two.truth.matrix)
    assert one.cut
    assert one.truth.degrees <= 20
    seen = carry(one.moving.voxels, one.moving.grid, patient.grid, one.truth)
    fixed = carry(one.fixed.voxels, one.fixed.grid, patient.grid, Rigid.identity())
    both = (seen > 0) & (fixed > 0)
    assert both.sum() > 0.6 * (patient.images["t1n"] > 0).sum()
