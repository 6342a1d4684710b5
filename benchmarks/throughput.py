"""`segment` of a cohort: cases a minute, and the share of time in which a network runs, with one worker and with more.

    python benchmarks/throughput.py [--model default] [--device cpu] [--cases DIR] [--count 6] [--workers 1 2]

Each row is a run of its own over the same cases, with all that `lacunet segment` does: reading, preparing, the network,
volumes, masks, pages. The threads of torch are shared out: with two workers on four cores each has two. A worker is
given its first case before the clock starts, so that loading the package and the model is not counted.

`some network runs` is the share of the time in which the network of any worker runs; `mean of the workers` the share of
its own time that a worker spends in it. On a GPU (`--device cuda`) the first is how busy the GPU is kept: several
workers share it, and one reads and writes while another computes. `--device cuda:0,1` gives each GPU workers in turn.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from measure import conditions, print_table, use_cores, write_phantom

if TYPE_CHECKING:
    from lacunet.case import CaseFiles
    from lacunet.crew.crew import Place
    from lacunet.prediction.predictor import Predictor
    from lacunet.prediction.team import Loading


@dataclass(frozen=True)
class Measured:
    """One run over the cases: its wall time, and when each worker's network began and ended."""

    seconds: float
    spans: Sequence[Sequence[tuple[float, float]]]

    def some(self) -> float:
        """The share of the time in which a network of any worker runs."""
        covered, until = 0.0, 0.0
        for begin, end in sorted(span for spans in self.spans for span in spans):
            covered += max(0.0, end - max(begin, until))
            until = max(until, end)
        return covered / self.seconds

    def mean(self, workers: int) -> float:
        """The mean share of the workers."""
        return sum(end - begin for spans in self.spans for begin, end in spans) / self.seconds / workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="cpu", help="as of lacunet segment")
    parser.add_argument("--cases", type=Path, help="a folder of cases, instead of invented patients")
    parser.add_argument("--count", type=int, default=6, help="of the cases")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    cores = use_cores(options.cores)
    import torch  # after the number of its threads is set

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.cases is None:
            for seed in range(options.count):
                write_phantom(folder / "cases", seed, 1.0)
        cases = options.cases or folder / "cases"
        rows = []
        for workers in options.workers:
            torch.set_num_threads(max(1, cores // workers))
            measured = run(options, cases, folder / f"out-{workers}", workers)
            rows.append(
                [
                    str(workers),
                    str(torch.get_num_threads()),
                    f"{60 * options.count / measured.seconds:.1f}",
                    f"{measured.some():.0%}",
                    f"{measured.mean(workers):.0%}",
                ]
            )
    print(
        f"Model `{options.model}` on {options.device}, {options.count} cases; {conditions(cores, 'lacunet', 'torch')}\n"
    )
    print_table(["workers", "threads each", "cases a minute", "some network runs", "mean of the workers"], rows)


def run(options: argparse.Namespace, cases: Path, output: Path, workers: int) -> Measured:
    """Segment the cases with so many workers."""
    from lacunet.crew.chosen import crew_of
    from lacunet.crew.crew import Here
    from lacunet.data.find import find_cases
    from lacunet.prediction.team import Loading, Team
    from lacunet.segmentation.segment import segment_cases
    from lacunet.segmentation.write import SegmentSettings
    from lacunet.task import GLIOMA

    found = find_cases(cases)[: options.count]
    crew = crew_of("here" if workers == 1 else f"processes:{workers}", options.device)
    spans = output / "spans"
    spans.mkdir(parents=True)
    team = Team(crew, GLIOMA, partial(timed_on, Loading(options.model), spans, found[0], workers))
    results = segment_cases(team, found, output, SegmentSettings())
    assert isinstance(crew, Here) == (workers == 1)
    done = list(results)
    assert len(done) == options.count
    ended = time.monotonic()
    began = float((spans / "began").read_text())
    kept = [json.loads(path.read_text()) for path in spans.glob("*.json")]
    return Measured(ended - began, [[(begin, end) for begin, end in one if begin >= began] for one in kept])


def timed_on(loading: "Loading", folder: Path, first: "CaseFiles", workers: int, place: "Place") -> "Predictor":
    """A predictor that notes when its networks run. It has answered once, and so have those of all other workers."""
    from lacunet.data.nifti import load_case

    predictor = loading.on(place)
    predictor(load_case(first, predictor.model.task, want_reference=False))
    notes: list[tuple[float, float]] = []
    path = folder / f"{os.getpid()}.json"
    for network in predictor.networks:
        network.segment = partial(noted, network.segment, notes, path, predictor.device.type)
    (folder / f"{os.getpid()}.warm").touch()
    while len(list(folder.glob("*.warm"))) < workers:
        time.sleep(0.01)
    (folder / "began").write_text(str(time.monotonic()))
    return predictor


def noted(
    segment: Callable[..., Iterator[object]], notes: list[tuple[float, float]], path: Path, kind: str, *given: object
) -> Iterator[object]:
    """What a network gives, with the time until it gives it."""
    import torch

    maps = segment(*given)
    while True:
        begin = time.monotonic()
        found = next(maps, None)
        if kind == "cuda":
            torch.cuda.synchronize()
        notes.append((begin, time.monotonic()))
        path.write_text(json.dumps(notes))
        if found is None:
            return
        yield found


if __name__ == "__main__":
    main()
