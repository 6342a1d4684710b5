"""Pictures of a mask for archives that show no DICOM SEG: secondary captures with outlines and volumes burned in.

No person is named in them. They belong to the patient and study of the mask, from which they take their headers.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from lacunet.files import whole_file
from lacunet.intake.read.quiet import silently
from lacunet.segmentation.dicom_seg import RESEARCH
from lacunet.task import Task

LEAST_SIDE = 512
"""Pixels of the longer side of a slice in a picture; smaller slices are enlarged."""

COLOURS = ((95, 182, 255), (255, 210, 60), (255, 95, 144), (159, 224, 111), (191, 163, 255), (255, 255, 255))
"""Of the regions, in the task's order, as on the case's page: red, green, blue."""

_WINDOW = (0.5, 99.5)
_TEXT = 15
_LINE = 20
_LETTERS_PER_PIXEL = 1 / 8
_SERIES = 200


@dataclass(frozen=True)
class Shown:
    """What the pictures of a mask show.

    Attributes:
        scan: The scan of the mask as NIfTI, its axes columns, rows and slices of the DICOM series.
        mask: Labels inside lacunet on the same grid, as NIfTI.
        object: The DICOM SEG.
        legend: By region, a line such as `whole tumour 84.1 ml`.
        lines: What stands below: sentences without a person's name.
    """

    scan: Path
    mask: Path
    object: Path
    legend: Mapping[str, str]
    lines: Sequence[str]


def write_captures(shown: Shown, folder: Path, most: int, task: Task) -> list[Path]:
    """Write a picture of each slice that the mask reaches, evenly chosen where there are more than `most`; where the
    mask is empty, of the middle slice.

    Args:
        shown: What they show.
        folder: Where they go.
        most: So many at most.
        task: Knows the regions.

    Returns:
        The files, in the order of the slices.

    Raises:
        OutputError: a file cannot be written.
    """
    from pydicom import dcmread

    scan, mask = nib.load(shown.scan), np.asanyarray(nib.load(shown.mask).dataobj).astype(np.uint8)
    voxels = np.asanyarray(scan.dataobj)
    low, high = np.percentile(voxels[voxels != 0], _WINDOW) if voxels.any() else (0.0, 1.0)
    grey = np.clip((voxels - low) / max(high - low, 1e-6), 0, 1)
    width, height = (float(size) for size in scan.header.get_zooms()[:2])
    chosen = slices_shown(mask, most)
    with silently():
        reference = dcmread(shown.object, stop_before_pixels=True)
    written = []
    for number, index in enumerate(chosen, 1):
        where = f"slice {index + 1} of {mask.shape[2]}" + (f", picture {number} of {len(chosen)}" if chosen[1:] else "")
        cut = grey[:, :, index].T, mask[:, :, index].T
        pixels = picture(*cut, (width, height), shown.legend, (where, *shown.lines), task)
        path = folder / f"picture-{index + 1:04d}.dcm"
        _write(path, pixels, reference, index + 1)
        written.append(path)
    return written


def slices_shown(mask: UInt8[np.ndarray, "x y z"], most: int) -> list[int]:
    """Which slices are shown; see `write_captures`."""
    there = np.flatnonzero(mask.any(axis=(0, 1)))
    if not len(there):
        return [mask.shape[2] // 2]
    if len(there) <= most:
        return [int(one) for one in there]
    return [int(there[round(at)]) for at in np.linspace(0, len(there) - 1, most)]


def picture(
    grey: Shaped[np.ndarray, "row column"],
    labels: UInt8[np.ndarray, "row column"],
    pixel: tuple[float, float],
    legend: Mapping[str, str],
    lines: Sequence[str],
    task: Task,
) -> UInt8[np.ndarray, "height width 3"]:
    """A slice with the outline of each region, and text below it.

    Args:
        grey: 0 to 1.
        labels: Labels inside lacunet.
        pixel: Width and height of a pixel in mm.
        legend: By region, a line in its colour.
        lines: Further lines.
        task: Knows the regions.
    """
    rows, columns = grey.shape
    size = np.array([columns * pixel[0], rows * pixel[1]])
    wide, high = (max(1, round(side)) for side in size * max(LEAST_SIDE, rows, columns) / size.max())
    image = Image.fromarray((grey * 255).astype(np.uint8)).resize((wide, high), Image.Resampling.BICUBIC)
    drawn = np.stack([np.asarray(image)] * 3, axis=-1)
    for number, region in enumerate(task.regions):
        inside = np.isin(labels, task.regions[region])
        shape = np.asarray(Image.fromarray(inside).resize((wide, high), Image.Resampling.NEAREST))
        drawn[shape & ~_eroded(shape)] = COLOURS[number % len(COLOURS)]
    return np.concatenate([drawn, _text(wide, legend, lines, task)])


def _eroded(shape: Bool[np.ndarray, "row column"]) -> Bool[np.ndarray, "row column"]:
    """What lies more than one pixel inside; the edge of the picture is no outline."""
    return np.asarray(binary_erosion(shape, iterations=1, border_value=1), bool)


def _text(
    width: int, legend: Mapping[str, str], lines: Sequence[str], task: Task
) -> UInt8[np.ndarray, "height width 3"]:
    said = [(legend[region], COLOURS[number % len(COLOURS)]) for number, region in enumerate(task.regions)]
    for line in (*lines, f"{RESEARCH}, not for diagnosis"):
        said += [(part, (230, 230, 230)) for part in textwrap.wrap(line, max(20, int(width * _LETTERS_PER_PIXEL)))]
    image = Image.new("RGB", (width, _LINE * len(said) + 12))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT)
    for number, (words, colour) in enumerate(said):
        draw.text((8, 6 + _LINE * number), words, fill=colour, font=font)
    return np.asarray(image)


def _write(path: Path, pixels: UInt8[np.ndarray, "height width 3"], reference: Any, number: int) -> None:
    """As a secondary capture that has the same identity each time."""
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    mask = str(reference.SOPInstanceUID)
    with silently():
        image = hd.sc.SCImage.from_ref_dataset(
            reference,
            pixels,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            series_instance_uid=generate_uid(entropy_srcs=["pictures", mask]),
            series_number=int(reference.SeriesNumber or 0) + _SERIES,
            sop_instance_uid=generate_uid(entropy_srcs=["picture", mask, str(number)]),
            instance_number=number,
            manufacturer="lacunet",
            patient_orientation=_orientation(reference),
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        image.SeriesDescription = f"{RESEARCH}: pictures of the tumour mask"[:64]
        image.BurnedInAnnotation = "NO"  # by DICOM: no text that names the patient
        with whole_file(path) as temporary:
            image.save_as(temporary)


def _orientation(mask: Any) -> tuple[str, str]:
    """Where the rows and columns of the mask's slices lead, as the letter of the nearest axis of the patient."""
    plane = mask.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    row, column = np.array(plane.ImageOrientationPatient, float).reshape(2, 3)
    return _letter(row), _letter(column)


def _letter(direction: Shaped[np.ndarray, "3"]) -> str:
    axis = int(np.abs(direction).argmax())
    return ("LPH" if direction[axis] > 0 else "RAF")[axis]
