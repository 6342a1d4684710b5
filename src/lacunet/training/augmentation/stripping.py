"""Mistakes of skull stripping: brain is missing at its edge, or dura, skull and scalp are left around it."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lacunet.training.augmentation.fields import smooth_field
from lacunet.training.augmentation.settings import Stripping
from lacunet.training.augmentation.statistics import mean_and_deviation, with_statistics

COARSE = 2  # distances are measured on every second voxel


@dataclass(frozen=True)
class Mistake:
    """One mistake, the same in all modalities.

    Attributes:
        eroded: Whether brain is missing; else rests are left around it.
        depth: Where it is deepest, voxels.
        layers: Intensity of the rests per modality, from the brain outwards, in standard deviations of the brain.
        seed: Of where it is.
    """

    eroded: bool
    depth: float
    layers: tuple[tuple[float, ...], ...]
    seed: int


def draw_mistake(
    settings: Stripping, modalities: int, spacing: float, generator: np.random.Generator
) -> Mistake | None:
    """The mistake of a crop, or None: fluid or dura next to the brain, then dark bone, then fat or skin."""
    chosen, eroded = generator.random(2) < (settings.chance, settings.eroded)
    depth = generator.uniform(0.3, 1) * settings.depth / spacing
    near, far = generator.uniform(-2.5, 2.5, modalities), generator.uniform(-1, 4, modalities)
    bone = generator.uniform(-3.5, -1.5, modalities)
    layers = tuple((float(a), float(b), float(c)) for a, b, c in zip(near, bone, far, strict=True))
    seed = int(generator.integers(2**31))
    return Mistake(bool(eroded), float(depth), layers, seed) if chosen else None


def stripped_badly(images: Float[Tensor, "modality x y z"], mistake: Mistake) -> Float[Tensor, "modality x y z"]:
    """The images with the mistake; each modality's mean and deviation are those from before, as normalising makes them.

    A modality that is zero everywhere was not acquired and stays so.
    """
    before = images != 0
    brain = before.any(0)
    generator = np.random.default_rng(mistake.seed)
    shape = _shape(brain)
    where = smooth_field(shape, 5, generator, images.device)
    depth = mistake.depth * (where / where.std().clamp_min(1e-6) + 0.2).clamp(0, 1)
    if mistake.eroded:
        kept = _distance_to(~brain, mistake.depth) >= depth
        changed = images * kept
    else:
        away = _distance_to(brain, mistake.depth)
        changed = _with_rests(images, (away > 0) & (away < depth) & ~brain, away / mistake.depth, mistake, generator)
    return torch.stack([  # a modality that was not acquired has deviation 0, and is multiplied by it
        with_statistics(after, after != 0, *mean_and_deviation(image, was))
        for image, after, was in zip(images, changed, before, strict=True)
    ])  # fmt: skip


def _with_rests(
    images: Float[Tensor, "modality x y z"],
    rest: Bool[Tensor, "x y z"],
    away: Float[Tensor, "x y z"],
    mistake: Mistake,
    generator: np.random.Generator,
) -> Float[Tensor, "modality x y z"]:
    """The images with layers of uneven tissue where there are rests; `away` is 0 at the brain and 1 where they end."""
    device = images.device
    texture = smooth_field(_shape(rest), 12, generator, device)
    noise = torch.Generator(device).manual_seed(int(generator.integers(2**31)))
    uneven = 0.8 * texture + 0.15 * torch.randn(rest.shape, generator=noise, device=device)
    place = (away + 0.15 * texture).clamp(0, 1)
    changed = []
    for image, layers in zip(images, mistake.layers, strict=True):
        levels = torch.tensor(layers).to(device)
        inner = (place * (len(layers) - 1)).floor().clamp_max(len(layers) - 2).long()
        layered = torch.lerp(levels[inner], levels[inner + 1], place * (len(layers) - 1) - inner)
        changed.append(torch.where(rest, layered + uneven, image))
    return torch.stack(changed)


def _distance_to(region: Bool[Tensor, "x y z"], reach: float) -> Float[Tensor, "x y z"]:
    """How many voxels each voxel is from a region, up to a little more than `reach`, in steps of a diamond's edge."""
    coarse = F.avg_pool3d(region[None, None].float(), COARSE, ceil_mode=True, count_include_pad=False)
    steps = int(np.ceil(reach / COARSE)) + 1
    distance, grown = torch.zeros_like(coarse), (coarse >= 0.5).float()
    for _ in range(steps):
        distance += 1 - grown
        grown = torch.stack([
            F.max_pool3d(grown, kernel, stride=1, padding=pad)
            for kernel, pad in (((3, 1, 1), (1, 0, 0)), ((1, 3, 1), (0, 1, 0)), ((1, 1, 3), (0, 0, 1)))
        ]).amax(0)  # fmt: skip
    fine = F.interpolate(distance * COARSE, scale_factor=COARSE, mode="trilinear", align_corners=False)[0, 0]
    x, y, z = region.shape
    return fine[:x, :y, :z] * ~region


def _shape(image: Tensor) -> tuple[int, int, int]:
    x, y, z = image.shape
    return x, y, z
