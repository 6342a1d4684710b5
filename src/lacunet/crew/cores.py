"""How many cores this process may use: the one count of all commands."""

import math
import os

from lacunet.crew.cgroups import cores_allowed


def usable_cores() -> int:
    """Those that it is bound to (affinity), and no more than its job has the time of, a part of a core counted as one.

    SLURM and `taskset` bind a process; Docker and Kubernetes limit its time (`--cpus 1.5`).
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = cores_allowed()
    return bound if allowed is None else max(1, min(bound, math.ceil(allowed)))
