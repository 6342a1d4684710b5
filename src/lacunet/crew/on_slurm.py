"""Workers that are the jobs of one SLURM array, which submitit writes and submits.

A job does its share of the tasks one after the other, and keeps each outcome as a file in the folder of the array. What
jobs that died have not done goes into another array.
"""

import os
import pickle
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Generic

from lacunet.crew.crew import (
    MOST_DEATHS,
    Done,
    Lost,
    MakeWorker,
    Place,
    Raised,
    Result,
    Task,
    compute_on,
    outcome_of,
    result_of,
)
from lacunet.crew.memory import ALONE, Share, share_of
from lacunet.errors import OutputError, UsageError

_LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Options:
    """What follows `slurm:`, as KEY=VALUE with commas between; what is not given, the cluster decides.

    Attributes:
        workers: Jobs of the array.
        at_once: How many of them may run at the same time.
        partition: As sbatch has it; so are the others, but for their units.
        account: Who pays.
        qos: Quality of service.
        constraint: Features of a node.
        time: Minutes of a job.
        mem: GB of a job.
        cpus: Cores of a job; 0: as many as this process has threads.
        gpus: GPUs of a job.
        folder: For the files of the array, which all nodes must see; it is made and removed there.
        cluster: `slurm`; or `local`: processes of this machine, to try it out.
    """

    workers: int = 20
    at_once: int = 256
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: int = 720
    mem: int = 0
    cpus: int = 0
    gpus: int = 0
    folder: str = "."
    cluster: str = "slurm"


def read_options(words: str) -> Options:
    """`workers=20,partition=gpu` -> options.

    Raises:
        UsageError: a key that is not known, or a value of another kind.
    """
    kinds = {field.name: field.type for field in fields(Options)}
    found: dict[str, Any] = {}
    for word in filter(None, words.split(",")):
        key, equals, value = (part.strip() for part in word.partition("="))
        if key not in kinds or not equals or not value:
            raise UsageError(f"--on slurm: '{word}': expected KEY=VALUE with one of the keys {', '.join(kinds)}")
        whole = kinds[key] is int
        if whole and not (value.isdecimal() and int(value) > 0):
            raise UsageError(f"--on slurm: '{word}': expected a whole number above 0")
        found[key] = int(value) if whole else value
    options = Options(**found)
    if options.cluster not in ("slurm", "local"):
        raise UsageError(f"--on slurm: 'cluster={options.cluster}': expected slurm, or local for this machine")
    return options


@dataclass(frozen=True)
class OnSlurm:
    """One array of jobs. The package is installed, and data and results are under the same paths, on each node.

    Attributes:
        options: What is asked of SLURM.
        device: `cuda` asks for a GPU for each job, unless `options.gpus` asks for more; `auto` and `cpu` for none.
    """

    options: Options = Options()
    device: str = "auto"

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker[Task, Result]) -> Iterator[Result | Lost]:
        """See `Crew.run`.

        Raises:
            UsageError: there is no SLURM here, or it refuses the array.
        """
        if not tasks:
            return
        folder = _folder_of_array(self.options)
        array = _Array(self.options, self.device, folder, tasks, make_worker)
        try:
            yield from map(result_of, map(array.outcome, range(len(tasks))))
            array.join()
        finally:
            array.cancel()
            shutil.rmtree(folder, ignore_errors=True)


class _Array(Generic[Task, Result]):
    """The jobs, and what they have done."""

    def __init__(
        self,
        options: Options,
        device: str,
        folder: Path,
        tasks: Sequence[Task],
        make_worker: MakeWorker[Task, Result],
    ) -> None:
        import torch  # the commands that need no crew answer at once

        self._options, self._folder, self._tasks = options, folder, tasks
        place = Place(device, _memory_of_job(options, min(options.workers, len(tasks))))
        self._start = (make_worker, place, torch.get_num_threads())
        self._executor = _executor(options, device, folder / "jobs", torch.get_num_threads())
        self._deaths: Counter[int] = Counter()
        self._jobs: list[Any] = []
        self._shares: list[list[int]] = []
        self._submit(range(len(tasks)))

    def outcome(self, number: int) -> Done[Result] | Raised | Lost:
        """Of one task; waits for it."""
        path = _outcome_file(self._folder, number)
        while not path.exists():
            if self._deaths[number] >= MOST_DEATHS:
                return Lost()
            if all(job.done() for job in self._jobs) and not path.exists():
                self._submit_again()
            else:
                time.sleep(_LOOK_EVERY_SECONDS)
        outcome: Done[Result] | Raised = pickle.loads(path.read_bytes())
        return outcome

    def join(self) -> None:
        """Wait until the jobs have ended."""
        while not all(job.done() for job in self._jobs):
            time.sleep(_LOOK_EVERY_SECONDS)

    def cancel(self) -> None:
        """End the jobs that still run."""
        for job in self._jobs:
            if not job.done():
                job.cancel(check=False)

    def _submit(self, numbers: Sequence[int]) -> None:
        workers = min(self._options.workers, len(numbers))
        self._shares = [list(numbers[first::workers]) for first in range(workers)]
        shares = [[(number, self._tasks[number]) for number in share] for share in self._shares]
        try:
            self._jobs = self._executor.map_array(_Share(self._folder, *self._start), shares)
        except (OSError, RuntimeError) as error:
            said = " ".join(str(error).split())[:300]
            raise UsageError(f"--on slurm: the array was refused ({said}); ask for what the cluster has") from error

    def _submit_again(self) -> None:
        """Another array of what is not done. A task that was under way when its job died is counted.

        Raises:
            UsageError: every job died before its first task: that is no task's fault.
        """
        undone = [[number for number in share if not _outcome_file(self._folder, number).exists()]
                  for share in self._shares]  # fmt: skip
        begun = [share[0] for share in undone if share and _begun_file(self._folder, share[0]).exists()]
        if not begun and all(undone):
            said = " ".join(str(self._jobs[0].stderr() or "").split())[-300:]
            raise UsageError(f"--on slurm: every job ended before its first case ({said}); try it with workers=1")
        for number in begun:
            self._deaths[number] += 1
            _begun_file(self._folder, number).unlink()
        left = sorted(number for share in undone for number in share if self._deaths[number] < MOST_DEATHS)
        if left:
            self._submit(left)
        else:
            self._shares, self._jobs = [], []


@dataclass(frozen=True)
class _Share:
    """What a job does, called with its tasks and their numbers."""

    folder: Path
    make_worker: MakeWorker[Any, Any]
    place: Place
    threads: int

    def __call__(self, tasks: Sequence[tuple[int, Any]]) -> None:
        compute_on(self.threads)
        made = outcome_of(self.make_worker, self.place)
        for number, task in tasks:
            _begun_file(self.folder, number).touch()
            outcome = made if isinstance(made, Raised) else outcome_of(made.result, task)
            path = _outcome_file(self.folder, number)
            path.with_suffix(".part").write_bytes(pickle.dumps(outcome))
            path.with_suffix(".part").replace(path)


def _memory_of_job(options: Options, workers: int) -> Share:
    """The memory of a job: what it asks for; a try-out's are on one machine. Else its limits say how much there is."""
    if options.mem:
        return Share(options.mem * 2**30)
    return share_of(workers) if options.cluster == "local" else ALONE


def _outcome_file(folder: Path, number: int) -> Path:
    return folder / f"{number}.done"


def _begun_file(folder: Path, number: int) -> Path:
    return folder / f"{number}.begun"


def _folder_of_array(options: Options) -> Path:
    """A new folder that only the user can read: the files name cases."""
    try:
        return Path(mkdtemp(prefix=".lacunet-array-", dir=os.path.abspath(options.folder)))  # noqa: PTH100
    except OSError as error:
        raise OutputError(
            f"{options.folder}: the files of the array cannot be written there ({error.strerror}); name a folder that "
            "all nodes see: --on slurm:folder=DIR"
        ) from error


def _executor(options: Options, device: str, folder: Path, threads: int) -> Any:
    """Of submitit."""
    try:
        import submitit
    except ImportError as error:
        raise UsageError("--on slurm: submitit is not installed; pip install 'lacunet[slurm]'") from error
    try:
        executor = submitit.AutoExecutor(folder, cluster=options.cluster)
    except RuntimeError as error:
        raise UsageError(
            "--on slurm: there is no SLURM on this machine (no srun); give the command on a login node, or try it out "
            "with --on slurm:cluster=local"
        ) from error
    wanted = {
        "name": "lacunet",
        "timeout_min": options.time,
        "cpus_per_task": options.cpus or threads,
        "gpus_per_node": options.gpus or int(device.startswith("cuda")),
        "mem_gb": options.mem,
        "slurm_partition": options.partition,
        "slurm_account": options.account,
        "slurm_qos": options.qos,
        "slurm_constraint": options.constraint,
        "slurm_array_parallelism": options.at_once,
    }
    executor.update_parameters(**{key: value for key, value in wanted.items() if value})
    return executor
