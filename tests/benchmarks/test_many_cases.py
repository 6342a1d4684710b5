"""A whole training of more cases than it may open files, as `benchmarks/many_cases.py` measures it."""

import subprocess
import sys

import pytest

from small import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="memory of several processes is measured on Linux only")
def test_a_training_of_a_hundred_cases_needs_few_open_files_and_little_memory() -> None:
    words = ["--cases", "100", "--steps", "3", "--workers", "2", "--descriptors", "64"]
    command = [sys.executable, ROOT / "benchmarks" / "many_cases.py", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    cases, gigabytes, files, _ = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    assert int(cases) == 100
    assert 0 < float(gigabytes) < 1.5
    assert 0 < int(files) <= 64
