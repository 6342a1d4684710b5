"""Every script and every benchmark can be started."""

import subprocess
import sys

import pytest

from small import ROOT

FILES = sorted(path.relative_to(ROOT) for folder in ("scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

START = """
import importlib.util, sys
sys.path.insert(0, sys.argv[2])
spec = importlib.util.spec_from_file_location("started", sys.argv[1])
module = sys.modules["started"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=str)
def test_whatever_a_script_imports_is_there(file) -> None:
    command = [sys.executable, "-c", START, str(ROOT / file), str((ROOT / file).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
