"""How often the range of a mean gain holds the truth: lacunet's (bootstrap-t), and percentiles of the drawn means.

    python benchmarks/gains.py [--repeats 2000]

A case of each of so many persons, drawn from a population whose mean is 0: normal, and with a tail to one side
(exponential), as differences of Dice have where one sequence decides a few cases. `above`: the whole 80 % range lies
above 0, so that a sequence without effect would be said to help; 10 % is what the range allows.
"""

import argparse
from collections.abc import Callable

import numpy as np

from lacunet.stats.intervals import RESAMPLES, Span, draws, mean_range, middle
from measure import print_table

COVERAGE = 0.8
PERSONS = (9, 15, 22, 40)
POPULATIONS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda generator, number: generator.normal(size=number),
    "tail below": lambda generator, number: 1 - generator.exponential(size=number),
    "tail above": lambda generator, number: generator.exponential(size=number) - 1,
}


def by_lacunet(values: np.ndarray) -> Span:
    """As a calibration has it."""
    found = mean_range(values.tolist(), [str(index) for index in range(len(values))], COVERAGE, seed=1)
    assert found is not None
    return found


def by_percentiles(values: np.ndarray) -> Span:
    """The middle 80 % of the drawn means."""
    return middle(draws(len(values), 1, RESAMPLES) @ values / len(values), COVERAGE)


def missed(way: Callable[[np.ndarray], Span], population: str, persons: int, repeats: int) -> tuple[float, float]:
    """The shares of ranges that lie above and below the true mean."""
    generator = np.random.default_rng(1)
    spans = np.array([way(POPULATIONS[population](generator, persons)) for _ in range(repeats)])
    return float((spans[:, 0] > 0).mean()), float((spans[:, 1] < 0).mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    rows = []
    for population in POPULATIONS:
        for persons in PERSONS:
            cells = []
            for way in (by_lacunet, by_percentiles):
                above, below = missed(way, population, persons, repeats)
                cells += [f"{above:.0%}", f"{below:.0%}", f"{1 - above - below:.0%}"]
            rows.append([population, str(persons), *cells])
    head = ["gains", "persons", "above", "below", "holds", "percentiles: above", "below", "holds"]
    print_table(head, rows)


if __name__ == "__main__":
    main()
