"""The training loop: resume to the last bit, several processes, what is kept, what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lacunet.case import CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.errors import DataError, ModelError, OutputError, RecipeError, UsageError
from lacunet.models.model import load_model
from lacunet.models.origin import cases_seen, read_origin
from lacunet.nn.method import Stage, get_method, make_method
from lacunet.progress import Silent
from lacunet.task import GLIOMA
from lacunet.training.log import Notes, read_log
from lacunet.training.loop import _apart, _clip
from lacunet.training.optimiser import gradient_norms, learning_rate_at, make_optimiser, start_average, update_average
from lacunet.training.recipe import Recipe, read_recipe
from lacunet.training.seeds import seed_step, shared_generator
from lacunet.training.train import _require_fit, train
from small import ROOT, SHARED, tiny_recipe
from training_run import TWO_STAGES, recipe_for, recipe_without_noise

PROGRAM = ROOT / "tests" / "training_run.py"


pytestmark = pytest.mark.usefixtures("one_thread")


def run(recipe: Recipe, cases: list[CaseFiles], folder: Path, **options: Any) -> Path:
    return train(recipe, cases[:2], cases[2:], folder, device="cpu", **options)


def run_two_stages(recipe: Recipe, cases: list[CaseFiles], folder: Path, **options: Any) -> Path:
    return run(recipe, cases, folder, method_file=TWO_STAGES, **options)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def without_time(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines(folder)]


def same_tensors(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def start(cases: list[CaseFiles], folder: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> Any:
    source = str(cases[0].images["t1c"].path.parents[1])
    command = [sys.executable, *launcher, str(PROGRAM), source, str(folder), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)


@pytest.fixture(scope="module")
def finished(phantoms: list[CaseFiles], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two stages that nobody disturbed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finished")
    run_two_stages(recipe_for(0.1), phantoms, folder / "run")
    return folder / "run"


# ---------------------------------------------------------------- resume


@pytest.mark.parametrize("killed_at", ["recover:5", "segment:5"])
def test_a_killed_and_resumed_run_ends_with_the_same_bits(
    finished: Path, phantoms: list[CaseFiles], tmp_path: Path, killed_at: str
) -> None:
    ended = start(phantoms, tmp_path / "run", "noisy", killed_at, "0")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (tmp_path / "run" / "state" / "state.safetensors").is_file()
    run_two_stages(recipe_for(0.1), phantoms, tmp_path / "run", resume=True)
    for name in ("model/weights.safetensors", "state/state.safetensors", "state/best.safetensors"):
        assert same_tensors(tmp_path / "run" / name, finished / name), name
    assert without_time(tmp_path / "run") == without_time(finished)


class Stop(Silent):
    """Breaks off like Ctrl-C, after a step."""

    def __init__(self, after: int) -> None:
        self.after = after

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        if job != "preparing cases" and done == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_broken_off_run_of_a_unet_resumes_to_the_same_bits(
    phantoms: list[CaseFiles], tmp_path: Path, optimiser: str, precision: str
) -> None:
    recipe = tiny_recipe(
        arguments={"width": 8, "levels": 3},
        train={"steps": 7, "optimiser": optimiser, "average": 0.9, "learning_rate": 1e-2, "precision": precision},
    )
    run(recipe, phantoms[:2], tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, phantoms[:2], tmp_path / "broken", progress=Stop(5))
    run(recipe, phantoms[:2], tmp_path / "broken", resume=True)
    weights = "model/weights.safetensors"
    assert same_tensors(tmp_path / "broken" / weights, tmp_path / "whole" / weights)


def test_the_log_has_each_step_once(finished: Path) -> None:
    steps = [(line["stage"], line["step"]) for line in lines(finished) if "loss" in line]
    assert steps == [(stage, step) for stage in ("recover", "segment") for step in range(1, 8)]
    validations = [(line["stage"], line["step"]) for line in lines(finished) if "validation_mean" in line]
    assert validations == [(stage, step) for stage in ("recover", "segment") for step in (4, 7)]


def test_the_log_names_each_term(finished: Path) -> None:
    last = [line for line in lines(finished) if "loss" in line][-1]
    assert last["loss"] == pytest.approx(last["dice"] + last["distillation"], abs=1e-6)
    assert last["gradient_norm"] > 0
    assert {"validation_wt", "validation_tc", "validation_et"} <= set(lines(finished)[-1])


def test_the_log_holds_what_the_method_notes(finished: Path) -> None:
    logged = [line for line in lines(finished) if line["stage"] == "segment" and "loss" in line]
    assert all(0 < line["chance"] < 1 for line in logged)
    assert len({line["chance"] for line in logged}) == len(logged)
    assert [line["step"] for line in logged if "began" in line] == [1]


def test_a_note_never_hides_a_term() -> None:
    stage = Stage("segment", loss=lambda batch, clock: {}, trains=[])
    assert _apart({"kept": 0.7}, {"dice": 0.5}, stage) == {"kept": 0.7}
    with pytest.raises(ModelError, match="stage segment: dice is noted, but the log has it already; give"):
        _apart({"dice": 0.7}, {"dice": 0.5}, stage)


def test_a_note_is_a_mean_over_the_steps_since_the_last_line() -> None:
    notes = Notes()
    for path in ("a", "b", "a", "a"):
        notes.add(path, torch.ones((), requires_grad=True))
        notes.step()
    assert notes.take() == {"a": 0.75, "b": 0.25}
    assert notes.take() == {}
    notes.add("cases", 0.5)
    notes.add("cases", 0.25)
    notes.step()
    assert notes.take() == {"cases": 0.75}


def test_gradient_norms_of_each_term_by_hand() -> None:
    weight, other, frozen = (nn.Parameter(torch.tensor([2.0, 1.0])) for _ in range(3))
    terms = {"line": (3 * weight).sum() + 4 * other[0], "constant": torch.ones(()), "none": (frozen * 0).sum()}
    norms = gradient_norms(terms, [weight, other])
    assert norms["gradient_norm_line"] == pytest.approx((9 + 9 + 16) ** 0.5)
    assert norms["gradient_norm_constant"] == norms["gradient_norm_none"] == 0
    assert weight.grad is None


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_log_holds_gradient_norms_where_the_recipe_asks(
    phantoms: list[CaseFiles], tmp_path: Path, precision: str
) -> None:
    recipe = tiny_recipe(train={"steps": 4, "gradients_every": 2, "precision": precision})
    run(recipe, phantoms, tmp_path / "run")
    measured = [line for line in lines(tmp_path / "run") if "gradient_norm_dice" in line]
    assert [line["step"] for line in measured] == [2, 4]
    assert all(line["gradient_norm_dice"] > 0 < line["gradient_norm_cross_entropy"] for line in measured)
    without = tiny_recipe(train={"steps": 4, "precision": precision})
    run(without, phantoms, tmp_path / "without")
    assert same_tensors(tmp_path / "run/model/weights.safetensors", tmp_path / "without/model/weights.safetensors")


def test_a_finished_run_is_left_as_it_is(finished: Path, phantoms: list[CaseFiles]) -> None:
    before = (finished / "model" / "weights.safetensors").read_bytes(), without_time(finished)
    run_two_stages(recipe_for(0.1), phantoms, finished, resume=True)
    assert ((finished / "model" / "weights.safetensors").read_bytes(), without_time(finished)) == before


def test_a_half_written_line_of_the_log_is_forgotten(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    run(tiny_recipe(train={"steps": 2}), phantoms, tmp_path / "run")
    with (tmp_path / "run" / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"stage": "segm')
    before = len(lines_before_the_tear(tmp_path / "run"))
    run(tiny_recipe(train={"steps": 2}), phantoms, tmp_path / "run", resume=True)
    assert len(lines(tmp_path / "run")) == before


def lines_before_the_tear(folder: Path) -> list[str]:
    return (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[:-1]


def test_a_folder_with_a_run_is_not_written_over(finished: Path, phantoms: list[CaseFiles]) -> None:
    with pytest.raises(OutputError, match="holds a run already; continue with --resume"):
        run_two_stages(recipe_for(0.1), phantoms, finished)


def test_a_run_is_resumed_by_its_own_recipe_only(finished: Path, phantoms: list[CaseFiles]) -> None:
    with pytest.raises(RecipeError, match="began with another recipe"):
        run_two_stages(recipe_for(0.2), phantoms, finished, resume=True)


def test_a_run_is_resumed_with_its_own_cases_only(finished: Path, phantoms: list[CaseFiles]) -> None:
    with pytest.raises(DataError, match=r"split.json: the run began with other cases; resume it with its own"):
        run_two_stages(recipe_for(0.1), [phantoms[0], phantoms[2], phantoms[1]], finished, resume=True)


def test_lesions_of_further_cases_are_transplanted_and_recorded(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    recipe = tiny_recipe(train={"steps": 2}, transplant={"chance": 1.0, "beside": 1.0})
    folder, lesion = tmp_path / "run", replace(phantoms[0], name="giver", person="giver")
    run(recipe, phantoms, folder, lesions=[lesion])
    assert json.loads((folder / "lesions.json").read_text(encoding="utf-8")) == {"lesions": ["giver"]}
    card = load_model(str(folder)).card
    assert card["lesion_cases"] == 1
    assert len(card["lesion_list"]) == 64
    assert list((folder / "prepared").glob("giver-lesion-*/images.npy"))
    with pytest.raises(DataError, match=r"lesions.json: the run began with other cases"):
        run(recipe, phantoms, folder, lesions=[replace(lesion, name="other")], resume=True)
    with pytest.raises(DataError, match=r"lesions.json: the run began with other cases"):
        run(recipe, phantoms, folder, resume=True)


def test_lesions_that_cannot_be_used_are_refused(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    wanted, lesion = tiny_recipe(transplant={"chance": 0.5}), replace(phantoms[0], name="giver")
    with pytest.raises(RecipeError, match=r"the recipe transplants none; set transplant\.chance"):
        run(tiny_recipe(), phantoms, tmp_path / "run", lesions=[lesion])
    with pytest.raises(DataError, match="giver: has no reference mask; a case that gives a lesion needs one"):
        run(wanted, phantoms, tmp_path / "run", lesions=[replace(lesion, reference=None)])
    with pytest.raises(DataError, match="giver: its person is a validation case"):
        run(wanted, phantoms, tmp_path / "run", lesions=[replace(lesion, person=phantoms[2].person)])


def test_the_written_recipe_alone_restarts_the_run(finished: Path) -> None:
    assert read_recipe(finished / "recipe.toml") == recipe_for(0.1)
    assert json.loads((finished / "environment.json").read_text(encoding="utf-8"))["packages"]["torch"]


def test_a_run_that_began_from_a_model_is_resumed_from_that_model(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    recipe = tiny_recipe(train={"steps": 2})
    source = run(tiny_recipe(train={"steps": 2}, seed=9), phantoms[:2], tmp_path / "source")
    run(recipe, phantoms[:2], tmp_path / "whole", init=str(source))

    with pytest.raises(KeyboardInterrupt):
        run(recipe, phantoms[:2], tmp_path / "broken", init=str(source), progress=Stop(1))
    run(recipe, phantoms[:2], tmp_path / "broken", resume=True)
    weights = "model/weights.safetensors"
    assert same_tensors(tmp_path / "broken" / weights, tmp_path / "whole" / weights)


def test_a_run_that_is_stopped_before_its_first_step_is_resumed_from_its_model(
    phantoms: list[CaseFiles], tmp_path: Path
) -> None:
    recipe = tiny_recipe(train={"steps": 2})
    source = run(tiny_recipe(train={"steps": 2}, seed=9), phantoms[:2], tmp_path / "source")
    run(recipe, phantoms[:2], tmp_path / "whole", init=str(source))

    class StopWhilePreparing(Silent):
        def advanced(self, job: str, done: int, total: int, words: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe, phantoms[:2], tmp_path / "broken", init=str(source), progress=StopWhilePreparing())
    run(recipe, phantoms[:2], tmp_path / "broken", resume=True)
    weights = "model/weights.safetensors"
    assert same_tensors(tmp_path / "broken" / weights, tmp_path / "whole" / weights)
    cards = [load_model(str(tmp_path / name)).card["init"] for name in ("broken", "whole")]
    assert cards[0] == cards[1]


# ---------------------------------------------------------------- processes


def test_two_processes_train_what_one_process_trains(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    run_two_stages(recipe_without_noise(), phantoms, tmp_path / "one")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    ended = start(phantoms, tmp_path / "two", "quiet", "never", "0", launcher=launcher)
    assert ended.returncode == 0, ended.stderr
    one, two = (load_file(tmp_path / name / "state" / "state.safetensors") for name in ("one", "two"))
    untrained = make_method(get_method("two_stages", TWO_STAGES), GLIOMA, {"noise": 0.0}).state_dict()
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
        assert not torch.allclose(one[name], untrained[name.removeprefix("method.")], rtol=0, atol=1e-5)
    scores = [[line["validation_mean"] for line in lines(tmp_path / name) if "best" in line] for name in ("one", "two")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    with pytest.raises(RecipeError, match="cannot be shared evenly by 3 processes"):
        _require_fit(tiny_recipe(), method, method.stages(), 3)


# ---------------------------------------------------------------- stages that end early, are judged, are left out


def test_a_stage_without_a_better_score_ends_early(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [0.2, 0.5, 0.4, 0.5, 0.3, 0.1, 0.2, 0.3, 0.4]
    answers = iter(scores)
    monkeypatch.setattr("lacunet.training.loop.validation_dice", lambda *given: {"mean": next(answers)})
    recipe = tiny_recipe(train={"steps": 30, "patience": 3}, validate={"every": 2})
    model = load_model(str(run(recipe, phantoms, tmp_path / "run")))
    logged = [line for line in lines(tmp_path / "run") if "validation_mean" in line]
    assert [line["validation_mean"] for line in logged] == scores[:5]  # 0.5 at step 4, then three no better
    assert [line["step"] for line in lines(tmp_path / "run") if line.get("ended_early")] == [10]
    assert model.card["step"] == 4
    run(recipe, phantoms, tmp_path / "run", resume=True)
    assert [line["step"] for line in lines(tmp_path / "run")][-1] == 10


def test_patience_is_remembered_by_a_resumed_run(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(
        train={"steps": 12, "save_every": 1}, validate={"every": 1}, stages={"segment": {"patience": 4}}
    )
    best_at_first = iter([0.5, *[0.1] * 20])
    monkeypatch.setattr("lacunet.training.loop.validation_dice", lambda *given: {"mean": next(best_at_first)})
    with pytest.raises(KeyboardInterrupt):
        run(recipe, phantoms, tmp_path / "run", progress=Stop(4))  # the fourth validation is still to come
    run(recipe, phantoms, tmp_path / "run", resume=True)
    assert [line["step"] for line in lines(tmp_path / "run") if line.get("ended_early")] == [5]


def test_each_trained_module_is_clipped_by_itself() -> None:
    steep, flat, frozen = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False), nn.Linear(2, 1)
    steep.weight.grad, flat.weight.grad = torch.tensor([[30.0, 40.0]]), torch.tensor([[0.3, 0.4]])
    assert _clip([steep, flat, frozen], 1.0).item() == pytest.approx((50**2 + 0.5**2) ** 0.5)
    torch.testing.assert_close(steep.weight.grad, torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(flat.weight.grad, torch.tensor([[0.3, 0.4]]))


def test_a_stage_is_judged_by_the_network_that_it_trains(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, judged = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2}), []
    cls = get_method("early_fusion")
    plain = cls.stages

    def stages(self: Any) -> list[Stage]:
        (stage,) = plain(self)
        return [
            replace(stage, name="teacher", judged=lambda: other),
            replace(stage, name="skipped", wanted=False),
            stage,
        ]

    monkeypatch.setattr(cls, "stages", stages)
    monkeypatch.setattr(
        "lacunet.training.loop.validation_dice", lambda method, *rest: judged.append(method) or {"mean": 0.5}
    )
    recipe = tiny_recipe(train={"steps": 8}, stages={"skipped": {"share": 2.0}, "teacher": {"batch": 1}})
    run(recipe, phantoms, tmp_path / "run")
    assert judged[0] is other
    assert judged[-1] is not other
    steps = [(line["stage"], line["step"]) for line in lines(tmp_path / "run") if "loss" in line]
    assert steps == [("teacher", 1), ("teacher", 2), ("segment", 1), ("segment", 2)]  # the skipped 4 are nobody's


def test_there_is_no_model_before_the_last_stage(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_two_stages(recipe_for(0.1), phantoms, tmp_path / "run", progress=Stop(6))
    assert (tmp_path / "run" / "state" / "best.safetensors").is_file()
    assert not (tmp_path / "run" / "model").exists()


# ---------------------------------------------------------------- what is kept


class Watcher(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def said(self, words: str) -> None:
        self.lines.append(words)


def test_the_best_validated_weights_are_kept(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    watcher = Watcher()
    recipe = tiny_recipe(train={"steps": 12, "learning_rate": 0.05, "schedule": "constant"}, validate={"every": 1})
    model = load_model(str(run(recipe, phantoms, tmp_path / "run", progress=watcher)))
    validations = [line for line in read_log(tmp_path / "run") if "validation_mean" in line]
    scores = [line["validation_mean"] for line in validations]
    assert [line["step"] for line in validations] == list(range(1, 13))
    assert [line["best"] for line in validations] == [
        score > max([float("-inf"), *scores[:index]]) for index, score in enumerate(scores)
    ]
    assert watcher.lines == [
        f"segment step {line['step']}: validation {line['validation_mean']:.4f}{'  (best)' if line['best'] else ''}"
        for line in validations
    ]
    assert len(set(scores)) > 2
    assert model.card["step"] == scores.index(max(scores)) + 1
    assert model.card["validation"]["mean"] == round(max(scores), 4)
    best = load_file(tmp_path / "run" / "state" / "best.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in model.method.state_dict().items())


def test_without_validation_cases_the_last_weights_are_kept(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    model = load_model(str(run(tiny_recipe(train={"steps": 2}), phantoms[:2], tmp_path / "run")))
    assert (model.card["step"], model.card["training_cases"]) == (2, 2)
    state = load_file(tmp_path / "run" / "state" / "state.safetensors")
    assert all(torch.equal(value, state[f"method.{name}"]) for name, value in model.method.state_dict().items())


def test_averaged_weights_are_kept_where_the_recipe_asks(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    plain = load_model(str(run(tiny_recipe(train={"steps": 3}), phantoms[:2], tmp_path / "plain"))).method
    recipe = tiny_recipe(train={"steps": 3, "average": 0.9})
    averaged = load_model(str(run(recipe, phantoms[:2], tmp_path / "averaged"))).method
    torch.manual_seed(recipe.seed)
    first = make_method(get_method("early_fusion"), GLIOMA, recipe.arguments)
    name = "head.weight"
    start_, end, middle = (method.state_dict()[name] for method in (first, plain, averaged))
    assert not torch.equal(middle, end)
    assert (middle - end).norm() < (start_ - end).norm()


def test_a_running_average_by_hand() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
        average = start_average(module, {})
        module.weight.fill_(2.0)
        update_average(average, module, step=0, decay=0.999)  # at first nine tenths are new
        assert average["weight"].item() == pytest.approx(0.1 * 1 + 0.9 * 2)
        update_average(average, module, step=10**6, decay=0.75)
        assert average["weight"].item() == pytest.approx(0.75 * 1.9 + 0.25 * 2)


def test_training_starts_from_a_model(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    source = run(tiny_recipe(train={"steps": 2}, seed=9), phantoms[:2], tmp_path / "source")
    recipe = tiny_recipe(train={"steps": 1, "learning_rate": 1e-12})
    tuned = load_model(str(run(recipe, phantoms[:2], tmp_path / "tuned", init=str(source)))).method
    for name, value in load_model(str(source)).method.state_dict().items():
        assert torch.allclose(tuned.state_dict()[name], value, atol=1e-7)


SMALL = {"width": 4, "levels": 2, "patch": 2, "hmsd": 0.0, "dmcd": 0.0, "supervise": "full"}


def ccsd_recipe(**arguments: Any) -> Recipe:
    return tiny_recipe("ccsd", arguments={**SMALL, **arguments}, train={"steps": 1, "learning_rate": 1e-12})


def test_training_starts_from_a_model_that_lacks_a_part_and_says_so(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    source = run(ccsd_recipe(), phantoms[:2], tmp_path / "source", card={"data": "two of it"})
    heard: list[str] = []

    class Listener(Silent):
        def said(self, words: str) -> None:
            heard.append(words)

    model = load_model(
        str(run(ccsd_recipe(detail=2), phantoms[:2], tmp_path / "tuned", init=str(source), progress=Listener()))
    )
    old, new = load_model(str(source)), model.method.state_dict()
    for name, value in old.method.state_dict().items():
        assert torch.allclose(new.pop(name), value, atol=1e-7), name
    assert all(name.startswith("detail.") for name in new)
    count = len(old.method.state_dict())
    assert heard[0].startswith(f"{count} tensors start from source; {len(new)} are new (detail.")
    assert model.card["init"] == {
        "model": "source",
        "sha256": old.sha256,
        "data": "two of it",
        "training_list": old.card["training_list"],
        "init": None,
        "taken": count,
        "new": list(new),
        "left": [],
    }
    origin = read_origin(tmp_path / "tuned")
    assert origin is not None
    assert origin.seen == tuple(sorted(case.name for case in phantoms[:2]))


def test_a_part_of_a_model_is_taken_on_request_only(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    source = run(ccsd_recipe(detail=2), phantoms[:2], tmp_path / "source")
    with pytest.raises(RecipeError, match=r"is not the recipe's \(13 of its .* such as detail.*--init-partly"):
        run(ccsd_recipe(), phantoms[:2], tmp_path / "refused", init=str(source))
    assert not (tmp_path / "refused").exists()
    tuned = run(ccsd_recipe(), phantoms[:2], tmp_path / "tuned", init=str(source), init_partly=True)
    model, old = load_model(str(tuned)), load_model(str(source)).method.state_dict()
    assert all(torch.allclose(old[name], value, atol=1e-7) for name, value in model.method.state_dict().items())
    assert all(name.startswith("detail.") for name in model.card["init"]["left"])
    with pytest.raises(RecipeError, match="no tensor of its network fits"):
        run(ccsd_recipe(), phantoms[:2], tmp_path / "none", init="early_fusion", init_partly=True)


def test_what_a_model_had_seen_is_handed_on(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    recipe = tiny_recipe(train={"steps": 1})
    first = train(recipe, phantoms[:1], [], tmp_path / "first", device="cpu")
    second = train(recipe, phantoms[1:2], [], tmp_path / "second", device="cpu", init=str(first))
    third = train(recipe, phantoms[2:3], [], tmp_path / "third", device="cpu", init=str(tmp_path / "second"))
    assert cases_seen(tmp_path / "third") == tuple(sorted(case.name for case in phantoms[:3]))
    assert load_model(str(third)).card["init"]["init"] == load_model(str(second)).card["init"]
    shutil.copytree(second, tmp_path / "folder")  # a model without its run: whose cases it saw is not known
    train(recipe, phantoms[2:3], [], tmp_path / "fourth", device="cpu", init=str(tmp_path / "folder"))
    assert cases_seen(tmp_path / "fourth") is None


def test_only_the_modules_of_a_stage_move(finished: Path) -> None:
    torch.manual_seed(recipe_for(0.1).seed)
    first = make_method(get_method("two_stages", TWO_STAGES), GLIOMA, {"noise": 0.1}).state_dict()
    last = load_file(finished / "state" / "state.safetensors")
    recovered = load_model(str(finished), TWO_STAGES).method.state_dict()
    assert not torch.equal(last["method.head.weight"], first["head.weight"])
    assert not torch.equal(last["method.teacher.weight"], first["teacher.weight"])  # copied when its stage began
    assert not torch.equal(last["method.teacher.weight"], last["method.body.weight"])  # and left alone since
    assert torch.equal(recovered["teacher.weight"], last["method.teacher.weight"])


# ---------------------------------------------------------------- refused


def test_a_loss_that_is_not_a_number_is_an_error(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    recipe = tiny_recipe(train={"learning_rate": 1e30, "clip_gradient": 0, "schedule": "constant", "warmup": 0})
    with pytest.raises(RecipeError, match=r"stage segment, step \d: the (loss|gradient) is not a number"):
        run(recipe, phantoms, tmp_path / "run")


def test_nothing_is_saved_of_a_step_whose_loss_is_not_a_number(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    """It is looked for at lines of the log only, and before the weights are saved."""
    broken = {"learning_rate": 1e30, "clip_gradient": 0, "schedule": "constant", "warmup": 0}
    recipe = tiny_recipe(train={**broken, "log_every": 1000, "save_every": 3})
    with pytest.raises(RecipeError, match=r"step [01]: the (loss|gradient) is not a number"):
        run(recipe, phantoms, tmp_path / "run")
    state = load_file(tmp_path / "run" / "state" / "state.safetensors")
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    assert not (tmp_path / "run" / "model").exists()


def test_a_model_of_another_network_is_refused(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    source = run(tiny_recipe(train={"steps": 1}), phantoms[:2], tmp_path / "source")
    recipe = tiny_recipe(arguments={"width": 8})
    with pytest.raises(RecipeError, match=r"its network is not the recipe's .* such as encoder"):
        run(recipe, phantoms[:2], tmp_path / "tuned", init=str(source))
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"stages": {"segmnt": {"share": 2}}}, RecipeError, "did you mean 'segment'"),
        ({"train": {"crop": [16, 15, 16]}}, RecipeError, "needs multiples of 2 voxels"),
        ({"arguments": {"depth": 3}}, RecipeError, "has no argument 'depth'"),
        ({"validate": {"subsets": ["t1x"]}}, UsageError, "unknown modality 't1x'"),
        ({"method": "early_fusoin"}, UsageError, "did you mean 'early_fusion'"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_anything_is_written(
    phantoms: list[CaseFiles], tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(tiny_recipe(**changed), phantoms, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_cases_without_a_reference_are_refused(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    bare = replace(phantoms[0], reference=None)
    for training, validation in (([bare], []), ([phantoms[1]], [bare])):
        with pytest.raises(DataError, match="has no reference mask"):
            train(tiny_recipe(), training, validation, tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match="no training case"):
        train(tiny_recipe(), [], [], tmp_path / "run", device="cpu")


def test_validation_without_a_case_for_its_subsets_is_an_error(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    third = replace(phantoms[2], images={"t1n": phantoms[2].images["t1n"]})
    with pytest.raises(DataError, match=r"no validation case has all sequences of any of t1c, t1c\+t2f"):
        run(tiny_recipe(train={"steps": 1}), [*phantoms[:2], third], tmp_path / "run")


# ---------------------------------------------------------------- schedule, optimiser, seeds


def settings(**changed: Any) -> Any:
    return tiny_recipe(train={"learning_rate": 1.0, "warmup": 0.0, **changed}).train


def test_learning_rates_by_hand() -> None:
    assert learning_rate_at(0, 100, settings(schedule="cosine")) == 1.0
    assert learning_rate_at(50, 100, settings(schedule="cosine")) == pytest.approx(0.5)
    assert learning_rate_at(75, 100, settings(schedule="poly")) == pytest.approx(0.25**0.9)
    assert learning_rate_at(99, 100, settings(schedule="constant")) == 1.0
    warm = settings(schedule="cosine", warmup=0.1)
    rates = [learning_rate_at(step, 100, warm) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[9] == pytest.approx(10 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_weight_decay_spares_biases_and_norms(name: str) -> None:
    module = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.GroupNorm(1, 2))
    optimiser = make_optimiser(list(module.parameters()), settings(optimiser=name, weight_decay=0.5))
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert [decays[id(parameter)] for parameter in module.parameters()] == [0.5, 0.0, 0.0, 0.0]


def test_seeds_replay_and_differ() -> None:
    def drawn(*numbers: int) -> float:
        seed_step(*numbers)
        return torch.rand(()).item()

    wanted = [(seed, stage, step, rank) for seed in (1, 2) for stage in (0, 1) for step in (0, 1) for rank in (0, 1)]
    assert len({drawn(*numbers) for numbers in wanted}) == len(wanted)
    assert drawn(1, 0, 5, 0) == drawn(1, 0, 5, 0)
    shared = [torch.rand((), generator=shared_generator(1, 0, step)).item() for step in (3, 3, 4)]
    assert shared[0] == shared[1] != shared[2]


# ---------------------------------------------------------------- slow


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data" / "glioma").is_dir(), reason="the real cohort is not here")
def test_one_real_case_is_learnt_by_heart(tmp_path: Path) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    cases = with_conventions(find_cases(SHARED / "data" / "glioma"))
    case = next(found for found in cases if found.name == "Brats18_2013_20_1")
    recipe = tiny_recipe(
        arguments={"width": 16, "levels": 3},
        train={
            "steps": 300,
            "crop": [40, 48, 40],
            "learning_rate": 3e-3,
            "subsets": "all",
            "save_every": 300,
            "log_every": 20,
        },
        augment={
            "flip": [0, 0, 0],
            "rotate": 0,
            "scale": 0,
            "contrast": 0,
            "shift": 0,
            "gamma": 0,
            "noise": 0,
            "blur": 0,
        },
        prepare={"spacing": 2.0},
        validate={"every": 300, "subsets": ["t1n+t1c+t2w+t2f"]},
    )
    train(recipe, [case], [case], tmp_path / "run", device="cpu")
    (line,) = [line for line in lines(tmp_path / "run") if "validation_wt" in line]
    assert line["validation_wt"] >= 0.95
