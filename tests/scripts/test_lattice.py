"""The script that counts where on a lattice the faces of a mask lie."""

import numpy as np

from lacunet.case import Grid
from lacunet.data.prepare import Frame
from lattice import cubes_of, faces_by_place


def test_faces_are_counted_at_their_place_in_the_cube_along_each_axis() -> None:
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[5:8, 5:9, 6:10] = True  # cubes begin at voxel 2: faces at 3 and 6, 3 and 7, 4 and 8 voxels from there
    counts = faces_by_place(mask, (2, 2, 2), (3.0, 3.0, 3.0))
    assert counts.tolist() == [[32, 0, 0], [12, 12, 0], [0, 12, 12]]


def test_a_face_belongs_to_the_nearest_third_of_a_cube_that_is_no_whole_number_of_voxels() -> None:
    mask = np.zeros((16, 2, 2), dtype=bool)
    mask[5:] = True  # 5 / 3.2 = 1.56 cubes
    assert faces_by_place(mask, (0, 0, 0), (3.2, 3.2, 3.2))[0].tolist() == [0, 0, 4]
    assert faces_by_place(mask, (1, 0, 0), (3.2, 3.2, 3.2))[0].tolist() == [0, 4, 0]  # 1.25


def test_cubes_span_as_many_voxels_as_the_prepared_grid_says() -> None:
    frame = Frame(Grid((150, 99, 90), np.eye(4)), (0, 0, 0), (150, 99, 90), (100, 66, 90))
    assert cubes_of(frame, 3.0, 1.5) == (3.0, 3.0, 2.0)
