"""M3AE: what fills gaps, which subsets are paired, what each stage moves, how large the network is."""

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from batches_made import batch_shown, presence_of
from lacunet.errors import RecipeError
from lacunet.methods.m3ae import M3AE, Substitute, other_subset
from lacunet.nn.losses import deeply, dice_loss
from lacunet.nn.method import Clock, make_method
from lacunet.task import GLIOMA
from lacunet.training.optimiser import freeze_all_but
from lacunet.training.recipe import read_recipe
from small import ROOT


def tiny(**arguments: Any) -> M3AE:
    torch.manual_seed(1)
    return make_method(M3AE, GLIOMA, {"width": 4, "levels": 3, "patches": 2, "substitute": 2, **arguments})


CLOCK = Clock(0, 1, torch.Generator())


def test_has_the_papers_4_7_million_parameters():
    """Its 4.7 million do not count the substitute image."""
    recipe = read_recipe(ROOT / "recipes" / "m3ae.toml")
    with torch.device("meta"):
        method = make_method(M3AE, GLIOMA, recipe.arguments)
    assert method.substitute is not None
    count = sum(p.numel() for p in method.parameters()) - method.substitute.images.numel()
    assert count == pytest.approx(4.7e6, rel=0.02)


def test_a_substitute_fills_what_is_not_seen_and_nothing_else():
    substitute = Substitute(2, 2)
    with torch.no_grad():
        substitute.images[0] = 3.0  # the same everywhere
        substitute.images[1] = torch.tensor([-1.0, 1.0])[:, None, None]  # rises along x
    images = torch.full((1, 2, 4, 4, 4), 7.0)
    seen = torch.zeros(1, 2, 4, 4, 4, dtype=torch.bool)
    seen[:, :, :, :, :2] = True
    filled = substitute(images, seen)
    assert torch.equal(filled[0, 0, 0, 0], torch.tensor([7.0, 7.0, 3.0, 3.0]))
    assert torch.equal(filled[0, 1, :, 0, 3], torch.tensor([-1.0, -0.5, 0.5, 1.0]))  # trilinear, by hand
    assert substitute.size().item() == pytest.approx((9 + 1) / 2)


def test_the_second_subset_is_another_one_and_each_is_equally_likely():
    torch.manual_seed(2)
    acquired = presence_of(("t1n", "t1c", "t2f"))
    shown = presence_of(("t1c",))
    found = Counter(tuple(other_subset(shown, acquired)[0].tolist()) for _ in range(1200))
    subsets = [GLIOMA.presence(s) for s in GLIOMA.subsets if set(s) <= {"t1n", "t1c", "t2f"} and s != ("t1c",)]
    assert set(found) == {tuple(subset) for subset in subsets}
    assert min(found.values()) > 150  # of 200 expected


def test_a_case_of_one_modality_has_no_other_subset():
    alone = presence_of(("t2w",), ("t1n", "t2f"))
    second = other_subset(alone, alone)
    assert torch.equal(second[0], alone[0])
    assert not torch.equal(second[1], alone[1])


def test_fine_tuning_compares_both_subsets_with_the_reference_and_with_each_other(monkeypatch: pytest.MonkeyPatch):
    method, shown, other = tiny(), presence_of(("t1c", "t2w")), presence_of(("t2f",))
    monkeypatch.setattr("lacunet.methods.m3ae.other_subset", lambda presence, acquired: other)
    batch = batch_shown(presence_of(GLIOMA.modalities), shown)
    one, two = method.answer(batch.images, shown), method.answer(batch.images, other)
    terms = method.stages()[1].loss(batch, CLOCK)
    expected = (deeply(dice_loss, one.logits, batch.regions) + deeply(dice_loss, two.logits, batch.regions)) / 2
    assert terms["dice"].item() == pytest.approx(expected.item(), rel=1e-5)
    apart = (one.bottleneck - two.bottleneck).square().mean()
    assert terms["consistency"].item() == pytest.approx(0.1 * apart.item(), rel=1e-4)
    assert terms["consistency"].item() > 0


def test_without_consistency_one_subset_is_segmented():
    method, shown = tiny(consistency=0.0), presence_of(("t1c", "t2w"))
    batch = batch_shown(presence_of(GLIOMA.modalities), shown)
    terms = method.stages()[1].loss(batch, CLOCK)
    assert set(terms) == {"dice", "cross_entropy"}
    expected = deeply(dice_loss, method.answer(batch.images, shown).logits, batch.regions)
    assert terms["dice"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_reconstruction_compares_what_was_acquired_and_fines_the_substitute():
    method, acquired = tiny(), presence_of(("t1c", "t2f"))
    with torch.no_grad():
        method.substitute.images.fill_(2.0)
    batch = batch_shown(acquired, acquired)
    batch.images[:, [0, 2]] = torch.nan
    stage = method.stages()[0]
    freeze_all_but(method, stage.trains)
    torch.manual_seed(3)
    terms = stage.loss(batch, CLOCK)
    assert terms["penalty"].item() == pytest.approx(0.005 * 4)
    assert torch.isfinite(terms["reconstruction"])
    terms["reconstruction"].backward()
    assert method.substitute.images.grad[1].abs().sum() > 0
    assert method.heads[0].weight.grad is None
    gradient = method.rebuild.weight.grad
    assert gradient[1].abs().sum() > 0
    assert gradient[[0, 2]].abs().sum() == 0  # what was not acquired asks nothing of the network


def test_fine_tuning_moves_the_network_and_not_the_substitute():
    method = tiny()
    stage = method.stages()[1]
    freeze_all_but(method, stage.trains)
    acquired = presence_of(GLIOMA.modalities)
    loss = sum(stage.loss(batch_shown(acquired, presence_of(("t2w",))), CLOCK).values())
    loss.backward()
    assert method.substitute.images.grad is None
    assert method.rebuild.weight.grad is None
    assert method.heads[0].weight.grad.abs().sum() > 0


def test_an_absent_modality_is_its_substitute():
    method, shown = tiny(), presence_of(("t1c",))
    images = batch_shown(shown, shown).images
    with torch.no_grad():
        method.substitute.images.normal_(generator=torch.Generator().manual_seed(1))
    stretched = F.interpolate(method.substitute.images[None], size=(16, 16, 16), mode="trilinear")
    by_hand = torch.where(shown[:, :, None, None, None], images, stretched)
    torch.testing.assert_close(method(images, shown), method(by_hand, presence_of(GLIOMA.modalities)))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"levels": 1}, "levels = 1: at least 2"),
        ({"masked": 1.0}, "masked = 1.0: a share from 0"),
        ({"substitute": 65}, "substitute = 65: from 0 to 64"),
        ({"patches": 0}, "patches = 0: from 1"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(wrong: dict[str, Any], words: str):
    with pytest.raises(RecipeError, match=words):
        make_method(M3AE, GLIOMA, wrong)
