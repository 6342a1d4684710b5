"""What the official BIDS validator says of a folder; tests that need it are skipped where it is not installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")

needs_validator = pytest.mark.skipif(not VALIDATOR.is_file(), reason="pip install bids-validator-deno")


def validated(folder: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str, str]]]:
    """Errors as (code, place), and warnings as (code, place, key)."""
    command = [str(VALIDATOR), str(folder), "--format", "json", "--max-rows", "-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    issues = json.loads(done.stdout)["issues"]["issues"]
    errors = {(one["code"], one.get("location", "")) for one in issues if one["severity"] == "error"}
    warnings = {
        (one["code"], one.get("location", ""), one.get("subCode", "")) for one in issues if one["severity"] == "warning"
    }
    assert (done.returncode != 0) == bool(errors), done.stderr
    return errors, warnings
