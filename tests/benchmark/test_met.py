"""How many predictions meet the reference in a loss."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lacunet.benchmark.met import Met
from lacunet.nn.losses import cross_entropy_loss, deeply, dice_loss, segmentation_losses

REGIONS = (torch.rand(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.3).float()


class Network(nn.Module):
    """Features, logits at full resolution, logits at half of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 4, 3, stride=2, padding=1)
        self.head, self.coarse = nn.Conv3d(4, 3, 1), nn.Conv3d(4, 3, 1)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Finest first."""
        features = self.stem(images).relu()
        return [self.head(features), self.coarse(self.down(features))]


def of_labels(network: Network, images: Tensor) -> Tensor:
    """Softmax over four labels, and Dice of the regions that are made of their logits."""
    head = nn.Conv3d(4, 4, 1)
    labels = head(network.stem(images))
    background, *others = labels.unbind(dim=1)
    regions = torch.stack([torch.stack(others[: n + 1]).logsumexp(dim=0) - background for n in range(3)], dim=1)
    reference = F.one_hot(REGIONS.sum(dim=1).long(), 4).movedim(-1, 1).float()
    return dice_loss(regions, REGIONS) - (labels.log_softmax(dim=1) * reference).mean()


LOSSES: dict[str, tuple[Callable[[Network, Tensor], Tensor], int]] = {
    "nothing": (lambda network, images: network.levels(images)[0].square().mean(), 0),
    "Dice": (lambda network, images: dice_loss(network.levels(images)[0], REGIONS), 2),
    "Dice and cross-entropy of one": (
        lambda network, images: segmentation_losses(network.levels(images)[0], REGIONS).mean(),
        2,
    ),
    "two passes": (
        lambda network, images: (
            dice_loss(network.levels(images)[0], REGIONS) + cross_entropy_loss(network.levels(images)[0], REGIONS)
        ),
        4,
    ),
    "one pass of three subsets, taken apart": (
        lambda network, images: torch.stack(
            [dice_loss(own, REGIONS) for own in network.levels(torch.cat([images] * 3))[0].chunk(3)]
        ).mean(),
        6,
    ),
    "one pass of three subsets, the reference repeated": (
        lambda network, images: dice_loss(network.levels(torch.cat([images] * 3))[0], REGIONS.repeat(3, 1, 1, 1, 1)),
        6,
    ),
    "coarser levels": (lambda network, images: deeply(dice_loss, network.levels(images), REGIONS), 2),
    "coarser levels, enlarged": (
        lambda network, images: torch.stack(
            [dice_loss(F.interpolate(own, size=(8, 8, 8)), REGIONS) for own in network.levels(images)[1:]]
            + [dice_loss(network.levels(images)[0], REGIONS)]
        ).sum(),
        2,
    ),
    "an enlarged one alone": (
        lambda network, images: dice_loss(F.interpolate(network.levels(images)[1], size=(8, 8, 8)), REGIONS),
        2,
    ),
    "without a gradient": (lambda network, images: dice_loss(network.levels(images)[0].detach(), REGIONS), 0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_prediction_of_a_crop_counts_once(name: str) -> None:
    loss, expected = LOSSES[name]
    with Met(REGIONS) as met:
        loss(Network(), torch.randn(2, 1, 8, 8, 8))
    assert met.predictions == expected


def test_logits_of_labels_and_of_regions_made_of_them_are_one_prediction() -> None:
    with Met(REGIONS) as met:
        of_labels(Network(), torch.randn(2, 1, 8, 8, 8))
    assert met.predictions == 2


def test_watching_changes_nothing() -> None:
    torch.manual_seed(2)
    network, images = Network(), torch.randn(2, 1, 8, 8, 8)
    plain = dice_loss(network.levels(images)[0], REGIONS)
    with Met(REGIONS):
        watched = dice_loss(network.levels(images)[0], REGIONS)
    assert torch.equal(plain, watched)
