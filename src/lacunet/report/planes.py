"""The three planes a person looks at, cut from a RAS+ volume and turned as radiologists hang them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped


@dataclass(frozen=True)
class Plane:
    """A plane and how it is hung. In all three, higher indices lie further left and further up in the picture.

    Attributes:
        name: What it is called.
        normal: The array axis one looks along.
        across: The array axis that runs across the picture.
        up: The array axis that runs up the picture.
        edges: Letters at the left, right, top and bottom edge, of the patient's own directions.
    """

    name: str
    normal: int
    across: int
    up: int
    edges: tuple[str, str, str, str]


AXIAL = Plane("axial", normal=2, across=0, up=1, edges=("R", "L", "A", "P"))
CORONAL = Plane("coronal", normal=1, across=0, up=2, edges=("R", "L", "S", "I"))
SAGITTAL = Plane("sagittal", normal=0, across=1, up=2, edges=("A", "P", "S", "I"))
PLANES = (AXIAL, CORONAL, SAGITTAL)


def section(volume: Shaped[np.ndarray, "x y z"], plane: Plane, index: int) -> Shaped[np.ndarray, "row column"]:
    """One slice as a picture: row 0 at the top, the patient's right (or front) in column 0."""
    found: np.ndarray = np.take(volume, index, axis=plane.normal)[::-1, ::-1].T
    return found


def busiest(mask: Bool[np.ndarray, "x y z"], plane: Plane) -> int:
    """The slice with most voxels of the mask; the middle one of equals, so the middle slice of an empty mask."""
    counts = mask.sum(axis=(plane.across, plane.up))
    equals = np.flatnonzero(counts == counts.max())
    return int(equals[len(equals) // 2])


def size_mm(shape: tuple[int, int, int], spacing: tuple[float, float, float], plane: Plane) -> tuple[float, float]:
    """Width and height of a picture of the plane, in mm."""
    return shape[plane.across] * spacing[plane.across], shape[plane.up] * spacing[plane.up]
