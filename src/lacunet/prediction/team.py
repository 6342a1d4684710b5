"""Predictors at work side by side: one for each worker of a crew."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from lacunet.crew.crew import Crew, Here, Lost, Place
from lacunet.models.ensemble import load_models
from lacunet.models.model import for_task
from lacunet.prediction.choices import Mirror, Precision
from lacunet.prediction.predictor import Predictor
from lacunet.prediction.windows import Windows
from lacunet.task import Task as TaskOfModel
from lacunet.task import get_task

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Loading:
    """How a predictor is loaded, wherever that is.

    Attributes:
        model: A shipped model, a model folder or a run; or several, with commas.
        precision: Of its arithmetic.
        window: Voxels of a window's side; 0 sends the whole brain through at once.
        method_file: Of a method that is not of the package.
        task: Of the cases, where it is not the model's own.
        mirror: Mirror images over which logits are averaged.
    """

    model: str
    precision: Precision = "auto"
    window: int = 0
    method_file: Path | None = None
    task: str | None = None
    mirror: Mirror = "none"

    def on(self, place: Place) -> Predictor:
        """Load it; see `load_models` and `Predictor` for the errors."""
        windows = Windows((self.window,) * 3 if self.window else None, share=place.share)
        models = load_models(self.model, self.method_file)
        if self.task is not None:
            models = [for_task(one, get_task(self.task)) for one in models]
        return Predictor(models, place.device, self.precision, windows, self.mirror)


@dataclass(frozen=True)
class Team:
    """Predictors on the workers of a crew.

    Attributes:
        crew: Where the workers are.
        task: Of the predictors.
        predictor_on: Loads the predictor of a worker.
    """

    crew: Crew
    task: TaskOfModel
    predictor_on: Callable[[Place], Predictor]

    def run(self, tasks: Sequence[Task], work: Callable[[Predictor, Task], Result]) -> Iterator[Result | Lost]:
        """`work` of each task with a worker's predictor; see `Crew.run`.

        Args:
            tasks: Can be pickled.
            work: A function of a module, or a `partial` of one.
        """
        return self.crew.run(tasks, partial(_worker, self.predictor_on, work))


def as_team(predictor: Predictor | Team) -> Team:
    """A predictor as a team of one, which works in this process; a team as it is."""
    if isinstance(predictor, Team):
        return predictor
    return Team(Here(str(predictor.device)), predictor.model.task, lambda place: predictor)


def _worker(
    predictor_on: Callable[[Place], Predictor], work: Callable[[Predictor, Task], Result], place: Place
) -> Callable[[Task], Result]:
    return partial(work, predictor_on(place))
