"""Why an image-like file is not read, in words for the user, by its name and by the first bytes of a `.hdr`."""

import gzip
import zlib
from pathlib import Path

from lacunet.data.formats.content import packing_and_first_bytes
from lacunet.data.formats.nifti_header import ANALYZE, NIFTI_1, NIFTI_2, is_analyze, kind_of
from lacunet.data.formats.pairs import HEADERS, VOXELS, header_beside

_TWO_FILES = "keeps its voxels in another file, which is not read; save it as .nii.gz, .mha or .nrrd"
_PART = "is the part of a two-file format that holds the voxels, which is not read; save it as .nii.gz, .mha or .nrrd"
_PACKED = "is compressed in a way that is not read; compress it with gzip (.nii.gz)"
_WHOLE = "is compressed as a whole, which is not read; decompress it (gunzip)"
_DICOM = "is DICOM; give its folder to lacunet import"
_PICTURE = "is a picture, not a scan"
_ARRAY = "is an array without a place in space, which is not read"
_UNFINISHED = "is a download or a copy that was not finished"

_REASONS = {
    (".mhd", ".nhdr"): _TWO_FILES,
    (".raw", ".zraw", ".raw.gz"): _PART,
    (".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".nii.7z", ".nii.lz4", ".img.bz2", ".hdr.bz2"): _PACKED,
    (".mha.gz", ".nrrd.gz"): _WHOLE,
    (".dcm", ".dicom", ".ima"): _DICOM,
    (".par", ".rec"): "is a Philips PAR/REC export, which is not read; convert it with dcm2niix",
    (".v",): "is an ECAT file, which is not read; convert it to .nii.gz",
    (".mnc", ".mnc2", ".mnc.gz"): "is a MINC file, which is not read; convert it to .nii.gz (mnc2nii)",
    (".head", ".brik", ".brik.gz"): "is an AFNI file, which is not read; convert it to .nii.gz (3dAFNItoNIFTI)",
    (".gipl", ".gipl.gz", ".vtk", ".vti", ".cub"): "is a format that is not read; convert it to .nii.gz",
    (".npy", ".npz", ".mat", ".h5", ".hdf5"): _ARRAY,
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jp2"): _PICTURE,
    (".part", ".partial", ".crdownload", ".download"): _UNFINISHED,
}


def why_unreadable(path: Path) -> str | None:
    """Why an image-like file is not read, as `is DICOM; give its folder to lacunet import`.

    None for files that are read, for the `.img` of a pair that is read (`pairs.header_beside`), and for files that are
    no images.
    """
    lower = path.name.lower()
    if lower.endswith(HEADERS):
        return _why_no_pair(path)
    if lower.endswith(VOXELS):
        header = header_beside(path)
        return "holds voxels, and there is no .hdr file beside it" if header is None else _why_no_pair(header)
    return next((reason for suffixes, reason in _REASONS.items() if lower.endswith(suffixes)), None)


def _why_no_pair(header: Path) -> str | None:
    try:
        _, head = packing_and_first_bytes(header, NIFTI_2)
    except (OSError, EOFError, gzip.BadGzipFile, zlib.error):  # the error appears when the file is read as a scan
        return None
    if kind_of(head) is not None:
        return None
    return ANALYZE if is_analyze(head) and len(head) >= NIFTI_1 else "is no header of an image that is read"
