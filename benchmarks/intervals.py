"""How often an interval of resampled cases holds the truth, and how often a test passes.

    python benchmarks/intervals.py

Cases are drawn from a population whose mean is known, 2,000 times for each number of cases: Dice of one method (a
beta distribution with a tail of bad cases), and differences of two methods (normal, with no difference in truth, and
with one of half a standard deviation).
"""

import argparse
from collections.abc import Callable

import numpy as np

from lacunet.stats.paired import Resampling, interval, resampled_means, signed_rank, smallest_p

NUMBERS = (6, 10, 20, 57, 100, 250)
Population = Callable[[np.random.Generator, int], np.ndarray]


def dice(generator: np.random.Generator, cases: int) -> np.ndarray:
    """Mean 0.8, a tail to the left."""
    return generator.beta(4.0, 1.0, cases)


def nothing(generator: np.random.Generator, cases: int) -> np.ndarray:
    """Differences without a difference."""
    return generator.normal(0.0, 0.05, cases)


def something(generator: np.random.Generator, cases: int) -> np.ndarray:
    """Differences of half a standard deviation."""
    return generator.normal(0.025, 0.05, cases)


def held(population: Population, truth: float, cases: int, repeats: int, resamples: int) -> float:
    """The share of intervals with the truth between their ends."""
    generator = np.random.default_rng(1)
    counts = Resampling(resamples).draws(cases)
    inside = 0
    for _ in range(repeats):
        low, high = interval(resampled_means(population(generator, cases)[:, None], counts))
        inside += low <= truth <= high
    return inside / repeats


def passed(population: Population, cases: int, repeats: int) -> float:
    """The share of tests with p below 0.05."""
    generator = np.random.default_rng(1)
    return sum(signed_rank(population(generator, cases)) < 0.05 for _ in range(repeats)) / repeats


def main() -> None:
    """One row for each number of cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    print("| cases | least p | interval of Dice holds | of a difference | p < 0.05 without a difference | with one |")
    print("|---|---|---|---|---|---|")
    for cases in NUMBERS:
        of_dice = held(dice, 0.8, cases, options.repeats, options.resamples)
        of_nothing = held(nothing, 0.0, cases, options.repeats, options.resamples)
        shares = [of_dice, of_nothing, *(passed(one, cases, options.repeats) for one in (nothing, something))]
        print(f"| {cases} | {smallest_p(cases):.2g} | {' | '.join(f'{100 * share:.0f} %' for share in shares)} |")


if __name__ == "__main__":
    main()
