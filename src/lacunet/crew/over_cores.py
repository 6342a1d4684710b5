"""Work on many cases that reads files and needs no network: all cores share it.

It is no crew: a crew gives one task at a time to workers that load torch, which takes longer than looking at a small
case. Here many tasks go at once to processes that load what the work needs.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from lacunet.crew.cores import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

FEW = 100
"""Starting processes takes longer than looking at so many cases."""


def over_cores(
    work: Callable[[Item], Result], items: Sequence[Item], few: int = FEW, commands: int = 1
) -> Iterator[Result]:
    """`work` of each item, in their order; several processes share them where there are many items and cores.

    Args:
        work: Can be pickled, as must be its results.
        items: Can be pickled.
        few: Up to so many are done by this process.
        commands: So many do the same on this machine at this moment: the processes of one training.
    """
    cores = usable_cores() // commands
    if len(items) <= few or cores < 2:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:  # what is forked would have this process's threads
        yield from pool.map(work, items, chunksize=max(1, min(50, len(items) // (4 * cores))))
