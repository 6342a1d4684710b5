"""Statistics over cases: by hand, by brute force, against scipy."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm, rankdata, wilcoxon

from lacunet.stats.paired import (
    Resampling,
    holm,
    interval,
    mean_known,
    resampled_means,
    signed_rank,
    smallest_p,
    wins,
)


def every_sign(differences):
    """Two-sided p from every choice of signs: how often ranks with a sign add up to something as far from zero."""
    kept = differences[differences != 0]
    ranks = rankdata(np.abs(kept))
    seen = abs((np.sign(kept) * ranks).sum())
    sums = [abs((np.array(signs) * ranks).sum()) for signs in product((-1, 1), repeat=len(ranks))]
    return np.mean([value >= seen - 1e-9 for value in sums])


def test_six_cases_that_all_improve_give_one_in_thirty_two():
    """Of 64 choices of signs, all plus and all minus are as extreme: 2 / 64."""
    assert signed_rank(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == pytest.approx(2 / 64)
    assert smallest_p(6) == 2 / 64


def test_a_small_loss_among_six_gains():
    """Ranks with a sign are -1, 2, 3, 4, 5, 6; only 4 of 64 choices are as extreme."""
    assert signed_rank(np.array([-0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == pytest.approx(4 / 64)


@pytest.mark.parametrize("seed", range(5))
def test_small_samples_with_ties_and_zeros_are_exact(seed):
    generator = np.random.default_rng(seed)
    differences = generator.integers(-3, 5, size=generator.integers(3, 10)) / 10
    assert signed_rank(differences) == pytest.approx(every_sign(differences))


@pytest.mark.parametrize("cases", [5, 8, 20, 50, 57, 250])
def test_p_is_scipys(cases):
    differences = np.random.default_rng(cases).normal(0.2, 1.0, cases)
    assert signed_rank(differences) == pytest.approx(float(wilcoxon(differences).pvalue))


def test_cases_without_a_difference_are_left_out():
    gains = np.array([0.1, 0.2, 0.3, 0.4])
    assert signed_rank(np.concatenate([gains, np.zeros(20), [1e-17, -1e-17]])) == signed_rank(gains)


def test_no_difference_at_all_is_p_of_one():
    assert signed_rank(np.zeros(6)) == 1.0
    assert signed_rank(np.array([1e-17, 0.0])) == 1.0


def test_the_sign_of_a_difference_does_not_matter():
    differences = np.random.default_rng(3).normal(0.1, 1.0, 9)
    assert signed_rank(differences) == pytest.approx(signed_rank(-differences))


@pytest.mark.parametrize(("cases", "p"), [(0, 1.0), (1, 1.0), (2, 0.5), (5, 0.0625), (6, 0.03125), (10, 1 / 512)])
def test_the_smallest_p_by_hand(cases, p):
    assert smallest_p(cases) == p


@pytest.mark.parametrize("cases", [13, 50, 51, 57, 100, 250])
def test_the_smallest_p_is_scipys_of_cases_that_all_differ_in_one_direction(cases):
    differences = np.random.default_rng(cases).permutation(np.linspace(0.01, 0.3, cases))
    assert smallest_p(cases) == pytest.approx(float(wilcoxon(differences).pvalue), rel=1e-9)
    assert smallest_p(cases) == pytest.approx(2 * 0.5**cases) if cases <= 50 else smallest_p(cases) > 2 * 0.5**cases


def test_the_smallest_p_beyond_fifty_by_hand():
    """57 ranks add up to 1653, half of that is expected; variance 57 x 58 x 115 / 24."""
    z = (1653 / 2) / np.sqrt(57 * 58 * 115 / 24)
    assert smallest_p(57) == pytest.approx(2 * norm.sf(z))
    assert smallest_p(57) == pytest.approx(5.1e-11, rel=0.01)


@pytest.mark.parametrize("cases", [2, 4, 7])
def test_no_signs_give_less_than_the_smallest_p(cases):
    sizes = np.arange(1, cases + 1) / 10
    found = [signed_rank(np.array(signs) * sizes) for signs in product((-1, 1), repeat=cases)]
    assert min(found) == pytest.approx(smallest_p(cases))


def test_holm_by_hand():
    """Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1; the last may not fall below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one_and_leaves_a_single_test_alone():
    assert holm([0.6, 0.7, 0.02]) == pytest.approx([1.0, 1.0, 0.06])
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_holm_rejects_what_its_steps_reject():
    """The procedure itself: compare the k-th smallest with level / (tests - k), stop at the first that fails."""
    generator = np.random.default_rng(0)
    for _ in range(50):
        ps = list(generator.beta(0.3, 2.0, 6))
        rejected: set[int] = set()
        for rank, index in enumerate(np.argsort(ps)):
            if ps[index] > 0.05 / (6 - rank):
                break
            rejected.add(int(index))
        assert {index for index, p in enumerate(holm(ps)) if p <= 0.05} == rejected


def test_holm_does_not_depend_on_the_order_of_tests():
    ps = [0.2, 0.001, 0.04, 0.04, 0.5]
    corrected = dict(zip(ps, holm(ps), strict=True))
    assert holm(ps[::-1]) == [corrected[p] for p in ps[::-1]]


def test_half_a_point_is_a_tie():
    assert wins(np.array([0.2, 0.0051, 0.0049, 0.0, -0.0049, -0.0051, np.nan])) == (2, 3, 1)


def test_a_constant_sample_has_an_interval_of_one_point():
    values = resampled_means(np.full((6, 15), 0.7), Resampling(500).draws(6))
    assert interval(values) == (pytest.approx(0.7), pytest.approx(0.7))
    assert np.ptp(values) < 1e-12


def test_resampled_means_by_hand():
    """Twice the first case; one of each; the second has no score of the second subset."""
    counts = np.array([[2, 0], [1, 1], [0, 2]])
    whole = np.array([[0.2, 0.4], [0.6, 0.8]])
    assert resampled_means(whole, counts) == pytest.approx([0.3, 0.5, 0.7])
    partial = np.array([[0.2, 0.4], [0.6, np.nan]])
    assert resampled_means(partial, counts) == pytest.approx([0.3, (0.4 + 0.4) / 2, 0.6])


def test_an_interval_is_the_middle_95_percent():
    assert interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))


def test_an_interval_of_many_cases_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(0.5, 0.2, 400)
    low, high = interval(resampled_means(values[:, None], Resampling().draws(400)))
    error = 1.96 * values.std() / np.sqrt(400)
    assert (low, high) == (
        pytest.approx(values.mean() - error, abs=2e-3),
        pytest.approx(values.mean() + error, abs=2e-3),
    )


def test_draws_replay_and_have_as_many_cases_as_there_are():
    counts = Resampling(200, seed=4).draws(7)
    assert counts.shape == (200, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert (counts == Resampling(200, seed=4).draws(7)).all()
    assert (counts != Resampling(200, seed=5).draws(7)).any()


def test_the_mean_of_what_is_known():
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    np.testing.assert_array_equal(mean_known(values), [2.0, np.nan])
    np.testing.assert_array_equal(mean_known(values, axis=1), [1.0, 3.0])
