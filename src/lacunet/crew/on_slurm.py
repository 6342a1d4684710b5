"""Workers that are the jobs of one SLURM array, which submitit writes and submits.

A job does its share of the tasks one after the other, and keeps each outcome as a file in the folder of the array. What
jobs that died have not done goes into another array.
"""

import os
import pickle
import shutil
import signal
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
    end_on,
    outcome_of,
    result_of,
)
from lacunet.crew.memory import ALONE, Share, share_of
from lacunet.errors import OutputError, UsageError

_LOOK_EVERY_SECONDS = 0.5
_UNITS = {"time": "minutes", "mem": "GB"}
_SPEAKERS = ("slurmstepd:", "srun:", "slurm_script:")
"""How lines of a job's log begin that SLURM wrote, and no program that may name a patient."""


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
        reservation: Of nodes.
        exclude: A node that is not to be used.
        gres: Resources of a node, such as `gpu:a100:1`; then `gpus` is left out.
        time: Minutes of a job.
        mem: GB of a job.
        cpus: Cores of a job, and threads that it computes with; 0: as many as this process has threads.
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
    reservation: str = ""
    exclude: str = ""
    gres: str = ""
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
            what = f"number of {_UNITS[key]}" if key in _UNITS else "number"
            raise UsageError(f"--on slurm: '{word}': expected a whole {what} above 0")
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
        threads = options.cpus or torch.get_num_threads()
        self._start = (make_worker, place, threads)
        self._executor = _executor(options, device, folder / "jobs", threads)
        self._deaths: Counter[int] = Counter()
        self._last_words: dict[int, str] = {}
        self._jobs: list[Any] = []
        self._shares: list[list[int]] = []
        self._submit(range(len(tasks)))

    def outcome(self, number: int) -> Done[Result] | Raised | Lost:
        """Of one task; waits for it."""
        path = _outcome_file(self._folder, number)
        while not path.exists():
            if self._deaths[number] >= MOST_DEATHS:
                return Lost(_lost_words(self._last_words.get(number, "")))
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
        from submitit.helpers import clean_env

        try:
            with clean_env():  # this command may be a job itself, whose settings would be taken for those of the array
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
        begun = {share[0]: job for share, job in zip(undone, self._jobs, strict=True)
                 if share and _begun_file(self._folder, share[0]).exists()}  # fmt: skip
        if not begun and undone == self._shares:
            said = " ".join(str(self._jobs[0].stderr() or "").split())[-300:]
            raise UsageError(f"--on slurm: every job ended before its first case ({said}); try it with workers=1")
        for number, job in begun.items():
            self._deaths[number] += 1
            self._last_words[number] = _said_by_slurm(str(job.stderr() or ""))
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
        end_on(signal.SIGTERM, signal.SIGUSR2)  # the second comes shortly before the job's time is over
        compute_on(self.threads)
        made = outcome_of(self.make_worker, self.place)
        # SLURM starts a job again whose node failed
        left = [(number, task) for number, task in tasks if not _outcome_file(self.folder, number).exists()]
        for place, (number, task) in enumerate(left):
            _begun_file(self.folder, number).touch()
            try:
                outcome = made if isinstance(made, Raised) else outcome_of(made.result, task)
            except SystemExit:
                if place:  # the job had time for other tasks: that it ends now is not the fault of this one
                    _begun_file(self.folder, number).unlink()
                raise
            path = _outcome_file(self.folder, number)
            path.with_suffix(".part").write_bytes(pickle.dumps(outcome))
            path.with_suffix(".part").replace(path)


def _memory_of_job(options: Options, workers: int) -> Share:
    """The memory of a job: what it asks for; a try-out's are on one machine. Else its limits say how much there is."""
    if options.mem:
        return Share(options.mem * 2**30)
    return share_of(workers) if options.cluster == "local" else ALONE


def _said_by_slurm(log: str) -> str:
    """The last line of a job's log that SLURM itself wrote: why it ended the job."""
    lines = [" ".join(line.split()) for line in log.splitlines()]
    return next((line[:200] for line in reversed(lines) if line.startswith(_SPEAKERS)), "")


def _lost_words(said: str) -> str:
    why = said or "killed, or out of memory or time"
    return (
        f"its job ended {MOST_DEATHS} times while it was at work on it ({why}); give each job more memory or time "
        "(--on slurm:mem=32,time=1440), or use smaller windows (--window 96)"
    )


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
        "cpus_per_task": threads,
        "gpus_per_node": 0 if options.gres else options.gpus or int(device.startswith("cuda")),
        "mem_gb": options.mem,
        "slurm_partition": options.partition,
        "slurm_account": options.account,
        "slurm_qos": options.qos,
        "slurm_constraint": options.constraint,
        "slurm_additional_parameters": {"reservation": options.reservation} if options.reservation else {},
        "slurm_exclude": options.exclude,
        "slurm_gres": options.gres,
        "slurm_array_parallelism": options.at_once,
        "slurm_srun_args": ["--cpus-per-task", str(threads)],  # from SLURM 22.05 on, srun does not take the array's
    }
    executor.update_parameters(**{key: value for key, value in wanted.items() if value})
    return executor
