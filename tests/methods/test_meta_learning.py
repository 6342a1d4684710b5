"""Meta-learning: the step, its first-order gradient, who is tested on, and who is deceived."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lacunet.errors import RecipeError
from lacunet.methods.meta_learning import MetaLearning, adapted
from lacunet.nn.batch import Batch
from lacunet.nn.losses import segmentation_loss
from lacunet.nn.method import Clock, make_method
from lacunet.task import GLIOMA


def made(**arguments: float) -> MetaLearning:
    torch.manual_seed(1)
    return make_method(MetaLearning, GLIOMA, {"width": 8, "levels": 2, **arguments})


def batch_of(*acquired: tuple[str, ...], shown: tuple[str, ...] = ("t1c",)) -> Batch:
    generator = torch.Generator().manual_seed(5)
    there = torch.tensor([GLIOMA.presence(subset) for subset in acquired])
    images = torch.randn((len(there), 4, 8, 8, 8), generator=generator)
    regions = (torch.rand((len(there), 3, 8, 8, 8), generator=generator) > 0.7).float()
    presence = torch.tensor([GLIOMA.presence(shown)] * len(there))
    return Batch(images, there, presence, regions, tuple("abcd"[: len(there)]))


def terms_of(method: MetaLearning, batch: Batch) -> dict[str, torch.Tensor]:
    return dict(method.stages()[0].loss(batch, Clock(0, 1, torch.Generator())))


WHOLE = GLIOMA.modalities


def test_the_step_is_one_of_gradient_descent() -> None:
    line = nn.Linear(1, 1)
    with torch.no_grad():
        line.weight.fill_(2.0)
        line.bias.fill_(1.0)
    loss = (line(torch.tensor([[3.0]])) - 5.0).square().sum()  # y = 7: gradients 2 * 2 * 3 and 2 * 2
    weights = adapted(line, loss, 0.1)
    assert weights["weight"].item() == pytest.approx(2.0 - 0.1 * 12.0)
    assert weights["bias"].item() == pytest.approx(1.0 - 0.1 * 4.0)


def test_a_loss_after_the_step_has_its_own_gradient_for_the_weights_before_it() -> None:
    line = nn.Linear(1, 1)
    loss = line(torch.tensor([[3.0]])).square().sum()
    weights = adapted(line, loss, 0.1)
    (before,) = torch.autograd.grad(weights["weight"].square().sum(), [line.weight])
    assert before.item() == pytest.approx(2 * weights["weight"].item())  # no factor of the step's own derivative


def test_complete_cases_are_segmented_with_the_weights_after_the_step() -> None:
    method, batch = made(rate=0.05), batch_of(WHOLE, ("t1c", "t2f"), WHOLE)
    terms = terms_of(method, batch)
    inner = segmentation_loss(method(batch.images, batch.presence), batch.regions)
    assert terms["meta_training"].item() == pytest.approx(inner.item())
    parameters = list(method.network.parameters())
    gradients = torch.autograd.grad(inner, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= 0.05 * gradient
    complete = [0, 2]
    expected = segmentation_loss(method(batch.images[complete], batch.acquired[complete]), batch.regions[complete])
    assert terms["meta_testing"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_batch_without_a_complete_case_is_tested_on_what_its_cases_have() -> None:
    method, batch = made(rate=0.0, meta_test=2.0), batch_of(("t1c", "t2f"), ("t1c",))
    batch.images[1, 0] = torch.nan
    expected = segmentation_loss(method(batch.images, batch.acquired), batch.regions)
    assert terms_of(method, batch)["meta_testing"].item() == pytest.approx(2 * expected.item(), rel=1e-5)


def test_the_detector_learns_what_was_shown_and_the_encoders_to_look_complete() -> None:
    method, batch = made(adversarial=0.3), batch_of(WHOLE, WHOLE)
    terms = terms_of(method, batch)
    _, partial = method.network(batch.images, batch.presence)
    says = method.detector(partial)
    deceived = 0.3 * F.binary_cross_entropy_with_logits(says, torch.ones(2, 4))
    assert terms["deceived"].item() == pytest.approx(deceived.item(), rel=1e-5)
    detector, encoder = next(method.detector.parameters()), next(method.network.encoders[2].parameters())
    assert GLIOMA.modalities[1] == "t1c"
    shown = next(method.network.encoders[1].parameters())
    for term, moves in (("detector", (True, False)), ("deceived", (False, True))):
        gradients = torch.autograd.grad(terms[term], [detector, shown, encoder], retain_graph=True, allow_unused=True)
        own, reached, hidden = (gradient is not None and bool(gradient.any()) for gradient in gradients)
        assert ((own, reached), hidden) == (moves, False), term


@pytest.mark.parametrize(
    ("argument", "kept"),
    [
        ("meta_test", {"meta_training", "detector", "deceived"}),
        ("adversarial", {"meta_training", "meta_testing"}),
    ],
)
def test_a_weight_of_nothing_leaves_its_part_out(argument: str, kept: set[str]) -> None:
    method = made(**{argument: 0.0})
    assert set(terms_of(method, batch_of(WHOLE))) == kept
    assert (method.detector in list(method.stages()[0].trains)) == ("detector" in kept)


def test_a_weight_below_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match="none is below 0"):
        made(rate=-1.0)
