"""A trained model on disk: weights, the method's arguments, the task, the preparation, and a card."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from lacunet.data.prepare import Preparation
from lacunet.errors import LacunetError, ModelError, UsageError
from lacunet.files import whole_file, write_json
from lacunet.models.calibration import Calibration, read_calibration
from lacunet.models.description import FORMAT, HASH, JOINED, Description, description_hash, read_description
from lacunet.models.folder import DESCRIPTION, WEIGHTS, model_folder, model_name
from lacunet.models.joined import Joined
from lacunet.nn.method import Method, get_method, make_method, name_of
from lacunet.task import Subset, Task

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")


@dataclass(frozen=True)
class Model:
    """A trained method, ready to predict.

    Attributes:
        name: The shipped name or the folder.
        method: In eval mode, on the CPU, float32.
        preparation: What was done to its training images.
        card: What it says of itself: training data, licence, and its scores by subset.
        sha256: Of the weights file.
        calibration: What out-of-fold cases tell of it; None if there is none beside the weights.
        postprocessing: Names of the rules that its masks go through unless others are asked for.
    """

    name: str
    method: Method[Any]
    preparation: Preparation
    card: Mapping[str, Any]
    sha256: str
    calibration: Calibration | None = None
    postprocessing: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """Modalities in, regions out."""
        return self.method.task

    def expected_dice(self, subset: Subset) -> dict[str, float]:
        """The card's mean Dice of each region for this subset; empty if the card has no scores."""
        table = self.card.get("results", {}).get("subsets", {})
        scores = table.get(self.task.subset_name(subset), {})
        return {region: float(scores[region]["dice"]) for region in self.task.regions if region in scores}

    def found_without_tumour(self, subset: Subset) -> tuple[str, float, int] | None:
        """What the card says of brains without a tumour, from this subset; None if it does not say it.

        Returns:
            The largest region, the median volume found in ml, and in how many brains.
        """
        free, region = self.card.get("results", {}).get("tumour_free"), next(iter(self.task.regions))
        found = free.get("subsets", {}).get(self.task.subset_name(subset), {}).get(region) if free else None
        return (region, float(found["median"]), int(free["cases"])) if found else None


def save_model(
    folder: Path,
    method: Method[Any],
    preparation: Preparation,
    card: Mapping[str, Any],
    half: bool = False,
    postprocessing: Sequence[str] = (),
) -> None:
    """Write a model folder: what the method deploys, and nothing else.

    Args:
        folder: Made if it is not there.
        method: The trained method; `method.deployed()` is what is kept.
        preparation: What is done to images before the method sees them.
        card: JSON values.
        half: Weights in float16, half the size; for models that ship.
        postprocessing: Names of the rules that its masks go through unless others are asked for.
    """
    kept = method.deployed()
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous().clone()
        for name, tensor in kept.state_dict().items()
    }
    content = save_tensors(tensors)
    with whole_file(folder / WEIGHTS) as temporary:
        temporary.write_bytes(content)
    description: dict[str, Any] = {
        "format": FORMAT,
        "method": name_of(kept),
        "arguments": dict(kept.arguments),
        "task": kept.task.to_json(),
        "preparation": asdict(preparation),
        **({"postprocessing": list(postprocessing)} if postprocessing else {}),
        "sha256": hashlib.sha256(content).hexdigest(),
        "card": dict(card),
    }
    write_json(folder / DESCRIPTION, {**description, HASH: description_hash(description)})


def load_model(source: str, method_file: Path | None = None) -> Model:
    """A model from a shipped name or a folder. Runs no code from the folder and asks no network.

    Args:
        source: See `model_folder`.
        method_file: Python file of a method that is not of the package; it is run.

    Raises:
        ModelError: incomplete, changed since it was written, of an unknown format, with a pickle in it, or with a
            calibration that is not its own.
    """
    folder = model_folder(source)
    _refuse_pickles(folder)
    description = read_description(folder)
    content = _read_weights(folder, description.sha256)
    try:
        method = _method_with(load_tensors(content), description, method_file)
    except (LacunetError, SafetensorError, RuntimeError, KeyError, TypeError, AttributeError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise ModelError(f"{folder}: does not fit its method ({first_line}); get the model again") from error
    name, calibration = model_name(folder), read_calibration(folder)
    preparation = Preparation(description.preparation.spacing, description.preparation.clip)
    rules = description.postprocessing
    return Model(name, method.eval(), preparation, description.card, description.sha256, calibration, rules)


def for_task(model: Model, task: Task) -> Model:
    """The same network, unchanged, read as another task's: a glioma model on metastases. The weights are shared.

    It has no calibration and no post-processing then: the cases of a calibration tell nothing of another disease, and
    what is too small to be a glioma may be a metastasis.

    Raises:
        UsageError: the task has other modalities or regions, or another order of them.
    """
    for what in ("modalities", "regions"):
        own, other = (tuple(getattr(one, what)) for one in (model.task, task))
        if own != other:
            raise UsageError(
                f"{model.name} was trained for {what} {', '.join(own)}; the task '{task.name}' has {', '.join(other)}"
            )
    method = copy.copy(model.method)
    method.task = task
    if task.name == model.task.name:
        return replace(model, method=method)
    return replace(model, method=method, calibration=None, postprocessing=())


def _method_with(weights: Mapping[str, Tensor], description: Description, method_file: Path | None) -> Method[Any]:
    """The method with its weights.

    A method of the package is first made without memory for its tensors, so that arguments that ask for a larger
    network than the weights file holds allocate nothing. A method of one's own need not work without memory.
    """
    joined = description.method == JOINED and method_file is None
    method_class, task = Joined if joined else get_method(description.method, method_file), description.task
    if method_file is None:
        with torch.device("meta"):
            imagined = make_method(method_class, task, description.arguments).state_dict()
        _require_same_shapes(weights, imagined)
    method = make_method(method_class, task, description.arguments)
    method.load_state_dict(weights)  # copies float16 into float32
    return method


def _require_same_shapes(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name in sorted({*weights, *wanted}):
        found, expected = (tuple(one[name].shape) if name in one else "no such tensor" for one in (weights, wanted))
        if found != expected:
            raise ValueError(f"{name}: {WEIGHTS} has {found}, the arguments need {expected}")


def _refuse_pickles(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _PICKLES:
            raise ModelError(
                f"{path}: a model folder holds {DESCRIPTION} and {WEIGHTS} only; a {path.suffix} file can run code "
                "when it is read, so the folder is refused: remove the file if you trust the rest"
            )


def _read_weights(folder: Path, expected: str) -> bytes:
    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); get the model again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ModelError(
            f"{path}: changed since it was written (sha256 {found[:12]}..., expected {str(expected)[:12]}...); "
            "get the model again"
        )
    return content
