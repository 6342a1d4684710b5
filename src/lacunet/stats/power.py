"""How large a difference must be to be seen. No torch here."""

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

POWER = 0.8
"""The chance with which a difference of the smallest size that can be seen is seen."""

_EFFICIENCY = 3 / np.pi
"""Of the signed-rank test beside Student's, if differences are normal: so many cases of his do what one of its does."""


def smallest_seen(
    differences: Float[np.ndarray, " case"], level: float = 0.05, tests: int = 1, power: float = POWER
) -> float | None:
    """The mean difference that a two-sided signed-rank test over so many cases, so spread, sees with this power.

    (z_(1 - level / 2 tests) + z_power) s / sqrt(0.955 n), for differences that are about normal. A test that passes
    with a smaller difference had luck; one that does not pass says nothing of smaller differences.

    Args:
        differences: Of the cases, paired.
        level: Of the test.
        tests: In the family: the first of Holm's steps asks for `level / tests`.
        power: The chance to see it.

    Returns:
        None with fewer than two cases.
    """
    if len(differences) < 2:
        return None
    quantiles = norm.ppf(1 - level / (2 * tests)) + norm.ppf(power)
    return float(quantiles * np.std(differences, ddof=1) / np.sqrt(_EFFICIENCY * len(differences)))
