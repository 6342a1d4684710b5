"""Shading, ghosts, coarse voxels and noise of a modality, by numbers that can be checked by hand."""

import numpy as np
import pytest
import torch

from lacunet.training.augmentation.acquisition import Acquisition, acquired_again, draw_acquisitions, rician
from lacunet.training.augmentation.fields import smooth_field
from lacunet.training.augmentation.ghosts import Ghost, with_ghosts
from lacunet.training.augmentation.settings import Augmentation
from lacunet.training.augmentation.shading import Shade, gain_of
from lacunet.training.augmentation.statistics import mean_and_deviation

SHAPE = (24, 20, 16)
NOTHING = Acquisition(-3.0, None, None, (1.0, 1.0, 1.0), 0.0, 1)
SHADE = Shade(0.3, 0.5, 1, 2)
EVERYTHING = Acquisition(-3.0, SHADE, Ghost(0, (0.5,), 0.2), (1.0, 1.0, 3.0), 0.3, 4)


def brain() -> torch.Tensor:
    """A block of voxels of mean -0.2 and deviation about 0.8 on a background of 0."""
    image = torch.zeros(SHAPE)
    image[4:20, 3:17, 2:14] = torch.randn(16, 14, 12, generator=torch.Generator().manual_seed(0)) * 0.8 - 0.2
    return image


# ---------------------------------------------------------------- fields


def test_a_field_of_two_points_a_side_has_one_bend_at_most_and_of_many_has_detail() -> None:
    def bends(points: int) -> int:
        line = smooth_field((64, 8, 8), points, np.random.default_rng(0))[:, 4, 4].numpy()
        return int((np.diff(np.sign(np.diff(line, 2))) != 0).sum())

    assert bends(2) <= 1
    assert bends(12) >= 4


def test_a_field_is_smooth() -> None:
    field = smooth_field((40, 40, 40), 4, np.random.default_rng(1))
    assert field.diff(dim=0).abs().max() < 0.3 * field.std()


# ---------------------------------------------------------------- shading


def test_the_gain_has_the_deviation_that_was_drawn_and_no_jumps() -> None:
    field = gain_of(Shade(0.3, 0.4, 5, 6), (40, 40, 40)).log()
    assert field.std().item() == pytest.approx(0.3, rel=0.1)
    assert field.diff(dim=1).abs().max() < 0.1


def test_modalities_of_one_coil_are_shaded_alike() -> None:
    def likeness(share: float) -> float:
        fields = [gain_of(Shade(0.3, share, 7, own), (24, 24, 24)).log().flatten() for own in (8, 9)]
        return float(torch.corrcoef(torch.stack(fields))[0, 1])

    assert likeness(1.0) == pytest.approx(1.0)
    assert abs(likeness(0.0)) < 0.9


def test_shading_multiplies_what_lies_above_no_signal() -> None:
    image = brain()
    shaded = acquired_again(image, Acquisition(-3.0, SHADE, None, (1.0, 1.0, 1.0), 0.0, 1))
    inside = image != 0
    expected = (image + 3.0) * gain_of(SHADE, SHAPE)
    line = torch.corrcoef(torch.stack([shaded[inside], expected[inside]]))[0, 1]
    assert line.item() == pytest.approx(1.0, abs=1e-5)
    assert not torch.allclose(shaded, image, atol=0.2)


# ---------------------------------------------------------------- noise


def test_without_signal_the_noise_has_the_mean_of_a_rayleigh_distribution() -> None:
    noisy = rician(torch.zeros(60, 60, 60), 0.4, torch.Generator().manual_seed(1))
    assert noisy.mean().item() == pytest.approx(0.4 * np.sqrt(np.pi / 2), rel=0.01)
    assert noisy.std().item() == pytest.approx(0.4 * np.sqrt(2 - np.pi / 2), rel=0.01)


def test_with_much_signal_the_noise_is_gaussian_of_its_deviation() -> None:
    noisy = rician(torch.full((60, 60, 60), 20.0), 0.4, torch.Generator().manual_seed(1))
    assert noisy.mean().item() == pytest.approx(20.0, rel=1e-3)
    assert noisy.std().item() == pytest.approx(0.4, rel=0.02)


def test_dark_voxels_do_not_come_out_bright() -> None:
    """The zero is never drawn above the darkest tissue, whose negative signal would be folded up."""
    image = torch.where(torch.arange(4096).reshape(16, 16, 16) % 2 == 0, -4.0, 1.0)
    noisy = acquired_again(image, Acquisition(-2.0, None, None, (1.0, 1.0, 1.0), 0.05, 1))
    assert noisy[image < 0].max() < noisy[image > 0].min()


# ---------------------------------------------------------------- coarse voxels


def test_thick_slices_are_means_with_straight_lines_between() -> None:
    image = torch.zeros(2, 2, 12) + torch.tensor([1.0, 2, 3, 7, 8, 9, 1, 2, 3, 7, 8, 9])
    coarse = acquired_again(image, Acquisition(-3.0, None, None, (1.0, 1.0, 3.0), 0.0, 1))[0, 0]
    by_hand = torch.tensor([2.0, 2, 4, 6, 8, 6, 4, 2, 4, 6, 8, 8])  # means 2, 8, 2, 8 at voxels 1, 4, 7, 10
    scaled = (by_hand - by_hand.mean()) / by_hand.std(unbiased=False) * image.std(unbiased=False) + image.mean()
    assert torch.allclose(coarse, scaled, atol=1e-4)


def test_slices_of_4_voxels_have_half_the_noise() -> None:
    image = torch.full((30, 30, 32), 1.0)
    image[0, 0, 0] = -1.0  # so that there is a deviation to keep
    levels = []
    for thickness in (1.0, 4.0):
        signal = Acquisition(-30.0, None, None, (1.0, 1.0, thickness), 0.5, 1)
        levels.append(float(_unscaled(image, signal)[5:, 5:, 2::4].std()))
    assert levels[1] == pytest.approx(levels[0] / 2, rel=0.3)


def _unscaled(image: torch.Tensor, acquisition: Acquisition) -> torch.Tensor:
    """With the deviation of the noise in it: normalising is undone by a bright half that carries the deviation."""
    both = torch.cat([image, image + 20.0])
    return acquired_again(both, acquisition)[: len(image)]


# ---------------------------------------------------------------- ghosts


def test_a_ghost_is_the_image_moved_around_the_crop() -> None:
    signal = torch.zeros(8, 4, 4)
    signal[1, 2, 2] = 10.0
    ghosted = with_ghosts(signal, signal > 0, Ghost(0, (0.5,), 0.2))
    assert ghosted[1, 2, 2].item() == pytest.approx(8.0)
    assert ghosted[5, 2, 2].item() == pytest.approx(2.0)
    assert ghosted.count_nonzero() == 2


# ---------------------------------------------------------------- all of it


@pytest.mark.parametrize(
    "acquisition",
    [
        EVERYTHING,
        Acquisition(-3.0, SHADE, None, (1.0, 1.0, 1.0), 0.0, 1),
        Acquisition(-3.0, None, None, (2.5, 2.5, 2.5), 0.0, 1),
        Acquisition(-3.0, None, None, (1.0, 1.0, 1.0), 0.4, 1),
        Acquisition(-3.0, None, Ghost(1, (-0.05, 0.05), 0.3), (1.0, 1.0, 1.0), 0.0, 1),
    ],
)
def test_mean_deviation_and_background_stay(acquisition: Acquisition) -> None:
    image = brain()
    changed, inside = acquired_again(image, acquisition), image != 0
    assert not changed[~inside].any()
    assert not torch.allclose(changed, image, atol=0.1)
    for before, after in zip(mean_and_deviation(image, inside), mean_and_deviation(changed, inside), strict=True):
        assert after.item() == pytest.approx(before.item(), abs=1e-3)


def test_what_was_not_drawn_changes_no_bit() -> None:
    assert torch.equal(acquired_again(brain(), NOTHING), brain())


def test_a_scan_that_is_empty_in_the_crop_stays_empty() -> None:
    assert not acquired_again(torch.zeros(SHAPE), EVERYTHING).any()


def test_the_same_draw_gives_the_same_scan() -> None:
    assert torch.equal(acquired_again(brain(), EVERYTHING), acquired_again(brain(), EVERYTHING))


def test_draws_keep_their_chances_and_limits() -> None:
    settings = Augmentation.model_validate(
        {
            "shading": {"chance": 0.4, "strength": 0.3},
            "slices": {"chance": 0.5, "thickest": 6.0, "isotropic": 0.3},
            "rician": {"chance": 0.2, "strength": 0.5},
            "ghosts": {"chance": 0.1, "strength": 0.2},
        }
    )
    generator = np.random.default_rng(0)
    drawn = [one for _ in range(500) for one in draw_acquisitions(settings, 4, 1.5, generator)]
    shares = [
        np.mean([one.shade is not None for one in drawn]),
        np.mean([max(one.coarser) > 1 for one in drawn]),
        np.mean([one.noise > 0 for one in drawn]),
        np.mean([one.ghost is not None for one in drawn]),
    ]
    assert shares == pytest.approx([0.4, 0.5, 0.2, 0.1], abs=0.04)
    assert max(max(one.coarser) for one in drawn) <= 4.0  # 6 mm in voxels of 1.5 mm
    isotropic = [one.coarser for one in drawn if min(one.coarser) > 1]
    assert len(isotropic) / len(drawn) == pytest.approx(0.5 * 0.3, abs=0.03)
    assert max(max(factors) for factors in isotropic) <= 2.0
    assert max(one.noise for one in drawn) <= 0.5
    assert max(one.shade.deviation for one in drawn if one.shade is not None) <= 0.3
    assert all(-4.5 <= one.zero <= -2.0 for one in drawn)
