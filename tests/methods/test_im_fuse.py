"""IM-Fuse: how tokens stand in a row, that absent ones are not in it, and what is kept of it."""

from typing import Any

import pytest
import torch

from batches_made import batch_of, clock_at, made_by_recipe, numbers_in, presence_of, sizes_apart
from lacunet.errors import RecipeError
from lacunet.methods.im_fuse import IMFuse, in_a_row, last_kind
from lacunet.nn.method import make_method
from lacunet.nn.placed import tokens_of
from lacunet.task import GLIOMA

EVERYTHING = GLIOMA.modalities
PAIR = ("t1n", "t2w")


def im_fuse(**arguments: Any) -> IMFuse:
    torch.manual_seed(1)
    method = make_method(IMFuse, GLIOMA, {"width": 4, "levels": 3, **arguments})
    assert isinstance(method, IMFuse)
    return method.train()


def test_the_two_orders():
    kinds = torch.tensor([[[1.0], [2.0]], [[10.0], [20.0]], [[0.1], [0.2]]])  # two modalities and the learned ones
    interleaved, concatenated = in_a_row(kinds, "interleaved"), in_a_row(kinds, "concatenated")
    assert interleaved.flatten().tolist() == pytest.approx([1, 10, 0.1, 2, 20, 0.2])
    assert concatenated.flatten().tolist() == pytest.approx([1, 2, 10, 20, 0.1, 0.2])
    assert torch.equal(last_kind(interleaved, 3, "interleaved"), kinds[2])
    assert torch.equal(last_kind(concatenated, 3, "concatenated"), kinds[2])


@torch.no_grad()
def test_the_row_holds_the_present_modalities_and_the_learned_tokens():
    """T1 and T2 are there: at each place T1's token, T2's token and the learned one."""
    method, presence = im_fuse().eval(), presence_of(PAIR)
    tokens = method.encode(batch_of(PAIR).images, presence).tokens
    placed = tokens_of(method.within.placed(tokens)[0])
    learned = tokens_of(method.learned(tokens.shape[3:]))[0]
    row = torch.stack([placed[0], placed[2], learned], dim=1).flatten(0, 1)
    expected = method.reader(row[None])[0, 2::3]
    torch.testing.assert_close(tokens_of(method.fuse(tokens, presence))[0], expected)


@torch.no_grad()
@pytest.mark.parametrize("order", ["interleaved", "concatenated"])
def test_what_a_learned_token_has_read(order: str):
    """Interleaved: its own place and those before it. Concatenated: every place of every modality."""
    method, everything = im_fuse(order=order).eval(), presence_of(EVERYTHING)
    tokens = method.encode(batch_of(EVERYTHING).images, everything).tokens
    before = tokens_of(method.fuse(tokens, everything))[0]
    tokens[0, 1, :, 1, 0, 0] *= -1  # T1ce at the place with number 16
    after = tokens_of(method.fuse(tokens, everything))[0]
    moved = (after - before).abs().amax(1) > 0
    assert moved[16]
    assert moved[:16].any() == (order == "concatenated")


def test_learns_from_what_is_shown():
    method = im_fuse()
    terms = method.stages()[0].loss(batch_of(PAIR, EVERYTHING), clock_at())
    assert set(terms) == {"segmentation", "deep", "auxiliary"}
    torch.stack([*terms.values()]).sum().backward()
    assert not [name for name, parameter in method.named_parameters() if parameter.grad is None]


def test_an_order_that_is_none_is_refused():
    with pytest.raises(RecipeError, match="order = 'interleave': must be one of interleaved, concatenated"):
        make_method(IMFuse, GLIOMA, {"order": "interleave"})


def test_size_at_full_scale():
    """How many numbers the published network has is not known to us."""
    assert numbers_in(made_by_recipe("im_fuse")) == 31_318_322


def test_the_small_recipe_is_the_same_method_on_another_scale():
    assert sizes_apart("im_fuse")
