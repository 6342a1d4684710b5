"""Segments and their labels: names, colours, and one array of labels from the arrays of segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import LacunetProblem


@dataclass(frozen=True)
class Segment:
    """A segment of the mask.

    Attributes:
        identifier: Of the segment in the node.
        name: For people; `lacunet measure` understands it too.
        value: Of the label in the file.
        colour: Red, green, blue, 0 to 1.
    """

    identifier: str
    name: str
    value: int
    colour: tuple[float, float, float]


SEGMENTS = (
    Segment("necrotic_core", "necrotic core", 1, (0.95, 0.75, 0.25)),
    Segment("oedema", "oedema", 2, (0.36, 0.72, 1.0)),
    Segment("enhancing", "enhancing", 3, (0.93, 0.36, 0.52)),
)
"""In the order of their values, which are those that Slicer gives them where it exports them by itself."""

PAINTED = ("oedema", "necrotic_core", "enhancing")
"""Where two overlap after a correction, the later one counts."""


def merged(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """One array of labels.

    Args:
        arrays: By the segment's identifier, or its name; not 0 inside. All of one shape; segments may lack.

    Raises:
        LacunetProblem: there is none, one has a name that is not known, or their shapes differ.
    """
    known = {word: segment for segment in SEGMENTS for word in (segment.identifier, segment.name)}
    for word in arrays:
        if word not in known:
            names = ", ".join(segment.name for segment in SEGMENTS)
            raise LacunetProblem(f"segment '{word}' is none of {names}; rename it, or delete it")
    if not arrays:
        raise LacunetProblem("the segmentation has no segments; choose the one that Segment made")
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        raise LacunetProblem(f"the segments lie on {len(shapes)} grids; edit them on the scan that the mask came with")
    labels = np.zeros(next(iter(shapes)), np.uint8)
    for identifier in PAINTED:
        for word, array in arrays.items():
            if known[word].identifier == identifier:
                labels[array != 0] = known[word].value
    return labels
