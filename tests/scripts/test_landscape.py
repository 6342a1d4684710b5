"""Directions, moves and gains, each on something whose answer is known."""

import pytest
import torch

from landscape import filter_normalised, largest_gain, moved


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_filter_of_a_direction_is_as_long_as_the_weights_own():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(2, 3, 3), torch.nn.GroupNorm(3, 3), torch.nn.Linear(4, 5))
    weights = list(network.parameters())
    direction = filter_normalised(weights, seeded())
    for weight, step in zip(weights, direction, strict=True):
        if weight.dim() > 1:
            torch.testing.assert_close(step.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))
        else:
            assert step.abs().max() == 0
    longer = filter_normalised([3 * weight.detach() for weight in weights], seeded())
    torch.testing.assert_close(longer, [3 * step.detach() for step in direction])
    again, other = filter_normalised(weights, seeded()), filter_normalised(weights, seeded(2))
    assert torch.equal(direction[0], again[0])
    assert not torch.allclose(direction[0], other[0])


def test_weights_come_back_bit_for_bit_also_after_an_error():
    weight = torch.nn.Parameter(torch.tensor([[0.1, 0.2]]))
    before = weight.detach().clone()
    step = torch.tensor([[1.0, -1e8]])

    def fails_on_the_way() -> None:
        with moved([weight], [step], 0.5):
            assert weight[0].tolist() == pytest.approx([0.6, -5e7])
            raise KeyError

    with pytest.raises(KeyError):
        fails_on_the_way()
    assert torch.equal(weight, before)


def test_the_gain_of_a_matrix_is_its_spectral_norm():
    matrix = torch.randn((7, 5), generator=seeded())
    expected = torch.linalg.matrix_norm(matrix, 2).item()
    found = largest_gain(lambda x: matrix @ x, torch.ones(5), seeded(3), iterations=40)
    assert found == pytest.approx(expected, rel=1e-3)
    few = largest_gain(lambda x: matrix @ x, torch.ones(5), seeded(3), iterations=1)
    assert few <= expected * 1.0001


def test_the_gain_is_local():
    """The square of a number changes twice as fast as the number is large."""
    for value in (1.0, 4.0):
        at = torch.tensor([value, 0.0])
        assert largest_gain(torch.square, at, seeded(), iterations=20) == pytest.approx(2 * value, rel=1e-3)


def test_what_is_masked_has_no_gain():
    mask = torch.tensor([0.0, 1.0])
    assert largest_gain(lambda x: 100 * x * (1 - mask) * 0 + 3 * x * mask, torch.ones(2), seeded()) == pytest.approx(
        3, rel=1e-4
    )
    assert largest_gain(lambda x: x * 0, torch.ones(2), seeded()) == 0
