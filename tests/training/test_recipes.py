"""The recipes that are handed out can be used as they are."""

import inspect
import tomllib
from pathlib import Path

import pytest

from lacunet.benchmark.budget import crops_a_step, read_budget, stage_names, steps_within, with_steps
from lacunet.benchmark.plan import notes_on
from lacunet.benchmark.ranking_file import ranked_entrants, read_ranking
from lacunet.benchmark.sweep import read_sweep, recipes_folder, row_entrants
from lacunet.benchmark.target import find_target
from lacunet.case import CaseFiles
from lacunet.comparison.published.lists import known_lists
from lacunet.nn.method import get_method, make_method, method_names
from lacunet.nn.papers import method_names as names_without_torch
from lacunet.task import get_task
from lacunet.training.recipe import Recipe, make_recipe, read_recipe, write_recipe
from lacunet.training.train import train
from small import ROOT

FOLDER = ROOT / "recipes"
RECIPES = sorted(path for path in FOLDER.glob("**/*.toml") if path.parent.name != "sweeps")
RANKINGS = sorted(FOLDER.glob("sweeps/ranking-*.toml"))
SWEEPS = sorted(set(FOLDER.glob("sweeps/*.toml")) - set(RANKINGS))
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
            read = recipe[section][key]
            read = {name: read[name] for name in value} if isinstance(value, dict) else read  # the rest has defaults
            assert read == value, f"[{section}] {key}"


def test_is_named_after_its_method(path: Path):
    recipe = read_recipe(path)
    assert recipe.method in names_without_torch()
    assert path.stem.split("-")[0] == recipe.method


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


def test_every_argument_of_a_method_is_set_by_a_recipe_a_sweep_or_the_method_itself():
    """The method itself: what it writes into the model folder (`deployed`)."""
    recipes = [read_recipe(path) for path in RECIPES]
    recipes += [row.recipe for sweep in SWEEPS for row in row_entrants(sweep, read_sweep(sweep))]
    recipes += [entrant.recipe for path in RANKINGS for entrant in ranked_entrants(path, read_ranking(path))]
    for name in method_names():
        cls, own = get_method(name), [recipe.arguments for recipe in recipes if recipe.method == name]
        written = make_method(cls, get_task("glioma"), own[0]).deployed().arguments
        has = {p.name for p in inspect.signature(cls).parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert has == {argument for arguments in (*own, written) for argument in arguments}, name


def test_the_small_recipes_are_small():
    for path in (FOLDER / "small").glob("*.toml"):
        assert _voxels(read_recipe(path)) <= 3000 * 2 * 64**3, path.name


def test_a_recipe_needs_nothing_but_its_method():
    assert make_recipe({"method": "early_fusion"}).train.steps == 2000


def _voxels(recipe: Recipe) -> int:
    x, y, z = recipe.train.crop
    return recipe.train.steps * recipe.train.batch * x * y * z


# Sweeps


@pytest.fixture(params=SWEEPS, ids=[path.stem for path in SWEEPS])
def sweep(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_every_row_of_a_sweep_is_another_recipe_that_its_method_takes(sweep: Path):
    rows = row_entrants(sweep, read_sweep(sweep))
    recipes = [row.recipe.model_dump_json() for row in rows]
    assert len(set(recipes)) == len(recipes)
    for row in rows:
        assert sum(row.recipe.steps_of(stage_names(row.recipe))) == row.recipe.train.steps


def test_a_sweep_is_called_after_its_method_and_its_rows_after_the_published_ones(sweep: Path):
    fields = read_sweep(sweep)
    assert sweep.stem.startswith(row_entrants(sweep, fields)[0].recipe.method)
    assert get_task("glioma").subsets_named(fields.subsets)
    if not fields.published:
        return
    target = find_target(sweep.stem, known_lists())
    assert target.table is not None
    if target.table.ablation:
        assert list(fields.rows) == target.table.methods


def test_what_a_published_table_states_a_sweep_does_not_change(sweep: Path):
    fields = read_sweep(sweep)
    if not fields.published:
        return
    target = find_target(sweep.stem, known_lists())
    assert target.table is not None
    assert not target.table.test or target.table.test == (target.lists.parts["test"].sha256,)
    assert target.table.test_cases in (None, target.lists.parts["test"].cases)
    assert target.table.policy in ("", fields.policy)
    assert target.table.postprocessing in (None, fields.postprocess)
    assert target.table.dataset == target.lists.dataset


def test_every_sweep_of_lists_names_lists_that_are_known(sweep: Path):
    fields = read_sweep(sweep)
    assert fields.lists in ("", *known_lists())


def test_all_recipes_and_sweeps_are_found_from_the_package():
    assert recipes_folder() == FOLDER
    assert len(SWEEPS) >= 15


# Rankings


@pytest.fixture(params=RANKINGS, ids=[path.stem for path in RANKINGS])
def ranking(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_every_entrant_of_a_ranking_differs_in_nothing_that_should_be_the_same(ranking: Path):
    entrants = ranked_entrants(ranking, read_ranking(ranking))
    assert notes_on(entrants) == []
    recipes = [entrant.recipe.model_dump_json() for entrant in entrants]
    assert len(set(recipes)) == len(recipes)
    assert read_ranking(ranking).baseline in [entrant.name for entrant in entrants]


def test_every_entrant_of_a_ranking_fits_its_method(ranking: Path):
    file = read_ranking(ranking)
    crops = read_budget(file.budget).crops
    assert crops is not None
    for entrant in ranked_entrants(ranking, file):
        recipe, names = entrant.recipe, stage_names(entrant.recipe)
        with_steps(recipe, steps_within(recipe, names, crops_a_step(recipe), float(crops), "crops")).steps_of(names)
        method = make_method(get_method(recipe.method), get_task(recipe.task), recipe.arguments)
        for name in names:
            assert [side % method.divisor for side in recipe.for_stage(name).crop] == [0, 0, 0], entrant.name
            assert min(recipe.for_stage(name).crop) >= 3 * method.divisor, entrant.name


def test_every_small_recipe_is_ranked():
    path = FOLDER / "sweeps" / "ranking-3mm.toml"
    ranked = {entrant.file.resolve() for entrant in ranked_entrants(path, read_ranking(path))}
    assert ranked == set((FOLDER / "small").glob("*.toml"))


# Recipes that are variants of a method


VARIANTS = [path for path in RECIPES if path.stem != read_recipe(path).method]


@pytest.mark.parametrize("path", VARIANTS, ids=[str(path.relative_to(FOLDER)) for path in VARIANTS])
def test_a_variant_trains_two_steps(path: Path, phantoms: list[CaseFiles], tmp_path: Path):
    """At its own arguments but for the width, on crops of the least size."""
    recipe = read_recipe(path)
    width = min(recipe.arguments["width"], 8)
    method = make_method(get_method(recipe.method), get_task(recipe.task), {**recipe.arguments, "width": width})
    side = 2 * method.divisor
    changes = [f"train.crop=[{side},{side},{side}]", "train.steps=2", "train.batch=1", "train.workers=0"]
    changes += [f"arguments.width={width}", "train.precision=float32", "prepare.spacing=4.0"]
    run = train(read_recipe(path, changes), phantoms[:2], [], tmp_path / "run", device="cpu")
    assert (run / "weights.safetensors").is_file()
