"""CCSD: subsets assembled from one encoding, what teaches what, and the path of losses."""

import math
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise, product
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lacunet.errors import RecipeError
from lacunet.methods.ccsd import (
    CCSD,
    Encoding,
    _choices,
)
from lacunet.nn.batch import Batch
from lacunet.nn.composition import AttentiveComposition
from lacunet.nn.criticality import (
    cosine_criticality,
    decremental_path,
    feature_gradient_norms,
    fixed_criticality,
)
from lacunet.nn.detail import Detail
from lacunet.nn.losses import bernoulli_divergence, segmentation_losses
from lacunet.nn.memory import in_channels_last
from lacunet.nn.method import Clock, make_method
from lacunet.nn.patch import FoldedConv, FoldedSmoothing, fold, unfold
from lacunet.nn.ramp import ramp_up
from lacunet.nn.shared_specific import ModalityClassifier, neighbours_apart
from lacunet.task import GLIOMA, Task
from lacunet.training.optimiser import make_optimiser
from lacunet.training.recipe import read_recipe
from small import ROOT, named

RECIPE = ROOT / "recipes" / "ccsd.toml"
FOUR = (0, 1, 2, 3)


def tiny(**arguments: Any) -> CCSD:
    torch.manual_seed(1)
    method = make_method(CCSD, GLIOMA, {"width": 4, "levels": 2, **arguments})
    assert isinstance(method, CCSD)
    for parameter in method.parameters():  # norms begin at 1 and 0, where an empty image has no response
        torch.nn.init.normal_(parameter, std=0.3) if parameter.dim() == 1 else None
    return method.train()


def clock_at(step: int = 50, steps: int = 100, seed: int = 3, notes: Counter[str] | None = None) -> Clock:
    heard = Counter[str]() if notes is None else notes
    return Clock(step, steps, torch.Generator().manual_seed(seed), lambda name, value: heard.update({name: value}))


def batch_of(*subsets: tuple[str, ...], side: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn((len(subsets), 4, side, side, side), generator=generator)
    regions = (torch.rand((len(subsets), 3, side, side, side), generator=generator) > 0.7).float()
    acquired = torch.tensor([GLIOMA.presence(subset) for subset in subsets])
    return Batch(images, acquired, acquired, regions, tuple("abcd"[: len(subsets)]))


def gradients(method: CCSD, loss: torch.Tensor) -> dict[str, float]:
    """The largest gradient of each module."""
    method.zero_grad()
    loss.backward(retain_graph=True)
    largest: dict[str, float] = {}
    for name, parameter in method.named_parameters():
        module = ".".join(name.split(".")[: 2 if name.startswith("specific") else 1])
        value = 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
        largest[module] = max(largest.get(module, 0.0), value)
    return largest


# ---------------------------------------------------------------- any subset from one encoding


def run_by_the_paper(method: CCSD, images: torch.Tensor, subset: tuple[int, ...]) -> torch.Tensor:
    """Sec. 3.2 word by word: zero what is missing, encode everything, choose, concatenate, decode."""
    zeroed = torch.zeros_like(images)
    zeroed[:, subset] = images[:, subset]
    inputs = [fold(zeroed[:, i : i + 1], method.patch) for i in FOUR]
    shared = [method.shared(inputs[i]) for i in FOUR]
    levels = len(shared[0])
    bottom = []
    for i in FOUR:
        specific = method.specific[i](inputs[i])[-1]
        bottom.append(method.compose(shared[i][-1], specific) if i in subset else shared[i][-1])
    features = method.fuse(torch.cat(bottom, dim=1))
    for level in reversed(range(levels - 1)):
        skips = torch.cat([shared[i][level] for i in FOUR], dim=1)
        weights = torch.cat([part.weight for part in method.skips[level].parts], dim=1)
        features = method.rises[level](features, F.conv3d(skips, weights))
    logits = unfold(method.head(features), method.patch)
    if method.detail is not None:
        logits = logits + correction_by_hand(method.detail, images, subset, features)
    return logits if method.smooth is None else smoothed_by_hand(logits)


def smoothed_by_hand(logits: torch.Tensor) -> torch.Tensor:
    """(1, 2, 1) / 4 along each axis, one after the other; zero outside."""
    for axis in (2, 3, 4):
        padded = F.pad(logits, [1 if place // 2 == 4 - axis else 0 for place in range(6)])
        before, here, after = (padded.narrow(axis, start, logits.shape[axis]) for start in (0, 1, 2))
        logits = (before + 2 * here + after) / 4
    return logits


def correction_by_hand(detail: Detail, images: torch.Tensor, subset: tuple[int, ...], features: Any) -> torch.Tensor:
    """The correction with ordinary convolutions, at the images' resolution."""
    hidden = unfold(detail.coarse(features), detail.last.side)
    for i in subset:
        hidden = hidden + F.conv3d(images[:, i : i + 1], detail.images[i].weight, detail.images[i].bias, padding=1)
    hidden = F.leaky_relu(F.conv3d(F.leaky_relu(hidden, 0.01), detail.narrow.weight, detail.narrow.bias), 0.01)
    return F.conv3d(hidden, detail.last.weight, detail.last.bias, padding=1)


def with_a_correction(method: CCSD) -> CCSD:
    """Its last layer, which begins at zero, drawn anew."""
    assert method.detail is not None
    torch.nn.init.normal_(method.detail.last.weight)
    return method


@torch.no_grad()
@pytest.mark.parametrize(
    "arguments", [{}, {"levels": 3}, {"patch": 2}, {"patch": 2, "detail": 4, "smooth": True}], ids=named
)
def test_every_assembled_subset_equals_a_run_on_zeroed_images(arguments: dict[str, Any]) -> None:
    method = tiny(**arguments).eval()
    method = method if method.detail is None else with_a_correction(method)
    images = batch_of(GLIOMA.modalities, GLIOMA.modalities).images
    encoded = method.encode(images, torch.ones(2, 4, dtype=torch.bool))
    for size in range(1, 5):
        for subset in combinations(FOUR, size):
            presence = torch.tensor([[i in subset for i in FOUR]] * 2)
            expected = run_by_the_paper(method, images, subset)
            torch.testing.assert_close(method.decode(encoded, presence), expected, rtol=1e-4, atol=1e-5)


def test_cubes_of_voxels_become_channels_and_voxels_again() -> None:
    images = torch.arange(2 * 3 * 4 * 6 * 2.0).reshape(2, 3, 4, 6, 2)
    folded = fold(images, 2)
    assert folded.shape == (2, 24, 2, 3, 1)
    for channel, x, y, z in product(range(3), range(4), range(6), range(2)):
        index = channel * 8 + (x % 2) * 4 + (y % 2) * 2 + z % 2
        assert torch.equal(folded[:, index, x // 2, y // 2, z // 2], images[:, channel, x, y, z])
    assert torch.equal(unfold(folded, 2), images)
    assert fold(images, 1) is images


@torch.no_grad()
def test_a_correction_begins_at_nothing_and_then_looks_at_what_is_present_only() -> None:
    images, everything = batch_of(GLIOMA.modalities).images, torch.ones(1, 4, dtype=torch.bool)
    without = tiny(patch=2).eval()
    method = make_method(CCSD, GLIOMA, {**without.arguments, "detail": 2}).eval()
    method.load_state_dict({**method.state_dict(), **without.state_dict()})
    assert torch.equal(method(images, everything), without(images, everything))
    with_a_correction(method)
    for subset in GLIOMA.subsets:
        shown = torch.tensor([GLIOMA.presence(subset)])
        hidden = torch.where(shown[:, :, None, None, None], images, torch.nan)
        alone = method.decode(method.encode(hidden, shown), shown)
        torch.testing.assert_close(method.decode(method.encode(images, everything), shown), alone, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(alone, without(images, shown), atol=1e-2)


@torch.no_grad()
def test_smoothed_outlines_pass_between_the_faces_of_cubes() -> None:
    """Cubes of 2 voxels with logits of 3, -1 and -3: they change sign at a face, but smoothed within a cube."""
    smooth = FoldedSmoothing(channels=1, side=2)
    cubes = torch.tensor([3.0, -1.0, -3.0]).repeat_interleave(2)[None, None, :, None, None].expand(1, 1, 6, 6, 6)
    row = unfold(smooth(fold(cubes.contiguous(), 2)), 2)[0, 0, :, 2, 2]
    assert row.tolist() == [2.25, 2.0, 0.0, -1.5, -2.5, -2.25]
    assert smooth.state_dict() == {}


def test_a_correction_treats_the_places_in_a_cube_alike() -> None:
    """Where the coarse features say nothing, images moved by one voxel have their correction moved by one voxel."""
    detail = Detail(modalities=1, regions=2, features=3, channels=4, patch=2)
    torch.nn.init.normal_(detail.last.weight)
    image = torch.zeros(1, 1, 12, 12, 12)
    image[..., 4:8, 4:8, 4:8] = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(1))

    def corrected(image: torch.Tensor) -> torch.Tensor:
        return unfold(detail(detail.parts([fold(image, 2)])[0], torch.zeros(1, 3, 6, 6, 6)), 2)

    for axis in (2, 3, 4):
        inside = (slice(None), slice(None), *[slice(2, 10)] * 3)
        moved = corrected(image.roll(1, axis))
        torch.testing.assert_close(moved[inside], corrected(image).roll(1, axis)[inside], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_of_cubes_is_that_of_voxels(kernel: Any, side: int) -> None:
    convolve, images = FoldedConv(2, 3, kernel, side), torch.randn(2, 2, 6, 12, 6)
    expected = fold(F.conv3d(images, convolve.weight, convolve.bias, padding=kernel // 2), side)
    torch.testing.assert_close(convolve(fold(images, side)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("patch", "sides"), [(1, [8, 4]), (2, [8, 2])])
def test_coarser_levels_meet_the_reference_at_their_own_resolution(patch: int, sides: list[int]) -> None:
    method = tiny(levels=3, patch=patch, deep=True, hmsd=0.0, dmcd=0.0, supervise="full")
    batch = batch_of(GLIOMA.modalities)
    encoded = method.encode(batch.images, batch.acquired)
    (levels,) = method._levels(encoded, [batch.acquired], "fused")
    assert [level.shape[2] for level in levels] == sides
    assert torch.equal(levels[0], method.decode(encoded, batch.acquired))
    coarse = F.avg_pool3d(batch.regions, 8 // sides[1])
    expected = (2 * segmentation_losses(levels[0], batch.regions) + segmentation_losses(levels[1], coarse)) / 3
    terms = method._loss(batch, clock_at())
    assert terms["full"].item() == pytest.approx(expected.item())
    assert gradients(method, terms["full"])["coarser"] > 0


def test_regions_count_by_their_weights_and_crops_of_a_batch_together() -> None:
    batch, seen = batch_of(GLIOMA.modalities, ("t1c",)), {}
    for name, arguments in {
        "plain": {},
        "et": {"region_weights": [0.0, 0.0, 1.0]},
        "batch": {"batch_dice": True},
    }.items():
        method = tiny(hmsd=0.0, dmcd=0.0, supervise="full", **arguments)
        logits = method(batch.images, batch.acquired)
        seen[name] = method._loss(batch, clock_at())["full"].item()
        wanted = {
            "plain": segmentation_losses(logits, batch.regions),
            "et": segmentation_losses(logits[:, 2:], batch.regions[:, 2:]),
            "batch": segmentation_losses(logits, batch.regions, together=True),
        }
        assert seen[name] == pytest.approx(wanted[name].mean().item(), rel=1e-5)
    assert len(set(seen.values())) == 3
    with pytest.raises(RecipeError, match="one for each of wt, tc, et"):
        tiny(region_weights=[1.0])


def test_with_cubes_an_eighth_of_the_places_are_worked_on() -> None:
    method, sizes = tiny(patch=2), []
    method.shared.register_forward_hook(lambda module, inputs, levels: sizes.append(levels[0].shape[2:]))
    whole, subset = torch.ones(1, 4, dtype=torch.bool), torch.tensor([[True, False, True, False]])
    encoded = method.encode(batch_of(GLIOMA.modalities).images, whole)
    assert method.decode(encoded, subset).shape == (1, 3, 8, 8, 8)
    assert sizes == [(4, 4, 4)]
    assert method.divisor == 4


@torch.no_grad()
def test_an_empty_image_has_a_learnt_response() -> None:
    method = tiny().eval()
    encoded = method.encode(batch_of(("t1c",)).images, torch.tensor([[False, True, False, False]]))
    assert encoded.empty.abs().max() > 0.01
    assert len(encoded.empty) == 1


@torch.no_grad()
@pytest.mark.parametrize("kind", ["shared", "specific", "fused"])
def test_the_concatenation_has_a_slot_per_modality(kind: Any) -> None:
    method = tiny().eval()
    everything = torch.ones(1, 4, dtype=torch.bool)
    encoded = method.encode(batch_of(GLIOMA.modalities).images, everything)
    presence = torch.tensor([[True, False, True, False]])
    slots = method._concatenation(encoded, _choices(presence), kind).chunk(4, dim=1)
    for i in (0, 2):
        assert torch.equal(slots[i], getattr(encoded, kind)[i])
    expected = torch.zeros_like(encoded.empty) if kind == "specific" else encoded.empty
    assert torch.equal(slots[1], expected)
    assert torch.equal(slots[3], expected)


# ---------------------------------------------------------------- hierarchical distillation


def test_divergence_of_equal_logits_is_zero() -> None:
    logits = torch.randn((2, 3, 2, 2, 2), generator=torch.Generator().manual_seed(1)) * 20
    assert bernoulli_divergence(logits, logits, 4.0).abs().max() < 1e-6


def test_divergence_by_hand() -> None:
    teacher = torch.full((1, 1, 1, 1, 1), 2 * math.log(3.0))  # softened by 2: 0.75
    student = torch.zeros(1, 1, 1, 1, 1)  # 0.5
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert bernoulli_divergence(teacher, student, 2.0).item() == pytest.approx(expected)


def test_divergence_equals_that_of_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(1)
    teacher, student = torch.randn((2, 2, 3, 3, 3, 3), generator=generator) * 5
    one, other = (torch.distributions.Bernoulli(logits=logits / 3) for logits in (teacher, student))
    expected = 9 * torch.distributions.kl_divergence(one, other).mean((1, 2, 3, 4))
    torch.testing.assert_close(bernoulli_divergence(teacher, student, 3.0), expected)


def test_divergence_stays_finite_for_certain_networks() -> None:
    sure = torch.full((1, 1, 1, 1, 1), 300.0, requires_grad=True)
    divergence = bernoulli_divergence(-sure.detach(), sure, 1.0)
    divergence.sum().backward()
    assert divergence.item() == pytest.approx(300.0)
    assert sure.grad is not None
    assert sure.grad.item() == pytest.approx(1.0)


def logits_of(method: CCSD, encoded: Any, subset: tuple[int, ...], kind: Any) -> torch.Tensor:
    return method._levels(encoded, [torch.tensor([[i in subset for i in FOUR]])], kind)[0][0]


@pytest.mark.parametrize("feature", ["fused", "shared", "specific"])
@pytest.mark.parametrize("supervise", ["both", "full"])
def test_the_hierarchical_term_by_hand(feature: Any, supervise: Any) -> None:
    method, batch = tiny(feature=feature, supervise=supervise, temperature=3.0), batch_of(GLIOMA.modalities)
    encoded = method.encode(batch.images, batch.acquired)
    terms = method._loss(batch, clock_at())
    size = int(torch.randint(1, 4, (), generator=clock_at().shared))
    teacher = torch.distributions.Bernoulli(logits=logits_of(method, encoded, FOUR, feature) / 3)
    students = list(combinations(FOUR, size))
    expected, seen = torch.zeros(1), torch.zeros(1)
    for subset in students:
        student = torch.distributions.Bernoulli(logits=logits_of(method, encoded, subset, feature) / 3)
        expected = expected + 9 * torch.distributions.kl_divergence(teacher, student).mean() / len(students)
        seen = seen + segmentation_losses(logits_of(method, encoded, subset, "fused"), batch.regions) / len(students)
    assert terms["hmsd"].item() == pytest.approx(ramp_up(clock_at().progress, 0.1) * expected.item(), rel=1e-4)
    assert ("students" in terms) == (supervise == "both")
    if supervise == "both":
        assert terms["students"].item() == pytest.approx(seen.item(), rel=1e-4)


def test_subsets_decoded_together_are_those_decoded_alone() -> None:
    method, batch = tiny(levels=3, patch=2, detail=4, smooth=True, deep=True), batch_of(GLIOMA.modalities, ("t1c",))
    encoded = method.encode(batch.images, batch.acquired)
    subsets = [torch.tensor([[True] * 4, [False, True, False, False]]), torch.tensor([[False, True, True, False]] * 2)]
    together = method._levels(encoded, subsets, "fused")
    for own, presence in zip(together, subsets, strict=True):
        for one, other in zip(own, method._levels(encoded, [presence], "fused")[0], strict=True):
            torch.testing.assert_close(one, other)


def test_every_size_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch, sizes = tiny(students=1, dmcd=0.0), batch_of(GLIOMA.modalities), Counter[int]()
    students = method._students

    def spy(acquired: torch.Tensor, size: int, clock: Clock) -> Any:
        sizes.update([size])
        return students(acquired, size, clock)

    monkeypatch.setattr(method, "_students", spy)
    for seed in range(40):
        method._loss(batch, clock_at(seed=seed))
    assert set(sizes) == {1, 2, 3}
    assert min(sizes.values()) > 5


@pytest.mark.parametrize("feature", ["fused", "shared", "specific"])
def test_no_gradient_reaches_the_teacher(feature: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch, asked = tiny(feature=feature), batch_of(GLIOMA.modalities), []

    def spy(teacher: torch.Tensor, student: torch.Tensor, temperature: float) -> torch.Tensor:
        asked.append((teacher.requires_grad, student.requires_grad))
        return bernoulli_divergence(teacher, student, temperature)

    monkeypatch.setattr("lacunet.methods.ccsd.bernoulli_divergence", spy)
    method.stages()[0].loss(batch, clock_at())
    assert set(asked) == {(False, True)}


def test_the_students_are_all_subsets_of_one_size() -> None:
    batch = batch_of(GLIOMA.modalities)
    for size, number in ((1, 4), (2, 6), (3, 4)):
        students = tiny()._students(batch.acquired, size, clock_at())
        found = {tuple(presence[0].nonzero()[:, 0].tolist()) for presence, _ in students}
        assert found == set(combinations(FOUR, size))
        assert len(students) == number
        assert all(weight.item() == pytest.approx(1 / number) for _, weight in students)


def test_students_are_chosen_where_there_is_a_budget() -> None:
    acquired = batch_of(GLIOMA.modalities).acquired
    drawn = {
        tuple(tuple(presence[0].tolist()) for presence, _ in tiny(students=2)._students(acquired, 2, clock_at(seed=s)))
        for s in range(20)
    }
    assert all(len(set(students)) == 2 for students in drawn)
    assert len(drawn) > 5


def test_a_case_without_all_modalities_has_students_of_what_it_has() -> None:
    acquired = batch_of(GLIOMA.modalities, ("t1n", "t2f"), ("t1c",)).acquired
    students = tiny()._students(acquired, 3, clock_at())
    for case, members, number in ((0, FOUR, 4), (1, (0, 3), 2), (2, (1,), 1)):
        counted = [tuple(p[case].nonzero()[:, 0].tolist()) for p, weight in students if weight[case] > 0]
        assert len(counted) == number
        assert set(counted) <= {s for size in range(1, 4) for s in combinations(members, size)}
        assert sum(weight[case].item() for _, weight in students) == pytest.approx(1)


# ---------------------------------------------------------------- the path


def features_of(*directions: list[float]) -> torch.Tensor:
    return torch.tensor(directions)[:, :, None, None, None]


def test_criticality_by_hand() -> None:
    score = cosine_criticality(features_of([1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]))
    assert score(FOUR) == pytest.approx({0: 0.0, 1: 0.0, 2: 0.0, 3: 2 / 3})
    assert score((0, 1, 2)) == pytest.approx({0: -0.5, 1: -0.5, 2: 0.0})
    assert score((0, 1)) == pytest.approx({0: -1.0, 1: -1.0})


def test_the_path_removes_the_most_critical_first() -> None:
    # the fourth points away from all; then the third is unlike the two that are alike
    score = cosine_criticality(features_of([1.0, 0.1], [1.0, 0.0], [0.5, 1.0], [-1.0, -0.2]))
    path = decremental_path(FOUR, score)
    assert path[:3] == [FOUR, (0, 1, 2), (0, 1)]
    assert decremental_path(FOUR, score, min)[1] != (0, 1, 2)


def test_two_that_are_left_are_judged_by_the_full_set() -> None:
    features = features_of([1.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 1.0])
    score = cosine_criticality(features)
    assert score((0, 1))[0] == score((0, 1))[1]  # always a tie
    assert score((0, 1, 2))[0] == score((0, 1, 2))[1]
    assert decremental_path((0, 1, 2), score) == [(0, 1, 2), (0, 1), (1,)]  # alike in the full set too: the first goes
    tilted = cosine_criticality(features + features_of([0.0, 0.0, 0.3], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]))
    assert decremental_path((0, 1, 2), tilted) == [(0, 1, 2), (0, 1), (0,)]  # 1 was the less replaceable of three


def test_a_path_by_fixed_scores() -> None:
    score = fixed_criticality(torch.tensor([0.2, 0.9, 0.1, 0.5]))
    assert decremental_path(FOUR, score) == [FOUR, (0, 2, 3), (0, 2), (2,)]
    assert decremental_path(FOUR, score, min) == [FOUR, (0, 1, 3), (1, 3), (1,)]
    assert decremental_path((2,), score) == [(2,)]


def test_permuting_modalities_permutes_the_path() -> None:
    features = torch.randn((4, 3, 2, 2, 2), generator=torch.Generator().manual_seed(4))
    order = [2, 0, 3, 1]
    path = decremental_path(FOUR, cosine_criticality(features))
    permuted = decremental_path(FOUR, cosine_criticality(features[order]))
    assert [{order[i] for i in subset} for subset in permuted] == [set(subset) for subset in path]


def test_gradient_criticality_equals_finite_differences() -> None:
    generator = torch.Generator().manual_seed(2)
    features = [torch.randn((2, 2, 1, 1, 2), generator=generator, dtype=torch.float64) for _ in range(3)]
    weights = torch.randn((3, 2, 1, 1, 2), generator=generator, dtype=torch.float64)

    def losses(values: list[torch.Tensor]) -> torch.Tensor:
        return torch.tanh(sum((v * w).flatten(1).sum(1) for v, w in zip(values, weights, strict=True))).square()

    leaves = [feature.clone().requires_grad_() for feature in features]
    norms = feature_gradient_norms(losses(leaves).float(), leaves)
    step = 1e-6
    for modality, feature in enumerate(features):
        for case in range(2):
            squares = 0.0
            for index in range(feature[case].numel()):
                nudged = [value.clone() for value in features]
                nudged[modality][case].view(-1)[index] += step
                squares += ((losses(nudged)[case] - losses(features)[case]) / step).item() ** 2
            assert norms[case, modality].item() == pytest.approx(math.sqrt(squares), rel=1e-3)


def test_random_paths_are_drawn() -> None:
    method, batch = tiny(path="random"), batch_of(GLIOMA.modalities)
    encoded = method.encode(batch.images, batch.acquired)
    supervised = torch.zeros(1)
    paths = {tuple(method._paths(batch, encoded, supervised, clock_at(seed=s))[0]) for s in range(60)}
    assert len(paths) > 12
    again = method._paths(batch, encoded, supervised, clock_at(seed=7))
    assert again == method._paths(batch, encoded, supervised, clock_at(seed=7))


def made_by_hand(*directions: list[float]) -> Any:
    """The encoding of one case in which only the fused features differ."""
    fused = [torch.tensor(values, requires_grad=True)[None, :, None, None, None] for values in directions]
    alike = [torch.ones_like(feature) for feature in fused]
    return Encoding(fused=fused, shared=alike, specific=alike, empty=alike[0], skips=[], details=None)


def test_paths_follow_the_fused_features_and_the_switches() -> None:
    encoded = made_by_hand([1.0, 0.1], [1.0, 0.0], [0.5, 1.0], [-1.0, -0.2])
    loss = (torch.cat(encoded.fused).flatten(1).sum(1) * torch.tensor([1.0, 4.0, 2.0, 3.0])).sum()[None]

    def lost(*subset: str, **arguments: Any) -> list[int]:
        (path,) = tiny(**arguments)._paths(batch_of(subset or GLIOMA.modalities), encoded, loss, clock_at())
        return [next(iter(set(richer) - set(poorer))) for richer, poorer in pairwise(path)]

    assert lost()[:2] == [3, 2]
    assert lost(path="min")[0] != 3
    assert lost(criticality="gradient") == [1, 3, 2]
    assert lost(criticality="gradient", path="min") == [0, 2, 3]
    assert lost("t1n", "t2w", "t2f", criticality="gradient") == [3, 2]


def test_criticality_by_ablation_is_the_rise_of_the_loss() -> None:
    method, batch = tiny(criticality="ablation"), batch_of(GLIOMA.modalities, ("t1n", "t2f"), ("t2w",))
    encoded = method.encode(batch.images, batch.acquired)

    def loss(case: int, subset: tuple[int, ...]) -> float:
        presence = torch.tensor([[i in subset for i in FOUR]] * 3)
        return segmentation_losses(method.decode(encoded, presence), batch.regions)[case].item()

    supervised = segmentation_losses(method.decode(encoded, batch.acquired), batch.regions)
    rises = method.rises_without(batch, encoded, supervised)
    for i in FOUR:
        rest = tuple(j for j in FOUR if j != i)
        assert rises[0, i].item() == pytest.approx(loss(0, rest) - loss(0, FOUR), abs=1e-6)
    assert rises[1].tolist() == pytest.approx(
        [loss(1, (3,)) - loss(1, (0, 3)), 0, 0, loss(1, (0,)) - loss(1, (0, 3))], abs=1e-6
    )
    assert rises[2].abs().max() < 1e-6  # the only one cannot be left out
    assert not rises.requires_grad
    paths = method._paths(batch, encoded, supervised, clock_at())
    assert set(FOUR) - set(paths[0][1]) == {int(rises[0].argmax())}


def test_the_cosine_score_finds_the_outlier_and_not_what_the_loss_needs() -> None:
    """The first modality's features are unlike the others', the second's decide the answer."""
    features = features_of([-1.0, 0.2, 0.1], [1.0, 1.0, 0.0], [1.0, 0.9, 0.1], [1.0, 0.9, 0.0])
    needed = torch.tensor([0.005, 0.140, 0.011, 0.045])
    assert decremental_path(FOUR, cosine_criticality(features))[1] == (1, 2, 3)
    assert decremental_path(FOUR, fixed_criticality(needed)) == [FOUR, (0, 2, 3), (0, 2), (0,)]


# ---------------------------------------------------------------- what makes shared features shared


def test_neighbours_in_a_ring_by_hand() -> None:
    shared = [torch.full((2, 2, 1, 1, 1), value) for value in (1.0, 4.0, 6.0, 6.5)]
    apart = neighbours_apart(shared, [FOUR, (1, 3)])
    assert apart.tolist() == pytest.approx([(3 + 2 + 0.5 + 5.5) / 4, 2.5])
    assert neighbours_apart(shared, [(2,), (0, 1, 2)]).tolist() == pytest.approx([0, (3 + 2 + 5) / 3])


def test_the_classifier_asks_which_modality_a_specific_feature_is_of() -> None:
    classifier = ModalityClassifier(3, 2)
    with torch.no_grad():
        classifier.linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        classifier.linear.bias.zero_()
    features = [torch.tensor([[a, b], [b, a]])[..., None, None, None].expand(2, 2, 1, 1, 2) for a, b in
                ((2.0, 0.0), (0.0, 3.0), (1.0, 1.0))]  # fmt: skip

    def cross_entropy(logits: list[float], index: int) -> float:
        return math.log(sum(map(math.exp, logits))) - logits[index]

    found = classifier(features, [(0, 1, 2), (1,)])
    first = [cross_entropy([2, 0, 0], 0), cross_entropy([0, 3, 0], 1), cross_entropy([1, 1, 0], 2)]
    assert found.tolist() == pytest.approx([sum(first) / 3, cross_entropy([3, 0, 0], 1)])


def test_the_two_losses_reach_the_encoders_that_they_are_about() -> None:
    method, batch = tiny(alignment=0.1, classification=0.02), batch_of(("t1c", "t2f"))
    terms = method.stages()[0].loss(batch, clock_at())
    aligned, told = (gradients(method, terms[name]) for name in ("alignment", "classification"))
    assert {name for name, value in aligned.items() if value > 0} == {"shared"}
    assert {name for name, value in told.items() if value > 0} == {"specific.1", "specific.3", "classify"}
    twice = tiny(alignment=0.2, classification=0.04).stages()[0].loss(batch, clock_at(step=0))  # no ramp
    for name in ("alignment", "classification"):
        assert twice[name].item() == pytest.approx(2 * terms[name].item(), rel=1e-5)


def test_switches_that_are_off_add_no_weight() -> None:
    plain = tiny()
    switched = tiny(alignment=0.1, criticality="ablation")
    assert plain.state_dict().keys() == switched.state_dict().keys()
    classified = tiny(classification=0.02).state_dict().keys()
    assert classified - plain.state_dict().keys() == {"classify.linear.weight", "classify.linear.bias"}


def test_attention_composes_by_all_places_of_both_features() -> None:
    torch.manual_seed(2)
    compose = AttentiveComposition(8).eval()
    shared, specific = torch.randn((2, 2, 8, 2, 3, 2))
    shared.requires_grad_()
    specific.requires_grad_()
    fused = compose(shared, specific)
    assert fused.shape == shared.shape
    fused[0, :, 0, 0, 0].square().sum().backward()
    for feature in (shared, specific):
        assert feature.grad is not None
        assert (feature.grad[0].abs().sum(0) > 0).all()  # every place has a say
        assert feature.grad[1].abs().max() == 0  # no other case has
    assert not torch.allclose(compose(specific, shared), fused)


# ---------------------------------------------------------------- more modalities than four


def task_of(modalities: int) -> Task:
    names = tuple(f"m{index}" for index in range(modalities))
    return replace(
        GLIOMA, name="many", modalities=names, titles={**GLIOMA.titles, **{name: name for name in names}},
        aliases={}, shown_by={},
    )  # fmt: skip


@pytest.mark.parametrize("modalities", [2, 5, 6])
@pytest.mark.parametrize("students", [0, 2])
def test_any_number_of_modalities_trains_and_answers_from_every_subset(modalities: int, students: int) -> None:
    task = task_of(modalities)
    torch.manual_seed(1)
    method = make_method(CCSD, task, {"width": 4, "levels": 2, "students": students}).train()
    images = torch.randn(1, modalities, 4, 4, 4)
    everything = torch.ones(1, modalities, dtype=torch.bool)
    regions = (torch.rand(1, 3, 4, 4, 4) > 0.7).float()
    decoded, notes = Counter[str](), Counter[str]()
    method.fuse.register_forward_hook(lambda module, inputs, output: decoded.update({"fused": len(output)}))
    terms = method.stages()[0].loss(Batch(images, everything, everything, regions, ("a",)), clock_at(notes=notes))
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(term) for term in terms.values())
    size = int(torch.randint(1, modalities, (), generator=clock_at().shared))
    most = math.comb(modalities, size)
    assert decoded["fused"] == 1 + min(most, students or most) + modalities  # full, students, the path
    assert [len(name.removeprefix("path/").split("-")) for name in notes] == [modalities]
    method.eval()
    with torch.no_grad():
        encoded = method.encode(images, everything)
        answers = [method.decode(encoded, torch.tensor([task.presence(subset)])) for subset in task.subsets]
    assert len(answers) == 2**modalities - 1
    assert len({round(float(answer.sum()), 4) for answer in answers}) > len(answers) - 2


# ---------------------------------------------------------------- decremental distillation


def two_on_a_path(method: CCSD) -> tuple[torch.Tensor, str, str]:
    """DMCD of a case with T1ce and FLAIR: the loss, and the modalities that stay and go."""
    batch, notes = batch_of(("t1c", "t2f")), Counter[str]()
    encoded = method.encode(batch.images, batch.acquired)
    loss = method._decremental(batch, encoded, torch.zeros(1), clock_at(notes=notes))
    gone, stays = next(iter(notes)).removeprefix("path/").split("-")
    return loss.sum(), f"specific.{GLIOMA.modalities.index(stays)}", f"specific.{GLIOMA.modalities.index(gone)}"


def test_the_rest_learns_to_make_up_for_what_was_removed() -> None:
    method = tiny()
    loss, stays, gone = two_on_a_path(method)
    assert loss.item() > 0
    largest = gradients(method, loss)
    assert largest[stays] > 1e-6
    assert largest[gone] == 0  # the richer subset teaches and does not learn


def test_on_the_concatenation_there_is_nothing_that_the_rest_could_learn() -> None:
    method = tiny(match="concatenation")
    loss, stays, gone = two_on_a_path(method)
    assert loss.item() > 0
    largest = gradients(method, loss)
    assert largest[stays] == largest[gone] == largest["compose"] == 0
    assert largest["shared"] > 0  # all that moves is the response to an empty image


@pytest.mark.parametrize("feature", ["fused", "shared", "specific"])
def test_the_loss_of_a_path_is_the_mean_over_its_pairs(feature: Any) -> None:
    method, batch = tiny(feature=feature), batch_of(("t1n", "t1c", "t2w"))
    encoded = method.encode(batch.images, batch.acquired)
    (path,) = method._paths(batch, encoded, torch.zeros(1), clock_at())
    fused = []
    for subset in path:
        presence = torch.tensor([[i in subset for i in FOUR]])
        fused.append(method.fuse(method._concatenation(encoded, _choices(presence), feature)))
    expected = sum((a - b).square().mean() for a, b in pairwise(fused)) / 2
    loss = method._decremental(batch, encoded, torch.zeros(1), clock_at())
    torch.testing.assert_close(loss, expected[None])


def test_a_case_of_one_modality_has_nobody_to_teach() -> None:
    method, batch = tiny(), batch_of(("t2w",))
    terms = method.stages()[0].loss(batch, clock_at())
    assert terms["dmcd"].item() == 0
    assert terms["hmsd"].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(terms["students"], terms["full"])


def test_the_log_counts_the_paths() -> None:
    notes = Counter[str]()
    tiny().stages()[0].loss(batch_of(GLIOMA.modalities, ("t1n", "t2f"), ("t2w",)), clock_at(notes=notes))
    assert sum(notes.values()) == pytest.approx(1)
    assert {len(name.removeprefix("path/").split("-")) for name in notes} == {4, 2, 1}
    assert "path/t2w" in notes


# ---------------------------------------------------------------- the whole loss


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"path": "random"},
        {"students": 2},
        {"feature": "shared"},
        {"criticality": "ablation", "composition": "attention", "alignment": 0.1, "classification": 0.02},
    ],
    ids=named,
)
def test_a_mixed_batch_costs_what_its_cases_cost(arguments: dict[str, Any]) -> None:
    method = tiny(**arguments)
    sets = [GLIOMA.modalities, ("t1n", "t2f"), ("t1n", "t1c", "t2w"), ("t2w",)]
    batch = batch_of(*sets)
    together = method.stages()[0].loss(batch, clock_at())
    apart: Counter[str] = Counter()
    for case in range(len(sets)):
        one = slice(case, case + 1)
        images = torch.where(batch.acquired[one, :, None, None, None], batch.images[one], torch.nan)
        alone = Batch(images, batch.acquired[one], batch.presence[one], batch.regions[one], ("a",))
        apart.update({name: float(term.detach()) for name, term in method.stages()[0].loss(alone, clock_at()).items()})
    for name, term in together.items():
        assert term.item() == pytest.approx(apart[name] / len(sets), rel=1e-4), name


@pytest.mark.parametrize(
    ("arguments", "terms"),
    [
        ({}, {"full", "students", "hmsd", "dmcd"}),
        ({"hmsd": 0.0}, {"full", "students", "dmcd"}),
        ({"dmcd": 0.0}, {"full", "students", "hmsd"}),
        ({"hmsd": 0.0, "dmcd": 0.0}, {"full", "students"}),
        ({"supervise": "full"}, {"full", "hmsd", "dmcd"}),
        ({"supervise": "students"}, {"students", "hmsd", "dmcd"}),
        ({"feature": "specific", "criticality": "gradient", "path": "min"}, {"full", "students", "hmsd", "dmcd"}),
        ({"criticality": "ablation", "composition": "attention"}, {"full", "students", "hmsd", "dmcd"}),
        (
            {"alignment": 0.1, "classification": 0.02},
            {"full", "students", "hmsd", "dmcd", "alignment", "classification"},
        ),
        ({"feature": "shared", "path": "random", "match": "concatenation"}, {"full", "students", "hmsd", "dmcd"}),
    ],
    ids=named,
)
def test_terms_of_each_ablation(arguments: dict[str, Any], terms: set[str]) -> None:
    method = tiny(**arguments)
    loss = method.stages()[0].loss(batch_of(GLIOMA.modalities), clock_at())
    assert set(loss) == terms
    largest = gradients(method, torch.stack(list(loss.values())).sum())
    assert all(value > 0 for value in largest.values()), largest


def test_weights_and_ramp_scale_the_distillations() -> None:
    batch = batch_of(GLIOMA.modalities)
    whole, half = (tiny(hmsd=h, dmcd=d).stages()[0].loss(batch, clock_at()) for h, d in ((1.0, 0.1), (0.5, 0.2)))
    assert half["hmsd"].item() == pytest.approx(whole["hmsd"].item() / 2)
    assert half["dmcd"].item() == pytest.approx(whole["dmcd"].item() * 2)
    early = tiny().stages()[0].loss(batch, clock_at(step=0))
    assert early["hmsd"].item() == pytest.approx(whole["hmsd"].item() * math.exp(-5), rel=1e-4)
    assert early["dmcd"].item() == pytest.approx(whole["dmcd"].item() * math.exp(-5), rel=1e-4)
    assert early["full"].item() == pytest.approx(whole["full"].item())


def test_the_ramp_by_hand() -> None:
    assert ramp_up(0.0, 0.1) == pytest.approx(math.exp(-5))
    assert ramp_up(0.05, 0.1) == pytest.approx(math.exp(-1.25))
    assert ramp_up(0.1, 0.1) == ramp_up(0.9, 0.1) == 1.0


def test_recomputing_the_students_changes_no_gradient() -> None:
    batch = batch_of(GLIOMA.modalities)
    found = []
    for recompute in (False, True):
        method = tiny(recompute=recompute)
        torch.stack(list(method.stages()[0].loss(batch, clock_at()).values())).sum().backward()
        found.append({name: p.grad for name, p in method.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)


def saved_bytes(method: CCSD, batch: Batch) -> int:
    """What the loss keeps for the backward pass, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        terms = method.stages()[0].loss(batch, clock_at())
        return sum(storages.values()) if terms else 0


def test_memory_grows_with_the_students_decoded_only() -> None:
    batch = batch_of(GLIOMA.modalities, side=16)
    one, two, three = (saved_bytes(tiny(students=n), batch) for n in (1, 2, 3))
    none = saved_bytes(tiny(hmsd=0.0, supervise="full"), batch)
    assert three - two == pytest.approx(two - one, rel=0.02)
    assert one - none == pytest.approx(two - one, rel=0.1)
    again = saved_bytes(tiny(students=3, recompute=True), batch)
    assert again < one


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "maximum"}, "CCSD: path = 'maximum': must be one of max, min, random"),
        ({"feature": "fuse"}, "feature = 'fuse': must be one of fused, shared, specific; did you mean 'fused'"),
        ({"temperature": 0.0}, "temperature = 0.0: it must be above 0"),
        ({"patch": 0}, "patch = 0: from 1 to 8 are possible"),
    ],
    ids=named,
)
def test_refuses_arguments_that_mean_nothing(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        make_method(CCSD, GLIOMA, arguments)


# ---------------------------------------------------------------- at full size


def test_the_small_recipe_is_the_same_method_on_another_scale() -> None:
    full, small = read_recipe(RECIPE).arguments, read_recipe(RECIPE.parent / "small" / RECIPE.name).arguments
    scale = {"width", "levels", "recompute"}
    assert {key: value for key, value in full.items() if key not in scale} == {
        key: value for key, value in small.items() if key not in scale
    }


@pytest.mark.slow
def test_the_recipe_of_the_paper_takes_two_steps() -> None:
    recipe = read_recipe(RECIPE)
    torch.manual_seed(1)
    method = in_channels_last(make_method(CCSD, GLIOMA, recipe.arguments)).train()
    assert sum(parameter.numel() for parameter in method.parameters()) == 31_366_931
    batch = batch_of(GLIOMA.modalities, side=recipe.train.crop[0])
    optimiser = make_optimiser(list(method.parameters()), recipe.train)
    before = method.head.weight.detach().clone()
    for step in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            terms = method.stages()[0].loss(batch, clock_at(step=step, seed=step))
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        loss.backward()
        optimiser.step()
        assert torch.isfinite(loss)
        assert set(terms) == {"full", "students", "hmsd", "dmcd"}
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert not torch.equal(method.head.weight, before)
