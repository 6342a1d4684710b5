"""import.json: what is written is read, and a value that cannot be is named before it is used."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.errors import DataError
from lacunet.intake.align.quality import Judgement
from lacunet.intake.align.rigid import Rigid
from lacunet.intake.found import Caution
from lacunet.intake.record import HowFound, ImportRecord, Placed, Step, import_facts, read_record, write_record
from lacunet.task import GLIOMA

GRID = Grid((4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = HowFound({"t1c": "series 3"}, ["series 1: a localiser"], cautions=[Caution("age", "the patient is 12")])
    placed = Placed(GRID, Rigid.about((1, 2, 3), (10, 0, 5), (0, 1, 0)), True, 0.9)
    steps, judged = [Step("read", 1.5, "two scans")], [Judgement("brain", 1400.0, "good", "1400 ml")]
    record = ImportRecord("anna", GRID, "t1c", {"t1c": placed}, steps, judged, ["look"], {"lacunet": "1"}, found)
    write_record(tmp_path / "import.json", record)
    return tmp_path


def change(folder: Path, key: str, value: object) -> None:
    content: dict[str, Any] = json.loads((folder / "import.json").read_text())
    below: Any = content
    *sections, last = key.split(".")
    for section in sections:
        below = below[int(section) if isinstance(below, list) else section]
    below[int(last) if isinstance(below, list) else last] = value
    (folder / "import.json").write_text(json.dumps(content))


def test_what_is_written_is_read(folder: Path) -> None:
    record = read_record(folder)
    assert (record.case, record.reference, record.warnings, record.versions) == (
        "anna", "t1c", ["look"], {"lacunet": "1"},
    )  # fmt: skip
    assert record.grid.shape == (4, 5, 6)
    np.testing.assert_array_equal(record.grid.affine, GRID.affine)
    assert record.scans["t1c"].stripped
    assert record.moved
    assert record.steps == [Step("read", 1.5, "two scans")]
    assert record.judgements[0].verdict == "good"
    assert record.found.cautions == [Caution("age", "the patient is 12")]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("grid.shape", [10**6] * 3, "'grid.shape.0' = 1000000: input should be less than or equal to 4096"),
        ("grid.shape", [4096] * 3, "'grid': more than 134,217,728 voxels"),
        ("grid.shape", [0, 5, 6], "'grid.shape.0' = 0: "),
        ("grid.shape", [4, 5], "'grid.shape"),
        ("grid.affine", [[0.0] * 4] * 4, "'grid': the last row of an affine"),
        ("grid.affine.0.0", 1e6, "'grid': grid: spacing"),
        ("grid.affine.3", [0, 0, 1, 1], "'grid': the last row of an affine"),
        ("grid.affine.0.0", "1", "'grid.affine.0.0' = '1': "),
        ("grid", 7, "'grid' = 7: "),
        ("scans", {}, "'scans' = {}: "),
        ("scans.t1c.scan_to_case.0.0", 5.0, "'scans.t1c.scan_to_case': the matrix does more than rotate and shift"),
        ("scans.t1c.scan_to_case", [], "'scans.t1c.scan_to_case.0' is missing|'scans.t1c.scan_to_case' = "),
        ("scans.t1c.coverage", 2, "'scans.t1c.coverage' = 2: "),
        ("scans.t1c.stripped", "no", "'scans.t1c.stripped' = 'no': "),
        ("steps.0.seconds", "x", "'steps.0.seconds' = 'x': "),
        ("judgements.0.verdict", "great", "'judgements.0.verdict' = 'great': "),
        ("cautions.0.kind", "x" * 300, r"'cautions.0.kind' = 'x{59}\.\.\.: "),
        ("found.scans", 1, "'found.scans' = 1: "),
        ("versions", [], r"'versions' = \[\]: "),
    ],
)
def test_a_value_that_cannot_be_is_named(folder: Path, key: str, value: object, words: str) -> None:
    change(folder, key, value)
    with pytest.raises(DataError, match=rf"import\.json: .*({words}).*; import the case again$"):
        read_record(folder)


def test_a_case_without_it_was_not_imported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"import\.json: is not there; this case was not made by lacunet import"):
        read_record(tmp_path)


def test_a_sequence_that_the_task_lacks_is_not_shown(folder: Path) -> None:
    change(folder, "found.scans", {"t1c": "series 3", "step": "series 4"})
    assert import_facts(read_record(folder), GLIOMA)["taken for T1ce"] == "series 3"
    assert "series 4" not in str(import_facts(read_record(folder), GLIOMA))
