"""Runs in the order of their mean Dice, and what of the order is settled. No torch here.

One number of each case counts: its Dice, averaged over the regions and the subsets. Every run is tested against the
baseline and against the first, a family of tests each, corrected for the number of runs alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lacunet.comparison.comparison import LEVEL, Comparison
from lacunet.comparison.numbers import MEAN, Counts
from lacunet.stats.paired import Resampling, holm, interval, signed_rank, wins
from lacunet.stats.power import POWER, smallest_seen

RANKING = "ranking.json"
"""In the folder of a benchmark."""

ByCase = Float[np.ndarray, " case"]


@dataclass(frozen=True)
class Against:
    """A run against another, case by case.

    Attributes:
        difference: Of the mean Dice.
        low: Lower end of its interval.
        high: Upper end.
        cases: Cases in which the run is better, equal, worse.
        p: Of the signed-rank test.
        p_holm: Corrected for all runs that are tested against the same one.
        seen: The smallest difference that this test sees (`stats/power.py`), without the correction.
        seen_holm: The same with it.
    """

    difference: float
    low: float
    high: float
    cases: Counts
    p: float
    p_holm: float
    seen: float | None
    seen_holm: float | None

    @property
    def settled(self) -> bool:
        """Whether the corrected test passes."""
        return self.p_holm <= LEVEL


@dataclass(frozen=True)
class Placed:
    """A run in its place.

    Attributes:
        name: The run.
        place: From 1, by mean Dice.
        trainings: How many it is the mean of.
        dice: Mean over cases.
        low: Lower end of its interval.
        high: Upper end.
        baseline: Against the baseline; None for the baseline itself.
        first: Against the run in the first place; None for that one.
    """

    name: str
    place: int
    trainings: int
    dice: float
    low: float
    high: float
    baseline: Against | None
    first: Against | None


@dataclass(frozen=True)
class Ranking:
    """The order of some runs.

    Attributes:
        cases: How many cases.
        baseline: Name of the baseline.
        runs: The best first.
    """

    cases: int
    baseline: str
    runs: tuple[Placed, ...]

    @property
    def with_the_first(self) -> tuple[str, ...]:
        """The runs that no test tells from the first one, itself included."""
        return tuple(run.name for run in self.runs if run.first is None or not run.first.settled)

    @property
    def seen(self) -> tuple[float, float] | None:
        """The least and the largest of the smallest differences that the corrected tests against the baseline see."""
        found = [run.baseline.seen_holm for run in self.runs if run.baseline]
        known = [value for value in found if value is not None]
        return (min(known), max(known)) if known else None

    def to_json(self) -> dict[str, Any]:
        """All of it, with the level and the power of the tests."""
        return {"level": LEVEL, "power": POWER, **asdict(self)}


def rank(comparison: Comparison) -> Ranking:
    """The runs of a comparison in their order; of equal ones the one that was named first."""
    scores = {name: np.array(list(own.by_case[MEAN].values())) for name, own in comparison.scores.items()}
    order = sorted(scores, key=lambda name: -float(scores[name].mean()))
    resampling, trainings = comparison.settings.resampling, {run.name: len(run.trainings) for run in comparison.runs}
    behind_baseline = _against(scores, comparison.baseline, resampling)
    behind_first = _against(scores, order[0], resampling)
    runs = []
    for place, name in enumerate(order, start=1):
        low, high = interval(_resampled(scores[name], resampling))
        own = behind_baseline.get(name), behind_first.get(name)
        runs.append(Placed(name, place, trainings[name], float(scores[name].mean()), low, high, *own))
    return Ranking(len(comparison.shared.cases), comparison.baseline, tuple(runs))


def _against(scores: Mapping[str, ByCase], other: str, resampling: Resampling) -> dict[str, Against]:
    """Every run but the other one against it, corrected together."""
    differences = {name: values - scores[other] for name, values in scores.items() if name != other}
    ps = [signed_rank(values) for values in differences.values()]
    return {
        name: _one(values, p, corrected, len(ps), resampling)
        for (name, values), p, corrected in zip(differences.items(), ps, holm(ps), strict=True)
    }


def _one(values: ByCase, p: float, corrected: float, tests: int, resampling: Resampling) -> Against:
    low, high = interval(_resampled(values, resampling))
    return Against(
        difference=float(values.mean()),
        low=low,
        high=high,
        cases=Counts(*wins(values)),
        p=p,
        p_holm=corrected,
        seen=smallest_seen(values, LEVEL),
        seen_holm=smallest_seen(values, LEVEL, tests),
    )


def _resampled(values: ByCase, resampling: Resampling) -> Float[np.ndarray, " resample"]:
    """The mean of resampled cases."""
    means: np.ndarray = resampling.draws(len(values)) @ values / len(values)
    return means
