"""How many predictions meet the reference in a loss: what a step of a training learns from.

A method that decodes six subsets of each crop learns more from a crop than one that decodes one. Here the loss is
watched while it is computed, so that the count needs nothing of a method and cannot disagree with what it does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_ENLARGES = ("interpolate", "upsample")
_CONVOLVES = ("conv", "linear", "einsum", "matmul")
_TAKES_APART = ("chunk", "split", "unbind", "getitem")
"""Words in the names of torch's functions."""


@dataclass(frozen=True)
class _Prediction:
    """Where a tensor comes from.

    Attributes:
        origin: The id of the tensor that a convolution gave, or of its part, where it was taken apart.
        enlarged: Whether it was enlarged since then.
    """

    origin: int
    enlarged: bool = False


class Met(TorchFunctionMode):
    """While it is entered, notes which tensors that need a gradient are computed with the reference.

    A prediction is the output of a convolution, or some crops' part of such an output. What is
    made of it voxel by voxel (its sigmoid, the logits of regions from those of labels) is the same prediction, so that
    Dice and cross-entropy of it count once. It counts at the reference's own resolution alone. Coarser predictions that
    were enlarged to it are deep supervision, and do not count beside others that were not.

    Args:
        reference: `batch.regions`.
    """

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        self.voxels = reference.shape[-3:]
        self.references = {id(reference)}
        self.seen: dict[int, _Prediction] = {}
        self.found: dict[_Prediction, int] = {}
        self.kept = [reference]  # an id is a tensor's own while the tensor lives

    @property
    def predictions(self) -> int:
        """How many met the reference so far; a batch of several crops has one or more of each."""
        own = [rows for prediction, rows in self.found.items() if not prediction.enlarged]
        return sum(own or self.found.values())

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The result of one function, and a note of where it comes from."""
        result = func(*args, **(kwargs or {}))
        given, made = _tensors((args, kwargs or {})), _tensors(result)
        learning = [one for one in given if one.requires_grad]
        if any(id(one) in self.references for one in given):
            for one in learning:
                self._meets(one)
            if not learning:
                self.references |= {id(one) for one in made}
                self.kept += made
        elif learning:
            self._follow(getattr(func, "__name__", ""), learning[0], made)
        return result

    def _meets(self, one: Tensor) -> None:
        if one.dim() == 5 and one.shape[-3:] == self.voxels:
            prediction = self._prediction(one)
            self.found[prediction] = max(self.found.get(prediction, 0), len(one))

    def _follow(self, name: str, given: Tensor, made: Sequence[Tensor]) -> None:
        """Note of what a function made which prediction it is."""
        before = self._prediction(given)
        for one in made:
            if _has(name, _CONVOLVES):
                self.seen[id(one)] = _Prediction(id(one))
            elif _has(name, _TAKES_APART) and _by_crop(one, given):
                self.seen[id(one)] = replace(before, origin=id(one))
            else:
                self.seen[id(one)] = replace(before, enlarged=before.enlarged or _has(name, _ENLARGES))
        self.kept += made

    def _prediction(self, one: Tensor) -> _Prediction:
        return self.seen.get(id(one), _Prediction(id(one)))


def _by_crop(part: Tensor, whole: Tensor) -> bool:
    """Whether a part is some of the crops, and not some of the channels."""
    some = part.dim() == whole.dim() > 0 and part.shape[1:] == whole.shape[1:] and len(part) < len(whole)
    return some or part.shape == whole.shape[1:]


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


def _has(name: str, words: Sequence[str]) -> bool:
    return any(word in name for word in words)
