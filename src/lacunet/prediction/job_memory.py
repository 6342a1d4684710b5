"""How much memory this process may still take: what the machine has, and what its job is allowed.

A cluster gives a job a part of a machine. On Linux that part is a control group ("cgroup"), whose limit the machine's
own numbers do not show: whoever takes more is killed. A group lies in other groups, and each may have a limit; what
counts is the least that any of them has left.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil
import torch

PROCESS = Path("/proc/self")
"""What Linux tells a process of itself."""

_UNLIMITED = 2**60
"""Version 1 of cgroups writes a number about as large as the machine can count where there is no limit."""


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process may still take on a device; None where the system does not tell.

    Of a GPU, what is free on it. Else the least of these: what the machine has, with what it holds of files and would
    give back; what is left of the limits of the job that this process belongs to; and of its own (`ulimit -v`).
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    known = [left for left in (_free_on_the_machine(), left_in_cgroups(), _left_of_own_limit()) if left is not None]
    return min(known, default=None)


def left_in_cgroups(process: Path = PROCESS) -> int | None:
    """Bytes that the control groups of a process leave it: the least of all that it lies in; None without any limit.

    Args:
        process: Has the files `cgroup` (which groups) and `mountinfo` (where their files are), as in `/proc/self`.
    """
    found = [_left(group, names) for names in (_VERSION_2, _VERSION_1) for group in _groups(process, names)]
    return min((left for left in found if left is not None), default=None)


def _free_on_the_machine() -> int | None:
    try:
        return int(psutil.virtual_memory().available)
    except (OSError, RuntimeError, NotImplementedError, psutil.Error):
        return None


def _left_of_own_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource  # there is none on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else max(0, limit - int(psutil.Process().memory_info().vms))


@dataclass(frozen=True)
class _Names:
    """What the files of a version of cgroups are called.

    Attributes:
        system: The kind of file system.
        controller: In the options of its mount and in the line of a group; "" where one tree has all controllers.
        limits: Files of a limit each.
        used: The file of the bytes in use, files that the system remembers included.
        remembered: In `memory.stat`, bytes of files that the system would give back.
    """

    system: str
    controller: str
    limits: tuple[str, ...]
    used: str
    remembered: tuple[str, ...]


_VERSION_2 = _Names(
    "cgroup2", "", ("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file")
)  # whoever passes memory.high is not killed, but slowed down until nothing moves
_VERSION_1 = _Names(
    "cgroup",
    "memory",
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def _groups(process: Path, names: _Names) -> Iterator[Path]:
    """The folder of the process's group, and of all groups around it."""
    own = _own_group(process, names)
    mount = _mount(process, names)
    if own is None or mount is None:
        return
    root, place = mount
    known = own.is_relative_to(root) and ".." not in own.parts  # else it is named as seen from outside a container
    folder = place / own.relative_to(root) if known else place
    while True:
        if folder.is_dir():
            yield folder
        if folder == place or place not in folder.parents:
            return
        folder = folder.parent


def _own_group(process: Path, names: _Names) -> PurePosixPath | None:
    """`/slurm/job_7`, from a line such as `4:memory:/slurm/job_7` or `0::/slurm/job_7`."""
    for line in _lines(process / "cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if names.controller in controllers.split(","):
            return PurePosixPath(group)
    return None


def _mount(process: Path, names: _Names) -> tuple[PurePosixPath, Path] | None:
    """The group that is mounted, and where: `30 23 0:26 ROOT PLACE rw,... - cgroup2 cgroup2 rw,OPTIONS`."""
    for line in _lines(process / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] != names.system:
            continue
        if not names.controller or names.controller in kind[2].split(","):
            return PurePosixPath(_unescaped(fields[3])), Path(_unescaped(fields[4]))
    return None


def _left(group: Path, names: _Names) -> int | None:
    """What a group's limit leaves; None where it has none."""
    limits = [limit for name in names.limits if (limit := _number(group / name)) is not None and limit < _UNLIMITED]
    if not limits:
        return None
    used = _number(group / names.used) or 0
    remembered = sum(
        int(value)
        for name, _, value in (line.partition(" ") for line in _lines(group / "memory.stat"))
        if name in names.remembered and value.isdigit()
    )
    return max(0, min(limits) - max(0, used - remembered))


def _number(file: Path) -> int | None:
    """The number in a file; None where there is no file, or it says `max`."""
    text = next(_lines(file), "")
    return int(text) if text.isdigit() else None


def _lines(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # another system, or a group that is not ours to read
        return
    yield from (line.strip() for line in text.splitlines())


def _unescaped(text: str) -> str:
    r"""A path in `mountinfo`, where a space is written `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
