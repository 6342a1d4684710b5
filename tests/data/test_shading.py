"""Fields that are put onto a brain are measured; lesions are not taken for them."""

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.data.shading import shading

SHAPE = (80, 96, 70)
GRID = Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))


def places() -> np.ndarray:
    """Of each voxel, mm from the middle."""
    return (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.asarray(SHAPE) - 1) / 2) * 2.0


def brain(seed: int = 0) -> np.ndarray:
    """White and grey matter in patches, ventricles, noise; 0 outside."""
    at = places()
    radius = np.sqrt(((at / np.array([68.0, 84.0, 60.0])) ** 2).sum(axis=-1))
    folds = np.sin(at / 9.0).sum(axis=-1)
    image = np.where((radius > 0.85) | (folds > 1.2), 70.0, 100.0)
    image[((at / np.array([12.0, 30.0, 12.0])) ** 2).sum(axis=-1) < 1] = 25.0
    image += np.random.default_rng(seed).normal(0, 4, SHAPE)
    return np.where(radius < 1, np.maximum(image, 1), 0).astype(np.float32)


def field(factor: float, direction: tuple[float, float, float]) -> np.ndarray:
    """A factor that doubles smoothly along a direction; its 95th percentile in the brain is `factor` times the 5th."""
    along = places() @ np.asarray(direction)
    along = along + 0.004 * along**2
    low, high = np.percentile(along[brain() > 0], [5, 95])
    return np.exp(np.log(factor) * (along - low) / (high - low))


@pytest.mark.parametrize("direction", [(1, 0, 0), (0.3, 1, 0), (0, -0.5, 1)])
@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_a_field_is_measured(factor, direction):
    assert shading((brain() * field(factor, direction)).astype(np.float32), GRID) == pytest.approx(factor, rel=0.1)


def test_an_even_scan_has_none():
    assert shading(brain(), GRID) < 1.15


def test_the_unit_of_grey_values_does_not_matter():
    image = brain() * field(2.0, (1, 0, 0)).astype(np.float32)
    assert shading(image * np.float32(37.5), GRID) == pytest.approx(shading(image, GRID), rel=1e-3)


@pytest.mark.parametrize("grey", [30.0, 220.0])
def test_a_large_lesion_is_not_taken_for_shading(grey):
    image = brain()
    lesion = ((places() - np.array([35.0, 20.0, 5.0])) ** 2).sum(axis=-1) < 28**2
    image[lesion & (image > 0)] = grey
    assert np.count_nonzero(lesion) * 8 / 1000 > 90  # ml
    assert shading(image, GRID) == pytest.approx(shading(brain(), GRID), abs=0.12)


def test_thick_slices_and_a_cut_field_are_measured_too():
    image = brain() * field(2.0, (1, 0.5, 0)).astype(np.float32)
    image[:, :, :20] = 0
    thick = image[:, :, ::3]
    found = shading(np.ascontiguousarray(thick), Grid(thick.shape, np.diag([2.0, 2.0, 6.0, 1.0])))
    assert found == pytest.approx(2.0, rel=0.15)


def test_too_little_brain_tells_nothing():
    image = np.zeros(SHAPE, np.float32)
    assert shading(image, GRID) == 1.0
    image[30:34, 30:34, 30:34] = np.arange(4)[:, None, None] * 100 + 1
    assert shading(image, GRID) == 1.0
