"""The crew that words on the command line name: `--on processes:4 --device cuda:0,1`."""

from lacunet.crew.cores import usable_cores
from lacunet.crew.crew import Crew, Here
from lacunet.crew.on_ray import OnRay
from lacunet.crew.on_slurm import OnSlurm, read_options
from lacunet.crew.processes import Processes
from lacunet.errors import UsageError

ALLOWED = "here, processes:4, ray, ray:ADDRESS, slurm or slurm:KEY=VALUE,..."


def crew_of(on: str = "here", device: str = "auto") -> Crew:
    """The crew for `--on` and `--device`; several devices (`cuda:0,1`) have a process each.

    Raises:
        UsageError: a word that is not known, or several devices on a cluster, which gives each worker its own.
    """
    devices = _devices(device)
    kind, colon, rest = on.partition(":")
    if kind == "here" and not colon:
        return Here(device) if len(devices) == 1 else Processes(len(devices), devices)
    if kind == "processes":
        return Processes(_number(on, rest), devices)
    if kind in ("ray", "slurm") and len(devices) > 1:
        raise UsageError(f"--device {device}: {kind} gives each worker a GPU of its own; use --device cuda")
    if kind == "ray" and (rest or not colon):
        return OnRay(rest, device)
    if kind == "slurm" and (rest or not colon):
        return OnSlurm(read_options(rest), device)
    raise UsageError(f"--on {on}: expected {ALLOWED}")


def crowding(crew: Crew, threads: int) -> str:
    """A sentence where processes have more threads together than this process may use cores; else "".

    Args:
        crew: Any.
        threads: Of each worker.
    """
    cores = usable_cores()
    if not isinstance(crew, Processes) or any(device.startswith("cuda") for device in crew.devices):
        return ""
    if crew.number * threads <= max(cores, crew.number):
        return ""
    each = max(1, cores // crew.number)
    return (
        f"{crew.number} processes of {threads} threads each share {cores} cores; OMP_NUM_THREADS={each} before the "
        "command makes it quicker"
    )


def _devices(device: str) -> tuple[str, ...]:
    """`cuda:0,1` -> `cuda:0` and `cuda:1`."""
    kind, colon, numbers = device.partition(":")
    if "," not in device:
        return (device,)
    each = [number.strip() for number in numbers.split(",")]
    if not colon or not all(number.isdecimal() for number in each) or len({*map(int, each)}) < len(each):
        raise UsageError(f"--device {device}: expected different numbers with commas between, such as cuda:0,1")
    return tuple(f"{kind}:{int(number)}" for number in each)


def _number(on: str, words: str) -> int:
    if not words.isdecimal() or not 1 <= int(words) <= _MOST_PROCESSES:
        raise UsageError(f"--on {on}: expected how many, from 1 to {_MOST_PROCESSES}, such as processes:4")
    return int(words)


_MOST_PROCESSES = 1024
