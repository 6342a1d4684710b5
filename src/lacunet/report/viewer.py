"""The data of the interactive viewer in a case's page: scans in 8 bits and masks, each a NIfTI file inside the page.

NiiVue draws them; `vendor/` holds it as published, and `scripts/release/renew_niivue.py` renews it. `viewer.js` does
everything else.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from lacunet.case import Grid
from lacunet.report.page import resource, sentence
from lacunet.report.pictures import Cut, window
from lacunet.report.planes import PLANES
from lacunet.task import Task

NIIVUE_VERSION = "0.69.0"
NIIVUE_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
"""Of `vendor/niivue.umd.js`, which is the file `dist/niivue.umd.js` of the npm package `@niivue/niivue`."""

HEADROOM = 0.5
"""How far the stored grey values reach beyond the first window on each side, as a share of its width.

So the user can move and widen the window."""


@dataclass(frozen=True)
class EightBit:
    """A scan in 8 bits.

    Attributes:
        voxels: 0 where the scan is exactly 0 or not finite, 1 to 255 elsewhere.
        slope: Grey values of the scan per step.
        intercept: `intercept + slope * voxel` is the scan's grey value, to half a step, for voxels other than 0.
    """

    voxels: UInt8[np.ndarray, "x y z"]
    slope: float
    intercept: float


def eight_bit(image: Shaped[np.ndarray, "x y z"], low: float, high: float) -> EightBit:
    """A scan in 255 grey values: its window, `low` to `high`, and `HEADROOM` around it if the scan has such values."""
    inside = np.isfinite(image) & (image != 0)
    values = image[inside].astype(np.float32)
    room = HEADROOM * (high - low)
    bottom = max(low - room, float(values.min())) if values.size else low
    top = min(high + room, float(values.max())) if values.size else high
    if top <= bottom:
        bottom, top = low, high
    slope = (top - bottom) / 254
    voxels = np.zeros(image.shape, np.uint8)
    voxels[inside] = np.clip(np.rint((values - bottom) / slope) + 1, 1, 255)
    return EightBit(voxels, slope, bottom - slope)


def nifti_text(
    voxels: UInt8[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"], slope: float = 1.0, intercept: float = 0.0
) -> str:
    """A volume as a NIfTI file, compressed, in base64. Its header holds the geometry and nothing else.

    Args:
        voxels: The volume.
        affine: Voxel to mm (RAS+), in the header as float32.
        slope: Grey values per step.
        intercept: Grey value of a voxel of 0.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(voxels.shape)
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm")
    header.set_slope_inter(slope, intercept)
    header["magic"], header["vox_offset"] = b"n+1", 352
    whole = header.binaryblock + bytes(4) + voxels.tobytes(order="F")
    return base64.b64encode(_gzip(whole)).decode("ascii")


def _gzip(content: bytes) -> bytes:
    """Only background repeats in a scan, so looking for runs alone is quicker, and the result is no larger."""
    packer = zlib.compressobj(wbits=31, strategy=zlib.Z_RLE)
    return packer.compress(content) + packer.flush()


def viewer_data(
    task: Task,
    images: Mapping[str, Shaped[np.ndarray, "x y z"]],
    grid: Grid,
    masks: Mapping[str, UInt8[np.ndarray, "x y z"]],
    at: Sequence[Cut],
) -> dict[str, Any]:
    """All that `viewer.js` needs, as plain values: the part of the case that the pictures show, around the brain.

    Args:
        task: Order and names.
        images: What was acquired.
        grid: Of all arrays.
        masks: Labels by kind, `prediction` first, perhaps `reference`; those without a tumour are left out.
        at: The cuts of the pictures. The viewer begins where they lie.
    """
    box = at[0].box
    shape = tuple(side.stop - side.start for side in box)
    corner = np.eye(4)
    corner[:3, 3] = [side.start for side in box]
    affine = grid.affine @ corner
    start = [next(cut.index for cut in at if cut.plane.normal == axis) for axis in range(3)]
    return {
        "niivue": NIIVUE_VERSION,
        "scans": [
            _scan(modality, task, images[modality][box], affine) for modality in task.modalities if modality in images
        ],
        "masks": [
            {"name": kind, "title": sentence(kind), "nifti": nifti_text(labels[box], affine)}
            for kind, labels in masks.items()
            if labels.any()
        ],
        "regions": [
            {"name": region, "title": task.titles[region], "labels": list(labels)}
            for region, labels in task.regions.items()
        ],
        "first": [side.start for side in box],
        "count": list(grid.shape),
        "size": [n * mm for n, mm in zip(shape, grid.spacing, strict=True)],
        "planes": [{"name": plane.name, "normal": plane.normal, "edges": list(plane.edges)} for plane in PLANES],
        "start": (grid.affine @ [*start, 1])[:3].tolist(),
    }


def _scan(modality: str, task: Task, image: Shaped[np.ndarray, "x y z"], affine: np.ndarray) -> dict[str, Any]:
    low, high = window(image)
    small = eight_bit(image, low, high)
    return {
        "name": modality,
        "title": task.titles[modality],
        "window": [low, high],
        "slope": small.slope,
        "intercept": small.intercept,
        "nifti": nifti_text(small.voxels, affine, small.slope, small.intercept),
    }


def niivue_script() -> str:
    """NiiVue with its licences in front, as a script of the page."""
    return f"/*\n{resource('vendor/LICENSES.txt')}*/\n{resource('vendor/niivue.umd.js')}"
