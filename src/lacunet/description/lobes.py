"""In which lobes of the brain a mask lies, by a coarse map of the average brain. No torch here.

The map is `lobes.npz`, made by scripts/release/make_lobes.py, which says where it comes from: its borders are right to
about a centimetre, and tumours push tissue aside. White matter belongs to the lobe whose cortex is nearest.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, UInt8

Lobe = Literal["outside", "frontal", "temporal", "parietal", "occipital", "insula", "deep", "cerebellum", "brainstem"]
"""`deep`: nearer to the basal ganglia or the thalamus than to any cortex; `outside`: the map does not know."""
LOBES: tuple[Lobe, ...] = get_args(Lobe)
"""In the order of the map's numbers."""

TITLES: Mapping[Lobe, str] = {
    "outside": "outside the map",
    "frontal": "frontal",
    "temporal": "temporal",
    "parietal": "parietal",
    "occipital": "occipital",
    "insula": "insula",
    "deep": "deep nuclei",
    "cerebellum": "cerebellum",
    "brainstem": "brainstem",
}
"""For people."""


LEAST_SHARE = 0.01
"""Of a mask: smaller shares are not put into words."""


def share_words(lobes: Mapping[Lobe, float]) -> str:
    """`frontal 62 %, insula 30 %, deep nuclei 8 %`."""
    return ", ".join(f"{TITLES[lobe]} {100 * share:.0f} %" for lobe, share in lobes.items() if share >= LEAST_SHARE)


def lobes_of(places: Float[np.ndarray, "3 n"]) -> dict[Lobe, float]:
    """The share of places in each part of the brain, from 0 to 1, the largest first; parts without any are left out.

    Args:
        places: In mm (RAS+) of the average brain; at least one.
    """
    numbers, origin, spacing = _map()
    found = _nearest(numbers, np.rint((places - origin[:, None]) / spacing).astype(int))
    shares = np.bincount(found, minlength=len(LOBES)) / found.size
    there = [(lobe, float(share)) for lobe, share in zip(LOBES, shares, strict=True) if share]
    return dict(sorted(there, key=lambda one: one[1], reverse=True))


def _nearest(numbers: UInt8[np.ndarray, "a b c"], voxels: Int[np.ndarray, "3 n"]) -> UInt8[np.ndarray, " n"]:
    """The numbers at voxels; 0 beyond the map."""
    there = ((voxels >= 0) & (voxels < np.array(numbers.shape)[:, None])).all(axis=0)
    found = np.zeros(voxels.shape[1], np.uint8)
    found[there] = numbers[tuple(voxels[:, there])]
    return found


@cache
def _map() -> tuple[UInt8[np.ndarray, "a b c"], Float[np.ndarray, "3"], float]:
    """Numbers of parts (places in `LOBES`), where the first voxel lies in mm, and the spacing in mm."""
    with (files("lacunet.description") / "lobes.npz").open("rb") as stream, np.load(stream) as stored:
        return stored["numbers"], stored["origin"], float(stored["spacing"])
