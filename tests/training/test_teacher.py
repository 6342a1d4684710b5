"""A student of trained models."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lacunet.case import CaseFiles
from lacunet.errors import RecipeError
from lacunet.models.model import load_model
from lacunet.models.origin import cases_seen
from lacunet.nn.batch import Batch, Images, Logits, Presence, hide
from lacunet.nn.losses import bernoulli_divergence
from lacunet.nn.method import Clock, Method, Stage
from lacunet.progress import Silent
from lacunet.task import GLIOMA, Task
from lacunet.training.log import read_log
from lacunet.training.recipe import Recipe
from lacunet.training.teacher import Teacher, taught
from lacunet.training.train import train
from small import tiny_recipe

pytestmark = pytest.mark.usefixtures("one_thread")


class Sum(Method[Images]):
    """Answers with the sum of what it sees, times a weight."""

    def __init__(self, task: Task, weight: float) -> None:
        super().__init__(task)
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def encode(self, images: Images, presence: Presence) -> Images:
        return hide(images, presence)

    def decode(self, encoded: Images, presence: Presence) -> Logits:
        total = hide(encoded, presence).sum(dim=1, keepdim=True) * self.weight
        return total.expand(-1, len(self.task.regions), -1, -1, -1)

    def stages(self) -> list[Stage]:
        own = Stage("segment", lambda batch, clock: {"own": self.weight.square()}, [self])
        return [
            own,
            Stage("rebuild", own.loss, [self], select="loss"),
            Stage("critic", own.loss, [self], judged=lambda: self),
        ]


def batch() -> Batch:
    images = torch.ones(1, 4, 2, 2, 2)
    shown = torch.tensor([GLIOMA.presence(("t1c", "t2f"))])
    return Batch(images, torch.ones(1, 4, dtype=torch.bool), shown, torch.zeros(1, 3, 2, 2, 2), ("a",))


def test_a_student_is_drawn_to_the_mean_answer_of_its_teachers_to_what_it_is_shown() -> None:
    student, teachers = Sum(GLIOMA, 0.5), [Sum(GLIOMA, 1.0), Sum(GLIOMA, 3.0)]
    stage = taught(student.stages()[0], student, Teacher(teachers, 2.0, []))
    terms = stage.loss(batch(), Clock(0, 1, torch.Generator()))
    logits = torch.zeros(1, 1, 1, 1, 1)
    expected = 2.0 * bernoulli_divergence(logits + 2 * 2.0, logits + 2 * 0.5, 1.0)  # two sequences of ones
    assert terms["own"].item() == 0.25
    assert terms["teacher"].item() == pytest.approx(expected.item())
    sum(terms.values()).backward()
    assert student.weight.grad is not None
    assert all(teacher.weight.grad is None for teacher in teachers)


def test_a_stage_that_trains_something_else_has_no_teacher() -> None:
    student = Sum(GLIOMA, 0.5)
    _, *others = student.stages()
    assert [taught(stage, student, Teacher([student], 1.0, [])) for stage in others] == others


# ---------------------------------------------------------------- runs


class Stop(Silent):
    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        if job == "segment" and done == 3:
            raise KeyboardInterrupt


def run(recipe: Recipe, cases: list[CaseFiles], folder: Path, **options: Any) -> Path:
    return train(recipe, cases[:1], [], folder, device="cpu", **options)


@pytest.fixture
def teachers(phantoms: list[CaseFiles], tmp_path: Path) -> str:
    for seed, case in enumerate(phantoms[1:3], start=1):
        recipe = tiny_recipe(train={"steps": 1}, seed=seed)
        train(recipe, [case], [], tmp_path / "seed-1" / f"fold-{seed}", device="cpu")
    return str(tmp_path / "seed-1")


def student_of(teachers: str, **sections: Any) -> Recipe:
    return tiny_recipe(train={"steps": 5, "save_every": 2}, teacher={"models": teachers}, **sections)


def test_a_taught_run_knows_its_teachers_and_is_resumed_to_the_same_bits(
    teachers: str, phantoms: list[CaseFiles], tmp_path: Path
) -> None:
    recipe = student_of(teachers)
    whole = run(recipe, phantoms, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, phantoms, tmp_path / "broken", progress=Stop())
    broken = run(recipe, phantoms, tmp_path / "broken", resume=True)
    expected = load_file(whole / "weights.safetensors")
    found = load_file(broken / "weights.safetensors")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    plain = load_file(run(tiny_recipe(train={"steps": 5}), phantoms, tmp_path / "plain") / "weights.safetensors")
    assert any(not torch.equal(plain[name], expected[name]) for name in expected)
    told = load_model(str(whole)).card["teachers"]
    assert [(one["model"], one["sha256"]) for one in told] == [
        (f"fold-{fold}", load_model(f"{teachers}/fold-{fold}").sha256) for fold in (1, 2)
    ]
    assert all("seen" not in one for one in told)
    assert cases_seen(tmp_path / "whole") == tuple(sorted(case.name for case in phantoms[:3]))


def test_a_run_does_not_go_on_with_other_teachers(teachers: str, phantoms: list[CaseFiles], tmp_path: Path) -> None:
    recipe = student_of(teachers)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, phantoms, tmp_path / "run", progress=Stop())
    shutil.rmtree(Path(teachers) / "fold-2")
    with pytest.raises(RecipeError, match="its teachers or critic have changed since it began"):
        run(recipe, phantoms, tmp_path / "run", resume=True)


def test_a_teacher_of_another_grid_or_task_is_refused(teachers: str, phantoms: list[CaseFiles], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="teacher fold-1: its grid is 4 mm, clipped at 5, the recipe's 8 mm and 5"):
        run(student_of(teachers, prepare={"spacing": 8.0}), phantoms, tmp_path / "run")
    rebuilds = tiny_recipe(train={"steps": 1}, objective="reconstruction")
    model = run(rebuilds, phantoms, tmp_path / "rebuilds")
    with pytest.raises(RecipeError, match="its task 'glioma, rebuilt' has other modalities or regions than 'glioma'"):
        run(student_of(str(model)), phantoms, tmp_path / "run")


def test_what_comes_before_has_no_teachers_and_no_given_critic() -> None:
    first = student_of("runs/a", critic={"model": "runs/b"}, before={"train": {"steps": 3}}).earlier()
    assert first is not None
    assert first.teacher.models == ""
    assert first.critic.model == ""


# ---------------------------------------------------------------- a critic that is given


class StopRebuilding(Silent):
    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        if job == "reconstruct" and done == 2:
            raise KeyboardInterrupt


@pytest.fixture
def critic(phantoms: list[CaseFiles], tmp_path: Path) -> str:
    return str(run(tiny_recipe(train={"steps": 1}), phantoms[1:], tmp_path / "judge").parent)


def judged_by(critic: str, **sections: Any) -> Recipe:
    settings = {"steps": 16, "batch": 1, "save_every": 1, **sections.pop("train", {})}
    return tiny_recipe(
        "dual_stage", arguments={"width": 4, "levels": 2}, train=settings, critic={"model": critic}, **sections
    )


def test_a_given_critic_is_not_trained_and_a_run_knows_it_and_is_resumed_to_the_same_bits(
    critic: str, phantoms: list[CaseFiles], tmp_path: Path
) -> None:
    recipe = judged_by(critic)
    whole = run(recipe, phantoms, tmp_path / "whole")
    assert {line["stage"] for line in read_log(tmp_path / "whole")} == {"reconstruct", "teacher", "distil"}
    with pytest.raises(KeyboardInterrupt):
        run(recipe, phantoms, tmp_path / "broken", progress=StopRebuilding())
    broken = run(recipe, phantoms, tmp_path / "broken", resume=True)
    assert (broken / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    told = load_model(str(whole)).card["teachers"]
    assert [(one["model"], one["sha256"]) for one in told] == [("judge", load_model(critic).sha256)]
    assert cases_seen(tmp_path / "whole") == tuple(sorted(case.name for case in phantoms[:2]))


def test_a_run_does_not_go_on_with_another_critic(critic: str, phantoms: list[CaseFiles], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(judged_by(critic), phantoms, tmp_path / "run", progress=StopRebuilding())
    shutil.rmtree(critic)
    run(tiny_recipe(train={"steps": 2}, seed=9), phantoms[1:], Path(critic))
    with pytest.raises(RecipeError, match="its teachers or critic have changed since it began"):
        run(judged_by(critic), phantoms, tmp_path / "run", resume=True)


def test_a_critic_that_does_not_fit_is_refused(critic: str, phantoms: list[CaseFiles], tmp_path: Path) -> None:
    for recipe, words in (
        (
            judged_by(critic, prepare={"spacing": 8.0}),
            "critic judge: its grid is 4 mm, clipped at 5, the recipe's 8 mm",
        ),
        (
            judged_by(deep_critic(phantoms, tmp_path), train={"crop": [18, 18, 18]}),
            r"critic deep: needs crops of multiples of 4 voxels, the recipe has \[18, 18, 18\]",
        ),
        (student_of("", critic={"model": critic}), "EarlyFusion has no critic that critic.model could replace"),
    ):
        with pytest.raises(RecipeError, match=words):
            run(recipe, phantoms, tmp_path / "run")


def deep_critic(phantoms: list[CaseFiles], tmp_path: Path) -> str:
    recipe = tiny_recipe(arguments={"width": 4, "levels": 3}, train={"steps": 1})
    return str(run(recipe, phantoms, tmp_path / "deep").parent)
