"""Numbers of steps are read together, and the first that is none is named."""

from math import inf, nan

import pytest
import torch

from lacunet.errors import RecipeError
from lacunet.training.watch import Taken, Watch


def taken(step: int, loss: float, gradient: float = 1.0) -> Taken:
    values = {"dice": torch.tensor(loss), "kl": torch.tensor(0.5)}
    return Taken(step, (f"case-{step}",), torch.tensor(loss), torch.tensor(gradient), values)


def test_the_last_loss_is_known_once_it_was_read() -> None:
    watch = Watch("segment")
    watch.add(taken(3, 0.75))
    watch.add(taken(4, 0.25))
    assert watch.words() == "segment"
    watch.read()
    assert (watch.loss, watch.words()) == (0.25, "segment: loss 0.250")
    watch.read()
    assert watch.loss == 0.25


@pytest.mark.parametrize(
    ("loss", "gradient", "words"),
    [
        (nan, nan, r"stage segment, step 7: the loss is not a number \(dice nan, kl 0.5; cases case-7\); lower"),
        (0.5, inf, r"stage segment, step 7: the gradient is not a number \(dice 0.5, kl 0.5; cases case-7\); lower"),
    ],
)
def test_the_first_step_without_a_number_is_named(loss: float, gradient: float, words: str) -> None:
    watch = Watch("segment")
    for step in (taken(6, 0.5), taken(7, loss, gradient), taken(8, nan, nan)):
        watch.add(step)
    with pytest.raises(RecipeError, match=words):
        watch.read()
