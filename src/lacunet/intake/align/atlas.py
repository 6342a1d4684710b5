"""The grid of an imported case (1 mm, in the pose of the average brain), and how a patient's brain is moved there.

The target is the ICBM 152 average brain that ships with the package, drawn as a T1-weighted scan. Only a rotation and
a shift are found: the patient's brain keeps its size and shape.
"""

import numpy as np
from jaxtyping import Bool, Float

from lacunet.case import Grid, box_around
from lacunet.data.phantom.anatomy import load_atlas
from lacunet.intake.align.quality import brain_dice
from lacunet.intake.align.register import locate, volume_of
from lacunet.intake.align.rigid import Rigid, carry, centre_of, grown

WHITE, GREY, FLUID = 1.0, 0.7, 0.3
"""Brightness on a T1-weighted scan; for mutual information it is enough that the three differ."""


def case_grid() -> Grid:
    """The grid of every imported case: 192 x 240 x 192 voxels of 1 mm, RAS+, the average brain in the middle."""
    affine = np.eye(4)
    affine[:3, 3] = -95.5, -135.5, -87.5
    return Grid((192, 240, 192), affine)


def template() -> tuple[Float[np.ndarray, "x y z"], Grid]:
    """The average brain as a T1-weighted scan, background 0, at 1.5 mm."""
    atlas = load_atlas()
    fluid = (atlas.brain - atlas.white - atlas.grey).clip(0.0)
    image = np.where(atlas.brain > 0.5, WHITE * atlas.white + GREY * atlas.grey + FLUID * fluid, 0.0)
    affine = np.diag([atlas.spacing] * 3 + [1.0])
    affine[:3, 3] = atlas.origin
    x, y, z = image.shape
    return (100.0 * image).astype(np.float32), Grid((x, y, z), affine)


def to_atlas(
    image: Float[np.ndarray, "x y z"], grid: Grid, brain: Bool[np.ndarray, "x y z"], seed: int = 0
) -> tuple[Rigid, float]:
    """The rotation and shift of a scan after which its brain lies like the average one.

    Args:
        image: Any sequence.
        grid: Where it lies.
        brain: Where the brain is, on the same grid.
        seed: Of the points that are compared.

    Returns:
        The motion from points of the scan to points of the atlas, and the Dice of the two brains there (below 1, since
        the patient's brain has another size, or was not scanned completely).
    """
    average, atlas_grid = template()
    fixed = volume_of(np.where(brain, image, 0.0).astype(np.float32), grid, grown(brain, grid, 5.0))
    moving = volume_of(average, atlas_grid, average > 0)
    motion = locate(fixed, moving, seed).inverse
    laid = carry(brain.astype(np.float32), grid, atlas_grid, motion.inverse) >= 0.5
    return motion, brain_dice(laid, average > 0)


def upright(grid: Grid, brain: Bool[np.ndarray, "x y z"]) -> Rigid:
    """Without an atlas: the middle of the brain is shifted to the middle of the case's grid; nothing is rotated."""
    middle = np.array([(side.start + side.stop - 1) / 2 for side in box_around(brain)])
    centre = grid.affine[:3, :3] @ middle + grid.affine[:3, 3]
    matrix = np.eye(4)
    matrix[:3, 3] = centre_of(case_grid()) - centre
    return Rigid(matrix)
