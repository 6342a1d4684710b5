"""Invented patients at 4 mm, made once for all tests; commands as typed; registration from few starts."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

# It must come before every module of lacunet.
import shapes_checked  # noqa: F401
from lacunet.case import CaseFiles, Grid
from lacunet.cli.main import main
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.intake import build
from lacunet.intake.align import register
from lacunet.intake.align.atlas import case_grid
from lacunet.intake.align.strip import upright_grid
from lacunet.segmentation import answer
from phantoms_made import KEPT, write_phantoms
from typed import Run, typed

_MADE_HERE: list[Path] = []


def pytest_configure() -> None:
    if KEPT not in os.environ:  # else this process is a worker of one that has set it
        _MADE_HERE.append(Path(tempfile.mkdtemp(prefix="phantoms-of-tests-")))
        os.environ[KEPT] = str(_MADE_HERE[0])


def pytest_collection_finish() -> None:
    """What is there now stays: no collection of garbage looks through it again, which tests/node asks for often."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    for folder in _MADE_HERE:
        shutil.rmtree(folder, ignore_errors=True)


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
def lacunet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: its exit status, what it printed, and its complaints."""
    return typed("lacunet", main, monkeypatch, capsys)


@pytest.fixture
def no_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the masks of untrained networks were usual ones; tests/segmentation/test_doubts.py has the others."""
    monkeypatch.setattr(answer, "doubts_of", lambda *arguments: [])


@pytest.fixture(scope="module")
def few_starts() -> Iterator[None]:
    """Registration from two starts that turn nothing, by a fifth of the places: quick, and to about 1 mm.

    That it finds its place from anywhere, and how well, is tested in tests/intake/align/test_register.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(register, "product", lambda angles, repeat: [(0.0,) * repeat])
        patch.setattr(register, "LEVELS", tuple(replace(one, samples=one.samples // 5) for one in register.LEVELS))
        patch.setattr(register, "FINEST", replace(register.FINEST, samples=register.FINEST.samples // 5))
        yield


@pytest.fixture(scope="module")
def coarse_cases(few_starts: None) -> Iterator[None]:
    """Imported cases of 3 mm, as coarse as the invented scans that they are made from: 27 times fewer voxels.

    Cases of 1 mm are tested in tests/intake/test_build.py.
    """
    fine, places = case_grid(), np.diag([3.0, 3.0, 3.0, 1.0])
    places[:3, 3] = fine.affine[:3, 3] + 1.0
    x, y, z = (side // 3 for side in fine.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "case_grid", lambda: Grid((x, y, z), places))
        patch.setattr(build, "upright_grid", lambda grid, spacing: upright_grid(grid, 3 * spacing))
        yield
