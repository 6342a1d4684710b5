"""Tasks that go to whichever worker is free: a thread for each worker waits for its answers."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol, runtime_checkable

from lacunet.crew.crew import Done, Lost, Raised, Result, Task, result_of


@runtime_checkable
class Hand(Protocol[Task, Result]):
    """One worker, somewhere."""

    def do(self, task: Task) -> Done[Result] | Raised | Lost:
        """Do a task, and wait for it."""

    def end(self) -> None:
        """End the worker, also in the middle of a task; `do` then returns or raises soon."""


def shared_out(hands: "Sequence[Hand[Task, Result]]", tasks: Sequence[Task]) -> Iterator[Result | Lost]:
    """The results of tasks, in their order; the workers are ended afterwards, also if the iterator is closed early.

    Raises:
        Exception: see `Crew.run`.
    """
    free: SimpleQueue[Hand[Task, Result]] = SimpleQueue()
    for hand in hands:
        free.put(hand)

    def done(task: Task) -> Done[Result] | Raised | Lost:
        hand = free.get()
        try:
            return hand.do(task)
        finally:
            free.put(hand)

    threads = ThreadPoolExecutor(len(hands))
    try:
        yield from map(result_of, threads.map(done, tasks))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        with ThreadPoolExecutor(len(hands)) as enders:
            list(enders.map(lambda hand: hand.end(), hands))
        threads.shutdown()
