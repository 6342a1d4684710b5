"""The selective scan against its recurrence, written as a loop over tokens in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from lacunet.nn.state_space import StateSpace, selective_scan


def scanned_by_a_loop(
    inputs: torch.Tensor, steps: torch.Tensor, decay: torch.Tensor, write: torch.Tensor, read: torch.Tensor
) -> torch.Tensor:
    """One token, one channel and one number of the state after the other."""
    answers = torch.zeros_like(inputs)
    for case in range(inputs.shape[0]):
        for channel in range(inputs.shape[2]):
            state = [torch.zeros((), dtype=inputs.dtype)] * decay.shape[1]
            for token in range(inputs.shape[1]):
                pace, given = steps[case, token, channel], inputs[case, token, channel]
                state = [
                    torch.exp(pace * decay[channel, n]) * old + pace * write[case, token, n] * given
                    for n, old in enumerate(state)
                ]
                answers[case, token, channel] = sum(read[case, token, n] * held for n, held in enumerate(state))
    return answers


def a_row(count: int, slow: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    inputs = torch.randn((2, count, 3), generator=generator, dtype=torch.float64)
    steps = slow * F.softplus(torch.randn((2, count, 3), generator=generator, dtype=torch.float64))
    decay = -torch.exp(torch.randn((3, 4), generator=generator, dtype=torch.float64))
    write, read = torch.randn((2, 2, count, 4), generator=generator, dtype=torch.float64).unbind(0)
    return [inputs, steps, decay, write, read]


@pytest.mark.parametrize("count", [1, 2, 5, 9, 10, 17])
def test_equals_the_loop(count: int):
    row = a_row(count)
    expected = scanned_by_a_loop(*row)
    torch.testing.assert_close(selective_scan(*row), expected)
    single = selective_scan(*(each.float() for each in row))
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)


def test_so_do_its_gradients():
    gradients = []
    for scan in (selective_scan, scanned_by_a_loop):
        row = [each.requires_grad_() for each in a_row(10)]
        gradients.append(torch.autograd.grad(scan(*row).square().sum(), row))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_by_hand():
    """A state that halves at each step: 1, 1/2 + 2, 5/4 + 4; read as it is, and three times at the end."""
    ones = torch.ones(1, 3, 1)
    decay = torch.tensor([[-math.log(2.0)]])
    inputs, read = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1), torch.tensor([1.0, 1.0, 3.0]).view(1, 3, 1)
    found = selective_scan(inputs, ones, decay, ones, read)
    torch.testing.assert_close(found.flatten(), torch.tensor([1.0, 2.5, 15.75]))


def test_very_fast_and_very_slow_states_stay_finite():
    for slow in (1e-8, 1e4):
        inputs, *others = a_row(300, slow)
        row = [each.float().requires_grad_() for each in (inputs, *others)]
        answers = selective_scan(*row)
        gradients = torch.autograd.grad(answers.sum(), row)
        assert all(torch.isfinite(each).all() for each in (answers, *gradients))


def test_a_token_without_a_step_changes_nothing_later():
    inputs, steps, decay, write, read = a_row(9)
    steps[:, 4] = 0
    without = [torch.cat([each[:, :4], each[:, 5:]], dim=1) for each in (inputs, steps, write, read)]
    shorter = selective_scan(without[0], without[1], decay, without[2], without[3])
    torch.testing.assert_close(selective_scan(inputs, steps, decay, write, read)[:, 5:], shorter[:, 4:])


@torch.no_grad()
def test_a_token_receives_from_those_before_it_only():
    torch.manual_seed(1)
    block, tokens = StateSpace(8), torch.randn(1, 12, 8)
    before = block(tokens)
    tokens[:, 6] *= -1
    moved = (block(tokens) - before).abs().amax((0, 2)) > 1e-6
    assert moved.tolist() == [False] * 6 + [True] * 6


@torch.no_grad()
def test_the_block_is_mambas():
    """Gate, convolution of four tokens, pace by softplus, -exp of the stored decay, and the input beside the scan."""
    torch.manual_seed(1)
    block, tokens = StateSpace(4, states=3), torch.randn(1, 5, 4)
    inputs, gate = block.enter(block.norm(tokens)).split(8, dim=2)
    convolved = torch.zeros_like(inputs)
    for token in range(5):
        for back in range(4):
            if token >= back:
                convolved[:, token] += inputs[:, token - back] * block.near.weight[:, 0, 3 - back]
    inputs = F.silu(convolved + block.near.bias)
    pace, write, read = block.select(inputs).split([1, 3, 3], dim=2)
    steps = F.softplus(block.pace(pace))
    scanned = scanned_by_a_loop(inputs, steps, -block.decay.exp(), write, read) + inputs * block.past
    torch.testing.assert_close(block(tokens), tokens + block.out(scanned * F.silu(gate)), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_before_training_paces_are_from_a_thousandth_to_a_tenth():
    block = StateSpace(64)
    paces = F.softplus(block.pace.bias)
    assert paces.min() > 0.99e-3
    assert paces.max() < 1.01e-1
    assert block.decay[5].exp().tolist() == pytest.approx(list(range(1, 17)))
