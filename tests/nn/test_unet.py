"""Parts of a U-Net: one level up in a decoder that adds its skips."""

import torch
from torch import nn

from lacunet.nn.unet import Rise


class Doubled(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return 2 * features


@torch.no_grad()
def test_a_rise_narrows_enlarges_adds_the_skip_and_ends_with_its_block() -> None:
    """Two channels of 3 and 5 become 3 + 2 * 5 + 1 = 14 everywhere; with a skip of 6, doubled: 40."""
    made = []
    rise = Rise(2, 1, lambda channels: made.append(channels) or Doubled())
    rise.narrow.weight.copy_(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1, 1))
    rise.narrow.bias.fill_(1.0)
    below = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1, 1).expand(1, 2, 2, 2, 2)
    features = rise(below, torch.full((1, 1, 4, 4, 4), 6.0))
    assert made == [1]
    assert torch.equal(features, torch.full((1, 1, 4, 4, 4), 40.0))


def test_the_weights_of_a_rise_have_the_names_that_models_were_saved_with() -> None:
    assert set(Rise(2, 1, lambda channels: nn.Conv3d(channels, channels, 1)).state_dict()) == {
        *("narrow.weight", "narrow.bias", "block.weight", "block.bias"),
    }
