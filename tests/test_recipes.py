"""The recipes that are handed out can be used as they are."""

import tomllib
from pathlib import Path

import pytest

from lacunet.method import get_method, make_method, method_names
from lacunet.papers import method_names as names_without_torch
from lacunet.recipe import Recipe, make_recipe, read_recipe, write_recipe
from lacunet.task import get_task

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted([*FOLDER.glob("*.toml"), *FOLDER.glob("small/*.toml")])
SWEEPS = sorted(FOLDER.glob("sweeps/*.toml"))
NAMES = [str(path.relative_to(FOLDER)) for path in RECIPES]


@pytest.fixture(params=RECIPES, ids=NAMES)
def path(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_is_read_and_says_what_the_file_says(path: Path):
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    recipe = read_recipe(path).model_dump(by_alias=True, mode="json")
    assert {key: recipe[key] for key in written if not isinstance(written[key], dict)} == {
        key: value for key, value in written.items() if not isinstance(value, dict)
    }
    for section in ("arguments", "prepare", "train", "augment", "validate"):
        for key, value in written.get(section, {}).items():
            assert recipe[section][key] == value, f"[{section}] {key}"


def test_is_named_after_its_method(path: Path):
    recipe = read_recipe(path)
    assert recipe.method in names_without_torch()
    assert path.stem == recipe.method


def test_makes_a_method_whose_stages_share_all_steps(path: Path):
    recipe = read_recipe(path)
    method = make_method(get_method(recipe.method), get_task(recipe.task), recipe.arguments)
    stages = [stage.name for stage in method.stages()]
    steps = recipe.steps_of(stages)
    assert sum(steps) == recipe.train.steps
    assert min(steps) >= 1


def test_has_crops_that_the_network_divides_evenly(path: Path):
    recipe = read_recipe(path)
    method = make_method(get_method(recipe.method), get_task(recipe.task), recipe.arguments)
    for stage in method.stages():
        assert [n % method.divisor for n in recipe.for_stage(stage.name).crop] == [0, 0, 0]


def test_leaves_the_coarsest_map_at_least_four_voxels_wide(path: Path):
    """On 2 x 2 x 2 maps PyTorch 2.13's CPU convolution in bf16 returns wrong gradients of its weights."""
    recipe = read_recipe(path)
    method = make_method(get_method(recipe.method), get_task(recipe.task), recipe.arguments)
    for stage in method.stages():
        assert min(recipe.for_stage(stage.name).crop) >= 4 * method.divisor


def test_names_subsets_that_the_task_has(path: Path):
    recipe = read_recipe(path)
    assert get_task(recipe.task).subsets_named(recipe.validate_.subsets)


def test_is_the_same_after_writing_it_resolved(path: Path, tmp_path: Path):
    recipe = read_recipe(path)
    write_recipe(tmp_path / "recipe.toml", recipe)
    assert read_recipe(tmp_path / "recipe.toml") == recipe


def test_every_method_has_a_recipe_of_full_and_of_small_size():
    for name in method_names():
        assert f"{name}.toml" in NAMES
        assert f"small/{name}.toml" in NAMES


def test_the_small_recipes_are_small():
    for path in (FOLDER / "small").glob("*.toml"):
        assert _voxels(read_recipe(path)) <= 3000 * 2 * 64**3, path.name


def test_a_recipe_needs_nothing_but_its_method():
    assert make_recipe({"method": "early_fusion"}).train.steps == 2000


def _voxels(recipe: Recipe) -> int:
    x, y, z = recipe.train.crop
    return recipe.train.steps * recipe.train.batch * x * y * z
