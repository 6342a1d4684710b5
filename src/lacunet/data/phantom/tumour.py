"""How an invented tumour grows, and which of its parts are oedema, core and necrosis.

Cells follow the Fisher-KPP equation dc/dt = div(D grad c) + rho c (1 - c), where c is the density of tumour cells
as a share of what the tissue can carry (Swanson, Alvord, Murray 2000, Cell Prolif 33:317: faster along white matter,
D_white > 5 D_grey). Nothing flows into fluid or out of the brain: D is 0 there, and between two voxels it is
the harmonic mean. A front moves at 2 sqrt(D rho) and is a few sqrt(D / rho) wide.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import box_around
from lacunet.data.phantom.anatomy import WORKING_SPACING

Field = Float[np.ndarray, "x y z"]
Faces = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Growth:
    """The properties of a tumour.

    Attributes:
        diffusion: In white matter, mm^2 per day.
        ratio: Diffusion in white matter over that in grey matter.
        proliferation: rho, per day.
        foci: 1, or more for several foci; the first is the largest.
        volume: Of the whole tumour when it is found, ml (before it pushes the brain aside).
        core: Share of the whole that is core (enhancing, necrotic or solid).
        necrosis: Share of the core that is necrotic.
        enhancing: Whether contrast agent leaks at all.
        leak: Share of the living core that leaks, when any does.
        push: Mass effect: how far the surroundings are pushed away, as a share of the tumour's radius.
    """

    diffusion: float
    ratio: float
    proliferation: float
    foci: int
    volume: float
    core: float
    necrosis: float
    enhancing: bool
    leak: float
    push: float


@dataclass(frozen=True)
class Limits:
    """Where one part ends and the next begins, in log-odds of the (roughened) cell density."""

    oedema: float
    core: float
    necrosis: float


def grow(
    white: Field, grey: Field, allowed: Bool[np.ndarray, "x y z"], seeds: Field, growth: Growth, visible: float = 0.1
) -> Field:
    """Cell density when the tumour has reached its volume, on the working grid.

    Args:
        white: Fraction of white matter.
        grey: Fraction of grey matter.
        allowed: Where cells may be: in the brain and not in fluid.
        seeds: Density to start from.
        growth: The tumour.
        visible: Density from which on the tumour counts as seen.
    """
    reach = int(60 / WORKING_SPACING)
    box = box_around(seeds > 0, (reach, reach, reach))
    density = np.where(allowed[box], seeds[box], 0).astype(np.float32)
    speed = np.where(allowed[box], growth.diffusion * (white[box] + grey[box] / growth.ratio), 0).astype(np.float32)
    faces = face_diffusion(speed, WORKING_SPACING)
    step = min(0.9 * WORKING_SPACING**2 / (6.0 * growth.diffusion), 0.2 / growth.proliferation)  # days; stable
    wanted = growth.volume * 1000.0 / WORKING_SPACING**3
    for _ in range(600):
        density += step * (divergence(density, faces) + growth.proliferation * density * (1.0 - density))
        if np.count_nonzero(density > visible) >= wanted:
            break
    whole = np.zeros_like(white)
    whole[box] = density
    return whole


def face_diffusion(diffusion: Field, spacing: float) -> Faces:
    """Diffusion through the face between each two neighbours along each axis, over the spacing squared; 0 at a wall."""
    x, y, z = (_harmonic(*_neighbours(diffusion, axis)) / spacing**2 for axis in range(3))
    return x, y, z


def divergence(density: Field, faces: Faces) -> Field:
    """div(D grad c): the flow into each voxel through its six faces. It sums to 0; nothing leaves the grid."""
    change = np.zeros_like(density)
    for axis, face in enumerate(faces):
        lower, upper = _neighbours(density, axis)
        flow = face * (upper - lower)
        into_lower, into_upper = _neighbours(change, axis)
        into_lower += flow
        into_upper -= flow
    return change


def log_odds(density: np.ndarray) -> np.ndarray:
    """log(c / (1 - c)), kept finite: it changes about linearly with the distance from the front."""
    clipped = density.clip(1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(clipped / (1.0 - clipped)), dtype=np.float32)


def find_limits(odds: Field, density: Field, allowed: Bool[np.ndarray, "x y z"], growth: Growth) -> Limits:
    """The limits at which the tumour has its volume and each part its share."""
    inside = odds[allowed & (density > 1e-4)]
    voxels = growth.volume * 1000.0 / WORKING_SPACING**3
    descending = np.sort(inside)[::-1]

    def limit(share: float) -> float:
        return float(descending[min(int(voxels * share), descending.size - 1)])

    return Limits(limit(1.0), limit(growth.core), limit(growth.core * growth.necrosis))


def fill_walls(density: Field, allowed: Bool[np.ndarray, "x y z"]) -> Field:
    """Continue the density a little into the walls, so that interpolation near a sulcus does not lower it."""
    weight = ndimage.gaussian_filter(allowed.astype(np.float32), 1.0)
    blurred = ndimage.gaussian_filter(density, 1.0)
    around = np.divide(blurred, weight, out=np.zeros_like(blurred), where=weight > 1e-3)
    return np.where(allowed, density, around).astype(np.float32)


def choose_seeds(
    white: Field, depth: Field, allowed: Bool[np.ndarray, "x y z"], growth: Growth, generator: np.random.Generator
) -> Field:
    """Density at the start: a few cells in white matter, 12 mm or more below the surface; foci lie 15-45 mm apart."""
    candidates = np.argwhere(allowed & (white > 0.6) & (depth > 12.0))
    first = candidates[generator.integers(len(candidates))]
    distance = np.linalg.norm(candidates - first, axis=1) * WORKING_SPACING
    others = candidates[(distance > 15.0) & (distance < 45.0)]
    picks = [first, *(others[generator.integers(len(others))] for _ in range(growth.foci - 1))]
    strengths = [0.5, *generator.uniform(0.01, 0.2, growth.foci - 1)]
    start = np.zeros_like(white)
    for pick, strength in zip(picks, strengths, strict=True):
        start[tuple(pick)] = strength
    return np.where(allowed, ndimage.gaussian_filter(start, 1.0) * 15.0, 0).astype(np.float32)


def _neighbours(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Two views of an array: all but the last, and all but the first, along an axis."""
    moved = np.moveaxis(array, axis, 0)
    return np.moveaxis(moved[:-1], 0, axis), np.moveaxis(moved[1:], 0, axis)


def _harmonic(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Harmonic mean, 0 where either is 0."""
    total = one + other
    return np.asarray(np.divide(2.0 * one * other, total, out=np.zeros_like(total), where=total > 0))
