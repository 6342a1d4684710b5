"""The contract of a method. Everything that trains, predicts and evaluates knows a method only through this file."""

import importlib
import importlib.util
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from lacunet.errors import ModelError, RecipeError, UsageError, nearest
from lacunet.nn.batch import Batch, Images, Logits, Presence
from lacunet.nn.papers import Paper, method_names
from lacunet.task import Task

Encoded = TypeVar("Encoded")
"""What `encode` hands to `decode`: a tensor or several of them. Each method names its own type."""


Critic = Callable[[Images, Presence], Logits]
"""A trained network, frozen: region logits from images and what of them is there. Gradients reach the images."""


_OWN_FILE = "lacunet_method_"
"""How the module of a method in a file of one's own is called, before the file's name."""


def _unheard(name: str, value: Tensor | float) -> None:
    """The `note` of a clock whose notes are not logged."""


@dataclass
class Clock:
    """When a loss is computed. (Not frozen: Fabric copies what passes a wrapped module's forward.)

    Attributes:
        step: The step of this stage, from 0.
        steps: How many steps the stage has.
        shared: For random numbers that all processes must share: the same on every rank, different at each step.
        note: Puts a number that is watched, not minimised, beside the loss terms in the log: `note("kept", 0.7)`. The
            log has its mean over the steps since the last line; a step that does not note it counts as 0, so noting
            1 whenever something happens logs how often it did. Of several processes, the first one's notes are logged.
    """

    step: int
    steps: int
    shared: torch.Generator
    note: Callable[[str, Tensor | float], None] = _unheard

    @property
    def progress(self) -> float:
        """How much of the stage is over, 0 at the first step and below 1 at the last."""
        return self.step / max(self.steps, 1)


def _nothing() -> None:
    """The `before` of a stage that needs no preparation."""


@dataclass(frozen=True)
class Stage:
    """A phase of training.

    Attributes:
        name: Recipes tune it under `[stages.NAME]`.
        loss: Named, weighted terms of one batch; the loop adds them up and logs each.
        trains: Only these modules move; all others are frozen and in eval mode.
        before: Copies values (a pre-trained student into its teacher) once, when the stage begins; not again on resume.
        select: What "best" means: a reconstruction stage has no Dice.
        judged: Whose Dice `select` means, if not the method's own: that of a teacher or critic that is trained.
        wanted: False if the method's arguments leave this phase out; its steps go with it, the others keep theirs. A
            recipe may tune it nevertheless.
    """

    name: str
    loss: Callable[[Batch, Clock], Mapping[str, Tensor]]
    trains: Sequence[nn.Module]
    before: Callable[[], None] = _nothing
    select: Literal["dice", "loss", "last"] = "dice"
    judged: "Callable[[], Method[Any]] | None" = None
    wanted: bool = True


class Method(nn.Module, ABC, Generic[Encoded]):
    """A network that segments from any subset of the task's modalities, and how it is trained.

    A subclass takes `task` and keyword-only arguments with the paper's values as defaults: its signature is its
    configuration. The law: in eval mode, `decode(encode(x, all), S)` equals `decode(encode(x, S), S)`, whatever the
    voxels of modalities outside S hold, and gradients of a loss on S stay finite.
    """

    paper: ClassVar[Paper]
    task: Task

    divisor: int = 1
    """Crops and boxes are padded to a multiple of this many voxels."""

    arguments: Mapping[str, Any]
    """The keyword arguments it was made with, for the model file; `make_method` sets them."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.arguments = {}

    @abstractmethod
    def encode(self, images: Images, presence: Presence) -> Encoded:
        """All that does not depend on which of the present modalities will be used."""

    @abstractmethod
    def decode(self, encoded: Encoded, presence: Presence) -> Logits:
        """Region logits from one subset of what was encoded."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """How the method is trained, in order."""

    def forward(self, images: Images, presence: Presence) -> Logits:
        """Region logits from the present modalities."""
        logits: Logits = self.decode(self.encode(images, presence), presence)
        return logits

    def deployed(self) -> "Method[Any]":
        """What a model folder keeps: the student without its teacher."""
        return self

    def take_critic(self, critic: Critic) -> None:
        """Let a trained network judge what this one rebuilds, instead of a critic of its own. Only some methods can.

        Called before `stages()`.

        Raises:
            RecipeError: this method has no critic.
        """
        raise RecipeError(f"{type(self).__name__} has no critic that critic.model could replace; dual_stage has")

    def complete(self, images: Images, presence: Presence) -> Images:
        """Every modality: the present ones as they are, estimates of the others. Only some methods can do this.

        Raises:
            ModelError: this method cannot.
        """
        raise ModelError(f"{type(self).__name__} does not estimate absent sequences; dual_stage does")


SomeMethod = TypeVar("SomeMethod", bound=Method[Any])


def get_method(name: str, file: Path | None = None) -> type[Method[Any]]:
    """The class of a method of the package, or of one's own file.

    Raises:
        UsageError: no such method.
        ModelError: `file` cannot be imported or does not hold exactly one method.
    """
    if file is not None:
        return _method_in(_import_file(file), str(file))
    known = method_names()
    if name not in known:
        raise UsageError(
            f"no method '{name}'{nearest(name, known)}; known: {', '.join(known)} (a file of your own: --method-file)"
        )
    return _method_in(importlib.import_module(f"lacunet.methods.{name}"), f"lacunet/methods/{name}.py")


def name_of(method: Method[Any]) -> str:
    """The name by which `get_method` finds a method's class, here or in a file of one's own."""
    return type(method).__module__.rpartition(".")[2].removeprefix(_OWN_FILE)


def make_method(cls: type[SomeMethod], task: Task, arguments: Mapping[str, Any]) -> SomeMethod:
    """An untrained method from its arguments.

    Raises:
        RecipeError: an argument that the method does not have (the nearest is named), or a value it refuses.
    """
    known = [name for name, p in inspect.signature(cls).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in arguments:
        if name not in known:
            raise RecipeError(
                f"{cls.__name__} has no argument '{name}'{nearest(name, known)}; it has: {', '.join(known)}"
            )
    _require_choices(cls, arguments)
    try:
        method = cls(task, **arguments)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        raise RecipeError(f"{cls.__name__} refuses its arguments {dict(arguments)}: {error}") from error
    method.arguments = dict(arguments)
    return method


def _require_choices(cls: type[Method[Any]], arguments: Mapping[str, Any]) -> None:
    """Refuse an argument annotated with a `Literal` that is none of its values."""
    hints = get_type_hints(cls.__init__)
    for name, value in arguments.items():
        choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
        if choices and value not in choices:
            close = nearest(str(value), [str(choice) for choice in choices])
            raise RecipeError(
                f"{cls.__name__}: {name} = {value!r}: must be one of {', '.join(map(str, choices))}{close}"
            )


def _import_file(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"{_OWN_FILE}{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ModelError(f"{file}: not a Python file; --method-file names the file of one method")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ModelError(f"{file}: cannot be imported ({type(error).__name__}: {error})") from error
    return module


def _method_in(module: Any, where: str) -> type[Method[Any]]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise ModelError(f"{where}: expected exactly one class derived from Method, found {names}")
    return found[0]
