"""Bad stripping, a cut field of view, and all changes of a crop together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lacunet.training.augmentation.change import Change, draw_change
from lacunet.training.augmentation.crop import seen_worse
from lacunet.training.augmentation.field_of_view import Cut, draw_cut, missing_voxels
from lacunet.training.augmentation.settings import NO_AUGMENTATION, Augmentation, CutView
from lacunet.training.augmentation.space import rotation
from lacunet.training.augmentation.stripping import Mistake, stripped_badly

SHAPE = (32, 30, 28)
HALF = (np.array(SHAPE) - 1) / 2
LAYERS = ((1.0, 1.0, 1.0), (-2.0, -2.0, -2.0))
CHANCES = {"chance": 1.0}
PARTS = ("shading", "slices", "rician", "ghosts", "misregistration", "elastic", "stripping", "cut_view")
STRONG = Augmentation.model_validate({"inverted": 0.5, **dict.fromkeys(PARTS, CHANCES)})


def ball() -> torch.Tensor:
    """Two modalities of a round brain of radius 11."""
    axes = [torch.arange(n) - (n - 1) / 2 for n in SHAPE]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(2)) + 0.3
    return noise * ((x**2 + y**2 + z**2).sqrt() <= 11)


def tumour() -> torch.Tensor:
    marked = torch.zeros(SHAPE, dtype=torch.uint8)
    marked[5:14, 10:20, 10:18] = 2
    return marked * (ball()[0] != 0)


def nothing() -> Change:
    return draw_change(NO_AUGMENTATION, 2, np.random.default_rng(0))


def worse(change: Change, acquired: tuple[bool, bool] = (True, True)) -> tuple[torch.Tensor, torch.Tensor]:
    return seen_worse(ball(), tumour(), acquired, change, HALF, SHAPE)


# ---------------------------------------------------------------- stripping


def test_erosion_takes_brain_from_its_edge_only_and_the_same_in_all_modalities() -> None:
    mistake = Mistake(True, 4.0, LAYERS, 3)
    before, after = ball() != 0, stripped_badly(ball(), mistake) != 0
    lost = before & ~after
    assert torch.equal(lost[0], lost[1])
    assert 0.02 < lost[0].sum() / before[0].sum() < 0.8
    assert not (after & ~before).any()
    middle = tuple(slice(n // 2 - 4, n // 2 + 4) for n in SHAPE)
    assert after[(0, *middle)].all()


def test_rests_lie_around_the_brain_within_their_depth_and_have_their_brightness() -> None:
    before, after = ball(), stripped_badly(ball(), Mistake(False, 4.0, LAYERS, 3))
    rest = (after[0] != 0) & (before[0] == 0)
    axes = torch.meshgrid(*[torch.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    radius = torch.stack(axes).square().sum(0).sqrt()
    assert rest.any()
    assert radius[rest].max() < 11 + 4 + 2
    assert ((after != 0) & (before != 0)).sum() == (before != 0).sum()
    assert after[0][rest].mean() > after[1][rest].mean() + 1.0


@pytest.mark.parametrize("eroded", [True, False])
def test_a_mistake_keeps_what_normalising_fixes(eroded: bool) -> None:
    after = stripped_badly(ball(), Mistake(eroded, 4.0, LAYERS, 3))
    for one, other in zip(ball(), after, strict=True):
        assert other[other != 0].mean().item() == pytest.approx(one[one != 0].mean().item(), abs=1e-3)
        assert other[other != 0].std().item() == pytest.approx(one[one != 0].std().item(), rel=1e-3)


def test_a_modality_that_was_not_acquired_gets_no_rests() -> None:
    images = ball()
    images[1] = 0
    assert not stripped_badly(images, Mistake(False, 4.0, LAYERS, 3))[1].any()


def test_where_the_brain_is_lost_there_is_nothing_to_label() -> None:
    images, labels = worse(replace(nothing(), mistake=Mistake(True, 6.0, LAYERS, 3)))
    lost = (ball()[0] != 0) & (images[0] == 0)
    assert (lost & (tumour() > 0)).any()
    assert not labels[lost].any()
    assert torch.equal(labels[~lost], tumour()[~lost])


# ---------------------------------------------------------------- field of view


def test_a_slab_at_a_face_by_hand() -> None:
    gone = missing_voxels(Cut((0.0, 0.0, 1.0), 0.25, None), HALF, np.eye(3), SHAPE, SHAPE)
    assert gone[:, :, 21:].all()  # the last 7 of 28
    assert not gone[:, :, :21].any()


def test_the_slab_is_one_of_the_case_whatever_the_crop() -> None:
    cut, matrix = Cut((0.6, 0.0, -0.8), 0.43, None), rotation([0.2, 0.4, -0.3]) @ np.diag([-1, 1, 1])
    whole = missing_voxels(cut, HALF, np.eye(3), SHAPE, SHAPE)
    centre, crop = np.array([18.0, 14.0, 12.0]), (7, 7, 7)
    gone = missing_voxels(cut, centre, matrix, crop, SHAPE)
    for index in np.ndindex(*crop):
        voxel = np.round(centre + matrix @ (np.array(index) - 3)).astype(int)
        beside = whole[tuple(slice(max(0, v - 1), v + 2) for v in voxel)]
        if bool(beside.all()) or not bool(beside.any()):  # away from the slab's face
            assert gone[index] == bool(beside.any())
    assert 100 < gone.sum() < 243


def test_one_cut_modality_leaves_the_others_and_the_labels() -> None:
    images, labels = worse(replace(nothing(), cut=Cut((-1.0, 0.0, 0.0), 0.4, 1)))
    assert torch.allclose(images[0], ball()[0], atol=1e-5)
    assert not images[1, :12].any()
    assert images[1, 14:].any()
    assert torch.equal(labels, tumour())


def test_what_no_modality_shows_is_not_labelled() -> None:
    images, labels = worse(replace(nothing(), cut=Cut((-1.0, 0.0, 0.0), 0.4, None)))
    assert not images[:, :12].any()
    assert not labels[:12].any()
    assert torch.equal(labels[13:], tumour()[13:])


def test_cuts_keep_their_chances_and_limits() -> None:
    generator = np.random.default_rng(0)
    drawn = [draw_cut(CutView(chance=0.3, depth=0.2, together=0.5), 4, generator) for _ in range(1000)]
    there = [cut for cut in drawn if cut is not None]
    assert len(there) / 1000 == pytest.approx(0.3, abs=0.05)
    assert max(cut.depth for cut in there) <= 0.2
    assert np.mean([cut.modality is None for cut in there]) == pytest.approx(0.5, abs=0.1)
    assert {cut.modality for cut in there} == {None, 0, 1, 2, 3}
    assert np.allclose([np.linalg.norm(cut.normal) for cut in there], 1.0)
    assert min(np.abs(cut.normal).max() for cut in there) > np.cos(np.radians(20))


# ---------------------------------------------------------------- together


def test_the_same_draw_gives_the_same_crop() -> None:
    first, second = (worse(draw_change(STRONG, 2, np.random.default_rng(5), spacing=1.5)) for _ in range(2))
    other = worse(draw_change(STRONG, 2, np.random.default_rng(6), spacing=1.5))
    assert all(torch.equal(one, same) for one, same in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("seed", range(8))
def test_numbers_stay_finite_and_the_background_zero(seed: int) -> None:
    change = draw_change(STRONG, 2, np.random.default_rng(seed), spacing=1.5)
    images, labels = worse(change, acquired=(True, False))
    assert torch.isfinite(images).all()
    assert not images[1].any()
    rest = stripped_badly(ball(), change.mistake) if change.mistake is not None else ball()
    assert not images[0][rest[0] == 0].any()
    assert set(labels.unique().tolist()) <= {0, 2}


def test_a_part_that_is_switched_on_changes_no_other_draw() -> None:
    """So that recipes from before these parts replay to the last bit, and ablations differ in one thing."""
    plain = draw_change(Augmentation(), 4, np.random.default_rng(7))
    for part in PARTS:
        settings = Augmentation.model_validate({part: CHANCES})
        other = draw_change(settings, 4, np.random.default_rng(7))
        assert np.array_equal(other.matrix, plain.matrix)
        for name in ("contrast", "shift", "gamma", "noise", "blur", "seed"):
            assert getattr(other, name) == getattr(plain, name)


def test_the_draws_of_old_recipes_are_these_for_ever() -> None:
    generator = np.random.default_rng(7)
    change = draw_change(Augmentation(), 2, generator)
    assert change.contrast == pytest.approx((1.0963685255148299, 1.0891208286256138))
    assert change.seed == 1734444721
    assert generator.random() == pytest.approx(0.6221792294411627)  # crops are placed by what is drawn next


def test_the_curve_of_the_inverted_image_by_hand() -> None:
    image = torch.linspace(-1, 3, 27).reshape(1, 3, 3, 3)
    one = draw_change(NO_AUGMENTATION, 1, np.random.default_rng(0))
    bent, _ = seen_worse(
        image, torch.zeros(3, 3, 3, dtype=torch.uint8), (True,), replace(one, gamma=(2.0,), inverted=(True,)),
        np.ones(3), (3, 3, 3),
    )  # fmt: skip
    assert bent.flatten()[[0, 26]].tolist() == pytest.approx([-1, 3])
    assert bent.flatten()[13].item() == pytest.approx((1 - 0.5**2) * 4 - 1)  # halfway up


def test_a_crop_without_parts_is_changed_as_ever() -> None:
    images, labels = worse(nothing())
    assert torch.allclose(images, ball(), atol=1e-5)
    assert torch.equal(labels, tumour())
