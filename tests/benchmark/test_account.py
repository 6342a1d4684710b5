"""What a training spends, counted by hand."""

from pathlib import Path

import pytest

from lacunet.benchmark.account import ACCOUNT, account_of, measured
from lacunet.errors import DataError
from small import ROOT, tiny_recipe


def conv_flops(channels_in: int, channels_out: int, voxels: int) -> int:
    return 2 * 27 * channels_in * channels_out * voxels


def test_steps_crops_predictions_parameters_and_flops() -> None:
    recipe = tiny_recipe(arguments={"width": 4, "levels": 1}, train={"steps": 6, "batch": 2, "crop": [8, 8, 8]})
    account = measured(recipe)
    assert (account.steps, account.crops, account.predictions) == (6, 12, 12.0)
    convolutions = conv_flops(4, 4, 512) + conv_flops(4, 4, 512) + 2 * 4 * 3 * 512  # a block of two, and the head
    assert account.prediction_flops == convolutions
    backward = 2 * convolutions - conv_flops(4, 4, 512)  # no gradient of the images
    assert account.flops == 12 * (convolutions + backward)
    assert account.parameters == account.trained


def test_predictions_follow_the_number_of_subsets_of_a_crop() -> None:
    train = {"steps": 6, "batch": 2, "crop": [8, 8, 8]}
    recipe = tiny_recipe(arguments={"width": 4, "levels": 1, "subsets": 5}, train=train)
    assert measured(recipe).predictions == 60


def test_a_number_of_predictions_that_is_drawn_is_a_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """CCSD: the full set and all subsets of one size, which are four, six or four."""
    monkeypatch.setattr("lacunet.benchmark.account.DRAWS", 12)
    recipe = tiny_recipe(
        "ccsd", arguments={"width": 4, "levels": 2}, train={"steps": 30, "batch": 1, "crop": [8, 8, 8]}
    )
    each = measured(recipe).predictions / 30
    assert each == pytest.approx(1 + 14 / 3, abs=0.6)
    assert each != round(each)


def test_each_stage_has_its_own_part_and_all_that_is_trained_counts() -> None:
    """The rebuilding stage has no reference; the teacher is a copy that nothing trains."""
    account = measured(
        tiny_recipe("two_stages", train={"steps": 9, "batch": 2}), method_file=ROOT / "tests" / "two_stages.py"
    )
    assert (account.steps, account.crops, account.predictions) == (9, 18, 2 * 5)
    convolution = 27 * 4 * 4 + 4
    assert account.trained == convolution + (4 * 4 + 4) + (4 * 3 + 3)
    assert account.parameters == account.trained + convolution


def test_is_measured_once(tmp_path: Path) -> None:
    recipe = tiny_recipe(train={"steps": 2, "crop": [8, 8, 8]})
    first = account_of(recipe, tmp_path, "cpu")
    assert first.crops == 4
    (tmp_path / ACCOUNT).write_text(first.model_copy(update={"crops": 5}).model_dump_json(), encoding="utf-8")
    assert account_of(recipe, tmp_path, "cpu").crops == 5
    (tmp_path / ACCOUNT).write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="remove the file, and it is measured again"):
        account_of(recipe, tmp_path, "cpu")
