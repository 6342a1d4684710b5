"""How steep the loss is around trained weights, and how strongly a network amplifies a small change of its input."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def filter_normalised(weights: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """A random direction in the space of weights, each filter as long as the network's own (Li et al., 2018, sec. 4).

    So that networks whose weights are of different size are moved alike. The rows of a matrix are its filters; what
    has one axis or none (biases, norms) stays where it is.

    Args:
        weights: A network's parameters.
        generator: The draws, of the CPU; one direction is the same on every device.
    """
    direction = []
    for weight in weights:
        drawn = torch.randn(weight.shape, generator=generator).to(weight)
        if weight.dim() <= 1:
            direction.append(torch.zeros_like(weight))
            continue
        own, length = (values.detach().flatten(1).norm(dim=1) for values in (weight, drawn))
        factor = own / length.clamp_min(1e-10)
        direction.append(drawn * factor.view(-1, *[1] * (weight.dim() - 1)))
    return direction


@contextmanager
def moved(weights: Sequence[Tensor], direction: Sequence[Tensor], distance: float) -> Iterator[None]:
    """Within it, the weights are so far along the direction; afterwards they are what they were, bit for bit."""
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, step in zip(weights, direction, strict=True):
            weight.add_(step, alpha=distance)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)


def largest_gain(
    function: Callable[[Tensor], Tensor],
    at: Tensor,
    generator: torch.Generator,
    *,
    iterations: int = 6,
    size: float = 1e-2,
) -> float:
    """A local Lipschitz constant, from below: how many times as long a small change can be once it has passed through.

    The largest singular value of the Jacobian by power iteration; both changes are measured by their Euclidean norm.
    The Jacobian meets a direction by a central difference, its transpose by the gradient.

    Args:
        function: Of a tensor, differentiable once.
        at: Where. A value that must not change can be masked inside `function`.
        generator: Of the first direction, of the CPU.
        iterations: Each costs two evaluations and a gradient.
        size: Length of the change, as a share of the length of `at`.

    Returns:
        0 where nothing that was tried has an effect.
    """
    length = size * float(at.norm()) or size
    direction = torch.randn(at.shape, generator=generator).to(at)
    gain = 0.0
    for _ in range(iterations):
        direction = direction / direction.norm()
        with torch.no_grad():
            change = (function(at + length * direction) - function(at - length * direction)) / (2 * length)
        gain = float(change.norm())
        here = at.detach().clone().requires_grad_()
        (back,) = torch.autograd.grad(function(here), here, grad_outputs=change)
        if not float(back.norm()) > 0:
            return gain
        direction = back
    return gain
