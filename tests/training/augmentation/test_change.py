"""Random parameters, and what they do to images and labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from lacunet.training.augmentation.change import Change, change_intensities, draw_change
from lacunet.training.augmentation.settings import NO_AUGMENTATION, Augmentation
from lacunet.training.augmentation.space import cut_out, rotation

SHAPE, CROP = (20, 18, 16), (8, 6, 10)
CORNER = np.array([5, 4, 3])
CENTRE = CORNER + (np.array(CROP) - 1) / 2
WINDOW = tuple(slice(a, a + n) for a, n in zip(CORNER, CROP, strict=True))
NOTHING = draw_change(NO_AUGMENTATION, 2, np.random.default_rng(0))


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)


def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, SHAPE).astype(np.uint8)


def smooth() -> np.ndarray:
    return ndimage.gaussian_filter(images()[0], 2.0)[None] * 20


# ---------------------------------------------------------------- moving


def test_no_change_is_an_exact_cut() -> None:
    cut, marked = cut_out(images(), labels(), CENTRE, np.eye(3), CROP)
    assert np.allclose(cut.numpy(), images()[(slice(None), *WINDOW)], atol=1e-4)
    assert np.array_equal(marked.numpy(), labels()[WINDOW])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirror_is_numpys_flip(axis: int) -> None:
    matrix = np.eye(3)
    matrix[axis, axis] = -1
    cut, marked = cut_out(images(), labels(), CENTRE, matrix, CROP)
    assert np.allclose(cut.numpy(), np.flip(images()[(slice(None), *WINDOW)], axis + 1), atol=1e-4)
    assert np.array_equal(marked.numpy(), np.flip(labels()[WINDOW], axis))


def test_what_lies_beyond_the_source_is_zero() -> None:
    cut, marked = cut_out(images() + 50, labels() * 0 + 1, np.array([-0.5, 8.5, 7.5]), np.eye(3), (8, 6, 6))
    assert not cut[:, :4].any()
    assert not marked[:4].any()
    assert (cut[:, 4:] > 40).all()
    assert marked[4:].all()


def test_a_crop_far_outside_is_empty() -> None:
    cut, marked = cut_out(images() + 50, labels() * 0 + 1, np.array([-40.0, 8.5, 7.5]), np.eye(3), (8, 6, 6))
    assert not cut.any()
    assert not marked.any()


def test_a_crop_larger_than_the_source_holds_all_of_it() -> None:
    cut, marked = cut_out(images(), labels(), (np.array(SHAPE) - 1) / 2, np.eye(3), (24, 24, 24))
    assert cut.double().sum().item() == pytest.approx(images().astype(float).sum(), abs=0.05)
    assert marked.sum() == labels().sum()


def test_rotation_about_each_axis_by_hand() -> None:
    quarter = np.pi / 2
    assert np.allclose(rotation([quarter, 0.0, 0.0]) @ [0, 1, 0], [0, 0, 1])
    assert np.allclose(rotation([0.0, quarter, 0.0]) @ [0, 0, 1], [1, 0, 0])
    assert np.allclose(rotation([0.0, 0.0, quarter]) @ [1, 0, 0], [0, 1, 0])


def test_rotations_keep_lengths_and_handedness() -> None:
    matrix = rotation([0.3, -0.2, 0.5])
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    about_x, about_y, about_z = (rotation(np.diag([0.3, -0.2, 0.5])[axis]) for axis in range(3))
    assert np.allclose(matrix, about_z @ about_y @ about_x)


def test_a_rotated_crop_is_what_scipy_interpolates() -> None:
    matrix = rotation([0.2, -0.15, 0.3]) * 1.1
    cut, _ = cut_out(smooth(), labels(), CENTRE, matrix, CROP)
    offset = CENTRE - matrix @ ((np.array(CROP) - 1) / 2)
    expected = ndimage.affine_transform(smooth()[0], matrix, offset, output_shape=CROP, order=1)
    assert np.allclose(cut[0].numpy(), expected, atol=1e-3)


def test_images_and_labels_move_together() -> None:
    source = np.zeros(SHAPE, np.float32)
    source[8:13, 5:9, 6:12] = 1.0
    change = draw_change(Augmentation(), 1, np.random.default_rng(5))
    cut, marked = cut_out(source[None], source.astype(np.uint8), CENTRE, change.matrix, CROP)
    sure = (cut[0] < 0.1) | (cut[0] > 0.9)
    assert marked.any()
    assert torch.equal((cut[0] > 0.5)[sure], marked.bool()[sure])


# ---------------------------------------------------------------- intensities


def with_background() -> torch.Tensor:
    made = torch.from_numpy(images())
    made[:, :3] = 0
    return made


def test_no_change_of_intensities_is_none() -> None:
    assert torch.allclose(change_intensities(with_background(), NOTHING), with_background(), atol=1e-5)


def test_background_stays_exactly_zero_whatever_is_drawn() -> None:
    strong = Augmentation(contrast=0.5, shift=1.0, gamma=0.5, noise=1.0, blur=1.0)
    changed = change_intensities(with_background(), draw_change(strong, 2, np.random.default_rng(2)))
    assert torch.isfinite(changed).all()
    assert not changed[:, :3].any()
    assert not torch.allclose(changed, with_background(), atol=0.1)


def test_contrast_and_shift_by_hand() -> None:
    change = replace(NOTHING, contrast=(2.0, 1.0), shift=(0.0, 0.5))
    changed, before = change_intensities(with_background(), change), with_background()
    assert torch.allclose(changed[0], before[0] * 2, atol=1e-5)
    assert torch.allclose(changed[1][3:], before[1][3:] + 0.5, atol=1e-5)


def test_gamma_bends_the_curve_and_keeps_its_ends() -> None:
    image = torch.linspace(-1, 3, 27).reshape(1, 3, 3, 3)
    one = replace(NOTHING, contrast=(1.0,), shift=(0.0,), gamma=(2.0,), noise=(0.0,), blur=(False,))
    changed = change_intensities(image, one).flatten()
    assert changed[0].item() == pytest.approx(-1)
    assert changed[-1].item() == pytest.approx(3)
    assert changed[13].item() == pytest.approx(0.5**2 * 4 - 1)  # halfway up


def test_noise_has_the_deviation_that_was_drawn() -> None:
    image = torch.ones(1, 30, 30, 30)
    one = Change(np.eye(3), (1.0,), (0.0,), (1.0,), (0.2,), (False,), seed=4)
    assert change_intensities(image, one).std().item() == pytest.approx(0.2, rel=0.02)


# ---------------------------------------------------------------- drawing


def same(one: Change, other: Change) -> bool:
    return np.array_equal(one.matrix, other.matrix) and replace(one, matrix=NOTHING.matrix) == replace(
        other, matrix=NOTHING.matrix
    )


def test_the_same_draw_gives_the_same_result() -> None:
    first, second, third = (draw_change(Augmentation(), 2, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert same(first, second)
    assert not same(first, third)
    assert torch.equal(change_intensities(with_background(), first), change_intensities(with_background(), second))


def test_draws_stay_within_their_bounds() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        change = draw_change(Augmentation(rotate=0.0), 2, generator)
        assert np.allclose(np.abs(change.matrix), np.diag(np.abs(np.diag(change.matrix))))
        assert 0.85 <= abs(change.matrix[0, 0]) <= 1.15
        assert all(0.85 <= factor <= 1.15 for factor in change.contrast)
        assert all(np.exp(-0.25) <= exponent <= np.exp(0.25) for exponent in change.gamma)
        assert all(0 <= deviation <= 0.1 for deviation in change.noise)


def test_a_zero_switches_a_part_off() -> None:
    change = draw_change(NO_AUGMENTATION, 2, np.random.default_rng(9))
    assert np.array_equal(change.matrix, np.eye(3))
    assert (change.contrast, change.shift, change.gamma) == ((1.0, 1.0), (0.0, 0.0), (1.0, 1.0))
    assert not any(change.blur)
