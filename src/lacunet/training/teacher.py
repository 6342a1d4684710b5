"""A student learns from models that are trained: from their mean answer to what it is shown, or from a critic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacunet.errors import RecipeError
from lacunet.models.ensemble import load_models, members_of
from lacunet.models.model import Model, load_model
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


@dataclass(frozen=True)
class GivenCritic:
    """A trained network that stays as it is and judges what another one rebuilds.

    Attributes:
        method: The network, on the device of the training.
        source: What is kept of it.
    """

    method: Method[Any]
    source: Source

    def __call__(self, images: Images, presence: Presence) -> Logits:
        """Its logits. Gradients pass to the images."""
        logits: Logits = self.method(images, presence)
        return logits


def teacher_of(recipe: Recipe, task: Task, device: torch.device) -> Teacher | None:
    """The models that `[teacher]` names, if any.

    Raises:
        RecipeError: one has another task or another grid than the recipe.
    """
    if not recipe.teacher.models:
        return None
    models = load_models(recipe.teacher.models)
    methods = [frozen("teacher", model, recipe, task, device) for model in models]
    return Teacher(methods, recipe.teacher.weight, [source_of(one) for one in members_of(recipe.teacher.models)])


def critic_of(recipe: Recipe, task: Task, device: torch.device) -> GivenCritic | None:
    """The model that `[critic]` names, if any.

    Raises:
        RecipeError: it has another task or another grid than the recipe, or cannot divide the recipe's crops evenly.
    """
    if not recipe.critic.model:
        return None
    model = load_model(recipe.critic.model)
    method = frozen("critic", model, recipe, task, device)
    for crop in (recipe.train.crop, *[stage.crop for stage in recipe.stages.values() if stage.crop is not None]):
        if any(length % method.divisor for length in crop):
            raise RecipeError(
                f"critic {model.name}: needs crops of multiples of {method.divisor} voxels, the recipe has {list(crop)}"
            )
    return GivenCritic(method, source_of(recipe.critic.model))


def require_same_sources(sources: Sequence[Source], run: Path) -> None:
    """Refuse to go on with other weights of teachers or critic than the run began with.

    Raises:
        RecipeError: one has changed since.
    """
    if [source.sha256 for source in sources] != [source.sha256 for source in read_teachers(run)]:
        raise RecipeError(f"{run}: its teachers or critic have changed since it began; train it anew in another folder")


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


def frozen(role: str, model: Model, recipe: Recipe, task: Task, device: torch.device) -> Method[Any]:
    """A model's network on the device, unchanged from now on.

    Raises:
        RecipeError: it has another task or another grid than the recipe; the role is named.
    """
    _require_alike(role, model, recipe, task)
    return in_channels_last(model.method.to(device).eval().requires_grad_(False))


def _require_alike(role: str, model: Model, recipe: Recipe, task: Task) -> None:
    if model.task.modalities != task.modalities or tuple(model.task.regions) != tuple(task.regions):
        raise RecipeError(
            f"{role} {model.name}: its task '{model.task.name}' has other modalities or regions than '{task.name}'"
        )
    if model.preparation != (wanted := recipe.prepare.preparation()):
        raise RecipeError(
            f"{role} {model.name}: its grid is {model.preparation.spacing:g} mm, clipped at "
            f"{model.preparation.clip:g}, the recipe's {wanted.spacing:g} mm and {wanted.clip:g}; a {role} sees the "
            "crops of the training, so both must be the same"
        )
