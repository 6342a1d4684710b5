"""A command that is stopped cleans up: signals become an exception, so that every `with` block ends as it should."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, a polite kill, a closed terminal, Ctrl-Break on Windows; not every system has all."""


class Stopped(SystemExit):
    """The command was stopped by a signal.

    Attributes:
        status: 128 plus the number of the signal, as shells have it.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within the block, a signal that asks to stop raises `Stopped` in the main thread; further ones are then ignored,
    so that the cleaning up can end.

    A signal that is ignored already stays so (nohup). Outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for one in taken:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(128 + number)

    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


def leave(status: int) -> NoReturn:
    """End the program after its `with` blocks have ended, without waiting for threads that still compute."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the terminal may be closed
            stream.flush()
    if threading.active_count() > 1:
        os._exit(status)
    sys.exit(status)
