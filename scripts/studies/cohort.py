"""How long a cohort takes on many workers, and what they wait for: the disk, the table of sources, or memory.

    python scripts/studies/cohort.py [--model default] [--spacing 1] [--patients 2] [--workers 1,10,50,100]
                                     [--disk 100,1000] [--node 128] [--measured stages.json]

First the stages of `lacunet segment` are measured on invented patients, one core, in seconds of the processor, which
other programs do not change much: reading (checksums of the files, voxels), preparing, network (with everything that is
said of a mask), writing, and adding a case to `sources.csv`. Then a simulation follows every worker through its cases.
Each worker has a core of its own; one disk serves all reading and writing in turn, at so many MB a second; the table is
written by one worker at a time, or each case has its own table and these are gathered at the end (`--on`).
"""

import argparse
import heapq
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np

SPREAD = 0.2
"""Deviation of the logarithm of a case's seconds: brains and fields of view differ in size."""

Resource = Literal["core", "disk", "table"]


@dataclass(frozen=True)
class Stages:
    """What a case takes on average.

    Attributes:
        reading: Seconds of one core, as those that follow.
        preparing: To the network's grid.
        network: Masks of all subsets that are compared, and what is said of them.
        writing: Mask, page and record.
        table: A table without any row gets the rows of a case.
        table_row: More for each case that the table has.
        read: Bytes from the disk.
        written: Bytes to the disk.
        memory: Bytes of a worker, at most.
    """

    reading: float
    preparing: float
    network: float
    writing: float
    table: float
    table_row: float
    read: float
    written: float
    memory: float

    @property
    def core(self) -> float:
        """Seconds of one core."""
        return self.reading + self.preparing + self.network + self.writing


@dataclass(frozen=True)
class Outcome:
    """How a simulated cohort went.

    Attributes:
        seconds: From the first case to the last.
        busy: The share of the time in which the cores of all workers, the disk and the table were at work.
    """

    seconds: float
    busy: dict[Resource, float]


def simulate(
    stages: Stages, cases: int, workers: int, disk: float, *, one_table: bool, spread: float = SPREAD, seed: int = 1
) -> Outcome:
    """Follow every worker through its cases; whoever is free takes the next one.

    Args:
        stages: Of a case.
        cases: How many.
        workers: How many, each with its own core.
        disk: Bytes a second that the disk reads or writes; whoever comes first is served first.
        one_table: All write into one table, one after another; else it is made at the end, by one of them.
        spread: Deviation of the logarithm of a case's seconds.
        seed: Of the cases' sizes.
    """
    sizes = np.random.default_rng(seed).lognormal(-(spread**2) / 2, spread, cases)
    free = {"disk": 0.0, "table": 0.0}
    worked: dict[Resource, float] = {"core": 0.0, "disk": 0.0, "table": 0.0}
    rows = 0

    def life(size: float) -> Iterator[tuple[Resource, float]]:
        yield "disk", size * stages.read / disk
        yield "core", size * stages.core
        yield "disk", size * stages.written / disk
        if one_table:
            yield "table", stages.table + rows * stages.table_row

    waiting = iter(sizes)
    events = [(0.0, worker, iter(())) for worker in range(workers)]
    end = 0.0
    while events:
        now, worker, steps = heapq.heappop(events)
        step = next(steps, None)
        if step is None:
            end = max(end, now)
            if (size := next(waiting, None)) is not None:
                heapq.heappush(events, (now, worker, life(float(size))))
            continue
        what, seconds = step
        begin = now if what == "core" else max(now, free[what])
        if what != "core":
            free[what] = begin + seconds
        rows += what == "table"
        worked[what] += seconds
        heapq.heappush(events, (begin + seconds, worker, steps))
    if not one_table:
        worked["table"] = stages.table + cases * stages.table_row
        end += worked["table"]
    return Outcome(end, {what: worked[what] / end / (workers if what == "core" else 1) for what in worked})


def measure(model: str, spacing: float, patients: int, folder: Path) -> Stages:
    """The stages of invented patients, in seconds of the processor."""
    from lacunet.data.find import find_cases
    from lacunet.data.nifti import load_case
    from lacunet.data.phantom.phantom import write_phantoms
    from lacunet.data.prepare import frame_of, prepare_images
    from lacunet.data.source_table import rows_of_files
    from lacunet.models.model import load_model
    from lacunet.prediction.predictor import Predictor
    from lacunet.segmentation.answer import ask
    from lacunet.segmentation.layout import places
    from lacunet.segmentation.write import SegmentSettings, write

    write_phantoms(folder / "cases", patients, 1, spacing=spacing)
    loaded = load_model(model)
    predictor, settings = Predictor(loaded, "cpu"), SegmentSettings()
    found: dict[str, list[float]] = {name: [] for name in ("reading", "preparing", "network", "writing")}
    files = [replace(one, reference=None) for one in find_cases(folder / "cases")]
    for number, one in enumerate([files[0], *files]):  # the first loads libraries, and is not counted
        ticks = [time.process_time()]
        rows_of_files(one)  # checksums
        ticks.append(time.process_time())
        case = load_case(one, loaded.task)
        ticks.append(time.process_time())
        subset = case.acquired(loaded.task)
        frame = frame_of(case, subset, loaded.preparation)
        prepare_images(case, loaded.task, loaded.preparation, frame)
        ticks.append(time.process_time())
        answer = ask(predictor, one)
        ticks.append(time.process_time())
        write(answer, places(folder / "out", f"case-{number}", "plain"), settings)
        ticks.append(time.process_time())
        if number:
            sums, loading, preparing, asking, writing = np.diff(ticks)  # `ask` reads and prepares the case again
            network = asking - loading - preparing
            for name, seconds in zip(found, (sums + loading, preparing, network, writing), strict=True):
                found[name].append(float(seconds))
    table, table_row = measure_table(folder / "table")
    return Stages(
        **{name: fmean(seconds) for name, seconds in found.items()},
        table=table,
        table_row=table_row,
        read=fmean(sum(image.path.stat().st_size for image in one.images.values()) for one in files),
        written=sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file()) / (len(files) + 1),
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def measure_table(folder: Path, cases: int = 1000) -> tuple[float, float]:
    """Seconds to add a case to an empty table of sources, and more for each case that is there."""
    from lacunet.data.source_table import SourceRow, write_sources

    def rows(name: str) -> list[SourceRow]:
        files = (f"{name}/{name}-t1c.nii.gz",)
        return [SourceRow(name, "/data/cases", role, files=files, sha256="0" * 64) for role in ("t1n", "t1c", "t2w")]

    def seconds(name: str) -> float:
        start = time.process_time()
        write_sources(folder, rows(name))
        return time.process_time() - start

    first = min(seconds("first") for _ in range(5))
    write_sources(folder, [row for number in range(cases) for row in rows(f"case-{number}")])
    later = min(seconds("first") for _ in range(5))
    return first, max(0.0, later - first) / cases


def table_of(stages: Stages, cases: int, workers: Sequence[int], disks: Sequence[float]) -> str:
    """A markdown table: hours, how well the cores are used, and what is waited for."""
    lines = [
        "| workers | disk, MB/s | table | hours | cores busy | disk busy | table busy |",
        "|---|---|---|---|---|---|---|",
    ]
    for one_table in (False, True):
        for disk in disks:
            for count in workers:
                done = simulate(stages, cases, count, disk * 1e6, one_table=one_table)
                busy = " | ".join(f"{100 * done.busy[what]:.0f} %" for what in ("core", "disk", "table"))
                kind = "one for all" if one_table else "gathered"
                lines.append(f"| {count} | {disk:g} | {kind} | {done.seconds / 3600:.2f} | {busy} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--spacing", type=float, default=1.0, help="mm between voxels of the invented patients")
    parser.add_argument("--patients", type=int, default=2, help="how many are measured")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--workers", default="1,10,50,100")
    parser.add_argument("--disk", default="100,1000", help="MB a second of the disk that all share")
    parser.add_argument("--node", type=float, default=128, help="GB of memory of a node")
    parser.add_argument("--measured", type=Path, help="stages of an earlier call; written where there is no such file")
    options = parser.parse_args()
    if options.measured is not None and options.measured.is_file():
        stages = Stages(**json.loads(options.measured.read_text(encoding="utf-8")))
    else:
        with tempfile.TemporaryDirectory() as folder:
            stages = measure(options.model, options.spacing, options.patients, Path(folder))
        if options.measured is not None:
            options.measured.write_text(json.dumps(asdict(stages), indent=2), encoding="utf-8")
    print(
        f"a case: reading {stages.reading:.2f} s, preparing {stages.preparing:.2f} s, network {stages.network:.2f} s, "
        f"writing {stages.writing:.2f} s of one core; {stages.read / 1e6:.1f} MB read, {stages.written / 1e6:.1f} MB "
        f"written; the table {1000 * stages.table:.1f} ms, and {1000 * stages.table_row:.3f} ms for each case in it\n"
        f"a worker: up to {stages.memory / 1e9:.1f} GB; a node of {options.node:g} GB holds "
        f"{int(options.node * 1e9 // stages.memory)} of them\n"
    )
    workers, disks = ([int(n) for n in options.workers.split(",")], [float(n) for n in options.disk.split(",")])
    print(table_of(stages, options.cases, workers, disks))


if __name__ == "__main__":
    main()
