"""Invented patients at 4 mm, made once for all tests."""

from pathlib import Path

import pytest

from lacunet.case import CaseFiles
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.phantom import write_phantoms


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    """Three cases with all four modalities and a reference."""
    folder: Path = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, count=3, seed=1, spacing=4.0)
    return with_conventions(find_cases(folder))
