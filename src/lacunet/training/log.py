"""What a training writes down while it runs: the numbers that a method notes, and the log."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lacunet.errors import DataError
from lacunet.files import whole_file
from lacunet.reading import parse_json, read_text, shown
from lacunet.training.events import EventFile


class Notes:
    """The numbers that a method notes, summed until the next line of the log."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._steps = 0

    def add(self, name: str, value: Tensor | float) -> None:
        """Remember a number of this step."""
        self._sums[name] = self._sums.get(name, 0.0) + (value.detach() if isinstance(value, Tensor) else value)

    def step(self) -> None:
        """A step is over."""
        self._steps += 1

    def take(self) -> dict[str, float]:
        """The mean of each number over the steps since this was last called."""
        means = {name: float(total) / max(self._steps, 1) for name, total in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means


class TrainingLog:
    """`log.jsonl` and TensorBoard events, written by one process only.

    Args:
        folder: The run.
        steps: Of each stage; TensorBoard counts through all stages.
        active: Whether this process writes.
    """

    def __init__(self, folder: Path, steps: list[int], active: bool) -> None:
        self.path = folder / "log.jsonl"
        self.offsets = [sum(steps[:index]) for index in range(len(steps) + 1)]
        self.active = active
        self.events: EventFile | None = None
        self.started = time.monotonic()

    def rewind(self, stage: int, step: int) -> None:
        """Remove what was written about steps that will be done again."""
        if not self.active:
            return
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if _complete_before(line, stage, step)]
        with whole_file(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self.events = EventFile(self.path.parent / "tensorboard", self.offsets[stage] + step + 1)

    def write(self, stage: str, stage_index: int, step: int, numbers: Mapping[str, Any]) -> None:
        """One line, and its numbers as TensorBoard scalars."""
        if self.events is None:
            return
        seconds = round(time.monotonic() - self.started, 2)
        line = {"stage": stage, "stage_index": stage_index, "step": step, **numbers, "seconds": seconds}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in numbers.items():
            if isinstance(value, float):
                self.events.add(f"{stage}/{name}", value, self.offsets[stage_index] + step)

    def close(self) -> None:
        """Close the events."""
        if self.events is not None:
            self.events.close()


def _complete_before(line: str, stage: int, step: int) -> bool:
    try:
        entry = json.loads(line)
        return bool((entry["stage_index"], entry["step"]) <= (stage, step))
    except (ValueError, KeyError, TypeError, RecursionError):  # the line that a killed run was writing
        return False


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's `log.jsonl`, in order.

    Raises:
        DataError: it cannot be read, or a line is not what a training writes.
    """
    path, advice = run / "log.jsonl", "name a run of lacunet train"
    entries = []
    for number, line in enumerate(read_text(path, DataError, advice, largest=2**28).splitlines(), start=1):
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}); {advice}") from error
        if not isinstance(entry, dict):
            raise DataError(f"{path}, line {number}: {shown(entry)} is no entry of a log; {advice}")
        entries.append(entry)
    return entries


def last_validations(run: Path) -> list[dict[str, Any]]:
    """The validations of the last stage that had any Dice: those that chose the weights."""
    validated = [line for line in read_log(run) if "validation_wt" in line]
    return [line for line in validated if line["stage"] == validated[-1]["stage"]]
