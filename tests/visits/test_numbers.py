"""The change in numbers: ranges from two ranges, what they decide, and what is not known."""

import numpy as np
import pytest

from lacunet.stats.intervals import correlation_that_shows, difference_span
from lacunet.task import GLIOMA
from lacunet.visits.numbers import Measured, ProductChange, compare
from lacunet.visits.words import verdict_words

VOLUMES = {"wt": 50.0, "tc": 20.0, "et": 10.0}
RANGES = {"wt": (44.0, 58.0), "tc": (17.0, 24.0), "et": (8.0, 13.0)}


def measured(factor: float = 1.0, subset: tuple[str, ...] = ("t1c", "t2f"), **fields) -> Measured:
    """Volumes and ranges, a number of times as large."""
    kept = {
        "volumes": {region: factor * volume for region, volume in VOLUMES.items()},
        "ranges": {region: (factor * low, factor * high) for region, (low, high) in RANGES.items()},
        "coverage": 0.8,
        "products": {"et": factor * 400.0},
        "evidence": GLIOMA.evidence(subset),
    }
    return Measured(subset, **(kept | fields))


def test_a_difference_adds_the_squares_of_the_distances_to_the_ends():
    assert difference_span(10.0, (7.0, 14.0), 20.0, (17.0, 23.0)) == pytest.approx((5.0, 10.0 + np.sqrt(18)))
    assert difference_span(10.0, (10.0, 10.0), 20.0, (20.0, 20.0)) == (10.0, 10.0)


def test_its_range_holds_the_true_difference_as_often_as_said_and_more_often_where_errors_are_shared():
    generator = np.random.default_rng(1)
    for shared, low, high in ((0.0, 0.77, 0.83), (0.8, 0.97, 1.0)):
        common, first, second = generator.normal(0, 1, (3, 4000))
        errors = [np.sqrt(shared) * common + np.sqrt(1 - shared) * own for own in (first, second)]
        spans = [
            difference_span(30 + a, (30 + a - 1.2816, 30 + a + 1.2816), 42 + b, (42 + b - 1.2816, 42 + b + 1.2816))
            for a, b in zip(*errors, strict=True)
        ]
        assert low <= np.mean([span[0] <= 12 <= span[1] for span in spans]) <= high


@pytest.mark.parametrize(
    ("second", "expected"),
    [(20.0, 0.0), (14.0, (9 + 16 - 16) / 24), (6.0, (9 + 16 - 16) / 24), (10.5, None), (10.0, None)],
)
def test_the_correlation_that_shows_a_change_is_the_one_at_which_the_range_ends_at_zero(second, expected):
    first_span, second_span = ((7.0, 14.0), (second - 3.0, second + 4.0)) if second >= 10 else (
        (6.0, 13.0), (second - 4.0, second + 3.0)
    )  # fmt: skip
    found = correlation_that_shows(10.0, first_span, second, second_span)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("factor", "verdict", "threshold"),
    [
        (1.0, "no change shown", None),
        (1.6, "larger", "+25 %"),
        (0.4, "smaller", "-50 %"),
        (1.1, "no change shown", None),
    ],
)
def test_a_change_is_larger_or_smaller_where_its_range_leaves_out_zero(factor, verdict, threshold):
    found = compare(measured(), measured(factor), GLIOMA)
    whole = found.regions["wt"]
    assert whole.verdict == verdict
    assert whole.ml == pytest.approx(50 * (factor - 1))
    assert whole.percent == pytest.approx(100 * (factor - 1))
    assert whole.span is not None
    assert whole.span[0] <= whole.ml <= whole.span[1]
    assert found.regions["et"].product is not None
    assert found.regions["et"].product.threshold == threshold
    assert found.regions["wt"].product is None


def test_identical_measurements_show_no_change_in_words():
    found = verdict_words(compare(measured(), measured(), GLIOMA), GLIOMA)
    assert (
        found
        == "No change shown of the whole tumour, tumour core and enhancing tumour, from T1ce + FLAIR at both visits"
    )


def test_the_verdict_names_what_grew_by_how_much_and_what_is_not_known():
    later = measured(1.6, ranges={"wt": (70.0, 92.0), "tc": (20.0, 50.0), "et": None})
    assert verdict_words(compare(measured(), later, GLIOMA), GLIOMA) == (
        "Whole tumour larger by 30.0 ml (+60 %, 80 %: +17.2 to +43.4 ml), more than the error of measurement; no "
        "change shown of the tumour core; whether the enhancing tumour changed is not known, from T1ce + FLAIR at both "
        "visits"
    )


@pytest.mark.parametrize(
    ("earlier", "later", "region", "why"),
    [
        ({"subset": ("t2f",)}, {"subset": ("t2f",)}, "et", "inferred, not seen: of the sequences used none is T1ce"),
        ({}, {"ranges": {}, "doubtful": True}, "wt", "the mask of the later visit is doubtful"),
        ({"ranges": {}, "coverage": None}, {}, "tc", "the error of the volumes from these sequences is not known"),
    ],
)
def test_what_is_not_known_says_why(earlier, later, region, why):
    change = compare(measured(**earlier), measured(2.0, **later), GLIOMA).regions[region]
    assert change.verdict == "not known"
    assert change.why.startswith(why)


def test_a_region_that_was_not_there_has_no_percent():
    none = measured(volumes={**VOLUMES, "et": 0.0}, ranges={**RANGES, "et": (0.0, 2.0)})
    change = compare(none, measured(), GLIOMA).regions["et"]
    assert (change.percent, change.percent_span, change.verdict) == (None, None, "larger")


@pytest.mark.parametrize(("later", "threshold"), [(124.9, None), (125.0, "+25 %"), (50.1, None), (50.0, "-50 %")])
def test_thresholds_of_rano_are_reached_at_their_values(later, threshold):
    assert ProductChange(100.0, later).threshold == threshold
