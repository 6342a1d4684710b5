"""A selective state space (Gu and Dao, Mamba, 2023): a recurrence along a row of tokens whose pace tokens decide."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.linear import Linear

Row = Float[Tensor, "batch token channel"]
Codes = Float[Tensor, "batch token state"]


class StateSpace(nn.Module):
    """Mamba's block: a short causal convolution, the selective scan, a gate, added to what it was given (pre-norm).

    Args:
        width: Of a token.
        states: Numbers that each channel remembers.
        reach: Tokens that the convolution sees, the last of which is the token itself.
        ratio: How many times as wide as a token the scan is.
    """

    def __init__(self, width: int, *, states: int = 16, reach: int = 4, ratio: int = 2) -> None:
        super().__init__()
        wide, rank = ratio * width, math.ceil(width / 16)
        self.sizes = [rank, states, states]
        self.norm = nn.LayerNorm(width)
        self.enter = Linear(width, 2 * wide, bias=False)
        self.near = nn.Conv1d(wide, wide, reach, groups=wide)
        self.select = Linear(wide, sum(self.sizes), bias=False)
        self.pace = Linear(rank, wide)
        self.decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(wide, 1))
        self.past = nn.Parameter(torch.ones(wide))
        self.out = Linear(wide, width, bias=False)
        nn.init.uniform_(self.pace.weight, -(rank**-0.5), rank**-0.5)
        paces = torch.exp(torch.empty(wide).uniform_(math.log(1e-3), math.log(1e-1)))
        self.pace.bias = nn.Parameter(paces + torch.log(-torch.expm1(-paces)))  # so that softplus gives `paces`

    def forward(self, tokens: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        """Each token with what it received from those before it in the row."""
        inputs, gate = self.enter(self.norm(tokens)).chunk(2, dim=-1)
        before = F.pad(inputs.transpose(1, 2), (self.near.kernel_size[0] - 1, 0))
        inputs = F.silu(self.near(before).transpose(1, 2))
        pace, write, read = self.select(inputs).split(self.sizes, dim=-1)
        steps = F.softplus(self.pace(pace).float())
        with torch.autocast(tokens.device.type, enabled=False):
            scanned = selective_scan(inputs.float(), steps, -torch.exp(self.decay.float()), write.float(), read.float())
            scanned = scanned + self.past * inputs.float()
        received: Tensor = self.out(scanned.to(gate.dtype) * F.silu(gate))
        return tokens + received


def selective_scan(inputs: Row, steps: Row, decay: Float[Tensor, "channel state"], write: Codes, read: Codes) -> Row:
    """y_t = C_t . h_t with h_t = exp(D_t A) h_(t-1) + D_t B_t x_t, h_0 = 0 (Mamba's equations 2 and 4, and its D_t B).

    The row is cut into about as many chunks as each has tokens. All chunks run at once from an empty state; then what a
    chunk left is carried into the next, and what it still weighs at each token is added. No number grows on the way:
    every factor is exp of something not above zero.

    Args:
        inputs: x.
        steps: D, not negative. A token with 0 changes no state.
        decay: A, not positive.
        write: B.
        read: C.
    """
    count = inputs.shape[1]
    side = math.isqrt(max(count - 1, 0)) + 1
    driven, paces, writes, reads = (_chunks(each, side) for each in (steps * inputs, steps, write, read))
    elapsed = paces.cumsum(dim=2)
    state = inputs.new_zeros((*driven.shape[:2], *decay.shape))
    own = []
    for token in range(side):
        state = _remembered(paces[:, :, token], decay) * state
        state = state + driven[:, :, token, :, None] * writes[:, :, token, None, :]
        own.append(_read(state, reads[:, :, token]))
    carried = _carried(state, _remembered(elapsed[:, :, -1], decay))
    late = [_read(_remembered(elapsed[:, :, token], decay) * carried, reads[:, :, token]) for token in range(side)]
    answers = torch.stack(own, dim=2) + torch.stack(late, dim=2)
    return answers.flatten(1, 2)[:, :count]


def _chunks(row: Float[Tensor, "batch token _"], side: int) -> Float[Tensor, "batch chunk side _"]:
    """So many tokens a chunk; the last one is filled with zeros, which change no state."""
    return torch.unflatten(F.pad(row, (0, 0, 0, -row.shape[1] % side)), 1, (-1, side))


def _remembered(
    steps: Float[Tensor, "batch chunk channel"], decay: Float[Tensor, "channel state"]
) -> Float[Tensor, "batch chunk channel state"]:
    return torch.exp(steps[..., None] * decay)


def _read(
    state: Float[Tensor, "batch chunk channel state"], read: Float[Tensor, "batch chunk state"]
) -> Float[Tensor, "batch chunk channel"]:
    return (state @ read[..., None])[..., 0]


def _carried(
    left: Float[Tensor, "batch chunk channel state"], remembered: Float[Tensor, "batch chunk channel state"]
) -> Float[Tensor, "batch chunk channel state"]:
    """The state before each chunk, from what each left by itself and what it keeps of the state before it."""
    states = [torch.zeros_like(left[:, 0])]
    for chunk in range(left.shape[1] - 1):
        states.append(remembered[:, chunk] * states[-1] + left[:, chunk])
    return torch.stack(states, dim=1)
