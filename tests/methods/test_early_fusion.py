"""The U-Net with losses at coarser levels."""

import pytest
import torch
import torch.nn.functional as F

from lacunet.methods.early_fusion import EarlyFusion
from lacunet.nn.batch import Batch
from lacunet.nn.losses import dice_loss
from lacunet.nn.method import Clock, make_method
from lacunet.task import GLIOMA


def test_coarser_levels_meet_the_reference_at_their_own_resolution() -> None:
    torch.manual_seed(1)
    method = make_method(EarlyFusion, GLIOMA, {"width": 4, "levels": 3, "deep": True})
    generator = torch.Generator().manual_seed(5)
    images = torch.randn((1, 4, 8, 8, 8), generator=generator)
    regions = (torch.rand((1, 3, 8, 8, 8), generator=generator) > 0.7).float()
    shown = torch.tensor([GLIOMA.presence(("t1c", "t2f"))])
    levels = method._levels(images, shown)
    assert [level.shape[2] for level in levels] == [8, 4]
    assert torch.equal(levels[0], method(images, shown))
    batch = Batch(images, torch.ones(1, 4, dtype=torch.bool), shown, regions, ("a",))
    terms = method.stages()[0].loss(batch, Clock(0, 1, torch.Generator()))
    expected = (2 * dice_loss(levels[0], regions) + dice_loss(levels[1], F.avg_pool3d(regions, 2))) / 3
    assert terms["dice"].item() == pytest.approx(expected.item())
    assert list(dict(method.coarser.named_parameters())) == ["0.weight", "0.bias"]
    assert not list(make_method(EarlyFusion, GLIOMA, {"width": 4, "levels": 3}).coarser.parameters())
