"""Nodes for tests, as programs of their own, and what they are told."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from archive import TITLE, Archive

from lacunet.node.queue import Queue, State, Study


def settings_for(
    archive: Archive, folder: Path, model: Path, replaced: Sequence[str] = (), **sections: Mapping[str, Any]
) -> Path:
    """A configuration for the archive; sections are laid over it, or replace what it has."""
    fields: dict[str, Any] = {
        "folder": str(folder / "node"),
        "receive": {
            "title": "LACUNET",
            "port": archive.node,
            "complete": "association",
            "least_free_mib": 1,
            "senders": [{"title": TITLE, "addresses": ["127.0.0.1"]}],
        },
        "segment": {"model": str(model), "device": "cpu"},
        "send": {"store": {"title": TITLE, "address": "127.0.0.1", "port": archive.port}, "retry_minutes": 0.01},
        "page": {"port": 0},
    }
    for name, section in sections.items():
        fields[name] = dict(section) if name in replaced else {**fields.get(name, {}), **section}
    path = folder / "node.toml"
    path.write_text(tomli_w.dumps(fields))
    return path


@dataclass(frozen=True)
class Node:
    """A running node."""

    program: "subprocess.Popen[bytes]"
    queue: Queue
    log: Path

    def kill(self) -> None:
        self.program.send_signal(signal.SIGKILL)
        self.program.wait()

    def wait_for(self, state: State, count: int = 1, seconds: float = 240) -> list[Study]:
        """The studies in this state, once there are so many."""
        end = time.monotonic() + seconds
        while len(found := [one for one in self.queue.studies() if one.state == state]) < count:
            said = [(one.name, one.state, one.reason) for one in self.queue.studies()]
            assert time.monotonic() < end, f"{said} after {seconds} s:\n{self.log.read_text()}"
            assert self.program.poll() is None, self.log.read_text()
            time.sleep(0.1)
        return found


@contextmanager
def running(config: Path) -> Iterator[Node]:
    """A node for as long as the block lasts, unless the test kills it."""
    log = config.parent / f"log-{time.monotonic_ns()}.txt"
    words = [sys.executable, "-m", "lacunet", "node", "run", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out, env=environment) as program:
        try:
            end = time.monotonic() + 60
            while "the node runs" not in log.read_text():
                assert program.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
            yield Node(program, Queue(config.parent / "node"), log)
        finally:
            program.terminate()
            program.wait(30)
