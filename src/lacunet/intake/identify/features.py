"""Numbers that distinguish MR sequences, in any orientation of the head, with or without skull.

They measure what a radiologist looks at: is fluid dark or bright, is grey matter darker or brighter than white, are
there small bright structures (vessels after contrast agent)? All are measured inside the head, relative to its
intensities, and with isotropic filters, so that orientation, gain and the type of the voxels do not matter.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import Grid, box_around
from lacunet.data.background import background_of, looks_stripped, signal_of

CUBE_MM = 3.0
"""Side of the cubes on which everything is measured."""

SCALP_AND_SKULL_MM = 18.0
"""Where a scan shows the whole head, this much below the skin is left out."""

LEAST_CUBES = 1500
"""With fewer cubes than this (40 ml) inside the head, there is no measurement."""

_QUANTILES = (0.005, 0.02, 0.05, 0.1, 0.25, 0.75, 0.9, 0.95, 0.98, 0.995, 0.999)
_CURVATURE_QUANTILES = (0.005, 0.02, 0.1, 0.25, 0.75, 0.9, 0.98, 0.995)
_PARTS = 6

Cubes = Float[np.ndarray, "x y z"]
Inside = Bool[np.ndarray, "x y z"]


def features(voxels: np.ndarray, grid: Grid) -> Float[np.ndarray, " feature"] | None:
    """The numbers of one image, or None where it shows too little of the head.

    Args:
        voxels: Intensities on `grid`, in any orientation, raw or skull-stripped.
        grid: Only its spacing is used.
    """
    volume, inside = standard(voxels, grid)
    return measure(volume, inside)


def standard(voxels: np.ndarray, grid: Grid) -> tuple[Cubes, Inside]:
    """The image on cubes of `CUBE_MM`, and which of them lie inside the head (without skull and scalp)."""
    voxels = voxels.astype(np.float32, copy=False)
    if not np.isfinite(voxels.sum()):
        voxels = np.where(np.isfinite(voxels), voxels, np.float32(0))
    if not looks_stripped(voxels, grid.voxel_ml):
        volume = to_cubes(voxels, grid.spacing)
        return volume, inside_of_head(volume)
    brain = signal_of(voxels, background_of(voxels))
    box = box_around(brain, (3, 3, 3))
    volume = to_cubes(voxels[box], grid.spacing)
    return volume, to_cubes(brain[box].astype(np.float32), grid.spacing) > 0.95


def inside_of_head(volume: Cubes) -> Inside:
    """The part of a whole head below scalp and skull. The field of view may cut off the head's lower end."""
    smooth = ndimage.gaussian_filter(volume, 1.0)
    low, high = np.quantile(smooth, (0.02, 0.98))
    head = smooth > low + 0.12 * (high - low)
    pieces, count = ndimage.label(head)
    if count == 0:
        return np.zeros(volume.shape, bool)
    head = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    head = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(head, 3), iterations=3))[3:-3, 3:-3, 3:-3]
    if head.all():
        return np.asarray(head)
    depth = ndimage.distance_transform_edt(head) * CUBE_MM
    return np.asarray(depth > SCALP_AND_SKULL_MM)


def measure(volume: Cubes, inside: Inside) -> Float[np.ndarray, " feature"] | None:
    """The numbers of a volume on cubes of `CUBE_MM`."""
    if int(inside.sum()) < LEAST_CUBES:
        return None
    box = box_around(inside, (2, 2, 2))
    volume, inside = volume[box], inside[box]
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1, 1:-1].astype(np.float32)
    values = volume[inside]
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    width = float(high - low)
    if not width > 0:
        return None
    scaled = np.where(inside, (volume - middle) / width, 0.0).clip(-4.0, 6.0).astype(np.float32)
    zero = float(np.quantile(volume, 0.01)) if middle <= 0 else 0.0
    parts = [
        np.quantile(scaled[inside], _QUANTILES),
        np.quantile((values - zero) / max(float(middle) - zero, 1e-6), _QUANTILES).clip(-1.0, 8.0),
        _shape_of_histogram(scaled[inside]),
        _by_depth(scaled[inside], depth[inside]),
        *(_curvature(scaled, inside, scale) for scale in (0.8, 1.5, 3.0)),
        *(_around_extremes(scaled, inside, depth, share) for share in (0.06, -0.06)),
    ]
    return np.concatenate(parts).astype(np.float32)


def _shape_of_histogram(values: np.ndarray) -> np.ndarray:
    """Skewness, kurtosis (both of clipped values), and the position of the histogram's peak."""
    centred = values - values.mean()
    spread = max(float(centred.std()), 1e-6)
    histogram, edges = np.histogram(values, bins=40, range=(-2.0, 2.0))
    smooth = ndimage.gaussian_filter1d(histogram.astype(float), 1.5)
    peak = edges[int(smooth.argmax())] + 0.05
    return np.array([(centred**3).mean() / spread**3, np.log((centred**4).mean() / spread**4), peak])


def _by_depth(values: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Mean intensity in equal parts of the volume from the surface inwards, and its correlation with depth."""
    order = np.argsort(depth, kind="stable")
    means = [part.mean() for part in np.array_split(values[order], _PARTS)]
    return np.array([*means, _correlation(values, depth)])


def _curvature(scaled: Cubes, inside: Inside, scale: float) -> np.ndarray:
    """Contrast of small structures against their surroundings: quantiles, spread, and the mean by brightness."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), scale)
    wide = ndimage.gaussian_filter(scaled, scale) / np.maximum(weight, 1e-3)
    core = ndimage.binary_erosion(inside, iterations=1) if inside.sum() > 2 * LEAST_CUBES else inside
    contrast = (scaled - wide)[core]
    order = np.argsort(wide[core], kind="stable")
    by_level = [part.mean() for part in np.array_split(contrast[order], _PARTS)]
    return np.array([*np.quantile(contrast, _CURVATURE_QUANTILES), contrast.std(), *by_level])


def _around_extremes(scaled: Cubes, inside: Inside, depth: Cubes, share: float) -> np.ndarray:
    """Mean intensity 1, 2, 3 ... cubes away from the darkest (`share` > 0) or brightest part, and that part's depth."""
    values = scaled[inside]
    dark = share > 0
    limit = np.quantile(values, share if dark else 1.0 + share)
    extreme = inside & ((scaled <= limit) if dark else (scaled >= limit))
    distance = ndimage.distance_transform_edt(~extreme)
    rings = [inside & (distance > near) & (distance <= near + 1.0) for near in (0.5, 1.5, 2.5, 3.5, 4.5)]
    means = [float(scaled[ring].mean()) if ring.any() else 0.0 for ring in rings]
    pieces = float(np.log1p(ndimage.label(extreme)[1]))
    reach = float(distance[inside].mean())
    return np.array([*means, float(depth[extreme].mean() / depth[inside].mean()), pieces, reach])


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).mean() / max(float(one.std() * other.std()), 1e-6))


def to_cubes(voxels: np.ndarray, spacing: tuple[float, float, float]) -> Cubes:
    """Means over blocks of whole voxels, then linear interpolation to `CUBE_MM`."""
    zoom = []
    for axis, step in enumerate(spacing):
        block = max(1, min(int(CUBE_MM / step + 1e-3), voxels.shape[axis]))
        whole = voxels.shape[axis] // block * block
        parts = [
            voxels[tuple(slice(k, whole, block) if a == axis else slice(None) for a in range(3))] for k in range(block)
        ]
        voxels = np.add.reduce(parts) * np.float32(1.0 / block) if block > 1 else voxels
        zoom.append(step * block / CUBE_MM)
    if np.allclose(zoom, 1.0, atol=0.02):
        return np.ascontiguousarray(voxels)
    return np.asarray(ndimage.zoom(voxels, zoom, order=1, mode="nearest"))
