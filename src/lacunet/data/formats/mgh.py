"""Headers of FreeSurfer's files: .mgh, and .mgz, which is compressed.

The format: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat
"""

import struct
from pathlib import Path

import numpy as np

from lacunet.data.formats.content import packing_and_first_bytes, packing_notes
from lacunet.data.formats.stored import Stored, require_possible_size
from lacunet.data.geometry import triple
from lacunet.errors import DataError, GeometryError

HEADER = 284
"""Bytes before the voxels. Everything is big-endian."""

_TYPES = {0: "u1", 1: "i4", 3: "f4", 4: "i2", 10: "u2"}


def read_mgh(path: Path) -> Stored:
    """The header of a .mgh or .mgz file, checked.

    Raises:
        DataError: it is no such file, holds no grey values, or claims more than it has.
        GeometryError: it does not say where its voxels are.
        EOFError, zlib.error, OSError: it is truncated, damaged or cannot be read.
    """
    packing, head = packing_and_first_bytes(path, HEADER)
    if len(head) < HEADER or head[:4] != b"\0\0\0\1":
        raise DataError(f"{path.name}: is not a file of FreeSurfer, whatever its name says; convert it to .nii.gz")
    *sizes, kind, _, located = struct.unpack(">6ih", head[4:30])
    if kind not in _TYPES:
        raise DataError(f"{path.name}: has voxels of type {kind}; grey values are expected")
    shape = tuple(sizes[:3]) if sizes[3] == 1 else tuple(sizes)
    affine = _affine(path.name, head, shape, located == 1)
    stored = Stored(
        path, shape, np.dtype(">" + _TYPES[kind]), affine, path, packing, start=HEADER, trailing="anything",
        notes=packing_notes(path.name, packing),
    )  # fmt: skip
    require_possible_size(stored)
    return stored


@np.errstate(over="ignore", invalid="ignore")  # `sound_affine` refuses what is not finite
def _affine(name: str, head: bytes, shape: tuple[int, ...], located: bool) -> np.ndarray:
    """Voxel to mm (RAS+): directions of the axes, distances along them, and where the middle of the volume lies."""
    numbers = np.array(struct.unpack(">15f", head[30:90]))
    spacing, directions, centre = numbers[:3], numbers[3:12].reshape(3, 3).T, numbers[12:]
    if not located:
        raise GeometryError(f"{name}: its header does not say where left and right are; convert it from its source")
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise GeometryError(f"{name}: spacing {triple(spacing)} mm in the header; positive numbers are expected")
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = centre - affine[:3, :3] @ (np.array(shape[:3]) / 2)
    return affine
