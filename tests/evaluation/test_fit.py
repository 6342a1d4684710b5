"""How well the mask from each sequence fits the mask from the others."""

import numpy as np
import pytest

from lacunet.evaluation.fit import fits_of, subsets_for_fits

THREE = ("t1n", "t1c", "t2f")


def mask(first: int, last: int) -> np.ndarray:
    """Of ten voxels in a row, those from the first to before the last."""
    row = np.zeros((10, 1, 1), bool)
    row[first:last] = True
    return row


def test_fits_by_hand():
    masks = {
        ("t1n",): mask(8, 10), ("t1c",): mask(0, 4), ("t2f",): mask(0, 6),
        ("t1c", "t2f"): mask(0, 6), ("t1n", "t2f"): mask(0, 8), ("t1n", "t1c"): mask(2, 10),
    }  # fmt: skip
    fits = fits_of(THREE, masks)
    assert fits["t1n"].alone == 0
    assert fits["t1n"].others == pytest.approx((0.8 + 1.0) / 2)
    assert fits["t1n"].score == pytest.approx(-0.9)
    assert fits["t1c"].alone == pytest.approx(2 * 4 / 12)
    assert fits["t1c"].others == pytest.approx((0 + 2 * 6 / 14) / 2)
    assert list(fits) == list(THREE)


def test_where_the_others_find_nothing_it_is_not_known_how_one_fits():
    """FLAIR alone finds something; without it nothing is found."""
    masks = {
        ("t1n",): mask(0, 0), ("t1c",): mask(0, 0), ("t2f",): mask(0, 6),
        ("t1c", "t2f"): mask(0, 2), ("t1n", "t2f"): mask(0, 0), ("t1n", "t1c"): mask(0, 0),
    }  # fmt: skip
    fits = fits_of(THREE, masks)
    assert list(fits) == ["t1n"]
    assert (fits["t1n"].alone, fits["t1n"].others) == (0, pytest.approx((0 + 2 * 2 / 8) / 2))


def test_of_two_sequences_none_is_known_to_be_bad():
    masks = {("t1n",): mask(0, 4), ("t2f",): mask(6, 9)}
    assert fits_of(("t1n", "t2f"), masks) == {}
    assert subsets_for_fits(("t1n", "t2f")) == []
    assert fits_of(("t1n",), masks) == {}


def test_each_alone_and_each_left_out_are_compared():
    assert set(subsets_for_fits(THREE)) == {
        ("t1n",), ("t1c",), ("t2f",), ("t1n", "t1c"), ("t1n", "t2f"), ("t1c", "t2f"),
    }  # fmt: skip
