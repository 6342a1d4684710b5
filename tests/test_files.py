"""Names that become paths, files that are written whole, and advice that fits the cause."""

import errno
import os
import re
import sys
from pathlib import Path

import pytest

from lacunet.errors import DataError, OutputError
from lacunet.files import (
    MOST_NAME_BYTES,
    path_in,
    plain_name,
    whole_file,
    whole_files,
    whole_folder,
    write_json,
    write_text,
)

HOSTILE = {
    "up": "../../../EVIL",
    "absolute": "/tmp/EVIL",
    "a folder": "a/b",
    "of Windows": "C:\\Windows",
    "a drive": "C:x",
    "backslash": "..\\EVIL",
    "here": ".",
    "above": "..",
    "hidden": ".hidden",
    "empty": "",
    "blank": " \t",
    "a line": "x\nlacunet: every case was segmented without a problem",
    "a return": "x\rdone",
    "escape": "x\x1b[2Jy",
    "one byte for escape": "x\x9b2Jy",
    "nothing": "x\0y",
    "delete": "x\x7fy",
    "mirrored": "x\u202egnp.y",
    "isolated": "x\u2066y",
    "end of line": "x\u2028y",
    "invisible": "x\u200by",
    "no text": "M\udcfcller",
    "device": "NUL",
    "device with a suffix": "con.nii",
    "device of many": "lpt1",
    "long": "x" * (MOST_NAME_BYTES + 1),
    "long in bytes": "é" * MOST_NAME_BYTES,
}
"""What a case may be called in a manifest or a folder, and no file may be."""

PLAIN = ("sub-01_ses-1.2 Müller", "试", "x" * MOST_NAME_BYTES, "a..b", "console", "nul1", "نام‌ها", "100% (new)")


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_refused_in_one_line_that_shows_no_mark_of_it(name: str) -> None:
    with pytest.raises(DataError, match="not a plain name, it ") as refused:
        path_in(Path("out"), name, ".csv")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("name", PLAIN)
def test_any_other_name_is_kept(name: str) -> None:
    assert plain_name(name) == name
    assert path_in(Path("out"), name, "-mask.nii.gz") == Path("out") / f"{name}-mask.nii.gz"


@pytest.mark.parametrize("ending", ["-/../../../EVIL.nii.gz", "-\x1b[2J.nii.gz", "-" + 100 * "x"])
def test_what_follows_a_name_cannot_lead_elsewhere(ending: str) -> None:
    with pytest.raises(DataError, match="cannot end the name of a file"):
        path_in(Path("out"), "x" * MOST_NAME_BYTES, ending)


def test_a_name_that_the_file_system_has_no_letters_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode("latin-1"))
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    assert plain_name("Müller") == "Müller"
    with pytest.raises(DataError, match=r"has letters that this system has no file names for \(iso8859-1"):
        plain_name("Łukasz")


ADVICE = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "quota",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.EROFS: "the disk is read-only",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a file is where a folder should be",
    errno.EIO: "choose another place",
}


@pytest.mark.parametrize("code", ADVICE)
@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_the_advice_fits_the_cause(tmp_path: Path, whole, code: int) -> None:
    said = f"x: cannot be written ({os.strerror(code)}); "
    with pytest.raises(OutputError, match=f"{re.escape(said)}.*{ADVICE[code]}"), whole(tmp_path / "x"):
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


def test_names_of_files_that_are_no_text_can_be_written_down(tmp_path: Path) -> None:
    write_text(tmp_path / "page.html", "M\udcfcller")
    assert (tmp_path / "page.html").read_text() == "M\\udcfcller"
    write_json(tmp_path / "case.json", {"file": "M\udcfcller"})
    assert (tmp_path / "case.json").read_text() == '{\n  "file": "M\\udcfcller"\n}\n'


def results_in(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, and what it holds."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder with results of before, and a file of the user."""
    for name in ("record", "mask", "gone", "notes"):
        (tmp_path / name).write_text(f"old {name}")
    return tmp_path


def fill(folder: Path) -> None:
    for name in ("record", "mask", "page"):
        (folder / name).write_text(f"new {name}")


def test_files_replace_those_of_before_together_and_others_stay(earlier: Path) -> None:
    before = results_in(earlier)
    with whole_files(earlier, "record", [earlier / "gone", earlier / "was never there"]) as new:
        fill(new)
        assert {name: text for name, text in results_in(earlier).items() if "/" not in name} == before
    assert results_in(earlier) == {
        "record": "new record",
        "mask": "new mask",
        "page": "new page",
        "notes": "old notes",
    }
    assert {path.name for path in earlier.iterdir()} == {"record", "mask", "page", "notes"}


def test_the_record_leaves_first_and_comes_last(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved, replace = [], Path.replace
    with whole_files(earlier, "record") as new:
        fill(new)
        monkeypatch.setattr(Path, "replace", lambda path, to: moved.append((path.name, to)) or replace(path, to))
    assert [name for name, _ in moved] == ["record", "mask", "mask", "page", "record"]
    assert moved[-1][1] == earlier / "record"


@pytest.mark.parametrize("failing", range(6))
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_move_that_fails_undoes_those_before_it(earlier: Path, monkeypatch, failing: int, error) -> None:
    before, moves, replace = results_in(earlier), [], Path.replace

    def fails(path: Path, to: Path) -> Path:
        moves.append(path.name)
        if len(moves) == failing + 1:
            raise error
        return replace(path, to)

    def replaced() -> None:
        with whole_files(earlier, "record", [earlier / "gone"]) as new:
            fill(new)
            monkeypatch.setattr(Path, "replace", fails)

    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt) as said:
        replaced()
    assert results_in(earlier) == before
    assert {path.name for path in earlier.iterdir()} == set(before)
    if isinstance(error, OSError):
        assert str(said.value).startswith(f"{earlier / moves[failing]}: cannot be written (Input/output error)")


def test_a_folder_of_the_user_is_not_replaced_by_a_file(earlier: Path) -> None:
    (earlier / "page").mkdir()
    (earlier / "page" / "own").write_text("own")
    before = results_in(earlier)
    said = f"{earlier / 'page'}: cannot be written (Is a directory); a folder is where the file should be"
    with pytest.raises(OutputError, match=re.escape(said)), whole_files(earlier, "record") as new:
        fill(new)
    assert results_in(earlier) == before


def test_an_error_of_a_file_names_the_place_where_the_user_looks_for_it(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=re.escape(f"{tmp_path / 'out' / 'page'}: cannot be written (")),
        whole_files(tmp_path / "out", "record") as new,
        whole_file(new / "page"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert results_in(tmp_path) == {}
