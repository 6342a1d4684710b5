"""How much memory and how many cores a job may take: made trees of control groups, as systemd, SLURM and containers lay
them out; and what a crew leaves each of its workers."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from lacunet.crew import cores, memory
from lacunet.crew.cgroups import cores_allowed, memory_left
from lacunet.crew.cores import usable_cores
from lacunet.crew.memory import ALONE, Share, free_memory, share_of
from lacunet.data.prepare import Preparation
from lacunet.models.model import Model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.device import free_memory_on
from lacunet.prediction.network import Network
from lacunet.prediction.windows import Windows
from lacunet.task import GLIOMA

GIB = 2**30
CPU = torch.device("cpu")
NO_LIMIT = "9223372036854771712"

Make = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """Makes the files of a process and of its control groups; returns the folder of the process."""

    def make(groups: Mapping[str, Mapping[str, object]], lines: str, mounts: str) -> Path:
        place = tmp_path / "sys fs"
        for group, files in groups.items():
            folder = place / group
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (folder / name).write_text(f"{content}\n")
        process = tmp_path / "proc"
        process.mkdir()
        (process / "cgroup").write_text(lines)
        (process / "mountinfo").write_text(mounts.replace("PLACE", str(place).replace(" ", "\\040")))
        return process

    return make


V2 = "24 1 8:1 / / rw - ext4 /dev/sda rw\n30 24 0:26 / PLACE rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "30 24 0:26 / PLACE/cpu rw - cgroup cgroup rw,cpu,cpuacct\n31 24 0:27 / PLACE/memory rw - cgroup cgroup rw,memory\n"
)


def v2(limit: object, used: int = 0, **more: object) -> dict[str, object]:
    return {"memory.max": limit, "memory.current": used, **{name.replace("_", ".", 1): x for name, x in more.items()}}


def v1(limit: object, used: int = 0, stat: str = "") -> dict[str, object]:
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}


@pytest.mark.parametrize(
    ("groups", "lines", "mounts", "left"),
    [
        ({"job": v2(8 * GIB, 3 * GIB)}, "0::/job\n", V2, 5 * GIB),
        ({"job": v2("max", 3 * GIB)}, "0::/job\n", V2, None),
        ({"slurm": v2(4 * GIB, 3 * GIB), "slurm/job/step": v2("max")}, "0::/slurm/job/step\n", V2, GIB),
        ({"slurm": v2(9 * GIB, GIB), "slurm/job": v2(4 * GIB, 3 * GIB)}, "0::/slurm/job\n", V2, GIB),
        ({"slurm": v2(4 * GIB, 3 * GIB), "slurm/job": v2(9 * GIB, GIB)}, "0::/slurm/job\n", V2, GIB),
        ({"job": v2(4 * GIB, 5 * GIB)}, "0::/job\n", V2, 0),
        ({"job": v2("max", GIB, memory_high=3 * GIB)}, "0::/job\n", V2, 2 * GIB),
        # files that the system remembers, and gives back
        ({"a": v2(8 * GIB, 7 * GIB, memory_stat=f"anon 1\ninactive_file {2 * GIB}\nactive_file {GIB}")},
         "0::/a\n", V2, 4 * GIB),
        # a container: the group is named as seen from outside, and mounted as the root
        ({"": v2(2 * GIB, GIB)}, "0::/\n", V2, GIB),
        ({"": v2(2 * GIB, GIB)}, "0::/docker/ab\n", V2.replace(" / PLACE", " /docker/ab PLACE"), GIB),
        ({"": v2(2 * GIB, GIB)}, "0::/docker/abc\n", V2.replace(" / PLACE", " /docker/ab PLACE"), GIB),
        ({"": v2(2 * GIB, GIB)}, "0::/../../other\n", V2, GIB),
        # version 1
        ({"memory/slurm/job": v1(8 * GIB, 2 * GIB)}, "3:cpu,cpuacct:/x\n5:memory:/slurm/job\n", V1, 6 * GIB),
        ({"memory/slurm": v1(3 * GIB, 2 * GIB), "memory/slurm/job": v1(NO_LIMIT)}, "5:memory:/slurm/job\n", V1, GIB),
        ({"memory/a": v1(NO_LIMIT, GIB)}, "5:memory:/a\n", V1, None),
        ({"memory/a": v1(4 * GIB, 3 * GIB, f"inactive_file 9\ntotal_inactive_file {GIB}")},
         "5:memory:/a\n", V1, 2 * GIB),
        # both versions at once: the memory is with the older one
        ({"memory/a": v1(4 * GIB, GIB), "": {"cgroup.procs": 1}}, "5:memory:/a\n0::/b\n", V1 + V2, 3 * GIB),
        # what is not there or not understood limits nothing
        ({}, "", "", None),
        ({"job": v2("much")}, "0::/job\n", V2, None),
        ({}, "0::/gone\n", V2, None),
        ({}, "no line\n0::\n", "no mount - at all\n", None),
    ],
)  # fmt: skip
def test_the_tightest_group_decides(
    made: Make, groups: Mapping[str, Mapping[str, object]], lines: str, mounts: str, left: int | None
) -> None:
    assert memory_left(made(groups, lines, mounts)) == left


def test_a_system_without_groups_has_none(tmp_path: Path) -> None:
    assert memory_left(tmp_path / "nothing") is None
    assert cores_allowed(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("machine", "job", "own", "free"),
    [
        (9 * GIB, None, None, 9 * GIB),
        (9 * GIB, 2 * GIB, None, 2 * GIB),
        (GIB, 2 * GIB, None, GIB),
        (9 * GIB, 2 * GIB, GIB, GIB),
        (None, 2 * GIB, None, 2 * GIB),
        (None, None, None, None),
    ],
)
def test_the_least_of_machine_job_and_process_is_free(
    machine: int | None, job: int | None, own: int | None, free: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def machine_memory() -> SimpleNamespace:
        if machine is None:
            raise OSError("this system does not tell")
        return SimpleNamespace(available=machine)

    monkeypatch.setattr(psutil, "virtual_memory", machine_memory)
    monkeypatch.setattr(memory, "memory_left", lambda: job)
    monkeypatch.setattr(memory, "_left_of_own_limit", lambda: own)
    assert free_memory() == free
    assert free_memory_on(CPU) == free


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_limit_of_the_process_itself_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    assert memory._left_of_own_limit() is None
    used = psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (used + GIB, used + GIB))
    left = memory._left_of_own_limit()
    assert left is not None
    assert 0 < left <= 1.1 * GIB


def test_a_job_that_would_be_killed_takes_windows(made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    images = torch.zeros((4, 160, 160, 160))
    run = Network(Model("m", method, Preparation(), {}, ""), CPU, torch.float32, Windows(), "none")
    needed = run._bytes_per_voxel * images[0].numel()
    process = made({"slurm/job": v2(int(1.5 * needed) + GIB, GIB)}, "0::/slurm/job/step\n", V2)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(100 * needed)))
    monkeypatch.setattr(memory, "memory_left", lambda: memory_left(process))
    assert run._window_size(images) == (128, 128, 128)
    monkeypatch.setattr(memory, "memory_left", lambda: None)
    assert run._window_size(images) is None


def test_workers_of_one_machine_divide_what_is_free_when_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=12 * GIB))
    monkeypatch.setattr(memory, "memory_left", lambda: 8 * GIB)
    assert share_of(4) == Share(2 * GIB)
    assert share_of(4, on_device=2) == Share(2 * GIB, 2)
    assert share_of(1) == ALONE


def test_a_worker_has_what_its_share_leaves_beside_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_free_of_job", lambda: 8 * GIB)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: SimpleNamespace(rss=GIB, vms=GIB))
    assert free_memory(Share(3 * GIB)) == 2 * GIB
    assert free_memory(Share(GIB // 2)) == 0
    assert free_memory(Share(90 * GIB)) == free_memory(ALONE) == 8 * GIB


def test_workers_on_one_gpu_divide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (30 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * GIB)
    assert free_memory_on(torch.device("cuda:0")) == 30 * GIB
    assert free_memory_on(torch.device("cuda:0"), Share(GIB, on_device=4)) == 17 * GIB
    assert free_memory_on(torch.device("cuda:0"), Share(GIB, on_device=40)) == 0


def test_a_worker_beside_others_takes_windows_where_it_would_not_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    images = torch.zeros((4, 160, 160, 160))
    model = Model("m", method, Preparation(), {}, "")
    needed = Network(model, CPU, torch.float32, Windows(), "none")._bytes_per_voxel * images[0].numel()
    monkeypatch.setattr(memory, "_free_of_job", lambda: int(5 * needed))
    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: SimpleNamespace(rss=0, vms=0))
    sizes = {
        workers: Network(model, CPU, torch.float32, Windows(share=share_of(workers)), "none")._window_size(images)
        for workers in (1, 2, 3)
    }
    assert sizes == {1: None, 2: None, 3: (128, 128, 128)}


@pytest.mark.parametrize(
    ("groups", "lines", "mounts", "allowed"),
    [
        ({"job": {"cpu.max": "150000 100000"}}, "0::/job\n", V2, 1.5),
        ({"job": {"cpu.max": "max 100000"}}, "0::/job\n", V2, None),
        ({"pod": {"cpu.max": "400000 100000"}, "pod/box": {"cpu.max": "max 100000"}}, "0::/pod/box\n", V2, 4.0),
        ({"pod": {"cpu.max": "50000 100000"}, "pod/box": {"cpu.max": "800000 100000"}}, "0::/pod/box\n", V2, 0.5),
        ({"cpu/job": {"cpu.cfs_quota_us": 300000, "cpu.cfs_period_us": 100000}}, "3:cpu,cpuacct:/job\n", V1, 3.0),
        ({"cpu/job": {"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100000}}, "3:cpu,cpuacct:/job\n", V1, None),
        ({"job": {"cpu.max": "much"}}, "0::/job\n", V2, None),
        ({"job": {"cpu.max": "1 0"}}, "0::/job\n", V2, None),
    ],
)
def test_the_time_that_the_tightest_group_gives_is_counted_in_cores(
    made: Make, groups: Mapping[str, Mapping[str, object]], lines: str, mounts: str, allowed: float | None
) -> None:
    assert cores_allowed(made(groups, lines, mounts)) == allowed


@pytest.mark.parametrize(("allowed", "usable"), [(None, 8), (1.5, 2), (0.2, 1), (3.0, 3), (64.0, 8)])
def test_cores_are_those_that_a_process_is_bound_to_and_its_job_has_the_time_of(
    allowed: float | None, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "cores_allowed", lambda: allowed)
    assert usable_cores() == usable
