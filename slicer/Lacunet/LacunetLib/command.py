"""Command lines of the installed program `lacunet`, and what its failures say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import LacunetProblem

SEQUENCES = {"t1n": "T1", "t1c": "T1ce", "t2w": "T2", "t2f": "FLAIR"}
"""Names of lacunet, and names for people; in the order of the selectors."""

CASE = "case"
"""What the case is called in all files: the names of nodes may be those of patients."""

CONVENTION = "brats2023"
"""Of the masks that are asked for: 1 necrotic core, 2 oedema, 3 enhancing."""

INSTALL = "install lacunet (pip install lacunet) in a Python of its own, and name its program under Settings"

_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def find_program(setting: str, environment: Mapping[str, str]) -> str:
    """The program `lacunet`.

    Args:
        setting: Its path, or the folder of the Python environment that has it; empty: it is looked for in PATH.
        environment: In which it will run.

    Raises:
        LacunetProblem: it is not there, or cannot be run.
    """
    if not setting.strip():
        found = shutil.which("lacunet", path=environment.get("PATH", ""))
        if found is None:
            raise LacunetProblem(f"the program lacunet is not in PATH; {INSTALL}")
        return found
    path = Path(setting.strip()).expanduser()
    inside = [path / part / name for part in ("", "bin", "Scripts") for name in ("lacunet", "lacunet.exe")]
    for candidate in inside if path.is_dir() else [path]:
        if candidate.is_file():
            if not os.access(candidate, os.X_OK):
                raise LacunetProblem(f"{candidate} may not be run; change its permissions, or {INSTALL}")
            return str(candidate)
    raise LacunetProblem(f"{path} is not the program lacunet, and no folder that has it; {INSTALL}")


def environment_for(startup: Mapping[str, str]) -> dict[str, str]:
    """The environment of the program: the one in which Slicer was started, without what is for Slicer's Python."""
    kept = {name: value for name, value in startup.items() if name not in ("PYTHONHOME", "PYTHONSTARTUP")}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"}


def segment_command(program: str, scans: Mapping[str, Path], model: str, output: Path, options: str = "") -> list[str]:
    """The command that segments one case.

    Args:
        program: `find_program`.
        scans: By the sequence's name; files.
        model: Name or folder of a model; empty: the default.
        output: A folder for the results.
        options: More options, separated by spaces; in quotation marks where they have some.

    Raises:
        LacunetProblem: there is no scan, a sequence is unknown, a file is not there, or a quotation mark is not closed.
    """
    if not scans:
        raise LacunetProblem(f"no scan is chosen; choose one to four of {', '.join(SEQUENCES.values())}")
    unknown = [name for name in scans if name not in SEQUENCES]
    if unknown:
        raise LacunetProblem(f"unknown sequence '{unknown[0]}'; known: {', '.join(SEQUENCES)}")
    gone = [SEQUENCES[name] for name, path in scans.items() if not Path(path).is_file()]
    if gone:
        raise LacunetProblem(f"the file of {gone[0]} is not there; export the scan again")
    given = [word for name in SEQUENCES if name in scans for word in (f"--{name}", str(scans[name]))]
    try:
        more = shlex.split(options, posix=os.name != "nt")
    except ValueError as error:
        raise LacunetProblem(f"the further options cannot be read ({error}); close the quotation marks") from error
    words = [program, "segment", *given, "--name", CASE, "--output", str(output), "--convention", CONVENTION]
    return [*words, *(["--model", model.strip()] if model.strip() else []), "--overwrite", *more]


def measure_command(program: str, mask: Path, case: Path, output: Path) -> list[str]:
    """The command that measures a corrected mask against the case's.

    Args:
        program: `find_program`.
        mask: The corrected mask.
        case: The folder of the case's results.
        output: A JSON file.
    """
    words = [program, "measure", str(mask), "--case", str(case), "--labels", CONVENTION]
    return [*words, "--output", str(output), "--overwrite"]


def readable(output: bytes) -> str:
    """What a program printed, as plain text."""
    return _UNPRINTABLE.sub("", output.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n"))


def why_it_failed(printed: str, status: int, crashed: bool = False) -> str:
    """Why the program failed, in one line.

    Args:
        printed: All that it printed.
        status: Its exit status.
        crashed: Whether it was killed, or ended by a fault.
    """
    lines = [line.strip() for line in printed.split("\n") if line.strip()]
    own = [line[len("lacunet: ") :] for line in lines if line.startswith("lacunet: ")]
    about = [line[len(CASE) + 2 :] for line in lines if line.startswith(f"{CASE}: ")]
    if own:
        return own[-1]
    if crashed:
        return "lacunet was ended from outside, perhaps for lack of memory; close other programs, and try again"
    if about:
        return about[-1]
    if lines:
        return f"lacunet ended with status {status}: {lines[-1]}"
    return f"lacunet ended with status {status} and said nothing; run it in a terminal to see more"
