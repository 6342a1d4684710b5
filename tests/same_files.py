"""The files of two runs, compared without the seconds and dates in them."""

import re
from pathlib import Path

TAKEN = re.compile(
    rb'"(?:seconds|seconds_a_step)": [\d.]+|[\d.,]+ (?:s|min|seconds)\b'
    rb"|\| [\d,]+ (?=\| (?:[0-9a-f]+|not stated) \|)"  # of a training, in benchmark.md
    rb"|,[\d.]+(?=\r\n)"  # the last column of results.csv
    rb"|\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::[\d.]+)?(?: UTC)?"
)
"""Seconds and dates."""

NOT_SAME = ("events.out", "log.jsonl", "done.json")
"""How the names of files begin that only say when something was done, and how long it took."""


def written(folder: Path) -> dict[str, bytes]:
    """Every file, without seconds and dates; what only says how long something took is left out."""
    return {
        str(path.relative_to(folder)): TAKEN.sub(b"...", path.read_bytes().replace(bytes(folder), b"folder"))
        for path in folder.rglob("*")
        if path.is_file()
        and ".parts" not in path.parts
        and not path.name.startswith(("events.out", "log.jsonl", "done.json"))
    }
