"""Copies of scans in temporary folders: gone however the program ends, and of killed programs at the next start."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lacunet.errors import OutputError
from lacunet.files import whole_folder
from lacunet.scratch import LOCK, LONGEST_PATH, require_short_path, scratch_folder, sweep_scratch
from phantoms_made import make_phantom
from small import ROOT

pytest.importorskip("pydicom", reason='needs the extra "dicom"')

from dicom_made import Examination

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def left_by_a_dead_program(folder: Path) -> Path:
    """A folder as a killed program leaves it."""
    (folder / "files" / "scans").mkdir(parents=True)
    (folder / "files" / "scans" / "a.nii").write_bytes(b"a scan")
    (folder / LOCK).touch()
    return folder


def test_a_folder_is_private_and_goes_and_a_living_one_is_not_swept(temporary: Path) -> None:
    with scratch_folder() as one, scratch_folder() as other:
        (one / "a.nii").write_bytes(b"a scan")
        assert {path.stat().st_mode & 0o777 for path in (one, one.parent, other)} == {0o700}
        assert all(path.name.startswith("lacunet-") for path in temporary.iterdir())
        sweep_scratch()
        assert (one / "a.nii").exists()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_program_left_is_swept_and_nothing_else(temporary: Path, tmp_path: Path) -> None:
    outside = left_by_a_dead_program(tmp_path / "outside")
    left_by_a_dead_program(temporary / "lacunet-dead")
    (temporary / "lacunet-dead" / "files" / "link").symlink_to(outside)
    left_by_a_dead_program(temporary / "another-name")
    left_by_a_dead_program(temporary / "lacunet-no-lock")
    (temporary / "lacunet-no-lock" / LOCK).unlink()
    left_by_a_dead_program(temporary / "lacunet-linked-lock")
    (temporary / "lacunet-linked-lock" / LOCK).unlink()
    (temporary / "lacunet-linked-lock" / LOCK).symlink_to(outside / LOCK)
    (temporary / "lacunet-link").symlink_to(outside)
    before = {path.name for path in temporary.iterdir()}
    sweep_scratch()
    assert {path.name for path in temporary.iterdir()} == before - {"lacunet-dead"}
    assert (outside / "files" / "scans" / "a.nii").exists()


def test_a_result_that_a_killed_program_was_writing_goes_with_the_next_one(tmp_path: Path) -> None:
    for name in (".0123abcd-case", ".0123abcd-old-case", ".hidden", "case"):
        (tmp_path / name / "scan").mkdir(parents=True)
    with whole_folder(tmp_path / "one") as one, whole_folder(tmp_path / "two"):
        assert one.exists()
        assert not (tmp_path / ".0123abcd-case").exists()
    assert {path.name for path in tmp_path.iterdir()} == {".0123abcd-old-case", ".hidden", "case", "one", "two"}


def test_a_folder_that_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"temporary files: cannot be written \(Not a directory\)"), scratch_folder():
        pass


# ---------------------------------------------------------------- commands that are stopped


IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may themselves run under nohup
signal.signal(signal.SIGHUP, signal.SIG_DFL)
source, output, program, terminal = sys.argv[1:]
if terminal:
    os.open(terminal, os.O_RDWR)  # becomes the terminal of this session
from lacunet.cli.main import main
from lacunet.intake.read import converter
converter.program = lambda: program
sys.argv[1:] = ["import", source, "-o", output]
main()
"""
SLEEPER = '#!/bin/sh\necho $$ > "{started}.new"\nmv "{started}.new" "{started}"\nexec sleep 100\n'


@dataclass
class Running:
    """An import that waits for its converter, which sleeps."""

    process: "subprocess.Popen[str]"
    converter: int
    temporary: Path


@contextmanager
def importing(folder: Path, terminal: str = "") -> Iterator[Running]:
    image = dict(make_phantom(3, spacing=8.0).images)["t2f"]
    Examination(folder / "scans").write(image, np.diag([8.0, 8, 8, 1]), 6, "FLAIR", "t2f")
    source = shutil.make_archive(str(folder / "export"), "zip", folder / "scans")
    program, started, temporary = folder / "converter", folder / "started", folder / "temporary"
    temporary.mkdir()
    program.write_text(SLEEPER.format(started=started))
    program.chmod(0o700)
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORT, source, str(folder / "cases"), str(program), terminal],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary)},
    )  # fmt: skip
    try:
        wait_until(lambda: started.exists() or process.poll() is not None)
        assert started.exists(), process.stderr and process.stderr.read()
        (scratch, *_) = [path for path in temporary.iterdir() if any(path.rglob("*.dcm"))]
        assert scratch.stat().st_mode & 0o777 == 0o700
        yield Running(process, int(started.read_text()), temporary)
    finally:
        process.kill()
        process.communicate()


def wait_until(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().split()[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_import_that_is_stopped_leaves_no_scan_and_no_converter(tmp_path: Path, number: signal.Signals) -> None:
    with importing(tmp_path) as running:
        running.process.send_signal(number)
        _, said = running.process.communicate(timeout=30)
        assert running.process.returncode == 128 + number
        assert said.strip().splitlines()[-1] == (
            "lacunet: stopped; lacunet import goes on where it stopped with the same options and --resume"
        )
        assert list(running.temporary.iterdir()) == []
        assert not is_alive(running.converter)


def test_an_import_whose_terminal_is_closed_leaves_no_scan(tmp_path: Path) -> None:
    keyboard, terminal = os.openpty()
    with importing(tmp_path, os.ttyname(terminal)) as running:
        os.close(terminal)
        os.close(keyboard)
        assert running.process.wait(30) == 128 + signal.SIGHUP
        assert list(running.temporary.iterdir()) == []


def test_what_a_killed_import_leaves_is_gone_after_the_next_start(tmp_path: Path) -> None:
    with importing(tmp_path) as running:
        running.process.kill()
        running.process.wait()
        os.kill(running.converter, signal.SIGKILL)
        assert list(running.temporary.iterdir())
        subprocess.run(
            [sys.executable, "-m", "lacunet", "--version"], check=True, stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(running.temporary)},
        )  # fmt: skip
        assert list(running.temporary.iterdir()) == []


def test_worker_processes_get_a_socket_in_the_longest_path_that_is_allowed() -> None:
    above = Path(tempfile.gettempdir())
    folder = above / ("x" * (LONGEST_PATH - len(os.fsencode(above)) - 1))
    folder.mkdir()
    try:
        opening = "from multiprocessing.connection import Listener; Listener().close()"
        done = subprocess.run([sys.executable, "-c", opening], env={**os.environ, "TMPDIR": str(folder)}, check=False)
        assert done.returncode == 0
    finally:
        shutil.rmtree(folder)


def test_a_longer_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * LONGEST_PATH)
    with pytest.raises(OutputError, match=r"its path has 71 bytes, and worker .* at most 70; set TMPDIR"):
        require_short_path()
