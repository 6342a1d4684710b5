"""SMU-Net: who learns from whom, the style's correlations, the discriminator, what a model folder keeps."""

import math
from typing import Any

import pytest
import torch

from batches_made import batch_shown, presence_of
from lacunet.errors import ModelError, RecipeError
from lacunet.methods.smunet import SMUNet, correlations, judged
from lacunet.nn.losses import segmentation_loss
from lacunet.nn.method import Clock, make_method
from lacunet.task import GLIOMA


def tiny(**arguments: Any) -> SMUNet:
    torch.manual_seed(1)
    return make_method(SMUNet, GLIOMA, {"width": 4, "levels": 3, **arguments})


def at(step: int) -> Clock:
    return Clock(step, 100, torch.Generator())


ACQUIRED, SHOWN = presence_of(("t1n", "t1c", "t2f")), presence_of(("t1c",))


def test_correlations_by_hand():
    """Two channels, two places."""
    style = torch.tensor([[1.0, 3.0], [2.0, -4.0]])[None, :, None, None]
    assert correlations(style)[0].tolist() == [[(1 + 9) / 2, (2 - 12) / 2], [(2 - 12) / 2, (4 + 16) / 2]]


def test_judgements_by_hand():
    logits = torch.tensor([0.0, math.log(3)])  # probabilities of the richer path: 1 / 2 and 3 / 4
    assert judged(logits, full=True).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert judged(logits, full=False).item() == pytest.approx((math.log(2) + math.log(4)) / 2)


@pytest.mark.parametrize(("step", "weight"), [(0, math.exp(-5)), (4, math.exp(-1.25)), (8, 1.0), (50, 1.0)])
def test_the_terms_by_hand(step: int, weight: float):
    method, batch = tiny(), batch_shown(ACQUIRED, SHOWN)
    terms = method.stages()[0].loss(batch, at(step))
    rich, poor = method.teacher(batch.images, ACQUIRED), method.student(batch.images, SHOWN)
    assert torch.equal(poor.logits, method(batch.images, SHOWN))
    gram = (correlations(poor.style) - correlations(rich.style)).square().mean()
    expected = {
        "full": 0.4 * segmentation_loss(rich.logits, batch.regions),
        "missing": 0.6 * segmentation_loss(poor.logits, batch.regions),
        "consistency": 10 * weight * (poor.logits.sigmoid() - rich.logits.sigmoid()).square().mean(),
        "content": 0.2 * (poor.content - rich.content).square().mean(),
        "style": 1e-4 * gram,
        "adversarial": 2e-4 * -torch.log(method.discriminator(poor.style).sigmoid()).mean(),
        "discriminator": -(
            torch.log(method.discriminator(rich.style).sigmoid())
            + torch.log(1 - method.discriminator(poor.style).sigmoid())
        ).mean()
        / 2,
    }
    assert {name: term.item() for name, term in terms.items()} == {
        name: pytest.approx(term.item(), rel=1e-4) for name, term in expected.items()
    }


PARTS = ("student", "teacher", "discriminator")


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("full", {"teacher"}),
        ("missing", {"student"}),
        ("consistency", {"student"}),
        ("content", {"student"}),
        ("style", {"student"}),
        ("adversarial", {"student"}),
        ("discriminator", {"discriminator"}),
    ],
)
def test_each_term_moves_one_network_alone(name: str, moved: set[str]):
    method = tiny()
    method.stages()[0].loss(batch_shown(ACQUIRED, SHOWN), at(50))[name].backward()
    gradients = {part: [p.grad for p in getattr(method, part).parameters() if p.grad is not None] for part in PARTS}
    assert {part for part, own in gradients.items() if any(bool(one.abs().sum() > 0) for one in own)} == moved


def test_the_style_depends_on_what_is_said_to_be_there():
    """The same images, zero in FLAIR, once said to have it."""
    method, one, more = tiny(), presence_of(("t1c",)), presence_of(("t1c", "t2f"))
    images = torch.zeros(1, 4, 16, 16, 16)
    images[:, 1] = torch.randn(16, 16, 16)
    poor, richer = method.student(images, one), method.student(images, more)
    assert torch.equal(poor.content, richer.content)
    assert not torch.allclose(poor.style, richer.style)
    assert torch.equal(method.teacher(images, one).style, method.teacher(images, more).style)


def test_terms_without_weight_are_left_out():
    method = tiny(consistency=0.0, content=0.0, style=0.0, adversarial=0.0)
    assert set(method.stages()[0].loss(batch_shown(ACQUIRED, SHOWN), at(0))) == {"full", "missing"}


def test_a_model_folder_keeps_the_poorer_path_and_no_parts_for_training():
    method = tiny().eval()
    alone = method.deployed()
    assert {name.split(".")[0] for name in alone.state_dict()} == {"student"}
    images = torch.randn(1, 4, 16, 16, 16)
    assert torch.equal(alone.eval()(images, SHOWN), method(images, SHOWN))
    with pytest.raises(ModelError, match="no parts for training"):
        alone.stages()


def test_a_network_without_a_skip_is_refused():
    with pytest.raises(RecipeError, match="levels = 1: at least 2"):
        make_method(SMUNet, GLIOMA, {"levels": 1})
