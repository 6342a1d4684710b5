"""Headers of NIfTI-1 and NIfTI-2, in one file or as a pair `.hdr` and `.img`, in either byte order.

They are checked as they are in the file: nibabel would correct some values silently, and refuse others that are sound.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from lacunet.data.formats.content import length_of, packing_and_first_bytes, packing_notes, packing_of
from lacunet.data.formats.pairs import header_beside, voxels_beside
from lacunet.data.formats.stored import Packing, Stored, require_possible_size, voxels_in
from lacunet.data.geometry import CORNER_TOLERANCE_MM, MOST_MM, corner_distance, triple
from lacunet.errors import DataError, GeometryError

SYNTHETIC = "lacunet: SYNTHETIC"
"""Start of the description in the header of an estimated sequence; such a file is never read as a scan."""

QUATERNION_ROUNDING = 1e-5
"""A quaternion whose squared length is above 1 by no more than this is taken for a rounded one of length 1."""

NIFTI_1, NIFTI_2 = 348, 540
"""Bytes of the headers; in a single file 4 bytes follow before the voxels or the extensions."""

MOST_SCALE = 1e30
"""Larger slopes and intercepts are no numbers of single precision, or are damaged."""

LARGEST_CODE, OTHER_SPACE = 5, 2
"""Codes of a form: the largest that NIfTI has; and the one for a space of some other scan."""

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_NO_GREY_VALUES = {
    1: "bits", 32: "complex64", 128: "RGB", 1536: "float128", 1792: "complex128", 2048: "complex256", 2304: "RGBA",
}  # fmt: skip
_QUATERNION = ("quatern_b", "quatern_c", "quatern_d")
_LENGTHS = {1: "metres", 3: "micrometres"}
_FOREIGN = (
    (b"BZh", "is compressed with bzip2; compress it with gzip instead"),
    (b"\xfd7zXZ", "is compressed with xz; compress it with gzip instead"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd; compress it with gzip instead"),
    (b"PK\x03\x04", "is a zip archive, whatever its name says; unpack it"),
    (b"NRRD000", "is an NRRD file, whatever its name says; rename it to .nrrd"),
    (b"ObjectType", "is a MetaImage file, whatever its name says; rename it to .mha"),
    (b"version https://git-lfs", "is only a pointer of Git LFS; fetch the file itself (git lfs pull)"),
    (b"/annex/objects/", "is only a pointer of git-annex; fetch the file itself (git annex get)"),
)


@dataclass(frozen=True)
class _Kind:
    """Which header it is: its length, its byte order, and whether the voxels are in the same file."""

    length: int
    order: str
    single: bool


def read_nifti(path: Path) -> Stored:
    """The header of a NIfTI file, checked. Of a pair, `path` is either file.

    Raises:
        DataError: it is no NIfTI file, holds no grey values, or claims more than the file has.
        GeometryError: it does not say where the voxels are, in millimetres.
        EOFError, zlib.error, OSError: it is truncated, damaged or cannot be read.
    """
    name, header = path.name, header_beside(path) or path
    packing, head = packing_and_first_bytes(header, NIFTI_2 + 12)
    kind = kind_of(head)
    if kind is None:
        raise DataError(f"{name}: {_what_else(head)}")
    raw = _with_known_codes(_header(head, kind))
    if bytes(raw["descrip"]).startswith(SYNTHETIC.encode()):
        raise DataError(f"{name}: is an estimate that lacunet complete wrote, not a scan; leave it out")
    voxel, shape = _voxel(name, raw, kind.order), _shape(name, raw)
    slope, intercept = _scale(name, raw)
    content = header if kind.single else _voxels_of(name, header)
    packed = packing if content == header else packing_of(content)
    start, notes = _start(name, content, raw, kind, packed, voxels_in(shape) * voxel.itemsize)
    _require_possible_spacing(name, raw)
    stored = Stored(
        path, shape, voxel, np.eye(4), content, packed, start=start, slope=slope, intercept=intercept,
        trailing="nothing" if _extension_without_room(head, kind, start) else "zeros",
    )  # fmt: skip
    require_possible_size(stored)
    affine, forms, said = _place(name, raw, shape)
    packings = packing_notes(name, packed) if kind.single else ()
    return replace(stored, affine=affine, forms=forms, notes=(*packings, *notes, *said))


def kind_of(head: bytes) -> _Kind | None:
    """What kind of NIfTI header a file begins with, by its magic words; None for any other file."""
    for length, magic, single, dimensions in (
        (NIFTI_1, head[344:348], b"n+1\0", head[40:42]),
        (NIFTI_2, head[4:12], b"n+2\0\r\n\x1a\n", head[16:24]),
    ):
        if len(head) >= length and magic in (single, single.replace(b"+", b"i", 1)):
            return _Kind(length, _order(head[:4], length, dimensions), magic == single)
    return None


def _order(stated: bytes, length: int, dimensions: bytes) -> str:
    """The byte order by the header's length, which is its first number, else by the number of dimensions."""
    if length in (lengths := (int.from_bytes(stated, "little"), int.from_bytes(stated, "big"))):
        return "<" if lengths[0] == length else ">"
    return "<" if 1 <= int.from_bytes(dimensions, "little") <= 7 else ">"


def is_analyze(head: bytes) -> bool:
    """Whether a file begins with a header of Analyze 7.5, from which NIfTI-1 comes."""
    lengths = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    return len(head) >= NIFTI_1 and NIFTI_1 in lengths and kind_of(head) is None


ANALYZE = "is an Analyze 7.5 file, which does not say where left and right are; convert it to .nii.gz from its source"


def _what_else(head: bytes) -> str:
    for magic, words in _FOREIGN:
        if head.startswith(magic):
            return words
    return ANALYZE if is_analyze(head) else "is not a NIfTI file, whatever its name says; convert it to .nii.gz"


def _header(head: bytes, kind: _Kind) -> nib.Nifti1Header:
    header = nib.Nifti1Header if kind.length == NIFTI_1 else nib.Nifti2Header
    return header(head[: kind.length], endianness=kind.order, check=False)


def _with_known_codes(raw: nib.Nifti1Header) -> nib.Nifti1Header:
    """The header with codes that NIfTI knows, which are read alike but could not be written again: every code of a form
    above 0 says that the form is there, and the third axis is turned round where its sign is negative, not where it is
    0 or anything else."""
    for name in ("qform_code", "sform_code"):
        if not 0 <= int(raw[name]) <= LARGEST_CODE:
            raw[name] = OTHER_SPACE if int(raw[name]) > 0 else 0
    raw["pixdim"][0] = -1 if raw["pixdim"][0] < 0 else 1
    return raw


def _voxel(name: str, raw: nib.Nifti1Header, order: str) -> np.dtype:
    code = int(raw["datatype"])
    if code in _NO_GREY_VALUES:
        raise DataError(
            f"{name}: has voxels of type {_NO_GREY_VALUES[code]}; grey values are expected, not colours or complex"
        )
    if code not in _TYPES:
        raise DataError(f"{name}: has voxels of type {code}, which NIfTI does not know; is its header damaged?")
    return np.dtype(order + _TYPES[code])


def _shape(name: str, raw: nib.Nifti1Header) -> tuple[int, ...]:
    count = int(raw["dim"][0])
    if not 1 <= count <= 7:
        raise DataError(f"{name}: has {count} dimensions by its header; a scan has three, is it damaged?")
    shape = tuple(int(size) for size in raw["dim"][1 : count + 1])
    if count < 3:
        raise DataError(f"{name}: has dimensions {shape}; a scan has three, each of at least 2 voxels")
    return shape


def _scale(name: str, raw: nib.Nifti1Header) -> tuple[float, float]:
    """A slope of 0 or none at all means that the values are as stored (NIfTI-1, "data scaling")."""
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not (abs(slope) <= MOST_SCALE and abs(intercept) <= MOST_SCALE):
        found = f"multiplies every voxel by {slope:g} and adds {intercept:g}"
        raise DataError(f"{name}: its header {found}; write it again from its source")
    return slope, intercept


def _voxels_of(name: str, header: Path) -> Path:
    beside = voxels_beside(header)
    if beside is None:
        raise DataError(
            f"{name}: is the header of a pair; a .img file of its name should lie beside it, and there is none"
        )
    return beside


def _start(
    name: str, content: Path, raw: nib.Nifti1Header, kind: _Kind, packing: Packing, size: int
) -> tuple[int, tuple[str, ...]]:
    """The byte at which the voxels begin. One inside the header is corrected where the length of the file shows it."""
    offset = float(raw["vox_offset"])
    least = kind.length + 4 if kind.single else 0
    if offset >= least and offset.is_integer():
        return int(offset), ()
    said = f"{name}: its header says that the voxels start at byte {offset:g}"
    if kind.single and offset < least:
        length = length_of(content, packing, least + size)
        for start in (least, kind.length):
            if length == start + size:
                return start, (f"{said}, inside the header; read from byte {start}, as its length demands",)
    raise DataError(f"{said}, and its length does not show where they do; write it again from its source")


def _extension_without_room(head: bytes, kind: _Kind, start: int) -> bool:
    """Whether an extension is announced where the voxels are said to begin: one of the two may be wrong."""
    return kind.single and start < kind.length + 20 and any(head[kind.length : kind.length + 1])


def _require_possible_spacing(name: str, raw: nib.Nifti1Header) -> None:
    spacing = raw["pixdim"][1:4]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise GeometryError(f"{name}: spacing {triple(spacing)} mm in the header; positive numbers are expected")
    if (unit := _LENGTHS.get(int(raw["xyzt_units"]) & 7)) is not None:
        raise GeometryError(f"{name}: its header counts in {unit}; millimetres are expected")


# ---------------------------------------------------------------- where the voxels are


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused afterwards
def _place(
    name: str, raw: nib.Nifti1Header, shape: tuple[int, ...]
) -> tuple[np.ndarray, nib.Nifti1Header | None, list[str]]:
    """Voxel to mm: the sform, else the qform, else as in Analyze files; the header if it can be copied; notes."""
    has_sform, has_qform = int(raw["sform_code"]) > 0, int(raw["qform_code"]) > 0
    qform, rounded = _qform(raw) if has_qform else (None, False)
    if has_sform:
        sform = np.asarray(raw.get_sform(), float)
        if has_qform and qform is None:
            return sform, None, [f"{name}: its qform is no rotation; the sform is used"]
        apart = 0.0 if qform is None else corner_distance(shape[:3], sform, qform)
        said = [] if apart <= CORNER_TOLERANCE_MM else [_disagree(name, apart)]
        return sform, None if rounded else raw, said
    if has_qform:
        if qform is None:
            raise GeometryError(
                f"{name}: its qform is no rotation (a quaternion of length {np.sqrt(_squared_length(raw)):.7g}, not "
                "1), and it has no sform; write it again from its source"
            )
        return qform, None if rounded else raw, [f"{name}: its quaternion is rounded to length 1"] if rounded else []
    plain = np.asarray(raw.get_base_affine(), float)
    return plain, raw, [f"{name}: its header does not say where left and right are; taken as in Analyze files"]


def _disagree(name: str, apart: float) -> str:
    return f"{name}: sform and qform disagree by {apart:.1f} mm; the sform is used"


def _squared_length(raw: nib.Nifti1Header) -> float:
    """Of the quaternion's three stored parts."""
    return float(np.square([float(raw[part]) for part in _QUATERNION]).sum())


def _qform(raw: nib.Nifti1Header) -> tuple[np.ndarray | None, bool]:
    """The qform, or None where it is no rotation; and whether its quaternion had to be shortened to length 1."""
    squared = _squared_length(raw)
    if not squared <= 1 + QUATERNION_ROUNDING:
        return None, False
    sound = raw.copy()
    rounded = bool(squared - 1 > 0.99 * raw.quaternion_threshold)  # nibabel takes what is below for rounding, as it is
    if rounded:
        for part in _QUATERNION:
            sound[part] = raw[part] / np.sqrt(squared)
    qform = np.asarray(sound.get_qform(), float)
    return qform if np.abs(qform).max() <= MOST_MM else None, rounded
