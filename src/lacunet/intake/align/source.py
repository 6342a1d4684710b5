"""Reads a scan for import, and finds out whether it is skull-stripped already."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lacunet.case import Grid
from lacunet.data.background import (
    background_of,
    check_signal,
    looks_stripped,
    on_empty_background,
    signal_of,
)
from lacunet.data.called import read_called
from lacunet.data.content import refuse_labels
from lacunet.data.nifti import ras_grid, require_same_grid, to_ras
from lacunet.errors import DataError, GeometryError

LEAST_EXTENT_MM = 40.0
"""A scan that is thinner than this along an axis shows too little of a head to be registered."""

LEAST_SLICES_TO_REGISTER = 6
"""A scan with fewer slices than this is too coarse across them to be registered."""

LARGEST_BRAIN_SECTION_CM2 = 225.0
"""More signal than this in one axial section is a head, not a brain (112 scans of BraTS: 128-198 cm2)."""


@dataclass(frozen=True)
class Source:
    """A scan as it came to import, in memory.

    Attributes:
        modality: Its sequence.
        path: Where it was read from.
        voxels: Grey values, as on disk; of a stripped scan the background is exactly 0.
        grid: Their grid.
        stripped: Whether it shows only a brain.
        notes: Remarks from reading the file.
    """

    modality: str
    path: Path
    voxels: Float[np.ndarray, "x y z"]
    grid: Grid
    stripped: bool
    notes: tuple[str, ...] = ()

    @property
    def thickness(self) -> float:
        """The longest side of its voxels, mm."""
        return max(self.grid.spacing)


def read_source(modality: str, path: Path, label: str | None = None) -> Source:
    """Read and check one scan. Messages name the modality and the scan, never its folder; notes begin with its name for
    people, or with the modality where it has none.

    Args:
        modality: Its sequence.
        path: A NIfTI or .mha file.
        label: The scan's name for people; None: messages have the file's own name.

    Raises:
        DataError: it is damaged, not 3-D, empty, not finite, or covers too little of a head.
        GeometryError: its spacing or affine is impossible.
    """
    name = path.name if label is None else label
    if not (path.exists() or path.is_symlink()):
        raise DataError(f"{modality}: {name}: there is no such file")
    try:
        voxels, grid, notes = read_called(path, name)
    except DataError as error:
        raise type(error)(f"{modality}: {error}") from None
    check_signal(f"{modality}: {name}", voxels)
    refuse_labels(f"{modality}: {name}", voxels)
    extents = [size * spacing for size, spacing in zip(grid.shape, grid.spacing, strict=True)]
    if min(grid.shape) < LEAST_SLICES_TO_REGISTER or min(extents) < LEAST_EXTENT_MM:
        axis = int(np.argmin(extents))
        raise DataError(
            f"{modality}: {name}: covers {extents[axis]:.0f} mm in {grid.shape[axis]} slices; at least "
            f"{LEAST_EXTENT_MM:.0f} mm and {LEAST_SLICES_TO_REGISTER} slices are needed to register it; leave it out"
        )
    stripped = is_stripped(voxels, grid)
    if stripped:
        voxels, said = on_empty_background(f"{modality}: {name}", voxels, grid)
        notes = (*notes, *said)
    speaker = modality if label is None else label
    bare = (note.removeprefix(f"{modality}: ").removeprefix(f"{name}: ") for note in notes)
    return Source(modality, path, voxels, grid, stripped, tuple(f"{speaker}: {note}" for note in bare))


def is_stripped(voxels: Float[np.ndarray, "x y z"], grid: Grid) -> bool:
    """Whether a scan shows only a brain: one value around it, and no section as large as a head's."""
    if not looks_stripped(voxels, grid.voxel_ml):
        return False
    return largest_section_cm2(voxels, grid) <= LARGEST_BRAIN_SECTION_CM2


def largest_section_cm2(voxels: Float[np.ndarray, "x y z"], grid: Grid) -> float:
    """The area with signal in the axial section that has the largest."""
    upright = ras_grid(grid)
    signal = to_ras(signal_of(voxels, background_of(voxels)), grid)
    return float(signal.sum(axis=(0, 1)).max()) * upright.spacing[0] * upright.spacing[1] / 100.0


def on_one_grid(one: Source, other: Source) -> bool:
    """Whether two scans lie on one grid, as `lacunet segment` requires."""
    try:
        require_same_grid(one.modality, one.grid, other.modality, other.grid)
    except GeometryError:
        return False
    return True
