"""IMS2Trans: shifted channels, the contrastive loss, crops cut into each other, how large the network is."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from batches_made import batch_shown, presence_of
from lacunet.errors import RecipeError
from lacunet.methods.ims2trans import IMS2Trans, contrastive_loss, drawn_box, mixed, shifted_parts
from lacunet.nn.losses import segmentation_loss
from lacunet.nn.method import Clock, make_method
from lacunet.nn.residual import single_losses
from lacunet.task import GLIOMA
from lacunet.training.recipe import read_recipe
from small import ROOT

CLOCK = Clock(0, 1, torch.Generator())


def tiny(**arguments: Any) -> IMS2Trans:
    torch.manual_seed(1)
    return make_method(IMS2Trans, GLIOMA, {"width": 8, "levels": 3, "window": 4, **arguments})


def test_has_the_papers_4_47_million_parameters():
    recipe = read_recipe(ROOT / "recipes" / "ims2trans.toml")
    with torch.device("meta"):
        method = make_method(IMS2Trans, GLIOMA, recipe.arguments)
    assert sum(p.numel() for p in method.parameters()) == pytest.approx(4.47e6, rel=0.02)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_channels_come_from_places_before_and_after(axis: int):
    line = torch.tensor([1.0, 2.0, 3.0]).view([3 if other == axis else 1 for other in range(5)])
    moved = shifted_parts(line.expand(1, 5, *line.shape[2:]), axis, 2)
    expected = [[3, 0, 0], [2, 3, 0], [1, 2, 3], [0, 1, 2], [0, 0, 1]]
    assert moved.flatten(1).view(5, 3).tolist() == expected


def test_shifts_that_are_longer_than_the_grid_leave_nothing():
    features = torch.ones(1, 5, 1, 1, 1)
    assert shifted_parts(features, 2, 2).flatten().tolist() == [0, 0, 1, 0, 0]


def test_the_contrastive_loss_by_hand():
    """Case 0 has two modalities, case 1 one. Cosines: 0.6 of the pair, 0 and 0.8 with the other case."""
    rows = torch.tensor([[2.0, 0.0], [0.6, 0.8], [0.0, 5.0]])
    owners = torch.tensor([0, 0, 1])
    pair = math.exp(0.6 / 0.5)
    first = -math.log(pair / (pair + math.exp(0.0)))
    second = -math.log(pair / (pair + math.exp(0.8 / 0.5)))
    assert contrastive_loss(rows, owners, 0.5).item() == pytest.approx((first + second) / 2, rel=1e-5)


@pytest.mark.parametrize("owners", [[0, 1, 2], [0, 0, 0]], ids=["no pair", "no other case"])
def test_nothing_is_drawn_together_or_apart_without_a_pair_or_another_case(owners: list[int]):
    rows = torch.randn(3, 4, requires_grad=True)
    loss = contrastive_loss(rows, torch.tensor(owners), 0.1)
    assert loss.item() == 0
    loss.backward()
    assert torch.isfinite(rows.grad).all()


def test_a_mixed_crop_has_a_box_of_the_one_before_and_what_both_show():
    acquired = presence_of(("t1n", "t1c", "t2f"), GLIOMA.modalities)
    batch = batch_shown(acquired, presence_of(("t1c", "t2f"), ("t2w", "t2f")))
    box = torch.zeros(16, 16, 16, dtype=torch.bool)
    box[4:8, :8, 2:] = True
    cut = mixed(batch, box)
    for own, other in ((0, 1), (1, 0)):
        assert torch.equal(cut.images[own][:, box], batch.images[other][:, box])
        assert torch.equal(cut.images[own][:, ~box], batch.images[own][:, ~box])
        assert torch.equal(cut.regions[own][:, box], batch.regions[other][:, box])
        assert torch.equal(cut.regions[own][:, ~box], batch.regions[own][:, ~box])
        assert torch.equal(cut.presence[own], presence_of(("t2f",))[0])
        assert torch.equal(cut.acquired[own], acquired[0])


def test_crops_that_show_nothing_in_common_stay_as_they_are():
    acquired = presence_of(GLIOMA.modalities, GLIOMA.modalities)
    batch = batch_shown(acquired, presence_of(("t1c",), ("t2w", "t2f")))
    cut = mixed(batch, torch.ones(16, 16, 16, dtype=torch.bool))
    assert torch.equal(cut.images, batch.images)
    assert torch.equal(cut.regions, batch.regions)
    assert torch.equal(cut.presence, batch.presence)


def test_a_box_is_inside_and_has_every_size():
    torch.manual_seed(1)
    shares = [drawn_box((8, 12, 16)).float().mean().item() for _ in range(200)]
    assert min(shares) < 0.1
    assert max(shares) > 0.85
    assert sum(shares) / 200 == pytest.approx(0.5, abs=0.08)


def test_an_image_is_encoded_with_the_label_of_its_modality():
    method = tiny()
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        method.encoder.labels.normal_()
    one, other = method.encoder(image, 0), method.encoder(image, 1)
    assert torch.equal(one[0], other[0])  # above the first halving there is no label
    assert not torch.allclose(one[1], other[1])


def test_the_loss_without_mixing():
    method, shown = tiny(cut_mix=0.0), presence_of(("t1c",), ("t2w", "t2f"))
    batch = batch_shown(presence_of(GLIOMA.modalities, GLIOMA.modalities), shown)
    terms = method.stages()[0].loss(batch, CLOCK)
    expected = segmentation_loss(method(batch.images, shown), batch.regions)
    assert terms["segmentation"].item() == pytest.approx(expected.item(), rel=1e-4)
    coarser = method._levels(method.encode(batch.images, shown), shown)[1:]
    levels = [
        segmentation_loss(own, F.avg_pool3d(batch.regions, 2 ** (level + 1))) for level, own in enumerate(coarser)
    ]
    assert terms["deep"].item() == pytest.approx(torch.stack(levels).mean().item(), rel=1e-4)
    features = method._features(batch.images, shown)
    alone = single_losses(method.single(features), shown, batch.regions)
    assert terms["auxiliary"].item() == pytest.approx(alone.mean().item(), rel=1e-4)
    rows = torch.cat([features[1][-1], features[2][-1], features[3][-1]]).mean((2, 3, 4))
    apart = contrastive_loss(F.normalize(rows, dim=1), torch.tensor([0, 1, 1]), 0.1)
    assert terms["contrast"].item() == pytest.approx(0.1 * apart.item(), rel=1e-4)


def test_crops_are_mixed_by_chance(monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr("lacunet.methods.ims2trans.mixed", lambda batch, box: seen.append(box) or batch)
    everything = presence_of(GLIOMA.modalities)
    for chance, times in ((0.0, 0), (1.0, 1)):
        seen.clear()
        tiny(cut_mix=chance).stages()[0].loss(batch_shown(everything, everything), CLOCK)
        assert len(seen) == times


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"levels": 2}, "levels = 2: at least 3"),
        ({"window": 1}, "window = 1: from 2 to 16"),
        ({"cut_mix": 1.5}, r"cut_mix = 1\.5: a chance"),
        ({"temperature": 0.0}, r"temperature = 0\.0: it must be above 0"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(wrong: dict[str, Any], words: str):
    with pytest.raises(RecipeError, match=words):
        make_method(IMS2Trans, GLIOMA, wrong)
