"""SMSN: who enters when, what passes the bottlenecks, and that absent modalities change nothing."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from lacunet.errors import RecipeError
from lacunet.methods.smsn import (
    SMSN,
    Bottleneck,
    BottleneckFusion,
    Reconstruction,
    SpecificFeatures,
    group_sizes,
    in_order,
    order_of,
    overlaps,
    rank_of,
)
from lacunet.nn.batch import Batch
from lacunet.nn.losses import segmentation_losses
from lacunet.nn.memory import in_channels_last
from lacunet.nn.method import Clock, make_method
from lacunet.nn.residual import single_losses
from lacunet.task import GLIOMA, Task
from lacunet.training.recipe import read_recipe
from small import ROOT, named

RECIPE = ROOT / "recipes" / "smsn.toml"
EVERYTHING = GLIOMA.modalities
T1N, T1C, T2W, T2F = range(4)


def smsn(task: Task = GLIOMA, **arguments: Any) -> SMSN:
    torch.manual_seed(1)
    method = make_method(SMSN, task, {"width": 4, "levels": 3, **arguments})
    assert isinstance(method, SMSN)
    return method.train()


def clock_at(step: int = 50, notes: dict[str, float] | None = None) -> Clock:
    heard = {} if notes is None else notes
    return Clock(step, 100, torch.Generator().manual_seed(3), lambda name, value: heard.update({name: float(value)}))


def presence_of(*subsets: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor([GLIOMA.presence(subset) for subset in subsets])


def batch_of(*subsets: tuple[str, ...], side: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn((len(subsets), 4, side, side, side), generator=generator)
    regions = (torch.rand((len(subsets), 3, side, side, side), generator=generator) > 0.7).float()
    presence = presence_of(*subsets)
    images = torch.where(presence[:, :, None, None, None], images, torch.nan)
    return Batch(images, presence, presence, regions, tuple("abcd"[: len(subsets)]))


def features_of(cases: int, modalities: int = 4, channels: int = 3, side: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn((cases, modalities, channels, side, side, side), generator=generator)


def terms_of(method: SMSN, *subsets: tuple[str, ...], **clock: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    return dict(method.stages()[0].loss(batch_of(*subsets or (EVERYTHING,)), clock_at(**clock)))


# ---------------------------------------------------------------- who enters when


def drawn_orders(presence: torch.Tensor, rule: Any, count: int = 4000) -> Counter[tuple[int, ...]]:
    lots = torch.rand((count, 2, presence.shape[1]), generator=torch.Generator().manual_seed(1))
    return Counter(map(tuple, order_of(presence.expand(count, -1), lots, rule).tolist()))


@pytest.mark.parametrize("subset", GLIOMA.subsets, ids=GLIOMA.subset_name)
def test_the_first_to_enter_is_always_there(subset: tuple[str, ...]):
    presence = presence_of(subset)
    for rule in ("paper", "available_first"):
        for order in drawn_orders(presence, rule, 200):
            assert sorted(order) == [0, 1, 2, 3]
            assert presence[0, order[0]]


def test_the_papers_rule_draws_first_and_rest_evenly():
    """Two of four are there: 2 firsts times 3! orders of the rest, whether available or not."""
    orders = drawn_orders(presence_of(("t1c", "t2f")), "paper")
    assert len(orders) == 12
    assert {order[0] for order in orders} == {T1C, T2F}
    assert min(orders.values()) > 4000 / 12 * 0.8
    assert max(orders.values()) < 4000 / 12 * 1.2


def test_available_first_leaves_the_absent_to_the_end():
    orders = drawn_orders(presence_of(("t1c", "t2f")), "available_first")
    assert len(orders) == 4
    assert all(set(order[:2]) == {T1C, T2F} for order in orders)
    assert min(orders.values()) > 900


def test_a_fixed_order_asks_nobody():
    lots = torch.tensor([[[0.75, 0.0, 0.5, 0.25]] * 2])
    for subset in GLIOMA.subsets:
        assert order_of(presence_of(subset), lots, "fixed").tolist() == [[T1C, T2F, T2W, T1N]]


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        (EVERYTHING, [T1C, T2F, T2W, T1N]),
        (("t1n", "t2w"), [T2W, T1N, T1C, T2F]),
        (("t1n",), [T1N, T1C, T2F, T2W]),
    ],
    ids=named,
)
def test_the_order_of_evaluation(subset: tuple[str, ...], expected: list[int]):
    method, presence = smsn().eval(), presence_of(subset)
    encoded = method.encode(batch_of(subset).images, presence)
    assert method.fuse(encoded, presence).order.tolist() == [expected]


def test_a_task_without_these_modalities_keeps_its_own_order():
    task = Task("two", ("flair", "dwi"), {}, {}, {"lesion": 1}, {"all": (1,)}, (("all", 1),), {})
    assert rank_of(task).tolist() == [0.0, 0.5]


def test_an_order_and_its_inverse():
    features = features_of(3)
    order = torch.tensor([[2, 0, 3, 1], [0, 1, 2, 3], [3, 2, 1, 0]])
    ordered = in_order(features, order)
    assert torch.equal(ordered[0, 0], features[0, 2])
    assert torch.equal(ordered[2, 3], features[2, 0])
    assert not torch.equal(ordered, features)
    assert torch.equal(in_order(ordered, order.argsort(1)), features)


@torch.no_grad()
def test_training_draws_an_order_for_each_case_and_evaluation_none(monkeypatch: pytest.MonkeyPatch):
    seen = []

    def spy(presence: torch.Tensor, lots: torch.Tensor, rule: Any) -> torch.Tensor:
        seen.append((order_of(presence, lots, rule), rule))
        return seen[-1][0]

    monkeypatch.setattr("lacunet.methods.smsn.order_of", spy)
    method, batch = smsn(), batch_of(*[EVERYTHING] * 4)
    method.stages()[0].loss(batch, clock_at())
    assert seen[0][1] == "paper"
    assert len(set(map(tuple, seen[0][0].tolist()))) > 1
    method.eval()(batch.images, batch.presence)
    assert seen[1][0].tolist() == [[T1C, T2F, T2W, T1N]] * 4


@torch.no_grad()
def test_the_answer_depends_on_the_order():
    batch, (one, other) = batch_of(("t1c", "t2f", "t2w")), (smsn().eval(), smsn().eval())
    other.rank.copy_(torch.tensor([0.75, 0.5, 0.0, 0.25]))  # T2 first, FLAIR, T1ce
    assert not torch.allclose(one(batch.images, batch.presence), other(batch.images, batch.presence), atol=1e-4)


# ---------------------------------------------------------------- the bottlenecks


def bottleneck_of(mean: torch.Tensor, log_variance: torch.Tensor) -> Bottleneck:
    return Bottleneck(mean, log_variance, mean)


def test_no_nats_pass_the_prior_and_any_other_gaussian_costs_some():
    zero = torch.zeros(1, 2, 1, 1, 1)
    assert bottleneck_of(zero, zero).nats().abs().max() == 0
    for mean, log_variance in ((0.1, 0.0), (0.0, 0.1), (0.0, -0.1), (-3.0, 2.0)):
        assert bottleneck_of(zero + mean, zero + log_variance).nats().min() > 0


def test_nats_by_hand():
    one = torch.ones(1, 1, 1, 1, 1)
    assert bottleneck_of(2 * one, math.log(4) * one).nats().item() == pytest.approx(0.5 * (4 + 4 - 1 - math.log(4)))


def test_nats_equal_those_of_torch_distributions():
    mean, log_variance = features_of(2).unbind(0)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(bottleneck_of(mean, log_variance).nats(), expected)


@torch.no_grad()
def test_codes_are_drawn_from_the_gaussian_in_training_and_its_mean_in_evaluation():
    fusion = BottleneckFusion([2, 2], 3, "sequential")
    ordered = features_of(1).expand(4000, -1, -1, -1, -1, -1)
    _, (first, _) = fusion(ordered, drawn=True)
    torch.testing.assert_close(first.code.mean(0), first.mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(first.code.std(0), torch.exp(0.5 * first.log_variance[0]), atol=0.01, rtol=0.1)
    code, (first, second) = fusion(ordered[:1], drawn=False)
    assert torch.equal(first.code, first.mean)
    assert torch.equal(code, second.mean)


@torch.no_grad()
def test_log_variances_are_bounded_and_passed_gradient_there():
    fusion = BottleneckFusion([4], 3, "parallel")
    (stage,) = fusion.stages
    stage.describe.bias[3:] = torch.tensor([1e4, -1e4, 0.5])
    stage.describe.weight.zero_()
    _, (bottleneck,) = fusion(features_of(1), drawn=True)
    assert bottleneck.log_variance[0, :, 0, 0, 0].tolist() == pytest.approx([8.0, -8.0, 8 * math.tanh(0.5 / 8)])
    assert torch.isfinite(bottleneck.nats()).all()


@torch.no_grad()
def test_two_enter_first_and_the_rest_with_what_they_left():
    fusion = BottleneckFusion([2, 2], 3, "sequential")
    ordered = features_of(1)
    code, bottlenecks = fusion(ordered, drawn=False)
    changed = ordered.clone()
    changed[:, 2] += 1  # the third position
    new_code, new_bottlenecks = fusion(changed, drawn=False)
    assert torch.equal(bottlenecks[0].mean, new_bottlenecks[0].mean)
    assert not torch.allclose(code, new_code)
    first = fusion.stages[0](ordered[:, :2].flatten(1, 2), False)[0]
    second = fusion.stages[1](torch.cat([first, ordered[:, 2:].flatten(1, 2)], dim=1), False)[0]
    assert torch.equal(code, second)


@pytest.mark.parametrize(
    ("kind", "groups", "sizes", "reconstructed"),
    [
        ("sequential", 1, [1], [(0, 1, 5.0)]),
        ("sequential", 2, [2], [(0, 2, 5.0)]),
        ("sequential", 3, [2, 1], [(0, 2, 3.0), (2, 3, 5.0)]),
        ("sequential", 4, [2, 2], [(0, 2, 3.0), (2, 4, 5.0)]),
        ("sequential", 6, [2, 4], [(0, 2, 3.0), (2, 6, 5.0)]),
        ("sequential", [3, 1], [3, 1], [(0, 3, 3.0), (3, 4, 5.0)]),
        ("sequential", [1, 3], [1, 3], [(0, 1, 3.0), (1, 4, 5.0)]),
        ("sequential", [2, 1, 1], [2, 1, 1], [(0, 2, 3.0), (2, 3, 3.0), (3, 4, 5.0)]),
        ("sequential", [1, 1, 1, 1], [1, 1, 1, 1], [(0, 1, 3.0), (1, 2, 3.0), (2, 3, 3.0), (3, 4, 5.0)]),
        ("sequential", [4], [4], [(0, 4, 5.0)]),
        ("one_stage", 4, [2, 2], [(0, 4, 5.0)]),
        ("one_stage", [1, 1, 2], [1, 1, 2], [(0, 4, 5.0)]),
        ("parallel", 4, [4], [(0, 4, 5.0)]),
        ("concat", 4, [4], []),
    ],
    ids=named,
)
def test_groups_of_any_number_of_modalities(
    kind: Any, groups: int | list[int], sizes: list[int], reconstructed: list[tuple[int, int, float]]
):
    """A number of modalities takes the paper's groups: two, and then the rest."""
    modalities, given = (groups, []) if isinstance(groups, int) else (sum(groups), groups)
    assert group_sizes(modalities, kind, given) == sizes
    fusion = BottleneckFusion(sizes, 3, kind)
    code, bottlenecks = fusion(features_of(2, modalities), drawn=True)
    assert code.shape == (2, 3, 2, 2, 2)
    found = fusion.to_reconstruct(3.0, 5.0)
    assert [(entered.start, entered.stop, weight) for entered, weight in found] == reconstructed
    assert len(bottlenecks) == len(reconstructed)
    assert fusion.to_reconstruct(0.0, 0.0) == []


@torch.no_grad()
def test_one_by_one_each_code_is_of_the_next_sequence_and_the_code_before():
    """z1 of x1; z2 of z1 and x2; z3 of z2 and x3; z4 of z3 and x4."""
    fusion, ordered = BottleneckFusion([1, 1, 1, 1], 3, "sequential"), features_of(1)
    code, bottlenecks = fusion(ordered, drawn=False)
    expected = fusion.stages[0](ordered[:, 0], False)[0]
    for position, stage in enumerate(fusion.stages[1:], start=1):
        expected = stage(torch.cat([expected, ordered[:, position]], dim=1), False)[0]
    assert torch.equal(code, expected)
    assert len(bottlenecks) == 4
    changed = ordered.clone()
    changed[:, 2] += 1
    _, after = fusion(changed, drawn=False)
    moved = [not torch.equal(one.mean, other.mean) for one, other in zip(bottlenecks, after, strict=True)]
    assert moved == [False, False, True, True]


def test_the_groups_decide_the_terms_and_what_is_noted():
    """The KL is the sum over four bottlenecks; beta weighs what the first three rebuild, gamma the last."""

    def reconstruction(beta: float, gamma: float) -> float:
        return terms_of(smsn(groups=[1, 1, 1, 1], beta=beta, gamma=gamma))["reconstruction"].item()

    notes: dict[str, float] = {}
    method = smsn(groups=[1, 1, 1, 1])
    kl = terms_of(method, notes=notes)["kl"].item()
    elements = 16 * 4**3
    assert set(notes) == {f"{what}_z{number}" for what in ("nats", "active") for number in range(1, 5)}
    assert kl == pytest.approx(method.kl * sum(notes[f"nats_z{number}"] for number in range(1, 5)) / elements, rel=1e-4)
    assert reconstruction(0.3, 2.0) == pytest.approx(
        0.3 * reconstruction(1.0, 0.0) + 2.0 * reconstruction(0.0, 1.0), rel=1e-5
    )
    assert reconstruction(1.0, 0.0) > 2 * reconstruction(0.0, 1.0)


def test_the_twin_has_the_same_posterior_of_all_at_once():
    fusion = BottleneckFusion([4], 3, "parallel")
    (stage,) = fusion.stages
    assert stage.mix.in_channels == 4 * 3
    _, (bottleneck,) = fusion(features_of(1), drawn=True)
    assert not torch.equal(bottleneck.code, bottleneck.mean)
    assert bottleneck.nats().min() > 0


@pytest.mark.parametrize("modalities", [1, 2, 3, 5])
def test_any_number_of_modalities_trains_and_segments(modalities: int):
    names = tuple(f"m{index}" for index in range(modalities))
    task = Task("any", names, {}, {}, {"lesion": 1}, {"all": (1,)}, (("all", 1),), {})
    method = smsn(task)
    presence = torch.ones(1, modalities, dtype=torch.bool)
    images, regions = torch.randn(1, modalities, 16, 16, 16), torch.ones(1, 1, 16, 16, 16)
    terms = method.stages()[0].loss(Batch(images, presence, presence, regions, ("a",)), clock_at())
    assert all(torch.isfinite(term) for term in terms.values())
    assert method.eval()(images, presence).shape == regions.shape


@torch.no_grad()
def test_the_log_counts_nats_and_active_channels():
    notes: dict[str, float] = {}
    method = smsn()
    terms = terms_of(method, EVERYTHING, ("t1c",), notes=notes)
    assert set(notes) == {"nats_z1", "nats_z2", "active_z1", "active_z2"}
    elements = 16 * 4**3  # channels of the coarsest level, places of a crop of 16 at four voxels each
    expected = method.kl * (notes["nats_z1"] + notes["nats_z2"]) / elements
    assert terms["kl"].item() == pytest.approx(expected, rel=1e-4)
    assert notes["active_z1"] == notes["active_z2"] == 1.0


@torch.no_grad()
def test_collapsed_channels_are_seen():
    method, notes = smsn(fusion="parallel"), {}
    (stage,) = method.fusion.stages
    for parameter in (stage.describe.weight, stage.describe.bias):
        parameter[:12] = 0
        parameter[16:28] = 0
    terms_of(method, notes=notes)
    assert set(notes) == {"nats_z2", "active_z2"}
    assert notes["active_z2"] == pytest.approx(4 / 16)


@torch.no_grad()
def test_the_weight_of_the_kl_rises():
    late, half, first = (terms_of(smsn(), step=step)["kl"].item() for step in (90, 5, 0))
    assert half == pytest.approx(late / 2, rel=1e-5)
    assert first == 0
    assert terms_of(smsn(warmup=0.0), step=0)["kl"].item() == pytest.approx(late, rel=1e-5)
    assert terms_of(smsn(kl=0.05))["kl"].item() == pytest.approx(5 * late, rel=1e-5)


# ---------------------------------------------------------------- reconstruction


def test_reconstruction_by_hand():
    """A decoder that always says 1: the errors are the targets' distances from 1, of what is present."""
    decoder = Reconstruction(4, 3, slice(0, 2), 5.0, "features")
    for parameter in decoder.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(decoder.out.bias)
    targets = torch.arange(4.0)[None, :, None, None, None, None].expand(2, 4, 3, 2, 2, 2)
    order = torch.tensor([[3, 2, 1, 0], [3, 0, 1, 2]])
    presence = torch.tensor([[True, True, True, True], [True, True, True, False]])
    losses = decoder(torch.zeros(2, 3, 2, 2, 2), targets, order, presence)
    assert losses.tolist() == [5.0 * ((3 - 1) ** 2 + (2 - 1) ** 2), 5.0 * (0 - 1) ** 2]


def test_reconstruction_asks_nothing_of_the_absent():
    decoder = Reconstruction(4, 3, slice(0, 4), 1.0, "features")
    code, targets = features_of(1)[:, 0].requires_grad_(), features_of(1).requires_grad_()
    for parameter in (decoder.scale, decoder.shift):
        torch.nn.init.normal_(parameter)
    order, presence = torch.tensor([[2, 0, 3, 1]]), presence_of(("t1n", "t2w"))
    decoder(
        code, torch.where(presence[:, :, None, None, None, None], targets, torch.nan), order, presence
    ).sum().backward()
    for gradient in (decoder.scale.grad, decoder.shift.grad, targets.grad[0].flatten(1)):
        assert torch.isfinite(gradient).all()
        assert (gradient.abs().sum(1) > 0).tolist() == [True, False, True, False]


def test_a_stage_that_only_absent_modalities_enter_costs_nothing():
    decoder = Reconstruction(4, 3, slice(2, 4), 1.0, "features")
    order, presence = torch.tensor([[0, 1, 2, 3]]), presence_of(("t1n", "t1c"))
    loss = decoder(features_of(1)[:, 0], features_of(1), order, presence)
    loss.sum().backward()
    assert loss.tolist() == [0.0]


def test_beta_and_gamma_weigh_the_two_stages():
    def reconstruction(beta: float, gamma: float) -> float:
        return terms_of(smsn(beta=beta, gamma=gamma))["reconstruction"].item()

    first, second = reconstruction(1.0, 0.0), reconstruction(0.0, 1.0)
    assert first > 0
    assert second > 0
    assert reconstruction(0.3, 2.0) == pytest.approx(0.3 * first + 2.0 * second, rel=1e-5)


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the decoders of a loss are asked to reconstruct."""
    seen: list[torch.Tensor] = []
    forward = Reconstruction.forward

    def spy(decoder: Reconstruction, code: torch.Tensor, target: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(target)
        return forward(decoder, code, target, *rest)

    monkeypatch.setattr(Reconstruction, "forward", spy)
    return seen


def test_what_is_reconstructed_does_not_move_to_be_reconstructed(targets: list[torch.Tensor]):
    terms_of(smsn())
    assert len(targets) == 2
    assert not any(target.requires_grad for target in targets)


def test_the_image_can_be_reconstructed_instead(targets: list[torch.Tensor]):
    terms_of(smsn(target="image"), ("t1n", "t2f"))
    images = batch_of(("t1n", "t2f")).images
    assert targets[0].shape == (1, 4, 1, 8, 8, 8)  # voxels of 2 x 2 x 2: at twice the resolution of the code
    assert targets[0][0, T2F, 0, 1, 2, 3].item() == pytest.approx(images[0, T2F, 2:4, 4:6, 6:8].mean().item())


# ---------------------------------------------------------------- what is specific


def test_overlap_of_orthogonal_features_is_zero_and_else_positive():
    shared = torch.tensor([1.0, 2.0, 0.0])[None, :, None, None, None]
    specific = torch.tensor([[2.0, -1.0, 5.0], [1.0, 2.0, 0.0], [-3.0, -6.0, 0.0], [0.0, 1.0, 0.0]])
    specific = specific[None, :, :, None, None, None]
    alone = [overlaps(shared, specific, presence_of((modality,)), "cosine").item() for modality in EVERYTHING]
    assert alone == pytest.approx([0.0, 1.0, 1.0, 0.8], abs=1e-6)
    assert overlaps(shared, specific, presence_of(("t1n", "t2f")), "cosine").item() == pytest.approx(0.4)
    products = [overlaps(shared, specific, presence_of((modality,)), "product").item() for modality in EVERYTHING]
    assert products == pytest.approx([0.0, 25.0, 225.0, 4.0])


def test_overlap_asks_nothing_of_the_absent():
    shared, specific = features_of(1)[:, 0].requires_grad_(), features_of(1).requires_grad_()
    overlaps(shared, specific, presence_of(("t1c",)), "cosine").sum().backward()
    assert (specific.grad[0].flatten(1).abs().sum(1) > 0).tolist() == [False, True, False, False]
    assert shared.grad.abs().max() > 0


@torch.no_grad()
def test_an_absent_modality_has_nothing_specific_and_is_not_heard():
    block = SpecificFeatures(4, 8, 2, 5)
    features, shared = features_of(2, channels=8), features_of(2, channels=8)[:, 1]
    presence = presence_of(("t1n", "t2f"), EVERYTHING)
    specific = block(features, shared, presence)
    assert specific[0, T1C].abs().max() == specific[0, T2W].abs().max() == 0
    changed = features.clone()
    changed[0, T1C] = torch.nan
    torch.testing.assert_close(block(changed, shared, presence), specific)
    changed = features.clone()
    changed[0, T2F] *= torch.randn(8, 1, 1, 1)
    assert not torch.allclose(block(changed, shared, presence)[0, T1N], specific[0, T1N])
    assert not torch.allclose(block(features, shared.flip(1), presence)[0, T1N], specific[0, T1N])


@torch.no_grad()
def test_position_embeddings_are_interpolated():
    block = SpecificFeatures(1, 2, 1, 2)
    block.owner.zero_()
    block.position[0, 0] = torch.arange(8.0).view(2, 2, 2)
    seen = []
    block.layer.gathered = lambda tokens, there, kept: seen.append(tokens) or tokens  # type: ignore[method-assign]
    for side in (2, 4, 3):
        block(torch.zeros(1, 1, 2, side, side, side), torch.zeros(1, 2, side, side, side), torch.ones(1, 1).bool())
    assert seen[0][0, :8, 0].tolist() == list(range(8))
    assert seen[1][0, :64, 0].view(4, 4, 4)[0, 0].tolist() == [0, 0.25, 0.75, 1]
    assert seen[2][0, :27, 0].view(3, 3, 3)[1, 1, 1] == pytest.approx(3.5)


@torch.no_grad()
def test_the_decoder_gets_specific_plus_shared_and_of_the_absent_shared_alone(monkeypatch: pytest.MonkeyPatch):
    method, batch = smsn().eval(), batch_of(("t1n", "t2w"))
    seen = []
    monkeypatch.setattr(method.parts[-1], "forward", lambda features: seen.extend(features) or list(features))
    fused = method.fuse(method.encode(batch.images, batch.presence), batch.presence)
    for index in range(4):
        assert torch.equal(seen[index], fused.specific[:, index] + fused.shared)
        assert torch.equal(seen[index], fused.shared) == (index in (T1C, T2F))
    assert fused.specific[:, T1N].abs().max() > 0


# ---------------------------------------------------------------- the whole loss


def test_nothing_runs_through_the_encoder_of_a_modality_that_nobody_shows(monkeypatch: pytest.MonkeyPatch):
    method, rows = smsn(), {}
    for index, encoder in enumerate(method.encoders):
        encoder.register_forward_hook(lambda module, inputs, output, i=index: rows.update({i: len(inputs[0])}))
    terms_of(method, ("t1c", "t2f"), ("t1c",))
    assert rows == {T1N: 0, T1C: 2, T2W: 0, T2F: 1}


def test_hidden_modalities_supervise_nothing():
    """What was acquired but is not shown changes no term, whatever its voxels."""
    method = smsn()
    batch = batch_of(("t1c", "t2w"))
    found = []
    for fill in (torch.nan, 3.0):
        images = torch.where(torch.isnan(batch.images), fill, batch.images)
        torch.manual_seed(4)
        acquired = torch.ones_like(batch.presence)
        found.append(
            method.stages()[0].loss(Batch(images, acquired, batch.presence, batch.regions, ("a",)), clock_at())
        )
    for name, term in found[0].items():
        assert torch.equal(term, found[1][name]), name


def test_single_predictions_cost_the_mean_over_the_case():
    presence = presence_of(("t1n", "t2f"), ("t1n",))
    regions = batch_of(EVERYTHING, EVERYTHING, side=4).regions
    logits = torch.randn((3, 3, 4, 4, 4), generator=torch.Generator().manual_seed(1))  # t1n of both cases, t2f of one
    one, other, third = (
        segmentation_losses(logits[i : i + 1], regions[j : j + 1]).item() for i, j in ((0, 0), (1, 1), (2, 0))
    )
    assert single_losses(logits, presence, regions).tolist() == pytest.approx([(one + third) / 2, other])


def test_a_mixed_batch_costs_what_its_cases_cost():
    """With fixed orders and nothing drawn, so that cases can be compared."""
    method = smsn(reorder="fixed")
    for stage in method.fusion.stages:
        torch.nn.init.constant_(stage.describe.bias[16:], -1e4)  # log-variances at their bound: next to no noise
    sets = [EVERYTHING, ("t1n", "t2f"), ("t1c",)]
    batch = batch_of(*sets)
    together = method.stages()[0].loss(batch, clock_at())
    apart: Counter[str] = Counter()
    for case in range(len(sets)):
        one = slice(case, case + 1)
        alone = Batch(batch.images[one], batch.acquired[one], batch.presence[one], batch.regions[one], ("a",))
        apart.update({name: float(term.detach()) for name, term in method.stages()[0].loss(alone, clock_at()).items()})
    for name, term in together.items():
        assert term.item() == pytest.approx(apart[name] / len(sets), rel=0.02), name


ALL = {"segmentation", "deep", "auxiliary", "kl", "reconstruction", "orthogonality"}


@pytest.mark.parametrize(
    ("arguments", "terms"),
    [
        ({}, ALL),
        ({"fusion": "one_stage"}, ALL),
        ({"fusion": "parallel"}, ALL),
        ({"fusion": "concat"}, ALL - {"kl", "reconstruction"}),
        ({"specific": False}, ALL - {"orthogonality"}),
        ({"orthogonality": 0.0}, ALL - {"orthogonality"}),
        ({"beta": 0.0, "gamma": 0.0}, ALL - {"reconstruction"}),
        ({"kl": 0.0}, ALL - {"kl"}),
        ({"reorder": "fixed"}, ALL),
        ({"groups": [1, 1, 1, 1]}, ALL),
        ({"groups": [3, 1]}, ALL),
        ({"groups": [1, 3], "fusion": "one_stage"}, ALL),
        ({"reorder": "available_first", "target": "image", "inner": "product"}, ALL),
    ],
    ids=named,
)
def test_terms_of_each_ablation(arguments: dict[str, Any], terms: set[str]):
    method = smsn(**arguments)
    found = terms_of(method, EVERYTHING, ("t1c", "t2f"))
    assert set(found) == terms
    torch.stack(list(found.values())).sum().backward()
    unmoved = {name for name, p in method.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert not unmoved


def test_weights_scale_their_terms():
    plain, weighed = terms_of(smsn()), terms_of(smsn(orthogonality=0.3))
    for name in plain:
        factor = 3 if name == "orthogonality" else 1
        assert weighed[name].item() == pytest.approx(factor * plain[name].item(), rel=1e-5), name


@torch.no_grad()
def test_fifteen_subsets_run_each_encoder_once():
    method, runs = smsn().eval(), Counter[int]()
    for index, encoder in enumerate(method.encoders):
        encoder.register_forward_hook(lambda module, inputs, output, i=index: runs.update([i]))
    images = torch.randn(1, 4, 16, 16, 16)
    encoded = method.encode(images, presence_of(EVERYTHING))
    for subset in GLIOMA.subsets:
        assert torch.isfinite(method.decode(encoded, presence_of(subset))).all()
    assert runs == {0: 1, 1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"levels": 1}, "levels = 1: at least 2"),
        ({"fusion": "serial"}, "one of sequential, one_stage, parallel, concat"),
        ({"groups": [2, 1]}, r"groups = \[2, 1\]: whole numbers from 1 that add up to the 4 modalities"),
        ({"groups": [4, 0]}, r"groups = \[4, 0\]: whole numbers from 1"),
        ({"groups": [2.0, 2.0]}, "refuses its arguments"),
        ({"groups": "22"}, "refuses its arguments"),
        ({"groups": 4}, "refuses its arguments"),
        ({"groups": [2, 2], "fusion": "parallel"}, "with fusion = 'parallel' all modalities enter at once"),
    ],
    ids=named,
)
def test_refuses_arguments_that_mean_nothing(arguments: dict[str, Any], words: str):
    with pytest.raises(RecipeError, match=words):
        make_method(SMSN, GLIOMA, arguments)


# ---------------------------------------------------------------- at full size


def test_the_small_recipe_is_the_same_method_on_another_scale():
    full, small = read_recipe(RECIPE).arguments, read_recipe(RECIPE.parent / "small" / RECIPE.name).arguments
    assert {key: value for key, value in full.items() if key not in {"width", "levels"}} == {
        key: value for key, value in small.items() if key not in {"width", "levels"}
    }


@pytest.mark.slow
def test_the_recipe_of_the_paper_takes_two_steps():
    recipe = read_recipe(RECIPE)
    torch.manual_seed(1)
    method = in_channels_last(make_method(SMSN, GLIOMA, recipe.arguments)).train()
    assert sum(parameter.numel() for parameter in method.parameters()) == 41_626_962
    batch = batch_of(EVERYTHING, side=recipe.train.crop[0])
    optimiser = torch.optim.AdamW(method.parameters(), lr=recipe.train.learning_rate)
    before = method.outputs[0].weight.detach().clone()
    for step in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            terms = method.stages()[0].loss(batch, clock_at(step=step))
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert torch.isfinite(loss)
        assert set(terms) == ALL
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert not torch.equal(method.outputs[0].weight, before)


def test_several_subsets_of_a_crop_are_decoded_from_one_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    method = smsn(reorder="fixed", kl=0.0, fusion="concat", subsets=2)  # nothing is drawn
    batch, further = batch_of(EVERYTHING), presence_of(("t1n", "t2f"))
    shown = replace(batch, presence=presence_of(("t1c",)))
    calls: list[int] = []
    method.encoders[0].register_forward_hook(lambda module, inputs, levels: calls.append(len(inputs[0])))
    monkeypatch.setattr("lacunet.methods.smsn.shown_subsets", lambda batch, count: [batch.presence, further][:count])
    both = method.stages()[0].loss(shown, clock_at())
    assert calls == [1]
    method.subsets = 1
    alone = [method.stages()[0].loss(replace(batch, presence=one), clock_at()) for one in (shown.presence, further)]
    whole = method.stages()[0].loss(batch, clock_at())
    assert list(both) == list(whole)
    for name in ("segmentation", "deep", "orthogonality"):
        torch.testing.assert_close(both[name], (alone[0][name] + alone[1][name]) / 2)
    torch.testing.assert_close(both["auxiliary"], whole["auxiliary"])  # each of the modalities that were acquired
