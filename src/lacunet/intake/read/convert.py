"""From DICOM series to NIfTI by dcm2niix, checked against the headers.

dcm2niix is run (`converter.py`) on exactly the files of one series. It writes no sidecar: lacunet itself reads from the
headers what it shows.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation, ornt_transform

from lacunet.case import RAS_LPS, Grid
from lacunet.data.called import errors_by_label, read_called
from lacunet.data.geometry import corner_distance
from lacunet.data.nifti import nifti_image, set_forms
from lacunet.data.volume import MOST_VOXELS
from lacunet.errors import DataError
from lacunet.files import whole_file
from lacunet.intake.read.converter import LARGEST_VOXEL, OTHER_BYTES, run_converter
from lacunet.intake.read.converter_words import FAILURES, warnings_in_words
from lacunet.intake.read.dataset import UnreadableFile
from lacunet.intake.read.places import ROUNDED_MM, SAME_PLACE_MM, UNEVEN_MM
from lacunet.intake.read.plain import is_plain, scales_differ, write_plain
from lacunet.intake.read.plain_copy import without_text
from lacunet.intake.read.series import Series, counted
from lacunet.scratch import scratch_folder

CONVERSION_TOLERANCE_MM = 0.5
"""Largest distance of a corner of a converted scan from its position by the headers."""


@dataclass(frozen=True)
class Converted:
    """A scan as NIfTI, and warnings of its conversion.

    Attributes:
        path: The file.
        grid: Its voxel axes are those of the DICOM files: column index, row index, slice.
        even: False where slices were interpolated to equal distances; slice k is then not slice k of the series.
        warnings: For the user.
    """

    path: Path
    grid: Grid
    even: bool
    warnings: tuple[str, ...]


def convert(series: Series, path: Path) -> Converted:
    """Write a series as `path` (.nii.gz), whole or not at all, on the grid of its slices.

    Raises:
        DataError: dcm2niix fails or takes too long, or its result does not agree with the headers.
        UsageError: dcm2niix is not installed.
    """
    if len(series.heights) < 2 or not series.spacing or min(series.spacing) <= 0:
        raise DataError(f"{series.label}: is no stack of slices with stated positions and pixel spacing")
    _require_a_head(series)
    with scratch_folder() as folder:
        image, said = _stack(series, folder)
        image = _scaled(image, series)
    if not series.even:
        image = _evenly(image, series)
    with whole_file(path) as temporary:
        nib.save(image, temporary)
    warnings = (*_copies(series), *series.notes, *_evenness(series), *warnings_in_words(said))
    return Converted(path, read_called(path, series.label)[1], series.even, warnings)


def _require_a_head(series: Series) -> None:
    """Refuse what would take more memory than any head, before it is taken.

    Raises:
        DataError: there are too many voxels, or would be at equal distances.
    """
    count = len(series.slices) if series.even else int(series.coverage_mm / max(series.step_mm, SAME_PLACE_MM)) + 2
    if count * series.first.rows * series.first.columns > MOST_VOXELS:
        raise DataError(
            f"{series.label}: would have {series.first.columns} x {series.first.rows} x {count} voxels, more than "
            f"{MOST_VOXELS}, as no head has"
        )


def _copies(series: Series) -> list[str]:
    return [f"{counted(series.copies, 'file was', 'files were')} there twice"] if series.copies else []


def _evenness(series: Series) -> list[str]:
    """What was done about the positions of the slices."""
    if not series.even:
        missing = series.missing_slices
        what = f"{counted(missing, 'slice is', 'slices are')} missing" if missing else "its slices are unevenly spaced"
        turns = "; wide and narrow steps take turns, as where the slices of two stacks interleave"
        return [
            f"{what} (up to {series.largest_step_mm:.1f} mm apart); interpolated to steps of {series.step_mm:.1f} mm"
            f"{turns if series.alternates else ''}"
        ]
    if series.sideways_mm > UNEVEN_MM:
        return [
            f"its slices are shifted sideways by up to {series.sideways_mm:.1f} mm against each other; this was kept"
        ]
    if series.off_line_mm > ROUNDED_MM:
        return [
            f"the positions of its slices are up to {series.off_line_mm:.2f} mm off equal distances, as rounded or "
            "noisy numbers are; they were evened out"
        ]
    return []


def _stack(series: Series, folder: Path) -> tuple["nib.Nifti1Image", str]:
    """The image that dcm2niix makes of the files, and what it printed. Files that differ where they should not, or of
    which it makes no image that agrees with the headers, are given to it as a plain series.

    Raises:
        DataError: it makes none of that either.
        UsageError: dcm2niix cannot be run.
    """
    classic = len(series.headers) == len(series.slices)
    ways = [_link_all, *([_copy_plainly] if classic else [])]
    if classic and not is_plain(series):
        ways = [_copy_plainly]
    problem = None
    for number, prepare in enumerate(ways):
        inputs, outputs = folder / f"in-{number}", folder / f"out-{number}"
        inputs.mkdir()
        outputs.mkdir()
        prepare(series, inputs)
        said = run_converter(inputs, outputs, series.label, _voxels(series))
        try:
            return _as_in_files(_only(outputs, series, said), series), said
        except DataError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _only(outputs: Path, series: Series, said: str) -> Path:
    """The one image that there should be. Those that dcm2niix interpolated are ignored.

    Raises:
        DataError: there is none, or there are several.
    """
    results = [path for path in sorted(outputs.glob("*.nii")) if "_Eq" not in path.name]
    if not results:
        raise DataError(f"{series.label}: cannot be converted ({_in_words(said)})")
    if len(results) > 1:
        raise DataError(f"{series.label}: falls into {len(results)} images, and it cannot be told which is the scan")
    return results[0]


def _link_all(series: Series, folder: Path) -> None:
    for number, header in enumerate(series.headers):
        _link(header.path, folder / f"{number:06d}.dcm")


def _copy_plainly(series: Series, folder: Path) -> None:
    try:
        write_plain(series, folder)
    except OSError as error:
        raise DataError(f"{series.label}: a file of it cannot be read ({error.strerror})") from None
    except UnreadableFile as error:
        raise DataError(f"{series.label}: a file of it cannot be read ({error})") from None
    except Exception as error:  # pydicom raises whatever a hostile byte leads to
        raise DataError(f"{series.label}: a file of it cannot be read ({type(error).__name__})") from None


def _link(source: Path, target: Path) -> None:
    """Make a file available under a plain name."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _in_words(said: str) -> str:
    for pattern, words in FAILURES:
        if re.search(pattern, said, re.IGNORECASE):
            return words
    return "dcm2niix gave no image"


def _as_in_files(path: Path, series: Series) -> "nib.Nifti1Image":
    """The result with its axes turned back to those of the files, checked against the headers, without text.

    Raises:
        DataError: it has another size or position.
    """
    if path.stat().st_size > OTHER_BYTES + LARGEST_VOXEL * _voxels(series):
        raise DataError(f"{series.label}: became much larger than its files are")
    with errors_by_label(path, series.label):
        image = without_text(path)
    expected = expected_grid(series)
    turns = ornt_transform(io_orientation(image.affine), io_orientation(expected.affine))
    scale = image.header.get_slope_inter()
    image = image.as_reoriented(turns)
    image.header.set_slope_inter(*scale)  # turning forgets it
    if image.shape != expected.shape:
        raise DataError(f"{series.label}: became {image.shape} voxels, but its files hold {expected.shape}")
    tolerance = CONVERSION_TOLERANCE_MM if series.even else max(CONVERSION_TOLERANCE_MM, 2 * series.largest_step_mm)
    in_plane = corner_distance((*expected.shape[:2], 1), image.affine, expected.affine)
    apart = corner_distance(expected.shape, image.affine, expected.affine)
    if in_plane > tolerance or (apart > tolerance and series.even):
        raise DataError(f"{series.label}: came to lie {apart:.1f} mm away from where its headers put it")
    set_forms(image, expected.affine)
    return image


def _voxels(series: Series) -> int:
    return series.first.rows * series.first.columns * len(series.slices)


def _scaled(image: "nib.Nifti1Image", series: Series) -> "nib.Nifti1Image":
    """Values by the slope and intercept of each slice, where these differ: NIfTI holds one pair for all slices, and
    dcm2niix then keeps the stored numbers.

    Philips states a second slope, with which values are comparable between slices whatever the first one is for.
    """
    voxels = np.asanyarray(image.dataobj)
    if not scales_differ(series) or not np.issubdtype(voxels.dtype, np.integer):  # dcm2niix may have applied them
        return image
    own = [one.philips_slope for one in series.slices if one.philips_slope is not None]
    values = np.empty(voxels.shape, np.float32)
    for k, one in enumerate(series.slices):  # slice by slice, since fractions take eight times the memory
        value = voxels[:, :, k] * np.float64(one.slope) + one.intercept
        if len(own) == len(series.slices):
            value = value / (one.slope * own[k]) * (series.slices[0].slope * own[0])
        values[:, :, k] = value
    return nifti_image(values, image.affine)


def _evenly(image: "nib.Nifti1Image", series: Series) -> "nib.Nifti1Image":
    """Slices interpolated linearly to equal distances, from the first to the last."""
    positions = series.heights - series.heights[0]
    wanted = np.arange(0.0, positions[-1] + 0.01 * series.step_mm, series.step_mm)
    slope, intercept = image.header.get_slope_inter()
    voxels = np.asanyarray(image.dataobj)
    above = np.searchsorted(positions, wanted, side="left").clip(1, len(positions) - 1)
    share = ((wanted - positions[above - 1]) / (positions[above] - positions[above - 1])).astype(np.float32)
    even = np.empty((*voxels.shape[:2], len(wanted)), np.float32)
    for k, (upper, weight) in enumerate(zip(above, share, strict=True)):
        below, beyond = (
            voxels[:, :, one].astype(np.float32) * (slope or 1.0) + (intercept or 0.0) for one in (upper - 1, upper)
        )
        even[:, :, k] = below * (1.0 - weight) + beyond * weight
    affine = expected_grid(series).affine
    affine[:3, 2] *= series.step_mm / np.linalg.norm(affine[:3, 2])
    return nifti_image(even, affine)


def expected_grid(series: Series) -> Grid:
    """The grid of a stack of slices by its headers (DICOM PS3.3 C.7.6.2.1.1), in RAS+; equal distances are assumed.

    Voxel axes: column index, row index, slice.
    """
    assert series.directions is not None
    assert series.spacing is not None
    start, step = series.line
    affine = np.eye(4)
    affine[:3, 0] = series.directions[0] * series.spacing[1]
    affine[:3, 1] = series.directions[1] * series.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, start
    return Grid((series.first.columns, series.first.rows, len(series.slices)), RAS_LPS @ affine)
