"""Rigid registration of one scan to another: mutual information, from coarse to fine, from many starts.

Mutual information after Mattes et al. 2003 (IEEE TMI 22:120), optimised by SimpleITK. By their headers, scans of one
visit are mostly close to each other already; scans of several visits, or files whose headers were lost, are not. So
many starts are compared on a coarse grid, the best few are optimised, and the best of these is refined.

Each registration runs on one thread with seeded sampling, and always gives exactly the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float

from lacunet.case import Grid
from lacunet.intake.align.rigid import (
    Rigid,
    carry,
    distances,
    from_itk,
    grid_of,
    motion_of,
    to_itk,
    transform_of,
    voxel_points,
)

GREY_BINS = 32
"""Grey values that the joint histogram tells apart along either axis."""

LEAST_OVERLAP = 0.35
"""A start is skipped where less than this share of the fixed scan's points falls into the moving scan."""


@dataclass(frozen=True)
class Level:
    """One resolution of the registration.

    Attributes:
        spacing: Of the grid on which scans are compared, mm; no axis is made finer than it is.
        samples: About how many points are compared.
        step: The longest step of the optimiser, mm.
        rounds: Largest number of steps.
        keep: How many of the best results go on to the next level.
    """

    spacing: float
    samples: int
    step: float
    rounds: int
    keep: int


STARTS = Level(9.0, 4_000, 0.0, 0, 5)
"""For comparing starts."""

LEVELS = (Level(6.0, 8_000, 4.0, 40, 2), Level(3.0, 30_000, 2.0, 50, 1))
"""From coarse to fine."""

FINEST = Level(1.5, 100_000, 0.5, 40, 1)
"""For `refine`, where the scan with the thicker slices stays and the other is averaged over their depth."""

LONGEST_LEAP_MM = 12.0
"""A start that lies closer than this to a better one is skipped: it would lead to the same result."""


@dataclass(frozen=True)
class Volume:
    """A scan ready to be registered.

    Attributes:
        image: Grey values.
        where: 1 at voxels that count, 0 elsewhere, on the image's grid.
    """

    image: sitk.Image
    where: sitk.Image


def volume_of(voxels: Float[np.ndarray, "x y z"], grid: Grid, where: Bool[np.ndarray, "x y z"] | None = None) -> Volume:
    """A scan with its foreground (or the voxels of `where`), its extreme grey values clipped."""
    foreground = head_mask(voxels, grid) if where is None else where
    inside = voxels[foreground]
    low, high = np.percentile(inside, [0.5, 99.5]) if inside.size else (0.0, 1.0)
    return Volume(to_itk(voxels.clip(min(low, 0.0), high), grid), to_itk(foreground.astype(np.uint8), grid))


def head_mask(voxels: Float[np.ndarray, "x y z"], grid: Grid) -> Bool[np.ndarray, "x y z"]:
    """The foreground: the largest bright piece, filled, with a margin of 6 mm."""
    small = coarser(to_itk(voxels, grid), 4.0)
    bright = sitk.OtsuThreshold(small, 0, 1, 64)
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(bright), sortByObjectSize=True)
    closed = sitk.BinaryFillhole(pieces == 1)
    distance = sitk.SignedMaurerDistanceMap(closed, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    around = sitk.Cast(distance <= 6.0, sitk.sitkUInt8)
    whole = sitk.Resample(around, to_itk(voxels, grid), sitk.Transform(), sitk.sitkNearestNeighbor)
    return from_itk(whole) > 0


def coarser(image: sitk.Image, spacing: float) -> sitk.Image:
    """The image smoothed and resampled so that no axis is finer than `spacing` mm; it covers the same box."""
    old = np.asarray(image.GetSpacing())
    sizes = np.asarray(image.GetSize())
    new_sizes = np.maximum(1, np.round(sizes * np.minimum(1.0, old / spacing))).astype(int)
    new = old * sizes / new_sizes
    smooth = sitk.Cast(image, sitk.sitkFloat32)
    for axis in range(3):
        if new[axis] > 1.2 * old[axis] and sizes[axis] >= 4:
            sigma = 0.425 * float(np.sqrt(new[axis] ** 2 - old[axis] ** 2))
            smooth = sitk.RecursiveGaussian(smooth, sigma, direction=axis)
    direction = np.reshape(image.GetDirection(), (3, 3))
    origin = np.asarray(image.GetOrigin()) + direction @ ((new - old) / 2)
    return sitk.Resample(
        smooth,
        [int(size) for size in new_sizes],
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        new.tolist(),
        image.GetDirection(),
        0.0,
    )


def at_level(volume: Volume, spacing: float) -> Volume:
    """The volume on a coarser grid."""
    image = coarser(volume.image, spacing)
    where = sitk.Resample(volume.where, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    return Volume(image, where)


@dataclass(frozen=True)
class Registered:
    """The result of a registration.

    Attributes:
        to_fixed: From points in the moving scan to points in the fixed one.
        similarity: Mutual information at the finest level, nats.
    """

    to_fixed: Rigid
    similarity: float


def register(fixed: Volume, moving: Volume, seed: int = 0, starts: Sequence[Rigid] | None = None) -> Registered:
    """Find the rigid motion that aligns `moving` with `fixed`.

    Args:
        fixed: The scan that stays.
        moving: The scan that is moved.
        seed: Of the points that are compared.
        starts: Motions from points of `fixed` to points of `moving`; None: many are tried.
    """
    return refine(fixed, moving, locate(fixed, moving, seed, starts), seed)


def locate(fixed: Volume, moving: Volume, seed: int = 0, starts: Sequence[Rigid] | None = None) -> Rigid:
    """As `register`, to about 1 mm: the motion from points of `moving` to points of `fixed`."""
    candidates = list(starts) if starts is not None else best_starts(fixed, moving, seed)
    for level in LEVELS:
        here, there = at_level(fixed, level.spacing), at_level(moving, level.spacing)
        scored = [_optimise(here, there, start, level, seed) for start in candidates]
        scored.sort(key=lambda pair: pair[0])
        candidates = [motion for _, motion in scored[: level.keep]]
    return candidates[0].inverse


def refine(fixed: Volume, moving: Volume, to_fixed: Rigid, seed: int = 0) -> Registered:
    """Improve a motion that is right to a few mm.

    Interpolation between thick slices blurs them, and moves the optimum to where it blurs least. So the scan
    with the thicker slices stays as it is, and the other is averaged over their depth before the two are compared.

    Args:
        fixed: The scan that stays.
        moving: The scan that is moved.
        to_fixed: From points of `moving` to points of `fixed`.
        seed: Of the points that are compared.
    """
    moving_is_thicker = max(moving.image.GetSpacing()) > max(fixed.image.GetSpacing())
    still, other = (moving, fixed) if moving_is_thicker else (fixed, moving)
    motion = to_fixed if moving_is_thicker else to_fixed.inverse
    here = at_level(still, FINEST.spacing)
    if max(here.image.GetSpacing()) > 1.5 * FINEST.spacing:
        value, rest = _optimise(here, _sliced_alike(other, here, motion), Rigid.identity(), FINEST, seed)
        motion = motion.after(rest)
    else:
        value, motion = _optimise(here, at_level(other, FINEST.spacing), motion, FINEST, seed)
    return Registered(motion if moving_is_thicker else motion.inverse, -value)


def _sliced_alike(other: Volume, still: Volume, motion: Rigid) -> Volume:
    """`other` sampled as the slices of `still` are: on its grid, finer across slices, averaged over their depth."""
    grid = grid_of(still.image)
    depth = max(grid.spacing)
    axis = grid.spacing.index(depth)
    parts = round(depth / FINEST.spacing)
    affine, shape = grid.affine.copy(), list(grid.shape)
    affine[:3, axis] /= parts
    affine[:3, 3] -= grid.affine[:3, axis] * ((parts - 1) / (2 * parts) + 2)
    shape[axis] = (shape[axis] + 4) * parts
    x, y, z = shape
    lattice = Grid((x, y, z), affine)
    seen = to_itk(carry(from_itk(other.image), grid_of(other.image), lattice, motion), lattice)
    return Volume(sitk.RecursiveGaussian(seen, depth / np.sqrt(12.0), direction=axis), still.where)


def best_starts(fixed: Volume, moving: Volume, seed: int) -> list[Rigid]:
    """The most similar of many starts: by the headers or with the heads' centres aligned, turned by up to 24 degrees.

    A start is a motion from points of `fixed` to points of `moving`.
    """
    here, there = at_level(fixed, STARTS.spacing), at_level(moving, STARTS.spacing)
    points = _points(here.where)
    centre, other = points.mean(0), _points(there.where).mean(0)
    method = _method(here, STARTS, seed)
    scored: list[tuple[float, Rigid]] = []
    for shift in (np.zeros(3), other - centre):
        for angles in product((-24.0, -12.0, 0.0, 12.0, 24.0), repeat=3):
            start = Rigid.about(centre, angles, shift)
            if start.degrees > 30.0 or _overlap(points, there, start) < LEAST_OVERLAP:
                continue
            method.SetInitialTransform(transform_of(start, centre))
            scored.append((method.MetricEvaluate(here.image, there.image), start))
    scored.sort(key=lambda pair: pair[0])
    return _apart([start for _, start in scored], points)[: STARTS.keep] or [Rigid.identity()]


def _apart(motions: Sequence[Rigid], points: Float[np.ndarray, "n 3"]) -> list[Rigid]:
    """Leave out motions that are close to a better one."""
    chosen: list[Rigid] = []
    for motion in motions:
        if all(distances(motion, other, points).mean() > LONGEST_LEAP_MM for other in chosen):
            chosen.append(motion)
    return chosen


def _points(where: sitk.Image) -> Float[np.ndarray, "n 3"]:
    return voxel_points(from_itk(where) > 0, grid_of(where), 2000)


def _overlap(points: Float[np.ndarray, "n 3"], moving: Volume, motion: Rigid) -> float:
    """Share of the points that fall into the moving image's box."""
    grid = grid_of(moving.image)
    back = np.linalg.inv(grid.affine)
    voxels = motion.move(points) @ back[:3, :3].T + back[:3, 3]
    return float(((voxels > -0.5) & (voxels < np.asarray(grid.shape) - 0.5)).all(1).mean())


def _method(fixed: Volume, level: Level, seed: int) -> sitk.ImageRegistrationMethod:
    """Mattes' mutual information over the voxels that count."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(GREY_BINS)
    method.SetMetricFixedMask(fixed.where)
    voxels = int(np.prod(fixed.where.GetSize()))
    share = max(1e-6, float(np.count_nonzero(sitk.GetArrayViewFromImage(fixed.where)))) / voxels
    part = min(1.0, level.samples / (voxels * share))
    if part < 1.0:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(part, seed + 1)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _optimise(fixed: Volume, moving: Volume, start: Rigid, level: Level, seed: int) -> tuple[float, Rigid]:
    """Minus the mutual information, and the motion from points of `fixed` to points of `moving`."""
    centre = _points(fixed.where).mean(0)
    method = _method(fixed, level, seed)
    transform = transform_of(start, centre)
    method.SetInitialTransform(transform, inPlace=True)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=level.step,
        minStep=level.spacing / 300.0,
        numberOfIterations=level.rounds,
        relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-7,
    )
    method.Execute(fixed.image, moving.image)
    return method.GetMetricValue(), motion_of(transform)
