"""MIFPN, as we read it: who stands in for a missing modality, what draws modalities together, and the skips."""

import math
from typing import Any

import pytest
import torch

from batches_made import batch_of, clock_at, made_by_recipe, numbers_in, presence_of, sizes_apart
from lacunet.methods.mifpn import MIFPN, chosen_parts, divergence, masked_parts, stood_in
from lacunet.nn.method import make_method
from lacunet.task import GLIOMA

EVERYTHING = GLIOMA.modalities
PAIR = ("t1n", "t2w")


def mifpn(**arguments: Any) -> MIFPN:
    torch.manual_seed(1)
    method = make_method(MIFPN, GLIOMA, {"width": 4, "levels": 3, **arguments})
    assert isinstance(method, MIFPN)
    return method.train()


def test_the_mean_of_what_is_there_and_a_prompt_stand_in():
    """T1 and T2 are there: 1 and 3 in common, mean 2; prompts are 0.1 to 0.4."""
    invariant = torch.tensor([1.0, torch.nan, 3.0, torch.nan]).view(1, 4, 1, 1, 1, 1)
    specific = torch.tensor([10.0, torch.nan, 30.0, torch.nan]).view(1, 4, 1, 1, 1, 1)
    prompts = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(4, 1, 1, 1, 1)
    both = stood_in(invariant, specific, prompts, presence_of(PAIR)).flatten(2)
    torch.testing.assert_close(both[0], torch.tensor([[1.0, 10.0], [2.0, 0.2], [3.0, 30.0], [2.0, 0.4]]))


def test_the_divergence_by_hand():
    """Two channels; modalities say 3/4 and 1/4, so that their mean is 1/2 and each is as far from it."""
    logits = torch.tensor([[math.log(3.0), 0.0], [5.0, -5.0], [0.0, math.log(3.0)], [7.0, 7.0]])
    invariant = logits.view(1, 4, 2, 1, 1, 1)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert divergence(invariant, presence_of(PAIR)).item() == pytest.approx(expected)
    assert divergence(invariant, presence_of(("t1n",))).item() == pytest.approx(0, abs=1e-6)
    assert divergence(invariant[:, [0, 0, 0, 0]], presence_of(EVERYTHING)).item() == pytest.approx(0, abs=1e-6)


def test_the_divergence_has_a_gradient_of_present_modalities_only():
    torch.manual_seed(1)
    invariant = torch.randn(1, 4, 3, 2, 2, 2, requires_grad=True)
    divergence(invariant, presence_of(PAIR)).sum().backward()
    assert invariant.grad is not None
    assert (invariant.grad.abs().amax((0, 2, 3, 4, 5)) > 0).tolist() == [True, False, True, False]


def test_masks_and_choices_by_hand():
    part = torch.full((1, 2, 1, 1, 1), 8.0)
    masked = masked_parts([part, part], [torch.zeros(1, 1, 1, 1, 1), torch.full((1, 1, 1, 1, 1), 100.0)])
    assert [one.unique().item() for one in masked] == [4.0, 8.0]
    scores = torch.tensor([[math.log(3.0), 50.0, 0.0, 50.0]])
    chosen = chosen_parts([part] * 4, scores, presence_of(PAIR))  # 3/4 and 1/4, times two
    assert [one.unique().item() for one in chosen] == pytest.approx([12.0, 0.0, 4.0, 0.0])
    alone = chosen_parts([part] * 4, scores, presence_of(("t2w",)))
    assert [one.unique().item() for one in alone] == pytest.approx([0.0, 0.0, 8.0, 0.0])


@torch.no_grad()
def test_the_prompt_of_a_missing_modality_reaches_the_answer_and_that_of_a_present_one_does_not():
    method, presence = mifpn().eval(), presence_of(PAIR)
    encoded = method.encode(batch_of(PAIR).images, presence)
    before = method.decode(encoded, presence)
    method.prompts.learned[0] += 1
    assert torch.equal(method.decode(encoded, presence), before)
    method.prompts.learned[1] += torch.randn_like(method.prompts.learned[1])
    assert not torch.allclose(method.decode(encoded, presence), before, atol=1e-5)


def test_learns_from_what_is_shown():
    method = mifpn()
    terms = method.stages()[0].loss(batch_of(PAIR, EVERYTHING), clock_at())
    assert set(terms) == {"segmentation", "deep", "auxiliary", "invariance"}
    torch.stack([*terms.values()]).sum().backward()
    assert not [name for name, parameter in method.named_parameters() if parameter.grad is None]


@torch.no_grad()
def test_the_invariance_is_a_tenth_of_the_divergence():
    method, batch = mifpn(), batch_of(PAIR, EVERYTHING)
    encoded = method.encode(batch.images, batch.presence)
    expected = 0.1 * divergence(encoded.invariant, batch.presence).mean()
    torch.testing.assert_close(method.stages()[0].loss(batch, clock_at())["invariance"], expected)


def test_size_at_full_scale():
    """How many numbers the published network has is not known to us."""
    assert numbers_in(made_by_recipe("mifpn")) == 35_962_610


def test_the_small_recipe_is_the_same_method_on_another_scale():
    assert sizes_apart("mifpn")
