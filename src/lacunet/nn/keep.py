"""Tokens that are worth keeping: a score, a mask of 0 and 1 with a gradient, and the temperature of that gradient."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Presence
from lacunet.nn.linear import Linear
from lacunet.nn.tokens import Tokens

Cooling = Literal["exponential", "linear"]
"""How a temperature goes from its first value to its last: by equal factors or by equal steps."""


class KeepScore(nn.Module):
    """How much a token is worth keeping, from itself and the mean of its group (as in DynamicViT, Rao et al., 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.describe = nn.Sequential(nn.LayerNorm(width), Linear(width, width), nn.GELU())
        last = Linear(width // 2, 1)
        nn.init.constant_(last.bias, 2.0)  # most are kept at first
        self.judge = nn.Sequential(Linear(width, width // 2), nn.GELU(), last)

    def forward(self, tokens: Tokens, presence: Presence) -> Float[Tensor, "batch modality token"]:
        """Above zero: more likely kept than not."""
        local, overall = self.describe(tokens).chunk(2, dim=-1)
        there = presence[:, :, None, None]
        count = (presence.sum(1) * tokens.shape[2]).clamp_min(1)[:, None, None, None]
        overall = torch.where(there, overall, 0.0).sum((1, 2), keepdim=True) / count
        score: Tensor = self.judge(torch.cat([local, overall.expand_as(local)], dim=-1))
        return score[..., 0].float()


def hard_mask(
    score: Float[Tensor, "batch modality token"], temperature: float | None, *, drawn: bool = False
) -> Float[Tensor, "batch modality token"]:
    """Exactly 0 or 1, with the gradient of a sigmoid: the straight-through Gumbel-softmax of two classes.

    The difference of two Gumbel draws is one logistic draw, so that one score stands for the two.

    Args:
        score: The logit of keeping.
        temperature: Of the sigmoid that lends its gradient; None gives none.
        drawn: Whether the mask is drawn with the score's probability, or is 1 where that is above one half.
    """
    if drawn:
        chance = torch.rand_like(score).clamp(1e-6, 1 - 1e-6)
        score = score + torch.logit(chance)
    hard = (score > 0).float()
    if temperature is None:
        return hard
    soft = torch.sigmoid(score / temperature)
    return hard + (soft - soft.detach())


def temperature_at(progress: float, first: float, last: float, cooling: Cooling) -> float:
    """The temperature when a share of the training is over.

    Args:
        progress: That share, 0 to 1.
        first: The temperature at 0.
        last: At 1.
        cooling: Whether it goes from one to the other by equal factors or by equal steps.
    """
    if cooling == "exponential":
        return float(first * (last / first) ** progress)
    return first + (last - first) * progress
