"""Damages every format and counts what becomes of the mutants.

    PYTHONPATH=tests python -m fuzz.run --mutants 10000

It prints a table in Markdown, then the faults, if there are any; its exit status is 1 then. `--formats` and `--first`
repeat a few of them: the number of a mutant is its seed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from fuzz.formats import Reading

TESTS = Path(__file__).resolve().parents[1]

BYTES = 2**28
"""The most memory that the process may take beside what it has at the start: each sample has fewer than 12 KiB."""

SECONDS = 10.0
"""The longest time for one mutant."""


@dataclass(frozen=True)
class Tally:
    """What became of the mutants of a format.

    Attributes:
        format: Its name.
        mutants: How many.
        refused: With a LacunetError.
        read: Whose damage does no harm, or changes numbers that may be others.
        faults: All else.
        seconds: The longest time for one.
        mebibytes: The most memory for one.
    """

    format: str
    mutants: int
    refused: int
    read: int
    faults: tuple[Reading, ...]
    seconds: float
    mebibytes: float


def fuzz(
    names: Sequence[str],
    first: int,
    last: int,
    module: str = "fuzz.readers",
    seconds: float = SECONDS,
    most: int = BYTES,
) -> list[Reading]:
    """Read mutants `first` to `last` (left out) of formats, in one process after another until all are read."""
    found: list[Reading] = []
    waiting = {name: first for name in names if first < last}
    while waiting:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as base:
            found += _one_process(waiting, last, Path(base), module, seconds, most)
        done = {name: max(one.number for one in own) + 1 for name, own in groupby(found, lambda one: one.format)}
        waiting = {name: done.get(name, start) for name, start in waiting.items() if done.get(name, start) < last}
    return found


def _one_process(
    waiting: dict[str, int], last: int, base: Path, module: str, seconds: float, most: int
) -> list[Reading]:
    """What one process finds. Where it ends early, the mutant that it was reading is a fault, and the last one."""
    wanted = [f"{name}:{start}:{last}" for name, start in waiting.items()]
    command = [sys.executable, "-m", "fuzz.worker", module, str(base / "inside"), str(most), str(seconds), *wanted]
    (base / "inside").mkdir()
    found: list[Reading] = []
    printed = ""
    with (
        (base / "stderr").open("w+b") as complaints,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, errors="replace", env=_environment()
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            try:
                found.append(Reading(**json.loads(line)))
            except (ValueError, TypeError):
                printed += line
        status = process.wait()
        complaints.seek(0)
        said = (printed + complaints.read().decode("utf-8", "replace")).strip()
    beside = sorted(path.name for path in base.iterdir() if path.name not in ("inside", "stderr"))
    told = {one.format: one.number + 1 for one in found}
    unread = [(name, told.get(name, start)) for name, start in waiting.items() if told.get(name) != last]
    if status == 0 and not (said or beside or unread):
        return found
    name, number = unread[0] if unread else (found[-1].format, last - 1)
    return [*found, Reading(name, number, "other", f"exit {status}; made {beside}; printed {said}"[:1200])]


def _environment() -> dict[str, str]:
    """Of a process that finds these modules, and computes on one thread."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def tallies(readings: Sequence[Reading]) -> list[Tally]:
    """Counts by format, in the order in which they come."""
    by_format: dict[str, list[Reading]] = {}
    for one in readings:
        by_format.setdefault(one.format, []).append(one)
    return [
        Tally(
            name,
            len({one.number for one in own}),
            sum(one.result == "refused" for one in own),
            sum(one.result == "read" for one in own),
            tuple(one for one in own if one.result == "other"),
            max(one.seconds for one in own),
            max(one.kibibytes for one in own) / 1024,
        )
        for name, own in by_format.items()
    ]


def table(found: Sequence[Tally]) -> str:
    """In Markdown."""
    lines = ["| input | mutants | refused | read | others | longest | most memory |", "|---|--:|--:|--:|--:|--:|--:|"]
    for one in found:
        lines.append(
            f"| {one.format} | {one.mutants:,} | {one.refused:,} | {one.read:,} | {len(one.faults)} | "
            f"{one.seconds:.2f} s | {one.mebibytes:.0f} MiB |"
        )
    return "\n".join(lines)


def main() -> None:
    """The table for the command line."""
    from fuzz.readers import all_formats

    known = [one.name for one in all_formats()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=200, help="of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--formats", nargs="*", default=known, choices=known, metavar="NAME", help="all by default")
    parser.add_argument("--processes", type=int, default=1, help="that read at the same time")
    wanted = parser.parse_args()
    with ThreadPoolExecutor(wanted.processes) as pool:
        parts = pool.map(lambda name: fuzz([name], wanted.first, wanted.first + wanted.mutants), wanted.formats)
        found = tallies([reading for part in parts for reading in part])
    faults = [fault for one in found for fault in one.faults]
    told = [f"\n{fault.format}, mutant {fault.number}: {fault.words}" for fault in faults]
    sys.stdout.write("\n".join([table(found), *told, ""]))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
