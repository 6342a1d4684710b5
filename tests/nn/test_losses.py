"""Loss terms by hand, and beside MONAI's."""

import math

import pytest
import torch

from lacunet.nn.losses import cross_entropy_loss, deeply, dice_loss, dice_losses, segmentation_loss

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


@pytest.mark.parametrize(("found", "cost"), [(0, 0.0), (10, 1 / 4), (30, 1 / 2), (270, 9 / 10)])
def test_where_there_is_no_tumour_more_false_voxels_cost_more(found: int, cost: float) -> None:
    """Thirty of a thousand voxels cost half of what can be lost."""
    logits = maps([SURE] * found + [-SURE] * (1000 - found))
    assert dice_loss(logits, maps([0.0] * 1000)).item() == pytest.approx(cost)


def test_an_empty_region_beside_another_has_one_voxel_added() -> None:
    logits, regions = maps([SURE, SURE, -SURE]).repeat(1, 2, 1, 1, 1), maps([0.0, 0.0, 0.0]).repeat(1, 2, 1, 1, 1)
    regions[0, 1, 0] = 1.0
    assert dice_losses(logits, regions).item() == pytest.approx(((1 - 1 / 3) + (1 - 3 / 4)) / 2)


def test_a_crop_without_tumour_teaches_as_much_as_one_with_a_tumour() -> None:
    """The gradient at each of 100 false voxels of 20,000, alone and beside a tumour of 300."""
    steepest = []
    for tumour in (0, 300):
        rest = 19_900 - tumour
        logits = maps([1.0] * 100 + [SURE] * tumour + [-SURE] * rest).requires_grad_()
        dice_loss(logits, maps([0.0] * 100 + [1.0] * tumour + [0.0] * rest)).backward()
        assert logits.grad is not None
        steepest.append(logits.grad.max().item())
    assert 0.8 < steepest[0] / steepest[1] < 1.25


def test_dice_is_averaged_over_cases_not_pooled() -> None:
    logits, regions = maps([SURE] * 4, [-SURE] * 4), maps([1.0] * 4, [1.0, 0.0, 0.0, 0.0])
    assert dice_loss(logits, regions).item() == pytest.approx((0 + (1 - 1 / 2)) / 2)  # pooled: 1 - 9 / 10


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
