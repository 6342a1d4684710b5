"""The weights that a training starts from, where it starts from a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lacunet.errors import RecipeError
from lacunet.models.joined import Joined
from lacunet.models.model import load_model
from lacunet.models.origin import Origin, origin_of
from lacunet.nn.method import Method


@dataclass(frozen=True)
class Start:
    """Weights by name for some or all tensors of a network, and the model that they are of.

    Attributes:
        weights: By the tensor's name.
        origin: The model.
        network: Which of a joined model's networks; empty where the model is one network.
    """

    weights: Mapping[str, Tensor]
    origin: Origin
    network: str = ""

    def put_into(self, method: Method[Any]) -> None:
        """The weights into the network; its other tensors stay as they are."""
        method.load_state_dict({**method.state_dict(), **self.weights})

    def words(self) -> str:
        """One line for the terminal."""
        origin = self.origin
        new = f"; {len(origin.new)} are new ({_some(origin.new)})" if origin.new else ""
        left = f"; {len(origin.left)} of its own are left out ({_some(origin.left)})" if origin.left else ""
        return f"{origin.taken} tensors start from {origin.model}{self.network}{new}{left}"


def start_from(source: str, method: Method[Any], method_file: Path | None, partly: bool) -> Start:
    """A model's weights for a recipe's network, which may have more tensors than the model.

    Args:
        source: A shipped name, a model folder or a run; of a joined model its first network.
        method: The recipe's network.
        method_file: See `load_model`.
        partly: Leave out the model's tensors that the network lacks, or has in another shape.

    Raises:
        RecipeError: no tensor fits; or some of the model's do not, and `partly` is False.
    """
    begun = load_model(source, method_file).method
    network = f", the first of its {len(begun.members)} networks" if isinstance(begun, Joined) else ""
    weights = (begun.members[0] if isinstance(begun, Joined) else begun).state_dict()
    wanted = method.state_dict()
    taken = {n: value for n, value in weights.items() if n in wanted and value.shape == wanted[n].shape}
    left = tuple(name for name in weights if name not in taken)
    if not taken:
        raise RecipeError(f"--init {source}: no tensor of its network fits the recipe's; name another model")
    if left and not partly:
        raise RecipeError(
            f"--init {source}: its network is not the recipe's ({len(left)} of its {len(weights)} tensors do not fit, "
            f"such as {left[0]}); put the model's method and arguments into the recipe, or take those that fit: "
            "--init-partly"
        )
    new = tuple(name for name in wanted if name not in taken)
    return Start(taken, origin_of(source, len(taken), new, left), network)


def _some(names: tuple[str, ...]) -> str:
    return f"{names[0]}, ..." if len(names) > 1 else names[0]
