"""How far masks from parts of a subset agree: counted by hand."""

import numpy as np
import pytest

from lacunet.evaluation.agreement import agreement_of, parts_of


def box(*sides: int) -> np.ndarray:
    """A mask that fills so many voxels along each axis."""
    mask = np.zeros((10, 10, 10), bool)
    mask[tuple(slice(side) for side in sides)] = True
    return mask


def test_parts_lack_one_modality():
    assert parts_of(("t1c",)) == []
    assert parts_of(("t1c", "t2f")) == [("t1c",), ("t2f",)]
    assert parts_of(("t1n", "t1c", "t2w")) == [("t1n", "t1c"), ("t1n", "t2w"), ("t1c", "t2w")]


def test_volumes_and_dice_of_each_part_and_their_mean():
    whole = {"wt": box(10, 10, 4), "et": box(0, 0, 0)}
    parts = {"t1c": {"wt": box(10, 10, 2), "et": box(0, 0, 0)}, "t2f": {"wt": box(10, 10, 6), "et": box(1, 1, 1)}}
    found = agreement_of(whole, parts, voxel_ml=0.5)
    assert found.parts["t1c"].volumes_ml == {"wt": 100.0, "et": 0.0}
    assert found.parts["t2f"].volumes_ml == {"wt": 300.0, "et": 0.5}
    assert found.parts["t1c"].dice["wt"] == pytest.approx(2 * 200 / 600)
    assert found.dice("wt") == pytest.approx((2 * 200 / 600 + 2 * 400 / 1000) / 2)
    assert found.dice("et") == 0.5  # both empty agree, one empty does not
    assert found.extremes("wt") == ("t1c", "t2f")
