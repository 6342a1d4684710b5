"""Windows of a volume: how it is cut and blended, and how much memory a voxel takes in a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.crew.memory import ALONE, Share
from lacunet.nn.method import Method


@dataclass(frozen=True)
class Windows:
    """How a box is cut up when it does not go through the network at once.

    Attributes:
        size: Voxels along each axis; None takes the whole box at once if memory allows, else windows of 128.
        overlap: Share of a window that the next one covers too.
        share: Of the memory, where other workers take theirs.
    """

    size: tuple[int, int, int] | None = None
    overlap: float = 0.5
    share: Share = ALONE


def pad_to(images: Float[Tensor, "batch modality _ _ _"], divisor: int) -> Float[Tensor, "batch modality _ _ _"]:
    """Zeros at the far ends, up to the next multiple of `divisor` along each axis."""
    x, y, z = (-n % divisor for n in images.shape[2:])
    return F.pad(images, (0, z, 0, y, 0, x))


def no_larger_than(shape: Sequence[int], size: Sequence[int], divisor: int) -> tuple[int, int, int]:
    """A window that is no larger than the shape, padded to a multiple of the network's divisor."""
    x, y, z = (min(window, length + -length % divisor) for length, window in zip(shape, size, strict=True))
    return x, y, z


def window_slices(
    shape: Sequence[int], size: tuple[int, int, int], overlap: float
) -> Iterator[tuple[slice, slice, slice]]:
    """Windows that cover the shape; the last along an axis is moved back to end with it."""
    starts = []
    for length, window in zip(shape, size, strict=True):
        step = max(1, int(window * (1 - overlap)))
        count = max(1, -(-(length - window) // step) + 1)
        starts.append([min(index * step, length - window) for index in range(count)])
    for x, y, z in product(*starts):
        yield slice(x, x + size[0]), slice(y, y + size[1]), slice(z, z + size[2])


def gaussian_weight(size: tuple[int, int, int]) -> Float[Tensor, "x y z"]:
    """A Gaussian of a deviation of one eighth of the window, one in the middle and never below a thousandth."""
    axes = []
    for length in size:
        centre = (length - 1) / 2
        axes.append(torch.exp(-0.5 * ((torch.arange(length) - centre) / (length / 8)) ** 2))
    x, y, z = axes
    return (x[:, None, None] * y[None, :, None] * z[None, None, :]).clamp_min(1e-3)


def bytes_per_voxel(method: Method[Any]) -> float:
    """An upper bound of the memory that a forward pass takes per voxel: the outputs of all layers, in float32."""
    side = max(32, 2 * method.divisor)
    given_out = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal given_out
        if isinstance(output, Tensor) and not list(module.children()):
            given_out += output.numel() * 4

    hooks = [module.register_forward_hook(count) for module in method.modules()]
    device = next(method.parameters()).device
    modalities = len(method.task.modalities)
    with torch.inference_mode():
        presence = torch.ones((1, modalities), dtype=torch.bool, device=device)
        method(torch.zeros((1, modalities, side, side, side), device=device), presence)
    for hook in hooks:
        hook.remove()
    return given_out / side**3
