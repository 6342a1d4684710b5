"""A training that comes before another: on a coarser grid, or to rebuild hidden parts of images."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lacunet.benchmark.budget import mean_pace, steps_with_earlier, with_steps
from lacunet.case import CaseFiles
from lacunet.errors import ModelError, OutputError, RecipeError
from lacunet.models.model import load_model
from lacunet.models.origin import cases_seen
from lacunet.nn.batch import Batch, Images, Logits, Presence
from lacunet.nn.method import Clock, Method, Stage, get_method, make_method
from lacunet.nn.papers import method_names
from lacunet.prediction.predictor import Predictor
from lacunet.progress import Silent
from lacunet.task import GLIOMA, Task
from lacunet.training.objective import made_for, reconstruction_stage, reconstruction_task
from lacunet.training.recipe import Recipe, read_recipe, write_recipe
from lacunet.training.train import train
from small import tiny_recipe

COARSE = {"prepare": {"spacing": 8.0}, "train": {"steps": 4}}
REBUILD = {"objective": "reconstruction", "train": {"steps": 4}}


pytestmark = pytest.mark.usefixtures("one_thread")


def recipe_with(before: dict[str, Any], **sections: Any) -> Recipe:
    return tiny_recipe(train={"steps": 5, "save_every": 2, **sections.pop("train", {})}, before=before, **sections)


def run(recipe: Recipe, cases: list[CaseFiles], folder: Path, **options: Any) -> Path:
    return train(recipe, cases[:2], cases[2:], folder, device="cpu", **options)


class Stop(Silent):
    """Breaks off like Ctrl-C, after so many steps of all trainings."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        if job in ("segment", "reconstruct"):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


# ---------------------------------------------------------------- recipes


def test_what_comes_before_is_the_recipe_with_some_sections_laid_over(tmp_path: Path) -> None:
    recipe = recipe_with({"prepare": {"spacing": 8.0}, "train": {"steps": 4}}, stages={"segment": {"patience": 3}})
    first = recipe.earlier()
    assert first is not None
    assert (first.prepare.spacing, first.train.steps, first.train.crop) == (8.0, 4, recipe.train.crop)
    assert (first.arguments, first.stages, first.before) == (recipe.arguments, recipe.stages, {})
    assert first.earlier() is None
    write_recipe(tmp_path / "recipe.toml", recipe)
    assert read_recipe(tmp_path / "recipe.toml") == recipe


def test_another_objective_has_other_stages() -> None:
    first = recipe_with(REBUILD, stages={"segment": {"patience": 3}}).earlier()
    assert first is not None
    assert first.stages == {}
    method, stages = made_for(first)
    assert [stage.name for stage in stages] == ["reconstruct"]
    assert tuple(method.task.regions) == GLIOMA.modalities


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ({"train": {"stepz": 4}}, r"recipe: \[before\]: unknown key 'train.stepz'; did you mean 'steps'"),
        ({"train": {"steps": 0}}, r"recipe: \[before\]: 'train.steps' = 0"),
        ({"objective": "colour"}, r"recipe: \[before\]: 'objective' = 'colour'"),
        ({"before": {"train": {"steps": 4}}}, r"recipe: \[before\] has a \[before\] of its own"),
    ],
)
def test_a_wrong_value_is_named_with_where_it_stands(before: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_with(before)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("before", [COARSE, REBUILD], ids=["coarse", "rebuild"])
def test_a_training_begins_with_the_weights_of_the_one_before(
    before: dict[str, Any], phantoms: list[CaseFiles], tmp_path: Path
) -> None:
    recipe = recipe_with(before, train={"steps": 1, "learning_rate": 1e-12})
    first = recipe.earlier()
    assert first is not None
    model = load_model(str(run(recipe, phantoms, tmp_path / "run")))
    earlier = load_model(str(tmp_path / "run" / "before"))
    alone = load_model(str(run(first, phantoms, tmp_path / "alone")))
    assert earlier.sha256 == alone.sha256
    assert model.card["init"]["model"] == "before"
    assert model.card["init"]["sha256"] == earlier.sha256
    heads = ["head.weight", "head.bias"] if before is REBUILD else []
    assert (model.card["init"]["new"], model.card["init"]["left"]) == (heads, heads)
    for name, value in earlier.method.state_dict().items():
        if name not in heads:
            torch.testing.assert_close(model.method.state_dict()[name], value, rtol=0, atol=1e-6)
    assert cases_seen(tmp_path / "run") == tuple(sorted(case.name for case in phantoms[:2]))


@pytest.mark.parametrize("before", [COARSE, REBUILD], ids=["coarse", "rebuild"])
def test_a_run_is_resumed_to_the_same_bits_wherever_it_was_stopped(
    before: dict[str, Any], phantoms: list[CaseFiles], tmp_path: Path
) -> None:
    recipe = recipe_with(before)
    run(recipe, phantoms, tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / "model" / "weights.safetensors")
    for after in (3, 7):  # four steps, then five
        folder = tmp_path / f"stopped-{after}"
        with pytest.raises(KeyboardInterrupt):
            run(recipe, phantoms, folder, progress=Stop(after))
        assert (folder / "recipe.toml").is_file() == (after > 4)
        with pytest.raises(OutputError, match="holds a run already"):
            run(recipe, phantoms, folder)
        run(recipe, phantoms, folder, resume=True)
        found = load_file(folder / "model" / "weights.safetensors")
        assert all(torch.equal(found[name], whole[name]) for name in whole), after


def test_a_model_to_begin_with_is_that_of_the_training_that_comes_first(
    phantoms: list[CaseFiles], tmp_path: Path
) -> None:
    source = run(tiny_recipe(train={"steps": 1}, seed=9), phantoms, tmp_path / "source")
    recipe = recipe_with({"train": {"steps": 1}}, train={"steps": 1})
    model = load_model(str(run(recipe, phantoms, tmp_path / "run", init=str(source))))
    assert model.card["init"]["init"]["model"] == "source"


# ---------------------------------------------------------------- rebuilding


@pytest.mark.parametrize("name", method_names())
def test_every_method_can_rebuild_images_and_hand_on_all_but_its_last_layers(name: str) -> None:
    cls = get_method(name)
    known = inspect.signature(cls).parameters
    arguments = {key: value for key, value in {"width": 8, "levels": 4}.items() if key in known}
    torch.manual_seed(1)
    method = make_method(cls, reconstruction_task(GLIOMA), arguments).train()
    acquired = torch.tensor([[True, True, False, True]])
    images = torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(2))
    images[:, 2] = torch.nan
    batch = Batch(images, acquired, acquired, torch.zeros(1, 4, 16, 16, 16), ("a",))
    (loss,) = reconstruction_stage(method).loss(batch, Clock(0, 1, torch.Generator())).values()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    segments = make_method(cls, GLIOMA, arguments).state_dict()
    shared = [
        key for key, value in method.state_dict().items() if key in segments and value.shape == segments[key].shape
    ]
    handed = sum(segments[key].numel() for key in shared) / sum(value.numel() for value in segments.values())
    assert handed > 0.9, (name, handed)


def test_an_eighth_is_shown_and_all_that_was_acquired_is_rebuilt() -> None:
    """A network that answers 2 everywhere: the mean square of 2 - 1 over what was acquired, whatever is shown."""
    shown: list[torch.Tensor] = []

    class Two(Method[Images]):
        def encode(self, images: Images, presence: Presence) -> Images:
            shown.append((images != 0).float().mean())
            assert torch.equal(presence, (images != 0).flatten(2).any(dim=2))
            return images

        def decode(self, encoded: Images, presence: Presence) -> Logits:
            return torch.full_like(encoded, 2.0)

        def stages(self) -> list[Stage]:
            return []

    acquired = torch.tensor([[True, True, False, True]])
    batch = Batch(torch.ones(1, 4, 16, 16, 16), acquired, acquired, torch.zeros(1, 3, 16, 16, 16), ("a",))
    terms = reconstruction_stage(Two(reconstruction_task(GLIOMA))).loss(batch, Clock(0, 1, torch.Generator()))
    assert terms["reconstruction"].item() == pytest.approx(1.0)
    assert shown[0].item() == pytest.approx(1 / 8)


def test_a_network_that_rebuilds_segments_nothing(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    recipe = tiny_recipe(objective="reconstruction", train={"steps": 1})
    model = load_model(str(run(recipe, phantoms, tmp_path / "run")))
    assert Task.from_json(model.task.to_json()) == model.task
    with pytest.raises(ModelError, match="run: rebuilds hidden parts of images and segments nothing; begin a training"):
        Predictor(model, "cpu")


# ---------------------------------------------------------------- budgets


def test_a_budget_of_steps_is_shared_by_both_trainings() -> None:
    recipe = recipe_with({"train": {"steps": 100}}, train={"steps": 300}, validate={"every": 30})
    shorter = with_steps(recipe, 40)
    first = shorter.earlier()
    assert first is not None
    assert (first.train.steps, first.validate_.every) == (10, 3)
    assert (shorter.train.steps, shorter.validate_.every) == (30, 3)
    assert shorter.model_copy(update={"before": {}}) == with_steps(recipe.model_copy(update={"before": {}}), 30)


def test_a_budget_of_seconds_is_shared_by_both_trainings() -> None:
    recipe = recipe_with({"train": {"steps": 100}}, train={"steps": 300})
    first = recipe.earlier()
    assert first is not None
    pace = mean_pace(recipe, ["segment"], {"segment": 2.0})
    # of four steps three take 2 s and one takes 1 s: 7 s for four steps
    assert steps_with_earlier(recipe, pace, first, 1.0, 70.0) == 40
    with pytest.raises(RecipeError, match=r"hold 4 steps of 1\.8 s; give more"):
        steps_with_earlier(recipe, pace, first, 1.0, 7.0)
