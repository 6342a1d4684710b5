"""The FLOPs that `benchmarks/cost.py` prints, counted by hand."""

import inspect
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import nn

from lacunet.methods.masm import MASM
from lacunet.nn.attention import Attention
from lacunet.nn.method import get_method, make_method
from lacunet.nn.papers import method_names
from lacunet.task import GLIOMA
from small import ROOT


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cost

    yield cost
    for name in ("cost", "measure", "counting"):
        sys.modules.pop(name, None)


@pytest.fixture
def counting(cost: ModuleType) -> ModuleType:
    import counting

    return counting


def test_a_convolution_costs_two_for_each_weight_at_each_voxel(counting: ModuleType):
    """4 output channels of 3 * 3 * 3 * 2 weights at 5 * 6 * 7 voxels."""
    conv, image = nn.Conv3d(2, 4, 3, padding=1), torch.randn(1, 2, 5, 6, 7)
    with torch.no_grad():
        assert counting.count_flops(conv, lambda: conv(image))[0] == 2 * 4 * 54 * 210


def test_attention_costs_its_four_projections_and_two_products(counting: ModuleType):
    """12 tokens of 8 channels, 2 heads: each projection 8 * 8 a token, each product 12 * 12 * 8; a mask is free."""
    attention, tokens = Attention(8, 2), torch.randn(1, 12, 8)
    expected = 2 * (4 * 12 * 64 + 2 * 144 * 8)
    with torch.inference_mode():
        assert counting.count_flops(attention, lambda: attention(tokens, None))[0] == expected
        keys = torch.ones(1, 12, dtype=torch.bool)
        assert counting.count_flops(attention, lambda: attention(tokens, keys))[0] == expected


def test_pruned_tokens_are_not_paid_for(cost: ModuleType, counting: ModuleType):
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
            flops[share] = counting.count_flops(method, lambda method=method: method(images, presence))
    layer = 2 * (256 * (4 * 256 + 2 * 512) + 2 * 2 * 128 * 128 * 16)
    assert flops[1.0][0] - flops[0.0][0] == layer
    assert flops[1.0][1]["aware"] - flops[0.0][1]["aware"] == layer
    assert flops[1.0][0] == sum(flops[1.0][1].values())


def test_the_parts_of_a_network_are_its_children_and_lists_of_them(counting: ModuleType):
    """Blocks of the shift in the skips count as the shift's."""
    images, presence = torch.randn(1, 4, 8, 8, 8), torch.ones(1, 4, dtype=torch.bool)
    found = {}
    for layers in ("paper", "all"):
        method = make_method(MASM, GLIOMA, {"width": 8, "levels": 3, "aware": False, "layers": layers}).eval()
        with torch.inference_mode():
            found[layers] = counting.count_flops(method, lambda method=method: method(images, presence))
    assert found["all"][1]["encoder"] == found["paper"][1]["encoder"] > 0
    assert found["all"][1]["shift"] > 3 * found["paper"][1]["shift"] > 0
    for total, parts in found.values():
        assert total == sum(parts.values())
        assert set(parts) == {"encoder", "aware", "shift", "joins", "decoder", "outputs"}


@pytest.mark.parametrize("name", method_names())
def test_counting_from_shapes_gives_what_counting_a_pass_does(
    name: str, counting: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    """Every method, small: with every tensor of more than 512 numbers left out, and with none.

    Which tokens `masm` prunes depends on such numbers: nothing is pruned here, and `cost.py` draws its scores.
    """
    known, tiny = inspect.signature(get_method(name)).parameters, {"width": 8, "levels": 3, "prune": False}
    arguments = {argument: value for argument, value in tiny.items() if argument in known}
    method = make_method(get_method(name), GLIOMA, arguments).deployed().eval()
    images, presence = torch.randn(1, 4, *[2 * method.divisor] * 3), torch.tensor([[True, False, True, True]])
    counts = []
    for big in (512, 2**40):
        monkeypatch.setattr(counting, "BIG", big)
        counts.append(counting.count_flops(method, lambda: method(images, presence)))
    assert counts[0] == counts[1]
    assert counts[0][0] > 0


def test_big_tensors_are_not_computed(counting: ModuleType):
    """A convolution of 2^50 FLOPs, counted at once; its input alone would be 16 GiB."""
    conv = nn.Conv3d(64, 64, 3, padding=1, bias=False)
    flops, _ = counting.count_flops(conv, lambda: conv(torch.empty(1, 64, 512, 512, 256)))
    assert flops == 2 * 64 * 64 * 27 * 2**26


def test_the_table_has_every_method_in_a_row(cost: ModuleType):
    """A method without a recipe of full size could not be a row; masm has a row for each of its variants."""
    assert {path.stem for path in cost.RECIPES.glob("*.toml")} == set(method_names())
    assert cost.cells({"parameters": 31_400_000, "flops": 2_024_600_000_000}) == [*("31.4", "2,024.6")]
    timed = {"parameters": 2e6, "flops": 1e9, "peak": 7820.4, "seconds": 0.5}
    assert cost.cells(timed) == ["2.0", "1.0", "7,820", "0.50"]
