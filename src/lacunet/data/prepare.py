"""Crops a case to the brain, normalises and resamples it; a `Frame` leads back to the case's grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lacunet.case import Case, Grid, box_around
from lacunet.task import Task


@dataclass(frozen=True)
class Preparation:
    """How a scan is prepared for a network.

    Attributes:
        spacing: Millimetres between voxels of the prepared grid, the same along each axis.
        clip: Normalised intensities are cut off at plus and minus this, in standard deviations.
    """

    spacing: float = 1.0
    clip: float = 5.0


@dataclass(frozen=True)
class Frame:
    """Where a prepared array lies on its case's grid.

    Attributes:
        grid: The case's grid.
        start: First voxel of the box on that grid; below zero where the box was enlarged past the border.
        size: Voxels of the box on that grid.
        shape: Voxels of the prepared array, which covers exactly the same box.
    """

    grid: Grid
    start: tuple[int, int, int]
    size: tuple[int, int, int]
    shape: tuple[int, int, int]

    @property
    def affine(self) -> np.ndarray:
        """Voxel of the prepared array -> mm."""
        step = np.asarray(self.size) / np.asarray(self.shape)
        to_grid = np.diag([*step, 1.0])
        to_grid[:3, 3] = np.asarray(self.start) + (step - 1) / 2
        return np.asarray(self.grid.affine @ to_grid)

    def apply(self, array: Float[Tensor, "channel _ _ _"]) -> Float[Tensor, "channel _ _ _"]:
        """From the case's grid to the prepared one: cut out the box, then resample (averaging where it shrinks)."""
        cut = torch.zeros((array.shape[0], *self.size), dtype=array.dtype)
        inside, outside = _overlap(self.start, self.size, self.grid.shape)
        cut[(slice(None), *outside)] = array[(slice(None), *inside)]
        return resample(cut, self.shape)

    def undo(self, array: Float[Tensor, "channel _ _ _"], fill: float = 0.0) -> Float[Tensor, "channel _ _ _"]:
        """From the prepared grid back to the case's grid; outside the box is `fill`."""
        box = resample(array, self.size)
        whole = torch.full((array.shape[0], *self.grid.shape), fill, dtype=array.dtype)
        inside, outside = _overlap(self.start, self.size, self.grid.shape)
        whole[(slice(None), *inside)] = box[(slice(None), *outside)]
        return whole


def frame_of(case: Case, subset: Sequence[str], preparation: Preparation) -> Frame:
    """The box around the non-zero voxels of these modalities alone, at the preparation's spacing.

    Where the spacing is a whole multiple of the grid's, the box is enlarged to whole prepared voxels, so that the
    spacing is exact. Otherwise the box is divided into a whole number of voxels of about this spacing.
    """
    box = box_around(np.logical_or.reduce([case.images[modality] != 0 for modality in subset]))
    start, size = [side.start for side in box], [side.stop - side.start for side in box]
    shape: list[int] = []
    grown_start, grown_size = list(start), list(size)
    for axis, spacing in enumerate(case.grid.spacing):
        ratio = preparation.spacing / spacing
        count = max(1, round(size[axis] / ratio))
        if ratio > 1 and abs(ratio - round(ratio)) < 1e-3:
            count = -(-size[axis] // round(ratio))
            grown_size[axis] = count * round(ratio)
            grown_start[axis] = start[axis] - (grown_size[axis] - size[axis]) // 2
        shape.append(count)
    return Frame(case.grid, _triple(grown_start), _triple(grown_size), _triple(shape))


def prepare_images(case: Case, task: Task, preparation: Preparation, frame: Frame) -> Float[Tensor, "modality _ _ _"]:
    """All modalities of the task on the frame; a modality that the case lacks is zero."""
    prepared = torch.zeros((len(task.modalities), *frame.shape))
    for index, modality in enumerate(task.modalities):
        if modality in case.images:
            normalised = normalise(case.images[modality], preparation.clip)
            prepared[index] = frame.apply(torch.from_numpy(normalised)[None])[0]
    return prepared


def normalise(image: np.ndarray, clip: float) -> np.ndarray:
    """Zero mean and unit deviation over the image's own non-zero voxels, clipped; the background stays exactly zero."""
    brain = image != 0
    voxels = image[brain].astype(np.float64)
    normalised = np.zeros(image.shape, dtype=np.float32)
    if voxels.size:
        deviation = float(voxels.std()) or 1.0
        normalised[brain] = np.clip((voxels - voxels.mean()) / deviation, -clip, clip)
    return normalised


def prepare_reference(case: Case, task: Task, frame: Frame) -> UInt8[Tensor, "_ _ _"]:
    """The reference as labels on the frame: a region fills a voxel where it covers at least half of it.

    Raises:
        ValueError: the case has no reference.
    """
    if case.reference is None:
        raise ValueError(f"case {case.name} has no reference")
    regions = regions_of(torch.from_numpy(case.reference), task)
    return labels_of(frame.apply(regions) >= 0.5, task)


def regions_of(labels: UInt8[Tensor, "_ _ _"], task: Task) -> Float[Tensor, "region _ _ _"]:
    """A 0/1 mask per region of the task."""
    masks = [reduce(torch.logical_or, [labels == member for member in members]) for members in task.regions.values()]
    return torch.stack(masks).float()


def labels_of(regions: Tensor, task: Task) -> UInt8[Tensor, "_ _ _"]:
    """Labels from region masks (true or false), painted in the task's order."""
    names = list(task.regions)
    labels = torch.zeros(regions.shape[1:], dtype=torch.uint8)
    for region, label in task.painting:
        labels[regions[names.index(region)]] = label
    return labels


def resample(array: Float[Tensor, "channel _ _ _"], shape: tuple[int, int, int]) -> Float[Tensor, "channel _ _ _"]:
    """Another number of voxels over the same box: averaged along axes that shrink, linear along axes that grow."""
    for axis, (old, new) in enumerate(zip(array.shape[1:], shape, strict=True), start=1):
        if old != new:
            weights = _weights(old, new).to(array)
            array = torch.tensordot(array, weights, dims=([axis], [1])).movedim(-1, axis)
    return array.contiguous()


def _weights(old: int, new: int) -> Float[Tensor, "new old"]:
    """How much each old voxel of an axis gives to each new one: the length they share, or linear between centres."""
    voxels = torch.arange(old, dtype=torch.float64)
    edges = torch.arange(new + 1, dtype=torch.float64)[:, None] * old / new
    if new < old:
        shared = torch.minimum(edges[1:], voxels + 1) - torch.maximum(edges[:-1], voxels)
        return shared.clamp_min(0) * new / old
    centres = ((edges[1:] + edges[:-1]) / 2 - 0.5).clamp(0, old - 1)
    return (1 - (centres - voxels).abs()).clamp_min(0)


def _overlap(
    start: tuple[int, int, int], size: tuple[int, int, int], shape: tuple[int, int, int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of a box that lies on the grid, in the grid's indices and in the box's."""
    first = [max(0, s) for s in start]
    last = [min(n, s + k) for s, k, n in zip(start, size, shape, strict=True)]
    on_grid = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    in_box = tuple(slice(a - s, b - s) for a, b, s in zip(first, last, start, strict=True))
    return on_grid, in_box


def _triple(values: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = values
    return int(x), int(y), int(z)
