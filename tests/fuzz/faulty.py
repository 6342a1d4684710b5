"""Readers with one fault each, by which the watch over readers is tested."""

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from fuzz.formats import Format, Read
from fuzz.mutate import any_bytes
from lacunet.errors import DataError


def _write(folder: Path) -> None:
    (folder / "a").write_bytes(b"good")


def _refuses(folder: Path, output: Path) -> None:
    raise DataError("a: is damaged")


def _reads(folder: Path, output: Path) -> None:
    (output / "b").write_bytes((folder / "a").read_bytes())


def _climbs(folder: Path, output: Path) -> None:
    (output / ".." / ".." / ".." / "EVIL").write_bytes(b"evil")


def _changes_its_input(folder: Path, output: Path) -> None:
    (folder / "a").write_bytes(b"evil")


def _reads_elsewhere(folder: Path, output: Path) -> None:
    Path("/etc/passwd").read_bytes()


def _follows_a_link(folder: Path, output: Path) -> None:
    (output / "link").symlink_to("/")
    (output / "link" / "EVIL").mkdir()


def _forgets(folder: Path, output: Path) -> None:
    os.close(tempfile.mkstemp()[0])


def _passes_over_the_refusal(folder: Path, output: Path) -> None:
    try:
        _climbs(folder, output)
    except OSError as error:
        raise DataError("a: is damaged") from error


def _all_other() -> dict[str, Read]:
    return {
        "raises": lambda folder, output: [][1],
        "warns": lambda folder, output: warnings.warn("overflow", RuntimeWarning, stacklevel=1),
        "takes memory": lambda folder, output: bytearray(2**28),
        "takes for ever": lambda folder, output: time.sleep(60),
        "ends by a signal": lambda folder, output: os.kill(os.getpid(), 11),
        "leaves": lambda folder, output: os._exit(0),
        "prints": lambda folder, output: sys.stdout.write("a name\n"),
        "complains": lambda folder, output: sys.stderr.write("a name\n"),
        "runs a program": lambda folder, output: subprocess.run(["true"], check=True),
        "climbs": _climbs,
        "changes its input": _changes_its_input,
        "reads elsewhere": _reads_elsewhere,
        "follows a link": _follows_a_link,
        "forgets a temporary file": _forgets,
        "passes over the refusal": _passes_over_the_refusal,
    }


GOOD: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "refuses": (_refuses, "refused"),
    "reads": (_reads, "read"),
}


def all_formats() -> list[Format]:
    """Formats with a good reader, then those with a fault."""
    readers = {**{name: read for name, (read, _) in GOOD.items()}, **_all_other()}
    return [Format(name, _write, read, {"a": (any_bytes,)}) for name, read in readers.items()]
