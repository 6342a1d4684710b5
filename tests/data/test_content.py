"""Labels and scans are told apart by their voxels."""

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.data.content import equal_neighbours, holds_labels, share_of_brain, why_no_scan
from phantoms_made import make_phantom

GRID = Grid((40, 40, 40), np.diag([4.0, 4.0, 4.0, 1.0]))
LINE = np.arange(40)
BALL = ((np.stack(np.meshgrid(LINE, LINE, LINE)) - 20) ** 2).sum(0) < 15**2


def test_masks_and_maps_of_labels_are_no_scans() -> None:
    for values in (BALL.astype(np.uint8), BALL * 255.0, np.where(BALL, 1 + (LINE > 20), 0)):
        assert why_no_scan(values, GRID) == "holds a few whole values only, as a mask does, and is no scan"
    regions = BALL * (1 + LINE // 4 + 10 * (LINE[:, None] // 4) + 100 * (LINE[:, None, None] // 4))
    assert len(np.unique(regions)) > 100
    assert holds_labels(regions.astype(np.float32))


def test_scans_are_no_masks() -> None:
    case = make_phantom(3, spacing=4.0)
    for image in case.images.values():
        assert why_no_scan(image, case.grid) is None
        assert why_no_scan(np.rint(image / image.max() * 255).astype(np.uint8), case.grid) is None


def test_an_image_enlarged_by_repeating_voxels_is_a_scan() -> None:
    image = np.rint(make_phantom(3, spacing=8.0).images["t2f"])
    assert not holds_labels(np.repeat(image, 5, axis=2))


def test_an_image_with_nothing_inside_the_head_is_no_scan() -> None:
    noise = np.random.default_rng(0).normal(100, 20, (40, 40, 40)).astype(np.float32)
    small = np.where(((np.stack(np.meshgrid(LINE, LINE, LINE)) - 20) ** 2).sum(0) < 6, noise, 0)
    assert why_no_scan(small, GRID) == f"has signal in {np.count_nonzero(small) * 0.064:.0f} ml only, and shows no head"


def test_equal_neighbours_by_hand() -> None:
    """Of 1 1 2 along the first axis, one of the two pairs is equal; along the others all are."""
    volume = np.zeros((4, 3, 3))
    volume[1:] = np.array([1, 1, 2])[:, None, None]
    assert equal_neighbours(volume) == pytest.approx(0.5)


def test_the_share_of_the_brain_by_hand() -> None:
    brain = np.zeros((2, 2, 2))
    brain[0] = 5
    reference = np.zeros((2, 2, 2))
    reference[0, 0] = 1
    reference[1] = 1
    assert share_of_brain(reference, brain > 0) == 0.5
