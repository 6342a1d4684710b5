"""From DICOM series to NIfTI by dcm2niix, checked against the headers.

dcm2niix (`pip install "lacunet[dicom]"`) is run without a shell, in a folder of its own, with a time limit, and on
exactly the files of one series. It writes no sidecar: lacunet itself reads from the headers what it shows.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation, ornt_transform

from lacunet.case import RAS_LPS, Grid
from lacunet.data.called import errors_by_label, read_called
from lacunet.data.geometry import corner_distance
from lacunet.data.nifti import nifti_image, set_forms
from lacunet.errors import DataError, UsageError
from lacunet.files import whole_file
from lacunet.intake.read.converter_words import FAILURES, warnings_in_words
from lacunet.intake.read.places import ROUNDED_MM, UNEVEN_MM
from lacunet.intake.read.plain import is_plain, scales_differ, write_plain
from lacunet.intake.read.plain_copy import without_text
from lacunet.intake.read.series import Series, counted

SECONDS = 300
"""Time limit of dcm2niix for one series."""

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
    with TemporaryDirectory(prefix="dcm-", dir=path.parent) as folder:
        image, said = _stack(series, Path(folder))
        image = _scaled(image, series)
    if not series.even:
        image = _evenly(image, series)
    with whole_file(path) as temporary:
        nib.save(image, temporary)
    warnings = (*_copies(series), *series.notes, *_evenness(series), *warnings_in_words(said))
    return Converted(path, read_called(path, series.label)[1], series.even, warnings)


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
        said = _run(inputs, outputs, series.label)
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
    except (AttributeError, LookupError, NotImplementedError, OSError, TypeError, ValueError) as error:
        raise DataError(f"{series.label}: a file of it cannot be read ({type(error).__name__})") from None


def _link(source: Path, target: Path) -> None:
    """Make a file available under a plain name."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _program() -> str:
    if find_spec("dcm2niix") is not None:
        import dcm2niix  # an extra that may be absent

        return str(dcm2niix.bin)
    if found := shutil.which("dcm2niix"):
        return found
    raise UsageError('converting DICOM needs dcm2niix: pip install "lacunet[dicom]"')


def _run(inputs: Path, outputs: Path, label: str) -> str:
    """Run dcm2niix; returns what it printed, which is never shown: it may repeat names."""
    options = [
        "-b",
        "n",
        "-ba",
        "y",
        "-f",
        "scan",
        "-g",
        "i",
        "-l",
        "o",
        "-m",
        "y",
        "-p",
        "n",
        "-w",
        "1",
        "-x",
        "i",
        "-z",
        "n",
    ]
    environment = {"HOME": str(outputs), "PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    if "SYSTEMROOT" in os.environ:
        environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    command = [_program(), *options, "-o", str(outputs), str(inputs)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=environment, cwd=outputs, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(
            f"{label}: dcm2niix took more than {SECONDS} s and was stopped; is the series damaged?"
        ) from None
    except OSError as error:
        raise UsageError(f"dcm2niix cannot be run ({error.strerror}); install it again") from None
    return (done.stdout + done.stderr).decode("utf-8", "replace")


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


def _scaled(image: "nib.Nifti1Image", series: Series) -> "nib.Nifti1Image":
    """Values by the slope and intercept of each slice, where these differ: NIfTI holds one pair for all slices, and
    dcm2niix then keeps the stored numbers.

    Philips states a second slope, with which values are comparable between slices whatever the first one is for.
    """
    voxels = np.asanyarray(image.dataobj)
    if not scales_differ(series) or not np.issubdtype(voxels.dtype, np.integer):  # dcm2niix may have applied them
        return image
    slopes = np.array([one.slope for one in series.slices], np.float64)
    values = voxels * slopes + np.array([one.intercept for one in series.slices])
    own = [one.philips_slope for one in series.slices if one.philips_slope is not None]
    if len(own) == len(slopes):
        values = values / (slopes * np.array(own)) * (slopes[0] * own[0])
    return nifti_image(values.astype(np.float32), image.affine)


def _evenly(image: "nib.Nifti1Image", series: Series) -> "nib.Nifti1Image":
    """Slices interpolated linearly to equal distances, from the first to the last."""
    positions = series.heights - series.heights[0]
    wanted = np.arange(0.0, positions[-1] + 0.01 * series.step_mm, series.step_mm)
    slope, intercept = image.header.get_slope_inter()
    voxels = np.asanyarray(image.dataobj).astype(np.float32) * (slope or 1.0) + (intercept or 0.0)
    above = np.searchsorted(positions, wanted, side="left").clip(1, len(positions) - 1)
    share = ((wanted - positions[above - 1]) / (positions[above] - positions[above - 1])).astype(np.float32)
    even = voxels[..., above - 1] * (1.0 - share) + voxels[..., above] * share
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
