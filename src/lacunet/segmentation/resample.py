"""Brings a mask from the grid of a case to the grid of each scan before import.

A voxel of a thick slice is 5 mm deep or more, and the mask changes over this depth. So regions (or their probabilities)
are averaged over the box of each voxel of the scan, and a voxel belongs to a region that fills at least half of it.
Then labels are made from regions, as they are from the output of a network.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from lacunet.case import Box, Case, Grid, ImageFile, box_around
from lacunet.data.nifti import ras_grid, write_mask
from lacunet.data.volume import read_image
from lacunet.errors import DataError
from lacunet.intake.align.rigid import Rigid, carry
from lacunet.task import Task

PARTS = 3
"""Along each axis, a voxel of the map is looked at in so many places."""

SMALLER = 0.8
"""Voxels of a scan below this share of the map's are called smaller than the map's."""

ENOUGH = 256
"""So many places in a voxel are enough."""

AT_ONCE = 2**24
"""At most about so many places are looked at in one piece, which bounds the memory."""

FULL = 0.5
"""Share of a voxel that a region fills, or mean probability in it, from which the voxel is the region's."""


def averaged(
    values: Shaped[np.ndarray, "x y z"], grid: Grid, target: Grid, to_source: Rigid, least: float = 0.0
) -> Float[np.ndarray, "u v w"]:
    """A map on another grid: its mean over the box of each voxel there.

    The mean is taken of the nearest values at places a third of the map's voxels apart: linear interpolation would blur
    the map besides, and rims of a voxel or two would be lost. Where the target's voxels are plainly smaller than the
    map's, it is interpolated linearly instead, which spares them its steps.

    Args:
        values: The map.
        grid: Where it lies.
        target: Where it is wanted; its voxels may be smaller or larger along each axis.
        to_source: From places on the target (mm) to places on the map (mm).
        least: Places far from every value above this are not looked at, and stay 0.
    """
    whole = np.zeros(target.shape, np.float32)
    box = _part_of(values > least, grid, target, to_source)
    if box is None:
        return whole
    nearest = min(target.spacing) >= SMALLER * min(grid.spacing)
    parts = _parts(target.spacing, min(grid.spacing), PARTS if nearest else 1)
    values = values.astype(np.float32, copy=False)
    for piece in _pieces(box, parts):
        fine = carry(values, grid, _divided(_cut(target, piece), parts), to_source, nearest)
        whole[piece] = _means(fine, parts)
    return whole


def _parts(sizes: Sequence[float], finest: float, each: int) -> list[int]:
    """Into how many parts a voxel of these sizes is cut: so many to each of the map's, fewer where it is large all
    ways and so many places tell no more."""
    fewest = [max(1, int(np.ceil(size / finest - 0.05))) for size in sizes]
    parts = [max(1, int(np.ceil(each * size / finest - 0.05))) for size in sizes]
    while np.prod(parts) > ENOUGH and any(part > least for part, least in zip(parts, fewest, strict=True)):
        widest = max(range(3), key=lambda axis: parts[axis] / fewest[axis])
        parts[widest] -= 1
    return parts


def _pieces(box: Box, parts: list[int]) -> Iterator[Box]:
    """A box cut into slabs along its third axis."""
    one, two, across = box
    slab = (one.stop - one.start) * (two.stop - two.start) * int(np.prod(parts))
    step = max(1, AT_ONCE // slab)
    for start in range(across.start, across.stop, step):
        yield one, two, slice(start, min(start + step, across.stop))


def _means(fine: Float[np.ndarray, "x y z"], parts: list[int]) -> Float[np.ndarray, "u v w"]:
    """Over blocks of so many voxels along each axis."""
    for axis, count in enumerate(parts):
        shape = [*fine.shape[:axis], fine.shape[axis] // count, count, *fine.shape[axis + 1 :]]
        fine = fine.reshape(shape).mean(axis + 1)
    return fine


def _part_of(there: Bool[np.ndarray, "x y z"], grid: Grid, target: Grid, to_source: Rigid) -> Box | None:
    """The part of the target that reaches where the map is; None when it is nowhere, or lies elsewhere."""
    if not there.any():
        return None
    box = box_around(there)
    ends = np.array([[side.start - 1 for side in box], [side.stop for side in box]])
    corners = np.array([[ends[i, 0], ends[j, 1], ends[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
    places = to_source.inverse.move(corners @ grid.affine[:3, :3].T + grid.affine[:3, 3])
    back = np.linalg.inv(target.affine)
    voxels = places @ back[:3, :3].T + back[:3, 3]
    low = np.maximum(np.floor(voxels.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(voxels.max(0)).astype(int) + 1, target.shape)
    if (high <= low).any():
        return None
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _cut(grid: Grid, box: Box) -> Grid:
    """The grid of a part of the voxels."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.affine[:3, :3] @ [part.start for part in box] + grid.affine[:3, 3]
    x, y, z = (int(part.stop - part.start) for part in box)
    return Grid((x, y, z), affine)


def labels_of_regions(regions: Mapping[str, Float[np.ndarray, "x y z"]], task: Task) -> UInt8[np.ndarray, "x y z"]:
    """Labels painted from how far regions fill each voxel."""
    labels = np.zeros(next(iter(regions.values())).shape, np.uint8)
    for region, label in task.painting:
        labels[regions[region] >= FULL] = label
    return labels


def regions_of_labels(labels: UInt8[np.ndarray, "x y z"], task: Task) -> dict[str, Float[np.ndarray, "x y z"]]:
    """A map of 0 and 1 for each region."""
    return {region: np.isin(labels, members).astype(np.float32) for region, members in task.regions.items()}


def maps_of(
    labels: UInt8[np.ndarray, "x y z"], probabilities: Mapping[str, Float[np.ndarray, "x y z"]], task: Task
) -> dict[str, Float[np.ndarray, "x y z"]]:
    """Probabilities made to say what the labels say: cut at a half, they are exactly the regions of the labels.

    They differ where post-processing changed the mask, and where the network's regions do not lie within each other.
    There the map is 0 or 1, so that a piece that was removed does not come back with its neighbours' help.

    Args:
        labels: The final mask.
        probabilities: What the network said, on the same grid.
        task: Regions and labels.
    """
    regions = regions_of_labels(labels, task)
    return {
        name: np.where((probabilities[name] >= FULL) == (region >= FULL), probabilities[name], region)
        for name, region in regions.items()
    }


def onto_scan(
    regions: Mapping[str, Float[np.ndarray, "x y z"]], grid: Grid, scan: Grid, scan_to_case: Rigid, task: Task
) -> UInt8[np.ndarray, "u v w"]:
    """Labels on a scan's grid from regions (0 and 1, or probabilities) on the case's grid.

    Args:
        regions: One map for each region of the task, on `grid`.
        grid: The case's grid.
        scan: The scan's grid.
        scan_to_case: The motion that import found, from places in the scan to places in the case.
        task: Regions and labels.
    """
    enough = 0.99 * FULL  # a mean of one half needs a value of one half
    moved = {region: averaged(values, grid, scan, scan_to_case, enough) for region, values in regions.items()}
    return labels_of_regions(moved, task)


def write_native_mask(
    path: Path,
    regions: Mapping[str, Float[np.ndarray, "x y z"]],
    grid: Grid,
    scan: Path,
    scan_to_case: Rigid,
    convention: str,
    task: Task,
) -> UInt8[np.ndarray, "u v w"]:
    """Write labels on a scan's own grid: its shape, its qform and sform to the bit, whole or not at all.

    Args:
        path: Ends in .nii.gz or .nii.
        regions: One map for each region of the task, on `grid`.
        grid: The case's grid.
        scan: The scan as it came to import.
        scan_to_case: The motion that import found for this scan.
        convention: What the integers on disk mean.
        task: Regions, labels and conventions.

    Returns:
        The labels as inside lacunet, axes turned to RAS+.

    Raises:
        DataError: the scan cannot be read any more.
        OutputError: the mask cannot be written.
        UsageError: unknown convention.
    """
    if not scan.is_file():
        raise DataError(f"{scan}: the scan no longer exists, so no mask can be written on its grid")
    _, native, _ = read_image(ImageFile(scan))
    case = Case("scan", "scan", {}, ras_grid(native), native)
    labels = onto_scan(regions, grid, case.grid, scan_to_case, task)
    write_mask(path, labels, case, convention, task, like=scan)
    return labels


def _divided(grid: Grid, parts: list[int]) -> Grid:
    """The same box with each voxel cut into so many along each axis."""
    count = np.asarray(parts)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] / count
    affine[:3, 3] = grid.affine[:3, 3] - grid.affine[:3, :3] @ ((count - 1) / (2 * count))
    x, y, z = (int(size * part) for size, part in zip(grid.shape, parts, strict=True))
    return Grid((x, y, z), affine)
