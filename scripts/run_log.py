"""What a run wrote down of its training, for the scripts beside it."""

import json
from pathlib import Path
from typing import Any


def log_lines(run: Path) -> list[dict[str, Any]]:
    """The lines of its `log.jsonl`, in order."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def last_validations(run: Path) -> list[dict[str, Any]]:
    """The validations of the last stage that had any: those that chose the weights."""
    validated = [line for line in log_lines(run) if "validation_wt" in line]
    return [line for line in validated if line["stage"] == validated[-1]["stage"]]
