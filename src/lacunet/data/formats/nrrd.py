"""Headers of NRRD files with voxels in the same file (.nrrd), raw or gzip, with a space in millimetres.

The format: https://teem.sourceforge.net/nrrd/format.html
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lacunet.case import RAS_LPS
from lacunet.data.formats.content import first_bytes, packing_of
from lacunet.data.formats.stored import Packing, Stored, require_possible_size
from lacunet.data.formats.text_header import integers, reals
from lacunet.errors import DataError, GeometryError

MOST_HEADER = 2**20
"""Bytes in which the header must end; segmentations of 3D Slicer describe every segment in it."""

_TYPES = {
    word: kind
    for kind, words in {
        "i1": ("signed char", "int8", "int8_t"),
        "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
        "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
        "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
        "i4": ("int", "signed int", "int32", "int32_t"),
        "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
        "i8": (
            "longlong",
            "long long",
            "long long int",
            "signed long long",
            "signed long long int",
            "int64",
            "int64_t",
        ),
        "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
        "f4": ("float",),
        "f8": ("double",),
    }.items()
    for word in words
}
_TO_RAS = {
    "right-anterior-superior": np.eye(4),
    "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "las": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "left-posterior-superior": RAS_LPS,
    "lps": RAS_LPS,
}
_PACKINGS: Mapping[str, Packing] = {"raw": "none", "gzip": "gzip", "gz": "gzip"}
_SCALAR_KINDS = ("domain", "space", "???", "none")
_VECTOR = re.compile(r"\(([^()]*)\)|none")


def read_nrrd(path: Path) -> Stored:
    """The header of a .nrrd file, checked.

    Raises:
        DataError: it is no NRRD file, its voxels are elsewhere or no grey values, or its length is wrong.
        GeometryError: it does not say where its voxels are, in millimetres.
        OSError: it cannot be read.
    """
    name = path.name
    if packing_of(path) == "gzip":
        raise DataError(f"{name}: is compressed as a whole, which is not read; decompress it (gunzip)")
    fields, at = _fields(name, first_bytes(path, "none", MOST_HEADER))
    _refuse_what_is_not_read(name, fields)
    shape = integers(name, "sizes", fields["sizes"], 3)
    packing = _PACKINGS.get(fields["encoding"].lower())
    if packing is None:
        raise DataError(
            f"{name}: its voxels are written as '{fields['encoding'][:20]}'; only raw and gzip are read, convert it "
            "to .nii.gz"
        )
    stored = Stored(path, shape, _voxel(name, fields), _affine(name, fields), path, packing, at)
    require_possible_size(stored)
    there = path.stat().st_size - at
    if packing == "none" and there != stored.size:
        raise DataError(
            f"{name}: its header describes {stored.size} bytes of voxels, and {there} are there; write it again from "
            "its source"
        )
    return stored


def _fields(name: str, head: bytes) -> tuple[dict[str, str], int]:
    """The fields of the header, and the byte after it: it ends at an empty line."""
    if not head.startswith(b"NRRD000"):
        raise DataError(f"{name}: is not an NRRD file, whatever its name says; convert it to .nii.gz")
    fields: dict[str, str] = {}
    at = head.find(b"\n") + 1
    while at > 0 and (end := head.find(b"\n", at)) >= 0:
        line, at = head[at:end].decode("latin-1").rstrip("\r"), end + 1
        if not line:
            if missing := [key for key in ("type", "dimension", "sizes", "encoding") if key not in fields]:
                raise DataError(f"{name}: its header lacks '{missing[0]}'; write it again from its source")
            return fields, at
        key, sign, value = line.partition(": ")
        if line.startswith("#") or ":=" in line.split(": ")[0] or not sign:
            continue
        key = key.strip().lower()
        if key in fields:
            raise DataError(f"{name}: its header gives '{key[:40]}' twice; write it again from its source")
        fields[key] = value.strip()
    raise DataError(f"{name}: has no voxels after its header; it is truncated or detached, convert it to .nii.gz")


def _refuse_what_is_not_read(name: str, fields: Mapping[str, str]) -> None:
    if "data file" in fields or "datafile" in fields:
        raise DataError(f"{name}: its voxels lie in another file, which is not read; convert it to .nii.gz")
    if fields.get("kinds", "").lower().startswith("list"):
        raise DataError(
            f"{name}: has segments in several layers, since some overlap; in 3D Slicer export them as a labelmap "
            "(Segmentations, Export), which has one value per voxel"
        )
    if (dimensions := integers(name, "dimension", fields["dimension"], 1)[0]) != 3:
        raise DataError(f"{name}: has {dimensions} dimensions by its header; a scan has three")
    for key in ("line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(key, "0") not in ("0", "-1"):
            raise DataError(f"{name}: its header skips a part of the file ('{key}'); convert it to .nii.gz")
    if strange := [word for word in fields.get("kinds", "").lower().split() if word not in _SCALAR_KINDS]:
        raise DataError(f"{name}: has an axis of kind '{strange[0][:20]}'; grey values along three axes are expected")


def _voxel(name: str, fields: Mapping[str, str]) -> np.dtype:
    kind = _TYPES.get(" ".join(fields["type"].lower().split()))
    if kind is None:
        raise DataError(f"{name}: has voxels of type '{fields['type'][:40]}'; grey values are expected")
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "little" if kind[1] == "1" else "").lower())
    if order is None:
        raise DataError(f"{name}: its header does not say in which order its bytes are ('endian: little' or 'big')")
    return np.dtype(order + kind)


def _affine(name: str, fields: Mapping[str, str]) -> np.ndarray:
    """Voxel to mm (RAS+)."""
    space = fields.get("space", "").lower()
    if space not in _TO_RAS or "space directions" not in fields or "space origin" not in fields:
        raise GeometryError(
            f"{name}: its header does not say where left and right are (space, space directions and space origin); "
            "convert it to .nii.gz from its source"
        )
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    if other := [unit for unit in units if unit not in ("mm", "")]:
        raise GeometryError(f"{name}: its header counts in {other[0][:20]}; millimetres are expected")
    affine = np.eye(4)
    affine[:3, :3] = np.array(_vectors(name, "space directions", fields, 3)).T
    affine[:3, 3] = _vectors(name, "space origin", fields, 1)[0]
    return np.asarray(_TO_RAS[space] @ affine)


def _vectors(name: str, key: str, fields: Mapping[str, str], count: int) -> list[tuple[float, ...]]:
    """`(1,0,0) (0,1,0) (0,0,1)` as numbers."""
    texts = [match[1] or "" for match in _VECTOR.finditer(fields[key])]
    if len(texts) != count:
        raise DataError(f"{name}: '{key}' in its header should be {count} times three numbers; is it damaged?")
    return [reals(name, key, text.replace(",", " "), 3) for text in texts]
