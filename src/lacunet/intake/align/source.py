"""Reads a scan for import, and finds out whether it is skull-stripped already."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lacunet.case import Grid, ImageFile
from lacunet.data.background import (
    background_of,
    check_signal,
    looks_stripped,
    on_empty_background,
    signal_of,
)
from lacunet.data.nifti import ras_grid, require_same_grid, to_ras
from lacunet.data.volume import read_image
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


def read_source(modality: str, path: Path) -> Source:
    """Read and check one scan. Messages name the modality and the file's own name, never its folder.

    Raises:
        DataError: it is damaged, not 3-D, empty, not finite, or covers too little of a head.
        GeometryError: its spacing or affine is impossible.
    """
    if not (path.exists() or path.is_symlink()):
        raise DataError(f"{modality}: {path.name}: there is no such file")
    try:
        voxels, grid, notes = read_image(ImageFile(path))
    except DataError as error:  # the message may hold the whole path, and so a patient's name
        raise type(error)(f"{modality}: {str(error).replace(str(path), path.name)}") from error
    check_signal(f"{modality}: {path.name}", voxels)
    extents = [size * spacing for size, spacing in zip(grid.shape, grid.spacing, strict=True)]
    if min(grid.shape) < LEAST_SLICES_TO_REGISTER or min(extents) < LEAST_EXTENT_MM:
        axis = int(np.argmin(extents))
        raise DataError(
            f"{modality}: {path.name}: covers {extents[axis]:.0f} mm in {grid.shape[axis]} slices; at least "
            f"{LEAST_EXTENT_MM:.0f} mm and {LEAST_SLICES_TO_REGISTER} slices are needed to register it; leave it out"
        )
    stripped = is_stripped(voxels, grid)
    if stripped:
        voxels, said = on_empty_background(f"{modality}: {path.name}", voxels, grid)
        notes += said
    return Source(modality, path, voxels, grid, stripped, tuple(_of_modality(note, modality, path) for note in notes))


def _of_modality(note: str, modality: str, path: Path) -> str:
    """A note about a sequence: the file may be a temporary copy."""
    return f"{modality}: " + note.removeprefix(f"{modality}: ").removeprefix(f"{path.name}: ")


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
