"""The smallest difference that is seen, against simulated tests."""

import numpy as np
import pytest

from lacunet.stats.paired import signed_rank
from lacunet.stats.power import smallest_seen


def test_sixty_six_cases_with_a_spread_of_a_twentieth_see_about_two_hundredths() -> None:
    differences = np.random.default_rng(1).normal(size=66)
    differences = 0.05 * (differences - differences.mean()) / differences.std(ddof=1)
    error = 0.05 / np.sqrt(0.95493 * 66)
    assert smallest_seen(differences) == pytest.approx((1.95996 + 0.84162) * error, rel=1e-4)
    assert smallest_seen(differences, tests=20) == pytest.approx((3.02334 + 0.84162) * error, rel=1e-4)


def test_such_a_difference_is_seen_in_four_of_five_tries() -> None:
    generator = np.random.default_rng(2)
    spread = generator.normal(size=(600, 40))
    seen = smallest_seen((spread[0] - spread[0].mean()) / spread[0].std(ddof=1))
    assert seen is not None
    passed = np.mean([signed_rank(tries + seen) < 0.05 for tries in spread])
    assert passed == pytest.approx(0.8, abs=0.05)


def test_one_case_sees_nothing() -> None:
    assert smallest_seen(np.array([0.1])) is None
