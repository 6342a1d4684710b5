"""Damaged input of every format is read or refused with a LacunetError; nothing else happens."""

import sys
from pathlib import Path

import pytest

from fuzz import faulty
from fuzz.formats import Format, Reading
from fuzz.readers import all_formats
from fuzz.run import fuzz, table, tallies
from fuzz.worker import mutant

NAMES = [one.name for one in all_formats()]
FEW, MANY = 50, 10_000

SAY_NOTHING = ("sidecar and participants",)
"""What lies beside an image is used where it can be read; it never keeps the image from being read."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")


@pytest.fixture(scope="module")
def few() -> dict[str, list[Reading]]:
    found = fuzz(NAMES, -1, FEW)
    return {name: [one for one in found if one.format == name] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_good_sample_is_read_and_damaged_ones_are_read_or_refused(name: str, few: dict[str, list[Reading]]) -> None:
    assert [one.number for one in few[name]] == list(range(-1, FEW))
    assert few[name][0].result == "read", few[name][0].words
    assert not [one for one in few[name] if one.result == "other"]
    assert name in SAY_NOTHING or "refused" in {one.result for one in few[name]}


@pytest.mark.fuzz
def test_ten_thousand_of_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    found = tallies([reading for name in NAMES for reading in fuzz([name], 0, MANY)])
    with capsys.disabled():
        sys.stdout.write(f"\n{table(found)}\n")
    assert not [fault for one in found for fault in one.faults]


@pytest.mark.parametrize("one", all_formats(), ids=NAMES)
def test_a_number_gives_the_same_mutant_again(one: Format, tmp_path: Path) -> None:
    contents, again = (_sample(one, tmp_path / name) for name in ("first", "second"))
    changed = {number: mutant(one, contents, number) for number in range(20)}
    assert changed == {number: mutant(one, again, number) for number in range(20)}
    assert sum(content != contents[name] for name, content in changed.values()) > 15


def _sample(one: Format, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    one.write(folder)
    return {name: (folder / name).read_bytes() for name in one.ways}


# ---------------------------------------------------------------- the watch itself


@pytest.mark.parametrize("name", [one.name for one in faulty.all_formats() if one.name not in faulty.GOOD])
def test_every_fault_of_a_reader_is_seen(name: str) -> None:
    found = fuzz([name], 0, 1, "fuzz.faulty", seconds=2.0, most=2**27)
    assert [one.result for one in found][-1] == "other"
    assert not Path("/EVIL").exists()


def test_reading_goes_on_after_the_end_of_a_process() -> None:
    names = ["reads", "ends by a signal", "refuses"]
    found = fuzz(names, 0, 3, "fuzz.faulty")
    assert [(one.format, one.number, one.result) for one in found] == [
        *(("reads", number, "read") for number in range(3)),
        *(("ends by a signal", number, "other") for number in range(3)),
        *(("refuses", number, "refused") for number in range(3)),
    ]
