"""RFNet: what a region picks of each modality, when the fused prediction is compared, how large the network is."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from batches_made import batch_shown, presence_of
from lacunet.errors import RecipeError
from lacunet.methods.rfnet import RegionFusion, RFNet, Weigh, likely_parts, means_within, weighted
from lacunet.nn.losses import dice_loss, segmentation_loss
from lacunet.nn.method import Clock, make_method
from lacunet.task import GLIOMA
from lacunet.training.recipe import read_recipe
from small import ROOT


def tiny(**arguments: Any) -> RFNet:
    torch.manual_seed(1)
    return make_method(RFNet, GLIOMA, {"width": 4, "levels": 3, **arguments})


def at(step: int) -> Clock:
    return Clock(step, 300, torch.Generator())


def test_has_the_papers_8_4_million_parameters():
    recipe = read_recipe(ROOT / "recipes" / "rfnet.toml")
    with torch.device("meta"):
        method = make_method(RFNet, GLIOMA, recipe.arguments)
    assert sum(p.numel() for p in method.parameters()) == pytest.approx(8.4e6, rel=0.02)


def test_what_is_outside_is_in_no_region():
    logits = torch.logit(torch.tensor([0.5, 0.2, 0.75]))[None, :, None, None, None]
    assert likely_parts(logits).flatten().tolist() == pytest.approx([0.5 * 0.8 * 0.25, 0.5, 0.2, 0.75])
    assert not likely_parts(logits.requires_grad_()).requires_grad


def test_means_within_a_part_count_places_by_their_probability():
    """One modality of one channel, two places."""
    features = torch.tensor([2.0, 6.0])[None, None, None, None, None]
    assert means_within(features, torch.tensor([1.0, 0.0])[None, None, None]).item() == 2
    assert means_within(features, torch.tensor([0.25, 0.75])[None, None, None]).item() == 5
    assert means_within(features, torch.zeros(1, 1, 1, 2)).item() == 0


def test_modalities_are_added_by_their_weights():
    features = torch.tensor([1.0, 10.0])[None, :, None, None, None, None]
    assert weighted(features, torch.tensor([[0.5, 0.25]])).item() == 3


def test_a_fusion_by_hand():
    """Each region takes its own weights, at its own places; the shortcut takes all that is there."""
    torch.manual_seed(2)
    fusion = RegionFusion(2, 4, 3)
    features, parts = torch.randn(1, 2, 4, 4, 4, 4), torch.rand(1, 3, 4, 4, 4)
    picked = []
    for index, weigh in enumerate(fusion.weigh):
        assert isinstance(weigh, Weigh)
        part = parts[0, index]
        means = (features[0] * part).sum((2, 3, 4)) / part.sum()
        first, second = torch.sigmoid(weigh.perceptron(means.flatten()))
        picked.append(part * (first * features[0, 0] + second * features[0, 1]))
    expected = [fusion.regions(torch.cat(picked)[None]), fusion.shortcut(features.view(1, 8, 4, 4, 4))]
    torch.testing.assert_close(fusion(features, parts), torch.cat(expected, dim=1))


@pytest.mark.parametrize(("step", "fused"), [(0, False), (20, False), (21, True)])
def test_the_fused_prediction_waits_for_the_first_epochs(step: int, fused: bool):
    """20 of 300."""
    method, shown = tiny(), presence_of(("t1c", "t2f"))
    batch = batch_shown(presence_of(GLIOMA.modalities), shown)
    terms = method.stages()[0].loss(batch, at(step))
    assert set(terms) == {"single", "maps"} | ({"dice", "cross_entropy"} if fused else set())
    if fused:
        expected = dice_loss(method(batch.images, shown), batch.regions)
        assert terms["dice"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_loss_of_the_maps_moves_maps_and_that_of_the_fused_prediction_does_not():
    method, everything = tiny(alone=0.0), presence_of(GLIOMA.modalities)
    batch = batch_shown(everything, everything)
    terms = method.stages()[0].loss(batch, at(0))
    last = method.maps[0].layers[-1].weight
    (moved,) = torch.autograd.grad(terms["maps"], last, retain_graph=True)
    assert moved.abs().sum() > 0
    (moved,) = torch.autograd.grad(terms["dice"], last, retain_graph=True, allow_unused=True)
    assert moved is None


def test_the_terms_beside_the_fused_prediction_by_hand():
    """A mean over levels, and over cases the mean of their modalities' own predictions."""
    method, acquired = tiny(), presence_of(("t1n", "t1c", "t2f"), ("t2w",))
    batch = batch_shown(acquired, presence_of(("t1c",), ("t2w",)))
    terms = method.stages()[0].loss(batch, at(0))
    _, maps = method._answer(method.encode(batch.images, acquired), batch.presence)
    levels = [segmentation_loss(own, F.avg_pool3d(batch.regions, 2**level)) for level, own in enumerate(maps)]
    assert terms["maps"].item() == pytest.approx(torch.stack(levels).mean().item(), rel=1e-4)
    costs = []
    for case, members in enumerate([(0, 1, 3), (2,)]):
        own = []
        for index in members:
            levels = [[level] for level in method.encoders[index](batch.images[case, index][None, None])]
            logits = method.single(list(zip(*levels, strict=True)))
            own.append(segmentation_loss(logits, batch.regions[case : case + 1]))
        costs.append(torch.stack(own).mean())
    assert terms["single"].item() == pytest.approx(torch.stack(costs).mean().item(), rel=1e-4)


def test_what_was_acquired_is_segmented_alone_also_where_it_is_hidden():
    method, acquired = tiny(), presence_of(("t1n", "t1c"))
    terms = method.stages()[0].loss(batch_shown(acquired, presence_of(("t1c",))), at(0))
    touched = []
    for encoder in method.encoders:
        weight = encoder.enter[0][0].weight
        (gradient,) = torch.autograd.grad(terms["single"], weight, retain_graph=True, allow_unused=True)
        touched.append(gradient is not None and bool(gradient.abs().sum() > 0))
    assert touched == [True, True, False, False]


@pytest.mark.parametrize(
    ("wrong", "words"), [({"levels": 1}, "levels = 1: at least 2"), ({"alone": 1.0}, r"alone = 1\.0: a share")]
)
def test_arguments_that_mean_nothing_are_refused(wrong: dict[str, Any], words: str):
    with pytest.raises(RecipeError, match=words):
        make_method(RFNet, GLIOMA, wrong)
