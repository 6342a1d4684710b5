"""Attention among tokens, some of which may be absent."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lacunet.nn.linear import Linear


class Layer(nn.Module):
    """Attention and a perceptron, `ratio` times as wide inside, each added to what it was given (pre-norm)."""

    def __init__(self, width: int, heads: int, ratio: int = 2) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.mlp = mlp(width, ratio)

    def forward(
        self, tokens: Float[Tensor, "sequence token width"], kept: Bool[Tensor, "sequence token"] | None
    ) -> Float[Tensor, "sequence token width"]:
        """Every token attends to the kept ones."""
        tokens = tokens + self.attention(tokens, kept)
        mixed: Tensor = tokens + self.mlp(tokens)
        return mixed

    def gathered(
        self,
        tokens: Float[Tensor, "sequence token width"],
        there: Bool[Tensor, "sequence token"],
        kept: Bool[Tensor, "sequence token"],
    ) -> Float[Tensor, "sequence token width"]:
        """The same for the present tokens; absent ones are zero and cost nothing."""
        mixed = torch.zeros_like(tokens)
        for case, own in enumerate(there):
            if own.any():
                attended = self(tokens[case : case + 1, own], kept[case : case + 1, own])
                mixed[case, own] = attended[0].to(mixed.dtype)
        return mixed


class Attention(nn.Module):
    """Multi-head attention of normalised tokens to those that count as keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = Linear(width, 3 * width)
        self.out = Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "sequence token width"], keys: Bool[Tensor, "sequence token"] | None
    ) -> Float[Tensor, "sequence token width"]:
        """What each token receives; zero (and not NaN) where there is no key."""
        query, key, value = self.project(self.norm(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if keys is None:
            received = F.scaled_dot_product_attention(query, key, value)
        else:
            any_key = keys.any(dim=1)[:, None, None, None]
            received = F.scaled_dot_product_attention(query, key, value, attn_mask=keys[:, None, None] | ~any_key)
            received = torch.where(any_key, received, 0.0)
        answer: Tensor = self.out(received.transpose(1, 2).flatten(2))
        return answer


def mlp(width: int, ratio: int = 2) -> nn.Sequential:
    """Normalise, widen, narrow."""
    wide = ratio * width
    return nn.Sequential(nn.LayerNorm(width), Linear(width, wide), nn.GELU(), Linear(wide, width))
