"""A case: one person at one visit, on one grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num

from lacunet.task import Subset, Task

Box = tuple[slice, slice, slice]
"""Part of an array: first voxel and the one after the last, along each axis."""

RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From mm to the right, anterior and superior (RAS+, as in NIfTI) to mm to the left, posterior and superior (LPS+, as
in DICOM and ITK). It reverses x and y, so it is its own inverse and also leads back."""


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: a shape, and the affine from voxel indices to mm (RAS+)."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxel centres along each axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def places(self, indices: Num[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
        """Where points given in voxels lie, in mm (RAS+)."""
        return np.asarray(self.affine[:3, :3] @ indices + self.affine[:3, 3:])


def box_around(mask: Bool[np.ndarray, "x y z"], margin: tuple[int, int, int] = (0, 0, 0)) -> Box:
    """The smallest box with every voxel of a mask, and `margin` voxels more on each side where the array goes on.

    The box of an empty mask is the whole array.
    """
    sides: tuple[slice, ...] = ()
    for axis in range(3):  # in what is left after the axes before, which is quicker
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(mask[sides].any(axis=others))
        if not filled.size:
            return slice(0, mask.shape[0]), slice(0, mask.shape[1]), slice(0, mask.shape[2])
        sides += (slice(int(filled[0]), int(filled[-1]) + 1),)
    x, y, z = (
        slice(max(side.start - more, 0), min(side.stop + more, size))
        for side, more, size in zip(sides, margin, mask.shape, strict=True)
    )
    return x, y, z


@dataclass(frozen=True)
class Case:
    """Images by modality and perhaps a reference mask, in memory, on one RAS+ grid.

    Attributes:
        name: The case's name, as its folder or manifest gives it.
        person: Whose case it is; splits never separate the cases of a person.
        images: Float32 arrays of `grid.shape`, intensities as on disk. A modality that is not here was not acquired.
        grid: The grid of the arrays: axes run right, anterior, superior as nearly as the scan allows.
        native: The grid as it is on disk; results are written on it.
        reference: Labels as integers inside lacunet (uint8), or None.
        notes: Remarks from reading the files, such as "labels rounded from 0.99999997".
    """

    name: str
    person: str
    images: Mapping[str, np.ndarray]
    grid: Grid
    native: Grid
    reference: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def acquired(self, task: Task) -> Subset:
        """The acquired modalities, in the task's order."""
        return task.subset(self.images)

    def only(self, subset: Sequence[str]) -> "Case":
        """The same case as if only these modalities had been acquired."""
        return replace(self, images={modality: self.images[modality] for modality in subset})


@dataclass(frozen=True)
class ImageFile:
    """A file of one image, or one volume of a 4-D file."""

    path: Path
    volume: int | None = None


@dataclass(frozen=True)
class CaseFiles:
    """Where a case lies on disk, before anything is read.

    Attributes:
        name: The case's name.
        person: Whose case it is.
        images: One file per acquired modality.
        reference: The annotator's mask, or None.
        family: The naming family that the case was recognised by: `brats2018`, `brats2023`, `msd`, `manifest`, ...
        convention: The label convention of the reference, by name, or None where there is no reference.
        names_shown: False: texts about the case name no file that may be called after a person.
    """

    name: str
    person: str
    images: Mapping[str, ImageFile]
    reference: ImageFile | None
    family: str
    convention: str | None
    names_shown: bool = True
