"""sources.csv: whose result it is, private, and right after a second run."""

import csv
import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lacunet.case import CaseFiles, ImageFile
from lacunet.data import source_table
from lacunet.data.source_table import (
    COLUMNS,
    SourceRow,
    failed_rows,
    inputs_of,
    relative,
    rows_of_files,
    sha256_of,
    write_sources,
)
from lacunet.errors import OutputError


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "sources.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_rows_of_a_case_are_replaced_and_those_of_others_stay(tmp_path):
    write_sources(tmp_path, [SourceRow("a", "/s/1", "t1c", "series 3", ("x, 1.dcm", "y;2.dcm"), "00")])
    write_sources(tmp_path, [SourceRow("b", "/s/2", "t1c"), SourceRow("", "/s/2", series="study", reason="is older")])
    write_sources(tmp_path, [SourceRow("a", "/s/3", "t2f", files=('größe\n"z".nii',)), SourceRow("a", "/s/3", "t1c")])
    write_sources(tmp_path, [SourceRow("", "/s/9", reason="x"), SourceRow("", "/s/2", reason="y")])
    write_sources(tmp_path, [])
    found = [(row["case"], row["source"], row["role"], row["files"], row["reason"]) for row in rows_in(tmp_path)]
    assert found == [
        ("b", "/s/2", "t1c", "", ""),
        ("a", "/s/3", "t2f", 'größe\n"z".nii', ""),
        ("a", "/s/3", "t1c", "", ""),
        ("", "/s/9", "", "", "x"),
        ("", "/s/2", "", "", "y"),
    ]
    assert (tmp_path / "sources.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [path.name for path in tmp_path.iterdir()] == ["sources.csv"]


def test_only_its_owner_may_read_it(tmp_path):
    for _ in range(2):
        write_sources(tmp_path / "out", [SourceRow("a", "/s")])
        assert stat.S_IMODE((tmp_path / "out" / "sources.csv").stat().st_mode) == 0o600


def test_several_processes_write_one_table(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_sources(tmp_path, [SourceRow(f"case-{number}", "/s")]), range(40)))
    assert sorted(row["case"] for row in rows_in(tmp_path)) == sorted(f"case-{number}" for number in range(40))


def test_a_lock_that_was_left_behind_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(source_table, "PATIENCE_SECONDS", 0.1)
    (tmp_path / ".sources.csv.lock").touch()
    write_sources(tmp_path, [SourceRow("a", "/s")])
    assert [path.name for path in tmp_path.iterdir()] == ["sources.csv"]


def test_another_file_of_that_name_is_not_replaced(tmp_path):
    columns = ",".join(COLUMNS).encode()
    for content in (b"name,age\nx,3\n", b"\xff\xfe\x00", b"", columns + b"\na,b\n", columns + b"\n" + b"," * 9):
        (tmp_path / "sources.csv").write_bytes(content)
        with pytest.raises(OutputError, match=r"sources\.csv: is no table of sources that lacunet wrote; move it away"):
            write_sources(tmp_path, [SourceRow("a", "/s")])
        assert (tmp_path / "sources.csv").read_bytes() == content
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_sources(tmp_path / "file", [SourceRow("a", "/s")])


def test_the_digest_is_that_of_the_files_one_after_another(tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"slice 1")
    two.write_bytes(b"slice 2")
    assert sha256_of([one, two]) == hashlib.sha256(b"slice 1slice 2").hexdigest()
    assert sha256_of([two, one]) != sha256_of([one, two])
    assert sha256_of([one, tmp_path / "3"]) == sha256_of([]) == ""


def test_a_case_has_a_row_for_each_scan_below_the_folder_of_all(tmp_path):
    for name in ("t/gd.nii.gz", "f/flair.nii.gz", "f/seg.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    images = {"t1c": ImageFile(tmp_path / "t/gd.nii.gz"), "t2f": ImageFile(tmp_path / "f/flair.nii.gz")}
    rows = rows_of_files(CaseFiles("a", "a", images, ImageFile(tmp_path / "f/seg.nii.gz"), "plain", None))
    assert [(row.role, row.files, row.source) for row in rows] == [
        ("t1c", ("t/gd.nii.gz",), str(tmp_path)),
        ("t2f", ("f/flair.nii.gz",), str(tmp_path)),
        ("reference", ("f/seg.nii.gz",), str(tmp_path)),
    ]
    assert inputs_of(rows) == {
        "t1c": sha256_of([tmp_path / "t/gd.nii.gz"]),
        "t2f": sha256_of([tmp_path / "f/flair.nii.gz"]),
    }
    assert [row.reason for row in failed_rows([*rows[:1], SourceRow("a", "/s", reason="is a mask")], "no")] == [
        "failed: no",
        "is a mask",
    ]
    assert relative(tmp_path / "t" / "x", tmp_path / "f") == str(tmp_path / "t" / "x")
