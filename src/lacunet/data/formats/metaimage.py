"""Headers of MetaImage files with voxels in the same file (.mha), read as ITK reads them, but stricter.

No library sees such a file: ITK would open any file that `ElementDataFile` names, and does not compare checksums.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lacunet.case import RAS_LPS
from lacunet.data.formats.content import first_bytes, packing_of
from lacunet.data.formats.stored import Packing, Stored, require_possible_size
from lacunet.data.formats.text_header import integers, reals
from lacunet.data.geometry import triple
from lacunet.errors import DataError, GeometryError

MOST_HEADER = 2**16
"""Bytes in which the header must end."""

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_OFFSETS = ("Offset", "Position", "Origin")
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_ALONE = (*_OFFSETS, *_MATRICES, *_ORDERS, "NDims", "DimSize", "ElementType", "ElementSpacing", "ElementSize")


def read_metaimage(path: Path) -> Stored:
    """The header of a .mha file, checked.

    Raises:
        DataError: it is no MetaImage file, its voxels are elsewhere or no grey values, or its length is wrong.
        GeometryError: it does not say how far apart its voxels are, in millimetres.
        OSError: it cannot be read.
    """
    name = path.name
    if packing_of(path) == "gzip":
        raise DataError(f"{name}: is compressed as a whole, which is not read; decompress it (gunzip)")
    fields, at = _fields(name, first_bytes(path, "none", MOST_HEADER))
    _refuse_what_is_not_read(name, fields)
    _require_local(name, fields["ElementDataFile"])
    shape = integers(name, "DimSize", fields["DimSize"], 3)
    affine, notes = _affine(name, fields)
    packing = _packing(name, path, at, fields)
    stored = Stored(path, shape, _voxel(name, fields), affine, path, packing, at, notes=notes)
    require_possible_size(stored)
    there = path.stat().st_size - at
    if packing == "none" and there != stored.size:
        raise DataError(
            f"{name}: its header describes {stored.size} bytes of voxels, and {there} are there; write it again from "
            "its source"
        )
    return stored


def _fields(name: str, head: bytes) -> tuple[dict[str, str], int]:
    """The fields of the header, and the byte after it: the line `ElementDataFile` is the last one."""
    fields: dict[str, str] = {}
    at = 0
    while (end := head.find(b"\n", at)) >= 0:
        key, sign, value = head[at:end].decode("latin-1").partition("=")
        key, at = key.strip(), end + 1
        if not sign:
            break
        if key in fields and key in (*_ALONE, "ElementDataFile"):
            raise DataError(f"{name}: its header gives '{key}' twice; write it again from its source")
        fields[key] = value.strip()
        if key == "ElementDataFile":
            if missing := [one for one in ("NDims", "DimSize", "ElementType") if one not in fields]:
                raise DataError(f"{name}: its header lacks '{missing[0]}'; write it again from its source")
            return fields, at
    raise DataError(f"{name}: is not a MetaImage file, whatever its name says; convert it to .nii.gz")


def _require_local(name: str, where: str) -> None:
    if where.upper() != "LOCAL":
        raise DataError(
            f"{name}: its voxels lie in another file, which is not read (ElementDataFile is not LOCAL); "
            "convert it to .nii.gz"
        )


def _refuse_what_is_not_read(name: str, fields: Mapping[str, str]) -> None:
    if fields.get("ObjectType", "Image") != "Image":
        raise DataError(f"{name}: is a MetaIO object, but not an image; leave it out")
    if (dimensions := integers(name, "NDims", fields["NDims"], 1)[0]) != 3:
        raise DataError(f"{name}: has {dimensions} dimensions by its header; a scan has three")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise DataError(f"{name}: has several values per voxel; grey values are expected, not colours or complex")
    if not _is_true(fields.get("BinaryData", "True")):
        raise DataError(f"{name}: its voxels are written as text, which is not read; convert it to .nii.gz")
    if fields.get("HeaderSize", "0") not in ("0", "-1"):
        raise DataError(f"{name}: its header gives its own size, which is not read; convert it to .nii.gz")
    slope = reals(name, "ElementToIntensityFunctionSlope", fields.get("ElementToIntensityFunctionSlope", "1"), 1)
    offset = reals(name, "ElementToIntensityFunctionOffset", fields.get("ElementToIntensityFunctionOffset", "0"), 1)
    if (*slope, *offset) != (1, 0):
        raise DataError(f"{name}: its header scales the grey values, which is not read; convert it to .nii.gz")


def _is_true(text: str) -> bool:
    return text[:1] in ("T", "t", "1")


def _voxel(name: str, fields: Mapping[str, str]) -> np.dtype:
    kind = fields["ElementType"]
    if kind not in _TYPES:
        raise DataError(f"{name}: has voxels of type '{kind[:40]}'; grey values are expected ({', '.join(_TYPES)})")
    order = ">" if any(_is_true(fields.get(key, "False")) for key in _ORDERS) else "<"
    return np.dtype(order + _TYPES[kind])


@np.errstate(over="ignore", invalid="ignore")  # `sound_affine` refuses what is not finite
def _affine(name: str, fields: Mapping[str, str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Voxel to mm (RAS+). The rows of the matrix are the directions of the axes; ITK ignores the centre of rotation."""
    spacing = np.array(_spacing(name, fields))
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise GeometryError(f"{name}: spacing {triple(spacing)} mm in the header; positive numbers are expected")
    if (unit := fields.get("DistanceUnits", "mm")) not in ("mm", "?"):
        raise GeometryError(f"{name}: its header counts in {unit[:20]}; millimetres are expected")
    matrix, offset = _alias(name, fields, _MATRICES), _alias(name, fields, _OFFSETS)
    rows = reals(name, "TransformMatrix", matrix or "1 0 0 0 1 0 0 0 1", 9)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(rows, (3, 3)).T * spacing
    affine[:3, 3] = reals(name, "Offset", offset or "0 0 0", 3)
    notes = () if matrix else (f"{name}: its header does not say where left and right are; taken as ITK does",)
    return RAS_LPS @ affine, notes


def _spacing(name: str, fields: Mapping[str, str]) -> tuple[float, ...]:
    for key in ("ElementSpacing", "ElementSize"):
        if key in fields:
            return reals(name, key, fields[key], 3)
    raise GeometryError(f"{name}: its header does not say how far apart its voxels are (ElementSpacing)")


def _alias(name: str, fields: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    """The value of a field that has several names."""
    there = [key for key in keys if key in fields]
    if len(there) > 1:
        raise DataError(f"{name}: its header gives {' and '.join(there)}, which mean the same; leave one")
    return fields[there[0]] if there else None


def _packing(name: str, path: Path, at: int, fields: Mapping[str, str]) -> Packing:
    if not _is_true(fields.get("CompressedData", "False")):
        return "none"
    there = path.stat().st_size - at
    stated = integers(name, "CompressedDataSize", fields.get("CompressedDataSize", str(there)), 1)[0]
    if stated not in (there, 0):
        raise DataError(
            f"{name}: its header describes {stated} compressed bytes, and {there} are there; it is truncated or "
            "damaged, copy it again from its source"
        )
    with path.open("rb") as file:
        file.seek(at)
        return "gzip" if file.read(2) == b"\x1f\x8b" else "zlib"
