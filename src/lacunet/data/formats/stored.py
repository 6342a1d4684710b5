"""How an image lies in its file, as its header says."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np

from lacunet.errors import DataError

Packing = Literal["none", "gzip", "zlib"]
"""How the content of a file is compressed."""

Trailing = Literal["nothing", "zeros", "anything"]
"""What may follow the voxels: nothing, zeros (with a note), or up to `MOST_TRAILING` bytes of any kind."""

DEFLATE_RATIO = 1032
"""Compressed data cannot grow more than this many times."""

MOST_TRAILING = 2**20
"""More bytes than this after the voxels mean that the header is wrong."""

GREY_VALUES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
"""Types of voxels that are read, as numpy names them."""


@dataclass(frozen=True)
class Stored:
    """How an image lies in its file, by its header.

    Attributes:
        path: The file with the header.
        shape: Voxels along each axis, as the header gives them; the first axis runs fastest. They may be impossible.
        voxel: Type of a voxel, with the file's byte order; one of `GREY_VALUES`.
        affine: Voxel to mm (RAS+). It may be impossible.
        content: The file with the voxels: `path` itself, or the `.img` beside a `.hdr`.
        packing: How the content is compressed.
        packed_at: Byte of the file at which the compressed content begins.
        start: Byte of the content, decompressed, at which the voxels begin.
        trailing: What may follow the voxels.
        slope: Grey values are stored values times this ...
        intercept: ... plus this.
        forms: The NIfTI header, where it has a sound qform and sform that results can copy.
        notes: For the user.
    """

    path: Path
    shape: tuple[int, ...]
    voxel: np.dtype
    affine: np.ndarray
    content: Path
    packing: Packing = "none"
    packed_at: int = 0
    start: int = 0
    trailing: Trailing = "nothing"
    slope: float = 1.0
    intercept: float = 0.0
    forms: nib.Nifti1Header | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    @property
    def scaled(self) -> bool:
        """Whether grey values differ from the stored values."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def size(self) -> int:
        """Bytes of all voxels, decompressed."""
        return voxels_in(self.shape) * self.voxel.itemsize


def voxels_in(shape: tuple[int, ...]) -> int:
    """Number of voxels; an impossible size of 0 or less counts as 1."""
    return prod(max(size, 1) for size in shape)


def require_possible_size(stored: Stored) -> None:
    """Refuse a header that claims more bytes than its file can hold.

    Raises:
        DataError: the file is too short.
    """
    there = stored.content.stat().st_size - stored.packed_at
    most = there if stored.packing == "none" else there * DEFLATE_RATIO
    if stored.start + stored.size > most:
        raise DataError(
            f"{stored.name}: its header claims {stored.shape} voxels, more than the file holds; it is truncated or "
            "damaged, copy it again from its source"
        )
