"""NIfTI as it is found, and the other formats: every way of writing the same scan gives the same voxels and grid."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.find import find_cases
from lacunet.data.formats.content import packing_and_first_bytes
from lacunet.data.formats.unread import why_unreadable
from lacunet.data.nifti import load_case, write_mask
from lacunet.data.volume import read_file, read_image, read_stored
from lacunet.errors import DataError, GeometryError
from lacunet.intake.read.plain_copy import clean_copy

SHAPE = (9, 10, 11)
SIZE = 9 * 10 * 11 * 2


def scan() -> np.ndarray:
    """Background 0, and a block that touches no face; every voxel of it another value."""
    voxels = np.zeros(SHAPE, np.int16)
    inside = voxels[2:-2, 2:-2, 2:-2]
    inside[...] = np.random.default_rng(3).permutation(inside.size).reshape(inside.shape) + 1
    return voxels


def oblique() -> np.ndarray:
    turn = nib.eulerangles.euler2mat(0.2, -0.3, 0.1)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 1.25, 2.0])
    affine[:3, 3] = 3, -5, 7
    return affine


def nifti(
    change: Callable[[nib.Nifti1Header], None] = lambda header: None,
    kind: type[nib.Nifti1Image] = nib.Nifti1Image,
    order: str = "<",
) -> bytes:
    """A single file; its header is changed as no library would."""
    length = kind.header_class.sizeof_hdr
    image = kind(scan(), oblique(), kind.header_class(endianness=order))
    image.header.set_data_dtype(np.int16)
    image.set_qform(oblique(), 1)
    image.set_sform(oblique(), 1)
    content = image.to_bytes()
    header = kind.header_class(content[:length], order, check=False)
    change(header)
    return bytes(header.binaryblock + content[length:])


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def case_of(path: Path) -> CaseFiles:
    return CaseFiles("c", "c", {"t1c": ImageFile(path)}, None, "plain", None)


def set_to(**fields: object) -> Callable[[nib.Nifti1Header], None]:
    def change(header: nib.Nifti1Header) -> None:
        for name, value in fields.items():
            header[name] = value

    return change


# ---------------------------------------------------------------- one scan, written in many ways


def write_pair(folder: Path, suffix: str, kind: type[nib.Nifti1Pair] = nib.Nifti1Pair) -> Path:
    image = kind(scan(), oblique())
    nib.save(image, folder / f"a{suffix}")
    return folder / f"a{suffix.replace('.img', '.hdr')}"


def write_upper_case(folder: Path) -> Path:
    path = write_pair(folder, ".img")
    path.with_suffix(".img").rename(folder / "B.IMG")
    return path.rename(folder / "B.HDR")


def write_mgh(folder: Path, suffix: str) -> Path:
    nib.save(nib.MGHImage(scan(), oblique()), folder / f"a{suffix}")
    return folder / f"a{suffix}"


SAME: dict[str, tuple[Callable[[Path], Path], str | None]] = {
    "NIfTI-1": (lambda folder: put(folder / "a.nii", nifti()), None),
    "NIfTI-1, compressed": (lambda folder: put(folder / "a.nii.gz", gzip.compress(nifti())), None),
    "NIfTI-2": (lambda folder: put(folder / "a.nii", nifti(kind=nib.Nifti2Image)), None),
    "big-endian": (lambda folder: put(folder / "a.nii", nifti(order=">")), None),
    "NIfTI-2, big-endian": (lambda folder: put(folder / "a.nii", nifti(kind=nib.Nifti2Image, order=">")), None),
    "compressed in two parts": (
        lambda folder: put(folder / "a.nii.gz", gzip.compress(nifti()[:700]) + gzip.compress(nifti()[700:])),
        None,
    ),
    "compressed, called .nii": (
        lambda folder: put(folder / "a.nii", gzip.compress(nifti())),
        "a.nii: is compressed, though its name says otherwise",
    ),
    "not compressed, called .nii.gz": (
        lambda folder: put(folder / "a.nii.gz", nifti()),
        "a.nii.gz: is not compressed, though its name says otherwise",
    ),
    "header length 0": (lambda folder: put(folder / "a.nii", nifti(set_to(sizeof_hdr=0))), None),
    "no slope": (lambda folder: put(folder / "a.nii", nifti(set_to(scl_slope=0, scl_inter=7))), None),
    "NaN as slope": (lambda folder: put(folder / "a.nii", nifti(set_to(scl_slope=np.nan, scl_inter=np.nan))), None),
    "vox_offset 0": (
        lambda folder: put(folder / "a.nii", nifti(set_to(vox_offset=0))),
        "a.nii: its header says that the voxels start at byte 0, inside the header; read from byte 352",
    ),
    "vox_offset 0, compressed": (
        lambda folder: put(folder / "a.nii.gz", gzip.compress(nifti(set_to(vox_offset=0)))),
        "a.nii.gz: its header says that the voxels start at byte 0, inside the header; read from byte 352",
    ),
    "vox_offset 348, and 352 meant": (
        lambda folder: put(folder / "a.nii", nifti(set_to(vox_offset=348))),
        "start at byte 348, inside the header; read from byte 352",
    ),
    "vox_offset 348, and meant": (
        lambda folder: put(folder / "a.nii", (lambda whole: whole[:348] + whole[352:])(nifti(set_to(vox_offset=348)))),
        "start at byte 348, inside the header; read from byte 348",
    ),
    "vox_offset -1": (lambda folder: put(folder / "a.nii", nifti(set_to(vox_offset=-1))), "read from byte 352"),
    "NIfTI-2, vox_offset 352": (
        lambda folder: put(folder / "a.nii", nifti(set_to(vox_offset=352), kind=nib.Nifti2Image)),
        "start at byte 352, inside the header; read from byte 544",
    ),
    "an extension": (
        lambda folder: put(
            folder / "a.nii",
            (lambda whole: whole[:348] + b"\1\0\0\0" + struct.pack("<ii", 32, 6) + b"x" * 24 + whole[352:])(
                nifti(set_to(vox_offset=384))
            ),
        ),
        None,
    ),
    "zeros at the end": (
        lambda folder: put(folder / "a.nii", nifti() + b"\0" * 100),
        "a.nii: 100 zeros follow its voxels; they are ignored",
    ),
    "quaternion too long beside an sform": (
        lambda folder: put(folder / "a.nii", nifti(set_to(quatern_b=0.6, quatern_c=0.6, quatern_d=0.53))),
        "a.nii: its qform is no rotation; the sform is used",
    ),
    "NaN in the qform beside an sform": (
        lambda folder: put(folder / "a.nii", nifti(set_to(qoffset_x=np.nan, quatern_d=np.nan))),
        "a.nii: its qform is no rotation; the sform is used",
    ),
    "unknown code of the sform": (lambda folder: put(folder / "a.nii", nifti(set_to(sform_code=218))), None),
    "code of the qform below 0": (lambda folder: put(folder / "a.nii", nifti(set_to(qform_code=-7))), None),
    "NIfTI-2, a qform far away beside an sform": (
        lambda folder: put(folder / "a.nii", nifti(set_to(qoffset_x=1e200, quatern_b=1e200), kind=nib.Nifti2Image)),
        "a.nii: its qform is no rotation; the sform is used",
    ),
    "a pair": (lambda folder: write_pair(folder, ".img"), None),
    "a pair, NIfTI-2": (lambda folder: write_pair(folder, ".img", nib.Nifti2Pair), None),
    "a pair, compressed": (lambda folder: write_pair(folder, ".img.gz"), None),
    "a pair, in capitals": (write_upper_case, None),
    "a pair, by its .img": (lambda folder: write_pair(folder, ".img").with_suffix(".img"), None),
    "FreeSurfer": (lambda folder: write_mgh(folder, ".mgh"), None),
    "FreeSurfer, compressed": (lambda folder: write_mgh(folder, ".mgz"), None),
    "FreeSurfer, with tags": (
        lambda folder: put(folder / "b.mgh", write_mgh(folder, ".mgh").read_bytes() + b"mri_convert /home/anna" * 99),
        None,
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_one_scan_written_in_many_ways(tmp_path: Path, what: str) -> None:
    write, said = SAME[what]
    path = write(tmp_path)
    voxels, grid, notes = read_image(ImageFile(path))
    np.testing.assert_array_equal(voxels, scan())
    np.testing.assert_allclose(grid.affine, oblique(), atol=1e-5)
    assert len(notes) == (said is not None), notes
    assert said is None or said in notes[0]
    stored = read_stored(path)
    assert stored.voxels.dtype == np.int16
    np.testing.assert_array_equal(stored.voxels, scan())


@pytest.mark.parametrize("what", SAME)
def test_masks_and_clean_copies_lie_where_the_scan_lies(tmp_path: Path, what: str) -> None:
    path = SAME[what][0](tmp_path)
    case = load_case(case_of(path))
    write_mask(tmp_path / "mask.nii.gz", (case.images["t1c"] > 50).astype(np.uint8), case, "brats2023", like=path)
    clean_copy(path, tmp_path / "copy.nii.gz")
    for name, expected in {"mask.nii.gz": scan() > 50, "copy.nii.gz": scan()}.items():
        written = nib.load(tmp_path / name)
        np.testing.assert_array_equal(np.asanyarray(written.dataobj), expected)
        for affine in (written.affine, written.header.get_sform(), written.header.get_qform()):
            np.testing.assert_allclose(affine, oblique(), atol=1e-5)
    assert b"anna" not in gzip.decompress((tmp_path / "copy.nii.gz").read_bytes())


def test_a_copy_keeps_stored_values_scale_and_forms_and_no_text(tmp_path: Path) -> None:
    content = nifti(
        set_to(scl_slope=2.5, scl_inter=-3, descrip=b"Anna", aux_file=b"Anna", db_name=b"Anna", sform_code=4)
    )
    clean_copy(put(tmp_path / "a.nii", content), tmp_path / "b.nii.gz")
    copied = gzip.decompress((tmp_path / "b.nii.gz").read_bytes())
    assert b"Anna" not in copied
    original, header = nib.Nifti1Header(content[:348]), nib.Nifti1Header(copied[:348])
    for name in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "pixdim", "scl_slope", "datatype"):
        np.testing.assert_array_equal(header[name], original[name])
    assert copied[352:] == content[352:]
    voxels = read_image(ImageFile(tmp_path / "b.nii.gz"))[0]
    np.testing.assert_array_equal(voxels, (scan().astype(np.float64) * 2.5 - 3).astype(np.float32))


def test_an_unused_form_may_hold_any_numbers(tmp_path: Path) -> None:
    content = nifti(set_to(sform_code=0, srow_x=[1e300] * 4), kind=nib.Nifti2Image)
    clean_copy(put(tmp_path / "a.nii", content), tmp_path / "b.nii.gz")
    for name in ("a.nii", "b.nii.gz"):
        np.testing.assert_allclose(read_image(ImageFile(tmp_path / name))[1].affine, oblique(), atol=1e-5)


TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("slope", [0.0, 1.0, 0.37])
def test_every_type_is_read_as_nibabel_reads_it(tmp_path: Path, kind: str, order: str, slope: float) -> None:
    voxels = (scan() % 120).astype(kind)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(kind)
    content = bytearray(nib.Nifti1Image(voxels, oblique(), header, dtype=kind).to_bytes())
    content[112:120] = np.array([slope, -11.3 if slope == 0.37 else 0], order + "f4").tobytes()
    path = put(tmp_path / "a.nii", bytes(content))
    expected = np.asanyarray(nib.load(path).dataobj)
    np.testing.assert_array_equal(read_image(ImageFile(path))[0], expected.astype(np.float32))
    as_on_disk = read_file(ImageFile(path))[0]
    np.testing.assert_array_equal(as_on_disk, expected.astype(as_on_disk.dtype))
    assert as_on_disk.dtype == (np.float32 if slope == 0.37 or kind[0] == "f" else np.dtype(kind))


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4"])
@pytest.mark.parametrize("shape", [(9, 10, 11), (8, 3, 5), (2, 2, 2)])
def test_freesurfer_files_lie_where_nibabel_puts_them(tmp_path: Path, kind: str, shape: tuple[int, int, int]) -> None:
    voxels = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    nib.save(nib.MGHImage(voxels, oblique()), tmp_path / "a.mgz")
    read, grid, _ = read_image(ImageFile(tmp_path / "a.mgz"))
    np.testing.assert_array_equal(read, voxels)
    np.testing.assert_allclose(grid.affine, nib.load(tmp_path / "a.mgz").affine, atol=1e-5)


@pytest.mark.parametrize("excess", [1e-9, 2e-7, 3.6e-7, 8e-7, 5e-6])
def test_a_rounded_quaternion_alone_is_read(tmp_path: Path, excess: float) -> None:
    quaternion = np.array([0.6, 0.6, 0.5291503]) * np.sqrt(1 + excess) / np.linalg.norm([0.6, 0.6, 0.5291503])
    b, c, d = quaternion
    path = put(tmp_path / "a.nii", nifti(set_to(sform_code=0, quatern_b=b, quatern_c=c, quatern_d=d)))
    _, grid, _ = read_image(ImageFile(path))
    turn = nib.quaternions.quat2mat([0, *(quaternion / np.linalg.norm(quaternion))])
    np.testing.assert_allclose(grid.affine[:3, :3], turn @ np.diag([1, 1.25, -2.0]), atol=3e-3)
    case = load_case(case_of(path))
    write_mask(tmp_path / "m.nii.gz", np.ones(case.grid.shape, np.uint8), case, "brats2023", like=path)
    np.testing.assert_allclose(nib.load(tmp_path / "m.nii.gz").header.get_qform(), grid.affine, atol=1e-5)


@pytest.mark.parametrize("sign", [0.0, -0.0, 5.0, np.nan, np.inf, -3.0])
def test_an_odd_sign_of_the_third_axis_is_read_and_written_as_one_or_minus_one(tmp_path: Path, sign: float) -> None:
    content = bytearray(nifti(set_to(sform_code=0)))
    content[76:80] = struct.pack("<f", sign)
    path = put(tmp_path / "a.nii", bytes(content))
    case = load_case(case_of(path))
    write_mask(tmp_path / "m.nii.gz", np.ones(case.grid.shape, np.uint8), case, "brats2023", like=path)
    clean_copy(path, tmp_path / "c.nii.gz")
    content[76:80] = struct.pack("<f", -1.0 if sign < 0 else 1.0)
    expected = nib.Nifti1Image.from_bytes(bytes(content)).affine
    for affine in (case.native.affine, *(nib.load(tmp_path / name).affine for name in ("m.nii.gz", "c.nii.gz"))):
        np.testing.assert_allclose(affine, expected, atol=1e-6)


def test_a_mask_never_gets_a_quaternion_that_others_refuse(tmp_path: Path) -> None:
    long = set_to(quatern_b=np.sqrt(0.5 + 1e-6), quatern_c=np.sqrt(0.5), quatern_d=0)
    path = put(tmp_path / "a.nii", nifti(long))
    case = load_case(case_of(path))
    write_mask(tmp_path / "m.nii.gz", np.ones(case.grid.shape, np.uint8), case, "brats2023", like=path)
    np.testing.assert_allclose(nib.load(tmp_path / "m.nii.gz").header.get_qform(), oblique(), atol=1e-5)


# ---------------------------------------------------------------- what is refused


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "unknown type": ("a.nii", nifti(set_to(datatype=4242)), "voxels of type 4242, which NIfTI does not know"),
    "type 0": ("a.nii", nifti(set_to(datatype=0)), "voxels of type 0, which NIfTI does not know"),
    "bits": ("a.nii", nifti(set_to(datatype=1)), "voxels of type bits; grey values are expected"),
    "complex": ("a.nii", nifti(set_to(datatype=1792)), "voxels of type complex128; grey values are expected"),
    "two dimensions": ("a.nii", nifti(set_to(dim=[2, 9, 10, 1, 1, 1, 1, 1])), r"has dimensions \(9, 10\); a scan"),
    "one dimension": ("a.nii", nifti(set_to(dim=[1, 9, 1, 1, 1, 1, 1, 1])), r"has dimensions \(9,\); a scan"),
    "no dimension": ("a.nii", nifti(set_to(dim=[0] * 8)), "has 0 dimensions by its header"),
    "many dimensions": ("a.nii", nifti(set_to(dim=[9, 9, 10, 11, 1, 1, 1, 1])), "has 9 dimensions by its header"),
    "endless intercept": ("a.nii", nifti(set_to(scl_slope=2, scl_inter=np.inf)), "by 2 and adds inf; write it again"),
    "NaN as intercept": ("a.nii", nifti(set_to(scl_slope=2, scl_inter=np.nan)), "by 2 and adds nan; write it again"),
    "huge slope": ("a.nii", nifti(set_to(scl_slope=1e200), kind=nib.Nifti2Image), r"by 1e\+200 and adds"),
    "vox_offset NaN": ("a.nii", nifti(set_to(vox_offset=np.nan)), "start at byte nan, and its length does not show"),
    "vox_offset 352.5": ("a.nii", nifti(set_to(vox_offset=352.5)), "start at byte 352.5, and its length does not"),
    "vox_offset 0, zeros at the end": ("a.nii", nifti(set_to(vox_offset=0)) + b"\0" * 16, "length does not show where"),
    "vox_offset too early": (
        "a.nii",
        nifti()[:352] + b"\1" * 16 + nifti()[352:-1] + b"\1",
        "16 bytes follow the",
    ),
    "an extension without room": (
        "a.nii",
        nifti()[:348] + b"\1\0\0\0" + struct.pack("<ii", 32, 6) + b"x" * 24 + nifti()[352:],
        "32 bytes follow the voxels that its header describes",
    ),
    "more at the end": ("a.nii", nifti() + b"abc", "3 bytes follow the voxels that its header describes"),
    "much more at the end": ("a.nii.gz", gzip.compress(nifti() + b"\0" * 2**21), "many bytes follow the voxels"),
    "cut": ("a.nii", nifti()[:-1], "more than the file holds; it is truncated"),
    "cut, compressed": (
        "a.nii.gz",
        gzip.compress(nifti()[:-1]),
        "cannot be read, truncated or damaged .*copy it again",
    ),
    "cut after compression": ("a.nii.gz", gzip.compress(nifti())[:-4], "cannot be read, truncated or damaged"),
    "cut after compression, called .nii": (
        "a.nii",
        gzip.compress(nifti())[:-4],
        "cannot be read, truncated or damaged",
    ),
    "bytes after compression": ("a.nii.gz", gzip.compress(nifti()) + b"abc", "cannot be read, truncated or damaged"),
    "qform no rotation": (
        "a.nii",
        nifti(set_to(sform_code=0, quatern_b=0.6, quatern_c=0.6, quatern_d=0.54)),
        r"its qform is no rotation \(a quaternion of length 1\.005\d*, not 1\), and it has no sform",
    ),
    "far away": (
        "a.nii",
        nifti(set_to(srow_x=[-1, 0, 0, 1e200]), kind=nib.Nifti2Image),
        r"lies 1e\+200 mm away from the origin",
    ),
    "Analyze": ("a.nii", nifti(set_to(magic=b"")), "is an Analyze 7.5 file, which does not say where left and right"),
    "header of a pair alone": ("a.hdr", nifti(set_to(magic=b"ni1")), "a .img file of its name should lie beside it"),
    "pair as .nii": ("a.nii", nifti(set_to(magic=b"ni1")), "a .img file of its name should lie beside it"),
    "bzip2": ("a.nii.gz", b"BZh91AY" + nifti(), "is compressed with bzip2; compress it with gzip instead"),
    "xz": ("a.nii", b"\xfd7zXZ\0" + nifti(), "is compressed with xz"),
    "zip": ("a.nii", b"PK\3\4" + nifti(), "is a zip archive, whatever its name says"),
    "NRRD": ("a.nii", b"NRRD0004\n" + nifti(), "is an NRRD file, whatever its name says; rename it"),
    "git-annex": ("a.nii.gz", b"/annex/objects/MD5E-s1--2.nii.gz\n", "only a pointer of git-annex; fetch the file"),
    "Git LFS": ("a.nii.gz", b"version https://git-lfs.github.com/spec/v1\n", "only a pointer of Git LFS"),
    "no FreeSurfer": ("a.mgz", gzip.compress(b"\0\0\0\2" + b"\0" * 400), "is not a file of FreeSurfer"),
    "short FreeSurfer": ("a.mgh", b"\0\0\0\1" + b"\0" * 40, "is not a file of FreeSurfer"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_trusted_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    name, content, message = REFUSED[what]
    with pytest.raises(DataError, match=message) as caught:
        read_image(ImageFile(put(tmp_path / name, content)))
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def mgh(
    kind: int = 4, located: int = 1, frames: int = 1, delta: float = 1.0, first: int = 9, endless: bool = False
) -> bytes:
    turn, centre = (np.inf, np.inf) if endless else (-1, 0)
    numbers = struct.pack(">15f", delta, 1, 1, turn, 0, 0, 0, 0, -1, 0, 1, 0, centre, 0, 0)
    header = struct.pack(">7ih", 1, first, 10, 11, frames, kind, 0, located) + numbers
    return header.ljust(284, b"\0") + b"\0" * SIZE


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (mgh(kind=2), DataError, "has voxels of type 2"),
        (mgh(located=0), GeometryError, "does not say where left and right are"),
        (mgh(delta=-1), GeometryError, r"spacing \(-1, 1, 1\) mm"),
        (mgh(delta=np.nan), GeometryError, r"spacing \(nan, 1, 1\) mm"),
        (mgh(frames=4), DataError, "more than the file holds"),
        (mgh(frames=2**30, first=2**30), DataError, "more than the file holds"),
        (mgh(first=-9), DataError, "follow the voxels|has dimensions"),
        (mgh(endless=True), GeometryError, "NaN or infinite entries"),
    ],
)
def test_headers_of_freesurfer_are_checked(tmp_path: Path, content: bytes, kind: type, message: str) -> None:
    with pytest.raises(kind, match=rf"a\.mgh: .*({message})"):
        read_image(ImageFile(put(tmp_path / "a.mgh", content)))


# ---------------------------------------------------------------- advice that fits the cause


def test_advice_fits_the_cause(tmp_path: Path) -> None:
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "link.nii").symlink_to(tmp_path / "nowhere.nii")
    (tmp_path / "circle.nii").symlink_to(tmp_path / "circle.nii")
    causes = {
        "gone.nii.gz": r"cannot be read \(No such file or directory\); check the path",
        "gone.mha": r"cannot be read \(No such file or directory\); check the path",
        "link.nii": "it is a link to a file that is not there, fetch that file",
        "circle.nii": "its link leads in a circle",
        "folder.nii": r"cannot be read \(Is a directory\); give a file",
    }
    for name, message in causes.items():
        with pytest.raises(DataError, match=message):
            read_image(ImageFile(tmp_path / name))


@pytest.mark.parametrize("name", ["a.nii", "a.mha", "a.nrrd", "a.mgz"])
def test_a_file_that_may_not_be_read_is_said(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, since who runs tests as an administrator may read everything."""

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 1000)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\); ask for the right to read it"):
        read_image(ImageFile(tmp_path / name))


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("suffix", [".nrrd", ".mgz", ".mgh", ".hdr", ".hdr.gz", ".mha"])
def test_every_format_is_found_by_name(tmp_path: Path, suffix: str) -> None:
    put(tmp_path / "p01_flair.nii.gz", gzip.compress(nifti()))
    put(tmp_path / f"p01_t1c{suffix}", b"not looked at")
    put(tmp_path / f"p01_t1c{suffix}".replace(".hdr", ".img"), b"the second file of a pair is no scan of its own")
    (case,) = find_cases(tmp_path)
    assert sorted(case.images) == ["t1c", "t2f"]
    assert case.images["t1c"].path.name == f"p01_t1c{suffix}"


UNREAD = {
    "a.mhd": "another file", "a.NHDR": "another file", "a.raw": "two-file format", "a.zraw": "two-file format",
    "a.nii.bz2": "compress it with gzip", "a.nii.xz": "compress it with gzip", "a.nii.zst": "compress it with gzip",
    "a.mha.gz": "decompress it", "a.dcm": "lacunet import", "a.IMA": "lacunet import", "a.PAR": "dcm2niix",
    "a.rec": "dcm2niix", "a.v": "ECAT", "a.mnc": "MINC", "a+orig.HEAD": "AFNI", "a+orig.BRIK.gz": "AFNI",
    "a.png": "picture", "a.JPEG": "picture", "a.tiff": "picture", "a.npy": "array", "a.nii.gz.part": "not finished",
    "alone.img": "no .hdr file beside it", "analyze.hdr": "Analyze 7.5", "analyze.img": "Analyze 7.5",
    "other.hdr": "no header of an image", "other.img": "no header of an image",
}  # fmt: skip
READ = [
    "a.nii",
    "a.nii.gz",
    "a.mha",
    "a.nrrd",
    "a.mgz",
    "pair.hdr",
    "pair.img",
    "a.json",
    "a.txt",
    "a",
    "a.csv",
    "a.bval",
]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    pair = nifti(set_to(magic=b"ni1", vox_offset=0))
    for name, content in {
        "analyze.hdr": nifti(set_to(magic=b""))[:348],
        "analyze.img": nifti()[352:],
        "pair.hdr": pair[:352],
        "pair.img": pair[352:],
        "other.hdr": b"ENVI\ndescription = {land}",
        "other.img": b"land",
    }.items():
        put(tmp_path / name, content)
    return tmp_path


@pytest.mark.parametrize("name", UNREAD)
def test_why_a_file_is_not_read(mixed: Path, name: str) -> None:
    (mixed / name).touch()
    reason = why_unreadable(mixed / name)
    assert reason is not None
    assert UNREAD[name] in reason
    if (mixed / name).stat().st_size:
        with pytest.raises(DataError, match=rf"^{name}: {reason[:20]}"):
            read_image(ImageFile(mixed / name))


@pytest.mark.parametrize("name", READ)
def test_what_is_read_or_is_no_image_has_no_reason(mixed: Path, name: str) -> None:
    assert why_unreadable(mixed / name) is None


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (b"", ("none", b"")),
        (b"0123456789abcdef", ("none", b"0123456789")),
        (gzip.compress(b"0123456789abcdef"), ("gzip", b"0123456789")),
        (gzip.compress(b"0123"), ("gzip", b"0123")),
        (b"".join(gzip.compress(letter) for letter in (b"01", b"", b"2345", b"6789abc")), ("gzip", b"0123456789")),
    ],
    ids=["empty", "as it is", "compressed", "short", "in several members"],
)
def test_the_start_of_a_file_is_found_however_it_was_compressed(
    tmp_path: Path, stored: bytes, found: tuple[str, bytes]
) -> None:
    (tmp_path / "scan").write_bytes(stored)
    assert packing_and_first_bytes(tmp_path / "scan", 10) == found


def test_a_start_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(gzip.compress(b"0123456789abcdef")[:14])
    with pytest.raises(EOFError):
        packing_and_first_bytes(tmp_path / "scan", 10)
