"""TensorBoard's event files without the name of the computer, which TensorBoard's own writer puts into theirs."""

import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class EventFile:
    """One file of scalars. TensorBoard reads the files of a folder in the order of their names.

    Args:
        folder: Made if it is not there.
        purge_step: Scalars of this step and later ones, in files before, do not count any more.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        started = int(time.time())
        number = sum(1 for _ in folder.glob("events.out.tfevents.*"))
        self._file = (folder / f"events.out.tfevents.{started:010d}.{number:04d}").open("xb")
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=started, file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=started, step=purge_step, session_log=start))

    def add(self, name: str, value: float, step: int) -> None:
        """One scalar, on disk when this returns."""
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Nothing is written after this."""
        self._file.close()

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()
