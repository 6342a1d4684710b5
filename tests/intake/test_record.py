"""import.json: read back as it was written, and refused where a value cannot be."""

import json
import re
from collections.abc import Callable
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

GRID = Grid((10, 11, 12), np.diag([1.0, 1.5, 2.0, 1.0]))


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    """The fields of import.json, which lies in `tmp_path`."""
    found = HowFound({"t1c": "series 4"}, ["series 5: a localiser"], cautions=[Caution("age", "it is a child's")])
    step, judgement = Step("register", 1.5, "nothing was moved"), Judgement("brain", 0.9, "good", "it is whole")
    scans = {"t1c": Placed(GRID, Rigid.about((0, 0, 0), (0, 0, 30), (1, 2, 3)), True, 0.98)}
    write_record(
        tmp_path / "import.json",
        ImportRecord("case-1", GRID, "t1c", scans, [step], [judgement], ["a warning"], {"lacunet": "0"}, found),
    )
    fields: dict[str, Any] = json.loads((tmp_path / "import.json").read_text())
    return fields


def test_a_record_is_read_as_it_was_written(tmp_path: Path, record: dict[str, Any]) -> None:
    read = read_record(tmp_path)
    write_record(tmp_path / "again.json", read)
    assert json.loads((tmp_path / "again.json").read_text()) == record
    assert import_facts(read, GLIOMA)["left out"] == "series 5: a localiser"


HUGE = 10**400
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a shape without end": (lambda fields: fields["grid"].update(shape=[float("inf"), 1, 1]), "damaged"),
    "a shape that no memory holds": (lambda fields: fields["grid"].update(shape=[10**6, 10**6, 10**6]), "a shape is"),
    "an empty shape": (lambda fields: fields["grid"].update(shape=[0, 11, 12]), "a shape is three numbers of voxels"),
    "a number too large": (lambda fields: fields["grid"]["affine"][0].__setitem__(0, HUGE), "damaged"),
    "too many seconds": (lambda fields: fields["steps"][0].update(seconds=HUGE), "damaged"),
    "voxels of a kilometre": (lambda fields: fields["grid"]["affine"][0].__setitem__(0, 1e6), "spacing"),
    "a turn without end": (
        lambda fields: fields["scans"]["t1c"]["scan_to_case"][0].__setitem__(0, 1e200),
        "does more than rotate and shift",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_value_that_cannot_be_is_refused(tmp_path: Path, record: dict[str, Any], what: str) -> None:
    change, message = BROKEN[what]
    change(record)
    (tmp_path / "import.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=re.escape(message)):
        read_record(tmp_path)


def test_brackets_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "import.json").write_text("[" * 10**5)
    with pytest.raises(DataError, match="damaged"):
        read_record(tmp_path)


@pytest.mark.parametrize("reason", [1.5, ["a", "b"], None])
def test_a_reason_that_is_no_text_is_shown_as_text(tmp_path: Path, record: dict[str, Any], reason: object) -> None:
    record["found"]["left_out"] = [reason]
    (tmp_path / "import.json").write_text(json.dumps(record))
    assert import_facts(read_record(tmp_path), GLIOMA)["left out"] == str(reason)
