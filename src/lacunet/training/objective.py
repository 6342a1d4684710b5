"""What a method is trained for: to segment, by its own stages, or to rebuild hidden parts of its images first.

Rebuilding needs nothing of a method but the contract: a method that is made for a task whose regions are the images
gives a map for each image in place of logits. All its tensors but those of the last layers are those of the method that
segments, by name and shape, so that a training can begin with them.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacunet.nn.batch import Batch, hide
from lacunet.nn.masking import draw_seen, reconstruction_loss
from lacunet.nn.method import Clock, Method, Stage, get_method, make_method
from lacunet.task import Task, get_task
from lacunet.training.recipe import Recipe

PATCHES = 8
"""Along each side of a crop."""
MASKED = 0.875
"""Share of the patches of all modalities that is hidden: M3AE's, with whole modalities among them."""


def made_for(recipe: Recipe, method_file: Path | None = None) -> tuple[Method[Any], list[Stage]]:
    """The untrained method of a recipe, and all stages of its training.

    Raises:
        RecipeError: the method refuses the recipe's arguments.
    """
    method_class, task = get_method(recipe.method, method_file), get_task(recipe.task)
    if recipe.objective == "segmentation":
        method = make_method(method_class, task, recipe.arguments)
        return method, method.stages()
    method = make_method(method_class, reconstruction_task(task), recipe.arguments)
    return method, [reconstruction_stage(method)]


def reconstruction_task(task: Task) -> Task:
    """A task whose regions are the images: its networks give a map for each modality."""
    label = min(task.labels.values())
    return replace(
        task,
        name=f"{task.name}, rebuilt",
        regions=dict.fromkeys(task.modalities, (label,)),
        painting=((task.modalities[0], label),),
        shown_by={},
    )


def reconstruction_stage(method: Method[Any]) -> Stage:
    """Rebuild all that was acquired from an eighth of it, as M3AE does (Liu et al., AAAI 2023)."""

    def loss(batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        images = hide(batch.images, batch.acquired)
        seen = draw_seen(batch.acquired, images.shape[2:], PATCHES, MASKED)
        rebuilt = method(torch.where(seen, images, 0.0), seen.flatten(2).any(dim=2))
        return {"reconstruction": reconstruction_loss(rebuilt, images, batch.acquired)}

    return Stage("reconstruct", loss, [method], select="loss")
