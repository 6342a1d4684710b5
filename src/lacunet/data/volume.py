"""From one file to voxels and their grid."""

import errno
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from lacunet.case import Grid, ImageFile
from lacunet.data.formats.content import read_volume
from lacunet.data.formats.metaimage import read_metaimage
from lacunet.data.formats.mgh import read_mgh
from lacunet.data.formats.nifti_header import read_nifti
from lacunet.data.formats.nrrd import read_nrrd
from lacunet.data.formats.stored import Stored, voxels_in
from lacunet.data.formats.unread import why_unreadable
from lacunet.data.geometry import sound_affine
from lacunet.errors import DataError
from lacunet.reading import ADVICE

MOST_VOXELS = 2**27
"""A header that claims more voxels per volume (512 cubed) is taken for damaged."""

MOST_VOLUMES = 64
"""A header that claims more volumes is taken for damaged."""

_HEADERS: Mapping[tuple[str, ...], Callable[[Path], Stored]] = {
    (".mha",): read_metaimage,
    (".nrrd",): read_nrrd,
    (".mgh", ".mgz", ".mgh.gz"): read_mgh,
}


@dataclass(frozen=True)
class StoredVoxels:
    """A file as it is: voxels before their scale is applied, and its header.

    Attributes:
        voxels: In the type of the file (native byte order).
        grid: Their grid.
        stored: The header.
        notes: For the user.
    """

    voxels: np.ndarray
    grid: Grid
    stored: Stored
    notes: tuple[str, ...]


def read_image(file: ImageFile) -> tuple[np.ndarray, Grid, list[str]]:
    """Grey values (float32), their grid, and notes about the file.

    Takes 4 bytes of memory per voxel.

    Raises:
        DataError: the file is empty, truncated, no image, no grey values, or not 3-D.
        GeometryError: its spacing or affine is impossible.
    """
    return _read(file, lambda _: np.dtype(np.float32))


def read_file(file: ImageFile) -> tuple[np.ndarray, Grid, list[str]]:
    """As `read_image`, but whole numbers keep their type on disk, unless the header scales them.

    Takes as many bytes of memory per voxel as the result has: at most 8.
    """
    return _read(file, _own_type)


def read_voxels(path: Path) -> np.ndarray:
    """The voxels of a 3-D file, as `read_file` gives them."""
    return read_file(ImageFile(path))[0]


def read_stored(path: Path) -> StoredVoxels:
    """A 3-D file as it is; see `read_image` for the errors."""
    stored, grid, notes = _header(ImageFile(path))
    with _explaining(path):
        voxels, said = read_volume(stored, 0, stored.voxel.newbyteorder("="), as_stored=True)
    return StoredVoxels(voxels, grid, stored, (*stored.notes, *notes, *said))


def nifti_forms(path: Path) -> "nib.Nifti1Header | None":
    """The header of a NIfTI file, for its qform, sform and units; None where it has no sound ones, or another format.

    Raises:
        DataError: the file cannot be read.
    """
    with _explaining(path):
        return _stored(path).forms


def _read(file: ImageFile, kind: Callable[[Stored], np.dtype]) -> tuple[np.ndarray, Grid, list[str]]:
    stored, grid, notes = _header(file)
    with _explaining(file.path):
        voxels, said = read_volume(stored, file.volume or 0, kind(stored))
    return voxels, grid, [*stored.notes, *notes, *said]


def _own_type(stored: Stored) -> np.dtype:
    whole = stored.voxel.kind in "iu" and not stored.scaled
    return stored.voxel.newbyteorder("=") if whole else np.dtype(np.float32)


def _header(file: ImageFile) -> tuple[Stored, Grid, list[str]]:
    """The header of a file, its grid, and notes about its dimensions."""
    with _explaining(file.path):
        stored = _stored(file.path)
    shape, notes = _volume_shape(file, stored.shape)
    return stored, Grid(shape, sound_affine(stored.name, stored.affine)), notes


def _stored(path: Path) -> Stored:
    """The header of a file, by the format that its name says; of any other name, NIfTI is expected."""
    name = path.name.lower()
    if path.stat().st_size == 0:
        raise DataError(f"{path.name}: is empty; copy it again from its source")
    if reason := why_unreadable(path):
        raise DataError(f"{path.name}: {reason}")
    read = next((read for suffixes, read in _HEADERS.items() if name.endswith(suffixes)), read_nifti)
    return read(path)


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn the reason why a file cannot be read into an error that says what to do about it."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path.name}: cannot be read, truncated or damaged ({error}); copy it again from its source"
        ) from error
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise DataError(f"{path.name}: cannot be read ({cause}); {_advice(path, error)}") from error


def _advice(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT and path.is_symlink():
        return "it is a link to a file that is not there, fetch that file"
    return ADVICE.get(error.errno or 0, "check the disk")


def _volume_shape(file: ImageFile, shape: tuple[int, ...]) -> tuple[tuple[int, int, int], list[str]]:
    """The three dimensions of the wanted volume."""
    name = file.path.name
    if len(shape) < 3 or min(shape) < 1 or min(shape[:3]) < 2:
        raise DataError(f"{name}: has dimensions {shape}; a scan has three, each of at least 2 voxels")
    if voxels_in(shape[:3]) > MOST_VOXELS:
        raise DataError(f"{name}: its header claims {shape} voxels, more than {MOST_VOXELS}; is it damaged?")
    x, y, z = shape[:3]
    volumes = voxels_in(shape[3:])
    if file.volume is None and volumes != 1:
        raise DataError(
            f"{name}: holds {volumes} volumes of {(x, y, z)} voxels; one volume per file is expected (4-D files only "
            "in an MSD folder with dataset.json); split it into one file per sequence"
        )
    if file.volume is not None and (len(shape) != 4 or file.volume >= volumes):
        raise DataError(f"{name}: has dimensions {shape}, but dataset.json expects volume {file.volume} of a 4-D file")
    if volumes > MOST_VOLUMES:
        raise DataError(f"{name}: its header claims {volumes} volumes, more than {MOST_VOLUMES}; is it damaged?")
    trailing = file.volume is None and len(shape) > 3
    return (x, y, z), [f"{name}: dimensions {shape} read as {(x, y, z)}"] if trailing else []
