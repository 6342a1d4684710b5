"""Files to a case and back: geometry by round trip, and every way in which a file can be bad."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import aff2axcodes

from lacunet.case import Case, CaseFiles, ImageFile
from lacunet.data.background import looks_stripped
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case, nifti_image, set_forms, write_image, write_mask
from lacunet.data.volume import read_image
from lacunet.errors import DataError, GeometryError, LabelError, OutputError, UsageError
from lacunet.intake.align.rigid import affine_of_itk
from small import SHARED

SHAPE = (9, 10, 11)
ORIENTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def brain(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Background 0, and a block that touches no face; every voxel of it another value."""
    voxels = np.zeros(shape, np.int16)
    inside = voxels[2:-2, 2:-2, 2:-2]
    inside[...] = np.random.default_rng(seed).permutation(inside.size).reshape(inside.shape) + 1
    return voxels


def tumour() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:6, 4:7, 4:8] = 2
    labels[3:5, 4, 5] = 1
    labels[4, 5, 5:7] = 4
    return labels


def affine_of(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = 90, 126, -72
    return affine


def save(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine_of() if affine is None else affine), path)
    return path


def files(reference: Path | None = None, convention: str | None = "brats2018", **images: Path) -> CaseFiles:
    scans = {modality: ImageFile(path) for modality, path in images.items()}
    return CaseFiles("c", "c", scans, ImageFile(reference) if reference else None, "brats2018", convention)


def edit_header(path: Path, change: Callable[[nib.Nifti1Header], None]) -> Path:
    """Change the header of an uncompressed file in place, as no library would."""
    content = path.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    change(header)
    path.write_bytes(header.binaryblock + content[348:])
    return path


# ---------------------------------------------------------------- reading


def test_reads_images_and_reference_onto_a_ras_grid(tmp_path: Path) -> None:
    t1c = save(tmp_path / "c_t1ce.nii.gz", brain(1))
    t2f = save(tmp_path / "c_flair.nii.gz", brain(2))
    seg = save(tmp_path / "c_seg.nii.gz", tumour())
    case = load_case(files(seg, t1c=t1c, t2f=t2f))
    assert list(case.images) == ["t1c", "t2f"]
    assert case.images["t1c"].dtype == np.float32
    assert aff2axcodes(case.grid.affine) == ("R", "A", "S")
    assert aff2axcodes(case.native.affine) == ("L", "P", "S")
    np.testing.assert_array_equal(case.images["t1c"], brain(1)[::-1, ::-1])
    assert case.reference is not None
    np.testing.assert_array_equal(case.reference, np.array([0, 1, 2, 0, 3])[tumour()][::-1, ::-1])
    assert case.notes == ()
    assert load_case(files(seg, t1c=t1c), want_reference=False).reference is None


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_orientation_comes_back_exactly(
    tmp_path: Path, order: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * signs * np.array([1.0, 1.25, 2.0])
    affine[:3, 3] = 3, -5, 7
    scan = save(tmp_path / "c_t1.nii.gz", brain(), affine)
    seg = save(tmp_path / "c_seg.nii.gz", tumour(), affine)
    case = load_case(files(seg, t1n=scan))
    assert aff2axcodes(case.grid.affine) == ("R", "A", "S")
    for value in (1, 57, int(brain().max())):
        here, there = np.argwhere(brain() == value)[0], np.argwhere(case.images["t1n"] == value)[0]
        np.testing.assert_allclose(affine @ [*here, 1], case.grid.affine @ [*there, 1], atol=1e-9)
    assert case.reference is not None
    write_mask(tmp_path / "out.nii.gz", case.reference, case, "brats2018", like=scan)
    written = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), tumour())
    np.testing.assert_array_equal(written.affine, nib.load(scan).affine)


def test_an_oblique_scan_comes_back_exactly(tmp_path: Path) -> None:
    turn = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    affine = affine_of()
    affine[:3, :3] = turn @ affine[:3, :3]
    scan = save(tmp_path / "c_t1.nii", brain(), affine)
    case = load_case(files(t1n=scan))
    write_image(tmp_path / "out.nii", case.images["t1n"], case, "the scan itself", like=scan)
    written = nib.load(tmp_path / "out.nii")
    np.testing.assert_array_equal(written.get_fdata(), brain())
    np.testing.assert_array_equal(written.affine, nib.load(scan).affine)
    assert written.header["descrip"].item() == b"lacunet: the scan itself"


def test_mha_lies_where_the_same_nifti_lies(tmp_path: Path) -> None:
    """SimpleITK itself writes both, so that it is the independent witness of axes and millimetres."""
    image = sitk.GetImageFromArray(brain().transpose(2, 1, 0))
    image.SetSpacing((1.0, 1.5, 2.0))
    image.SetOrigin((5.0, -7.0, 11.0))
    image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(image, tmp_path / "a.mha")
    sitk.WriteImage(image, tmp_path / "a.nii.gz")
    mha, mha_grid, _ = read_image(ImageFile(tmp_path / "a.mha"))
    nifti, nifti_grid, _ = read_image(ImageFile(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(mha, nifti)
    np.testing.assert_allclose(mha_grid.affine, nifti_grid.affine, atol=1e-5)
    case = load_case(files(t1n=tmp_path / "a.mha", t2w=tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(case.images["t1n"], case.images["t2w"])


def test_reads_one_volume_of_a_4d_file(tmp_path: Path) -> None:
    path = save(tmp_path / "BRATS_001.nii.gz", np.stack([brain(0), brain(1)], axis=-1))
    case = load_case(replace(files(), images={"t2f": ImageFile(path, 0), "t1n": ImageFile(path, 1)}))
    np.testing.assert_array_equal(case.images["t1n"], brain(1)[::-1, ::-1])
    with pytest.raises(DataError, match="expects volume 2 of a 4-D file"):
        load_case(replace(files(), images={"t2f": ImageFile(path, 2)}))
    three = save(tmp_path / "BRATS_002.nii.gz", brain())
    with pytest.raises(DataError, match="expects volume 0 of a 4-D file"):
        load_case(replace(files(), images={"t2f": ImageFile(three, 0)}))


def test_a_4d_file_is_refused_elsewhere_unless_it_holds_one_volume(tmp_path: Path) -> None:
    four = save(tmp_path / "four.nii.gz", np.stack([brain()] * 4, axis=-1))
    with pytest.raises(DataError, match=r"four\.nii\.gz: holds 4 volumes of \(9, 10, 11\) voxels; one volume"):
        load_case(files(t1n=four))
    one = save(tmp_path / "one.nii.gz", brain()[..., None])
    case = load_case(files(t1n=one))
    assert case.images["t1n"].shape == SHAPE
    assert case.notes == ("one.nii.gz: dimensions (9, 10, 11, 1) read as (9, 10, 11)",)


def test_scaled_voxels_are_read_as_their_header_says(tmp_path: Path) -> None:
    image = nib.Nifti1Image(brain().astype(np.uint8), affine_of())
    image.header.set_slope_inter(2.5, 0.0)
    nib.save(image, tmp_path / "a.nii")
    edit_header(tmp_path / "a.nii", lambda header: header.__setitem__("scl_slope", 2.5))
    voxels, _, _ = read_image(ImageFile(tmp_path / "a.nii"))
    np.testing.assert_array_equal(
        voxels, np.float32(2.5) * np.asarray(nib.load(tmp_path / "a.nii").dataobj.get_unscaled())
    )


def test_a_reference_without_a_decided_convention_is_refused(tmp_path: Path) -> None:
    scan, seg = save(tmp_path / "t1.nii.gz", brain()), save(tmp_path / "seg.nii.gz", tumour())
    with pytest.raises(LabelError, match=r"seg\.nii\.gz: its label convention is not decided"):
        load_case(files(seg, None, t1n=scan))


def test_float_labels_are_rounded_and_said(tmp_path: Path) -> None:
    labels = tumour().astype(np.float32)
    labels[labels == 1] = 0.99999997
    labels[labels == 4] = 3.9999998
    scan, seg = save(tmp_path / "t1.nii.gz", brain()), save(tmp_path / "seg.nii.gz", labels)
    case = load_case(files(seg, t1n=scan))
    assert case.reference is not None
    assert int((case.reference == 3).sum()) == 2
    assert "seg.nii.gz: labels rounded to whole numbers" in case.notes[0]


def test_sform_and_qform_that_disagree_are_said(tmp_path: Path) -> None:
    image = nib.Nifti1Image(brain(), affine_of())
    other = affine_of()
    other[0, 3] += 5
    image.set_sform(affine_of(), 1)
    image.set_qform(other, 1)
    nib.save(image, tmp_path / "a.nii.gz")
    case = load_case(files(t1n=tmp_path / "a.nii.gz"))
    assert case.notes == ("a.nii.gz: sform and qform disagree by 5.0 mm; the sform is used",)
    np.testing.assert_allclose(case.native.affine, affine_of())


def test_a_header_without_orientation_is_said(tmp_path: Path) -> None:
    image = nib.Nifti1Image(brain(), None)
    nib.save(image, tmp_path / "a.nii.gz")
    assert "does not say where left and right are" in load_case(files(t1n=tmp_path / "a.nii.gz")).notes[0]


# ---------------------------------------------------------------- bad files


def test_truncated_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.nii.gz", brain()).read_bytes()
    bad = {
        "empty.nii.gz": (b"", "is empty"),
        "cut.nii.gz": (whole[: len(whole) // 2], "cannot be read, truncated"),
        "short.nii.gz": (whole[:20], "cannot be read, truncated"),
        "tail.nii.gz": (whole[:-6], "cannot be read, truncated"),
        "text.nii.gz": (b"patient 7, see folder 8", "is not a NIfTI file, whatever its name says"),
        "text.nii": (b"patient 7, see folder 8" * 100, "is not a NIfTI file"),
        "zip.nii.gz": (gzip.compress(b"hello" * 500), "is not a NIfTI file"),
        "cut.nii": (gzip.decompress(whole)[:-100], "more than the file holds"),
        "text.mha": (b"patient 7, see folder 8" * 100, "is not a MetaImage file, whatever its name says"),
    }
    for name, (content, message) in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: .*{message}") as caught:
            load_case(files(t1n=tmp_path / name))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"gone\.nii\.gz: cannot be read.*No such file"):
        load_case(files(t1n=tmp_path / "gone.nii.gz"))


def test_a_wrong_checksum_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", brain())
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.nii\.gz: cannot be read.*CRC"):
        load_case(files(t1n=path))


def test_a_truncated_mha_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(brain()), tmp_path / "a.mha")
    content = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(content[:-500])
    with pytest.raises(DataError, match=r"a\.mha: "):
        load_case(files(t1n=tmp_path / "a.mha"))


@pytest.mark.parametrize("shape", [(30000, 30000, 30000), (-5, 10, 11), (0, 10, 11), (9, 10, 1)])
def test_impossible_dimensions_are_refused_before_memory_is_taken(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    path = edit_header(save(tmp_path / "a.nii", brain()), lambda header: header["dim"].__setitem__(slice(1, 4), shape))
    with pytest.raises(DataError, match=r"a\.nii: (its header claims|has dimensions)"):
        load_case(files(t1n=path))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=r"b\.nii\.gz: (its header claims|has dimensions)"):
        load_case(files(t1n=tmp_path / "b.nii.gz"))


def test_a_large_header_on_a_large_enough_file_is_refused_too(tmp_path: Path) -> None:
    """A compressed run of zeros could really hold what the header claims."""
    path = edit_header(
        save(tmp_path / "a.nii", brain()), lambda header: header["dim"].__setitem__(slice(1, 4), (800, 800, 800))
    )
    content = path.read_bytes() + b"\0" * 2**22
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content, compresslevel=0))
    with pytest.raises(DataError, match=r"more than 134217728"):
        load_case(files(t1n=tmp_path / "b.nii.gz"))


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, np.nan), (np.inf, 1.0, 1.0)])
def test_impossible_spacings_are_refused(tmp_path: Path, spacing: tuple[float, float, float]) -> None:
    path = edit_header(
        save(tmp_path / "a.nii", brain()), lambda header: header["pixdim"].__setitem__(slice(1, 4), spacing)
    )
    with pytest.raises(GeometryError, match=r"a\.nii: spacing \(.*\) mm in the header; positive numbers"):
        load_case(files(t1n=path))


def test_affines_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    sheared = affine_of()
    sheared[0, 1] = 0.2
    image = nib.Nifti1Image(brain(), sheared)
    nib.save(image, tmp_path / "sheared.nii")
    with pytest.raises(GeometryError, match=r"sheared\.nii: its voxel axes are not at right angles"):
        load_case(files(t1n=tmp_path / "sheared.nii"))
    flat = edit_header(save(tmp_path / "flat.nii", brain()), lambda header: header["srow_x"].fill(0))
    with pytest.raises(GeometryError, match=r"flat\.nii: spacing \(0, 1, 1\) mm; between"):
        load_case(files(t1n=flat))
    lost = edit_header(save(tmp_path / "lost.nii", brain()), lambda header: header["srow_x"].fill(np.nan))
    with pytest.raises(GeometryError, match=r"lost\.nii: its affine has NaN"):
        load_case(files(t1n=lost))
    metres = edit_header(save(tmp_path / "m.nii", brain()), lambda header: header.__setitem__("xyzt_units", 1))
    with pytest.raises(GeometryError, match=r"m\.nii: its header counts in metres"):
        load_case(files(t1n=metres))


def test_colours_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    colours = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    for name, voxels in {"rgb.nii.gz": colours, "complex.nii.gz": brain().astype(np.complex64)}.items():
        with pytest.raises(DataError, match=rf"{name}: has voxels of type .*grey values are expected"):
            load_case(files(t1n=save(tmp_path / name, voxels)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinite_voxels_are_refused(tmp_path: Path, bad: float) -> None:
    voxels = brain().astype(np.float32)
    voxels[4, 4, 4:6] = bad
    with pytest.raises(DataError, match=r"a\.nii\.gz: 2 voxels are NaN or infinite"):
        load_case(files(t1n=save(tmp_path / "a.nii.gz", voxels)))


def test_numbers_too_large_for_single_precision_are_refused(tmp_path: Path) -> None:
    voxels = brain().astype(np.float64)
    voxels[4, 4, 4] = 1e300
    with pytest.raises(DataError, match="1 voxels are NaN or infinite"):
        load_case(files(t1n=save(tmp_path / "a.nii.gz", voxels)))


@pytest.mark.parametrize(("value", "words"), [(0, "all voxels are 0"), (7, "all voxels have the value 7")])
def test_a_constant_volume_is_refused(tmp_path: Path, value: int, words: str) -> None:
    with pytest.raises(DataError, match=rf"a\.nii\.gz: {words}; leave the file out"):
        load_case(files(t1n=save(tmp_path / "a.nii.gz", np.full(SHAPE, value, np.int16))))


# ---------------------------------------------------------------- skull and background


def test_a_scan_with_skull_is_refused(tmp_path: Path) -> None:
    head = np.random.default_rng(0).integers(0, 500, SHAPE).astype(np.int16)
    with pytest.raises(DataError, match=r"a\.nii\.gz: does not look skull-stripped.*remove the skull first"):
        load_case(files(t1n=save(tmp_path / "a.nii.gz", head)))


def test_a_head_in_blanked_air_is_more_than_a_brain() -> None:
    head = np.zeros((60, 60, 60), np.float32)
    head[5:55, 5:55, 5:55] = 1
    assert looks_stripped(head, voxel_ml=0.012)
    assert not looks_stripped(head, voxel_ml=0.03)


def test_a_background_other_than_zero_is_refused(tmp_path: Path) -> None:
    scan = brain().astype(np.float32)
    normalised = (scan - scan.mean()) / scan.std()
    with pytest.raises(DataError, match=r"a\.nii\.gz: its background is -0\.\d+, not 0; was it normalised already"):
        load_case(files(t1n=save(tmp_path / "a.nii.gz", normalised)))


# ---------------------------------------------------------------- scans that do not fit together


def test_shape_spacing_orientation_and_place_must_agree(tmp_path: Path) -> None:
    t1c = save(tmp_path / "t1c.nii.gz", brain())
    turned = affine_of()
    turned[0] *= -1
    moved = affine_of()
    moved[0, 3] += 0.5
    tilted = affine_of()
    tilted[:3, :3] = np.array([[0.995, -0.0998749, 0], [0.0998749, 0.995, 0], [0, 0, 1]]) @ tilted[:3, :3]
    bad = {
        r"t2f\.nii\.gz: shape \(9, 10, 12\) differs from \(9, 10, 11\) of t1c\.nii\.gz": (
            brain(shape=(9, 10, 12)),
            affine_of(),
        ),
        r"t2f\.nii\.gz: spacing \(1, 1, 5\.5\) mm differs from \(1, 1, 1\) mm of t1c\.nii\.gz; register": (
            brain(),
            affine_of((1, 1, 5.5)),
        ),
        r"t2f\.nii\.gz: orientation RPS differs from LPS of t1c\.nii\.gz": (brain(), turned),
        r"t2f\.nii\.gz: lies up to 0\.5 mm away from t1c\.nii\.gz": (brain(), moved),
        r"t2f\.nii\.gz: lies up to \d": (brain(), tilted),
    }
    for message, (voxels, affine) in bad.items():
        t2f = save(tmp_path / "t2f.nii.gz", voxels, affine)
        with pytest.raises(GeometryError, match=message):
            load_case(files(t1c=t1c, t2f=t2f))


def test_a_reference_must_lie_on_the_grid_of_its_scans(tmp_path: Path) -> None:
    scan = save(tmp_path / "t1.nii.gz", brain())
    seg = save(tmp_path / "seg.nii.gz", tumour(), affine_of((1, 1, 2)))
    with pytest.raises(GeometryError, match=r"seg\.nii\.gz: spacing \(1, 1, 2\) mm differs"):
        load_case(files(seg, t1n=scan))


def test_a_tenth_of_a_millimetre_is_tolerated(tmp_path: Path) -> None:
    near = affine_of()
    near[0, 3] += 0.09
    one, two = save(tmp_path / "1.nii.gz", brain()), save(tmp_path / "2.nii.gz", brain(), near)
    assert len(load_case(files(t1n=one, t1c=two)).images) == 2


# ---------------------------------------------------------------- writing


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return load_case(files(save(tmp_path / "seg.nii.gz", tumour()), t1n=save(tmp_path / "t1.nii.gz", brain())))


@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (2, 1), (1, 4)])
def test_qform_and_sform_are_kept_to_the_bit(tmp_path: Path, codes: tuple[int, int]) -> None:
    image = nib.Nifti1Image(brain(), None)
    odd = affine_of((1.0000001, 0.9375, 1.2))
    image.set_qform(odd, codes[0])
    other = np.diag([-1.0, 1.0, 1.0, 1.0]) @ odd  # the other handedness, which the header keeps in pixdim[0]
    other[2, 3] += 3.0
    image.set_sform(other, codes[1])
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "scan.nii.gz")
    case = load_case(files(t1n=tmp_path / "scan.nii.gz"))
    write_mask(tmp_path / "out.nii.gz", np.zeros(SHAPE, np.uint8), case, "brats2023", like=tmp_path / "scan.nii.gz")
    header, original = nib.load(tmp_path / "out.nii.gz").header, nib.load(tmp_path / "scan.nii.gz").header
    names = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_z", "srow_x", "srow_z")
    for name in (*names, "xyzt_units"):
        np.testing.assert_array_equal(header[name], original[name])
    np.testing.assert_array_equal(header["pixdim"][:4], original["pixdim"][:4])
    assert header.get_data_dtype() == np.uint8
    assert header["descrip"].item() == b"lacunet: labels brats2023"


def test_without_a_scan_to_follow_both_forms_are_the_affine(case: Case, tmp_path: Path) -> None:
    assert case.reference is not None
    write_mask(tmp_path / "new" / "out.nii", case.reference, case, "brats2023")
    image = nib.load(tmp_path / "new" / "out.nii")
    np.testing.assert_allclose(image.get_qform(), case.native.affine)
    np.testing.assert_allclose(image.get_sform(), case.native.affine)
    assert set(np.unique(image.dataobj)) == {0, 1, 2, 3}


def test_the_affine_of_a_simpleitk_image_reverses_x_and_y() -> None:
    image = sitk.Image(2, 3, 4, sitk.sitkUInt8)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((10.0, 20.0, 30.0))
    expected = [[-1, 0, 0, -10], [0, -2, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]
    np.testing.assert_array_equal(affine_of_itk(image), expected)


def test_an_image_says_twice_where_it_lies_and_in_which_unit() -> None:
    affine = np.array([[-2.0, 0, 0, 10], [0, 0, 3, 20], [0, 1, 0, 30], [0, 0, 0, 1]])
    image = nifti_image(np.zeros((2, 3, 4), np.float32), affine)
    header = image.header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.get_qform(), affine, atol=1e-6)
    np.testing.assert_array_equal(image.get_sform(), affine)
    set_forms(image, np.eye(4))
    np.testing.assert_array_equal(image.affine, np.eye(4))


def test_probabilities_are_written_as_floats(case: Case, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(case.grid.shape)
    write_image(tmp_path / "p.nii.gz", values, case, "probability of wt")
    written = nib.load(tmp_path / "p.nii.gz")
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32)[::-1, ::-1], values.astype(np.float32))


def test_what_cannot_be_written_leaves_nothing(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert case.reference is not None
    with pytest.raises(OutputError, match=r"out\.mha: results are NIfTI"):
        write_mask(tmp_path / "out.mha", case.reference, case, "brats2023")
    with pytest.raises(UsageError, match="unknown label convention"):
        write_mask(tmp_path / "out.nii.gz", case.reference, case, "brats1999")
    (tmp_path / "folder.nii.gz").mkdir()
    with pytest.raises(OutputError, match=r"folder\.nii\.gz: cannot be written"):
        write_mask(tmp_path / "folder.nii.gz", case.reference, case, "brats2023")

    def disk_full(image: nib.Nifti1Image, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(nib, "save", disk_full)
    with pytest.raises(OutputError, match=r"out\.nii\.gz: cannot be written \(No space left on device\)"):
        write_mask(tmp_path / "out.nii.gz", case.reference, case, "brats2023")
    assert sorted(tmp_path.iterdir()) == before


# ---------------------------------------------------------------- the real cohort


@pytest.mark.skipif(not (SHARED / "data" / "raw").is_dir(), reason="the real cases are not here")
def test_refuses_real_scans_with_skull() -> None:
    scans = sorted((SHARED / "data" / "raw").glob("*/*.nii.gz"))
    assert len(scans) == 4
    for scan in scans:
        with pytest.raises(DataError, match="does not look skull-stripped"):
            load_case(files(t1n=scan))


@pytest.mark.skipif(not (SHARED / "data" / "glioma").is_dir(), reason="the real cases are not here")
@pytest.mark.parametrize("name", ["BraTS-GLI-00000-000", "Brats18_2013_20_1", "BraTS2021_01484"])
def test_a_real_reference_comes_back_exactly(tmp_path: Path, name: str) -> None:
    (found,) = with_conventions(find_cases(SHARED / "data" / "glioma" / name))
    case = load_case(found)
    assert case.notes == ()
    assert case.reference is not None
    assert found.reference is not None
    assert found.convention is not None
    write_mask(tmp_path / "out.nii.gz", case.reference, case, found.convention, like=found.images["t1n"].path)
    written, original = nib.load(tmp_path / "out.nii.gz"), nib.load(found.reference.path)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), np.asanyarray(original.dataobj))
    np.testing.assert_array_equal(written.affine, original.affine)


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data" / "glioma").is_dir(), reason="the real cases are not here")
def test_accepts_every_real_case() -> None:
    for found in with_conventions(find_cases(SHARED / "data" / "glioma")):
        assert load_case(found).notes == ()
