"""Masks back on the scans' own grids: by hand, by round trip, and with every header kept."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from lacunet.case import Case, Grid
from lacunet.data.nifti import to_ras
from lacunet.data.phantom.phantom import make_phantom
from lacunet.errors import DataError, OutputError
from lacunet.evaluation.metrics import dice
from lacunet.intake.align.rigid import Rigid, centre_of
from lacunet.segmentation import resample as native
from lacunet.segmentation.resample import (
    averaged,
    labels_of_regions,
    maps_of,
    onto_scan,
    regions_of_labels,
    write_native_mask,
)
from lacunet.task import GLIOMA


@pytest.fixture(scope="module")
def patient() -> Case:
    return make_phantom(seed=3, spacing=1.0)


def upright(shape: tuple[int, int, int], spacing: tuple[float, float, float] = (1, 1, 1)) -> Grid:
    return Grid(shape, np.diag([*spacing, 1.0]))


def test_a_thick_voxel_has_the_mean_over_its_depth() -> None:
    fine = upright((2, 2, 10))
    values = np.zeros(fine.shape, np.float32)
    values[:, :, 2:5] = 1
    thick = Grid((2, 2, 2), np.diag([1.0, 1, 5, 1]))
    thick.affine[2, 3] = 2.0
    np.testing.assert_allclose(averaged(values, fine, thick, Rigid.identity())[0, 0], [0.6, 0.0], atol=1e-6)


@pytest.mark.parametrize(("filled", "label"), [(3, 2), (2, 0)])
def test_a_region_has_a_thick_voxel_when_it_fills_half_of_it(filled: int, label: int) -> None:
    fine, thick = upright((2, 2, 5)), Grid((2, 2, 1), np.diag([1.0, 1, 5, 1]))
    thick.affine[2, 3] = 2.0
    labels = np.zeros(fine.shape, np.uint8)
    labels[:, :, :filled] = 2
    found = onto_scan(regions_of_labels(labels, GLIOMA), fine, thick, Rigid.identity(), GLIOMA)
    assert (found == label).all()


def test_labels_survive_the_way_through_regions() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (6, 7, 8)).astype(np.uint8)
    np.testing.assert_array_equal(labels_of_regions(regions_of_labels(labels, GLIOMA), GLIOMA), labels)
    grid = upright(labels.shape, (1, 1.5, 2))
    np.testing.assert_array_equal(
        onto_scan(regions_of_labels(labels, GLIOMA), grid, grid, Rigid.identity(), GLIOMA), labels
    )


def test_probabilities_are_averaged_before_they_are_cut_at_a_half() -> None:
    fine, thick = upright((3, 3, 4)), Grid((3, 3, 1), np.diag([1.0, 1, 4, 1]))
    thick.affine[2, 3] = 1.5
    for values, label in (([1.0, 1, 0.1, 0.1], 2), ([0.6, 0.6, 0.1, 0.1], 0)):
        wt = np.broadcast_to(np.array(values, np.float32), fine.shape)
        regions = {region: wt if region == "wt" else np.zeros(fine.shape, np.float32) for region in GLIOMA.regions}
        assert (onto_scan(regions, fine, thick, Rigid.identity(), GLIOMA) == label).all()


def test_maps_say_what_the_labels_say_and_are_probabilities_where_both_agree() -> None:
    chance = np.random.default_rng(1)
    maps = {region: chance.random((5, 6, 7), np.float32) for region in GLIOMA.regions}  # regions are not nested
    labels = labels_of_regions(maps, GLIOMA)
    labels[2:] = 0  # a rule removed half of it
    labels[0, 0, 0] = 3  # and added a voxel
    made = maps_of(labels, maps, GLIOMA)
    np.testing.assert_array_equal(labels_of_regions(made, GLIOMA), labels)
    wt = (labels > 0) == (maps["wt"] >= 0.5)
    np.testing.assert_array_equal(made["wt"][wt], maps["wt"][wt])
    np.testing.assert_array_equal(made["wt"][~wt], (labels > 0)[~wt])


def test_a_removed_piece_does_not_come_back_with_its_neighbours_help() -> None:
    fine, thick = upright((2, 2, 4)), Grid((2, 2, 1), np.diag([1.0, 1, 4, 1]))
    thick.affine[2, 3] = 1.5
    sure = np.broadcast_to(np.array([0.49, 0.9, 0.9, 0.49], np.float32), fine.shape)
    maps = {region: sure if region == "wt" else np.zeros(fine.shape, np.float32) for region in GLIOMA.regions}
    nothing = np.zeros(fine.shape, np.uint8)
    assert (onto_scan(maps, fine, thick, Rigid.identity(), GLIOMA) == 2).all()
    assert not onto_scan(maps_of(nothing, maps, GLIOMA), fine, thick, Rigid.identity(), GLIOMA).any()


def test_a_voxel_is_looked_at_in_places_enough_and_not_in_many_more() -> None:
    assert native._parts((0.9, 0.9, 5.5), 1.0, 3) == [3, 3, 17]
    assert native._parts((1.0, 1.0, 1.0), 1.0, 3) == [3, 3, 3]
    assert native._parts((4.0, 4.0, 4.0), 1.0, 3) == [6, 6, 7]
    assert native._parts((9.0, 9.0, 9.0), 1.0, 3) == [9, 9, 9]
    assert native._parts((0.6, 0.6, 3.0), 1.0, 1) == [1, 1, 3]


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 5.5), (0.6, 0.6, 3.0)])
def test_in_pieces_and_near_enough_is_the_same_as_everywhere_at_once(monkeypatch, spacing) -> None:
    grid, scan = upright((24, 26, 22)), upright((12, 13, 5), spacing)
    smooth = ndimage.gaussian_filter(np.random.default_rng(2).random(grid.shape), 2.0)
    values = np.clip((smooth - smooth.mean()) * 12 + 0.4, 0.01, 0.99).astype(np.float32)
    motion = Rigid.about((5, 5, 5), (5, 10, 15), (1, 2, 1))
    whole = averaged(values, grid, scan, motion)
    np.testing.assert_array_equal(averaged(values, grid, scan, motion, 0.49) >= 0.5, whole >= 0.5)
    assert 0.05 < (whole >= 0.5).mean() < 0.95
    monkeypatch.setattr(native, "AT_ONCE", 1)
    np.testing.assert_allclose(averaged(values, grid, scan, motion), whole, atol=1e-6)


def scan_file(path: Path, grid: Grid) -> Path:
    image = nib.Nifti1Image(np.ones(grid.shape, np.int16), grid.affine)
    image.set_qform(grid.affine, code=1)
    image.set_sform(grid.affine, code=2)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


def thick_grid(motion: Rigid, case: Case, spacing: tuple[float, float, float], signs=(-1, 1, 1)) -> Grid:
    """A scan's grid around the case, axes turned, as the scanner placed it after the head had moved."""
    shape = tuple(int(np.ceil(size / step)) + 2 for size, step in zip(case.grid.shape, spacing, strict=True))
    affine = np.diag([*(np.array(spacing) * signs), 1.0])
    grid = Grid(shape, affine)
    affine[:3, 3] += centre_of(case.grid) - centre_of(grid)
    return Grid(shape, motion.matrix @ affine)


@pytest.mark.parametrize("spacing", [(0.9, 0.9, 5.5), (5.5, 1, 1), (1, 1, 1)])
def test_a_mask_comes_back_to_its_scan_with_at_most_two_percent_lost(patient, tmp_path, spacing) -> None:
    """Scan -> case, turned by more than 20 degrees -> scan, against the mask as it was on the scan."""
    scan_to_case = Rigid.about((0, 0, 0), (15, -12, 14), (3, -2, 7.4)).after(
        Rigid.about((0, 0, 0), (9, 8, 9), (5, 6, 7))
    )
    scan = thick_grid(scan_to_case.inverse, patient, spacing)
    labels = onto_scan(regions_of_labels(patient.reference, GLIOMA), patient.grid, scan, scan_to_case, GLIOMA)
    case = Grid((192, 240, 192), patient.grid.affine - np.array([[0, 0, 0, 9.3], [0, 0, 0, 16], [0, 0, 0, 9], [0] * 4]))
    there = {
        region: averaged(values, scan, case, scan_to_case.inverse)
        for region, values in regions_of_labels(labels, GLIOMA).items()
    }
    path = scan_file(tmp_path / "scan.nii.gz", scan)
    back = write_native_mask(tmp_path / "mask.nii.gz", there, case, path, scan_to_case, "brats2023", GLIOMA)
    cut = onto_scan(regions_of_labels(labels_of_regions(there, GLIOMA), GLIOMA), case, scan, scan_to_case, GLIOMA)
    for region, members in GLIOMA.regions.items():
        assert dice(np.isin(back, members), to_ras(np.isin(labels, members), scan)) > 0.98, region
        assert dice(np.isin(cut, members), np.isin(labels, members)) > 0.95, region


def test_the_mask_has_the_scans_own_shape_and_place_to_the_bit(patient, tmp_path) -> None:
    scan = thick_grid(Rigid.about((0, 0, 0), (3, 4, 20), (1, 2, 3)), patient, (2.0, 2.0, 5.5), signs=(-1, -1, 1))
    path = scan_file(tmp_path / "scan.nii.gz", scan)
    labels = write_native_mask(
        tmp_path / "mask.nii.gz",
        regions_of_labels(patient.reference, GLIOMA),
        patient.grid,
        path,
        Rigid.about((0, 0, 0), (3, 4, 20), (1, 2, 3)).inverse,
        "brats2018",
        GLIOMA,
    )
    written, original = nib.load(tmp_path / "mask.nii.gz"), nib.load(path)
    assert written.shape == original.shape
    np.testing.assert_array_equal(written.affine, original.affine)
    for name in ("qform_code", "sform_code", "quatern_b", "srow_x", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(written.header[name], original.header[name])
    on_disk = to_ras(np.asanyarray(written.dataobj), scan)
    np.testing.assert_array_equal(on_disk == 4, labels == 3)
    volume = np.count_nonzero(labels) * scan.voxel_ml
    assert volume == pytest.approx(np.count_nonzero(patient.reference) * patient.grid.voxel_ml, rel=0.05)


def test_a_scan_that_is_gone_or_a_wrong_suffix_is_said_plainly(patient, tmp_path) -> None:
    regions = regions_of_labels(patient.reference, GLIOMA)
    gone = tmp_path / "gone.nii.gz"
    with pytest.raises(DataError, match="no longer exists"):
        write_native_mask(tmp_path / "m.nii.gz", regions, patient.grid, gone, Rigid.identity(), "brats2023", GLIOMA)
    path = scan_file(tmp_path / "scan.nii.gz", upright((9, 9, 9), (5, 5, 5)))
    with pytest.raises(OutputError, match=r"end the name in \.nii\.gz"):
        write_native_mask(tmp_path / "m.mha", regions, patient.grid, path, Rigid.identity(), "brats2023", GLIOMA)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scan.nii.gz"]
