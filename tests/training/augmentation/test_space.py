"""Bending a crop, and moving one modality against the others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from lacunet.training.augmentation.settings import Elastic, Misregistration
from lacunet.training.augmentation.space import Bend, Motion, cut_out, draw_bend, draw_motions, rotation

SHAPE, CROP = (40, 36, 32), (20, 18, 16)
CENTRE = np.array([19.5, 17.5, 15.5])
BEND = Bend(4, 0.15, 3)


def images() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(2, *SHAPE))
    return np.stack([ndimage.gaussian_filter(one, 2.0) * 20 for one in noise]).astype(np.float32)


def labels() -> np.ndarray:
    marked = np.zeros(SHAPE, np.uint8)
    marked[15:26, 12:22, 11:20] = 1
    return marked


def test_a_shift_by_whole_voxels_takes_the_voxels_beside() -> None:
    beside = Motion((0.0, 0.0, 0.0), (2.0, 0.0, -1.0))
    moved, marked = cut_out(images(), labels(), CENTRE, np.eye(3), CROP, motions=(beside, None))
    still, same = cut_out(images(), labels(), CENTRE, np.eye(3), CROP)
    further, _ = cut_out(images(), labels(), CENTRE + np.array([2, 0, -1]), np.eye(3), CROP)
    assert torch.allclose(moved[0], further[0], atol=1e-4)
    assert torch.allclose(moved[1], still[1], atol=1e-4)
    assert torch.equal(marked, same)


@pytest.mark.parametrize("bend", [None, BEND])
def test_a_motion_is_a_rotation_about_the_crops_centre_before_its_own(bend: Bend | None) -> None:
    matrix = rotation([0.3, -0.1, 0.2]) @ np.diag([1, -1, 1]) * 1.1
    motion = Motion((0.05, -0.03, 0.1), (0.5, -1.0, 0.7))
    moved, _ = cut_out(images(), labels(), CENTRE, matrix, CROP, bend=bend, motions=(None, motion))
    turned, shifted = matrix @ rotation(motion.angles), CENTRE + matrix @ np.asarray(motion.shift)
    expected, _ = cut_out(images(), labels(), shifted, turned, CROP, bend=bend)
    assert torch.allclose(moved[1], expected[1], atol=1e-3)


def test_a_motion_reads_beyond_the_block_of_a_still_crop() -> None:
    far = Motion((0.0, 0.0, 0.0), (8.0, 0.0, 0.0))
    moved, _ = cut_out(images() + 50, labels(), CENTRE, np.eye(3), CROP, motions=(far, None))
    assert (moved[0] > 30).all()


def test_bending_moves_images_and_labels_together() -> None:
    block = labels().astype(np.float32)[None]
    cut, marked = cut_out(block, labels(), CENTRE, np.eye(3), CROP, bend=BEND)
    straight, _ = cut_out(block, labels(), CENTRE, np.eye(3), CROP)
    sure = (cut[0] < 0.1) | (cut[0] > 0.9)
    assert torch.equal((cut[0] > 0.5)[sure], marked.bool()[sure])
    assert ((cut[0] > 0.5) != (straight[0] > 0.5)).float().mean() > 0.02


def test_bending_folds_nothing_and_has_its_strength() -> None:
    """The image holds each voxel's own place, so that a crop shows where its voxels were taken from."""
    places = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) + 100 for n in SHAPE], indexing="ij"))
    steps = []
    for seed in range(10):
        bent, _ = cut_out(places, labels(), CENTRE, np.eye(3), CROP, bend=replace(BEND, seed=seed))
        straight, _ = cut_out(places, labels(), CENTRE, np.eye(3), CROP)
        assert all((bent[axis].diff(dim=axis) > 0).all() for axis in range(3))
        steps.append((bent - straight).flatten(1).std(1) / (torch.tensor(CROP) / 3))  # three stretches of four points
    assert torch.stack(steps).mean().item() == pytest.approx(0.15, rel=0.05)


def test_draws_keep_their_chances_and_limits() -> None:
    generator, settings = np.random.default_rng(0), Misregistration(chance=0.3, shift=2.0, rotate=2.0)
    drawn = [draw_motions(settings, 4, 1, 1.5, generator) for _ in range(400)]
    assert all(motions[1] is None for motions in drawn)
    moved = [motion for motions in drawn for motion in motions if motion is not None]
    assert len(moved) / (3 * 400) == pytest.approx(0.3, abs=0.04)
    assert np.abs([motion.shift for motion in moved]).max() <= 2.0 / 1.5
    assert np.degrees(np.abs([motion.angles for motion in moved]).max()) <= 2.0
    bends = [draw_bend(Elastic(chance=0.25, strength=0.2), generator) for _ in range(1000)]
    there = [bend for bend in bends if bend is not None]
    assert len(there) / 1000 == pytest.approx(0.25, abs=0.04)
    assert max(bend.strength for bend in there) <= 0.2
