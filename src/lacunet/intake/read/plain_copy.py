"""Scans of any format as NIfTI without their free text; their voxels are unchanged."""

from pathlib import Path

import nibabel as nib

from lacunet.case import Grid
from lacunet.data.nifti import copy_forms, set_forms
from lacunet.data.volume import StoredVoxels, read_stored
from lacunet.files import whole_file


def clean_copy(source: Path, path: Path) -> tuple[Grid, tuple[str, ...]]:
    """Copy a scan as `path` (.nii.gz) without its free text: description, file names, extensions.

    Returns:
        Its grid, and notes from reading `source`.

    Raises:
        DataError: the file is damaged or no scan.
    """
    read = read_stored(source)
    with whole_file(path) as temporary:
        nib.save(_image(read), temporary)
    return read.grid, read.notes


def without_text(source: Path) -> "nib.Nifti1Image":
    """A scan as stored (its integers and its scale kept), without its free text.

    Raises:
        DataError: the file is damaged or no scan.
    """
    return _image(read_stored(source))


def _image(read: StoredVoxels) -> "nib.Nifti1Image":
    header = nib.Nifti1Header()
    header.set_data_dtype(read.voxels.dtype)
    header.set_xyzt_units("mm")
    if read.stored.forms is not None:
        copy_forms(header, read.stored.forms)
    image = nib.Nifti1Image(read.voxels, read.grid.affine, header, dtype=read.voxels.dtype)
    if read.stored.forms is None:
        set_forms(image, read.grid.affine)
    if read.stored.scaled:
        image.header.set_slope_inter(read.stored.slope, read.stored.intercept)
    return image
