"""Invented patients at 4 mm, made once for all tests; commands as typed; registration from few starts."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lacunet.case import CaseFiles
from lacunet.cli.main import main
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.phantom.phantom import write_phantoms
from lacunet.intake.align import register
from lacunet.segmentation import answer


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    """Three cases with all four modalities and a reference."""
    folder: Path = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, count=3, seed=1, spacing=4.0)
    return with_conventions(find_cases(folder))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of several threads would differ in the last bits from those of another process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def lacunet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: its exit status, what it printed, and its complaints."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lacunet", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def no_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the masks of untrained networks were usual ones; tests/segmentation/test_doubts.py has the others."""
    monkeypatch.setattr(answer, "doubts_of", lambda *arguments: [])


@pytest.fixture(scope="module")
def few_starts() -> Iterator[None]:
    """Registration from two starts that turn nothing, by a fifth of the places: quick, and to about 1 mm.

    That it finds its place from anywhere, and how well, is tested in test_intake_register.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(register, "product", lambda angles, repeat: [(0.0,) * repeat])
        patch.setattr(register, "LEVELS", tuple(replace(one, samples=one.samples // 5) for one in register.LEVELS))
        patch.setattr(register, "FINEST", replace(register.FINEST, samples=register.FINEST.samples // 5))
        yield
