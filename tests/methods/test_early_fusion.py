"""The U-Net with losses at coarser levels."""

import pytest
import torch
import torch.nn.functional as F

from lacunet.methods.early_fusion import EarlyFusion
from lacunet.nn.batch import Batch, shown_subsets
from lacunet.nn.losses import cross_entropy_loss, dice_loss
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


def test_several_subsets_of_a_crop_meet_the_reference_each_once() -> None:
    method = make_method(EarlyFusion, GLIOMA, {"width": 4, "levels": 2, "subsets": 3})
    generator = torch.Generator().manual_seed(5)
    images, acquired = torch.randn((2, 4, 8, 8, 8), generator=generator), torch.ones(2, 4, dtype=torch.bool)
    acquired[1, 0] = False
    regions = (torch.rand((2, 3, 8, 8, 8), generator=generator) > 0.7).float()
    batch = Batch(images, acquired, torch.tensor([GLIOMA.presence(("t1c", "t2f"))] * 2), regions, ("a", "b"))
    torch.manual_seed(3)
    terms = method.stages()[0].loss(batch, Clock(0, 1, torch.Generator()))
    torch.manual_seed(3)
    subsets = shown_subsets(batch, 3)
    assert torch.equal(subsets[0], batch.presence)
    assert not any(bool(subset[1, 0]) for subset in subsets)
    dice = [dice_loss(method(images, subset), regions) for subset in subsets]
    entropy = [cross_entropy_loss(method(images, subset), regions) for subset in subsets]
    assert terms["dice"].item() == pytest.approx(torch.stack(dice).mean().item())
    assert terms["cross_entropy"].item() == pytest.approx(torch.stack(entropy).mean().item())


@pytest.mark.parametrize(("backbone", "width", "levels"), [("unetr", 1, 5), ("swin", 24, 6)])
def test_other_encoders_obey_the_law_and_train(backbone: str, width: int, levels: int) -> None:
    if backbone == "swin":
        pytest.importorskip("einops")
    torch.manual_seed(1)
    method = make_method(EarlyFusion, GLIOMA, {"backbone": backbone, "width": width, "levels": levels})
    assert method.divisor == 2 ** (levels - 1)
    shape = (2 * method.divisor, method.divisor, method.divisor)
    images = torch.randn((1, 4, *shape), generator=torch.Generator().manual_seed(5))
    shown = torch.tensor([GLIOMA.presence(("t1c", "t2f"))])
    method.eval()
    with torch.no_grad():
        whole = method.decode(method.encode(images, torch.ones(1, 4, dtype=torch.bool)), shown)
        alone = method(torch.where(shown[:, :, None, None, None], images, torch.nan), shown)
    assert whole.shape == (1, 3, *shape)
    torch.testing.assert_close(whole, alone, rtol=1e-5, atol=1e-5)
    method.train()
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-3)
    regions = (images[:, :3] > 1.0).float()
    batch = Batch(images, torch.ones(1, 4, dtype=torch.bool), shown, regions, ("a",))
    losses = []
    for step in range(2):
        terms = method.stages()[0].loss(batch, Clock(step, 2, torch.Generator()))
        loss = torch.stack(list(terms.values())).sum()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[1] < losses[0]
