"""From DICOM series to NIfTI by dcm2niix, checked against the headers; and NIfTI without its free text.

dcm2niix (`pip install "lacunet[dicom]"`) is run without a shell, in a folder of its own, with a time limit, and on
exactly the files of one series. It writes no sidecar: lacunet itself reads from the headers what it shows.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation, ornt_transform

from lacunet.case import RAS_LPS, Grid, ImageFile
from lacunet.data.called import read_called
from lacunet.data.nifti import nifti_image, set_forms
from lacunet.data.volume import corner_distance, read_file
from lacunet.errors import DataError, UsageError
from lacunet.files import whole_file
from lacunet.intake.read.series import UNEVEN_MM, Series, counted

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
    with TemporaryDirectory(prefix="dcm-", dir=path.parent) as folder:
        inputs, outputs = Path(folder) / "in", Path(folder) / "out"
        inputs.mkdir()
        outputs.mkdir()
        for number, header in enumerate(series.headers):
            _link(header.path, inputs / f"{number:06d}.dcm")
        said = _run(inputs, outputs, series.label)
        image = _as_in_files(_chosen(sorted(outputs.glob("*.nii")), series, said), series)
    warnings = [f"{counted(series.copies, 'file was', 'files were')} there twice"] if series.copies else []
    if uneven := series.unevenness_mm > UNEVEN_MM:
        image = _evenly(image, series)
        missing = series.missing_slices
        what = f"{counted(missing, 'slice is', 'slices are')} missing" if missing else "its slices are unevenly spaced"
        warnings.append(
            f"{what} (up to {series.largest_step_mm:.1f} mm apart); interpolated to steps of {series.step_mm:.1f} mm"
        )
    with whole_file(path) as temporary:
        nib.save(image, temporary)
    return Converted(path, read_called(path, series.label)[1], not uneven, tuple(warnings))


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
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode not in (0, 8) and not any(outputs.glob("*.nii")):
        raise DataError(f"{label}: cannot be converted ({_in_words(said)})")
    return said


_MESSAGES = (
    (
        r"unsupported transfer syntax|compressed image|decode|JPEG|unable to decompress",
        "its compression cannot be read here",
    ),
    (r"No valid DICOM|no valid DICOM", "dcm2niix finds no image in it"),
    (r"missing images|Missing images|slices? missing", "slices are missing"),
    (r"Unable to open|corrupt|truncated", "a file of it is damaged"),
)


def _in_words(said: str) -> str:
    for pattern, words in _MESSAGES:
        if re.search(pattern, said, re.IGNORECASE):
            return words
    return "dcm2niix gave no image"


def _chosen(results: Sequence[Path], series: Series, said: str) -> Path:
    """The one volume that a stack of slices should become. Volumes that dcm2niix interpolated are ignored."""
    as_acquired = [path for path in results if "_Eq" not in path.name]
    if len(as_acquired) == 1:
        return as_acquired[0]
    if not results:
        raise DataError(f"{series.label}: cannot be converted ({_in_words(said)})")
    raise DataError(f"{series.label}: falls into {len(as_acquired)} images, and it cannot be told which is the scan")


def _as_in_files(path: Path, series: Series) -> "nib.Nifti1Image":
    """The result with its axes turned back to those of the files, checked against the headers, without text.

    Raises:
        DataError: it has another size or position.
    """
    image = _without_text(path, read_called(path, series.label)[1])
    expected = expected_grid(series)
    turns = ornt_transform(io_orientation(image.affine), io_orientation(expected.affine))
    scale = image.header.get_slope_inter()
    image = image.as_reoriented(turns)
    image.header.set_slope_inter(*scale)  # turning forgets it
    if image.shape != expected.shape:
        raise DataError(f"{series.label}: became {image.shape} voxels, but its files hold {expected.shape}")
    tolerance = max(CONVERSION_TOLERANCE_MM, 2 * series.largest_step_mm if series.unevenness_mm > UNEVEN_MM else 0.0)
    in_plane = corner_distance((*expected.shape[:2], 1), image.affine, expected.affine)
    apart = corner_distance(expected.shape, image.affine, expected.affine)
    if in_plane > tolerance or (apart > tolerance and series.unevenness_mm <= UNEVEN_MM):
        raise DataError(f"{series.label}: came to lie {apart:.1f} mm away from where its headers put it")
    set_forms(image, expected.affine)
    return image


def _evenly(image: "nib.Nifti1Image", series: Series) -> "nib.Nifti1Image":
    """Slices interpolated linearly to equal distances, from the first to the last."""
    positions = np.concatenate([[0.0], np.cumsum(np.abs(series.steps))])
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
    first, last = series.slices[0], series.slices[-1]
    assert first.orientation is not None
    assert first.spacing is not None
    assert first.position is not None
    assert last.position is not None
    count = len(series.slices)
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    affine[:3, 2] = (np.array(last.position) - np.array(first.position)) / (count - 1)
    affine[:3, 3] = first.position
    return Grid((series.first.columns, series.first.rows, count), RAS_LPS @ affine)


# ---------------------------------------------------------------- NIfTI


def clean_copy(source: Path, path: Path) -> None:
    """Copy a NIfTI or .mha file without its free text (description, file names, extensions), its voxels unchanged.

    Raises:
        DataError: the file is damaged or no scan; `volume.read_file` checks it first.
    """
    voxels, grid, _ = read_file(ImageFile(source))
    if source.name.lower().endswith(".mha"):
        image = nib.Nifti1Image(voxels, grid.affine)
        image.header.set_xyzt_units("mm")
    else:
        image = _without_text(source, grid)
    with whole_file(path) as temporary:
        nib.save(image, temporary)


def _without_text(source: Path, grid: Grid) -> "nib.Nifti1Image":
    """The image as stored (integers and scale kept), without its free text."""
    loaded = nib.load(source)
    stored = np.asanyarray(loaded.dataobj.get_unscaled()).reshape(grid.shape)
    slope, intercept = loaded.dataobj.slope, loaded.dataobj.inter
    image = type(loaded)(stored, loaded.affine, loaded.header)
    for name in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        if name in image.header:
            image.header[name] = b""
    image.header.extensions.clear()
    image.header.set_slope_inter(slope, intercept)
    return image
