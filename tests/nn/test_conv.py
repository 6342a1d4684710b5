"""Convolution blocks: the norm is torch's, in values, gradients and memory order."""

import pytest
import torch
from torch import nn

from lacunet.nn.conv import ConvBlock, GroupNorm


def outcome(norm: nn.GroupNorm, features: torch.Tensor) -> list[torch.Tensor | None]:
    features = features.clone(memory_format=torch.preserve_format).requires_grad_()
    normalised = norm(features)
    (normalised * torch.linspace(-1, 2, normalised.numel()).view_as(normalised)).sum().backward()
    return [normalised.detach(), *(tensor.grad for tensor in (features, norm.weight, norm.bias))]


@pytest.mark.parametrize("groups", [2, 8])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_group_norm_is_that_of_torch(memory_format: torch.memory_format, groups: int) -> None:
    features = torch.randn((2, 8, 4, 5, 6), generator=torch.Generator().manual_seed(1)) * 3 + 1
    features = features.contiguous(memory_format=memory_format)
    for ours, theirs in zip(
        outcome(GroupNorm(groups, 8), features), outcome(nn.GroupNorm(groups, 8), features), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(GroupNorm(groups, 8)(features), nn.GroupNorm(groups, 8)(features))


def test_group_norm_keeps_the_memory_order_of_the_convolutions() -> None:
    block = ConvBlock(2, 8).to(memory_format=torch.channels_last_3d)
    features = torch.randn(1, 2, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    assert block(features).is_contiguous(memory_format=torch.channels_last_3d)


def test_weights_of_the_norm_have_the_names_of_torch() -> None:
    assert GroupNorm(2, 4).state_dict().keys() == nn.GroupNorm(2, 4).state_dict().keys()
