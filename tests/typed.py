"""Programs as they are typed, in the process of the test."""

import sys
from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]
"""Takes the words behind a program's name; gives its exit status, what it printed, and its complaints."""


def typed(
    name: str, program: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """What runs a program as if it were typed under this name."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        with pytest.raises(SystemExit) as left:
            program()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run
