"""Temperatures: a known one is found, and calibration is what it is called."""

import numpy as np
import pytest
from scipy.special import expit

from lacunet.stats.temperature import COLDEST, HOTTEST, calibration_error, fit_temperature, negative_log_likelihood


def voxels(temperature: float, number: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are this many times as sure as they should be, mostly far from the tumour, as in a brain."""
    generator = np.random.default_rng(5)
    logits = generator.normal(-3, 3, number)
    truth = generator.random(number) < expit(logits)
    return logits * temperature, truth


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature):
    assert fit_temperature(*voxels(temperature)) == pytest.approx(temperature, rel=0.02)


def test_the_fit_has_the_least_likelihood():
    logits, truth = voxels(2.5)
    best = fit_temperature(logits, truth)
    least = negative_log_likelihood(logits, truth, best)
    for factor in (0.9, 0.98, 1.02, 1.1):
        assert negative_log_likelihood(logits, truth, best * factor) > least


def test_float32_logits_give_the_same_temperature():
    logits, truth = voxels(2.5)
    assert fit_temperature(logits.astype(np.float32), truth) == pytest.approx(fit_temperature(logits, truth), rel=1e-4)


def test_likelihood_by_hand():
    logits, truth = np.array([0.0, 2.0]), np.array([True, False])
    expected = (np.log(2) - np.log(1 - 1 / (1 + np.exp(-1)))) / 2  # at T = 2 the second probability is expit(1)
    assert negative_log_likelihood(logits, truth, 2.0) == pytest.approx(expected)


def test_a_likelihood_of_very_sure_voxels_is_finite():
    assert negative_log_likelihood(np.array([-30.0, 800.0]), np.array([True, False])) == pytest.approx(415.0)


def test_calibration_error_by_hand():
    """Two voxels at 0.9, one true: off by 0.4; two at 0.1, none true: off by 0.1. The last bin holds 1.0 too."""
    probabilities = np.array([0.9, 0.9, 0.1, 0.1])
    assert calibration_error(probabilities, np.array([True, False, False, False])) == pytest.approx(0.25)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, False])) == pytest.approx(0.5)


def test_the_fit_mends_the_calibration_error():
    logits, truth = voxels(2.5)
    before = calibration_error(expit(logits), truth)
    after = calibration_error(expit(logits / fit_temperature(logits, truth)), truth)
    assert before > 0.02
    assert after < 0.003


def test_what_no_temperature_can_mend_ends_at_a_bound():
    logits = np.array([-1.0, 1.0])
    assert fit_temperature(logits, np.array([False, True])) == COLDEST  # never wrong: it can be as sure as it likes
    assert fit_temperature(logits, np.array([True, False])) == HOTTEST  # always wrong


def test_no_voxel_has_no_temperature():
    with pytest.raises(ValueError, match="no voxel"):
        fit_temperature(np.array([]), np.array([], dtype=bool))
