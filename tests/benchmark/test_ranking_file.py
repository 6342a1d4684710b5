"""A ranking from its file to its tables: learning rates, budgets in crops, seeds of the best, later entrants."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from evaluations_made import rows_made, steady, write_evaluation
from lacunet.benchmark.budget import Budget, crops_a_step, steps_within, with_steps
from lacunet.benchmark.plan import Rates, parts_by_person
from lacunet.benchmark.ranking_file import find_ranking, first_entrants, ranked_entrants, read_ranking
from lacunet.benchmark.rates import choose_rate, chosen_rate, rate_folder, rates_within, with_rate
from lacunet.case import CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.split import read_split
from lacunet.errors import DataError, RecipeError, UsageError
from lacunet.evaluation.summary import read_summary
from lacunet.training.recipe import read_recipe, write_recipe
from phantoms_made import write_phantoms
from small import tiny_recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder, 8, seed=1, spacing=8.0)
    return folder


@pytest.fixture(scope="module")
def cases(data: Path) -> list[CaseFiles]:
    return with_conventions(find_cases(data))


TEXT = """
title = "two methods"
recipes = ["recipes/*.toml"]
folds = 2
budget = "10crops"
learning_rates = [1e-3, 1e-2]
rates_budget = "12crops"
seeds = 2
seeded = 1
baseline = "first"
[over]
train.log_every = 5
validate.every = 100
[rows.wide]
recipe = "recipes/first.toml"
arguments.width = 8
"""


def ranking(folder: Path, text: str = TEXT) -> Path:
    write_recipe(folder / "recipes" / "first.toml", tiny_recipe(prepare={"spacing": 8.0}, train={"batch": 1}))
    path = folder / "ranking.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_ranking_from_its_file_to_its_tables_and_on(lacunet, data, tmp_path):
    """Two entrants, one fold of two first; asked again; a third joins."""
    path, out = ranking(tmp_path), tmp_path / "out"
    command = ("benchmark", path, "--data", data, "-o", out, "--subsets", "t1c", "--device", "cpu")
    status, _, err = lacunet(*command, "--until-fold", 1)
    assert status == 0, err
    assert sorted(path.parent.name for path in out.glob("first/seed-*/*/done.json")) == ["fold-1"]
    assert not list(out.glob("*/seed-2"))
    assert "**1 of 2 folds so far**" in (out / "benchmark.md").read_text(encoding="utf-8")
    assert json.loads((out / "ranking.json").read_text(encoding="utf-8"))["cases"] == 4
    status, _, err = lacunet(*command)
    assert status == 0, err
    plan = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    assert plan["protocol"]["budget"]["crops"] == 10
    assert plan["protocol"]["learning_rates"] == [1e-3, 1e-2]
    order = [run["name"] for run in json.loads((out / "ranking.json").read_text(encoding="utf-8"))["runs"]]
    assert sorted(order) == ["first", "wide"]
    assert sorted(path.name for path in out.glob("*/seed-1")) == ["seed-1", "seed-1"]
    assert len(list(out.glob("*/seed-2"))) == 1  # only the best has two
    inner, first = (read_split(out / "splits" / f"{name}.json") for name in ("inner", "fold-1"))
    assert set(inner["train"]) | set(inner["test"]) == set(first["train"])
    assert inner["val"] == first["val"] == []
    for name in ("first", "wide"):
        chosen = chosen_rate(out / name)
        assert chosen is not None
        assert set(chosen.dice) == {"0.001", "0.01"}
        tried = rate_folder(out / name, 1e-3)
        assert read_recipe(tried / "recipe.toml").train.steps == 12
        assert {score.hd95 for score in read_summary(tried / "test" / "summary.json").mean.values()} == {None}
        for fold in (1, 2):
            recipe = read_recipe(out / name / "seed-1" / f"fold-{fold}" / "recipe.toml")
            assert (recipe.train.learning_rate, recipe.train.steps) == (chosen.rate, 10)
    spent = json.loads((out / "spent.json").read_text(encoding="utf-8"))
    assert (spent["first"]["crops"], spent["first"]["predictions"]) == (10, 10.0)
    page = (out / "benchmark.md").read_text(encoding="utf-8")
    assert "folds so far" not in page
    rates = "the best of 0.001, 0.01, by the cases of `inner: test`, 12 crops a training"
    for words in ("10 crops a training", rates, "## What each training spent", "smallest seen"):
        assert words in page, words

    times = {done: done.stat().st_mtime_ns for done in out.glob("*/*/*/done.json")}
    later = tiny_recipe(arguments={"width": 4, "levels": 1}, prepare={"spacing": 8.0}, train={"batch": 1})
    write_recipe(tmp_path / "recipes" / "second.toml", later)
    status, _, err = lacunet(*command)
    assert status == 0, err
    assert times == {done: done.stat().st_mtime_ns for done in times}
    order = [run["name"] for run in json.loads((out / "ranking.json").read_text(encoding="utf-8"))["runs"]]
    assert sorted(order) == ["first", "second", "wide"]
    assert (out / "second/seed-1/fold-2/done.json").is_file()


def test_rates_are_chosen_by_persons_of_the_first_folds_training_cases(cases):
    visits = [replace(case, person=f"person {index // 2}") for index, case in enumerate([*cases, *cases])]
    visits = [replace(case, name=f"{index:02}") for index, case in enumerate(visits)]
    first = parts_by_person(visits, 2)[0]
    inner = rates_within([1e-3], first).part
    assert not {case.person for case in inner.train} & {case.person for case in inner.test}
    assert {case.name for case in (*inner.train, *inner.test)} == {case.name for case in first.train}
    assert len(inner.test) == 2
    with pytest.raises(UsageError, match="rates_budget: is in seconds; give steps or crops"):
        rates_within([1e-3], first, Budget(seconds=60.0))


def test_the_rate_with_the_best_mean_dice_is_chosen_once(cases, tmp_path):
    rates = Rates((1e-4, 1e-3, 1e-2), parts_by_person(cases, 2)[0])
    assert choose_rate(tmp_path, rates, "test") is None
    assert chosen_rate(tmp_path) is None
    for rate, dice in ((1e-4, 0.4), (1e-3, 0.6)):  # the third failed
        write_evaluation(rate_folder(tmp_path, rate) / "test", rows_made(steady(dice)))
    chosen = choose_rate(tmp_path, rates, "test")
    assert chosen is not None
    assert (chosen.rate, chosen.dice["0.01"]) == (1e-3, None)
    assert chosen.dice["0.0001"] == pytest.approx(0.4)
    assert chosen_rate(tmp_path) == chosen
    (tmp_path / "rates.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"rates.json.*remove the file, and the rate is chosen again"):
        chosen_rate(tmp_path)


def test_stages_keep_the_ratio_of_their_rate():
    stages = {"recover": {"learning_rate": 2e-3}, "segment": {}}
    recipe = with_rate(tiny_recipe(train={"learning_rate": 1e-3}, stages=stages), 3e-3)
    assert recipe.train.learning_rate == 3e-3
    assert recipe.for_stage("recover").learning_rate == pytest.approx(6e-3)
    assert recipe.for_stage("segment").learning_rate == 3e-3


def test_a_training_whose_rate_is_too_high_leaves_the_others(lacunet, data, tmp_path):
    path, out = ranking(tmp_path, TEXT.replace("1e-2", "1e30").replace("seeds = 2\nseeded = 1\n", "")), tmp_path / "out"
    path.write_text(
        path.read_text().replace("train.log_every = 5", 'train.clip_gradient = 0.0\ntrain.optimiser = "sgd"')
    )
    lacunet("benchmark", path, "--data", data, "-o", out, "--subsets", "t1c", "--device", "cpu")
    chosen = chosen_rate(out / "first")
    assert chosen is not None
    assert (chosen.rate, chosen.dice["1e+30"]) == (1e-3, None)
    assert (out / "first/seed-1/fold-2/done.json").is_file()


def test_budgets_in_crops_count_every_crop_of_every_stage():
    recipe = tiny_recipe("dual_stage", train={"batch": 1}, stages={"critic": {"batch": 3}})
    assert crops_a_step(recipe) == {"critic": 3.0, "reconstruct": 1.0, "teacher": 1.0, "distil": 1.0}
    pace = crops_a_step(recipe)
    steps = steps_within(recipe, list(pace), pace, 60.0, "crops")
    assert with_steps(recipe, steps).steps_of(list(pace)) == [10, 10, 10, 10]  # 10 x 3 + 3 x 10 x 1
    with pytest.raises(RecipeError, match=r"6 crops hold 4 steps of 1.5 crops"):
        steps_within(recipe, list(pace), pace, 6.0, "crops")


FAULTS = [
    (TEXT.replace("folds = 2", "fold = 4"), "fold: extra inputs .*did you mean 'folds'"),
    (TEXT.replace('recipe = "recipes/first.toml"', ""), "rows.wide: names no recipe"),
    (TEXT.replace("recipes/*.toml", "other/*.toml"), r"recipes: no file .*other/\*.toml"),
    (TEXT.replace("learning_rates = [1e-3, 1e-2]", "learning_rates = [0.0]"), "learning_rates.0: input should be"),
]


@pytest.mark.parametrize(("text", "words"), FAULTS)
def test_a_ranking_that_means_nothing_is_refused(tmp_path, text, words):
    path = ranking(tmp_path, text)
    with pytest.raises(RecipeError, match=words):
        ranked_entrants(path, read_ranking(path))


def test_more_folds_than_there_are_are_refused(lacunet, data, tmp_path):
    command = ("benchmark", ranking(tmp_path), "--data", data, "-o", tmp_path / "out", "--until-fold", 3)
    status, _, err = lacunet(*command)
    assert (status, "--until-fold 3: there are 2 folds" in " ".join(err.split())) == (2, True), err


def test_entrants_of_one_name_are_refused(tmp_path):
    path = ranking(tmp_path, TEXT.replace("[rows.wide]", "[rows.first]"))
    with pytest.raises(UsageError, match="two entrants are called 'first'"):
        ranked_entrants(path, read_ranking(path))


def test_a_ranking_stands_alone(tmp_path):
    path = ranking(tmp_path)
    recipe = str(tmp_path / "recipes" / "first.toml")
    assert find_ranking([recipe]) is None
    with pytest.raises(UsageError, match="a ranking names all its entrants; give it alone"):
        find_ranking([str(path), recipe])


def test_only_the_first_of_another_ranking_enter(tmp_path):
    path = ranking(tmp_path, TEXT.replace("folds = 2", "folds = 2\nfirst = 1"))
    shutil.copy(tmp_path / "recipes" / "first.toml", tmp_path / "recipes" / "other.toml")
    file = read_ranking(path)
    entrants = ranked_entrants(path, file)
    (tmp_path / "ranking.json").write_text('{"runs": [{"name": "wide"}, {"name": "other"}]}', encoding="utf-8")
    assert [entrant.name for entrant in first_entrants(entrants, file, tmp_path)] == ["first", "wide"]
    with pytest.raises(UsageError, match="belong together"):
        first_entrants(entrants, file, None)
    with pytest.raises(UsageError, match="belong together"):
        first_entrants(entrants, file.model_copy(update={"first": 0}), tmp_path)
    with pytest.raises(DataError, match="name the folder of a finished benchmark"):
        first_entrants(entrants, file, tmp_path / "recipes")
