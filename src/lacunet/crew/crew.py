"""What every crew does: it gives tasks to workers, and returns their results in the order of the tasks."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Generic, NoReturn, Protocol, TypeVar, runtime_checkable

from lacunet.crew.memory import ALONE, Share

Task = TypeVar("Task")
Result = TypeVar("Result")

Work = Callable[[Task], Result]
"""What a worker does with a task. Tasks and results can be pickled."""


@dataclass(frozen=True)
class Place:
    """Where a worker is.

    Attributes:
        device: It computes there: `cpu`, `cuda:1`, `auto`.
        share: Of the memory that it shares with other workers.
    """

    device: str = "auto"
    share: Share = ALONE


MakeWorker = Callable[[Place], Work[Task, Result]]
"""Makes a worker, once in each place where tasks are done. It can be pickled; what it loads need not be."""

MOST_DEATHS = 2
"""A task whose worker died so often, each time in the middle of it, is given up."""


@dataclass(frozen=True)
class Lost:
    """Takes the place of a result: the task's worker died, on each of its tries.

    Attributes:
        words: What happened, and what to do.
    """

    words: str = (
        f"its worker died {MOST_DEATHS} times while it was at work on it (killed, or out of memory); give each worker "
        "more memory, or use smaller windows (--window 96)"
    )


@runtime_checkable
class Crew(Protocol):
    """Where tasks are done."""

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker[Task, Result]) -> Iterator[Result | Lost]:
        """Do each task.

        Args:
            tasks: Each is done by one worker, in no order that a task may rely on.
            make_worker: See `MakeWorker`.

        Yields:
            Their results, in the order of the tasks, each as soon as it and those before it are there.

        Raises:
            Exception: the first that a worker raised, in the order of the tasks, or that `make_worker` raised.
        """


@dataclass(frozen=True)
class Here:
    """One task after the other, in this process; each begins when the result before it has been taken.

    Attributes:
        device: Of the one worker.
    """

    device: str = "auto"

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker[Task, Result]) -> Iterator[Result | Lost]:
        """See `Crew.run`."""
        if tasks:
            yield from map(make_worker(Place(self.device)), tasks)


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What a worker sends back.

    Attributes:
        result: Of the task.
    """

    result: Result


@dataclass(frozen=True)
class Raised:
    """What a worker sends back of a task that raised an exception: an engine would change its kind or its words.

    Attributes:
        error: The exception.
    """

    error: Exception


def compute_on(threads: int) -> None:
    """Let torch compute on so many threads in this process, where it was loaded with the worker's code; else on any."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


def end_on(*numbers: signal.Signals) -> None:
    """Let signals end this process by way of every `with` block, so that no copy of a scan is left behind."""
    for number in numbers:
        signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def outcome_of(work: Work[Task, Result], task: Task) -> Done[Result] | Raised:
    """The result of a task, or what it raised."""
    try:
        return Done(work(task))
    except Exception as error:
        return Raised(error)


def result_of(outcome: Done[Result] | Raised | Lost) -> Result | Lost:
    """The result that a worker sent back.

    Raises:
        Exception: what the task raised.
    """
    match outcome:
        case Raised(error):
            raise error
        case Done(result):
            return result
        case Lost():
            return outcome
