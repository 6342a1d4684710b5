"""M3FeCon: what stands for an absent modality, what is rebuilt, what it is compared with."""

import pytest
import torch

from batches_made import batch_shown, presence_of
from lacunet.errors import RecipeError
from lacunet.methods.m3fecon import M3FeCon, distance, learned
from lacunet.nn.losses import deeply, dice_loss
from lacunet.nn.method import Clock, make_method
from lacunet.task import GLIOMA

CLOCK = Clock(0, 1, torch.Generator())


def tiny() -> M3FeCon:
    torch.manual_seed(1)
    return make_method(M3FeCon, GLIOMA, {"width": 8, "levels": 3})


def test_only_hidden_modalities_are_compared():
    """Two modalities of one channel at one place; the second is hidden."""
    rebuilt = torch.tensor([5.0, 1.0])[None, :, None, None, None, None]
    real = torch.tensor([0.0, 4.0])[None, :, None, None, None, None]
    assert distance(rebuilt, real, torch.tensor([[False, True]])).item() == 9
    assert distance(rebuilt, real, torch.tensor([[True, True]])).item() == (25 + 9) / 2
    assert distance(rebuilt, real, torch.tensor([[False, False]])).item() == 0


def test_a_learned_map_is_interpolated_to_another_grid():
    ramp = torch.tensor([-1.0, 1.0])[:, None, None].expand(1, 1, 2, 2, 2)
    assert learned(ramp, (2, 2, 2))[0, :, 0].tolist() == [-1.0] * 4 + [1.0] * 4
    assert learned(ramp, (4, 1, 1))[0, :, 0].tolist() == [-1.0, -0.5, 0.5, 1.0]


def test_present_features_stay_and_absent_ones_are_rebuilt():
    """The decoder is given the real feature of what is there, whatever the transformer makes of it."""
    method, shown = tiny(), presence_of(("t1n", "t2f"))
    encoded = method.encode(batch_shown(shown, shown).images, shown)
    given = []
    method.decoder.register_forward_pre_hook(lambda module, arguments: given.extend(arguments[0]))
    _, rebuilt = method._answer(encoded, shown)
    completed = given[-1].unflatten(1, (4, -1))
    assert torch.equal(completed[:, [0, 3]], encoded[-1][:, [0, 3]])
    assert torch.equal(completed[:, [1, 2]], rebuilt[:, [1, 2]])
    for skip in given[:-1]:
        assert skip.unflatten(1, (4, -1))[:, [1, 2]].abs().sum() == 0


def test_an_absent_modality_enters_as_its_learned_tokens():
    method, shown = tiny(), presence_of(("t1n",))
    encoded = method.encode(batch_shown(shown, shown).images, shown)[-1]
    before = method.rebuild(encoded, shown)
    with torch.no_grad():
        method.rebuild.absent[1].normal_()
    assert (method.rebuild(encoded, shown) - before).abs().max() > 1e-5
    everything = presence_of(GLIOMA.modalities)
    full = method.encode(batch_shown(everything, everything).images, everything)[-1]
    before = method.rebuild(full, everything)
    with torch.no_grad():
        method.rebuild.absent.normal_()
    assert torch.equal(method.rebuild(full, everything), before)


def test_the_loss_by_hand():
    method, acquired, shown = tiny(), presence_of(("t1n", "t1c", "t2f")), presence_of(("t1c",))
    batch = batch_shown(acquired, shown)
    batch.images[:, 2] = torch.nan
    terms = method.stages()[0].loss(batch, CLOCK)
    encoded = method.encode(batch.images, acquired)
    logits, rebuilt = method._answer(encoded, shown)
    expected = (rebuilt - encoded[-1])[:, [0, 3]].square().mean()
    assert terms["reconstruction"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["dice"].item() == pytest.approx(deeply(dice_loss, logits, batch.regions).item(), rel=1e-5)
    assert [level.shape[2] for level in logits] == [16, 8]


def test_what_is_hidden_teaches_the_transformer_and_not_its_own_encoder():
    method, shown = tiny(), presence_of(("t1c",))
    terms = method.stages()[0].loss(batch_shown(presence_of(GLIOMA.modalities), shown), CLOCK)
    terms["reconstruction"].backward()
    moved = [encoder.levels[0].first.weight.grad for encoder in method.encoders]
    assert [bool(gradient is not None and gradient.abs().sum() > 0) for gradient in moved] == [
        False,
        True,
        False,
        False,
    ]
    assert method.rebuild.leave.weight.grad.abs().sum() > 0


def test_without_a_weight_nothing_is_rebuilt_in_training():
    method = make_method(M3FeCon, GLIOMA, {"width": 8, "levels": 3, "reconstruction": 0.0})
    everything = presence_of(GLIOMA.modalities)
    assert set(method.stages()[0].loss(batch_shown(everything, everything), CLOCK)) == {"dice", "cross_entropy"}


def test_a_network_without_a_skip_is_refused():
    with pytest.raises(RecipeError, match="levels = 1: at least 2"):
        make_method(M3FeCon, GLIOMA, {"levels": 1})
