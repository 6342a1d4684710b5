"""The script that compares estimates with held-out scans: when they count as better than the mean of those shown."""

import pytest

pytest.importorskip("skimage")

from reconstruction_quality import Row, not_better


def row(subset: str, region: str = "brain", **numbers: float) -> Row:
    better = {"mae": 0.5, "ssim": 0.3, "mean_mae": 0.8, "mean_ssim": 0.1}
    return Row("a", subset, "t2f", region, **{**better, **numbers})


def test_estimates_that_are_better_in_every_mean_are_worse_in_none() -> None:
    assert not_better([row("t1n"), row("t1n+t1c"), row("t1n", "tumour")]) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (row("t1n", mae=0.9), ["MAE brain, 1 shown"]),
        (row("t1n", ssim=0.1), ["SSIM brain, 1 shown"]),  # no better is not better
        (row("t1n+t1c", "tumour", mae=0.9, ssim=0.0), ["MAE tumour, 2 shown", "SSIM tumour, 2 shown"]),
    ],
)
def test_each_mean_that_is_no_better_is_named(changed: Row, words: list[str]) -> None:
    assert not_better([changed, row("t1n+t1c+t2w")]) == words


def test_it_is_the_mean_that_counts_and_not_each_case() -> None:
    assert not_better([row("t1n", mae=0.9), row("t1c", mae=0.3)]) == []
    assert not_better([row("t1n", mae=1.2), row("t1c", mae=0.7)]) == ["MAE brain, 1 shown"]
