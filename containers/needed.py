"""What a container needs of requirements.lock, with hashes: `python containers/needed.py cpu` (or `cuda`), on standard
output. Packages for tests and development stay out, for `cpu` also torch, which containers/torch-cpu.txt has. With `uv`
it is uv alone, which installs that.

The lock says of each package what needs it (`# via`). Those that lacunet itself needs are in pyproject.toml.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("dicom", "strip")
BUILD = ("setuptools",)
"""The package itself is built with these, since a build of its own would download what has no hash."""

_OF_GPU = re.compile(r"(nvidia|cuda)-|triton$")


@dataclass(frozen=True)
class Locked:
    """A package of the lock.

    Attributes:
        text: Its lines, with version, marker and hashes.
        needed_by: Names of packages.
    """

    text: str
    needed_by: frozenset[str]


def plain(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct() -> set[str]:
    """What lacunet needs at run time, and what builds it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra]), *BUILD]
    return {plain(re.split(r"[\[<>=~ ;]", one)[0]) for one in wanted}


def locked() -> dict[str, Locked]:
    """The packages of the lock, by name."""
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n".join(line for line in lines if not line.startswith("#")))
    return {plain(re.split(r"==", entry)[0]): _locked(entry) for entry in entries if "==" in entry}


def _locked(entry: str) -> Locked:
    said = re.findall(r"^    #(?: via)? +(\S+)$", entry, re.MULTILINE)
    text = "\n".join(line for line in entry.splitlines() if not line.lstrip().startswith("#"))
    return Locked(text, frozenset(plain(name) for name in said))


def needed(variant: str) -> Iterator[str]:
    """The entries for a container."""
    entries, kept = locked(), {"uv"} if variant == "uv" else direct()
    while more := {name for name, one in entries.items() if name not in kept and one.needed_by & kept}:
        kept |= more
    for name, one in entries.items():
        if name in kept and not (variant == "cpu" and (name == "torch" or _OF_GPU.match(name))):
            yield one.text


if __name__ == "__main__":
    if sys.argv[1:] not in (["cpu"], ["cuda"], ["uv"]):
        sys.exit("containers/needed.py: give cpu, cuda or uv")
    sys.stdout.writelines(f"{entry}\n" for entry in needed(sys.argv[1]))
