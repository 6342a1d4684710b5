"""MetaImage and NRRD: read as SimpleITK reads what it wrote, and refused where SimpleITK trusts the header."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lacunet.case import ImageFile
from lacunet.data.volume import read_file, read_image
from lacunet.errors import DataError, GeometryError
from lacunet.intake.align.rigid import affine_of_itk

SHAPE = (9, 10, 11)
TYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
TURNS = {
    "straight": np.eye(3),
    "axes exchanged": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "cyclic": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "mirrored": np.diag([-1.0, 1, 1]),
    "oblique": np.array(sitk.Euler3DTransform((0, 0, 0), 0.3, -0.5, 0.2).GetMatrix()).reshape(3, 3),
}


def voxels_of(kind: str = "int16") -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 120, SHAPE)
    return (values + 0.25 if kind[0] == "f" else values).astype(kind)


def itk_image(kind: str = "int16", turn: str = "oblique") -> sitk.Image:
    image = sitk.GetImageFromArray(voxels_of(kind).transpose(2, 1, 0))
    image.SetSpacing((1.0, 1.5, 2.125))
    image.SetOrigin((5.5, -7.25, 111.0))
    image.SetDirection(TURNS[turn].ravel().tolist())
    return image


# ---------------------------------------------------------------- as SimpleITK


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", TYPES)
def test_what_simpleitk_wrote_is_read_as_simpleitk_reads_it(
    tmp_path: Path, suffix: str, packed: bool, turn: str, kind: str
) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(itk_image(kind, turn), path, packed)
    there = sitk.ReadImage(path)
    voxels, grid, notes = read_file(ImageFile(path))
    assert voxels.dtype == (np.float32 if kind[0] == "f" else np.dtype(kind))
    np.testing.assert_array_equal(voxels, sitk.GetArrayFromImage(there).transpose(2, 1, 0).astype(voxels.dtype))
    np.testing.assert_allclose(grid.affine, affine_of_itk(there), atol=1e-12)
    assert notes == []


def meta(content: bytes | None = None, after: bytes = b"", **fields: str | None) -> bytes:
    """A .mha file of int16 voxels; fields are added, changed, or left out (None)."""
    header: dict[str, str | None] = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0", "ElementSpacing": "1 1 2", "DimSize": "9 10 11", "ElementType": "MET_SHORT",
    }  # fmt: skip
    header |= fields
    local = header.pop("ElementDataFile", "LOCAL")
    lines = [f"{key} = {value}\n" for key, value in header.items() if value is not None]
    body = voxels_of().tobytes(order="F") if content is None else content
    return "".join([*lines, f"ElementDataFile = {local}\n"]).encode() + body + after


ZLIB, GZIP = (pack(voxels_of().tobytes(order="F")) for pack in (zlib.compress, gzip.compress))
AS_ITK = {
    "plain": meta(),
    "big-endian": meta(voxels_of().astype(">i2").tobytes(order="F"), ElementByteOrderMSB="True"),
    "big-endian, other name": meta(voxels_of().astype(">i2").tobytes(order="F"), BinaryDataByteOrderMSB="True"),
    "long": meta(voxels_of().astype("i4").tobytes(order="F"), ElementType="MET_LONG"),
    "unsigned long": meta(voxels_of().astype("u4").tobytes(order="F"), ElementType="MET_ULONG"),
    "long long": meta(voxels_of().astype("i8").tobytes(order="F"), ElementType="MET_LONG_LONG"),
    "centre of rotation": meta(TransformMatrix="0 1 0 0 0 1 1 0 0", Offset="1 2 3", CenterOfRotation="10 20 30"),
    "Position": meta(Offset=None, Position="1 2 3"),
    "Origin": meta(Offset=None, Origin="1 2 3"),
    "Rotation": meta(TransformMatrix=None, Rotation="0 1 0 0 0 1 1 0 0"),
    "Orientation": meta(TransformMatrix=None, Orientation="0 1 0 0 0 1 1 0 0"),
    "ElementSize": meta(ElementSpacing=None, ElementSize="2 3 4"),
    "both sizes": meta(ElementSize="2 3 4"),
    "anatomical orientation": meta(AnatomicalOrientation="LPS", Comment="anything = goes here"),
    "header size from the end": meta(HeaderSize="-1"),
    "zlib": meta(ZLIB, CompressedData="True", CompressedDataSize=str(len(ZLIB))),
    "gzip": meta(GZIP, CompressedData="True", CompressedDataSize=str(len(GZIP))),
    "Windows": meta().replace(b"\n", b"\r\n", 9),
}


@pytest.mark.parametrize("what", AS_ITK)
def test_headers_mean_what_itk_says(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(AS_ITK[what])
    there = sitk.ReadImage(path)
    voxels, grid, notes = read_image(ImageFile(path))
    np.testing.assert_array_equal(voxels, sitk.GetArrayFromImage(there).transpose(2, 1, 0).astype(np.float32))
    np.testing.assert_array_equal(voxels, voxels_of().astype(np.float32))
    np.testing.assert_allclose(grid.affine, affine_of_itk(there), atol=1e-12)
    assert notes == []


def test_a_metaimage_without_directions_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(meta(TransformMatrix=None))
    _, grid, notes = read_image(ImageFile(tmp_path / "a.mha"))
    assert notes == ["a.mha: its header does not say where left and right are; taken as ITK does"]
    np.testing.assert_allclose(grid.affine, affine_of_itk(sitk.ReadImage(tmp_path / "a.mha")))


# ---------------------------------------------------------------- stricter than SimpleITK


def packed(change: int = 0, cut: int = 0, **fields: str) -> bytes:
    """A compressed file with one byte changed (counted from its end), or with a few bytes cut off."""
    content = bytearray(ZLIB)
    if change:
        content[-change] ^= 1
    return meta(bytes(content[: len(content) - cut]), **{"CompressedData": "True", **fields})


SIZE = len(voxels_of().tobytes())
STRICT = {
    "another file": (meta(ElementDataFile="/etc/passwd"), "voxels lie in another file, which is not read"),
    "a file beside": (meta(ElementDataFile="a.raw"), "voxels lie in another file, which is not read"),
    "a list of files": (meta(ElementDataFile="LIST"), "voxels lie in another file, which is not read"),
    "a pattern of files": (meta(ElementDataFile="slice%03d.raw 1 11 1"), "voxels lie in another file"),
    "negative NDims": (meta(NDims="-1"), "has -1 dimensions by its header"),
    "huge NDims": (meta(NDims="99999999"), "has 99999999 dimensions by its header"),
    "NDims no number": (meta(NDims="three"), "'NDims' in its header should be one whole number"),
    "NDims as long as a book": (meta(NDims="9" * 5000), "'NDims' in its header should be one whole number"),
    "two dimensions": (meta(NDims="2", DimSize="9 10"), "has 2 dimensions by its header"),
    "too few sizes": (meta(DimSize="9 10"), "'DimSize' in its header should be 3 whole numbers"),
    "huge sizes": (meta(DimSize="99999 99999 99999"), "more than the file holds"),
    "negative sizes": (meta(DimSize="-9 10 11"), "are there|has dimensions"),
    "no size": (meta(DimSize=None), "lacks 'DimSize'"),
    "no type": (meta(ElementType=None), "lacks 'ElementType'"),
    "unknown type": (meta(ElementType="MET_FLOAT_MATRIX"), "has voxels of type 'MET_FLOAT_MATRIX'"),
    "vectors": (meta(ElementNumberOfChannels="3"), "has several values per voxel"),
    "text": (meta(BinaryData="False"), "voxels are written as text"),
    "a part skipped": (meta(HeaderSize="4"), "gives its own size, which is not read"),
    "scaled": (meta(ElementToIntensityFunctionSlope="2"), "scales the grey values, which is not read"),
    "twice": (meta().replace(b"Offset", b"NDims = 3\nOffset"), "gives 'NDims' twice"),
    "twice by other names": (meta(Position="0 0 0"), "gives Offset and Position, which mean the same"),
    "a mesh": (meta(ObjectType="Mesh"), "is a MetaIO object, but not an image"),
    "no header": (b"ObjectType = Image\nNDims = 3\n", "is not a MetaImage file, whatever its name says"),
    "an endless header": (b"Comment = x\n" * 10**5 + meta(), "is not a MetaImage file, whatever its name says"),
    "cut": (meta()[:-1], "more than the file holds; it is truncated"),
    "longer": (meta(after=b"x"), f"describes {SIZE} bytes of voxels, and {SIZE + 1} are there"),
    "a byte changed in the middle": (packed(change=700), "cannot be read, truncated or damaged"),
    "a byte of the checksum changed": (packed(change=1), r"cannot be read, truncated or damaged \(.*data check"),
    "compressed, cut": (packed(cut=1), "cannot be read, truncated or damaged .*copy it again"),
    "compressed, half": (packed(cut=900), "cannot be read, truncated or damaged .*copy it again"),
    "compressed size": (packed(CompressedDataSize="12"), "describes 12 compressed bytes, and"),
    "compressed, then more": (
        meta(ZLIB + b"more", CompressedData="True"),
        "cannot be read, truncated or damaged",
    ),
    "compressed, too many voxels": (
        meta(zlib.compress(voxels_of().tobytes(order="F") + b"\0\0"), CompressedData="True"),
        "2 bytes follow the voxels that its header describes",
    ),
    "compressed, too few voxels": (
        meta(zlib.compress(voxels_of().tobytes(order="F")[:-2]), CompressedData="True"),
        "cannot be read, truncated or damaged",
    ),
    "compressed as a whole": (gzip.compress(meta()), "is compressed as a whole, which is not read"),
    "no spacing": (meta(ElementSpacing=None), "does not say how far apart its voxels are"),
    "negative spacing": (meta(ElementSpacing="-1 1 1"), r"spacing \(-1, 1, 1\) mm in the header"),
    "NaN spacing": (meta(ElementSpacing="nan 1 1"), "'ElementSpacing' in its header should be 3 numbers"),
    "centimetres": (meta(DistanceUnits="cm"), "counts in cm; millimetres are expected"),
    "sheared": (meta(TransformMatrix="1 0 0 0.5 1 0 0 0 1"), "voxel axes are not at right angles"),
    "huge": (meta(ElementSpacing="1e308 1 1", TransformMatrix="9 0 0 0 1 0 0 0 1"), "NaN or infinite entries"),
    "flat": (meta(TransformMatrix="0 0 0 0 1 0 0 0 1"), r"spacing \(0, 1, 2\) mm"),
    "endless offset": (meta(Offset="1e999 0 0"), "'Offset' in its header should be 3 numbers"),
}


@pytest.mark.parametrize("what", STRICT)
def test_a_metaimage_that_cannot_be_trusted_is_refused(tmp_path: Path, what: str) -> None:
    content, message = STRICT[what]
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(DataError, match=rf"^a\.mha: .*({message})") as caught:
        read_image(ImageFile(tmp_path / "a.mha"))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert "passwd" not in str(caught.value)


def test_no_changed_byte_of_compressed_voxels_goes_unnoticed(tmp_path: Path) -> None:
    whole = packed()
    start = whole.index(b"LOCAL\n") + 6
    path = tmp_path / "a.mha"
    for at in [*range(start, len(whole), 37), *range(len(whole) - 6, len(whole))]:
        content = bytearray(whole)
        content[at] ^= 0x10
        path.write_bytes(content)
        try:
            voxels, _, _ = read_image(ImageFile(path))
        except DataError:
            continue
        np.testing.assert_array_equal(voxels, voxels_of().astype(np.float32))


# ---------------------------------------------------------------- NRRD


def nrrd(content: bytes | None = None, magic: str = "NRRD0004", extra: str = "", **fields: str | None) -> bytes:
    """A .nrrd file of int16 voxels; fields are added, changed, or left out (None). `_` stands for a space."""
    header: dict[str, str | None] = {
        "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "9 10 11",
        "space directions": "(1,0,0) (0,1,0) (0,0,2)", "kinds": "domain domain domain", "endian": "little",
        "encoding": "raw", "space origin": "(0,0,0)",
    }  # fmt: skip
    header |= {key.replace("_", " "): value for key, value in fields.items()}
    lines = "".join(f"{key}: {value}\n" for key, value in header.items() if value is not None)
    body = voxels_of().tobytes(order="F") if content is None else content
    return f"{magic}\n# a comment: with a colon\n{lines}{extra}\n".encode() + body


ROW = "(0,1,0) (0,0,-1.5) (2,0,0)"
NRRDS = {
    "plain": nrrd(),
    "axes exchanged": nrrd(space_directions=ROW, space_origin="(4,-5,6)"),
    "RAS": nrrd(space="right-anterior-superior", space_directions=ROW, space_origin="(4,-5,6)"),
    "LAS": nrrd(space="left-anterior-superior", space_directions=ROW, space_origin="(4,-5,6)"),
    "RAS, short": nrrd(space="RAS", space_directions=ROW, space_origin="(4,-5,6)"),
    "LAS, short": nrrd(space="LAS", space_directions=ROW, space_origin="(4,-5,6)"),
    "LPS, short": nrrd(space="LPS", space_directions=ROW, space_origin="(4,-5,6)"),
    "big-endian": nrrd(voxels_of().astype(">i2").tobytes(order="F"), endian="big"),
    "a byte needs no order": nrrd(voxels_of().astype("u1").tobytes(order="F"), type="uchar", endian=None),
    "gzip": nrrd(GZIP, encoding="gzip"),
    "own keys": nrrd(extra="Segment0_Name:=tumour: left\nmodality:=MR\n"),
    "Windows": nrrd().replace(b"\n", b"\r\n", 12),
    "older": nrrd(magic="NRRD0005", measurement_frame="(1,0,0) (0,1,0) (0,0,1)", space_units='"mm" "mm" "mm"'),
}


@pytest.mark.parametrize("what", NRRDS)
def test_headers_of_nrrd_mean_what_itk_says(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(NRRDS[what])
    there = sitk.ReadImage(path)
    voxels, grid, notes = read_image(ImageFile(path))
    np.testing.assert_array_equal(voxels, voxels_of().astype(np.float32))
    np.testing.assert_array_equal(voxels, sitk.GetArrayFromImage(there).transpose(2, 1, 0).astype(np.float32))
    np.testing.assert_allclose(grid.affine, affine_of_itk(there), atol=1e-6)
    assert notes == []


NRRDS_REFUSED = {
    "another file": (nrrd(data_file="/etc/passwd"), "voxels lie in another file, which is not read"),
    "another file, old name": (nrrd(datafile="a.raw"), "voxels lie in another file, which is not read"),
    "detached": (nrrd()[: nrrd().index(b"\n\n") + 1], "truncated or detached"),
    "no NRRD": (b"NRRX0004\n\n", "is not an NRRD file, whatever its name says"),
    "four dimensions": (nrrd(dimension="4"), "has 4 dimensions by its header"),
    "huge sizes": (nrrd(sizes="99999 99999 99999"), "more than the file holds"),
    "two sizes": (nrrd(sizes="9 10"), "'sizes' in its header should be 3 whole numbers"),
    "vectors": (nrrd(kinds="vector domain domain"), "has an axis of kind 'vector'"),
    "unknown type": (nrrd(type="block"), "has voxels of type 'block'"),
    "no order": (nrrd(endian=None), "does not say in which order its bytes are"),
    "text": (nrrd(encoding="ascii"), "voxels are written as 'ascii'; only raw and gzip are read"),
    "bzip2": (nrrd(encoding="bzip2"), "voxels are written as 'bzip2'"),
    "skipped lines": (nrrd(line_skip="3"), "skips a part of the file"),
    "skipped bytes": (nrrd(byte_skip="12"), "skips a part of the file"),
    "no encoding": (nrrd(encoding=None), "lacks 'encoding'"),
    "twice": (nrrd(extra="type: short\n"), "gives 'type' twice"),
    "cut": (nrrd()[:-1], "more than the file holds"),
    "longer": (nrrd() + b"x", "are there; write it again"),
    "gzip, cut": (nrrd(GZIP[:-5], encoding="gzip"), "cannot be read, truncated or damaged"),
    "gzip, a byte changed": (
        nrrd(GZIP[:-7] + bytes([GZIP[-7] ^ 1]) + GZIP[-6:], encoding="gzip"),
        "cannot be read, truncated or damaged .*CRC",
    ),
    "gzip, too many voxels": (
        nrrd(gzip.compress(voxels_of().tobytes(order="F") + b"\0"), encoding="gzip"),
        "1 bytes follow the voxels",
    ),
    "no gzip": (nrrd(encoding="gzip"), "cannot be read, truncated or damaged"),
    "compressed as a whole": (gzip.compress(nrrd()), "is compressed as a whole, which is not read"),
    "no space": (nrrd(space=None), "does not say where left and right are"),
    "scanner's space": (nrrd(space="scanner-xyz"), "does not say where left and right are"),
    "time as well": (nrrd(space="left-posterior-superior-time"), "does not say where left and right are"),
    "spacings only": (nrrd(space_directions=None, spacings="1 1 2"), "does not say where left and right are"),
    "no origin": (nrrd(space_origin=None), "does not say where left and right are"),
    "micrometres": (nrrd(space_units='"um" "um" "um"'), "counts in um; millimetres are expected"),
    "no direction": (nrrd(space_directions="none (0,1,0) (0,0,1)"), "'space directions' in its header"),
    "two directions": (nrrd(space_directions="(0,1,0) (0,0,1)"), "'space directions' in its header"),
    "NaN": (nrrd(space_origin="(nan,0,0)"), "'space origin' in its header"),
}


@pytest.mark.parametrize("what", NRRDS_REFUSED)
def test_an_nrrd_that_cannot_be_trusted_is_refused(tmp_path: Path, what: str) -> None:
    content, message = NRRDS_REFUSED[what]
    (tmp_path / "a.nrrd").write_bytes(content)
    with pytest.raises(DataError, match=rf"^a\.nrrd: .*({message})") as caught:
        read_image(ImageFile(tmp_path / "a.nrrd"))
    assert "\n" not in str(caught.value)
    assert "passwd" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_what_is_wrong_with_a_place_is_an_error_of_geometry(tmp_path: Path, suffix: str) -> None:
    content = meta(ElementSpacing=None) if suffix == ".mha" else nrrd(space=None)
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(GeometryError):
        read_image(ImageFile(tmp_path / f"a{suffix}"))
