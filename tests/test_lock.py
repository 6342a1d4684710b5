"""requirements.lock: the versions of constraints.txt with their hashes, and nothing that is needed is left out."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, tuple[str, int]]:
    """By name: the version, and how many hashes it has."""
    found = {}
    for entry in re.split(r"\n(?=[a-zA-Z0-9])", (ROOT / "requirements.lock").read_text("utf-8")):
        if match := re.match(r"([\w.-]+)==([\w.+!-]+)", entry):
            found[plain(match[1])] = (match[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)))
    return found


def test_every_locked_version_has_a_hash() -> None:
    assert len(locked()) > 100
    assert not [name for name, (_, hashes) in locked().items() if not hashes]


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {plain(name): version for name, _, version in (line.partition("==") for line in lines[1:])}
    both = {name: (version, pinned[name]) for name, (version, _) in locked().items() if name in pinned}
    assert len(both) > 80
    assert not {name: two for name, two in both.items() if len(set(two)) > 1}


def test_the_lock_has_whatever_the_package_and_its_tests_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(one for extra in ("dicom", "node", "swin", "strip", "ray", "slurm", "test", "dev") for one in extras[extra]),
    ]
    names = {plain(re.split(r"[\[<>=~ ]", one)[0]) for one in wanted} - {"lacunet"}
    assert not names - set(locked())
