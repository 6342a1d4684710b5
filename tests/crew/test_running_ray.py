"""A Ray that runs already, as `ray start` makes it, is joined at its address and keeps running afterwards."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from small import ROOT

START_SECONDS = 240

DRIVER = """
import sys
from pathlib import Path
import torch
from crew_workers import Squares
from lacunet.crew.on_ray import OnRay
torch.set_num_threads(1)
for address in sys.argv[2:]:
    found = list(OnRay(address, "cpu").run(range(4), Squares(Path(sys.argv[1]))))
    print([one[0] for one in found], len({one[1] for one in found}))
"""

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}",
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": str(START_SECONDS),
}


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Two cores of this machine as a cluster: its port, and that of its clients."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    cluster, clients, *agents = free_ports(6)
    named = ("dashboard-agent-grpc", "dashboard-agent-listen", "metrics-export", "runtime-env-agent")
    words = [f"--{name}-port={port}" for name, port in zip(named, agents, strict=True)]
    with TemporaryDirectory(prefix="ray-") as folder:  # a short path, since sockets lie in it
        command = [
            Path(sys.executable).parent / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1",
            f"--port={cluster}", f"--ray-client-server-port={clients}", "--num-cpus=2", "--include-dashboard=false",
            "--object-store-memory=100000000", f"--temp-dir={folder}", *words,
        ]  # fmt: skip
        log = Path(folder) / "start.log"
        with log.open("w") as told:
            head = subprocess.Popen(command, env=ENVIRONMENT, stdout=told, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + START_SECONDS
            while "Ray runtime started" not in log.read_text():
                assert head.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.5)
            yield cluster, clients
        finally:
            head.terminate()  # it ends its cluster, and no other of this machine, as `ray stop` would
            head.wait()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    numbers = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return numbers


@pytest.mark.slow
def test_a_running_cluster_is_joined_at_its_address_and_by_its_client(ports: tuple[int, int], tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{ports[0]}", f"ray://127.0.0.1:{ports[1]}"]
    words = [sys.executable, "-c", DRIVER, str(tmp_path), *addresses]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    results = [line for line in done.stdout.splitlines() if line.startswith("[0")]
    assert [line[:12] for line in results] == ["[0, 1, 4, 9]"] * 2
    assert len(list(tmp_path.glob("made-*"))) >= 2
