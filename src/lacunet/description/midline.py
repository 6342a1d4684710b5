"""The plane between the halves of a brain, by its outline alone, which tumours hardly change. No torch here.

`data/midplane.py` finds it by the grey values of both halves, for which it must know where the tumour is.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, optimize

from lacunet.case import Grid
from lacunet.data.midplane import Plane, tilted_plane
from lacunet.description.blocks import blocks_of

_EVERY = 2
"""One of so many blocks of the brain is looked at in the search."""


def midline_of(brain: Bool[np.ndarray, "x y z"], grid: Grid) -> Plane:
    """The plane between the halves of a brain, in mm (RAS+), by its outline alone, which tumours hardly change.

    Args:
        brain: Where any scan has signal.
        grid: Its first axis runs to the right, as nearly as the scan allows.
    """
    blocks = blocks_of(brain, grid)
    along = outline_plane(blocks.filled, blocks.spacing)
    axes = blocks.grid.affine[:3, :3] / blocks.spacing
    normal = axes @ along.normal
    return Plane(normal, along.offset + float(normal @ blocks.grid.affine[:3, 3]))


def outline_plane(brain: Bool[np.ndarray, "x y z"], spacing: Float[np.ndarray, "3"]) -> Plane:
    """The plane that best mirrors a brain onto itself.

    In mm from the first voxel, along the axes of the array.
    """
    points = np.argwhere(brain)[::_EVERY].T * spacing[:, None]
    centre, signal = points.mean(axis=1), brain.astype(np.float32)

    def outside(numbers: np.ndarray) -> float:
        voxels = tilted_plane(numbers, centre).mirrored(points) / spacing[:, None]
        return -float(ndimage.map_coordinates(signal, voxels, order=1).mean())

    around = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.08, 0.0], [0.0, 0.0, 0.08]])
    options = {"initial_simplex": around, "xatol": 5e-3, "fatol": 1e-5, "maxfev": 100}
    return tilted_plane(optimize.minimize(outside, np.zeros(3), method="Nelder-Mead", options=options).x, centre)
