"""MMMViT: correlation place by place, and all scales in one token."""

from typing import Any

import torch

from batches_made import batch_of, clock_at, made_by_recipe, numbers_in, presence_of, sizes_apart
from lacunet.methods.mmmvit import Correlation, MMMViT, all_scales, shares_of
from lacunet.nn.method import make_method
from lacunet.task import GLIOMA

EVERYTHING = GLIOMA.modalities
PAIR = ("t1n", "t2w")


def mmmvit(**arguments: Any) -> MMMViT:
    torch.manual_seed(1)
    method = make_method(MMMViT, GLIOMA, {"width": 4, "levels": 3, **arguments})
    assert isinstance(method, MMMViT)
    return method.train()


def test_shares_by_hand():
    """Widths of 4, so that scores are halved; the second modality's key is twice as long."""
    query = torch.zeros(1, 3, 1, 1, 1, 4)
    query[0, :, 0, 0, 0, 0] = torch.tensor([1.0, 0.0, 5.0])
    key = torch.zeros(1, 3, 1, 1, 1, 4)
    key[0, :, 0, 0, 0, 0] = torch.tensor([2.0, 4.0, 9.0])
    shares = shares_of(query, key, torch.tensor([[True, True, False]]))[0, :, :, 0, 0, 0]
    torch.testing.assert_close(shares[0, :2], torch.softmax(torch.tensor([1.0, 2.0]), 0))
    assert shares[1].tolist() == [0.5, 0.5, 0.0]
    assert shares[:, 2].tolist() == [0, 0, 0]


@torch.no_grad()
def test_a_mix_is_of_present_modalities_at_the_same_place_of_the_same_case():
    torch.manual_seed(2)
    correlation, tokens = Correlation(4), torch.randn(2, 4, 4, 2, 2, 2)
    presence = presence_of(PAIR, EVERYTHING)
    found = correlation(tokens, presence)
    own = tokens[0, [0, 2], :, 1, 0, 1]
    score = correlation.query(own) @ correlation.key(own).T / 2
    expected = own + torch.softmax(score, dim=1) @ own
    torch.testing.assert_close(found[0, [0, 2], :, 1, 0, 1], expected)
    assert found[0, [1, 3]].abs().max() == 0
    torch.testing.assert_close(found[1:], correlation(tokens[1:], presence[1:]))
    tokens[0, 1] = torch.nan
    torch.testing.assert_close(correlation(tokens, presence), found)


@torch.no_grad()
def test_one_alone_is_doubled():
    """Its share in itself is 1."""
    tokens, presence = torch.randn(1, 4, 4, 2, 2, 2), presence_of(("t1c",))
    torch.testing.assert_close(Correlation(4)(tokens, presence)[:, 1], 2 * tokens[:, 1])


def test_a_token_holds_every_scale_of_its_place():
    fine = torch.arange(64.0).view(1, 1, 4, 4, 4)
    middle, coarse = torch.arange(8.0).view(1, 1, 2, 2, 2), torch.full((1, 2, 1, 1, 1), 7.0)
    assert all_scales([fine, middle, coarse]).flatten().tolist() == [31.5, 3.5, 7.0, 7.0]
    two = all_scales([fine, middle])
    assert two.shape == (1, 2, 2, 2, 2)
    assert two[0, 0, 1, 0, 0] == fine[0, 0, 2:, :2, :2].mean()


@torch.no_grad()
def test_the_finest_level_reaches_the_tokens():
    """Its features change the answer by the tokens, too, not by the skips alone."""
    method, everything = mmmvit().eval(), presence_of(EVERYTHING)
    levels = method.branches.encode(batch_of(EVERYTHING).images, everything)
    before = method._encoded(levels, everything).tokens
    levels[0][0] = levels[0][0] + 1
    moved = (method._encoded(levels, everything).tokens - before).abs().amax((0, 2, 3, 4, 5)) > 0
    assert moved.tolist() == [True, False, False, False]


def test_learns_from_what_is_shown():
    method = mmmvit()
    terms = method.stages()[0].loss(batch_of(PAIR, EVERYTHING), clock_at())
    assert set(terms) == {"segmentation", "deep", "auxiliary"}
    torch.stack([*terms.values()]).sum().backward()
    assert not [name for name, parameter in method.named_parameters() if parameter.grad is None]


def test_size_at_full_scale():
    """How many numbers the published network has is not known to us."""
    assert numbers_in(made_by_recipe("mmmvit")) == 17_210_674


def test_the_small_recipe_is_the_same_method_on_another_scale():
    assert sizes_apart("mmmvit")
