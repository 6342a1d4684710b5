"""Loss terms by hand, and beside MONAI's."""

import math

import pytest
import torch
import torch.nn.functional as F

from lacunet.nn.losses import (
    checked_weights,
    cross_entropy_loss,
    cross_entropy_losses,
    deeply,
    dice_loss,
    dice_losses,
    level_terms,
    mean_terms,
    segmentation_loss,
    segmentation_losses,
)
from lacunet.task import GLIOMA

SURE = 50.0


def maps(*cases: list[float]) -> torch.Tensor:
    """One region, a row of voxels per case."""
    return torch.tensor(cases)[:, None, :, None, None]


def test_dice_loss_by_hand() -> None:
    logits, regions = maps([SURE, SURE, -SURE, -SURE]), maps([1.0, 0.0, 0.0, 0.0])
    # one voxel shared, two found, one expected, and one added above and below
    assert dice_loss(logits, regions).item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 1 + 1))


def test_an_empty_region_predicted_empty_costs_nothing() -> None:
    assert dice_loss(maps([-SURE, -SURE]), maps([0.0, 0.0])).item() == pytest.approx(0.0)


@pytest.mark.parametrize(("found", "cost"), [(0, 0.0), (5, 1 / 5), (20, 1 / 2), (180, 9 / 10)])
def test_where_there_is_no_tumour_more_false_voxels_cost_more(found: int, cost: float) -> None:
    """Twenty of a thousand voxels cost half of what can be lost."""
    logits = maps([SURE] * found + [-SURE] * (1000 - found))
    assert dice_loss(logits, maps([0.0] * 1000)).item() == pytest.approx(cost)


def test_an_empty_region_beside_another_is_as_if_alone() -> None:
    logits, regions = maps([SURE] * 30 + [-SURE] * 970).repeat(1, 2, 1, 1, 1), maps([0.0] * 1000).repeat(1, 2, 1, 1, 1)
    regions[0, 1, 0] = 1.0
    assert dice_losses(logits, regions).item() == pytest.approx((30 / 50 + 1 - 3 / 32) / 2)


def test_a_crop_without_tumour_teaches_as_much_as_one_with_a_tumour() -> None:
    """The gradient at each of 100 false voxels of 20,000, alone and beside a tumour of 200."""
    steepest = []
    for tumour in (0, 200):
        rest = 19_900 - tumour
        logits = maps([1.0] * 100 + [SURE] * tumour + [-SURE] * rest).requires_grad_()
        dice_loss(logits, maps([0.0] * 100 + [1.0] * tumour + [0.0] * rest)).backward()
        assert logits.grad is not None
        steepest.append(logits.grad.max().item())
    assert steepest[0] == pytest.approx(steepest[1], rel=0.05)


def test_dice_is_averaged_over_cases_not_pooled() -> None:
    logits, regions = maps([SURE] * 4, [-SURE] * 4), maps([1.0] * 4, [1.0, 0.0, 0.0, 0.0])
    assert dice_loss(logits, regions).item() == pytest.approx((0 + (1 - 1 / 2)) / 2)  # pooled: 1 - 9 / 10


def test_dice_of_a_batch_together_by_hand() -> None:
    logits, regions = maps([SURE] * 4, [-SURE] * 4), maps([1.0] * 4, [1.0, 0.0, 0.0, 0.0])
    together = dice_losses(logits, regions, together=True)
    assert together.tolist() == pytest.approx([1 - (2 * 4 + 1) / (4 + 5 + 1)] * 2)


def test_a_batch_without_any_region_counts_false_voxels_as_one_large_crop() -> None:
    together = dice_losses(maps([SURE] + [-SURE] * 99, [-SURE] * 100), maps([0.0] * 100, [0.0] * 100), together=True)
    assert together.tolist() == pytest.approx([1 - 4 / (1 + 4)] * 2)  # 2 % of 200 voxels


def test_regions_count_by_their_weights() -> None:
    logits = torch.cat([maps([SURE, SURE]), maps([-SURE, -SURE])], dim=1)
    regions = torch.cat([maps([1.0, 1.0]), maps([1.0, 0.0])], dim=1)  # Dice losses of 0 and of 1 - 1 / 2
    assert dice_losses(logits, regions).tolist() == pytest.approx([0.25])
    assert dice_losses(logits, regions, weights=torch.tensor([1.0, 3.0])).tolist() == pytest.approx([0.375])
    plain = cross_entropy_losses(logits, regions, weights=torch.tensor([1.0, 1.0]))
    assert plain.tolist() == pytest.approx(cross_entropy_losses(logits, regions).tolist())
    heavy = cross_entropy_losses(logits, regions, weights=torch.tensor([0.0, 2.0]))
    assert heavy.tolist() == pytest.approx([SURE / 2])
    both = segmentation_losses(logits, regions, weights=torch.tensor([0.0, 2.0]), together=True)
    assert both.tolist() == pytest.approx([SURE / 2 + 0.5])


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"region_weights = .*: one for each of wt, tc, et, not below 0"):
        checked_weights(weights, GLIOMA)
    assert checked_weights(None, GLIOMA) is None


def test_terms_are_averaged_by_name() -> None:
    one, other = {"dice": torch.tensor(1.0), "keep": torch.tensor(4.0)}, {"dice": torch.tensor(3.0)}
    other["keep"] = torch.tensor(0.0)
    assert {name: float(term) for name, term in mean_terms([one, other]).items()} == {"dice": 2.0, "keep": 2.0}


def test_cross_entropy_of_an_undecided_network_is_the_logarithm_of_two() -> None:
    assert cross_entropy_loss(maps([0.0, 0.0]), maps([1.0, 0.0])).item() == pytest.approx(math.log(2))


def test_cross_entropy_by_hand() -> None:
    expected = (-math.log(0.75) - math.log(1 - 0.75)) / 2
    logit = math.log(3.0)
    assert cross_entropy_loss(maps([logit, logit]), maps([1.0, 0.0])).item() == pytest.approx(expected)


def test_segmentation_loss_is_the_sum() -> None:
    torch.manual_seed(0)
    logits, regions = torch.randn(2, 3, 4, 5, 6), (torch.rand(2, 3, 4, 5, 6) > 0.5).float()
    total = dice_loss(logits, regions) + cross_entropy_loss(logits, regions)
    assert segmentation_loss(logits, regions).item() == pytest.approx(total.item())


def test_a_coarser_resolution_has_half_the_weight_and_meets_shares() -> None:
    regions = torch.zeros(1, 1, 4, 4, 4)
    regions[0, 0, :2, :2, :1] = 1.0  # half of the first of the coarser voxels
    seen: list[tuple[float, ...]] = []

    def loss(logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        seen.append((tuple(reference.shape)[-1], reference.max().item(), reference.sum().item()))
        return logits.mean()

    logits = [torch.full((1, 1, side, side, side), value) for side, value in ((4, 1.0), (2, 2.0), (1, 4.0))]
    assert deeply(loss, logits, regions).item() == pytest.approx((1 * 1 + 2 / 2 + 4 / 4) / (1 + 1 / 2 + 1 / 4))
    assert seen == [(4, 1.0, 4.0), (2, 0.5, 0.5), (1, 0.0625, 0.0625)]
    assert deeply(dice_loss, [regions], regions).item() == pytest.approx(dice_loss(regions, regions).item())


def test_equals_monai() -> None:
    losses = pytest.importorskip("monai.losses")
    torch.manual_seed(0)
    logits, regions = torch.randn(2, 3, 4, 5, 6), (torch.rand(2, 3, 4, 5, 6) > 0.5).float()
    reference = losses.DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0)
    assert dice_loss(logits, regions).item() == pytest.approx(reference(logits, regions).item(), abs=1e-6)


def test_is_computed_in_float32_from_half_precision() -> None:
    logits, regions = torch.zeros(1, 1, 48, 48, 48, dtype=torch.bfloat16), torch.ones(1, 1, 48, 48, 48)
    voxels = 48**3
    assert dice_loss(logits, regions).item() == pytest.approx(1 - (voxels + 1) / (1.5 * voxels + 1), abs=1e-6)


def test_a_loss_of_each_case_at_several_resolutions_stays_one_of_each_case() -> None:
    logits = [torch.zeros(2, 1, side, side, side) for side in (8, 2)]  # the coarser is four times as wide
    regions = torch.stack([torch.zeros(1, 8, 8, 8), torch.ones(1, 8, 8, 8)])
    losses = deeply(cross_entropy_losses, logits, regions)
    assert losses.tolist() == pytest.approx([math.log(2)] * 2)


def test_the_finest_level_is_one_term_and_the_mean_of_the_coarser_ones_another():
    regions = (torch.rand((2, 3, 8, 8, 8), generator=torch.Generator().manual_seed(3)) > 0.5).float()
    levels = [torch.full((2, 3, side, side, side), float(side)) for side in (8, 4, 2)]
    terms = level_terms(levels, regions)
    assert set(terms) == {"segmentation", "deep"}
    finest, middle, coarsest = (
        segmentation_losses(level, F.avg_pool3d(regions, side)).mean()
        for level, side in zip(levels, (1, 2, 4), strict=True)
    )
    torch.testing.assert_close(terms["segmentation"], finest)
    torch.testing.assert_close(terms["deep"], (middle + coarsest) / 2)
