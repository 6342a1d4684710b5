"""Batches of noise with any sequences hidden, and the recipe of a paper tried for two steps."""

from pathlib import Path

import torch
from torch import nn

from lacunet.nn.batch import Batch
from lacunet.nn.method import Clock, Method, get_method, make_method
from lacunet.task import GLIOMA
from lacunet.training.recipe import read_recipe
from small import ROOT

RECIPES = ROOT / "recipes"


def presence_of(*subsets: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor([GLIOMA.presence(subset) for subset in subsets])


def batch_of(*subsets: tuple[str, ...], side: int = 16) -> Batch:
    """A case for each subset, NaN where a sequence is hidden; nothing else was acquired."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn((len(subsets), 4, side, side, side), generator=generator)
    regions = (torch.rand((len(subsets), 3, side, side, side), generator=generator) > 0.7).float()
    presence = presence_of(*subsets)
    images = torch.where(presence[:, :, None, None, None], images, torch.nan)
    return Batch(images, presence, presence, regions, tuple("abcdefgh"[: len(subsets)]))


def batch_shown(acquired: torch.Tensor, presence: torch.Tensor) -> Batch:
    """A case for each row: what was acquired, and what of it the network sees; every image is there."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn((len(acquired), 4, 16, 16, 16), generator=generator)
    regions = (torch.rand((len(acquired), 3, 16, 16, 16), generator=generator) > 0.7).float()
    return Batch(images, acquired, presence, regions, tuple("abcd"[: len(acquired)]))


def clock_at(step: int = 50, notes: dict[str, float] | None = None) -> Clock:
    """That step of a hundred."""
    heard = {} if notes is None else notes
    return Clock(step, 100, torch.Generator().manual_seed(3), lambda name, value: heard.update({name: float(value)}))


def numbers_in(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def made_by_recipe(name: str) -> Method:
    """The network of the paper's recipe, untrained."""
    torch.manual_seed(1)
    return make_method(get_method(name), GLIOMA, read_recipe(RECIPES / f"{name}.toml").arguments)


def sizes_apart(name: str) -> bool:
    """Whether the small recipe sets nothing else than the paper's, but for `width` and `levels`."""
    full, small = (read_recipe(Path(RECIPES, folder, f"{name}.toml")).arguments for folder in ("", "small"))
    size = {"width", "levels"}
    return {key: full[key] for key in full if key not in size} == {key: small[key] for key in small if key not in size}
