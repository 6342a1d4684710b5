"""The smallest box around a mask, and the matrix between RAS and LPS."""

import numpy as np

from lacunet.case import RAS_LPS, box_around


def test_the_smallest_box_holds_every_voxel_of_the_mask() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[2, 3, 4] = mask[4, 3, 5] = True
    assert box_around(mask) == (slice(2, 5), slice(3, 4), slice(4, 6))


def test_the_margin_of_a_box_ends_where_the_array_ends() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[4, 4, 4] = mask[6, 4, 9] = True
    assert box_around(mask, (1, 2, 3)) == (slice(3, 8), slice(2, 7), slice(1, 10))
    assert box_around(mask, (5, 5, 5)) == (slice(0, 10), slice(0, 10), slice(0, 10))


def test_the_box_of_an_empty_mask_is_the_whole_array() -> None:
    assert box_around(np.zeros((3, 4, 5), bool), (1, 1, 1)) == (slice(0, 3), slice(0, 4), slice(0, 5))


def test_one_matrix_turns_ras_to_lps_and_back() -> None:
    np.testing.assert_array_equal(RAS_LPS @ [1.0, 2.0, 3.0, 1.0], [-1.0, -2.0, 3.0, 1.0])
    np.testing.assert_array_equal(RAS_LPS @ RAS_LPS, np.eye(4))
