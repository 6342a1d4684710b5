"""Ranges with a stated coverage: ranks by hand, coverage by simulation, radii."""

import numpy as np
import pytest

from lacunet.stats.intervals import (
    ball_ml,
    draws,
    enclosing,
    fewest,
    mean_and_error,
    mean_range,
    radius_mm,
    ranks,
    volume_span,
)


@pytest.mark.parametrize(
    ("number", "coverage", "expected"),
    [
        (9, 0.8, (1, 9)),  # ceil(10 * 0.9) = 9: the least and the largest of nine
        (8, 0.8, None),  # ceil(9 * 0.9) = 9 of 8
        (19, 0.8, (2, 18)),  # 20 * 0.9 = 18 exactly: no dust of a float may make it 19
        (22, 0.8, (2, 21)),  # ceil(23 * 0.9 = 20.7)
        (29, 0.8, (3, 27)),
        (99, 0.9, (5, 95)),
        (39, 0.95, (1, 39)),
        (38, 0.95, None),
    ],
)
def test_ranks_are_those_counted_by_hand(number, coverage, expected):
    assert ranks(number, coverage) == expected


def test_the_fewest_values_of_a_coverage():
    assert [fewest(coverage) for coverage in (0.5, 0.8, 0.9, 0.95)] == [3, 9, 19, 39]


@pytest.mark.parametrize("coverage", [0.0, 1.0, 80.0, 0.99999])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(ValueError, match="between 0 and 1"):
        ranks(22, coverage)


def test_a_range_goes_from_rank_to_rank_whatever_the_order():
    values = np.random.default_rng(0).permutation(np.arange(1.0, 23.0)).tolist()
    assert enclosing(values, 0.8) == (2, 21)
    assert enclosing(values[:8], 0.8) is None


@pytest.mark.parametrize("number", [9, 16, 22])
def test_one_more_value_lies_inside_as_often_as_said(number):
    """Of a lopsided distribution, each side apart: the chance is that of its rank, and never less than asked for."""
    draws = np.random.default_rng(number).lognormal(sigma=1.5, size=(20_000, number + 1))
    lower, upper = ranks(number, 0.8)
    spans = np.sort(draws[:, :-1], axis=1)
    below, above = draws[:, -1] < spans[:, lower - 1], draws[:, -1] > spans[:, upper - 1]
    assert enclosing(draws[0, :-1].tolist(), 0.8) == (spans[0, lower - 1], spans[0, upper - 1])
    assert below.mean() == pytest.approx(lower / (number + 1), abs=0.01)
    assert above.mean() == pytest.approx(1 - upper / (number + 1), abs=0.01)
    assert max(below.mean(), above.mean()) < 0.11


def test_a_mean_of_equal_values_has_no_width():
    assert mean_range([0.5] * 9, list("abcdefghi"), 0.8, seed=1) == (0.5, 0.5)


def test_a_mean_s_range_is_that_of_each_resample_studentised_by_hand(monkeypatch):
    monkeypatch.setattr("lacunet.stats.intervals.RESAMPLES", 300)
    values, persons = np.array([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.5, 0.9, 0.4, -0.3]), [*"abcdefghi", "i"]
    members = [np.flatnonzero(np.array(persons) == person) for person in "abcdefghi"]

    def studentised(drawn: list[int]) -> tuple[float, float]:
        mean = np.concatenate([values[members[person]] for person in drawn]).mean()
        residuals = [(values[members[person]] - mean).sum() for person in drawn]
        cases = sum(len(members[person]) for person in drawn)
        return mean, np.sqrt(9 * np.var(residuals, mean=0.0, ddof=1)) / cases

    mean, error = studentised(list(range(9)))
    scores = []
    for counts in draws(9, 5, 300):
        drawn_mean, drawn_error = studentised([person for person in range(9) for _ in range(counts[person])])
        scores.append((drawn_mean - mean) / drawn_error)
    sums, cases = (np.array([of(values[one]) for one in members]) for of in (np.sum, len))
    found, errors = mean_and_error(draws(9, 5, 300), sums, cases)
    assert ((found - mean) / errors).tolist() == pytest.approx(scores)
    low, high = mean_range(values.tolist(), persons, 0.8, seed=5)
    low_score, high_score = np.quantile(scores, [0.1, 0.9], method="nearest")
    assert (low, high) == (pytest.approx(mean - high_score * error), pytest.approx(mean - low_score * error))
    assert high - mean > mean - low  # the values have a tail upwards


@pytest.mark.parametrize("persons", [9, 22])
def test_the_mean_of_lopsided_values_is_missed_about_as_often_as_said(persons):
    """Each side should miss 10 %. With percentiles of the drawn means, above would be 21 % and 18 %."""
    generator, above, below = np.random.default_rng(2), 0, 0
    for _ in range(1000):
        values = (1 - generator.exponential(size=persons)).tolist()
        low, high = mean_range(values, [str(number) for number in range(persons)], 0.8, seed=1)
        above, below = above + (low > 0), below + (high < 0)
    assert 50 < below < above < 165


def test_a_mean_s_range_does_not_leave_that_of_the_values():
    low, high = mean_range([0.0] * 8 + [0.5], list("abcdefghi"), 0.8, seed=1)  # many resamples are all zeros
    assert 0.0 <= low <= 0.5 / 9 <= high <= 0.5


def test_a_mean_s_range_is_the_normal_one_where_there_are_many():
    values = np.random.default_rng(3).normal(0.2, 1.0, size=400)
    low, high = mean_range(values.tolist(), [str(number) for number in range(400)], 0.8, seed=1)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.2816 * error, abs=0.004)
    assert high == pytest.approx(values.mean() + 1.2816 * error, abs=0.004)


def test_cases_of_a_person_are_drawn_together():
    """Ten visits of each of nine persons know as little of other persons as one visit of each."""
    nine = [float(number) for number in range(9)]
    once = mean_range(nine, list("abcdefghi"), 0.8, seed=1)
    assert mean_range(nine * 10, list("abcdefghi") * 10, 0.8, seed=1) == pytest.approx(once)
    apart = mean_range(nine * 10, [str(number) for number in range(90)], 0.8, seed=1)
    assert apart[1] - apart[0] < 0.5 * (once[1] - once[0])


def test_a_mean_of_too_few_persons_has_no_range():
    assert mean_range([0.1] * 80, list("abcdefgh") * 10, 0.8, seed=1) is None


def test_radius_of_a_ball_and_back():
    assert radius_mm(4.18879) == pytest.approx(10.0, abs=1e-5)  # 4 / 3 pi 10^3 mm^3
    assert radius_mm(0.0) == 0
    assert ball_ml(-3.0) == 0
    for volume in (0.001, 1.0, 84.1):
        assert ball_ml(radius_mm(volume)) == pytest.approx(volume)


def test_a_volume_s_range_adds_to_its_radius_and_ends_at_nothing():
    low, high = volume_span(4.18879, (-2.0, 1.0))
    assert (low, high) == (pytest.approx(4.18879 * 0.8**3, rel=1e-5), pytest.approx(4.18879 * 1.1**3, rel=1e-5))
    assert volume_span(0.0, (-2.0, 1.0)) == (0.0, pytest.approx(0.00418879, rel=1e-5))
