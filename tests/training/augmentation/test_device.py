"""Crops can be changed on any device, without a number being read from it."""

import numpy as np
import pytest
import torch

from lacunet.training.augmentation.change import draw_change
from lacunet.training.augmentation.crop import seen_worse
from lacunet.training.augmentation.settings import (
    Augmentation,
    CutView,
    Ghosts,
    Rician,
    Shading,
    Slices,
    Stripping,
)

ALL = Augmentation(
    inverted=0.5,
    blur=0.5,
    shading=Shading(chance=1),
    slices=Slices(chance=1),
    rician=Rician(chance=1),
    ghosts=Ghosts(chance=1),
    stripping=Stripping(chance=1),
    cut_view=CutView(chance=1),
)


class AnyGenerator(torch.Generator):
    """The device without memory has no random numbers."""

    def __new__(cls, device: torch.device | None = None) -> "AnyGenerator":
        return super().__new__(cls)


def test_no_number_is_read_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without memory refuse to be read, and to be mixed with tensors of the processor."""
    monkeypatch.setattr(torch, "Generator", AnyGenerator)
    images, labels = torch.empty((2, 16, 12, 10), device="meta"), torch.empty((16, 12, 10), device="meta").byte()
    for seed in range(10):  # both kinds of stripping, ghosts along all axes
        change = draw_change(ALL, 2, np.random.default_rng(seed))
        worse, marked = seen_worse(images, labels, (True, False), change, np.full(3, 8.0), (20, 20, 20))
        assert worse.device.type == marked.device.type == "meta"
