"""What the benchmark scripts share: the two cores, the clock, the table. Imports nothing heavy."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median


def use_cores(count: int = 2) -> int:
    """Keep this process, its threads and its children to so many cores; to be called before torch is imported.

    `OMP_NUM_THREADS` says otherwise for the threads where it is set.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
        count = len(os.sched_getaffinity(0))
    os.environ.setdefault("OMP_NUM_THREADS", str(count))
    return count


def conditions(cores: int, *packages: str) -> str:
    """The machine and the versions, in one line."""
    from lacunet.environment import processor

    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    machine = f"{cores} cores of {processor()}, OMP_NUM_THREADS {os.environ['OMP_NUM_THREADS']}"
    return f"{machine}; Python {platform.python_version()}, {versions}."


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turns(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The median seconds of each function; they run one after another, so many rounds, after one that is not counted.

    What slows the machine for a while then slows all of them.
    """
    rounds = [[seconds(function) for function in functions] for _ in range(repeats + 1)]
    return [median(column) for column in zip(*rounds[1:], strict=True)]


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A markdown table."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def run_python(code: str, *arguments: str) -> None:
    """Run a little program in a process of its own, so that what it loads is not measured here."""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


def write_phantom(folder: Path, seed: int, spacing: float) -> Path:
    """The folder of one invented patient with all four sequences and a reference, made in another process."""
    code = "import sys; from pathlib import Path; from lacunet.task import GLIOMA; "
    code += "from lacunet.data.phantom.phantom import write_phantom as write; "
    run_python(f"{code} write(Path(sys.argv[1]), {seed}, GLIOMA, spacing={spacing})", str(folder))
    return folder / f"phantom-{seed:05d}-000"
