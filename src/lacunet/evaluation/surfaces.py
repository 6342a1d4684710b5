"""Distances between the surfaces of two masks, and the percentiles of them that HD95 needs.

A percentile needs the exact distance of few voxels. The nearest point is searched for the middle of each block of
voxels first; that bounds the distance of every voxel in the block. Only voxels whose bounds hold the percentile are
searched themselves. The result is the percentile of all exact distances, not an approximation. It matters where masks
are far apart and ragged, as those of a young network: there a search in the tree costs most (docs/metrics.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from lacunet.case import box_around

Mask = Bool[np.ndarray, "x y z"]
Spacing = tuple[float, float, float]
"""Millimetres between voxel centres along each axis."""

_BLOCK_MM = 4.0


@dataclass(frozen=True)
class DirectedSurface:
    """The surface of one mask, and the surface of another that its distances lead to.

    Attributes:
        surface_from: The distances of these voxels.
        surface_to: The nearest of these; at least one.
        spacing: mm.
    """

    surface_from: Mask
    surface_to: Mask
    spacing: Spacing

    def distances(self) -> Float[np.ndarray, " surface_from"]:
        """mm from each voxel to the nearest of the other surface, unsorted, float64."""
        return self.some_distances(np.ones(self.size, dtype=bool))

    def bounds(self) -> tuple[Float[np.ndarray, " surface_from"], Float[np.ndarray, " surface_from"]]:
        """A lower and an upper bound of each distance, in the order of `distances`."""
        block = np.maximum(1, np.round(_BLOCK_MM / np.array(self.spacing))).astype(int)
        corners, block_of = np.unique(
            np.ravel_multi_index(tuple((self._away // block).T), self.surface_from.shape), return_inverse=True
        )
        middles = np.stack(np.unravel_index(corners, self.surface_from.shape), axis=1) * block + (block - 1) / 2
        # A little more than half the diagonal, so that rounding does not put a distance outside its bounds.
        reach = float(np.linalg.norm((block - 1) / 2 * self.spacing)) + 1e-6
        from_middle = self._search(middles)[block_of.ravel()]
        lower, upper = np.zeros(self.size), np.zeros(self.size)
        lower[: len(from_middle)] = from_middle - reach
        upper[: len(from_middle)] = from_middle + reach
        return lower, upper

    def some_distances(self, chosen: Bool[np.ndarray, " surface_from"]) -> Float[np.ndarray, " chosen"]:
        """Distances of the chosen voxels alone."""
        away = chosen[: len(self._away)]
        distances = np.zeros(np.count_nonzero(chosen))
        distances[: np.count_nonzero(away)] = self._search(self._away[away])
        return distances

    @cached_property
    def size(self) -> int:
        """Voxels of the surface."""
        return int(np.count_nonzero(self.surface_from))

    @cached_property
    def _away(self) -> np.ndarray:
        # The voxels that both surfaces share have distance 0 and need no search; they come last.
        return np.argwhere(self.surface_from & ~self.surface_to)

    @cached_property
    def _tree(self) -> cKDTree:
        # An unbalanced tree with large leaves is built in half the time and searched as fast on a surface.
        places = np.argwhere(self.surface_to) * np.array(self.spacing)
        return cKDTree(places, leafsize=32, balanced_tree=False, compact_nodes=False)

    def _search(self, voxels: np.ndarray) -> np.ndarray:
        """mm from places in voxels to the nearest of the other surface."""
        found: np.ndarray = self._tree.query(voxels * np.array(self.spacing))[0]
        return found


def between_surfaces(prediction: Mask, reference: Mask, spacing: Spacing) -> tuple[DirectedSurface, DirectedSurface]:
    """From the surface of the prediction to that of the reference, and back. Both masks must have voxels."""
    box = box_around(prediction | reference)
    first, second = surface(prediction[box]), surface(reference[box])
    return DirectedSurface(first, second, spacing), DirectedSurface(second, first, spacing)


def surface_distances(
    prediction: Mask, reference: Mask, spacing: Spacing
) -> tuple[Float[np.ndarray, " prediction_surface"], Float[np.ndarray, " reference_surface"]]:
    """Distances in mm from each surface voxel of one mask to the nearest of the other, for both masks, unsorted.

    Both masks must have voxels. Distances are between voxel centres, float64.
    """
    towards, back = between_surfaces(prediction, reference, spacing)
    return towards.distances(), back.distances()


def distance_quantile(surfaces: Sequence[DirectedSurface], share: float) -> float:
    """The quantile of the distances of all surfaces together, in mm; as `numpy.quantile` of all of them."""
    bounds = [one.bounds() for one in surfaces]
    lower = np.concatenate([low for low, _ in bounds])
    upper = np.concatenate([high for _, high in bounds])
    rank = int((len(lower) - 1) * share)
    following = min(rank + 1, len(lower) - 1)
    least, most = np.partition(lower, rank)[rank], np.partition(upper, following)[following]
    # What is surely below or above both ranks keeps its side, and its distance does not matter.
    distances = np.where(upper < least, -np.inf, np.inf)
    open_ones = (upper >= least) & (lower <= most)
    parts = np.split(open_ones, np.cumsum([one.size for one in surfaces])[:-1])
    distances[open_ones] = np.concatenate([one.some_distances(part) for one, part in zip(surfaces, parts, strict=True)])
    return float(np.quantile(distances, share))


def surface(mask: Mask) -> Mask:
    """The voxels of a mask that share a face with a voxel outside it; what lies beyond the array is outside."""
    inside = np.pad(mask, 1)
    core = inside[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for start in (0, 2):
            shifted = [slice(1, -1)] * 3
            shifted[axis] = slice(start, start + mask.shape[axis])
            core &= inside[tuple(shifted)]
    edge: np.ndarray = mask & ~core
    return edge
