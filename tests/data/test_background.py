"""The background of a stripped scan: what is recognised, what becomes exactly 0, and what is refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.case import CaseFiles, Grid, ImageFile
from lacunet.data.background import background_of, looks_stripped, on_empty_background, signal_of
from lacunet.data.check import check
from lacunet.data.nifti import load_case
from lacunet.errors import DataError, UnpreparedError
from lacunet.intake.align.source import read_source
from lacunet.intake.identify.features import standard
from lacunet.task import GLIOMA

SHAPE = (60, 66, 56)
GRID = Grid(SHAPE, np.diag([3.0, 3.0, 3.0, 1.0]))


def brain_scan(low: int = 100, high: int = 1500) -> np.ndarray:
    """A ball of 1.3 litres on a background of 0; its values are whole numbers."""
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside = ((x - 30) / 22) ** 2 + ((y - 33) / 26) ** 2 + ((z - 28) / 20) ** 2 < 1
    values = np.random.default_rng(0).integers(low, high, SHAPE)
    return np.where(inside, values, 0).astype(np.float32)


def noise(size: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, SHAPE).astype(np.float32)


def around(scan: np.ndarray, background: np.ndarray | float) -> np.ndarray:
    return np.where(scan == 0, background, scan).astype(np.float32)


NEAR_ZERO = {
    "noise of 1e-6": lambda scan: around(scan, noise(1e-6)),
    "noise of 1e-3, a millionth of the brain": lambda scan: around(scan, noise(1e-3)),
    "noise of 2.5e-3": lambda scan: around(scan, noise(2.5e-3)),
    "noise in a third of it": lambda scan: around(scan, noise(1e-6) * (noise(1, 2) > 0.43)),
    "noise in two thirds of it": lambda scan: around(scan, noise(1e-6) * (noise(1, 2) > -0.43)),
    "noise near the brain only": lambda scan: np.where(
        (scan == 0) & (np.indices(SHAPE).min(0) > 4), noise(1e-5), scan
    ).astype(np.float32),
    "a constant of 1e-8": lambda scan: around(scan, 1e-8),
    "a constant of -1e-6": lambda scan: around(scan, -1e-6),
    "positive noise": lambda scan: around(scan, np.abs(noise(1e-5))),
}
CONSTANTS = {-1.0: "-1", -1024.0: "-1024", -0.001: None, -32768.0: "-32768", 1.0: "1", 50.0: "50", 99.0: "99"}


@pytest.mark.parametrize("what", NEAR_ZERO)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
def test_a_background_near_zero_becomes_zero_and_the_brain_stays(what: str, scale: float) -> None:
    scan = brain_scan()
    voxels = (NEAR_ZERO[what](scan) * np.float32(scale)).astype(np.float32)
    before = voxels.copy()
    assert looks_stripped(voxels, GRID.voxel_ml)
    cleaned, notes = on_empty_background("a.nii", voxels, GRID)
    np.testing.assert_array_equal(cleaned != 0, scan != 0)
    np.testing.assert_array_equal(cleaned[scan != 0], before[scan != 0])
    np.testing.assert_array_equal(voxels, before)
    assert notes == ["a.nii: its background is not exactly 0; it was set to 0"]


@pytest.mark.parametrize("value", CONSTANTS)
def test_a_constant_background_below_the_brain_becomes_zero(value: float) -> None:
    scan = brain_scan()
    cleaned, notes = on_empty_background("a.nii", around(scan, value), GRID)
    np.testing.assert_array_equal(cleaned, scan)
    found = f"{CONSTANTS[value]}, not 0" if CONSTANTS[value] else "not exactly 0"
    assert notes == [f"a.nii: its background is {found}; it was set to 0"]


def test_a_constant_background_may_be_rounded() -> None:
    scan = brain_scan()
    cleaned, _ = on_empty_background("a.nii", around(scan, -1024 + noise(1e-3)), GRID)
    np.testing.assert_array_equal(cleaned, scan)


def test_an_exact_background_is_left_alone() -> None:
    """Also where the brain has the smallest grey values that 16 bits can hold beside the largest."""
    scan = brain_scan(1, 65535)
    cleaned, notes = on_empty_background("a.nii", scan, GRID)
    assert cleaned is scan
    assert notes == []


def test_one_hot_voxel_does_not_hide_the_brain() -> None:
    scan = brain_scan()
    scan[30, 33, 28] = 1e9
    assert on_empty_background("a.nii", scan, GRID)[0] is scan


def test_a_few_zeros_in_the_brain_are_as_in_any_stripped_scan() -> None:
    scan = brain_scan()
    voxels = around(scan, -1)
    voxels[30, 33, 26:30] = 0
    cleaned, _ = on_empty_background("a.nii", voxels, GRID)
    assert np.count_nonzero(cleaned) == np.count_nonzero(scan) - 4


DOUBTFUL = {
    "normalised to mean 0": lambda scan: (scan - scan.mean()) / scan.std(),
    "normalised to mean 0, in the brain": lambda scan: around((scan - 700) / 400 * (scan != 0), -5),
    "from -1 to 1": lambda scan: scan / scan.max() * 2 - 1,
    "brighter than some of the brain": lambda scan: around(scan, 700),
    "white": lambda scan: around(scan, 4095),
    "below 0, where a part of the rest is 0": lambda scan: np.where(
        (scan == 0) & (np.indices(SHAPE)[0] > 2) & (np.indices(SHAPE)[1] % 9 == 4), 0, around(scan, -1)
    ),
}


@pytest.mark.parametrize("what", DOUBTFUL)
def test_a_doubtful_background_is_refused(what: str) -> None:
    voxels = DOUBTFUL[what](brain_scan()).astype(np.float32)
    with pytest.raises(DataError, match=r"a\.nii: its background is .*, not 0; was it normalised already\?"):
        on_empty_background("a.nii", voxels, GRID)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
def test_noise_as_around_a_head_is_no_background(share: float) -> None:
    head = around(brain_scan(), np.abs(noise(1500 * share)))
    assert background_of(head).share < 0.5
    with pytest.raises(UnpreparedError, match="does not look skull-stripped"):
        on_empty_background("a.nii", head, GRID)


def test_the_same_voxels_are_signal_everywhere(tmp_path: Path) -> None:
    """A case, its check, import and the recognition of sequences see the brain where it is exactly 0 around it too."""
    scan = brain_scan()
    for name, voxels in {"exact": scan, "noise": around(scan, noise(1e-6)), "constant": around(scan, -1024)}.items():
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"{name}_t1c.nii.gz"
        nib.save(nib.Nifti1Image(voxels, GRID.affine), path)
        case = load_case(CaseFiles(name, name, {"t1c": ImageFile(path)}, None, "plain", None))
        np.testing.assert_array_equal(case.images["t1c"], scan)
        source = read_source("t1c", path)
        assert source.stripped
        np.testing.assert_array_equal(source.voxels, scan)
        assert all(note.startswith("t1c: its background") for note in source.notes)
        assert len(source.notes) == len(case.notes) == (name != "exact")
        np.testing.assert_array_equal(signal_of(voxels, background_of(voxels)), scan != 0)
        np.testing.assert_array_equal(standard(voxels, GRID)[1], standard(scan, GRID)[1])
        (found,) = check(tmp_path / name, GLIOMA).cases
        assert found.problems == ()
        assert found.notes == case.notes


def test_small_values_inside_the_brain_stay_where_the_background_is_exact() -> None:
    """Interpolation may leave a voxel of the brain close to 0."""
    scan = brain_scan()
    scan[30, 33, 28] = 1e-4
    voxels, notes = on_empty_background("t2w", scan, GRID)
    assert voxels is scan
    assert notes == []
