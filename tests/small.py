"""Small things that several test files use: a recipe for tiny networks, and hand-made cases."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lacunet.case import Case, Grid
from lacunet.data.prepare import Preparation
from lacunet.models.model import save_model
from lacunet.nn.method import get_method, make_method
from lacunet.progress import Silent
from lacunet.task import GLIOMA
from lacunet.training.recipe import Recipe, make_recipe

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

SHARED = ROOT.parent / "shared"
"""Real cases, where they lie beside the checkout; tests that need them are skipped elsewhere."""


class Told(Silent):
    """Keeps what is being done, in the words that it is told."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def doing(self, words: str) -> None:
        self.words.append(words)


def tiny_recipe(method: str = "early_fusion", **sections: Any) -> Recipe:
    """A recipe that takes a second; `train={"steps": 3}` changes single keys of a section."""
    fields: dict[str, Any] = {
        "method": method,
        "seed": 3,
        "arguments": {"width": 4, "levels": 2} if method == "early_fusion" else {},
        "prepare": {"spacing": 4.0},
        "train": {
            "steps": 8,
            "batch": 2,
            "crop": [16, 16, 16],
            "precision": "float32",
            "save_every": 3,
            "log_every": 1,
        },
        "validate": {"every": 4, "subsets": ["t1c", "t1c+t2f"]},
    }
    for name, section in sections.items():
        fields[name] = {**fields.get(name, {}), **section} if isinstance(section, dict) else section
    return make_recipe(fields)


def hand_made_case(
    images: dict[str, np.ndarray], spacing: tuple[float, float, float] = (1, 1, 1), reference: np.ndarray | None = None
) -> Case:
    """A case on a RAS+ grid that starts at (10, -20, 30) mm."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = 10, -20, 30
    grid = Grid(next(iter(images.values())).shape, affine)
    images = {modality: image.astype(np.float32) for modality, image in images.items()}
    return Case("made", "made", images, grid, grid, reference)


ROUND = (40, 44, 48)
"""Voxels of a `round_case`."""


def round_case(noise: float, **modalities: float) -> Case:
    """Balls with a dark core, noise on top, and a tumour in the upper half; `t1n=100` gives the grey value."""
    at = np.moveaxis(np.indices(ROUND), 0, -1) - (np.asarray(ROUND) - 1) / 2
    radius = np.linalg.norm(at, axis=-1)
    images = {}
    for seed, (name, grey) in enumerate(modalities.items()):
        change = np.random.default_rng(seed).normal(0, noise, ROUND)
        images[name] = np.where(radius < 17, grey * np.where(radius < 6, 0.5, 1.0) * (1 + change), 0)
    reference = np.where(np.linalg.norm(at - [0, 0, 9], axis=-1) < 4, 2, 0).astype(np.uint8)
    return hand_made_case(images, reference=reference)


def brain(shape: tuple[int, int, int], first: tuple[int, int, int], last: tuple[int, int, int], seed: int = 0):
    """Positive noise within a box (`last` is included), zero elsewhere."""
    image = np.zeros(shape, np.float32)
    box = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
    image[box] = np.random.default_rng(seed).uniform(50, 150, image[box].shape)
    return image


def named(value: object) -> str:
    """A parameter as part of a test's name, the same in every process: sets have no order of their own."""
    return str(sorted(value) if isinstance(value, set) else value)


def save_tiny(folder: Path) -> Path:
    """An untrained network, whose masks are wrong and have voxels."""
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    save_model(folder, method, Preparation(6.0), {"data": "nothing", "licence": "none"})
    return folder
