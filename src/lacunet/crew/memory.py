"""How much memory this process may still take: of what the machine has, its job is allowed, and its crew leaves it."""

import sys
from dataclasses import dataclass

import psutil

from lacunet.crew.cgroups import memory_left


@dataclass(frozen=True)
class Share:
    """A worker's part of what it shares with the other workers of its crew.

    Attributes:
        memory: Bytes of the machine's memory that it may hold in all; None: whatever is free.
        on_device: Workers on its GPU, which divide that GPU's memory.
    """

    memory: int | None = None
    on_device: int = 1


ALONE = Share()
"""Of a process that shares with no other worker."""


def share_of(workers: int, on_device: int = 1) -> Share:
    """The share of each of so many workers that are about to start on this machine, in what is free now."""
    free = _free_of_job()
    return Share(None if free is None or workers < 2 else free // workers, on_device)


def free_memory(share: Share = ALONE) -> int | None:
    """Bytes of the machine's memory that this process may still take; None where the system does not tell.

    The least of these: what the machine has, with what it holds of files and would give back; what is left of the
    limits of the job that this process belongs to; of its own (`ulimit -v`); and of its share.
    """
    known = [left for left in (_free_of_job(), _left_of_own_limit(), _left_of_share(share)) if left is not None]
    return min(known, default=None)


def _free_of_job() -> int | None:
    known = [left for left in (_free_on_the_machine(), memory_left()) if left is not None]
    return min(known, default=None)


def _free_on_the_machine() -> int | None:
    try:
        return int(psutil.virtual_memory().available)
    except (OSError, RuntimeError, NotImplementedError, psutil.Error):
        return None


def _left_of_share(share: Share) -> int | None:
    return None if share.memory is None else max(0, share.memory - int(psutil.Process().memory_info().rss))


def _left_of_own_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource  # there is none on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else max(0, limit - int(psutil.Process().memory_info().vms))
