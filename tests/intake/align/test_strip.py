"""Which stripper is taken, what is said where none is, and what is made of its answer."""

import sys
from types import ModuleType

import numpy as np
import pytest

from lacunet.case import Grid, ImageFile
from lacunet.data.volume import read_image
from lacunet.errors import DataError
from lacunet.intake.align import strip as module
from lacunet.intake.align.rigid import Rigid
from lacunet.intake.align.strip import (
    choose_stripper,
    consensus,
    installed,
    one_piece,
    sequences_for,
    strip,
    upright_grid,
)
from small import SHARED

RAW = SHARED / "data/raw/TCGA-FG-6692/T1_AX_POST_GAD.nii.gz"


@pytest.fixture
def having(monkeypatch):
    """Pretend that only these strippers are installed."""

    def pretend(*names: str) -> None:
        monkeypatch.setattr(module, "installed", lambda stripper: stripper in names)

    return pretend


@pytest.mark.parametrize(
    ("there", "acquired", "taken"),
    [
        (["deepbet", "hd-bet"], ["t1c", "t2f"], "deepbet"),
        (["deepbet", "hd-bet"], ["t2w", "t2f"], "hd-bet"),
        (["hd-bet"], ["t1n"], "hd-bet"),
    ],
)
def test_the_quick_stripper_is_taken_where_it_was_made_for_the_sequence(having, there, acquired, taken) -> None:
    having(*there)
    assert choose_stripper(acquired) == taken


def test_a_missing_stripper_is_named_with_the_way_to_install_it(having) -> None:
    having()
    with pytest.raises(DataError, match=r"lacunet\[strip\]' or pip install 'lacunet\[strip-any\]'.*already need none"):
        choose_stripper(["t1c", "t2f"])
    having("deepbet")
    with pytest.raises(DataError, match=r"scans with skull \(t2f, t2w\).*lacunet\[strip-any\]"):
        choose_stripper(["t2w", "t2f"])
    with pytest.raises(DataError, match="deepbet was made for t1c and t1n, and the case has t2f; choose hd-bet"):
        choose_stripper(["t2f"], "deepbet")


def test_the_quick_stripper_looks_at_two_scans_and_the_slow_one_at_one() -> None:
    assert sequences_for("deepbet", ["t1n", "t1c", "t2w"]) == ("t1c", "t1n")
    assert sequences_for("hd-bet", ["t2w", "t2f"]) == ("t2f",)


def test_consensus_is_what_half_of_the_masks_say_in_one_piece_without_holes() -> None:
    one, two = np.zeros((9, 9, 9), np.float32), np.zeros((9, 9, 9), np.float32)
    one[1:6, 1:6, 1:6] = 1
    one[3, 3, 3] = 0
    two[3:6, 1:6, 1:8] = 1
    two[8, 8, 8] = 1
    expected = (one + two) > 0
    expected[3, 3, 3], expected[8, 8, 8] = True, False
    np.testing.assert_array_equal(consensus([one, two]), expected)
    assert not one_piece(np.zeros((3, 3, 3), bool)).any()


def test_the_upright_grid_holds_every_corner_of_an_oblique_one() -> None:
    affine = Rigid.about((0, 0, 0), (20, 10, -30), (5, 6, 7)).matrix @ np.diag([0.9, 0.9, 5.5, 1])
    grid = Grid((30, 40, 10), affine)
    upright = upright_grid(grid, 1.5)
    assert upright.spacing == (1.5, 1.5, 1.5)
    ends = np.array([[x, y, z, 1] for x in (0, 29) for y in (0, 39) for z in (0, 9)], float)
    voxels = (ends @ affine.T @ np.linalg.inv(upright.affine).T)[:, :3]
    assert (voxels > -1e-6).all()
    assert (voxels < np.array(upright.shape) - 1 + 1e-6).all()


def test_deepbet_gets_an_upright_millimetre_image_and_its_word_is_silenced(monkeypatch, capsys) -> None:
    seen = []

    class BrainExtraction:
        def __init__(self, no_gpu: bool) -> None:
            assert no_gpu

        def run_model(self, image: np.ndarray) -> np.ndarray:
            sys.stdout.write("chatter")
            seen.append(image.shape)
            return (image > 50).astype(np.float32)

    fake = ModuleType("deepbet")
    fake.BrainExtraction = BrainExtraction  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deepbet", fake)
    voxels = np.zeros((20, 20, 8), np.float32)
    voxels[5:15, 5:15, 2:6] = 100
    brain, grid = strip(voxels, Grid(voxels.shape, np.diag([2.0, 2, 5, 1])), "deepbet")
    assert seen == [(39, 39, 36)]
    assert grid.spacing == (1.0, 1.0, 1.0)
    assert brain.sum() == pytest.approx(20 * 20 * 20, rel=0.1)
    assert capsys.readouterr().out == ""


def test_a_stripper_that_finds_nothing_is_said_to_have_found_nothing(monkeypatch) -> None:
    class BrainExtraction:
        def __init__(self, no_gpu: bool) -> None:
            pass

        def run_model(self, image: np.ndarray) -> np.ndarray:
            raise AssertionError("Not enough foreground to calculate bounding box")

    fake = ModuleType("deepbet")
    fake.BrainExtraction = BrainExtraction  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deepbet", fake)
    with pytest.raises(DataError, match="deepbet found no brain"):
        strip(np.ones((9, 9, 9), np.float32), Grid((9, 9, 9), np.eye(4)), "deepbet")


@pytest.mark.slow
@pytest.mark.parametrize("stripper", ["deepbet", "hd-bet"])
def test_the_strippers_themselves_find_the_brain_of_a_raw_scan(stripper: str) -> None:
    """A real head in 5.5 mm slices; the two packages agree where they are both installed."""
    if not installed(stripper) or not RAW.is_file():
        pytest.skip("needs the package and the raw scans")
    voxels, grid, _ = read_image(ImageFile(RAW))
    brain, upright = strip(voxels, grid, stripper)
    found = one_piece(brain >= 0.5)
    assert upright.voxel_ml * np.count_nonzero(found) == pytest.approx(1610, rel=0.08)
    middle = np.argwhere(found).mean(0) @ upright.affine[:3, :3].T + upright.affine[:3, 3]
    head = np.argwhere(voxels > np.quantile(voxels, 0.8)).mean(0) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    assert np.linalg.norm(middle - head) < 40
