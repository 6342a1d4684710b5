"""The law that every file in `methods/` keeps, and what training, prediction and model files count on."""

import inspect
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from lacunet.data.prepare import Preparation
from lacunet.errors import RecipeError
from lacunet.models.model import load_model, save_model
from lacunet.nn.batch import Batch
from lacunet.nn.method import Clock, Method, get_method, make_method
from lacunet.nn.papers import method_names, paper_of
from lacunet.task import GLIOMA

TINY = {"width": 8, "levels": 4}
"""Arguments that make a method small, given to those that have them."""


@pytest.fixture(scope="module", params=method_names())
def method(request: pytest.FixtureRequest) -> Method:
    torch.manual_seed(1)
    cls = get_method(request.param)
    known = inspect.signature(cls).parameters
    return make_method(cls, GLIOMA, {name: value for name, value in TINY.items() if name in known}).eval()


def images_for(method: Method, cases: int = 1, factors: tuple[int, int, int] = (2, 2, 2)) -> torch.Tensor:
    shape = [max(factor * method.divisor, 8 * factor) for factor in factors]
    return torch.randn((cases, len(GLIOMA.modalities), *shape), generator=torch.Generator().manual_seed(5))


def presence_of(*subsets: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor([GLIOMA.presence(subset) for subset in subsets])


def poisoned(images: torch.Tensor, presence: torch.Tensor) -> torch.Tensor:
    """NaN wherever the network may not look."""
    return torch.where(presence[:, :, None, None, None], images, torch.nan)


def in_rows(images: torch.Tensor, rows: int) -> torch.Tensor:
    """A case, so many times. That rows do not know each other is a test of its own; one batch is quicker than many."""
    return images.expand(rows, *images.shape[1:]).clone()


SHOWN = presence_of(*GLIOMA.subsets)


@pytest.fixture(scope="module")
@torch.no_grad()
def alone(method: Method) -> torch.Tensor:
    """Logits from each subset, a row each, of a network that is given one case and NaN for what is not in it."""
    images = images_for(method)
    return torch.cat([method.decode(method.encode(poisoned(images, one), one), one) for one in SHOWN.split(1)])


def require_alike(found: torch.Tensor, expected: torch.Tensor) -> None:
    for subset, one, other in zip(GLIOMA.subsets, found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, msg=lambda m, s=subset: f"{s}: {m}")


@torch.no_grad()
def test_decoding_a_subset_of_all_equals_decoding_the_subset_alone(method: Method, alone: torch.Tensor) -> None:
    encoded = method.encode(images_for(method), presence_of(GLIOMA.modalities))
    require_alike(torch.cat([method.decode(encoded, shown) for shown in SHOWN.split(1)]), alone)


@torch.no_grad()
def test_never_looks_at_an_absent_modality(method: Method, alone: torch.Tensor) -> None:
    assert torch.isfinite(alone).all()
    images = in_rows(images_for(method), len(SHOWN))
    require_alike(method(images, SHOWN), alone)
    others = torch.where(SHOWN[:, :, None, None, None], images, 100.0)
    require_alike(method.decode(method.encode(others, torch.ones_like(SHOWN)), SHOWN), alone)


@torch.no_grad()
def test_looks_at_each_present_modality(method: Method) -> None:
    changed = in_rows(images_for(method), 1 + len(GLIOMA.modalities))
    for index in range(len(GLIOMA.modalities)):
        changed[1 + index, index] = changed[0, index].flip(-1) * 2
    before, *after = method(changed, torch.ones(changed.shape[:2], dtype=torch.bool))
    for other in after:
        assert (other - before).abs().max() > 1e-4


@torch.no_grad()
def test_a_case_does_not_depend_on_its_neighbours_in_the_batch(method: Method) -> None:
    subsets = [("t1c",), ("t1n", "t2w", "t2f"), GLIOMA.modalities]
    images = images_for(method, len(subsets))
    together = method(poisoned(images, presence_of(*subsets)), presence_of(*subsets))
    for index, subset in enumerate(subsets):
        alone = method(images[index : index + 1], presence_of(subset))
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_evaluation_is_deterministic(method: Method) -> None:
    images, shown = images_for(method), presence_of(("t1c", "t2f"))
    torch.manual_seed(1)
    first = method(images, shown)
    torch.manual_seed(2)
    torch.testing.assert_close(method(images, shown), first, rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("factors", [(2, 2, 2), (2, 3, 4), (4, 2, 3)])
def test_logits_have_the_shape_of_the_images(method: Method, factors: tuple[int, int, int]) -> None:
    images = images_for(method, factors=factors)
    logits = method(images, presence_of(("t2f",)))
    assert logits.shape == (1, len(GLIOMA.regions), *images.shape[2:])
    assert logits.dtype == torch.float32


def test_gradients_of_every_stage_are_finite_with_nan_where_nothing_was_acquired(method: Method) -> None:
    acquired = presence_of(("t1n", "t1c", "t2f"), ("t2w",))
    images = poisoned(images_for(method, 2), acquired)
    regions = (torch.rand((2, len(GLIOMA.regions), *images.shape[2:])) > 0.7).float()
    batch = Batch(images, acquired, presence_of(("t1c",), ("t2w",)), regions, ("one", "other"))
    for stage, step in product(method.stages(), (0, 7)):
        torch.manual_seed(1)
        method.eval().requires_grad_(False)
        for module in stage.trains:
            module.train().requires_grad_(True)
        stage.before()
        terms = stage.loss(batch, Clock(step, 8, torch.Generator().manual_seed(1)))
        assert terms, stage.name
        assert all(term.shape == () and torch.isfinite(term) for term in terms.values()), (stage.name, terms)
        torch.stack([term.float() for term in terms.values()]).sum().backward()
        found = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
        assert all(torch.isfinite(gradient).all() for gradient in found.values()), stage.name
        assert any(gradient.abs().max() > 0 for gradient in found.values()), stage.name
        method.zero_grad()
    method.eval().requires_grad_(True)


@torch.no_grad()
def test_a_saved_model_gives_the_same_logits(method: Method, tmp_path: Path) -> None:
    images, shown = images_for(method), presence_of(("t1n", "t2f"))
    save_model(tmp_path / "model", method, Preparation(2.0), {})
    loaded = load_model(str(tmp_path / "model"))
    assert not loaded.method.training
    torch.testing.assert_close(loaded.method(images, shown), method.deployed().eval()(images, shown), rtol=0, atol=0)


@pytest.mark.parametrize("name", method_names())
def test_a_method_says_where_it_comes_from_and_how_it_departs(name: str) -> None:
    cls = get_method(name)
    assert paper_of(name) == cls.paper
    assert "Departures from the paper" in (cls.__doc__ or "")
    assert "Not stated in the paper" in (cls.__doc__ or "")


def test_papers_are_read_without_importing_torch() -> None:
    code = (
        "import sys; from lacunet.nn.papers import method_names, paper_of\n"
        "assert [paper_of(name).title for name in method_names()]\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", method_names())
def test_can_be_made_without_memory_and_has_the_same_tensors(name: str) -> None:
    """A model folder is compared with its weights before anything is allocated."""
    cls = get_method(name)
    arguments = {key: value for key, value in TINY.items() if key in inspect.signature(cls).parameters}
    with torch.device("meta"):
        imagined = make_method(cls, GLIOMA, arguments).deployed().state_dict()
    made = make_method(cls, GLIOMA, arguments).deployed().state_dict()
    assert {key: value.shape for key, value in imagined.items()} == {key: value.shape for key, value in made.items()}


@pytest.mark.parametrize("name", method_names())
@pytest.mark.parametrize("wrong", [{"levels": 10**9}, {"levels": 0}, {"width": 10**9}, {"width": -8}], ids=str)
def test_refuses_a_size_that_no_network_has(name: str, wrong: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match=rf"{next(iter(wrong))} = .*: (from 1 to|at least)"):
        make_method(get_method(name), GLIOMA, wrong)
