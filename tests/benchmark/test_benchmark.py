"""Benchmarks: one protocol, continued later, folds of persons, budgets in seconds, sweeps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluations_made import rows_made, steady, write_evaluation
from lacunet.benchmark.benchmark import benchmark, training_seconds
from lacunet.benchmark.budget import Budget, read_budget, seconds_a_step, steps_within, with_steps
from lacunet.benchmark.plan import BenchmarkSettings, Split, make_plan, notes_on, parts_by_person
from lacunet.benchmark.sweep import Entrant, entrants_of
from lacunet.case import CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.split import read_split, split_hash
from lacunet.errors import DataError, OutputError, RecipeError, UsageError
from lacunet.evaluation.metrics import get_policy
from lacunet.evaluation.results import join_evaluations, read_evaluation
from lacunet.evaluation.scores import read_rows
from lacunet.prediction.postprocess import get_rule
from lacunet.progress import Silent
from lacunet.task import GLIOMA
from lacunet.training import prepared
from lacunet.training.recipe import read_recipe, write_recipe
from phantoms_made import write_phantoms
from small import ROOT, tiny_recipe

SUBSETS = (GLIOMA.subset("t1c"), GLIOMA.subset("t1c+t2f"))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    """Four invented patients."""
    folder = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder, 4, seed=1, spacing=8.0)
    return with_conventions(find_cases(folder))


def entrant(name: str = "one", **sections) -> Entrant:
    sections["train"] = {"steps": 2, **sections.get("train", {})}
    sections.setdefault("prepare", {"spacing": 8.0})
    sections.setdefault("validate", {"every": 2, "subsets": ["t1c"]})
    return Entrant(name, Path(f"{name}.toml"), tiny_recipe(**sections))


def settings(**changes) -> BenchmarkSettings:
    return BenchmarkSettings(**{"data": "invented", "subsets": SUBSETS, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def part(cases: list[CaseFiles]) -> Split:
    return Split("", cases[:2], cases[2:3], cases[3:])


class Listener(Silent):
    """Keeps what was announced, and may stop everything as a cluster does."""

    def __init__(self, stop_at: int = -1) -> None:
        self.heard: list[str] = []
        self.steps, self.stop_at = 0, stop_at

    def doing(self, words: str) -> None:
        self.heard.append(words)

    def said(self, words: str) -> None:
        self.heard.append(words)

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        self.steps += ": loss " in words
        if self.steps == self.stop_at:
            raise KeyboardInterrupt


def test_a_benchmark_from_beginning_to_end_and_on(cases, part, tmp_path):
    """Two methods, two seeds; stopped in the middle; gone on with; asked again; enlarged; asked otherwise."""
    two = [entrant(), entrant("two", arguments={"width": 4, "levels": 2}, train={"batch": 1})]
    with pytest.raises(KeyboardInterrupt):
        benchmark(two, [part], tmp_path, settings(seeds=(1, 2)), Listener(stop_at=5))
    first = (tmp_path / "one/seed-1/model/weights.safetensors").read_bytes()
    assert (tmp_path / "two/seed-1/done.json").exists()  # all entrants come before the next seed
    assert not (tmp_path / "one/seed-2/done.json").exists()

    listener = Listener()
    done = benchmark(two, [part], tmp_path, settings(seeds=(1, 2)), listener)
    assert not done.problems
    assert not any(words.startswith("one seed 1: training") for words in listener.heard)
    assert (tmp_path / "one/seed-1/model/weights.safetensors").read_bytes() == first
    assert done.comparison is not None
    assert done.comparison.names == ("one", "two")
    assert [len(run.trainings) for run in done.comparison.runs] == [2, 2]
    assert read_recipe(tmp_path / "two/seed-2/recipe.toml").seed == 2
    assert (tmp_path / "compare.html").is_file()

    listener = Listener()
    benchmark(two, [part], tmp_path, settings(seeds=(1, 2)), listener)
    assert (listener.steps, listener.heard) == (0, ["preparing cases"])

    done = benchmark([*two, entrant("three")], [part], tmp_path, settings(), Listener())
    assert done.comparison is not None
    assert done.comparison.names == ("one", "two", "three")

    with pytest.raises(OutputError, match=r"other settings \(policy: \"brats\" then, \"rfnet\" now\); choose another"):
        benchmark(two, [part], tmp_path, settings(policy=get_policy("rfnet")))
    with pytest.raises(OutputError, match=r"started with other settings .split"):
        benchmark(two, [replace(part, train=cases[1:2])], tmp_path, settings())
    with pytest.raises(OutputError, match=r"started with another recipe as 'one'"):
        benchmark([entrant(train={"learning_rate": 0.1})], [part], tmp_path, settings())
    with pytest.raises(OutputError, match=r"started with other settings \(window: 0 then, 32 now\)"):
        benchmark(two, [part], tmp_path, settings(window=32))
    with pytest.raises(OutputError, match=r"started with other settings \(precision: \"auto\" then, \"bf16\" now\)"):
        benchmark(two, [part], tmp_path, settings(precision="bf16"))

    plan = json.loads((tmp_path / "benchmark.json").read_text())
    older = {key: value for key, value in plan["protocol"].items() if key not in ("window", "precision")}
    (tmp_path / "benchmark.json").write_text(json.dumps(plan | {"protocol": older}))
    benchmark(two, [part], tmp_path, settings())  # begun before windows and precision were written down
    assert json.loads((tmp_path / "benchmark.json").read_text())["protocol"] == plan["protocol"]


def test_the_page_names_recipe_data_split_seeds_budget_and_machine(part, tmp_path):
    benchmark([entrant()], [part], tmp_path, settings(budget=Budget(steps=3), rules=(get_rule("et500-ncr"),)))
    page = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    plan = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert plan["entrants"]["one"]["recipe"]["train"]["steps"] == 3
    assert plan["protocol"]["split"]["split"]["train"]["sha256"] == split_hash(case.name for case in part.train)
    for words in (
        "`one.toml`",
        "3 steps a training",
        split_hash(case.name for case in part.test),
        *plan["prepared"].values(),
        plan["environment"]["processor"],
        plan["environment"]["commit"] or "not stated",
        "| one | 1 |",
        "## After et500-ncr",
        "## Post-processing on and off",
    ):
        assert words in page, words
    summary = json.loads((tmp_path / "one/seed-1/test-et500-ncr/summary.json").read_text(encoding="utf-8"))
    assert summary["identity"]["postprocessing"] == ["et500-ncr"]
    assert (tmp_path / "et500-ncr" / "compare.html").is_file()
    card = json.loads((tmp_path / "one/seed-1/model/model.json").read_text(encoding="utf-8"))["card"]
    assert card["training_list"] == split_hash(case.name for case in part.train)
    assert card["complete_cases"] == 2


def test_every_case_is_scored_once_out_of_the_folds(cases, tmp_path):
    parts = parts_by_person(cases, 2)
    one = cases[0].name  # is in one of the folds alone
    done = benchmark([entrant()], parts, tmp_path, settings(cohorts=(one,), tumour_free=True))
    joined = tmp_path / "one/seed-1/test"
    assert done.evaluations == {"one": [joined]}
    rows = read_rows(joined / "cases.csv")
    assert sorted({row.case for row in rows}) == sorted(case.name for case in cases)
    assert len(rows) == len(cases) * len(SUBSETS) * 3
    summary = read_evaluation(joined).summary
    assert summary.data == "invented, out of 2 folds"
    assert {name: own.cases for name, own in summary.cohorts.items()} == {one: 1, "others": len(cases) - 1}
    assert summary.tumour_free is not None
    for part in parts:
        lists = read_split(tmp_path / "splits" / f"{part.name}.json", cases)
        assert (lists["train"], lists["val"]) == ([case.name for case in part.train], [])
        own = read_rows(tmp_path / "one/seed-1" / part.name / "test/cases.csv")
        assert {row.case for row in own} == {case.name for case in part.test}


def test_folds_keep_persons_together(cases):
    visits = [replace(case, person=f"person {index // 2}") for index, case in enumerate(cases)]
    for part in parts_by_person(visits, 2):
        assert not {case.person for case in part.train} & {case.person for case in part.test}
        assert len(part.test) == 2


def test_a_training_that_fails_is_told_and_stops_no_other(part, tmp_path):
    broken = entrant("broken", train={"learning_rate": 1e30, "optimiser": "sgd", "clip_gradient": 0.0, "steps": 6})
    done = benchmark([broken, entrant()], [part], tmp_path, settings())
    problem, baseline = done.problems
    assert problem.case == "broken seed 1"
    assert (baseline.case, baseline.message) == (
        "baseline broken",
        "has no evaluation; the others are compared with one instead",
    )
    assert "is not a number" in problem.message
    assert done.comparison is not None
    assert done.comparison.names == ("one",)


@pytest.mark.parametrize("error", ["RuntimeError", "ValueError", "KeyError"])
def test_a_method_that_raises_is_told_with_its_traceback_and_stops_no_other(part, tmp_path, error):
    source = (ROOT / "tests" / "two_stages.py").read_text(encoding="utf-8")
    raising = source.replace(
        "        chance = torch", f"        raise {error}('shapes do not fit')\n        chance = torch"
    )
    (tmp_path / "raising.py").write_text(raising, encoding="utf-8")
    own = Entrant("own", Path("own.toml"), tiny_recipe("raising", train={"steps": 4}, validate={"every": 4}))
    done = benchmark(
        [entrant(), own], [part], tmp_path / "out", settings(method_file=tmp_path / "raising.py", baseline="own")
    )
    problem, baseline = done.problems
    log = tmp_path / "out/own/seed-1/failed.txt"
    assert problem.case == "own seed 1"
    assert problem.message.startswith(f"{error}: ")
    assert "shapes do not fit" in problem.message
    assert str(log) in problem.message
    assert "in _segment" in log.read_text(encoding="utf-8")
    assert baseline.case == "baseline own"
    assert done.comparison is not None
    assert done.comparison.names == ("one",)


def test_a_scoring_that_raises_stops_no_other_and_its_traceback_goes_when_it_is_mended(part, tmp_path, monkeypatch):
    def out_of_memory(*words, **named):
        raise RuntimeError("CUDA out of memory\nTried to allocate")

    with monkeypatch.context() as patch:
        patch.setattr("lacunet.benchmark.benchmark.evaluate", out_of_memory)
        done = benchmark([entrant()], [part], tmp_path, settings())
    (problem,) = done.problems
    assert problem.message == f"RuntimeError: CUDA out of memory (where: {tmp_path / 'one/seed-1/failed.txt'})"
    assert not benchmark([entrant()], [part], tmp_path, settings()).problems
    assert not (tmp_path / "one/seed-1/failed.txt").exists()


def test_preparation_is_shared_by_all_runs(part, tmp_path):
    benchmark([entrant()], [part], tmp_path, settings(seeds=(1, 2)))
    assert len(list((tmp_path / "prepared").iterdir())) == len(part.train)
    assert not (tmp_path / "one/seed-1/prepared").exists()


def test_prepared_cases_are_read_once_whatever_the_number_of_entrants_and_calls(part, tmp_path, monkeypatch):
    read: list[Path] = []
    opened = prepared.opened
    monkeypatch.setattr(prepared, "opened", lambda path: [read.append(path), opened(path)][1])
    many = [entrant(name) for name in ("one", "two", "three")]
    first = make_plan(many, [part], tmp_path, settings(budget=Budget(steps=3)), Silent())
    assert len(read) == len(set(read)) == 2 * len(part.train)  # images and labels, when they were made
    read.clear()
    again = make_plan([*many, entrant("four")], [part], tmp_path, settings(budget=Budget(steps=3)), Silent())
    assert not read
    assert again["prepared"] == first["prepared"]


def test_a_benchmark_notices_other_prepared_voxels(part, tmp_path):
    make_plan([entrant()], [part], tmp_path, settings(budget=Budget(steps=3)), Silent())
    path = next((tmp_path / "prepared").glob("*/labels.npy"))
    np.save(path, np.load(path) * 0)
    with pytest.raises(OutputError, match="started with other settings"):
        make_plan([entrant()], [part], tmp_path, settings(budget=Budget(steps=3)), Silent())


@pytest.mark.parametrize(("name", "missing"), [("train", "to train on"), ("test", "to score")])
def test_a_part_without_cases_is_refused(part, tmp_path, name, missing):
    with pytest.raises(DataError, match=f"the split: no case {missing}"):
        benchmark([entrant()], [replace(part, **{name: []})], tmp_path, settings())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "onne"}, "no baseline 'onne'; did you mean 'one'"),
        ({"published": ("brats2018-ccsdd",)}, "no published table 'brats2018-ccsdd'"),
    ],
)
def test_a_typing_error_does_not_wait_for_the_trainings(part, tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        benchmark([entrant()], [part], tmp_path, settings(**changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["prepared", "splits", "et500-ncr", "a=b"])
def test_names_that_are_taken_are_refused(part, tmp_path, name):
    with pytest.raises(UsageError, match=f"an entrant cannot be called '{name}'"):
        benchmark([entrant(name)], [part], tmp_path, settings(rules=(get_rule("et500-ncr"),)))


@pytest.mark.parametrize("text", ["{", "[]", '{"protocol": {}}'])
def test_a_file_that_is_no_plan_is_refused(part, tmp_path, text):
    (tmp_path / "benchmark.json").write_text(text, encoding="utf-8")
    with pytest.raises(
        OutputError, match=r"benchmark\.json: (is not the plan of a benchmark|not JSON .*choose another folder)"
    ):
        benchmark([entrant()], [part], tmp_path, settings())


def test_what_is_not_the_same_for_all_is_said(part, tmp_path):
    other = entrant("two", augment={"noise": 0.5})
    (words,) = notes_on([entrant(), other])
    assert words.startswith("augmentation differs (one | two)")
    (words,) = notes_on([entrant(), entrant("two", validate={"every": 1, "subsets": ["t1c"]})])
    assert words == "validation differs (one | two); --common RECIPE takes it from one recipe for all"
    assert notes_on([entrant(), entrant("two", train={"batch": 1})]) == []


# Budgets


@pytest.mark.parametrize(
    ("words", "budget"),
    [
        ("2000steps", Budget(2000)),
        ("1800s", Budget(None, 1800.0)),
        ("30 min", Budget(None, 1800.0)),
        ("1.5h", Budget(None, 5400.0)),
        ("4000crops", Budget(crops=4000)),
    ],
)
def test_budgets_are_steps_or_seconds(words, budget):
    assert read_budget(words) == budget


@pytest.mark.parametrize("words", ["2000", "0s", "1.5steps", "-3min", "long"])
def test_other_budgets_are_refused(words):
    with pytest.raises(UsageError, match="not a budget; write for example 2000steps, 4000crops, 1800s, 30min"):
        read_budget(words)


def test_a_budget_of_seconds_becomes_steps_by_the_shares_of_the_stages():
    recipe = tiny_recipe("two_stages", stages={"first": {"share": 1.0}, "second": {"share": 3.0}})
    # of 4 steps one takes 2 s and three take 1 s: 1.25 s a step, so 100 s are 80 steps
    assert steps_within(recipe, ["first", "second"], {"first": 2.0, "second": 1.0}, 100.0) == 80
    # the first stage is left out, its quarter of the steps with it: 80 x 3/4 x 1 s = 60 s
    assert steps_within(recipe, ["first", "second"], {"second": 1.0}, 60.0) == 80
    with pytest.raises(RecipeError, match=r"hold 4 steps of 1.2 s; give more"):
        steps_within(recipe, ["first", "second"], {"first": 2.0, "second": 1.0}, 5.0)


def test_other_steps_are_validated_as_often():
    recipe = with_steps(tiny_recipe(train={"steps": 100}, validate={"every": 25}), 40)
    assert (recipe.train.steps, recipe.validate_.every) == (40, 10)


def test_seconds_a_step_are_those_of_each_stage(cases, tmp_path):
    """A stage that sleeps is measured slower, whatever its share of the steps."""
    file = tmp_path / "sleepy.py"
    source = (ROOT / "tests" / "two_stages.py").read_text(encoding="utf-8")
    slower = source.replace("        chance = torch", "        __import__('time').sleep(0.3)\n        chance = torch")
    file.write_text(slower, encoding="utf-8")
    recipe = tiny_recipe("sleepy", train={"steps": 40}, stages={"recover": {"share": 9.0}})
    pace = seconds_a_step(
        {"a": recipe}, cases[:1], tmp_path / "scratch", device="cpu", method_files={"a": file}, counted=2, rounds=1
    )["a"]
    assert list(pace) == ["recover", "segment"]
    assert pace["segment"] > 0.3 > pace["recover"]


def test_seconds_are_measured_once_and_the_steps_stay(part, tmp_path, monkeypatch):
    monkeypatch.setattr("lacunet.benchmark.budget.LEAST", 1)
    once, again = Listener(), Listener()
    benchmark([entrant()], [part], tmp_path, settings(budget=Budget(seconds=0.4)), once)
    told = json.loads((tmp_path / "benchmark.json").read_text())["entrants"]["one"]
    steps, pace = told["recipe"]["train"]["steps"], told["seconds_a_step"]["segment"]
    assert steps == round(0.4 / pace)
    assert read_recipe(tmp_path / "one/seed-1/recipe.toml").train.steps == steps
    benchmark([entrant()], [part], tmp_path, settings(budget=Budget(seconds=0.4), seeds=(1, 2)), again)
    assert ("measuring seconds a step" in once.heard, "measuring seconds a step" in again.heard) == (True, False)
    assert read_recipe(tmp_path / "one/seed-2/recipe.toml").train.steps == steps
    assert not list(tmp_path.glob(".pace-*"))


def test_the_seconds_of_a_resumed_training_add_up(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"seconds": value}) + "\n" for value in (1.0, 5.0, 2.0, 3.5)), encoding="utf-8")
    assert training_seconds(tmp_path) == 8.5


# Sweeps


def test_the_rows_of_a_sweep_are_laid_over_its_recipe(tmp_path):
    write_recipe(tmp_path / "base.toml", tiny_recipe())
    sweep = tmp_path / "sweep.toml"
    sweep.write_text(
        'title = "widths"\nrecipe = "base.toml"\n[rows."as it is"]\n[rows.wide]\narguments.width = 8\n',
        encoding="utf-8",
    )
    one, wide = entrants_of([str(sweep)], ["train.batch=1"])
    assert (one.name, wide.name, one.folder) == ("as it is", "wide", "as-it-is")
    assert one.recipe.arguments == {"width": 4, "levels": 2}
    assert wide.recipe.arguments == {"width": 8, "levels": 2}
    assert one.recipe.train.batch == wide.recipe.train.batch == 1


def test_a_sweep_varies_another_recipe_and_takes_common_sections(tmp_path):
    write_recipe(tmp_path / "base.toml", tiny_recipe())
    write_recipe(tmp_path / "other.toml", tiny_recipe(train={"steps": 77}))
    write_recipe(tmp_path / "common.toml", tiny_recipe(augment={"noise": 0.7}, prepare={"spacing": 2.0}))
    sweep = tmp_path / "sweep.toml"
    text = 'title = "t"\nrecipe = "base.toml"\n[rows.a]\n[rows.b]\naugment.noise = 0.2\n'
    sweep.write_text(text, encoding="utf-8")
    a, b = entrants_of([str(sweep)], base=tmp_path / "other.toml", common=tmp_path / "common.toml")
    assert a.recipe.train.steps == 77
    assert (a.recipe.augment.noise, b.recipe.augment.noise) == (0.7, 0.2)
    assert a.recipe.prepare.spacing == b.recipe.prepare.spacing == 2.0


def test_a_sweep_of_incomplete_cases_is_not_trained_on_complete_ones(lacunet, phantoms, tmp_path):
    write_recipe(tmp_path / "base.toml", tiny_recipe())
    sweep, data = tmp_path / "sweep.toml", phantoms[0].images["t1c"].path.parents[1]
    sweep.write_text('title = "t"\nrecipe = "base.toml"\ncomplete = 0.01\n[rows.a]\n', encoding="utf-8")
    status, _, err = lacunet("benchmark", sweep, "--data", data, "--folds", 2, "-o", tmp_path / "out")
    assert status == 2
    assert "in this sweep 1 % of the training cases have every sequence" in err
    assert "lacunet missing DATA --split FILE:train --full 0.01 -o missing.csv" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipe = 'a.toml'\n[rows.a]\n", "title: field required"),
        ("title = 't'\nrecipe = 'a.toml'\n[rows]\n", "rows: dictionary should have at least 1 item"),
        ("title = 't'\nrecipe = 'a.toml'\npolicies = 'x'\n[rows.a]\n", "policies: .*did you mean 'policy'"),
    ],
)
def test_a_sweep_that_means_nothing_is_refused(tmp_path, text, words):
    (tmp_path / "sweep.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=words):
        entrants_of([str(tmp_path / "sweep.toml")])


def test_rows_of_several_sweeps_with_one_recipe_are_one_entrant(tmp_path):
    write_recipe(tmp_path / "base.toml", tiny_recipe())
    text = 'title = "t"\nrecipe = "base.toml"\n'
    (tmp_path / "first.toml").write_text(text + '[rows.a]\n[rows."one crop"]\ntrain.batch = 1\n', encoding="utf-8")
    (tmp_path / "second.toml").write_text(text + "[rows.a]\n[rows.b]\n[rows.c]\ntrain.batch = 1\n", encoding="utf-8")
    found = entrants_of([str(tmp_path / "first.toml"), str(tmp_path / "second.toml")])
    assert [(one.name, one.also) for one in found] == [("a", ("b",)), ("one crop", ("c",))]
    assert notes_on(found)[0] == "'a' is the same recipe as 'b', trained once"
    (tmp_path / "partial.toml").write_text("complete = 0.1\n" + text + "[rows.d]\n", encoding="utf-8")
    whole, partial = entrants_of([str(tmp_path / "base.toml"), str(tmp_path / "partial.toml")])
    assert (whole.also, partial.name, partial.complete) == ((), "d", 0.1)  # the same recipe, on other cases


def test_entrants_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        write_recipe(tmp_path / folder / "same.toml", tiny_recipe(train={"steps": 1 if folder == "a" else 2}))
    both = [str(tmp_path / folder / "same.toml") for folder in ("a", "b")]
    with pytest.raises(UsageError, match="two entrants are called 'same'; give one of them another name: NAME="):
        entrants_of(both)
    assert [entrant.name for entrant in entrants_of([both[0], f"other={both[1]}"])] == ["same", "other"]
    with pytest.raises(UsageError, match="nothing to train"):
        entrants_of([])


# Joining folds


def test_folds_that_share_a_case_or_were_scored_otherwise_are_not_joined(tmp_path):
    a = write_evaluation(tmp_path / "a", rows_made(steady(0.5), cases=("x", "y")))
    b = write_evaluation(tmp_path / "b", rows_made(steady(0.7), cases=("y", "z")))
    c = write_evaluation(tmp_path / "c", rows_made(steady(0.7), cases=("z",)), identity={"postprocessing": ["et500"]})
    d = write_evaluation(tmp_path / "d", rows_made(steady(0.9), cases=("z",)))
    with pytest.raises(DataError, match=r"y: is scored in .*a and in .*b; a case belongs to one fold"):
        join_evaluations([a, b], tmp_path / "joined")
    with pytest.raises(DataError, match="was scored with other settings than"):
        join_evaluations([a, c], tmp_path / "joined")
    joined = read_evaluation(join_evaluations([a, d], tmp_path / "joined"))
    assert joined.summary.mean["wt"].dice == pytest.approx((0.5 + 0.5 + 0.9) / 3)


# The command


def test_the_command_trains_by_folds_or_by_a_split(lacunet, cases, tmp_path):
    data = Path(cases[0].images["t1c"].path).parents[1]
    write_recipe(tmp_path / "one.toml", tiny_recipe(train={"steps": 2}, validate={"every": 2, "subsets": ["t1c"]}))
    write_recipe(tmp_path / "two.toml", tiny_recipe(train={"steps": 2}, augment={"noise": 0.4}))
    words = ("--data", data, "--subsets", "t1c", "--device", "cpu", "--precision", "float32")
    both = (tmp_path / "one.toml", tmp_path / "two.toml")
    status, out, err = lacunet("benchmark", *both, *words, "-o", tmp_path / "folds", "--folds", 2, "--budget", "3steps")
    assert status == 0, err
    assert "note: augmentation differs (one | two); --common RECIPE takes it from one recipe for all" in out
    assert "against one" in out
    assert "page: " in out
    assert read_recipe(tmp_path / "folds/two/seed-1/fold-2/recipe.toml").train.steps == 3
    assert len({row.case for row in read_rows(tmp_path / "folds/two/seed-1/test/cases.csv")}) == 4

    names = [case.name for case in cases]
    (tmp_path / "split.json").write_text(json.dumps({"train": names[:2], "val": names[2:3], "test": names[3:]}))
    manifest = tmp_path / "missing.csv"
    manifest.write_text(f"case,acquired\n{names[0]},t1c+t2f\n{names[1]},t1c\n", encoding="utf-8")
    status, out, err = lacunet(
        "benchmark", *both, *words, "-o", tmp_path / "split", "--split", tmp_path / "split.json",
        "--common", both[0], "--missing", manifest,
    )  # fmt: skip
    assert status == 0, err
    assert "augmentation differs" not in out
    protocol = json.loads((tmp_path / "split/benchmark.json").read_text())["protocol"]
    assert protocol["missing"].startswith("missing.csv, sha256 ")
    assert protocol["complete_training_cases"] == {"split": 0}


@pytest.mark.parametrize("words", [(), ("--folds", "1")])
def test_cases_to_train_on_and_to_score_must_be_said(lacunet, cases, tmp_path, words):
    data = Path(cases[0].images["t1c"].path).parents[1]
    write_recipe(tmp_path / "one.toml", tiny_recipe())
    status, _, err = lacunet("benchmark", tmp_path / "one.toml", "--data", data, "-o", tmp_path / "out", *words)
    assert status == 2
    assert "name the cases for training and for scoring: --split FILE, --folds 4, or --protocol LISTS" in err
    assert not (tmp_path / "out").exists()
