"""M2FTrans: the mask rule, the weights of the skips and the attention among channels."""

from typing import Any

import pytest
import torch

from batches_made import batch_of, clock_at, made_by_recipe, numbers_in, presence_of, sizes_apart
from lacunet.methods.m2ftrans import ChannelFusion, M2FTrans, MaskedLayer, channel_attention, enlarged, weighed_skips
from lacunet.nn.method import make_method
from lacunet.task import GLIOMA

EVERYTHING = GLIOMA.modalities
PAIR = ("t1n", "t2w")


def m2ftrans(**arguments: Any) -> M2FTrans:
    torch.manual_seed(1)
    method = make_method(M2FTrans, GLIOMA, {"width": 4, "levels": 3, **arguments})
    assert isinstance(method, M2FTrans)
    return method.train()


def masked_attention(layer: MaskedLayer, row: torch.Tensor, may: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer over one row of all tokens, which of them may look at which written out; and its attention."""
    attention = layer.attention
    query, key, value = attention.project(attention.norm(row)).unflatten(1, (3, attention.heads, -1)).unbind(1)
    score = torch.einsum("ihd,jhd->hij", query, key) / query.shape[-1] ** 0.5
    share = torch.softmax(torch.where(may, score, -torch.inf), dim=-1)
    row = row + attention.out(torch.einsum("hij,jhd->ihd", share, value).flatten(1))
    return row + layer.mlp(row), share.mean(0)


@torch.no_grad()
@pytest.mark.parametrize("subset", [PAIR, ("t1c",), EVERYTHING], ids="+".join)
def test_the_mask_rule_over_two_layers(subset: tuple[str, ...]):
    """Modality tokens look at their own modality, fusion tokens at themselves and at all that is there."""
    torch.manual_seed(3)
    count, layers = 3, [MaskedLayer(8, 2, 4) for _ in range(2)]
    tokens, fusion = torch.randn(1, 4, count, 8), torch.randn(1, count, 8)
    presence = presence_of(subset)

    kind = torch.arange(5).repeat_interleave(count)  # 0 is the fusion tokens, 1 to 4 the modalities
    there = torch.cat([torch.ones(1, dtype=torch.bool), presence[0]])[kind]
    may = (kind[:, None] == kind) | ((kind[:, None] == 0) & there)
    row = torch.cat([fusion[0], *tokens[0]])
    row, _ = masked_attention(layers[0], row, may)
    row, share = masked_attention(layers[1], row, may)

    second = layers[0](tokens[0], None)[None]
    found, _ = layers[0].asked(fusion, tokens, presence)
    found, weights = layers[1].asked(found, second, presence)
    torch.testing.assert_close(found[0], row[:count])
    of_modality = torch.stack([share[:count, kind == 1 + index].sum(1) for index in range(4)])
    torch.testing.assert_close(weights[0], of_modality / of_modality.sum(0))


@torch.no_grad()
def test_weights_add_up_to_one_and_absent_modalities_have_none():
    method = m2ftrans().eval()
    for subset in GLIOMA.subsets:
        presence = presence_of(subset)
        encoded = method.encode(batch_of(subset).images, presence)
        _, weights = method.fuse(encoded.tokens, encoded.channels[-1].shape[3:], presence)
        torch.testing.assert_close(weights.sum(1), torch.ones(1, 4, 4, 4))
        assert weights[~presence].abs().sum() == 0
        assert weights[presence].min() > 0


@torch.no_grad()
def test_a_skip_is_weighed_by_the_coarse_voxel_it_lies_in():
    weights = torch.zeros(1, 2, 2, 2, 2)
    weights[0, 0, 1, 0, 1] = 0.25
    first, second = weighed_skips([torch.full((1, 3, 4, 4, 4), 8.0), torch.ones(1, 3, 4, 4, 4)], weights)
    assert first[0, :, 2:, :2, 2:].unique().tolist() == [2.0]
    assert first.sum() == 3 * 8 * 2.0
    assert second.abs().sum() == 0
    assert enlarged(weights, torch.Size([4, 4, 4])).sum() == 8 * 0.25


def test_channel_attention_by_hand():
    """One voxel pair: the query's channel is along the first key and at right angles to the second."""
    query = torch.tensor([[[3.0, 0.0]]])
    key = torch.tensor([[[[5.0, 0.0]], [[0.0, 2.0]]]])
    value = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]])
    everything, first, sharpness = torch.tensor([[True, True]]), torch.tensor([[True, False]]), torch.tensor(2.0)
    share = torch.softmax(torch.tensor([2.0, 0.0]), 0)  # sharpness times cosines of 1 and 0
    expected = (share @ torch.tensor([[1.0, 2.0], [10.0, 20.0]])).view(1, 1, 2)
    torch.testing.assert_close(channel_attention(query, key, value, everything, sharpness), expected)
    assert channel_attention(query, key, value, first, sharpness).tolist() == [[[1.0, 2.0]]]


@torch.no_grad()
def test_channels_attend_to_the_weighed_features_of_present_modalities():
    """Weights are given to keys and values after their convolution; before it they give the same."""
    torch.manual_seed(2)
    fusion = ChannelFusion(4, 3)
    features, weights, fused = torch.randn(1, 4, 3, 2, 2, 2), torch.rand(1, 4, 2, 2, 2), torch.randn(1, 3, 2, 2, 2)
    presence, ones = presence_of(PAIR), torch.ones(1, 4, 2, 2, 2)
    after = torch.stack(fusion.described(list(features.unbind(1))), dim=1)
    before = torch.stack(fusion.described(list((features * weights[:, :, None]).unbind(1))), dim=1)
    found = fusion(fused, after, weights, presence)
    torch.testing.assert_close(found, fusion(fused, before, ones, presence))
    after[:, 1] = torch.nan  # T1ce is absent
    torch.testing.assert_close(found, fusion(fused, after, weights, presence))


@torch.no_grad()
def test_the_attention_of_the_fusion_tokens_weighs_the_skips(monkeypatch: pytest.MonkeyPatch):
    method, presence = m2ftrans().eval(), presence_of(PAIR)
    encoded = method.encode(batch_of(PAIR).images, presence)
    fused, weights = method.fuse(encoded.tokens, encoded.channels[-1].shape[3:], presence)
    logits = method.decode(encoded, presence)
    other = weights.roll(2, dims=1)  # T1's and T2's are exchanged
    monkeypatch.setattr(method, "fuse", lambda tokens, grid, presence: (fused, weights))
    assert torch.equal(method.decode(encoded, presence), logits)
    monkeypatch.setattr(method, "fuse", lambda tokens, grid, presence: (fused, other))
    assert not torch.allclose(method.decode(encoded, presence), logits, atol=1e-5)


def test_learns_from_what_is_shown():
    method = m2ftrans()
    terms = method.stages()[0].loss(batch_of(PAIR, EVERYTHING), clock_at())
    assert set(terms) == {"segmentation", "deep", "auxiliary"}
    torch.stack([*terms.values()]).sum().backward()
    assert not [name for name, parameter in method.named_parameters() if parameter.grad is None]


def test_size_at_full_scale():
    """How many numbers the published network has is not known to us."""
    assert numbers_in(made_by_recipe("m2ftrans")) == 36_289_876


def test_the_small_recipe_is_the_same_method_on_another_scale():
    assert sizes_apart("m2ftrans")
