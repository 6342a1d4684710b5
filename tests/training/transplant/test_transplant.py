"""Lesions put into other brains: where they lie, how bright they are, and what is labelled."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lacunet.data.prepare import Preparation
from lacunet.training.prepared import PreparedCase
from lacunet.training.transplant.graft import Graft, draw_graft
from lacunet.training.transplant.lesion import Lesion, cut_lesion
from lacunet.training.transplant.mix import matched, mixed
from lacunet.training.transplant.place import find_place, windows_about
from lacunet.training.transplant.settings import Transplant
from lacunet.training.transplant.transplant import Donors, with_lesion

BOTH = (True, True)
ALWAYS = Transplant(chance=1.0, beside=1.0, edge=0.0)
PLAIN = Graft(luck=0.0, donor=0.0, lesion=0.0, matrix=np.eye(3), bend=None, seed=1)
CROP = (24, 24, 24)

Donor = Callable[..., PreparedCase]


@pytest.fixture
def donor(tmp_path: Path) -> Donor:
    """Makes a donor of 20 x 20 x 20 voxels of noise with a block of labels, in a folder as prepared cases have."""

    def make(
        name: str = "giver", acquired: tuple[bool, bool] = BOTH, block: tuple[int, int] = (7, 13), brain: int = 0
    ) -> PreparedCase:
        generator, place = np.random.default_rng(len(name)), (slice(*block),) * 3
        images = generator.normal(0.5, 0.2, (2, 20, 20, 20))
        images[(slice(None), *place)] = 3.0
        images[:, :brain] = 0
        images[[not there for there in acquired]] = 0
        labels = np.zeros((20, 20, 20), np.uint8)
        labels[place] = 2
        labels[tuple(slice(side.start + 1, side.stop - 2) for side in place)] = 3
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "images.npy", images.astype(np.float16))
        np.save(folder / "labels.npy", labels)
        return PreparedCase(name, acquired, folder, (20, 20, 20), {"wt": int((labels > 0).sum())}, None)

    return make


def crop(acquired: tuple[bool, bool] = BOTH) -> torch.Tensor:
    """A brain that fills a crop but for its first four sagittal slices."""
    images = torch.randn(2, *CROP, generator=torch.Generator().manual_seed(3)) * 0.5 - 1.0
    images[:, :4] = 0
    images[[not there for there in acquired]] = 0
    return images


def nowhere() -> torch.Tensor:
    return torch.zeros(CROP, dtype=torch.uint8)


def donors(*cases: PreparedCase, settings: Transplant = ALWAYS) -> Donors:
    return Donors(settings, cases, Preparation(1.5))


# ---------------------------------------------------------------- the lesion


def test_a_lesion_is_cut_out_with_its_labels_and_a_shell(donor: Donor) -> None:
    lesion = cut_lesion(donor(), PLAIN, CROP, edge=0.0, spacing=1.5)
    assert lesion is not None
    assert (lesion.labels > 0).sum() == 6**3
    assert (lesion.labels == 3).sum() == 3**3
    assert (lesion.weight[lesion.labels > 0] == 1).all()
    assert torch.allclose(lesion.images[0][lesion.labels > 0], torch.tensor(3.0))
    assert not lesion.shell[lesion.labels > 0].any()
    assert lesion.images[0][lesion.shell].max() < 2.0
    assert lesion.inside == 1.0


@pytest.mark.parametrize("size", [0.5, 1.25])
def test_a_lesion_is_made_smaller_or_larger(size: float, donor: Donor) -> None:
    lesion = cut_lesion(donor(), replace(PLAIN, matrix=np.eye(3) / size), CROP, edge=0.0, spacing=1.5)
    assert lesion is not None
    assert (lesion.labels > 0).sum().item() == pytest.approx((6 * size) ** 3, rel=0.35)


def test_the_soft_edge_falls_within_its_width(donor: Donor) -> None:
    lesion = cut_lesion(donor(), PLAIN, CROP, edge=6.0, spacing=1.5)
    assert lesion is not None
    middle = lesion.weight.shape[0] // 2
    line = lesion.weight[:, middle, middle]
    inside = torch.nonzero(lesion.labels[:, middle, middle] > 0).flatten()
    beside = line[: int(inside[0])].flip(0)
    assert (line[inside] == 1).all()
    assert (beside.diff() <= 0).all()
    assert 0 < beside[1] < 1
    assert (beside[4:] == 0).all()  # 6 mm are four voxels


def test_only_the_chosen_one_of_several_lesions_is_cut_out(donor: Donor) -> None:
    case = donor()
    labels = np.array(case.labels)
    labels[0:3, 0:3, 0:3] = 1
    np.save(case.folder / "labels.npy", labels)
    large, small = (
        cut_lesion(case, replace(PLAIN, lesion=which), CROP, edge=0.0, spacing=1.5) for which in (0.5, 0.01)
    )
    assert large is not None
    assert small is not None
    assert set(large.labels.unique().tolist()) == {0, 2, 3}
    assert set(small.labels.unique().tolist()) == {0, 1}


def test_a_lesion_that_the_array_cuts_is_rounded_off(donor: Donor) -> None:
    """A cube about a tumour ends in the tumour; its flat faces would be seen."""
    lesion = cut_lesion(donor(block=(0, 20)), PLAIN, CROP, edge=3.0, spacing=1.5)
    assert lesion is not None
    pasted = lesion.labels > 0
    extent = [torch.nonzero(pasted.any(axis).any(0)).flatten() for axis in (0, 1)]
    assert all(len(side) < 20 for side in extent)
    box = pasted[tuple(slice(int(side[0]), int(side[-1]) + 1) for side in torch.nonzero(pasted).T.sort(1).values)]
    assert box[box.shape[0] // 2, box.shape[1] // 2, 0]
    assert not box[0, 0, 0]


def test_how_much_of_a_lesion_lies_in_its_brain_is_known(donor: Donor) -> None:
    lesion = cut_lesion(donor(brain=10), PLAIN, CROP, edge=0.0, spacing=1.5)
    assert lesion is not None
    assert lesion.inside == pytest.approx(0.5)
    assert not lesion.weight[(lesion.images == 0).all(0)].any()


# ---------------------------------------------------------------- the place


def block(size: int = 6, inside: float = 1.0) -> Lesion:
    labels = torch.zeros(10, 10, 10, dtype=torch.uint8)
    labels[2 : 2 + size, 2 : 2 + size, 2 : 2 + size] = 1
    return Lesion(torch.ones(2, 10, 10, 10), labels, (labels > 0).float(), labels == 0, inside)


def covered(lesion: Lesion, brain: torch.Tensor, tumour: torch.Tensor, seed: int) -> torch.Tensor | None:
    windows = find_place(lesion, brain, tumour, np.random.default_rng(seed))
    if windows is None:
        return None
    covers = torch.zeros(brain.shape, dtype=torch.bool)
    covers[windows[0]] = (lesion.labels > 0)[windows[1]]
    return covers


def test_a_lesion_lies_in_the_brain_away_from_any_tumour() -> None:
    brain, tumour = torch.zeros(CROP, dtype=torch.bool), torch.zeros(CROP, dtype=torch.bool)
    brain[:, :14] = True
    tumour[14:] = True
    found = [covered(block(), brain, tumour, seed) for seed in range(40)]
    places = [covers for covers in found if covers is not None]
    assert len(places) > 20
    for covers in places:
        assert (covers & ~brain).sum() <= 0.02 * covers.sum()
        assert not covers[12:].any()  # two voxels of gap
        assert covers.sum() >= 0.6 * 6**3
    assert len({tuple(torch.nonzero(covers)[0].tolist()) for covers in places}) > 5


def test_a_lesion_of_the_surface_may_reach_over_the_surface_as_at_home() -> None:
    brain = torch.zeros(CROP, dtype=torch.bool)
    brain[:, 9:14] = True  # thinner than the lesion
    tumour = torch.zeros(CROP, dtype=torch.bool)
    assert not any(covered(block(), brain, tumour, seed) is not None for seed in range(20))
    assert any(covered(block(inside=0.7), brain, tumour, seed) is not None for seed in range(20))


def test_windows_name_the_same_voxels_twice() -> None:
    in_crop, in_box = windows_about([1, 12, 23], torch.Size(CROP), torch.Size((10, 10, 10)))
    assert in_crop == (slice(0, 6), slice(7, 17), slice(18, 24))
    assert in_box == (slice(4, 10), slice(0, 10), slice(0, 6))


# ---------------------------------------------------------------- intensities


def test_the_shell_of_the_donor_gets_the_statistics_of_the_targets() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(10, 10, 10, generator=generator) * 0.5 + 2.0
    target = torch.randn(10, 10, 10, generator=generator) * 0.8 - 1.0
    shell, other = torch.arange(1000).reshape(10, 10, 10) < 400, torch.arange(1000).reshape(10, 10, 10) >= 500
    fitted = matched(image, shell, target, other, 50.0)
    assert fitted[shell].mean().item() == pytest.approx(target[other].mean().item(), abs=1e-4)
    assert fitted[shell].std().item() == pytest.approx(target[other].std().item(), rel=1e-4)


def test_contrast_changes_by_a_factor_of_two_at_most_and_stays_within_the_limit() -> None:
    image = torch.linspace(0, 1, 1000).reshape(10, 10, 10)
    every = torch.ones(10, 10, 10, dtype=torch.bool)
    assert matched(image, every, image * 9, every, 50.0).std().item() == pytest.approx(2 * image.std().item(), rel=1e-3)
    assert matched(image, every, image / 9, every, 50.0).std().item() == pytest.approx(image.std().item() / 2, rel=1e-3)
    assert matched(image, every, image + 4.9, every, 5.0).max().item() == 5.0


def test_without_a_shell_intensities_stay() -> None:
    image, none = torch.rand(10, 10, 10), torch.zeros(10, 10, 10, dtype=torch.bool)
    assert torch.equal(matched(image, none, image + 1, ~none, 5.0), image)


def test_a_mixture_is_the_donor_at_1_and_the_target_at_0_and_never_background() -> None:
    target, image, weight = (torch.tensor([[v]]) for v in ([2.0, 2, 2, 0], [4.0, 4, 4, 4], [1.0, 0, 0.5, 1]))
    assert mixed(target, image, weight).flatten().tolist() == [4, 2, 3, 0]


# ---------------------------------------------------------------- the transplant


def test_labels_are_the_donors_where_its_voxels_are(donor: Donor) -> None:
    case = donor()
    images, labels, name = with_lesion(crop(), nowhere(), BOTH, donors(case), PLAIN)
    assert name == "giver"
    assert (labels > 0).sum() >= 0.6 * 6**3
    assert torch.equal(images == 0, crop() == 0)
    bright = images[0] > images[0][labels == 0].max()
    assert torch.equal(bright, labels > 0)
    core = torch.nonzero(labels == 3)
    assert len(core) == 3**3
    assert all((labels[tuple(place)] == 3) for place in core)


def test_the_brain_keeps_its_mean_and_deviation(donor: Donor) -> None:
    images, _, _ = with_lesion(crop(), nowhere(), BOTH, donors(donor()), PLAIN)
    for before, after in zip(crop(), images, strict=True):
        assert after[after != 0].mean().item() == pytest.approx(before[before != 0].mean().item(), abs=1e-3)
        assert after[after != 0].std().item() == pytest.approx(before[before != 0].std().item(), rel=1e-3)


def test_the_lesion_stands_out_from_its_shell_as_at_home(donor: Donor) -> None:
    """At home it is 12.5 deviations brighter than its shell; here the shell is the target's tissue."""
    images, labels, _ = with_lesion(crop(), nowhere(), BOTH, donors(donor()), PLAIN)
    rest = images[0][(labels == 0) & (images[0] != 0)]
    assert (images[0][labels > 0].mean() - rest.mean()) / rest.std() == pytest.approx(12.5 * 0.8, rel=0.2)


def test_a_tumour_that_was_there_keeps_its_labels(donor: Donor) -> None:
    before = nowhere()
    before[18:24] = 1
    _, labels, name = with_lesion(crop(), before, BOTH, donors(donor()), PLAIN)
    assert name == "giver"
    assert (labels[18:] == 1).all()
    assert (labels[:16] > 1).any()


@pytest.mark.parametrize(("tumour", "luck", "given"), [(False, 0.5, True), (False, 0.7, False), (True, 0.5, False)])
def test_chances_differ_for_crops_with_and_without_a_tumour(
    tumour: bool, luck: float, given: bool, donor: Donor
) -> None:
    before = nowhere()
    before[20:] = int(tumour)
    settings = Transplant(chance=0.6, beside=0.2, edge=0.0)
    images, labels, name = with_lesion(
        crop(), before, BOTH, donors(donor(), settings=settings), replace(PLAIN, luck=luck)
    )
    assert (name is not None) == given
    assert torch.equal(labels, before) != given
    assert torch.equal(images, crop()) != given


def test_a_donor_has_all_that_the_crop_has(donor: Donor) -> None:
    half, whole = donor("half", (True, False)), donor("whole")
    given = donors(half, whole)
    names = {with_lesion(crop(), nowhere(), BOTH, given, replace(PLAIN, donor=part))[2] for part in (0.0, 0.5, 0.99)}
    assert names == {"whole"}
    alone = crop((True, False))
    images, _, name = with_lesion(alone, nowhere(), (True, False), given, PLAIN)
    assert name == "half"
    assert not images[1].any()
    assert with_lesion(crop(), nowhere(), BOTH, donors(half), PLAIN)[2] is None


def test_a_case_without_a_tumour_is_no_donor(donor: Donor) -> None:
    empty = replace(donor("empty"), counts={"wt": 0})
    assert with_lesion(crop(), nowhere(), BOTH, donors(empty), PLAIN)[2] is None
    assert with_lesion(crop(), nowhere(), BOTH, donors(empty, donor()), PLAIN)[2] == "giver"


def test_the_same_draw_gives_the_same_crop(donor: Donor) -> None:
    given = donors(donor(), settings=Transplant(chance=1.0))

    def made(seed: int) -> torch.Tensor:
        graft = draw_graft(given.settings, np.random.default_rng(seed))
        return with_lesion(crop(), nowhere(), BOTH, given, graft)[0]

    assert torch.equal(made(1), made(1))
    assert not torch.equal(made(1), made(2))


def test_draws_keep_their_limits() -> None:
    settings, generator = Transplant(smallest=0.5, largest=1.25), np.random.default_rng(0)
    drawn = [draw_graft(settings, generator) for _ in range(300)]
    sizes = [abs(np.linalg.det(one.matrix)) ** (-1 / 3) for one in drawn]
    assert 0.5 <= min(sizes) < 0.6
    assert 1.15 < max(sizes) <= 1.25
    assert np.mean([np.linalg.det(one.matrix) > 0 for one in drawn]) == pytest.approx(0.5, abs=0.1)
    upright = [abs((one.matrix / np.linalg.norm(one.matrix[:, 0]))[2, 2]) for one in drawn]
    assert min(upright) > np.cos(np.radians(43))  # tilted by 30 degrees about x and y at most


def test_the_recipe_refuses_sizes_in_the_wrong_order() -> None:
    with pytest.raises(ValueError, match="smallest is above largest"):
        Transplant(smallest=1.2, largest=0.8)
