"""mmFormer: which token may look at which, what lies beside what, and its size."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from batches_made import batch_of, clock_at, made_by_recipe, numbers_in, presence_of, sizes_apart
from lacunet.methods.mmformer import MMFormer
from lacunet.nn.among import related, side_by_side
from lacunet.nn.attention import Attention, Layer
from lacunet.nn.method import make_method
from lacunet.nn.placed import Places, maps_of, tokens_of
from lacunet.nn.within import Within
from lacunet.task import GLIOMA

EVERYTHING = GLIOMA.modalities


def mmformer(**arguments: Any) -> MMFormer:
    torch.manual_seed(1)
    method = make_method(MMFormer, GLIOMA, {"width": 4, "levels": 3, **arguments})
    assert isinstance(method, MMFormer)
    return method.train()


def maps(cases: int = 1, width: int = 8, side: int = 2) -> torch.Tensor:
    return torch.randn((cases, 4, width, side, side, side), generator=torch.Generator().manual_seed(7))


def attended(attention: Attention, tokens: torch.Tensor) -> torch.Tensor:
    """softmax(q k / sqrt(d)) v of every head, token by token, of rows `token width`."""
    width, heads = tokens.shape[1], attention.heads
    query, key, value = attention.project(attention.norm(tokens)).split(width, dim=1)
    rows = []
    for number in range(len(tokens)):
        parts = []
        for head in range(heads):
            own = slice(head * width // heads, (head + 1) * width // heads)
            score = key[:, own] @ query[number, own] / (width // heads) ** 0.5
            parts.append(F.softmax(score, dim=0) @ value[:, own])
        rows.append(torch.cat(parts))
    return attention.out(torch.stack(rows))


@torch.no_grad()
def test_a_transformer_adds_attention_and_then_a_perceptron_of_normalised_tokens():
    """z' = MSA(LN(z)) + z and z'' = MLP(LN(z')) + z', the perceptron eight times as wide inside."""
    torch.manual_seed(2)
    within, place = Within(2, 8, heads=8, ratio=8).double(), torch.randn(8, 2, 2, 2).double()
    features = torch.randn(1, 2, 2, 2, 2).double()
    placed = tokens_of((within.widen(features) + place)[0])
    between = placed + attended(within.layer.attention, placed)
    norm, wide, _, narrow = within.layer.mlp
    expected = between + narrow(F.gelu(wide(norm(between))))
    assert wide.out_features == 8 * 8
    torch.testing.assert_close(tokens_of(within(features, place)[0]), expected)


@torch.no_grad()
def test_tokens_of_present_modalities_attend_to_each_other_and_no_others():
    """As if the row of tokens had been written without the absent ones."""
    layer, stacked = Layer(8, 2), maps(2)
    presence = presence_of(("t1n", "t2w"), EVERYTHING)
    found = related(layer, stacked, presence)
    row = torch.cat([tokens_of(stacked[0, 0]), tokens_of(stacked[0, 2])])
    expected = row + attended(layer.attention, row)
    expected = expected + layer.mlp(expected)
    torch.testing.assert_close(torch.cat([tokens_of(found[0, 0]), tokens_of(found[0, 2])]), expected)
    assert found[0, 1].abs().max() == found[0, 3].abs().max() == 0
    alone = related(layer, stacked[1:], presence[1:])
    torch.testing.assert_close(found[1:], alone)


def test_a_place_of_the_joined_map_holds_that_place_of_every_modality():
    """Not four neighbouring places of one modality, as reshaping the row of all tokens would give."""
    numbered = torch.arange(4 * 3 * 8.0).view(1, 4, 3, 2, 2, 2)
    joined = side_by_side(numbered)
    assert joined.shape == (1, 12, 2, 2, 2)
    for modality in range(4):
        assert torch.equal(joined[0, 3 * modality : 3 * modality + 3, 1, 0, 1], numbered[0, modality, :, 1, 0, 1])


def test_tokens_go_back_to_where_they_came_from():
    numbered = torch.arange(2 * 3 * 24.0).view(2, 3, 2, 3, 4)
    tokens = tokens_of(numbered)
    assert torch.equal(tokens[1, 23], numbered[1, :, 1, 2, 3])
    assert torch.equal(maps_of(tokens, (2, 3, 4)), numbered)


@torch.no_grad()
def test_places_are_zero_at_first_their_own_on_their_grid_and_interpolated_on_others():
    places = Places(2, 3, 4)
    assert places((4, 4, 4)).abs().max() == 0
    places.learned.copy_(torch.arange(4.0).view(1, 1, 4, 1, 1).expand(2, 3, 4, 4, 4))
    assert torch.equal(places((4, 4, 4)), places.learned)
    assert places((8, 2, 4))[0, 0, :, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


@torch.no_grad()
def test_both_transformers_are_told_the_place():
    method, everything = mmformer().eval(), presence_of(EVERYTHING)
    images = batch_of(EVERYTHING).images
    before, encoded = method(images, everything), method.encode(images, everything)
    method.within.places.learned.normal_(generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(method.encode(images, everything).tokens, encoded.tokens, atol=1e-4)
    assert not torch.allclose(method.decode(encoded, everything), before, atol=1e-4)


def test_a_hidden_modality_supervises_nothing_and_its_encoder_does_not_move():
    method, batch = mmformer(), batch_of(("t1c", "t2f"))
    acquired = presence_of(EVERYTHING)
    terms = method.stages()[0].loss(replace(batch, acquired=acquired), clock_at())
    assert set(terms) == {"segmentation", "deep", "auxiliary"}
    torch.stack([*terms.values()]).sum().backward()
    for index, modality in enumerate(EVERYTHING):
        gradients = [parameter.grad for parameter in method.branches.encoders[index].parameters()]
        moved = any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
        assert moved == (modality in ("t1c", "t2f"))


def test_has_35_million_numbers_at_full_size():
    """The published count is about 35 million."""
    count = numbers_in(made_by_recipe("mmformer"))
    assert count == 34_808_626
    assert count == pytest.approx(35e6, rel=0.02)


def test_the_small_recipe_is_the_same_method_on_another_scale():
    assert sizes_apart("mmformer")
