"""A field of view that ends inside the brain: a slab at an end of the case is missing, in one modality or in all."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from lacunet.training.augmentation.settings import CutView


@dataclass(frozen=True)
class Cut:
    """Where scans end.

    Attributes:
        normal: Points out of what is left, in the directions of the case; its length is 1.
        depth: Of the missing slab, relative to the case's extent along the normal.
        modality: The one that is cut; None where all are.
    """

    normal: tuple[float, float, float]
    depth: float
    modality: int | None


def draw_cut(settings: CutView, modalities: int, generator: np.random.Generator) -> Cut | None:
    """The cut of a crop's case, or None: near one of the case's six faces, tilted by up to some 20 degrees."""
    chosen, together = generator.random(2) < (settings.chance, settings.together)
    normal = generator.uniform(-0.25, 0.25, 3)
    normal[generator.integers(3)] = generator.choice((-1.0, 1.0))
    depth, modality = float(generator.random()) * settings.depth, int(generator.integers(modalities))
    if not chosen:
        return None
    x, y, z = normal / np.linalg.norm(normal)
    return Cut((float(x), float(y), float(z)), depth, None if together else modality)


def missing_voxels(
    cut: Cut, centre: np.ndarray, matrix: np.ndarray, crop: tuple[int, int, int], shape: tuple[int, int, int]
) -> Bool[Tensor, "x y z"]:
    """The voxels of a crop that lie in the slab.

    Args:
        cut: The slab.
        centre: The crop's, in voxels of the case.
        matrix: From directions of the crop to directions of the case.
        crop: Voxels of the crop.
        shape: Voxels of the case.
    """
    normal = np.asarray(cut.normal)
    half = (np.asarray(shape) - 1) / 2
    reach = float(np.abs(normal) @ half)
    heights = [  # how far along the normal each index of an axis leads, from the case's centre
        torch.from_numpy((np.arange(n) - (n - 1) / 2) * along).float()
        for n, along in zip(crop, normal @ matrix, strict=True)
    ]
    x, y, z = heights
    height = x[:, None, None] + y[:, None] + z + float(normal @ (centre - half))
    return height > reach * (1 - 2 * cut.depth)
