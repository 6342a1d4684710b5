"""The state of a training on disk: what a resumed run needs, as tensors, without a pickle."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lacunet.files import whole_file


@dataclass
class State:
    """What a resumed run needs beside the recipe and the weights; all else follows from it.

    Attributes:
        stage: Index of the stage; the number of stages when the training is over.
        step: The next step of the stage.
        best: The best validation score of the stage so far.
        stale: Validations since the best one.
        average: A running average of the weights, empty when none is kept.
    """

    stage: int = 0
    step: int = 0
    best: float = float("-inf")
    stale: int = 0
    average: dict[str, Tensor] = field(default_factory=dict)


def save_state(path: Path, state: State, method: nn.Module, optimiser: torch.optim.Optimizer | None) -> None:
    """Write everything into one file, whole or not at all. Between stages there is no optimiser."""
    tensors = {f"method.{name}": value for name, value in method.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    if optimiser is not None:
        tensors |= {f"optimiser.{name}": value for name, value in _optimiser_tensors(optimiser)}
    numbers = {"stage": state.stage, "step": state.step, "best": repr(state.best), "stale": state.stale}
    with whole_file(path) as temporary:
        temporary.write_bytes(save(_contiguous(tensors), metadata={"state": json.dumps(numbers)}))


def load_state(path: Path, method: nn.Module) -> tuple[State, dict[str, Tensor]]:
    """Put the weights into the method; returns the state, and the tensors for `load_optimiser`."""
    with safe_open(path, framework="pt") as file:
        numbers = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    parts: dict[str, dict[str, Tensor]] = {"method": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    method.load_state_dict(parts["method"])
    stale = numbers.get("stale", 0)
    state = State(numbers["stage"], numbers["step"], float(numbers["best"]), stale, parts["average"])
    return state, parts["optimiser"]


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of what `save_state` keeps of an optimiser; each tensor is laid out in memory as its parameter."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    if not state:
        return
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def save_weights(path: Path, method: nn.Module) -> None:
    """A method's weights alone."""
    with whole_file(path) as temporary:
        temporary.write_bytes(save(_contiguous(method.state_dict())))


def load_weights(path: Path, method: nn.Module) -> None:
    """The inverse of `save_weights`."""
    with safe_open(path, framework="pt") as file:
        method.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """`12.exp_avg` -> tensor."""
    for index, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                yield f"{index}.{name}", torch.as_tensor(value)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in plain memory order, as safetensors wants them; no two share memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
