"""ShaSpec: what stands for an absent modality, the two losses, when subsets are drawn."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from batches_made import batch_shown, presence_of
from lacunet.errors import RecipeError
from lacunet.methods.shaspec import ShaSpec, completed
from lacunet.nn.fusion import mean_of_present
from lacunet.nn.losses import dice_loss
from lacunet.nn.method import Clock, make_method
from lacunet.task import GLIOMA


def tiny(**arguments: Any) -> ShaSpec:
    torch.manual_seed(1)
    return make_method(ShaSpec, GLIOMA, {"width": 4, "levels": 3, **arguments})


def at(step: int) -> Clock:
    return Clock(step, 9, torch.Generator())


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[None, :, None, None, None, None]


def test_an_absent_modality_is_the_mean_of_what_the_present_ones_share():
    fused, shared = numbers(10, 20, 30, 40), numbers(1, 2, 3, 7)
    presence = torch.tensor([[True, False, False, True]])
    assert completed(fused, shared, presence).flatten().tolist() == [10, 4, 4, 40]
    assert mean_of_present(shared, presence).item() == 4
    poisoned = numbers(1, torch.nan, torch.nan, 7)
    assert completed(fused, poisoned, presence).flatten().tolist() == [10, 4, 4, 40]


def test_a_present_modality_is_its_projection_added_to_its_shared_feature():
    method, shown = tiny(), presence_of(("t1n", "t2f"))
    images = batch_shown(shown, shown).images
    encoded = method.encode(images, shown)
    for index in (0, 3):
        shared = method.shared(images[:, index : index + 1])[-1]
        specific = method.specific[index](images[:, index : index + 1])[-1]
        torch.testing.assert_close(encoded.fused[:, index], method.compose(shared, specific) + shared)
    assert encoded.fused[:, [1, 2]].abs().sum() == 0


def test_the_two_losses_by_hand():
    method, shown = tiny(complete=0.0), presence_of(("t1c", "t2w", "t2f"))
    batch = batch_shown(presence_of(GLIOMA.modalities), shown)
    encoded = method.encode(batch.images, shown)
    terms = method.stages()[0].loss(batch, at(0))
    one, two, three = encoded.shared[-1][0, [1, 2, 3]]
    apart = [(one - two).abs().mean(), (two - three).abs().mean(), (three - one).abs().mean()]
    assert terms["alignment"].item() == pytest.approx(0.1 * torch.stack(apart).mean().item(), rel=1e-4)
    pooled = encoded.specific[0, [1, 2, 3]].mean((2, 3, 4))
    told = F.cross_entropy(method.classify.linear(pooled), torch.tensor([1, 2, 3]))
    assert terms["classification"].item() == pytest.approx(0.02 * told.item(), rel=1e-4)


@pytest.mark.parametrize(("step", "complete"), [(0, True), (3, True), (4, False), (8, False)])
def test_subsets_are_shown_after_a_first_part_with_all_that_was_acquired(step: int, complete: bool):
    """Of nine steps, those before 0.444 of the training."""
    method, acquired, shown = tiny(), presence_of(("t1n", "t1c", "t2f")), presence_of(("t2f",))
    batch = batch_shown(acquired, shown)
    terms = method.stages()[0].loss(batch, at(step))
    expected = dice_loss(method(batch.images, acquired if complete else shown), batch.regions)
    assert terms["dice"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_loss_without_weight_is_left_out():
    batch = batch_shown(presence_of(GLIOMA.modalities), presence_of(("t1c",)))
    terms = tiny(alignment=0.0, classification=0.0).stages()[0].loss(batch, at(8))
    assert set(terms) == {"dice", "cross_entropy"}


def test_a_share_that_leaves_no_subsets_is_refused():
    with pytest.raises(RecipeError, match=r"complete = 1\.0: a share from 0"):
        make_method(ShaSpec, GLIOMA, {"complete": 1.0})
