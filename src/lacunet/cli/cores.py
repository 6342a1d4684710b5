"""Work on many cases that reads files and needs no network: all cores share it."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

FEW = 100
"""Starting processes takes longer than looking at so many cases."""


def over_cores(work: Callable[[Item], Result], items: Sequence[Item], few: int = FEW) -> Iterator[Result]:
    """`work` of each item, in their order; several processes share them where there are many items and cores.

    Args:
        work: Can be pickled, as must be its results.
        items: Can be pickled.
        few: Up to so many are done by this process.
    """
    cores = _cores()
    if len(items) <= few or cores < 2:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:  # what is forked would have this process's threads
        yield from pool.map(work, items, chunksize=max(1, min(50, len(items) // (4 * cores))))


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
