"""Runs dcm2niix (`pip install "lacunet[dicom]"`): without a shell, in a folder of its own, within limits.

A program that is fed with files of unknown origin must not fill the memory, the disk or the day.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from lacunet.errors import DataError, UsageError

SECONDS = 300
"""Time limit of dcm2niix for one series."""

LARGEST_VOXEL = 8
"""Bytes of a voxel that it may write."""

OTHER_BYTES = 2**24
"""What else it may write into a file: the header, or its messages."""

MEMORY_PER_VOXEL = 24
"""Bytes of memory that it may take for each voxel of the series, and `MEMORY` beside."""

MEMORY = 2**31

_MOST_SAID = 2**20
_OPTIONS = [
    "-b",
    "n",
    "-ba",
    "y",
    "-f",
    "scan",
    "-g",
    "i",
    "-l",
    "o",
    "-m",
    "y",
    "-p",
    "n",
    "-w",
    "1",
    "-x",
    "i",
    "-z",
    "n",
]


def run_converter(inputs: Path, outputs: Path, label: str, voxels: int) -> str:
    """Run dcm2niix; it is killed where it takes too long, and when the command is stopped.

    Args:
        inputs: The folder of the files.
        outputs: An empty folder.
        label: Of the series, for errors.
        voxels: Of the series.

    Returns:
        What it printed, which is never shown: it may repeat names.

    Raises:
        DataError: it takes too long.
        UsageError: it is not installed, or cannot be run.
    """
    environment = {"HOME": str(outputs), "PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    if "SYSTEMROOT" in os.environ:
        environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    command = [program(), *_OPTIONS, "-o", str(outputs), str(inputs)]
    said = outputs / "said.txt"
    try:
        with (
            said.open("wb") as file,
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, cwd=outputs
            ) as running,
        ):
            _limit(running.pid, voxels)
            try:
                running.wait(SECONDS)
            except BaseException:  # also when the command is stopped
                running.kill()
                raise
    except subprocess.TimeoutExpired:
        raise DataError(
            f"{label}: dcm2niix took more than {SECONDS} s and was stopped; is the series damaged?"
        ) from None
    except OSError as error:
        raise UsageError(f"dcm2niix cannot be run ({error.strerror}); install it again") from None
    with said.open("rb") as words:
        return words.read(_MOST_SAID).decode("utf-8", "replace")


def program() -> str:
    """The path of dcm2niix.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec("dcm2niix") is not None:
        import dcm2niix  # an extra that may be absent

        return str(dcm2niix.bin)
    if found := shutil.which("dcm2niix"):
        return found
    raise UsageError('converting DICOM needs dcm2niix: pip install "lacunet[dicom]"')


def _limit(process: int, voxels: int) -> None:
    """Limit the memory of a process, and the size of the files that it writes, where the system can (Linux)."""
    if sys.platform == "linux":
        import resource  # there is none on Windows

        memory, written = MEMORY + MEMORY_PER_VOXEL * voxels, OTHER_BYTES + LARGEST_VOXEL * voxels
        for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, written)):
            resource.prlimit(process, kind, (most, most))
