"""Workers that crews are tested with; each process imports them by name."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lacunet.crew.crew import Place
from lacunet.errors import DataError


@dataclass(frozen=True)
class Squares:
    """Squares of numbers, each with the process that computed it and how many workers this one has made so far."""

    folder: Path

    def __call__(self, place: Place) -> "Callable[[int], tuple[int, int, str]]":
        with (self.folder / f"made-{os.getpid()}").open("a") as file:
            file.write("x")

        def square(number: int) -> tuple[int, int, str]:
            time.sleep(0.05)
            return number * number, os.getpid(), place.device

        return square


@dataclass(frozen=True)
class Deadly:
    """A number at which its worker gets a signal as often as is said: it is killed, as the system does where memory is
    short, or told that its job's time is over."""

    folder: Path
    number: int
    times: int
    gets: signal.Signals = signal.SIGKILL

    def __call__(self, place: Place) -> "Callable[[int], int]":
        def work(number: int) -> int:
            if number == self.number:
                before = len(list(self.folder.glob("died-*")))
                if before < self.times:
                    (self.folder / f"died-{before}").touch()
                    os.kill(os.getpid(), self.gets)
            return number

        return work


def refusing(place: Place) -> Callable[[int], int]:
    """A worker that refuses the number 2."""

    def work(number: int) -> int:
        if number == 2:
            raise DataError("case-2: is damaged; export it again")
        return number

    return work


def never_made(place: Place) -> Callable[[int], int]:
    """No worker at all: what it needs is not there."""
    raise DataError("the model is not there; name another")


def where_it_is(place: Place) -> Callable[[int], Place]:
    """A worker that answers with its place."""

    def work(number: int) -> Place:
        return place

    return work
