"""From one file to voxels and their grid. A header is checked before memory is allocated by it."""

import gzip
import zlib
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError

from lacunet.case import RAS_LPS, Grid, ImageFile
from lacunet.errors import DataError, GeometryError

CORNER_TOLERANCE_MM = 0.1
"""Scans lie on one grid when no corner of the volume is farther than this from the same corner of the other."""

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two voxel axes that still counts as a right angle."""

MOST_VOXELS = 2**28
"""A header that claims more voxels per volume (645 cubed) is taken for damaged."""

SPACINGS_MM = (0.05, 50.0)
"""Distances between voxels that a scan of a head may have."""

DEFLATE_RATIO = 1032
"""Compressed data cannot grow more than this many times."""

MOST_TRAILING = 2**20
"""Bytes after the voxels that are still read, to check the checksum."""

SYNTHETIC = "lacunet: SYNTHETIC"
"""Start of the description in the header of an estimated sequence; such a file is never read as a scan."""

_LENGTHS = {1: "metres", 3: "micrometres"}
_UNREADABLE = (
    ImageFileError,
    HeaderDataError,
    EOFError,
    OSError,
    zlib.error,
    gzip.BadGzipFile,
    ValueError,
    OverflowError,
    RuntimeError,
)


@dataclass(frozen=True)
class _Header:
    """What a file claims about itself: dimensions, affine to mm (RAS+), notes for the user, size in bytes."""

    shape: tuple[int, ...]
    affine: np.ndarray
    notes: tuple[str, ...] = ()
    size: int = 0


def read_image(file: ImageFile) -> tuple[np.ndarray, Grid, list[str]]:
    """Voxels (float32, as on disk), their grid, and notes about the file."""
    voxels, grid, notes = read_file(file)
    with np.errstate(over="ignore"):  # too large values become infinite, and are refused as such later
        return voxels.astype(np.float32, copy=False), grid, notes


def read_voxels(path: Path) -> np.ndarray:
    """The voxels of a 3-D file, in the type on disk unless the header scales them."""
    return read_file(ImageFile(path))[0]


def read_file(file: ImageFile) -> tuple[np.ndarray, Grid, list[str]]:
    """Voxels in the type on disk (or as the header scales them), their grid, and notes about the file.

    Raises:
        DataError: the file is empty, truncated, no image, no grey values, or not 3-D.
        GeometryError: its spacing or affine is impossible.
    """
    path = file.path
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path.name}: is empty; copy it again from its source")
        is_mha = path.name.lower().endswith(".mha")
        header = _mha_header(path) if is_mha else _nifti_header(path)
        shape, notes = _volume_shape(file, header)
        grid = Grid(shape, _sound_affine(path, header.affine))
        voxels = _mha_voxels(path) if is_mha else _nifti_voxels(file, header)
    except _UNREADABLE as error:
        cause = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        cause = cause.replace(str(path), path.name)
        raise DataError(
            f"{path.name}: cannot be read, truncated or not an image ({cause}); copy it again from its source"
        ) from error
    return voxels.reshape(shape), grid, [*header.notes, *notes]


def _volume_shape(file: ImageFile, header: _Header) -> tuple[tuple[int, int, int], list[str]]:
    """The three dimensions of the wanted volume."""
    name, shape = file.path.name, header.shape
    if len(shape) < 3 or min(shape, default=0) < 1 or min(shape[:3]) < 2:
        raise DataError(f"{name}: has dimensions {shape}; a scan has three, each of at least 2 voxels")
    if _voxels(shape[:3]) > MOST_VOXELS:
        raise DataError(f"{name}: its header claims {shape} voxels, more than {MOST_VOXELS}; is it damaged?")
    x, y, z = shape[:3]
    volumes = _voxels(shape[3:])
    if file.volume is None and volumes != 1:
        raise DataError(
            f"{name}: holds {volumes} volumes of {(x, y, z)} voxels; one volume per file is expected (4-D files only "
            "in an MSD folder with dataset.json); split it into one file per sequence"
        )
    if file.volume is not None and (len(shape) != 4 or file.volume >= volumes):
        raise DataError(f"{name}: has dimensions {shape}, but dataset.json expects volume {file.volume} of a 4-D file")
    trailing = file.volume is None and len(shape) > 3
    return (x, y, z), [f"{name}: dimensions {shape} read as {(x, y, z)}"] if trailing else []


def _nifti_header(path: Path) -> _Header:
    """The header, checked as it is in the file: nibabel would silently correct a negative spacing."""
    with _opened(path) as stream:
        start = stream.read(nib.Nifti2Header.sizeof_hdr)
    kinds = [kind for kind in (nib.Nifti1Header, nib.Nifti2Header) if kind.may_contain_header(start)]
    if not kinds:
        raise DataError(f"{path.name}: is not a NIfTI file, whatever its name says; convert it to .nii.gz")
    raw = kinds[0](start[: kinds[0].sizeof_hdr], check=False)
    if bytes(raw["descrip"]).startswith(SYNTHETIC.encode()):
        raise DataError(f"{path.name}: is an estimate that lacunet complete wrote, not a scan; leave it out")
    shape = tuple(int(size) for size in raw["dim"][1 : int(raw["dim"][0]) + 1])
    voxel = raw.get_data_dtype()
    if voxel.kind not in "iuf":
        raise DataError(f"{path.name}: has voxels of type {voxel}; grey values are expected, not colours or complex")
    spacing = raw["pixdim"][1:4]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise GeometryError(f"{path.name}: spacing {triple(spacing)} mm in the header; positive numbers are expected")
    if (unit := _LENGTHS.get(int(raw["xyzt_units"]) & 7)) is not None:
        raise GeometryError(f"{path.name}: its header counts in {unit}; millimetres are expected")
    size = max(int(raw["vox_offset"]), raw.single_vox_offset) + _voxels(shape) * voxel.itemsize
    _require_possible_size(path, shape, size)
    with LoggingOutputSuppressor():
        header = kinds[0](raw.binaryblock, endianness=raw.endianness)
    affine = np.asarray(header.get_best_affine(), float)
    return _Header(shape, affine, tuple(_form_notes(path.name, header, shape)), size)


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _voxels(shape: tuple[int, ...]) -> int:
    return prod(max(size, 1) for size in shape)


def _require_possible_size(path: Path, shape: tuple[int, ...], size: int) -> None:
    """Refuse a header that claims more bytes than the file can hold, before allocating them."""
    most = path.stat().st_size * (DEFLATE_RATIO if path.name.lower().endswith((".gz", ".mha")) else 1)
    if size > most:
        raise DataError(
            f"{path.name}: its header claims {shape} voxels, more than the file holds; it is truncated or damaged, "
            "copy it again from its source"
        )


def _form_notes(name: str, header: nib.Nifti1Header, shape: tuple[int, ...]) -> list[str]:
    """A header may state twice, or not at all, where its voxels lie."""
    codes = int(header["qform_code"]), int(header["sform_code"])
    if codes == (0, 0):
        return [f"{name}: its header does not say where left and right are; taken as in Analyze files"]
    if min(codes) > 0:
        apart = corner_distance(shape[:3], header.get_sform(), header.get_qform())
        if not apart <= CORNER_TOLERANCE_MM:
            return [f"{name}: sform and qform disagree by {apart:.1f} mm; the sform is used"]
    return []


def _nifti_voxels(file: ImageFile, header: _Header) -> np.ndarray:
    """Read to the end of the file, so that a wrong checksum of the compressed data is detected."""
    with _opened(file.path) as stream:
        content = stream.read(header.size)
        stream.read(MOST_TRAILING)
    if len(content) < header.size:
        raise EOFError(f"{len(content)} of {header.size} bytes are there")
    kind = nib.Nifti1Image if nib.Nifti1Header.may_contain_header(content) else nib.Nifti2Image
    with LoggingOutputSuppressor():
        proxy = kind.from_bytes(content).dataobj
    return np.asanyarray(proxy if file.volume is None else proxy[..., file.volume])


def _mha_header(path: Path) -> _Header:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1 or "complex" in kind:
        raise DataError(f"{path.name}: has several values per voxel; grey values are expected, not colours or complex")
    shape = tuple(int(size) for size in reader.GetSize())
    if len(shape) != 3:
        raise DataError(f"{path.name}: has dimensions {shape}; a scan has three, each of at least 2 voxels")
    _require_possible_size(path, shape, _voxels(shape))
    return _Header(shape, affine_of_itk(reader))


def affine_of_itk(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """Voxel to mm (RAS+) of a 3-D image of SimpleITK, or of a reader that has read its header."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.asarray(RAS_LPS @ affine)


def _mha_voxels(path: Path) -> np.ndarray:
    """SimpleITK's arrays have axes z, y, x; ours x, y, z."""
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).transpose(2, 1, 0)


def _sound_affine(path: Path, affine: np.ndarray) -> np.ndarray:
    """The affine itself, where voxels are rectangular and of a possible size."""
    name = path.name
    if not np.isfinite(affine).all():
        raise GeometryError(f"{name}: its affine has NaN or infinite entries; the header is damaged")
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    low, high = SPACINGS_MM
    if not ((spacing >= low) & (spacing <= high)).all():
        raise GeometryError(f"{name}: spacing {triple(spacing)} mm; between {low} and {high} mm is expected")
    cosines = (axes / spacing).T @ (axes / spacing) - np.eye(3)
    if np.abs(cosines).max() > SHEAR_TOLERANCE:
        raise GeometryError(
            f"{name}: its voxel axes are not at right angles (a sheared affine); resample it on a regular grid"
        )
    return affine


def corner_distance(shape: tuple[int, ...], one: np.ndarray, two: np.ndarray) -> float:
    """Largest distance in mm between the positions that two affines give to a corner of the volume."""
    corners = np.array([[x, y, z, 1] for x in (0, shape[0] - 1) for y in (0, shape[1] - 1) for z in (0, shape[2] - 1)])
    return float(np.linalg.norm((corners @ (one - two).T)[:, :3], axis=1).max())


def triple(numbers: "np.ndarray | tuple[float, ...]") -> str:
    """`(1, 1, 5.5)`, for people."""
    return "(" + ", ".join(f"{float(number):.4g}" for number in numbers) + ")"
