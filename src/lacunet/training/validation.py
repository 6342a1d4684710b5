"""How good a method is while it trains: Dice over whole cases and subsets, or a stage's loss over fixed crops."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from lacunet.case import CaseFiles
from lacunet.crew.memory import ALONE, Share
from lacunet.data.nifti import load_case
from lacunet.errors import DataError, RecipeError
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.models.model import Model
from lacunet.nn.batch import Batch
from lacunet.nn.method import Clock, Method, Stage
from lacunet.prediction.predictor import Predictor
from lacunet.prediction.windows import Windows
from lacunet.training.crops import Crops
from lacunet.training.recipe import Recipe
from lacunet.training.seeds import seed_step, shared_generator


def validation_dice(
    method: Method[Any], cases: Sequence[CaseFiles], recipe: Recipe, fabric: Fabric, share: Share = ALONE
) -> dict[str, float]:
    """Mean Dice over cases, then over subsets and regions: `mean`, and one value per region. Ranks share the cases.

    Where others work beside it, `share` is what it may have of the memory.

    Raises:
        DataError: no case has all modalities of any of the recipe's subsets, so there is nothing to score.
    """
    task = method.task
    subsets = task.subsets_named(recipe.validate_.subsets)
    model = Model("validated", method, recipe.prepare.preparation(), {}, "")
    predictor = Predictor(model, str(fabric.device), recipe.train.precision, Windows(share=share))
    sums = torch.zeros((len(subsets), len(task.regions)), dtype=torch.float64)
    counts = torch.zeros(len(subsets), dtype=torch.float64)
    for files in list(cases)[fabric.global_rank :: fabric.world_size]:
        case = load_case(files, task)
        assert case.reference is not None
        reference = region_masks(case.reference, task)
        possible = [subset for subset in subsets if set(subset) <= set(case.images)]
        for prediction in predictor.each(case, possible):
            row = subsets.index(prediction.subset)
            counts[row] += 1
            for column, (region, mask) in enumerate(prediction.regions().items()):
                sums[row, column] += dice(mask, reference[region])
    sums, counts = _over_ranks(fabric, sums), _over_ranks(fabric, counts)
    if not counts.any():
        names = ", ".join(task.subset_name(subset) for subset in subsets)
        raise DataError(f"no validation case has all sequences of any of {names}; change validate.subsets or the split")
    means = (sums / counts.clamp_min(1)[:, None])[counts > 0].mean(dim=0)
    return {"mean": float(means.mean()), **dict(zip(task.regions, means.tolist(), strict=True))}


def validation_loss(stage: Stage, crops: Crops, stage_index: int, device: torch.device) -> dict[str, float]:
    """Minus the stage's loss over the crops, the same at each validation (higher is better).

    Raises:
        RecipeError: the loss is not a number.
    """
    total = 0.0
    for step in range(len(crops)):
        seed_step(crops.seed, stage_index, step, 0)
        clock = Clock(step, len(crops), shared_generator(crops.seed, stage_index, step))
        with torch.no_grad():
            total += sum(float(term) for term in stage.loss(on_device(crops[step], device), clock).values())
    if not math.isfinite(total):
        raise RecipeError(
            f"stage {stage.name}: the loss of the validation cases is not a number; lower train.learning_rate"
        )
    return {"mean": -total / len(crops)}


def on_device(batch: Batch, device: torch.device) -> Batch:
    """A batch on the method's device, in the memory order of its weights."""
    moved = batch.to(device)
    images = moved.images.contiguous(memory_format=torch.channels_last_3d)
    return Batch(images, moved.acquired, moved.presence, moved.regions, moved.names)


def _over_ranks(fabric: Fabric, values: Tensor) -> Tensor:
    """The sum over all processes."""
    if fabric.world_size == 1:
        return values
    summed = fabric.all_reduce(values, reduce_op="sum")
    assert isinstance(summed, Tensor)
    return summed.cpu()
