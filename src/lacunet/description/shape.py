"""What can be measured of a mask besides its volume: diameters, foci, side, lobes. No torch here.

Diameters are those of the RANO criteria (Wen et al., JCO 2010 and 2023): in one slice the longest line between two
points of the outline, and the longest line at right angles to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from lacunet.case import Grid, box_around
from lacunet.description.lobes import Lobe, lobes_of
from lacunet.description.pose import Pose

SMALLEST_FOCUS = 0.1
"""Smaller pieces are no foci, ml."""
MEASURABLE = 10.0
"""A focus is measurable by RANO if both diameters are at least so long, mm."""
ONE_SIDED = 0.95
"""A mask is on one side if so much of it lies there."""

Side = Literal["left", "right", "both"]
_TOUCHING = np.ones((3, 3, 3))
_EDGES = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
"""From a pixel's centre to the middles of its edges."""


@dataclass(frozen=True)
class Diameters:
    """Of the slice in which their product is largest.

    Attributes:
        longest: The longest line between two points of the outline, mm.
        across: The longest line at right angles to it, mm.
        slice: Index of the slice along the grid's third axis, which runs upwards.
    """

    longest: float
    across: float
    slice: int

    @property
    def product(self) -> float:
        """Square millimetres."""
        return self.longest * self.across


@dataclass(frozen=True)
class Focus:
    """A connected piece of a mask; voxels that share a corner are connected.

    Attributes:
        ml: Its volume.
        centre: The mean of its voxels, mm (RAS+).
        diameters: In one slice.
    """

    ml: float
    centre: tuple[float, float, float]
    diameters: Diameters

    @property
    def measurable(self) -> bool:
        """Whether RANO would measure it."""
        return min(self.diameters.longest, self.diameters.across) >= MEASURABLE


@dataclass(frozen=True)
class Place:
    """Where in the brain a mask lies.

    Attributes:
        side: Where at least 95 % of it lies; else `both`.
        right_share: Share of it that lies right of the midline, 0 to 1.
        midline_mm: From the midline to the nearest voxel; 0 where the mask crosses it.
        lobes: Share of it in each part of the brain, the largest first; None where the brain does not fit the average
            one.
    """

    side: Side
    right_share: float
    midline_mm: float
    lobes: Mapping[Lobe, float] | None


@dataclass(frozen=True)
class Shape:
    """What can be measured of a mask that is not empty.

    Attributes:
        voxels: Their number.
        centre: The mean of its voxels, mm (RAS+).
        foci: Pieces of at least 0.1 ml, the largest first.
        place: In the brain; None where nobody knows how the brain lies.
    """

    voxels: int
    centre: tuple[float, float, float]
    foci: tuple[Focus, ...]
    place: Place | None

    @property
    def largest(self) -> Focus | None:
        """The focus with the largest product of diameters; None where every piece is smaller than a focus."""
        return max(self.foci, key=lambda focus: focus.diameters.product, default=None)


def diameter_words(longest: float, across: float) -> str:
    """Of a focus, for people: `46 × 31 mm`."""
    return f"{longest:.0f} × {across:.0f} mm"


def side_words(side: Side, right_share: float) -> str:
    """`left`, `right`; of a mask on both, the larger share: `62 % right`."""
    if side != "both":
        return side
    right = round(100 * right_share)
    return f"{right} % right" if right >= 50 else f"{100 - right} % left"


def midline_words(midline_mm: float) -> str:
    """`crosses it`, `12 mm away`."""
    return "crosses it" if midline_mm == 0 else f"{midline_mm:.0f} mm away"


def shape_of(mask: Bool[np.ndarray, "x y z"], pose: Pose | None, grid: Grid) -> Shape | None:
    """What can be measured of a mask; None of an empty one.

    Args:
        mask: Of a region.
        pose: How the brain lies in the coordinates of the grid; None where nobody knows.
        grid: Of the mask, RAS+.
    """
    if not mask.any():
        return None
    box = box_around(mask)
    first = np.array([part.start for part in box])
    filled = mask[box]
    indices = np.argwhere(filled).T + first[:, None]
    return Shape(
        voxels=indices.shape[1],
        centre=_middle(indices, grid),
        foci=tuple(sorted(_foci(filled, first, grid), key=lambda focus: focus.ml, reverse=True)),
        place=_place(grid.places(indices), pose) if pose else None,
    )


def diameters_of(mask: Bool[np.ndarray, "x y z"], grid: Grid) -> Diameters:
    """The two diameters in the slice where their product is largest; pieces within a slice are measured apart.

    Args:
        mask: Not empty.
        grid: Its third axis runs from slice to slice.
    """
    pixel = np.asarray(grid.spacing[:2])
    best = Diameters(0.0, 0.0, 0)
    areas = mask.sum(axis=(0, 1))
    for index in np.flatnonzero(areas):
        pieces, count = ndimage.label(mask[:, :, index], structure=np.ones((3, 3)))
        for piece in range(1, count + 1):
            longest, across = _two_lines(np.argwhere(pieces == piece), pixel)
            if longest * across > best.product:
                best = Diameters(longest, across, int(index))
    return best


def _place(places: Float[np.ndarray, "3 n"], pose: Pose) -> Place:
    """Of voxels in mm."""
    aside = pose.midline.distance(places)
    right = float((aside > 0).mean())
    return Place(
        side="right" if right >= ONE_SIDED else "left" if right <= 1 - ONE_SIDED else "both",
        right_share=right,
        midline_mm=float(np.abs(aside).min()) if right in (0.0, 1.0) else 0.0,
        lobes=lobes_of(pose.laid.moved(places)) if pose.laid else None,
    )


def _foci(mask: Bool[np.ndarray, "x y z"], first: Int[np.ndarray, "3"], grid: Grid) -> Iterator[Focus]:
    pieces, _ = ndimage.label(mask, structure=_TOUCHING)
    voxel_ml = float(np.prod(grid.spacing)) / 1000.0
    for number, box in enumerate(ndimage.find_objects(pieces), 1):
        piece = pieces[box] == number
        ml = float(np.count_nonzero(piece)) * voxel_ml
        if ml < SMALLEST_FOCUS:
            continue
        start = first + np.array([part.start for part in box])
        found = diameters_of(piece, grid)
        yield Focus(
            ml=ml,
            centre=_middle(np.argwhere(piece).T + start[:, None], grid),
            diameters=Diameters(found.longest, found.across, found.slice + int(start[2])),
        )


def _two_lines(pixels: Int[np.ndarray, "n 2"], size: Float[np.ndarray, "2"]) -> tuple[float, float]:
    """The longest line between two points of an outline, and the longest at right angles to it, in mm."""
    points, outer = (_middles_of_edges(some, size) for some in (pixels, _ends_of_rows(pixels)))
    corners = outer[ConvexHull(outer).vertices]
    apart = cdist(corners, corners)
    one, other = np.unravel_index(np.argmax(apart), apart.shape)
    longest = float(apart[one, other])
    along = (corners[other] - corners[one]) / longest
    at, aside = points @ along, points @ np.array([-along[1], along[0]])
    rows = np.floor((at - at.min()) / float(size.max())).astype(int)
    low, high = np.full(rows.max() + 1, np.inf), np.full(rows.max() + 1, -np.inf)
    np.minimum.at(low, rows, aside)
    np.maximum.at(high, rows, aside)
    return longest, float((high - low).max())


def _middles_of_edges(pixels: Int[np.ndarray, "n 2"], size: Float[np.ndarray, "2"]) -> Float[np.ndarray, "_ 2"]:
    return np.asarray((pixels[:, None] + _EDGES) * size).reshape(-1, 2)


def _ends_of_rows(pixels: Int[np.ndarray, "n 2"]) -> Int[np.ndarray, "_ 2"]:
    """The first and the last pixel of each row, of pixels in order: no corner of the outline is elsewhere."""
    another = np.diff(pixels[:, 0], prepend=-1, append=-1) != 0
    return np.asarray(pixels[another[:-1] | another[1:]])


def _middle(indices: Int[np.ndarray, "3 n"], grid: Grid) -> tuple[float, float, float]:
    x, y, z = grid.places(indices.mean(axis=1, keepdims=True))[:, 0]
    return float(x), float(y), float(z)
