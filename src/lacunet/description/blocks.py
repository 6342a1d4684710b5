"""A mask in blocks of about 3 mm: enough to say where it lies, and quick to look at. No torch here."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lacunet.case import Grid, box_around

_STEP = 3.0
"""Side of the blocks, mm."""
_MARGIN = 2
"""Empty blocks around a mask, wide enough for places that still count as the same (`where.SAME_PLACE`)."""


@dataclass(frozen=True)
class Blocks:
    """A mask in blocks of about 3 mm.

    Attributes:
        filled: Blocks of which the mask fills at least half.
        grid: Where they lie.
    """

    filled: Bool[np.ndarray, "a b c"]
    grid: Grid

    @property
    def spacing(self) -> Float[np.ndarray, "3"]:
        """Between neighbouring blocks, mm."""
        return np.asarray(self.grid.spacing)

    def indices(self, places: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
        """Of places in mm (RAS+)."""
        return np.asarray(np.linalg.solve(self.grid.affine[:3, :3], places - self.grid.affine[:3, 3:]))


def blocks_of(mask: Bool[np.ndarray, "x y z"], grid: Grid) -> Blocks:
    """Blocks of about 3 mm; around the mask lie as many as the distance that is still the same place needs."""
    sides = np.array([max(1, round(_STEP / size)) for size in grid.spacing])
    box = box_around(mask)
    beyond = [(0, -(part.stop - part.start) % side) for part, side in zip(box, sides, strict=True)]
    cut = np.pad(mask[box], beyond)
    split = tuple(part for number, side in zip(cut.shape, sides, strict=True) for part in (number // side, int(side)))
    share = np.pad(cut.reshape(split).mean(axis=(1, 3, 5)), _MARGIN)
    first = np.array([part.start for part in box]) + (sides - 1) / 2 - _MARGIN * sides
    affine = grid.affine @ np.block([[np.diag(sides), first[:, None]], [np.zeros(3), 1.0]])
    x, y, z = share.shape
    return Blocks(share >= 0.5, Grid((x, y, z), affine))
