"""Slices as small grey pictures with outlines on top: what the templates draw."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from lacunet.case import Box, Grid, box_around
from lacunet.report.planes import PLANES, Plane, busiest, section, size_mm
from lacunet.task import Task

MARGIN = 8.0
"""Millimetres left around the brain in a picture, for the letters at its edges."""


@dataclass(frozen=True)
class Outline:
    """The edge of a region in one slice.

    Attributes:
        region: Which region.
        index: Its position in the task's order, which decides its colour.
        kind: `prediction` or `reference`.
        path: An SVG path in pixels of the picture, (0, 0) at its top left corner.
    """

    region: str
    index: int
    kind: str
    path: str


@dataclass(frozen=True)
class Cut:
    """Where a picture is taken, and the outlines there; the same for every sequence of a case.

    Attributes:
        plane: The plane.
        index: The slice, counted from 0 in the whole volume.
        count: How many slices there are.
        position: Where its middle lies along the patient's axis, in mm.
        box: The part of the volume that is shown.
        pixel: Width and height of a pixel, in mm.
        size: Width and height of the picture, in mm.
        outlines: What is drawn on top, bottommost first.
    """

    plane: Plane
    index: int
    count: int
    position: float
    box: Box
    pixel: tuple[float, float]
    size: tuple[float, float]
    outlines: tuple[Outline, ...]

    @property
    def ratio(self) -> float:
        """Width over height."""
        return self.size[0] / self.size[1]

    @property
    def words(self) -> str:
        """Where the slice lies, in words."""
        position = f"{self.position:.0f}".replace("-", "−")
        return f"{'xyz'[self.plane.normal]} = {position} mm, slice {self.index + 1} of {self.count}"


@dataclass(frozen=True)
class Picture:
    """One sequence in one cut.

    Attributes:
        cut: Where it is taken.
        title: What it shows, for screen readers.
        uri: The grey picture as a PNG inside a data URI.
    """

    cut: Cut
    title: str
    uri: str


def cuts(
    task: Task,
    images: Mapping[str, Shaped[np.ndarray, "x y z"]],
    grid: Grid,
    prediction: UInt8[np.ndarray, "x y z"],
    reference: UInt8[np.ndarray, "x y z"] | None,
) -> list[Cut]:
    """The planes through most of the tumour: the predicted one, else the reference's, else the middle of the brain.

    Args:
        task: Names the regions that are outlined.
        images: Their voxels decide how much around the brain is cut away.
        grid: Of all arrays.
        prediction: Labels.
        reference: Labels, or None.
    """
    masks = {"prediction": prediction} if reference is None else {"reference": reference, "prediction": prediction}
    x, y, z = (math.ceil(MARGIN / spacing) for spacing in grid.spacing)
    shown = np.logical_or.reduce([volume != 0 for volume in (*images.values(), *masks.values())])
    box = box_around(shown, (x, y, z))
    tumour = prediction[box] > 0
    if reference is not None and not tumour.any():
        tumour = reference[box] > 0
    return [_cut(task, grid, masks, box, plane, busiest(tumour, plane)) for plane in PLANES]


def _cut(task: Task, grid: Grid, masks: Mapping[str, np.ndarray], box: Box, plane: Plane, index: int) -> Cut:
    """One cut; `index` counts slices inside the box."""
    shape = tuple(side.stop - side.start for side in box)
    whole = box[plane.normal].start + index
    middle = (np.array(grid.shape) - 1) / 2
    middle[plane.normal] = whole
    return Cut(
        plane=plane,
        index=whole,
        count=grid.shape[plane.normal],
        position=float((grid.affine @ [*middle, 1])[plane.normal]),
        box=box,
        pixel=(grid.spacing[plane.across], grid.spacing[plane.up]),
        size=size_mm((shape[0], shape[1], shape[2]), grid.spacing, plane),
        outlines=_outlines(task, masks, box, plane, whole),
    )


def outlined(cut: Cut, task: Task, masks: Mapping[str, UInt8[np.ndarray, "x y z"]]) -> Cut:
    """The same slice with the outlines of these masks, bottommost first, and no others.

    Args:
        cut: Where it is.
        task: Names the regions.
        masks: Labels on the grid of the cut, by their kind.
    """
    return replace(cut, outlines=_outlines(task, masks, cut.box, cut.plane, cut.index))


def _outlines(task: Task, masks: Mapping[str, np.ndarray], box: Box, plane: Plane, index: int) -> tuple[Outline, ...]:
    """The outlines in one slice of the whole volume, as far as it lies in the box."""
    inside = index - box[plane.normal].start
    return tuple(
        Outline(region, number, kind, path)
        for kind, labels in masks.items()
        for number, (region, members) in enumerate(task.regions.items())
        if (path := outline(np.isin(section(labels[box], plane, inside), members)))
    )


def outline(mask: Bool[np.ndarray, "row column"]) -> str:
    """An SVG path around a mask, half way between the pixels inside and outside; empty for an empty mask."""
    if not mask.any():
        return ""
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float64)).lines(0.5)
    return "".join(_closed(np.asarray(line) - 0.5) for line in lines)


def _closed(points: np.ndarray) -> str:
    """A closed SVG path through points of (column, row)."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points[:-1]) + "Z"


def pictures(image: Shaped[np.ndarray, "x y z"], title: str, at: list[Cut], stamp: str = "") -> list[Picture]:
    """One sequence in every cut, in one window of grey values; a stamp is burnt into the pixels."""
    low, high = window(image)
    found = []
    for cut in at:
        values = section(image[cut.box], cut.plane, cut.index - cut.box[cut.plane.normal].start)
        grey = np.clip((values - low) / (high - low), 0, 1) * 255
        pixels = np.nan_to_num(grey).astype(np.uint8)
        uri = png_uri(stamped(pixels, stamp) if stamp else pixels)
        found.append(Picture(cut, f"{title}, {cut.plane.name}", uri))
    return found


def stamped(grey: UInt8[np.ndarray, "row column"], words: str) -> UInt8[np.ndarray, "row column"]:
    """White words on black in the upper left corner, half as wide as the picture."""
    canvas = Image.fromarray(grey)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(max(6.0, 0.5 * grey.shape[1] / len(words) / 0.62))
    left, top, right, bottom = draw.textbbox((2, 2), words, font=font)
    draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=0)
    draw.text((2, 2), words, fill=255, font=font)
    return np.asarray(canvas)


def window(image: Shaped[np.ndarray, "x y z"]) -> tuple[float, float]:
    """The intensities drawn black and white: the 0.5th and 99.5th percentile of what is not background."""
    brain = image[np.isfinite(image) & (image != 0)]
    if not brain.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(brain, [0.5, 99.5]))
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def png_uri(grey: UInt8[np.ndarray, "row column"]) -> str:
    """A grey picture as a PNG inside a data URI."""
    buffer = BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
