"""Work on many cases is shared by processes, and its results are those of one."""

from pathlib import Path

import pytest

from lacunet.case import CaseFiles
from lacunet.crew import over_cores as pool
from lacunet.crew.over_cores import over_cores
from lacunet.data.check import check
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.task import GLIOMA


def test_a_check_by_several_processes_finds_what_one_finds(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = phantoms[0].images["t1c"].path.parents[1]
    monkeypatch.setattr(pool, "usable_cores", lambda: 2)
    monkeypatch.setattr(pool, "map", None, raising=False)  # this process reads none
    shared = check(source, GLIOMA, each=lambda work, cases: over_cores(work, cases, few=1))
    assert shared == check(source, GLIOMA)
    assert len(shared.cases) == 3
    assert not shared.all_problems
    files = find_cases(source, GLIOMA)
    decided = with_conventions(files, GLIOMA, each=lambda work, masks: over_cores(work, masks, few=1))
    assert decided == with_conventions(files, GLIOMA)
    assert {case.convention for case in decided} == {"brats2023"}


def test_few_cases_and_commands_that_have_a_core_each_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", None)
    monkeypatch.setattr(pool, "usable_cores", lambda: 2)
    assert list(over_cores(abs, [-1] * 200, commands=2)) == [1] * 200
    assert list(over_cores(abs, [-1, -2])) == [1, 2]
