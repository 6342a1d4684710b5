"""Dual-stage: what is masked, who learns from what, what a prompt changes, what is left of it in use."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch

from lacunet.case import CaseFiles
from lacunet.cli.main import main
from lacunet.data.missing import apply_missing
from lacunet.data.prepare import Preparation
from lacunet.errors import ModelError, RecipeError
from lacunet.methods.dual_stage import (
    DualStage,
    Output,
    Segmenter,
    distilled_levels,
    draw_seen,
    drawn_part,
    feature_distance,
    normed,
    reconstruction_loss,
)
from lacunet.methods.early_fusion import EarlyFusion
from lacunet.models.model import load_model, save_model
from lacunet.nn.batch import Batch
from lacunet.nn.losses import deeply, dice_loss, segmentation_loss
from lacunet.nn.memory import in_channels_last
from lacunet.nn.method import Clock, Method, Stage, make_method
from lacunet.nn.prompts import read_table, sentence_of
from lacunet.progress import Silent
from lacunet.task import GLIOMA
from lacunet.training.optimiser import freeze_all_but, make_optimiser, training_mode
from lacunet.training.recipe import read_recipe
from lacunet.training.train import train
from small import ROOT, named, tiny_recipe

RECIPE = ROOT / "recipes" / "dual_stage.toml"
FOUR = (0, 1, 2, 3)
SETS = [("t1n", "t1c", "t2f"), GLIOMA.modalities, ("t2w",)]
NETWORKS = ("critic", "recovery", "teacher", "student")


def tiny(**arguments: Any) -> DualStage:
    torch.manual_seed(1)
    method = make_method(DualStage, GLIOMA, {"width": 4, "levels": 2, "patches": 2, **arguments})
    assert isinstance(method, DualStage)
    for segmenter in method.modules():  # heads begin plain; here every prompt has its own
        if isinstance(segmenter, Segmenter) and segmenter.hyper is not None:
            torch.nn.init.normal_(segmenter.hyper.mlp[-1].weight, std=0.1)
    return method.train()


def clock_at(step: int = 3, notes: Counter[str] | None = None) -> Clock:
    heard = Counter[str]() if notes is None else notes
    return Clock(
        step,
        10,
        torch.Generator().manual_seed(3),
        lambda name, value: heard.update({name: float(torch.as_tensor(value).detach())}),
    )


def presence_of(*subsets: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor([GLIOMA.presence(subset) for subset in subsets])


def batch_of(*subsets: tuple[str, ...], shown: list[tuple[str, ...]] | None = None, side: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn((len(subsets), 4, side, side, side), generator=generator)
    regions = (torch.rand((len(subsets), 3, side, side, side), generator=generator) > 0.7).float()
    acquired = presence_of(*subsets)
    images = torch.where(acquired[:, :, None, None, None], images, 0.0)
    return Batch(images, acquired, presence_of(*(shown or subsets)), regions, tuple("abcd"[: len(subsets)]))


def loss_of(method: DualStage, name: str, batch: Batch, seed: int = 7) -> dict[str, torch.Tensor]:
    """The terms of a stage, with everything frozen that the stage freezes."""
    stage = stage_of(method, name)
    freeze_all_but(method, stage.trains)
    training_mode(method, stage.trains)
    torch.manual_seed(seed)
    return dict(stage.loss(batch, clock_at()))


def stage_of(method: DualStage, name: str) -> Stage:
    return next(stage for stage in method.stages() if stage.name == name)


def moved_by(method: DualStage, term: torch.Tensor) -> set[str]:
    """The networks that a term's gradient reaches."""
    method.zero_grad()
    if term.requires_grad:
        term.backward(retain_graph=True)
    return {
        name.split(".")[0]
        for name, parameter in method.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }


# ---------------------------------------------------------------- masking


@pytest.mark.parametrize("subset", GLIOMA.subsets, ids=GLIOMA.subset_name)
def test_exactly_one_eighth_of_all_patches_is_seen(subset: tuple[str, ...]) -> None:
    torch.manual_seed(2)
    for _ in range(20):
        seen = draw_seen(presence_of(subset, subset), (16, 16, 16), patches=8, masked=0.875)
        assert seen.shape == (2, 4, 16, 16, 16)
        assert seen.float().mean((1, 2, 3, 4)).tolist() == [0.125, 0.125]


def test_enough_modalities_are_left_for_the_share_that_is_seen() -> None:
    torch.manual_seed(2)
    for _ in range(50):
        seen = draw_seen(presence_of(GLIOMA.modalities, ("t1n", "t2w"), ("t1c",)), (8, 8, 8), patches=4, masked=0.5)
        assert seen.float().mean((1, 2, 3, 4)).tolist() == [0.5, 0.5, 0.25]  # of the last, all that there is


def test_what_was_never_acquired_is_never_seen() -> None:
    torch.manual_seed(2)
    for subset in GLIOMA.subsets:
        seen = draw_seen(presence_of(subset), (8, 8, 8), patches=4, masked=0.5).any((2, 3, 4))[0].tolist()
        assert {GLIOMA.modalities[index] for index in FOUR if seen[index]} <= set(subset)


def test_patches_are_seen_whole() -> None:
    torch.manual_seed(2)
    seen = draw_seen(presence_of(GLIOMA.modalities), (8, 12, 16), patches=4, masked=0.5)
    blocks = seen.unflatten(4, (4, 4)).unflatten(3, (4, 3)).unflatten(2, (4, 2)).float().mean((3, 5, 7))
    assert set(blocks.unique().tolist()) == {0.0, 1.0}
    uneven = draw_seen(presence_of(GLIOMA.modalities), (7, 7, 7), patches=4, masked=0.5)  # 2, 2, 2 and 1 wide
    assert uneven.shape == (1, 4, 7, 7, 7)
    assert torch.equal(uneven[..., 0], uneven[..., 1])


def test_as_many_modalities_are_dropped_as_are_drawn() -> None:
    torch.manual_seed(2)
    counts, members = Counter[int](), Counter[int]()
    for _ in range(800):
        seen = draw_seen(presence_of(GLIOMA.modalities), (8, 8, 8), patches=8, masked=0.875).any((2, 3, 4))[0]
        counts[int(seen.sum())] += 1
        members.update(seen.nonzero()[:, 0].tolist())
    assert all(count == pytest.approx(200, abs=45) for count in counts.values())
    assert sorted(counts) == [1, 2, 3, 4]
    assert all(count == pytest.approx(500, abs=50) for count in members.values())


def test_one_that_is_alone_is_never_dropped() -> None:
    torch.manual_seed(2)
    for _ in range(50):
        seen = draw_seen(presence_of(("t2w",)), (8, 8, 8), patches=4, masked=0.875)
        assert seen[0, 2].float().mean() == 0.5  # one eighth of four modalities


# ---------------------------------------------------------------- reconstruction (eq. 1-3)


def test_reconstruction_by_hand() -> None:
    rebuilt = torch.zeros(2, 4, 1, 1, 2)
    images = torch.zeros(2, 4, 1, 1, 2)
    images[0, 0, 0, 0] = torch.tensor([1.0, 3.0])  # mean square 5
    images[0, 3] = 2.0  # 4
    images[1, 1] = 1.0  # 1
    images[:, 2] = torch.nan  # nobody acquired it
    acquired = torch.tensor([[True, False, False, True], [False, True, False, False]])
    assert reconstruction_loss(rebuilt, images, acquired).item() == pytest.approx(((5 + 4) / 2 + 1) / 2)


def test_reconstruction_asks_nothing_of_what_was_never_acquired() -> None:
    method, batch = tiny(distribution=0.0), batch_of(*SETS[:1])
    terms = loss_of(method, "reconstruct", batch)
    assert set(terms) == {"reconstruction"}
    terms["reconstruction"].backward()
    assert method.recovery is not None
    weight, bias = method.recovery.head.weight.grad, method.recovery.head.bias.grad
    for index in FOUR:
        expected = bool(batch.acquired[0, index])
        assert bool(weight[index].abs().max() > 0) is expected
        assert bool(bias[index].abs() > 0) is expected


def test_the_critic_asks_something_of_all_of_them() -> None:
    method, batch = tiny(), batch_of(*SETS[:1])
    loss_of(method, "reconstruct", batch)["distribution"].backward()
    assert method.recovery is not None
    assert all(method.recovery.head.bias.grad.abs() > 0)


def test_the_critics_term_is_its_weighted_loss_on_four_modalities() -> None:
    method, batch = tiny(distribution=0.25), batch_of(*SETS)
    term = loss_of(method, "reconstruct", batch)["distribution"]
    torch.manual_seed(7)
    seen = draw_seen(batch.acquired, (8, 8, 8), 2, 0.875)
    assert method.recovery is not None
    rebuilt = method.recovery(batch.images, seen)
    logits = method.critic(rebuilt, torch.ones(3, 4, dtype=torch.bool)).logits[0]
    torch.testing.assert_close(term, 0.25 * segmentation_loss(logits, batch.regions))


def test_a_given_critic_judges_in_place_of_one_of_its_own() -> None:
    """Its weighted loss on four estimates; the gradient passes through it and leaves it as it is."""
    torch.manual_seed(2)
    given = EarlyFusion(GLIOMA, width=4, levels=2).eval().requires_grad_(False)
    method, batch = tiny(distribution=0.25), batch_of(*SETS)
    names = set(method.state_dict())
    method.take_critic(lambda images, presence: given(images, presence))
    assert [stage.name for stage in method.stages() if stage.wanted] == ["reconstruct", "teacher", "distil"]
    assert set(method.state_dict()) == names
    term = loss_of(method, "reconstruct", batch)["distribution"]
    torch.manual_seed(7)
    assert method.recovery is not None
    rebuilt = method.recovery(batch.images, draw_seen(batch.acquired, (8, 8, 8), 2, 0.875))
    logits = given(rebuilt, torch.ones(3, 4, dtype=torch.bool))
    torch.testing.assert_close(term, 0.25 * segmentation_loss(logits, batch.regions))
    assert moved_by(method, term) == {"recovery"}
    assert all(parameter.grad is None for parameter in given.parameters())


def test_a_given_critic_has_no_features_to_teach() -> None:
    with pytest.raises(RecipeError, match=r"a critic that is given \(critic.model\) has no features to distil"):
        tiny(teacher="critic").take_critic(lambda images, presence: images[:, :3])
    tiny(teacher="critic", ctd="off").take_critic(lambda images, presence: images[:, :3])


def test_the_log_has_the_error_where_nothing_was_seen() -> None:
    method, batch, notes = tiny(distribution=0.0), batch_of(*SETS), Counter[str]()
    torch.manual_seed(7)
    stage_of(method, "reconstruct").loss(batch, clock_at(notes=notes))
    assert notes["hidden_error"] > 0
    torch.manual_seed(7)
    seen = draw_seen(batch.acquired, (8, 8, 8), 2, 0.875)
    hidden = batch.acquired[:, :, None, None, None].expand_as(seen) & ~seen
    assert method.recovery is not None
    with torch.no_grad():
        errors = (method.recovery(batch.images, seen) - batch.images)[hidden]
    assert notes["hidden_error"] == pytest.approx(float(errors.square().mean().sqrt()))
    method.masked, method.patches = 0.0, 1
    alone = batch_of(("t2w",))
    notes.clear()
    stage_of(method, "reconstruct").loss(alone, clock_at(notes=notes))
    assert notes["hidden_error"] == 0  # all of T2 is seen, and nothing else was acquired


# ---------------------------------------------------------------- who moves, who teaches


@pytest.mark.parametrize(
    ("arguments", "name", "movers"),
    [
        ({}, "critic", {"critic"}),
        ({}, "reconstruct", {"recovery"}),
        ({}, "teacher", {"teacher"}),
        ({}, "distil", {"recovery", "student"}),
        ({"teacher": "critic"}, "distil", {"recovery", "student"}),
        ({"anchor": 1.0}, "distil", {"recovery", "student"}),
        ({"ctd": "fixed", "anchor": 1.0}, "distil", {"student"}),
        ({"ctd": "fixed"}, "distil", {"student"}),
        ({"ctd": "fixed", "reach": True}, "distil", {"student"}),
        ({"ctd": "available"}, "distil", {"student"}),
        ({"ctd": "off"}, "distil", {"student"}),
    ],
    ids=named,
)
def test_a_step_moves_what_the_stage_trains_and_nothing_else(
    arguments: dict[str, Any], name: str, movers: set[str]
) -> None:
    method, batch = tiny(**arguments), batch_of(*SETS, shown=[("t1c",), ("t1n", "t2f"), ("t2w",)])
    stage = stage_of(method, name)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    terms = loss_of(method, name, batch)
    optimiser = make_optimiser(freeze_all_but(method, stage.trains), read_recipe(RECIPE).train)
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()
    after = method.state_dict()
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert moved == movers


@pytest.mark.parametrize("teacher", ["finetuned", "critic"])
def test_each_term_reaches_what_it_should(teacher: str) -> None:
    method = tiny(teacher=teacher)
    terms = loss_of(method, "distil", batch_of(*SETS))
    reached = {name: moved_by(method, term) for name, term in terms.items()}
    assert reached == {"task": {"student"}, "recovery": {"recovery"}, "distillation": {"student"}}


def test_the_distillation_reaches_the_recovery_module_where_asked() -> None:
    method = tiny(reach=True)
    terms = loss_of(method, "distil", batch_of(*SETS))
    assert moved_by(method, terms["distillation"]) == {"student", "recovery"}
    assert moved_by(method, terms["recovery"]) == {"recovery"}


def test_what_is_refined_goes_on_rebuilding_where_asked() -> None:
    method, batch = tiny(anchor=0.5, distribution=0.0), batch_of(*SETS)
    anchored = loss_of(method, "distil", batch)["reconstruction"]
    assert moved_by(method, anchored) == {"recovery"}
    torch.testing.assert_close(anchored, 0.5 * loss_of(method, "reconstruct", batch)["reconstruction"])


def test_whole_modalities_are_hidden_where_asked_and_only_they_are_compared() -> None:
    method, batch = tiny(anchor=0.5, hides="modalities", refine=0.0, distil=0.0), batch_of(*SETS)
    anchored = loss_of(method, "distil", batch)["reconstruction"]
    assert moved_by(method, anchored) == {"recovery"}
    torch.manual_seed(7)
    shown = drawn_part(batch.acquired)
    assert method.recovery is not None
    rebuilt = method.recovery(batch.images, shown[:, :, None, None, None])
    errors = (rebuilt - batch.images).square().mean((2, 3, 4))
    hidden = [[i for i in FOUR if batch.acquired[case, i] and not shown[case, i]] for case in range(3)]
    assert [len(one) > 0 for one in hidden] == [True, True, False]  # the third case has one modality alone
    by_hand = sum(errors[case, one].mean() for case, one in enumerate(hidden[:2])) / 3
    torch.testing.assert_close(anchored, 0.5 * by_hand)


def test_on_complete_cases_what_is_rebuilt_changes_nothing_for_the_student() -> None:
    batch = batch_of(GLIOMA.modalities, GLIOMA.modalities, shown=[("t1c",), ("t1n", "t2f")])
    gradients = []
    for arguments in ({}, {"anchor": 1.0}, {"anchor": 1.0, "hides": "modalities"}):
        method = tiny(**arguments)
        torch.stack(list(loss_of(method, "distil", batch).values())).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in method.student.parameters() if p.grad is not None]))
    assert gradients[0].abs().max() > 0
    assert all(torch.equal(one, gradients[0]) for one in gradients[1:])


def test_a_part_of_what_was_acquired_is_drawn_and_never_all_of_it() -> None:
    torch.manual_seed(2)
    acquired = presence_of(GLIOMA.modalities, ("t1n", "t1c", "t2f"), ("t2w",)).repeat(300, 1)
    shown = drawn_part(acquired)
    assert not (shown & ~acquired).any()
    sizes = [Counter(shown[case::3].sum(dim=1).tolist()) for case in range(3)]
    assert [sorted(one) for one in sizes] == [[1, 2, 3], [1, 2], [1]]
    assert min(sizes[0].values()) > 70
    assert len(Counter(map(tuple, shown[0::3].tolist()))) == 14  # every subset but the full one


def test_a_complete_case_asks_nothing_of_the_recovery_module() -> None:
    method = tiny()
    terms = loss_of(method, "distil", batch_of(GLIOMA.modalities, shown=[("t1c",)]))
    assert moved_by(method, terms["recovery"]) == set()
    assert moved_by(method, terms["distillation"]) == {"student"}


@pytest.mark.parametrize("name", ["critic", "reconstruct", "teacher", "distil"])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"fill": "learned"}, {"reach": True}, {"anchor": 1.0}, {"anchor": 1.0, "hides": "modalities"}],
    ids=named,
)
def test_a_modality_that_was_never_acquired_supervises_nothing(name: str, arguments: dict[str, Any]) -> None:
    batch, found = batch_of(*SETS), []
    absent = ~batch.acquired[:, :, None, None, None].expand_as(batch.images)
    for filling in (0.0, 50.0, torch.nan):
        method = tiny(**arguments)
        images = batch.images.clone()
        images[absent] = filling
        images.requires_grad_()
        terms = loss_of(method, name, Batch(images, batch.acquired, batch.presence, batch.regions, batch.names))
        torch.stack(list(terms.values())).sum().backward()
        assert images.grad is not None
        assert images.grad[absent].abs().max() == 0
        assert images.grad[~absent].abs().max() > 0
        found.append({key: p.grad for key, p in method.named_parameters() if p.grad is not None} | terms)
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        assert all(torch.equal(other[key], value) for key, value in found[0].items())


def seen_by(method: DualStage, batch: Batch) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """What each network is given in distillation."""
    given: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    hooks = [
        getattr(method, name).register_forward_pre_hook(lambda module, inputs, name=name: given.update({name: inputs}))
        for name in NETWORKS
    ]
    loss_of(method, "distil", batch)
    for hook in hooks:
        hook.remove()
    return given


def test_the_student_sees_a_part_and_the_teacher_the_completed_case() -> None:
    shown = [("t1c",), ("t1n", "t2f"), ("t2w",)]
    method, batch = tiny(), batch_of(*SETS, shown=shown)
    given = seen_by(method, batch)
    assert set(given) == {"student", "teacher", "recovery"}
    assert torch.equal(given["student"][1], presence_of(*shown))  # its code is the one after dropout
    images, presence = given["teacher"]
    assert presence.all()
    real = batch.acquired[:, :, None, None, None].expand_as(images)
    assert torch.equal(images[real], batch.images[real])
    assert method.recovery is not None
    estimates = method.recovery(batch.images, batch.acquired[:, :, None, None, None])
    torch.testing.assert_close(images[~real], estimates[~real])
    assert torch.equal(given["recovery"][1][:, :, 0, 0, 0], batch.acquired)


def test_the_teacher_sees_what_there_is_where_nothing_is_completed() -> None:
    batch = batch_of(*SETS, shown=[("t1c",), ("t1n", "t2f"), ("t2w",)])
    given = seen_by(tiny(ctd="available"), batch)
    assert set(given) == {"student", "teacher"}
    assert torch.equal(given["teacher"][1], batch.acquired)
    assert torch.equal(given["teacher"][0], batch.images)


def test_complete_cases_are_not_completed() -> None:
    assert "recovery" not in seen_by(tiny(), batch_of(GLIOMA.modalities))


def test_completing_keeps_every_real_voxel() -> None:
    method, batch = tiny().eval(), batch_of(*SETS)
    completed = method.complete(batch.images, batch.acquired)
    there = batch.acquired[:, :, None, None, None].expand_as(completed)
    assert torch.equal(completed[there], batch.images[there])
    assert completed[~there].abs().max() > 0
    assert torch.isfinite(method.complete(torch.where(there, batch.images, torch.nan), batch.acquired)).all()


# ---------------------------------------------------------------- distillation (eq. 4, 5, 7)


def test_the_distance_of_features_by_hand() -> None:
    teacher = [torch.zeros(1, 1, 1, 1, 2), torch.zeros(1, 1, 1, 1, 1)]
    student = [torch.tensor([1.0, 3.0]).view(1, 1, 1, 1, 2), torch.full((1, 1, 1, 1, 1), 2.0)]
    assert feature_distance(teacher, student).item() == pytest.approx((1 + 9) / 2 + 4)


def test_normed_features_have_no_scale() -> None:
    features = torch.randn((2, 16, 3, 3, 3), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(normed(features), torch.nn.GroupNorm(8, 16)(features))
    torch.testing.assert_close(normed(7 * features + 5), normed(features), rtol=1e-3, atol=1e-4)


def test_the_encoder_and_the_coarser_half_of_the_decoder_are_distilled() -> None:
    method = tiny(levels=4)
    with torch.no_grad():
        features = method.student(torch.zeros(1, 4, 16, 16, 16), torch.ones(1, 4, dtype=torch.bool)).features
    assert [tuple(level.shape[1:3]) for level in features.encoded] == [(4, 16), (8, 8), (16, 4), (32, 2)]
    assert [tuple(level.shape[1:3]) for level in features.decoded] == [(4, 16), (8, 8), (16, 4)]
    assert distilled_levels(features) == [*features.encoded, *features.decoded[1:]]


@pytest.mark.parametrize(("compare", "supervise"), [("normed", "dice"), ("plain", "dice+cross_entropy")])
def test_the_objective_is_the_papers(compare: str, supervise: str) -> None:
    method, batch = (
        tiny(refine=0.5, distil=0.2, compare=compare, supervise=supervise),
        batch_of(*SETS, shown=[("t1c",), ("t1n",), ("t2w",)]),
    )
    terms = loss_of(method, "distil", batch)
    student: Output = method.student(batch.images, batch.presence)
    completed = method.complete(batch.images, batch.acquired)
    teacher: Output = method.teacher(completed, torch.ones_like(batch.acquired))
    features = [distilled_levels(answer.features) for answer in (teacher, student)]
    if compare == "normed":
        features = [
            [torch.nn.GroupNorm(min(8, one.shape[1]), one.shape[1])(one) for one in answer] for answer in features
        ]
    levels = zip(*features, strict=True)
    loss = dice_loss if supervise == "dice" else segmentation_loss
    torch.testing.assert_close(terms["task"], deeply(loss, student.logits, batch.regions))
    asked = loss_of(method, "teacher", batch)["task"]
    answer: Output = method.teacher(batch.images, batch.presence)
    torch.testing.assert_close(asked, deeply(loss, answer.logits, batch.regions))
    torch.testing.assert_close(terms["recovery"], 0.5 * segmentation_loss(teacher.logits[0], batch.regions))
    torch.testing.assert_close(terms["distillation"], 0.2 * sum((a - b).square().mean() for a, b in levels))


def test_teacher_and_student_start_from_what_was_rebuilt() -> None:
    method = tiny()
    assert method.recovery is not None
    for name in ("teacher", "distil"):
        segmenter = method.teacher if name == "teacher" else method.student
        heads = segmenter.heads[0].weight.clone()
        assert not torch.equal(segmenter.body.levels[0][0].weight, method.recovery.body.levels[0][0].weight)
        stage_of(method, name).before()
        for one, other in zip(segmenter.body.parameters(), method.recovery.body.parameters(), strict=True):
            assert torch.equal(one, other)
            assert one is not other
        assert torch.equal(segmenter.heads[0].weight, heads)


@pytest.mark.parametrize(
    ("arguments", "stages", "terms"),
    [
        ({}, "critic reconstruct teacher distil", "task recovery distillation"),
        ({"distribution": 0.0, "indicator": "none", "ctd": "off"}, "reconstruct distil", "task"),
        ({"indicator": "none", "ctd": "off"}, "critic reconstruct distil", "task"),
        ({"ctd": "off"}, "critic reconstruct distil", "task"),
        ({"ctd": "available"}, "critic reconstruct teacher distil", "task distillation"),
        ({"ctd": "fixed"}, "critic reconstruct teacher distil", "task distillation"),
        ({"teacher": "critic"}, "critic reconstruct distil", "task recovery distillation"),
        ({"teacher": "critic", "distribution": 0.0}, "critic reconstruct distil", "task recovery distillation"),
        ({"distribution": 0.0}, "reconstruct teacher distil", "task recovery distillation"),
        ({"refine": 0.0}, "critic reconstruct teacher distil", "task distillation"),
        ({"distil": 0.0}, "critic reconstruct teacher distil", "task recovery"),
        ({"anchor": 0.5}, "critic reconstruct teacher distil", "task recovery reconstruction distillation"),
        (
            {"anchor": 0.5, "hides": "modalities"},
            "critic reconstruct teacher distil",
            "task recovery reconstruction distillation",
        ),
        ({"anchor": 0.5, "ctd": "fixed"}, "critic reconstruct teacher distil", "task distillation"),
    ],
    ids=named,
)
def test_stages_and_terms_of_each_ablation(arguments: dict[str, Any], stages: str, terms: str) -> None:
    method = tiny(**arguments)
    assert [stage.name for stage in method.stages() if stage.wanted] == stages.split()
    assert list(loss_of(method, "distil", batch_of(*SETS))) == terms.split()
    parts = {"reconstruction", "distribution"} if method.distribution else {"reconstruction"}
    assert set(loss_of(method, "reconstruct", batch_of(*SETS))) == parts


def test_the_critic_and_the_teacher_are_judged_by_their_own_dice() -> None:
    method, batch = tiny().eval(), batch_of(*SETS)
    for name, network in (("critic", method.critic), ("teacher", method.teacher)):
        judged = stage_of(method, name).judged
        assert judged is not None
        segments: Method = judged()
        expected = network(batch.images, batch.presence).logits[0]
        torch.testing.assert_close(segments.eval()(batch.images, batch.presence), expected, rtol=0, atol=0)
        shared = {id(parameter) for parameter in network.parameters()}
        assert {id(parameter) for parameter in segments.parameters()} == shared
    assert stage_of(method, "distil").judged is None


# ---------------------------------------------------------------- prompts (eq. 6)


@pytest.mark.parametrize("indicator", ["binary", "text", "text+visual"])
@torch.no_grad()
def test_heads_begin_plain_and_then_differ_between_subsets(indicator: str) -> None:
    torch.manual_seed(1)
    method = make_method(DualStage, GLIOMA, {"width": 4, "levels": 3, "indicator": indicator}).eval()
    assert isinstance(method, DualStage)
    assert method.student.hyper is not None
    images = batch_of(GLIOMA.modalities).images
    for subset in GLIOMA.subsets:
        answer: Output = method.student(images, presence_of(subset))
        plain = [head(level) for head, level in zip(method.student.heads, answer.features.decoded, strict=True)]
        assert all(torch.equal(one, other) for one, other in zip(answer.logits, plain, strict=True))
    torch.nn.init.normal_(method.student.hyper.mlp[-1].weight)
    bottleneck = torch.randn(1, 16, 2, 2, 2)
    made = [method.student.hyper(bottleneck, presence_of(subset)) for subset in GLIOMA.subsets]
    assert [tuple(layer.shape) for layer in made[0]] == [(1, 3, 5), (1, 3, 9)]  # weights and a bias per region
    for one, other in combinations(made, 2):
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(one, other, strict=True))


@torch.no_grad()
def test_each_case_is_predicted_by_the_weights_and_biases_that_are_made_for_it() -> None:
    method, subsets = tiny(levels=3).eval(), [("t1n", "t2f"), ("t1c",), GLIOMA.modalities]
    student = method.student
    assert student.hyper is not None
    torch.nn.init.normal_(student.hyper.mlp[-1].weight)
    presence = presence_of(*subsets)
    features = student(batch_of(*subsets).images, presence).features
    logits = student(batch_of(*subsets).images, presence).logits
    made = student.hyper(features.encoded[-1], presence)
    assert len(logits) == 2
    for level, change, decoded, head in zip(logits, made, features.decoded, student.heads, strict=False):
        for case, region in product(range(3), range(3)):
            weights = head.weight[region, :, 0, 0, 0] + change[case, region, :-1]
            bias = head.bias[region] + change[case, region, -1]
            voxel = float(weights @ decoded[case, :, 1, 0, 1] + bias)
            assert float(level[case, region, 1, 0, 1]) == pytest.approx(voxel, rel=1e-4, abs=1e-5)


@torch.no_grad()
def test_the_same_scans_are_predicted_otherwise_under_another_sentence() -> None:
    student = tiny(indicator="text").student
    assert student.hyper is not None
    torch.nn.init.normal_(student.hyper.mlp[-1].weight)
    images, rows = batch_of(GLIOMA.modalities).images, student.hyper.describe.vectors
    before = student(images, presence_of(GLIOMA.modalities)).logits
    rows[[0, 14]] = rows[[14, 0]]  # only T1, and all four
    after = student(images, presence_of(GLIOMA.modalities)).logits
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(before, after, strict=True))


@torch.no_grad()
def test_only_the_visual_part_depends_on_what_is_seen() -> None:
    presence = presence_of(("t1c", "t2f"))
    for indicator, differs in (("binary", False), ("text", False), ("text+visual", True)):
        hyper = tiny(indicator=indicator).student.hyper
        assert hyper is not None
        one, other = (hyper(torch.randn(1, 8, 2, 2, 2), presence)[0] for _ in range(2))
        assert (not torch.equal(one, other)) is differs, indicator


@torch.no_grad()
def test_a_case_is_described_by_the_sentence_of_what_it_has() -> None:
    hyper = tiny(indicator="text").student.hyper
    assert hyper is not None
    table = read_table("minilm")
    rows = table.vectors - table.vectors.mean(dim=0)
    said = hyper.describe(torch.zeros(15, 8, 1, 1, 1), presence_of(*GLIOMA.subsets))
    for subset, vector in zip(GLIOMA.subsets, said, strict=True):
        row = rows[table.sentences.index(sentence_of(subset, GLIOMA))]
        torch.testing.assert_close(vector, row / rows.std())
    assert "The input MRI modalities are T1ce, FLAIR." in table.sentences


@pytest.mark.parametrize("indicator", ["none", "binary", "text", "text+visual"])
@pytest.mark.parametrize("fill", ["zero", "learned"])
@torch.no_grad()
def test_a_mixed_batch_equals_single_runs(indicator: str, fill: str) -> None:
    method = tiny(indicator=indicator, fill=fill).eval()
    if fill == "learned":
        assert method.student.body.fill is not None
        method.student.body.fill.normal_()
    batch = batch_of(*SETS)
    images = torch.where(batch.acquired[:, :, None, None, None], batch.images, torch.nan)
    together = method(images, batch.acquired)
    for case in range(len(SETS)):
        one = slice(case, case + 1)
        torch.testing.assert_close(together[one], method(images[one], batch.acquired[one]), rtol=1e-4, atol=1e-5)
        among_all = method.decode(
            method.encode(batch.images[one], torch.ones_like(batch.acquired[one])), batch.acquired[one]
        )
        torch.testing.assert_close(together[one], among_all, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- what is kept


def test_a_model_holds_the_student_and_its_prompts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = tiny().eval(), batch_of(*SETS)
    save_model(tmp_path / "model", method, Preparation(), {})
    monkeypatch.setattr("lacunet.nn.prompts.SHIPPED", {})  # neither a text encoder nor its table is needed
    kept = load_model(str(tmp_path / "model")).method
    assert {name.split(".")[0] for name in kept.state_dict()} == {"student"}
    assert kept.state_dict()["student.hyper.describe.vectors"].shape == (15, 384)
    torch.testing.assert_close(kept(batch.images, batch.presence), method(batch.images, batch.presence), rtol=0, atol=0)
    assert (
        "all-MiniLM-L6-v2 (28c9284d6fb6)"
        in json.loads((tmp_path / "model/model.json").read_text())["arguments"]["text"]
    )
    with pytest.raises(ModelError, match=r"without its recovery module; train with arguments.keep"):
        kept.complete(batch.images, batch.acquired)
    with pytest.raises(ModelError, match="train from a recipe without `parts`"):
        kept.stages()
    again = kept.deployed()
    assert again is kept


def test_a_model_keeps_the_recovery_module_where_asked(tmp_path: Path) -> None:
    method, batch = tiny(keep="student+recovery", fill="learned").eval(), batch_of(*SETS)
    save_model(tmp_path / "model", method, Preparation(), {})
    kept = load_model(str(tmp_path / "model")).method
    assert {name.split(".")[0] for name in kept.state_dict()} == {"student", "recovery"}
    expected = method.complete(batch.images, batch.acquired)
    torch.testing.assert_close(kept.complete(batch.images, batch.acquired), expected, rtol=0, atol=0)


def test_a_method_without_a_recovery_module_says_so() -> None:
    with pytest.raises(ModelError, match="EarlyFusion does not estimate absent sequences; dual_stage does"):
        EarlyFusion(GLIOMA, width=4, levels=2).complete(torch.zeros(1, 4, 4, 4, 4), presence_of(("t1c",)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ctd": "completed"}, "ctd = 'completed': must be one of off, available, fixed, refined"),
        (
            {"indicator": "texts"},
            "'texts': must be one of none, binary, text, text.visual; did you mean 'text'",
        ),
        ({"masked": 1.0}, "masked = 1.0: a share from 0 to below 1"),
        ({"patches": 0}, "patches = 0: from 1 to 64 are possible"),
        ({"levels": 1}, "levels = 1: at least 2"),
    ],
    ids=named,
)
def test_refuses_arguments_that_mean_nothing(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        make_method(DualStage, GLIOMA, arguments)


def test_a_table_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="minilmm: no such table of prompts; did you mean 'minilm'"):
        make_method(DualStage, GLIOMA, {"width": 4, "levels": 2, "text": "minilmm"})


# ---------------------------------------------------------------- training through


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Stop(Silent):
    """Breaks off like Ctrl-C, in one stage after a step."""

    def __init__(self, stage: str, after: int) -> None:
        self.moment = stage, after

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        if (job, done) == self.moment:
            raise KeyboardInterrupt


def missing_some(cases: list[CaseFiles]) -> list[CaseFiles]:
    kept = [("t1c", "t2f"), GLIOMA.modalities]
    return apply_missing(cases[:2], {case.name: subset for case, subset in zip(cases, kept, strict=False)})


def test_a_run_broken_off_in_every_stage_ends_with_the_same_bits(
    phantoms: list[CaseFiles], tmp_path: Path, one_thread: None
) -> None:
    recipe = tiny_recipe(
        "dual_stage",
        arguments={"width": 4, "levels": 2, "keep": "student+recovery"},
        train={"steps": 12, "batch": 1, "average": 0.9, "save_every": 1},
        validate={"every": 2, "subsets": ["t1c"]},
    )
    training, stages = missing_some(phantoms), ("critic", "reconstruct", "teacher", "distil")
    expected = train(recipe, training, phantoms[2:], tmp_path / "whole", device="cpu")
    folder = tmp_path / "broken"
    for resume, stage in enumerate(stages):  # broken off in each, one after the other
        with pytest.raises(KeyboardInterrupt):
            train(recipe, training, phantoms[2:], folder, device="cpu", progress=Stop(stage, 2), resume=resume > 0)
        assert not (folder / "model").exists()  # nothing has been validated that is kept
    found = train(recipe, training, phantoms[2:], folder, device="cpu", resume=True)
    for name in ("weights.safetensors", "model.json"):
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name


def test_a_manifest_is_drawn_alike_each_time(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = phantoms[0].images["t1c"].path.parents[1]
    for name in ("one.csv", "two.csv"):
        words = ["lacunet", "missing", str(folder), "-o", str(tmp_path / name), "--full", "0.01", "--seed", "4"]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit):
            main()
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert (tmp_path / "one.csv").read_text().count("t1n+t1c+t2w+t2f") == 1  # at least one case stays complete


def test_the_small_recipe_is_the_same_method_on_another_scale() -> None:
    full, small = (read_recipe(path) for path in (RECIPE, RECIPE.parent / "small" / RECIPE.name))
    one, other = (vars(make_method(DualStage, GLIOMA, {**recipe.arguments, "width": 8})) for recipe in (full, small))
    settings = {key for key in one if key == "_kept" or not key.startswith("_")} - {"arguments"}
    assert {key for key in settings if one[key] != other[key]} == {"supervise"}  # the page says why
    assert (small.arguments["supervise"], full.arguments.get("supervise", "dice")) == ("dice+cross_entropy", "dice")
    one, other = ({**recipe.prepare.model_dump(), **recipe.train.model_dump()} for recipe in (full, small))
    assert {key for key in one if one[key] != other[key]} == {
        *("spacing", "crop", "steps"),
        *("optimiser", "learning_rate", "weight_decay", "warmup", "average"),  # as the small recipe of early_fusion
        *("save_every", "log_every", "gradients_every", "workers"),  # nothing that is learnt
    }
    for recipe in (full, small):
        assert sum(stage.share for stage in recipe.stages.values()) == recipe.train.steps


# ---------------------------------------------------------------- at full size


@pytest.mark.slow
@pytest.mark.parametrize("name", ["critic", "reconstruct", "teacher", "distil"])
def test_each_stage_of_the_recipe_of_the_paper_takes_two_steps(name: str) -> None:
    recipe = read_recipe(RECIPE)
    torch.manual_seed(1)
    method = in_channels_last(make_method(DualStage, GLIOMA, recipe.arguments))
    assert isinstance(method, DualStage)
    assert {part: count_of(getattr(method, part)) for part in NETWORKS} == {
        "critic": 4_704_505,  # M3AE's network has 4.7 million
        "recovery": 4_704_228,
        "teacher": 4_924_754,
        "student": 4_924_754,
    }
    stage, settings = stage_of(method, name), recipe.for_stage(name)
    stage.before()
    batch = batch_of(*[("t1n", "t1c", "t2f"), GLIOMA.modalities][: settings.batch], side=settings.crop[0])
    optimiser = make_optimiser(freeze_all_but(method, stage.trains), settings)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    for step in range(2):
        training_mode(method, stage.trains)
        with torch.autocast("cpu", torch.bfloat16):
            terms = stage.loss(batch, clock_at(step))
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert torch.isfinite(loss)
    after = method.state_dict()
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert moved == {"critic": {"critic"}, "reconstruct": {"recovery"}, "teacher": {"teacher"}}.get(
        name, {"student", "recovery"}
    )


def count_of(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
