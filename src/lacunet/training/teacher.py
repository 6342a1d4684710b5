"""A student learns from models that are trained: from their mean answer to what the student is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacunet.errors import RecipeError
from lacunet.models.ensemble import load_models, members_of
from lacunet.models.model import Model
from lacunet.models.origin import Source, read_teachers, source_of
from lacunet.nn.batch import Batch, Images, Logits, Presence
from lacunet.nn.losses import bernoulli_divergence
from lacunet.nn.memory import in_channels_last
from lacunet.nn.method import Clock, Method, Stage
from lacunet.task import Task
from lacunet.training.recipe import Recipe


@dataclass(frozen=True)
class Teacher:
    """Trained networks that stay as they are.

    Attributes:
        methods: The networks, on the device of the training.
        weight: Of what the student learns from them, beside its own losses.
        sources: What is kept of them.
    """

    methods: Sequence[Method[Any]]
    weight: float
    sources: Sequence[Source]

    @torch.no_grad()
    def __call__(self, images: Images, presence: Presence) -> Logits:
        """The mean of their logits."""
        return torch.stack([method(images, presence).float() for method in self.methods]).mean(dim=0)


def teacher_of(recipe: Recipe, task: Task, device: torch.device) -> Teacher | None:
    """The models that `[teacher]` names, if any.

    Raises:
        RecipeError: one has another task or another grid than the recipe.
    """
    if not recipe.teacher.models:
        return None
    models = load_models(recipe.teacher.models)
    for model in models:
        _require_alike(model, recipe, task)
    methods = [in_channels_last(model.method.to(device).eval().requires_grad_(False)) for model in models]
    return Teacher(methods, recipe.teacher.weight, [source_of(one) for one in members_of(recipe.teacher.models)])


def require_same_teachers(teacher: Teacher | None, run: Path) -> None:
    """Refuse to go on with other weights than the run began with.

    Raises:
        RecipeError: a teacher has changed since.
    """
    now = [source.sha256 for source in teacher.sources] if teacher is not None else []
    if now != [source.sha256 for source in read_teachers(run)]:
        raise RecipeError(f"{run}: its teachers have changed since it began; train it anew in another folder")


def taught(stage: Stage, method: Method[Any], teacher: Teacher) -> Stage:
    """The stage with one more term: how far the method's answer is from its teachers', for the subset shown.

    Only a stage whose weights are chosen by the method's own Dice trains what the teachers know; others stay.
    """
    if stage.select != "dice" or stage.judged is not None:
        return stage

    def loss(batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        target = teacher(batch.images, batch.presence)
        answer: Logits = method(batch.images, batch.presence)
        divergence = bernoulli_divergence(target, answer, temperature=1.0).mean()
        return {**stage.loss(batch, clock), "teacher": teacher.weight * divergence}

    return replace(stage, loss=loss)


def _require_alike(model: Model, recipe: Recipe, task: Task) -> None:
    if model.task.modalities != task.modalities or tuple(model.task.regions) != tuple(task.regions):
        raise RecipeError(
            f"teacher {model.name}: its task '{model.task.name}' has other modalities or regions than '{task.name}'"
        )
    if model.preparation != (wanted := recipe.prepare.preparation()):
        raise RecipeError(
            f"teacher {model.name}: its grid is {model.preparation.spacing:g} mm, clipped at "
            f"{model.preparation.clip:g}, the recipe's {wanted.spacing:g} mm and {wanted.clip:g}; a teacher sees the "
            "student's crops, so both must be the same"
        )
