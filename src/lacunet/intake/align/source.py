"""Reading a scan for import, and what has been done to it already."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lacunet.case import Grid, ImageFile
from lacunet.data.nifti import (
    background_of,
    check_intensities,
    check_signal,
    looks_stripped,
    ras_grid,
    require_same_grid,
    to_ras,
)
from lacunet.data.volume import read_image
from lacunet.errors import DataError, GeometryError

LEAST_EXTENT_MM = 40.0
"""What is thinner than this along an axis shows too little of a head to be registered."""

LEAST_SLICES_TO_REGISTER = 6
"""Fewer slices than this say too little across them."""

LARGEST_BRAIN_SECTION_CM2 = 225.0
"""More signal than this in one axial section is a head in blanked air, no brain (112 scans of BraTS: 128-198 cm2)."""


@dataclass(frozen=True)
class Source:
    """A scan as it came, in memory.

    Attributes:
        modality: Which sequence it is.
        path: Where it was read from.
        voxels: Grey values, as on disk.
        grid: Where they lie.
        stripped: Whether it shows a brain alone, on a background of exactly 0.
        notes: What reading had to say.
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
        DataError: it is damaged, not 3-D, empty, not finite, or covers too little.
        GeometryError: its spacing or affine makes no sense.
    """
    if not path.is_file():
        raise DataError(f"{modality}: {path.name}: there is no such file")
    try:
        voxels, grid, notes = read_image(ImageFile(path))
    except DataError as error:  # the reader may name the whole path, which can carry a patient's name
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
        check_intensities(f"{modality}: {path.name}", voxels, grid)
    return Source(modality, path, voxels, grid, stripped, tuple(notes))


def is_stripped(voxels: Float[np.ndarray, "x y z"], grid: Grid) -> bool:
    """Whether a scan shows a brain alone: exact background around it, and no section as large as a head's."""
    if not looks_stripped(voxels, grid.voxel_ml):
        return False
    return largest_section_cm2(voxels, grid) <= LARGEST_BRAIN_SECTION_CM2


def largest_section_cm2(voxels: Float[np.ndarray, "x y z"], grid: Grid) -> float:
    """The area with signal in the axial section that has most of it."""
    upright = ras_grid(grid)
    signal = to_ras(voxels, grid) != background_of(voxels)[0]
    return float(signal.sum(axis=(0, 1)).max()) * upright.spacing[0] * upright.spacing[1] / 100.0


def on_one_grid(one: Source, other: Source) -> bool:
    """Whether two scans have the same shape and place, as `lacunet segment` asks for."""
    try:
        require_same_grid(one.modality, one.grid, other.modality, other.grid)
    except GeometryError:
        return False
    return True
