"""Recipes: what is refused, and what is written is what is read."""

from pathlib import Path

import pytest

from lacunet.errors import RecipeError
from lacunet.training.recipe import Recipe, make_recipe, read_recipe, write_recipe
from small import tiny_recipe


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methd = 'x'", r"'methd'; did you mean 'method'\?"),
        ("[train]\nlearning_rat = 1", r"'train.learning_rat'; did you mean 'learning_rate'\?; \[train\] has: steps"),
        ("[validate]\nevry = 1", r"'validate.evry'; did you mean 'every'\?"),
        ("[augment]\nrotat = 1", r"'augment.rotat'; did you mean 'rotate'\?"),
        (
            "[augment.shading]\nstrenght = 1",
            r"'augment.shading.strenght'; did you mean 'strength'\?; \[augment.shading\] has: chance, strength",
        ),
        ("[transplant]\nbesides = 1", r"'transplant.besides'; did you mean 'beside'\?"),
        ("[prepare]\nspacin = 1", r"'prepare.spacin'; did you mean 'spacing'\?"),
        ("[stages.segment]\nlearning_rates = 1", r"'stages.segment.learning_rates'; did you mean 'learning_rate'\?"),
    ],
)
def test_an_unknown_key_names_the_nearest(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(written(tmp_path, f"method = 'early_fusion'\n{text}"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.steps=0", "'train.steps' = 0: input should be greater than or equal to 1"),
        ("train.steps=many", "'train.steps' = 'many'"),
        ("train.crop=[64, 64, 0]", "'train.crop.2' = 0"),
        ("train.crop=64", "'train.crop' = 64"),
        ("train.optimiser=lion", "'adamw', 'adam' or 'sgd'"),
        ("augment.flip=[0.5, 2, 0]", "'augment.flip.1'"),
        ("augment.shading.chance=2", "'augment.shading.chance' = 2"),
        ("augment.cut_view.depth=1", "'augment.cut_view.depth' = 1"),
        ("augment.elastic.strength=0.5", "'augment.elastic.strength' = 0.5"),
        ("transplant.smallest=1.5", "smallest is above largest"),
        ("prepare.spacing=-1", "'prepare.spacing'"),
        ("seed=-1", "a seed is not negative"),
        ("method", "expected KEY=VALUE"),
        ("=1", "expected KEY=VALUE"),
        ("method.name=x", "'method' is a value, not a section"),
    ],
)
def test_a_value_that_means_nothing_is_refused(change: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(written(tmp_path, "method = 'early_fusion'"), [change])


@pytest.mark.parametrize(("text", "message"), [("method = ", "not TOML"), ("seed = 1", "'method' is missing")])
def test_a_file_that_is_no_recipe_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_changes_are_read_as_toml_or_as_text(tmp_path: Path) -> None:
    changes = [
        "train.learning_rate=2e-4",
        "train.crop=[32, 48, 64]",
        "train.schedule=poly",
        "validate.subsets=['t1c', 't2f']",
        "arguments.width=8",
        "stages.segment.share=2",
        "seed = 7",
    ]
    recipe = read_recipe(written(tmp_path, "method = 'early_fusion'\n[train]\nbatch = 3"), changes)
    assert (recipe.train.learning_rate, recipe.train.crop, recipe.train.schedule) == (2e-4, (32, 48, 64), "poly")
    assert recipe.train.batch == 3
    assert recipe.validate_.subsets == ("t1c", "t2f")
    assert recipe.arguments == {"width": 8}
    assert recipe.stages["segment"].share == 2.0
    assert recipe.seed == 7


@pytest.mark.parametrize(
    "recipe",
    [
        make_recipe({"method": "early_fusion"}),
        tiny_recipe(stages={"segment": {"learning_rate": 2e-4, "crop": [8, 8, 8]}}, augment={"flip": [0, 0, 1]}),
    ],
)
def test_what_is_written_is_what_is_read(recipe: Recipe, tmp_path: Path) -> None:
    write_recipe(tmp_path / "run" / "recipe.toml", recipe)
    assert read_recipe(tmp_path / "run" / "recipe.toml") == recipe


def test_a_written_recipe_holds_every_value(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.toml", make_recipe({"method": "early_fusion"}))
    text = (tmp_path / "recipe.toml").read_text(encoding="utf-8")
    for line in ("learning_rate = 0.001", "rotate = 15.0", "[validate]", "spacing = 1.0", "seed = 1"):
        assert line in text


def test_a_stage_takes_what_it_does_not_change_from_the_loop() -> None:
    recipe = tiny_recipe(stages={"segment": {"learning_rate": 5e-4}})
    assert recipe.for_stage("segment").learning_rate == 5e-4
    assert recipe.for_stage("segment").crop == recipe.train.crop
    assert recipe.for_stage("another") == recipe.train


def test_steps_are_shared_out_and_add_up() -> None:
    recipe = tiny_recipe(train={"steps": 10}, stages={"one": {"share": 1}, "other": {"share": 2}})
    assert recipe.steps_of(["one", "other"]) == [3, 7]
    assert tiny_recipe(train={"steps": 7}).steps_of(["a", "b", "c"]) == [2, 3, 2]


def test_a_share_that_no_number_of_steps_can_have_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'stages.one.share' = 1e\+308: input should be less than or equal to"):
        tiny_recipe(stages={"one": {"share": 1e308}})


def test_a_stage_that_the_method_lacks_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"\[stages.segmnt\]: the method has no such stage; did you mean 'segment'\?"):
        tiny_recipe(stages={"segmnt": {"share": 2}}).steps_of(["segment"])


def test_a_stage_without_a_step_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"train.steps = 1 leaves no step for stage one"):
        tiny_recipe(train={"steps": 1}).steps_of(["one", "other"])
