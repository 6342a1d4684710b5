"""Workers that are processes of this machine."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Lock
from typing import Any, Generic

from lacunet.crew.crew import (
    MOST_DEATHS,
    Done,
    Lost,
    MakeWorker,
    Place,
    Raised,
    Result,
    Task,
    compute_on,
    end_on,
    outcome_of,
)
from lacunet.crew.memory import share_of
from lacunet.crew.shared_out import shared_out

_PATIENCE_SECONDS = 10.0
"""How long a worker that is to end may clean up."""


@dataclass(frozen=True)
class Processes:
    """So many processes, each with as many threads as this one.

    A program that uses it needs the usual `if __name__ == "__main__":`, since each process imports it anew.

    Attributes:
        number: How many.
        devices: Where they compute: the first process on the first device, and so on, in turn.
    """

    number: int
    devices: tuple[str, ...] = ("auto",)

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker[Task, Result]) -> Iterator[Result | Lost]:
        """See `Crew.run`. A task whose process dies is given to a new one."""
        import torch  # the commands that need no crew answer at once

        if not tasks:
            return
        number = min(self.number, len(tasks))
        share = share_of(number, -(-number // len(self.devices)))
        places = [Place(device, share) for device in islice(cycle(self.devices), number)]
        yield from shared_out([_Hand(make_worker, place, torch.get_num_threads()) for place in places], tasks)


class _Hand(Generic[Task, Result]):
    """A process that does one task at a time; it starts with the first task, and again if it died."""

    def __init__(self, make_worker: MakeWorker[Task, Result], place: Place, threads: int) -> None:
        self._start = (make_worker, place, threads)
        self._begun: tuple[SpawnProcess, Connection] | None = None
        self._ended = False
        self._lock = Lock()

    def do(self, task: Task) -> Done[Result] | Raised | Lost:
        for _ in range(MOST_DEATHS):
            connection = self._connection()
            if connection is None:
                break
            try:
                connection.send(task)
                answer: Done[Result] | Raised = connection.recv()
            except (EOFError, OSError):  # it died
                self._leave()
            else:
                return answer
        return Lost()

    def end(self) -> None:
        with self._lock:
            self._ended, begun = True, self._begun
        if begun is not None:
            process, _ = begun
            process.terminate()
            process.join(_PATIENCE_SECONDS)
            process.kill()

    def _connection(self) -> Connection | None:
        """To the process, which is started where there is none; None after the end."""
        with self._lock:
            if self._ended:
                return None
            if self._begun is None:
                context = multiprocessing.get_context("spawn")
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(there, *self._start))
                process.start()
                there.close()  # so that the end of the process is the end of the connection
                self._begun = process, here
            return self._begun[1]

    def _leave(self) -> None:
        """Forget a process that died."""
        with self._lock:
            if self._begun is not None and not self._ended:
                process, connection = self._begun
                connection.close()
                process.join()
                self._begun = None


def _serve(connection: Connection, make_worker: MakeWorker[Any, Any], place: Place, threads: int) -> None:
    """Do what comes through the connection, until its other end is closed or its process has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the first one ends us
    end_on(signal.SIGTERM)
    compute_on(threads)
    made = outcome_of(make_worker, place)
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            connection.send(made if isinstance(made, Raised) else outcome_of(made.result, task))
