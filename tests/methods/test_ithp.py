"""ITHP as recipes of SMSN's parts: its weights, and what of them `docs/methods/smsn.md` says is otherwise."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from batches_made import RECIPES, presence_of
from lacunet.methods.smsn import SMSN, Bottleneck, Reconstruction
from lacunet.nn.method import make_method
from lacunet.task import GLIOMA
from lacunet.training.recipe import read_recipe

BETA, GAMMA, SECOND = 8.0, 32.0, 0.3
SCALE = 2.0 / (BETA + GAMMA)
"""Xiao et al. 2024: SCALE * (KL1 + BETA * MSE1 + SECOND * (KL2 + GAMMA * MSE2)), as their code has it."""


def mean_square(part: Reconstruction, bottleneck: Bottleneck, order: Tensor, features: Tensor) -> Tensor:
    """What a code rebuilds of the sequences that entered its bottleneck, against their features: the mean of both."""
    hidden = F.gelu(part.hidden(bottleneck.code))
    squares = []
    for sequence in order[0, part.positions]:
        scale, shift = (learned[sequence, :, None, None, None] for learned in (part.scale, part.shift))
        squares.append((part.out(hidden * (1 + scale) + shift) - features[:, sequence]).square().mean())
    return torch.stack(squares).mean()


@pytest.mark.parametrize("folder", ["small", "large"])
def test_the_weights_are_ithps_but_for_the_second_kl(folder: str):
    arguments = read_recipe(RECIPES / folder / "smsn-ithp.toml").arguments
    assert arguments["kl"] == pytest.approx(SCALE)
    assert arguments["beta"] == pytest.approx(SCALE * BETA)
    assert arguments["gamma"] == pytest.approx(SCALE * SECOND * GAMMA)


def test_each_mean_square_has_half_of_its_weight_where_all_sequences_are_there():
    arguments = read_recipe(RECIPES / "small" / "smsn-ithp.toml").arguments
    torch.manual_seed(1)
    method = make_method(SMSN, GLIOMA, {**arguments, "width": 4, "levels": 3})
    presence = presence_of(GLIOMA.modalities)
    images = torch.randn(1, 4, 16, 16, 16)
    encoded = method.encode(images, presence)
    fused = method.fuse(encoded, presence)
    halves = zip((arguments["beta"], arguments["gamma"]), method.reconstructions, fused.bottlenecks, strict=True)
    expected = [0.5 * weight * mean_square(part, one, fused.order, encoded.features) for weight, part, one in halves]
    torch.testing.assert_close(method._reconstructed(fused, encoded, images), torch.stack(expected).sum()[None])


def test_nothing_of_what_smsn_adds_is_left():
    arguments = read_recipe(RECIPES / "small" / "smsn-ithp.toml").arguments
    method = make_method(SMSN, GLIOMA, arguments)
    assert method.specific is None
    assert method.reorder == "fixed"
    assert len(method.reconstructions) == 2
