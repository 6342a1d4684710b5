"""What changes the weights: which of them, the optimiser, its schedule, and a running average of the result."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lacunet.training.recipe import TrainSettings

_moves: Callable[[float], Callable[..., None]] = get_ema_multi_avg_fn


def freeze_all_but(method: nn.Module, trains: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Let gradients reach the parameters of these modules only. Returns those, each once."""
    method.requires_grad_(False)
    parameters = list(dict.fromkeys(parameter for module in trains for parameter in module.parameters()))
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def training_mode(method: nn.Module, trains: Sequence[nn.Module]) -> None:
    """These modules train, all others evaluate."""
    method.eval()
    for module in trains:
        module.train()


def make_optimiser(parameters: Sequence[nn.Parameter], settings: TrainSettings) -> torch.optim.Optimizer:
    """The recipe's optimiser; weight decay spares biases and norms."""
    weights = [parameter for parameter in parameters if parameter.dim() > 1]
    others = [parameter for parameter in parameters if parameter.dim() <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.99, nesterov=True)
    make = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return make(groups, lr=settings.learning_rate)


def gradient_norms(terms: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]) -> dict[str, float]:
    """The norm of each loss term's own gradient, before clipping, in this process alone."""
    norms = {}
    for name, term in terms.items():
        gradients: list[Tensor] = []
        if term.requires_grad:
            found = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            gradients = [gradient for gradient in found if gradient is not None]
        norms[f"gradient_norm_{name}"] = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
    return norms


def learning_rate_at(step: int, steps: int, settings: TrainSettings) -> float:
    """The schedule: a linear rise over the warm-up, then cosine, poly (power 0.9) or constant."""
    warmup = settings.warmup * steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    over = (step - warmup) / max(steps - warmup, 1)
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * over))
    if settings.schedule == "poly":
        return float(settings.learning_rate * (1 - over) ** 0.9)
    return settings.learning_rate


def start_average(method: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A running average that starts from these values, laid out in memory as the method's own."""
    current = method.state_dict()
    start = values or current
    return {name: torch.empty_like(value).copy_(start[name]) for name, value in current.items()}


def update_average(average: dict[str, Tensor], method: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the weights: quickly in the first steps, so that the first weights are forgotten."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    current = method.state_dict()
    moved = [name for name, value in current.items() if value.is_floating_point()]
    # in few operations, since a GPU waits for each to be started
    _moves(1 - share)([average[name] for name in moved], [current[name] for name in moved], None)
    for name in current.keys() - set(moved):
        average[name].copy_(current[name])
