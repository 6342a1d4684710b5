"""Trainings of several nodes: which processes there are, what they share, and how they end together."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import lightning_fabric.accelerators.cuda as fabric_cuda
import pytest
import torch
from safetensors.torch import load_file

from lacunet.case import CaseFiles
from lacunet.data.prepare import Preparation
from lacunet.errors import DataError, LacunetError, OutputError, UsageError
from lacunet.task import GLIOMA
from lacunet.training.prepared import PreparedCase, prepare_cases
from lacunet.training.processes import Processes, fabric_for, processes_of
from lacunet.training.ranks import Outcome, Ranks, require_seen, speaking_of_the_others
from lacunet.training.train import train
from small import ROOT
from training_run import TWO_STAGES, recipe_without_noise

PROGRAM = ROOT / "tests" / "training_run.py"

# ---------------------------------------------------------------- which processes there are

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "6", "LOCAL_RANK": "2"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2",
    "SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_NODEID": "1", "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train",
}  # fmt: skip
WITHOUT_STEP = {name: value for name, value in SRUN.items() if name != "SLURM_STEP_NUM_TASKS"}
SBATCH = {**WITHOUT_STEP, "ENVIRONMENT": "BATCH", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
SALLOC = {name: value for name, value in WITHOUT_STEP.items() if name != "SLURM_PROCID"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Processes()),
        (TORCHRUN, Processes("torchrun", here=4, nodes=2, place=2)),
        ({**TORCHRUN, "WORLD_SIZE": "4"}, Processes("torchrun", here=4, nodes=1, place=2)),
        ({**TORCHRUN, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"}, Processes()),
        (SRUN, Processes("srun", here=4, nodes=2, place=2)),
        ({**SRUN, **TORCHRUN}, Processes("torchrun", here=4, nodes=2, place=2)),
        (WITHOUT_STEP, Processes("srun", here=4, nodes=2, place=2)),
        ({**SRUN, "ENVIRONMENT": "BATCH"}, Processes("srun", here=4, nodes=2, place=2)),  # srun in a batch job
        (SBATCH, Processes()),  # the command of a batch job that srun has not started
        (SALLOC, Processes()),
        ({**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"}, Processes()),
    ],
)
def test_processes_are_those_that_the_launcher_has_started(variables: Mapping[str, str], expected: Processes) -> None:
    assert processes_of(variables) == expected


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({**TORCHRUN, "WORLD_SIZE": "7"}, "7 processes, 4 of them on this node; start the same number on each"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "two"}, "LOCAL_WORLD_SIZE is 'two', expected a number"),
        ({**SRUN, "SLURM_NTASKS": "7"}, "7 processes on 2 nodes; start 4 on each"),
        ({k: v for k, v in SRUN.items() if k != "SLURM_NTASKS_PER_NODE"}, "without --ntasks-per-node; give it"),
    ],
)
def test_what_cannot_train_together_is_refused(variables: Mapping[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        processes_of(variables)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """As if this node had so many GPUs."""

    def make(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setattr(fabric_cuda, "num_cuda_devices", lambda: count)
        monkeypatch.setattr(fabric_cuda, "_check_cuda_matmul_precision", lambda device: None)
        monkeypatch.setattr("lacunet.prediction.device._fault", lambda device: None)

    return make


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN])
def test_four_gpus_on_each_of_two_nodes(
    variables: Mapping[str, str], gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(4)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fabric = fabric_for(processes_of(variables), "cuda", "float32")
    strategy = fabric.strategy
    assert strategy.parallel_devices == [torch.device("cuda", index) for index in range(4)]
    assert (strategy.num_nodes, strategy.num_processes, fabric.world_size) == (2, 4, 8)
    assert (fabric.global_rank, fabric.local_rank, fabric.device) == (6, 2, torch.device("cuda", 2))
    strategy.cluster_environment.validate_settings(num_devices=4, num_nodes=2)


def test_a_process_without_a_gpu_of_its_own_is_refused(gpus: Callable[[int], None]) -> None:
    gpus(1)
    with pytest.raises(UsageError, match=r"4 processes on this node see 1 of its GPUs; ask SLURM for --gpus-per-node"):
        fabric_for(processes_of(SRUN), "auto", "float32")
    gpus(4)
    with pytest.raises(UsageError, match=r"--device cuda:1: several processes train, each on its own GPU"):
        fabric_for(processes_of(TORCHRUN), "cuda:1", "float32")


def test_a_process_alone_in_a_slurm_job_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SBATCH.items():
        monkeypatch.setenv(name, value)
    fabric = fabric_for(processes_of(SBATCH), "cpu", "float32")
    fabric.launch()
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


# ---------------------------------------------------------------- sharing a preparation


def in_threads(count: int, work: Callable[[Ranks], object]) -> list[object]:
    """What each of so many threads made, or what it raised; they share work as processes do."""
    told: list[Outcome] = [None] * count
    wall = threading.Barrier(count, timeout=60)
    results: list[object] = [None] * count

    def run(rank: int) -> None:
        def gather(outcome: Outcome) -> Sequence[Outcome]:
            told[rank] = outcome
            wall.wait()
            all_told = list(told)
            wall.wait()
            return all_told

        try:
            results[rank] = work(Ranks(rank, count, gather))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_each_process_prepares_its_share_and_sees_all(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lacunet.training.prepared._TURN", 1)  # two turns
    made: dict[int, list[str]] = {}
    from lacunet.training import prepared

    write = prepared._prepare_into

    def noted(files: CaseFiles, *rest: object) -> object:
        made.setdefault(threading.get_ident(), []).append(files.name)
        return write(files, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(prepared, "_prepare_into", noted)

    def prepare(ranks: Ranks) -> list[PreparedCase]:
        return list(prepare_cases(phantoms, GLIOMA, Preparation(8.0), tmp_path, ranks=ranks))

    one, other = in_threads(2, prepare)
    assert one == other
    assert [case.name for case in one] == [case.name for case in phantoms]  # type: ignore[attr-defined]
    assert sorted(made.values()) == sorted([[phantoms[0].name, phantoms[2].name], [phantoms[1].name]])


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [(DataError("scan: broken"), DataError, "^scan: broken$"), (ValueError("x"), LacunetError, "process 1: an error")],
)
def test_what_fails_in_one_process_ends_all(error: Exception, kind: type[Exception], words: str) -> None:
    def work(ranks: Ranks) -> None:
        def part() -> None:
            if ranks.rank == 1:
                raise error

        ranks.together(part)

    other, own = in_threads(2, work)
    assert own is error
    with pytest.raises(kind, match=words):
        raise other  # type: ignore[misc]


def test_a_folder_that_nodes_do_not_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"split\.json: another process has written it, but it is not seen here"):
        require_seen(tmp_path / "split.json", patience=0.01)


def test_the_end_of_another_process_is_one_line() -> None:
    with pytest.raises(LacunetError, match="another process of this training has ended"), speaking_of_the_others():
        raise RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), speaking_of_the_others():
        raise RuntimeError("shapes differ")


# ---------------------------------------------------------------- two nodes, both of them this machine


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ended(commands: Sequence[Sequence[str]], variables: Sequence[Mapping[str, str]]) -> list[tuple[int, str]]:
    """The exit status and the complaints of commands that run side by side."""
    running = [
        subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": "1", **own}, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )
        for command, own in zip(commands, variables, strict=True)
    ]  # fmt: skip
    try:
        return [(one.returncode, said) for one in running for said in [one.communicate(timeout=150)[1]]]
    finally:
        for one in running:
            one.kill()


def by_torchrun(cases: Path, run: Path, kill_at: str, resume: str) -> list[tuple[int, str]]:
    port = str(free_port())
    launchers = [
        [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(node),
            "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port,
        ]
        for node in (0, 1)
    ]  # fmt: skip
    program = [str(PROGRAM), str(cases), str(run), "quiet", kill_at, resume]
    return ended([[*launcher, *program] for launcher in launchers], [{}, {}])


def by_srun(cases: Path, run: Path) -> list[tuple[int, str]]:
    port = str(free_port())
    variables = [
        {
            "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2",
            "SLURM_PROCID": str(node), "SLURM_LOCALID": "0", "SLURM_NODEID": str(node), "SLURM_JOB_ID": "77",
            "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": port,
        }
        for node in (0, 1)
    ]  # fmt: skip
    return ended([[sys.executable, str(PROGRAM), str(cases), str(run), "quiet", "never", "0"]] * 2, variables)


@pytest.fixture(scope="module")
def trained_alone(phantoms: list[CaseFiles], tmp_path_factory: pytest.TempPathFactory) -> Path:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(recipe_without_noise(), phantoms[:2], phantoms[2:], folder, device="cpu", method_file=TWO_STAGES)
    torch.set_num_threads(threads)
    return folder


def require_same_weights(one: Path, other: Path) -> None:
    first, second = (load_file(run / "state" / "state.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def cases_of(phantoms: list[CaseFiles]) -> Path:
    return phantoms[0].images["t1c"].path.parents[1]


@pytest.mark.slow
def test_two_nodes_that_were_killed_and_resumed_train_what_one_process_trains(
    phantoms: list[CaseFiles], trained_alone: Path, tmp_path: Path
) -> None:
    killed = by_torchrun(cases_of(phantoms), tmp_path / "run", "segment:2", "0")
    assert all(status for status, _ in killed), killed
    assert "another process of this training has ended" in killed[1][1]
    resumed = by_torchrun(cases_of(phantoms), tmp_path / "run", "never", "1")
    assert [status for status, _ in resumed] == [0, 0], resumed
    require_same_weights(trained_alone, tmp_path / "run")


def test_processes_of_srun_train_what_one_process_trains(
    phantoms: list[CaseFiles], trained_alone: Path, tmp_path: Path
) -> None:
    done = by_srun(cases_of(phantoms), tmp_path / "run")
    assert [status for status, _ in done] == [0, 0], done
    require_same_weights(trained_alone, tmp_path / "run")


def test_a_case_that_one_node_cannot_read_ends_both(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    shutil.copytree(cases_of(phantoms), tmp_path / "cases")
    broken = tmp_path / "cases" / phantoms[1].name / phantoms[1].images["t2f"].path.name
    broken.write_bytes(broken.read_bytes()[:2000])
    done = by_srun(tmp_path / "cases", tmp_path / "run")
    assert all(status not in (0, -signal.SIGKILL) for status, _ in done), done
    assert all(broken.name in said for _, said in done), done
