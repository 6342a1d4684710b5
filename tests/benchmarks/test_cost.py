"""The FLOPs that `benchmarks/cost.py` prints, counted by hand."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import nn

from lacunet.methods.masm import MASM
from lacunet.nn.attention import Attention
from lacunet.nn.method import make_method
from lacunet.task import GLIOMA
from small import ROOT


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cost

    yield cost
    for name in ("cost", "measure"):
        sys.modules.pop(name, None)


def test_a_convolution_costs_two_for_each_weight_at_each_voxel(cost: ModuleType):
    """4 output channels of 3 * 3 * 3 * 2 weights at 5 * 6 * 7 voxels."""
    conv, image = nn.Conv3d(2, 4, 3, padding=1), torch.randn(1, 2, 5, 6, 7)
    with torch.no_grad():
        assert cost.count_flops(conv, lambda: conv(image))[0] == 2 * 4 * 54 * 210


def test_attention_costs_its_four_projections_and_two_products(cost: ModuleType):
    """10 tokens of 8 channels, 2 heads: each projection 8 * 8 a token, each product 10 * 10 * 8; a mask is free."""
    attention, tokens = Attention(8, 2), torch.randn(1, 10, 8)
    expected = 2 * (4 * 10 * 64 + 2 * 100 * 8)
    with torch.inference_mode():
        assert cost.count_flops(attention, lambda: attention(tokens, None))[0] == expected
        keys = torch.ones(1, 10, dtype=torch.bool)
        assert cost.count_flops(attention, lambda: attention(tokens, keys))[0] == expected


def test_pruned_tokens_are_not_paid_for(cost: ModuleType):
    """Between keeping all and none of 64 tokens of 16 channels in each of 4 modalities lies the pairs' layer alone:
    4 projections of 16 * 16 and a perceptron of 2 * 16 * 32 a token, and two products of 128 * 128 * 16 a pair.
    """
    images, presence = torch.randn(1, 4, 8, 8, 8), torch.ones(1, 4, dtype=torch.bool)
    flops = {}
    for share in (1.0, 0.0):
        method = make_method(MASM, GLIOMA, {"width": 8, "levels": 3}).eval()
        del method.aware[1]
        cost.draw_scores(method, share)
        with torch.inference_mode():
            flops[share] = cost.count_flops(method, lambda method=method: method(images, presence))
    layer = 2 * (256 * (4 * 256 + 2 * 512) + 2 * 2 * 128 * 128 * 16)
    assert flops[1.0][0] - flops[0.0][0] == layer
    assert flops[1.0][1] - flops[0.0][1] == layer
