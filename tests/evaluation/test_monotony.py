"""How often one more sequence makes a mask worse: counted by hand."""

import pytest

from lacunet.evaluation.metrics import get_policy
from lacunet.evaluation.monotony import monotony, monotony_words
from lacunet.evaluation.scores import Row, summarise
from lacunet.evaluation.summary import Monotony
from lacunet.task import GLIOMA

BRATS = get_policy("brats")


def dice_of(**subsets: float) -> dict[tuple[str, str, str], float]:
    """Whole tumour of one case; `t1c_t2f` stands for t1c+t2f."""
    return {("a", name.replace("_", "+"), "wt"): value for name, value in subsets.items()}


def test_every_sequence_that_can_be_added_is_a_step():
    everything = {("a", GLIOMA.subset_name(subset), "wt"): 0.5 for subset in GLIOMA.subsets}
    assert monotony(everything, GLIOMA) == {"wt": Monotony(steps=4 * 3 + 6 * 2 + 4, worse=0, share=0.0)}


def test_falls_are_counted_from_a_hundredth_on():
    # t1n -> t1n+t2f rises, t2f -> t1n+t2f falls by 0.1; t1n -> t1n+t1c falls by 0.005, which is not counted.
    found = monotony(dice_of(t1n=0.5, t2f=0.7, t1n_t2f=0.6, t1n_t1c=0.495), GLIOMA)["wt"]
    assert (found.steps, found.worse) == (3, 1)
    assert found.share == pytest.approx(1 / 3)
    assert (found.fall, found.worst) == (pytest.approx(0.1), pytest.approx(0.1))
    deep = monotony(dice_of(t1n=0.5, t2f=0.7, t1n_t2f=0.2), GLIOMA)["wt"]
    assert (deep.worse, deep.fall, deep.worst) == (2, pytest.approx(0.4), pytest.approx(0.5))


def test_cases_and_regions_are_kept_apart():
    dice = {("a", "t1n", "wt"): 0.9, ("b", "t1n+t2f", "wt"): 0.1, ("a", "t1n+t2f", "tc"): 0.1}
    assert monotony(dice, GLIOMA) == {}


def test_a_summary_leaves_out_cases_that_lack_the_region():
    def rows(case: str, reference_ml: float) -> list[Row]:
        dice = {"t1n": 1.0, "t1n+t2f": 0.0}
        return [
            Row(case, subset, region, value, 1.0, reference_ml if region == "et" else 5.0, 1.0)
            for subset, value in dice.items()
            for region in GLIOMA.regions
        ]

    found = summarise([*rows("a", 1.0), *rows("b", 0.0)], GLIOMA, BRATS, "m").monotony
    assert {region: one.steps for region, one in found.items()} == {"wt": 2, "tc": 2, "et": 1}
    assert found["et"].worst == 1.0
    single = [row for row in rows("a", 1.0) if row.subset == "t1n"]
    assert "monotony" not in summarise(single, GLIOMA, BRATS, "m").to_json()


def test_words():
    found = {
        "wt": Monotony(steps=1336, worse=240, share=0.18, fall=0.041, worst=0.31),
        "et": Monotony(steps=28, worse=0, share=0),
    }
    assert monotony_words(found) == (
        "one more sequence lowers Dice by more than 0.01: WT in 18 % of 1,336 steps (by 0.04 on average, "
        "0.31 at most), ET in 0 % of 28 steps"
    )
