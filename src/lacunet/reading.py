"""Text, JSON and TOML that others wrote: bounded in size and depth, numbers finite, no key twice."""

import errno
import json
import math
import tomllib
from pathlib import Path
from typing import Any

from lacunet.errors import LacunetError

LARGEST = 8 * 2**20
"""Bytes of a file, unless its reader says otherwise."""
DEEPEST = 64
"""Values inside each other. What lacunet writes has at most eight."""
ADVICE = {
    errno.ENOENT: "check the path",
    errno.EACCES: "ask for the right to read it",
    errno.EPERM: "ask for the right to read it",
    errno.EISDIR: "give a file",
    errno.ELOOP: "its link leads in a circle; give the file itself",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other programs",
    errno.ENFILE: "close other programs",
}
"""What to do about a reason of the system not to read a file."""
_INTEGERS = range(-(2**63), 2**63)
_SHOWN = 60


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have (300 letters, a zero byte) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no folder can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def folders_in(folder: Path, error: type[LacunetError], label: str) -> list[str]:
    """The names of the folders in a folder, sorted.

    Args:
        folder: Is there.
        error: What is raised.
        label: What the folder is called in errors.

    Raises:
        LacunetError: of the type `error`: it cannot be opened.
    """
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError as problem:
        what_to_do = ADVICE.get(problem.errno or 0, "check its disk")
        raise error(f"{label}: cannot be opened ({problem.strerror or problem}); {what_to_do}") from problem


def read_text(path: Path, error: type[LacunetError], advice: str, largest: int = LARGEST) -> str:
    """The text of a file.

    Args:
        path: The file, in UTF-8, with or without a byte order mark.
        error: What is raised.
        advice: What to do: the last words of the error.
        largest: Bytes.

    Raises:
        LacunetError: of the type `error`: it cannot be read, is larger than `largest`, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)  # a device or a pipe does not tell its size
    except OSError as problem:
        what_to_do = advice if isinstance(problem, FileNotFoundError) else ADVICE.get(problem.errno or 0, advice)
        raise error(f"{path}: cannot be read ({problem.strerror or problem}); {what_to_do}") from problem
    except ValueError as problem:  # a zero byte in the name
        raise error(f"{path}: cannot be read ({problem}); {advice}") from problem
    if len(content) > largest:
        raise error(f"{path}: larger than {largest / 2**20:g} MiB, the most that is read; {advice}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not text in UTF-8 (byte {problem.start}); {advice}") from problem


def read_json(path: Path, error: type[LacunetError], advice: str, largest: int = LARGEST) -> Any:
    """The values of a JSON file; see `read_text` and `parse_json` for the errors."""
    text = read_text(path, error, advice, largest)
    try:
        return parse_json(text)
    except ValueError as problem:
        raise error(f"{path}: not JSON ({problem}); {advice}") from problem


def parse_json(text: str) -> Any:
    """The values of JSON.

    Raises:
        ValueError: it is not JSON, an object has a key twice, a number is not finite or needs more than 64 bits, values
            are nested deeper than `DEEPEST`, or half a character is written.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError as problem:
        raise ValueError(_too_deep()) from problem
    _require_plain(value)
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """The values of TOML.

    Raises:
        ValueError: as `parse_json`.
    """
    try:
        values = tomllib.loads(text)
    except RecursionError as problem:
        raise ValueError(_too_deep()) from problem
    _require_plain(values)
    return values


def shown(value: object) -> str:
    """A value as an error shows it: cut after 60 characters."""
    text = "a number of many digits" if isinstance(value, int) and value not in _INTEGERS else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {shown(key)} is there twice")
        values[key] = value
    return values


def _require_plain(value: Any) -> None:
    """Refuse what later steps could not take. It does not call itself, which is what depth would break."""
    below = [(value, 0)]
    while below:
        one, depth = below.pop()
        if depth > DEEPEST:
            raise ValueError(_too_deep())
        if isinstance(one, dict):
            below += [(each, depth + 1) for pair in one.items() for each in pair]
        elif isinstance(one, list):
            below += [(each, depth + 1) for each in one]
        elif isinstance(one, str):
            _require_whole_characters(one)
        elif isinstance(one, float) and not math.isfinite(one):
            raise ValueError("a number is NaN or infinite")
        elif isinstance(one, int) and one not in _INTEGERS:
            raise ValueError("a whole number needs more than 64 bits")


def _require_whole_characters(text: str) -> None:
    """JSON can write half of a character (`\\ud800`), which no file and no terminal takes."""
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        raise ValueError("half of a character is written (\\ud800 to \\udfff)") from problem


def _too_deep() -> str:
    return f"more than {DEEPEST} values inside each other"
