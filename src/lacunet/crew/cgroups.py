"""What the job of this process is allowed on Linux: the limits of its control groups ("cgroups"), in both versions.

A cluster or a container gives a job a part of a machine, which the machine's own numbers do not show: who takes more
memory is killed, and who starts more threads waits. A group lies in other groups, and each may have limits; what counts
is the least that any of them leaves.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROCESS = Path("/proc/self")
"""What Linux tells a process of itself."""

_UNLIMITED = 2**60
"""Version 1 of cgroups writes a number about as large as the machine can count where there is no limit."""


def memory_left(process: Path = PROCESS) -> int | None:
    """Bytes that the control groups of a process leave it: the least of all that it lies in; None without any limit.

    Args:
        process: Has the files `cgroup` (which groups) and `mountinfo` (where their files are), as in `/proc/self`.
    """
    found = [_left(group, names) for names in (_VERSION_2, _VERSION_1) for group in _groups(process, names.tree)]
    return min((left for left in found if left is not None), default=None)


def cores_allowed(process: Path = PROCESS) -> float | None:
    """Cores whose time the control groups of a process give it, such as 1.5; None without any limit.

    Args:
        process: See `memory_left`.
    """
    quotas = [_quota_2(group) for group in _groups(process, _VERSION_2.tree)]
    quotas += [_quota_1(group) for group in _groups(process, _CORES_1)]
    return min((quota for quota in quotas if quota is not None), default=None)


@dataclass(frozen=True)
class _Tree:
    """Where the files of groups are.

    Attributes:
        system: The kind of file system.
        controller: In the options of its mount and in the line of a group; "" where one tree has all controllers.
    """

    system: str
    controller: str


@dataclass(frozen=True)
class _Names:
    """What the files of memory are called in a version of cgroups.

    Attributes:
        tree: Where they are.
        limits: Files of a limit each.
        used: The file of the bytes in use, files that the system remembers included.
        remembered: In `memory.stat`, bytes of files that the system would give back.
    """

    tree: _Tree
    limits: tuple[str, ...]
    used: str
    remembered: tuple[str, ...]


_CORES_1 = _Tree("cgroup", "cpu")
_VERSION_2 = _Names(
    _Tree("cgroup2", ""), ("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file")
)  # whoever passes memory.high is not killed, but slowed down until nothing moves
_VERSION_1 = _Names(
    _Tree("cgroup", "memory"),
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def _quota_2(group: Path) -> float | None:
    """Of `cpu.max`, microseconds of work in so many of time: `150000 100000`; `max` where there is no limit."""
    work, _, time = next(_lines(group / "cpu.max"), "").partition(" ")
    return int(work) / int(time) if work.isdigit() and time.isdigit() and int(time) else None


def _quota_1(group: Path) -> float | None:
    """The same in two files; -1 where there is no limit."""
    work, time = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    return work / time if work and time else None


def _groups(process: Path, tree: _Tree) -> Iterator[Path]:
    """The folder of the process's group, and of all groups around it."""
    own = _own_group(process, tree)
    mount = _mount(process, tree)
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


def _own_group(process: Path, tree: _Tree) -> PurePosixPath | None:
    """`/slurm/job_7`, from a line such as `4:memory:/slurm/job_7` or `0::/slurm/job_7`."""
    for line in _lines(process / "cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if tree.controller in controllers.split(","):
            return PurePosixPath(group)
    return None


def _mount(process: Path, tree: _Tree) -> tuple[PurePosixPath, Path] | None:
    """The group that is mounted, and where: `30 23 0:26 ROOT PLACE rw,... - cgroup2 cgroup2 rw,OPTIONS`."""
    for line in _lines(process / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] != tree.system:
            continue
        if not tree.controller or tree.controller in kind[2].split(","):
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
