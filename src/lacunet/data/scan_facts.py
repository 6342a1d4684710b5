"""What the scans of a case are like: numbers by which one tells whether a model has seen such scans. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lacunet.case import Case
from lacunet.data.shading import shading
from lacunet.task import Subset


@dataclass(frozen=True)
class ScanFacts:
    """What scans are like.

    Attributes:
        brain_ml: Where any of them has signal.
        voxel_mm: The longest side of a voxel.
        shading: By modality: how many times brighter one place is than another (`lacunet.data.shading`).
    """

    brain_ml: float
    voxel_mm: float
    shading: Mapping[str, float]


def scan_facts(case: Case, subset: Subset) -> ScanFacts:
    """What these scans of a case are like."""
    images = {modality: case.images[modality] for modality in subset}
    brain = np.logical_or.reduce([image != 0 for image in images.values()])
    return ScanFacts(
        brain_ml=float(np.count_nonzero(brain)) * case.grid.voxel_ml,
        voxel_mm=max(case.grid.spacing),
        shading={modality: shading(image, case.grid) for modality, image in images.items()},
    )
