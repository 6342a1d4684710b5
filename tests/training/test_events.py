"""TensorBoard's own reader finds what is written, and nothing tells the name of the computer."""

import os
import socket
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lacunet.training.events import EventFile
from lacunet.training.log import TrainingLog


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    found = EventAccumulator(str(folder))
    found.Reload()
    return [(one.step, one.value) for one in found.Scalars(name)]


def test_scalars_are_read_back_and_a_resumed_run_replaces_later_ones(tmp_path: Path) -> None:
    first = EventFile(tmp_path, purge_step=1)
    for step in (1, 2, 3):
        first.add("segment/dice", 0.25 * step, step)
    first.close()
    again = EventFile(tmp_path, purge_step=3)
    again.add("segment/dice", 0.5, 3)
    again.close()
    assert scalars(tmp_path, "segment/dice") == [(1, 0.25), (2, 0.5), (3, 0.5)]
    assert len(list(tmp_path.iterdir())) == 2


def test_no_name_of_the_computer_or_the_process_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "ward-7-mustermann")
    log = TrainingLog(tmp_path, [5], active=True)
    log.rewind(0, 0)
    log.write("segment", 0, 1, {"loss": 0.5})
    log.close()
    assert scalars(tmp_path / "tensorboard", "segment/loss") == [(1, 0.5)]
    for path in tmp_path.rglob("*"):
        assert "ward" not in path.name
        assert f".{os.getpid()}" not in path.name
        assert path.is_dir() or b"ward-7" not in path.read_bytes()
