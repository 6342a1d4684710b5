"""What a training spends: steps, crops, predictions that meet the reference, FLOPs, memory, parameters.

Measured once for each entrant, in a process of its own, on crops of noise as large as the recipe's: no case is read.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils import flop_counter
from torch.utils.flop_counter import FlopCounterMode

from lacunet.benchmark.met import Met
from lacunet.errors import DataError
from lacunet.files import write_json
from lacunet.nn.batch import Batch
from lacunet.nn.memory import in_channels_last
from lacunet.nn.method import Clock, Method, Stage
from lacunet.prediction.device import choose_device
from lacunet.reading import read_json
from lacunet.schema import fitted
from lacunet.training.crops import draw_subset
from lacunet.training.objective import made_for
from lacunet.training.optimiser import freeze_all_but, make_optimiser, training_mode
from lacunet.training.recipe import Recipe, TrainSettings
from lacunet.training.seeds import seed_step, shared_generator

WATCHED = 4
"""Steps of a stage whose FLOPs and predictions are counted."""

DRAWS = 32
"""Steps whose predictions are counted where those do not agree: then the number is drawn at each step."""

ACCOUNT = "account.json"
"""In the folder of an entrant."""

_A_MEBIBYTE = 2**20 if sys.platform == "darwin" else 2**10
"""In units of the system's count of memory."""

_Count = Annotated[float, Field(ge=0)]


class Account(BaseModel):
    """What one training spends, `account.json`.

    Attributes:
        steps: Of the stages that run.
        crops: Crops that these steps are given.
        predictions: Predictions of a crop from a subset that meet the reference, over the training.
        flops: Of the training, forward and backward; a multiplication with its addition counts as two.
        prediction_flops: Of one prediction from all sequences, of a box as large as a crop.
        parameters: Of what is deployed.
        trained: Of all that is trained, teachers and critics included.
        peak_mib: The most memory that a step takes, beyond what is there before the method is made; 0 where the
            system does not tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int
    crops: int
    predictions: _Count
    flops: _Count
    prediction_flops: _Count
    parameters: int
    trained: int
    peak_mib: _Count


@dataclass(frozen=True)
class StepCost:
    """What a step of a stage spends: a mean over watched steps.

    Attributes:
        predictions: That meet the reference, of all crops of the step; exact where each step has as many, else a mean
            over `DRAWS` steps.
        flops: Forward and backward, a mean over `WATCHED` steps.
        peak: MiB.
    """

    predictions: float
    flops: float
    peak: float


def account_of(recipe: Recipe, folder: Path, device: str = "auto", method_file: Path | None = None) -> Account:
    """The account of a recipe; it is measured once, and read from the folder afterwards.

    Raises:
        DataError: the folder's `account.json` is none.
        RecipeError: the recipe does not fit its method.
    """
    path = folder / ACCOUNT
    if not path.is_file():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:  # the peak is this training's alone
            write_json(path, own.submit(measured, recipe, device, method_file).result().model_dump())
    advice = "remove the file, and it is measured again"
    return fitted(Account, read_json(path, DataError, advice), str(path), DataError, advice)


def measured(recipe: Recipe, device: str = "cpu", method_file: Path | None = None) -> Account:
    """The account of a recipe, measured in this process.

    Args:
        recipe: With the steps that it will take. A training that comes before it, trained teachers and a trained critic
            are not counted.
        device: See `train`.
        method_file: File of a method that is not of the package.
    """
    chosen, before = choose_device(device), _held(choose_device(device))
    torch.manual_seed(recipe.seed)
    method, all_stages = made_for(recipe, method_file)
    method = in_channels_last(method).to(chosen)
    shares = recipe.steps_of([stage.name for stage in all_stages])
    stages = [(stage, steps) for stage, steps in zip(all_stages, shares, strict=True) if stage.wanted]
    costs = [_step_cost(method, stage, recipe, index, before) for index, (stage, _) in enumerate(stages)]
    trained = {parameter for stage, _ in stages for module in stage.trains for parameter in module.parameters()}
    batches = [recipe.for_stage(stage.name).batch for stage, _ in stages]
    return Account(
        steps=sum(steps for _, steps in stages),
        crops=sum(steps * batch for (_, steps), batch in zip(stages, batches, strict=True)),
        predictions=sum(steps * cost.predictions for (_, steps), cost in zip(stages, costs, strict=True)),
        flops=sum(steps * cost.flops for (_, steps), cost in zip(stages, costs, strict=True)),
        prediction_flops=_prediction_flops(method, recipe.train.crop, recipe.train),
        parameters=_size(method.deployed().parameters()),
        trained=_size(trained),
        peak_mib=max(cost.peak for cost in costs),
    )


def _step_cost(method: Method[Any], stage: Stage, recipe: Recipe, index: int, before: float) -> StepCost:
    """What a step of one stage spends. The peak is that of a step that nothing watches, its optimiser included."""
    settings = recipe.for_stage(stage.name)
    optimiser = make_optimiser(freeze_all_but(method, stage.trains), settings)
    training_mode(method, stage.trains)
    device = next(method.parameters()).device

    def loss(batch: Batch, number: int) -> Tensor:
        seed_step(recipe.seed, index, number, 0)
        clock = Clock(number, DRAWS, shared_generator(recipe.seed, index, number))
        with _precision(device, settings):
            terms = stage.loss(batch, clock)
        return torch.stack([term.float() for term in terms.values()]).sum()

    def watched(number: int) -> tuple[Tensor, int]:
        batch = _noise(method, settings, number).to(device)
        with Met(batch.regions) as met:
            return loss(batch, number), met.predictions

    torch.autograd.backward(loss(_noise(method, settings, 0).to(device), 0))
    optimiser.step()
    optimiser.zero_grad()
    peak, predictions, flops = _held(device) - before, [], 0
    for number in range(WATCHED):
        with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
            total, met = watched(number)
            torch.autograd.backward(total)
        optimiser.zero_grad()
        predictions.append(met)
        flops += counter.get_total_flops()
    if len(set(predictions)) > 1:
        predictions += [watched(number)[1] for number in range(WATCHED, DRAWS)]
    return StepCost(fmean(predictions), flops / WATCHED, peak)


def _noise(method: Method[Any], settings: TrainSettings, number: int) -> Batch:
    """Crops of noise with all sequences; the subset that each shows is drawn as the recipe says."""
    generator, task, size = np.random.default_rng(number), method.task, settings.batch
    acquired = [True] * len(task.modalities)
    shown = [draw_subset(acquired, settings.subsets, generator, settings.keep) for _ in range(size)]
    noise = torch.Generator().manual_seed(number)
    return Batch(
        images=torch.randn(size, len(acquired), *settings.crop, generator=noise),
        acquired=torch.tensor([acquired] * size),
        presence=torch.tensor(shown),
        regions=(torch.rand(size, len(task.regions), *settings.crop, generator=noise) < 0.2).float(),
        names=("noise",) * size,
    )


def _prediction_flops(method: Method[Any], shape: Sequence[int], settings: TrainSettings) -> int:
    """FLOPs of a forward pass of what is deployed, from all sequences."""
    deployed = method.deployed().eval()
    device, modalities = next(deployed.parameters()).device, len(method.task.modalities)
    presence = torch.ones(1, modalities, dtype=torch.bool, device=device)
    with (
        torch.no_grad(),
        _precision(device, settings),
        FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter,
    ):
        deployed(torch.zeros(1, modalities, *shape, device=device), presence)
    return int(counter.get_total_flops())


def _precision(device: torch.device, settings: TrainSettings) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")


def _held(device: torch.device) -> float:
    """The most memory that this process has held, in MiB: on CUDA of the device, else of the computer."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return 0.0
    import resource  # there is none on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _A_MEBIBYTE


def _size(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


_flops_of_attention: Callable[..., int] = flop_counter.sdpa_flop_count
_flops_of_its_gradient: Callable[..., int] = flop_counter.sdpa_backward_flop_count


def _attention(query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
    return _flops_of_attention(query, key, value)


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
    return _flops_of_its_gradient(gradient, query, key, value)


_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""What torch's counter lacks: the attention of processors."""
