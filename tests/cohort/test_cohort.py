"""The table and the page of a cohort: made of the folder alone, safe in spreadsheets, what needs a look on top."""

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from lacunet.cohort import cohort as cohort_module
from lacunet.cohort import files as cohort_files
from lacunet.cohort.cohort import Cohort, CohortCase, cohort_of
from lacunet.cohort.failures import note_failure, read_failures
from lacunet.cohort.files import with_cohort, write_cohort
from lacunet.cohort.outliers import FAR, in_order
from lacunet.cohort.page import cohort_page, link_of
from lacunet.cohort.result import RegionResult, Result
from lacunet.cohort.table import columns_of, safe, write_results
from lacunet.data.parts import Part
from lacunet.errors import OutputError, Problem
from lacunet.intake.found import Survey
from lacunet.segmentation.layout import Layout, places
from lacunet.segmentation.write import Segmented
from small import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REGIONS = ("wt", "tc", "et")
NASTY = '=HYPERLINK("http://x","y")<script>alert(1)</script>'


def record(case: str, ml: float = 40.0, **changes: Any) -> dict[str, Any]:
    """A `case.json`."""
    volumes = {"wt": ml, "tc": ml / 2, "et": 0.0}
    focus = {
        "ml": ml, "centre_mm": [1.0, 2.0, 3.0], "longest_mm": 45.2, "across_mm": 30.1, "product_mm2": 1360.5,
        "slice": 70, "measurable": True,
    }  # fmt: skip
    shape = {
        "voxels": 9, "centre_mm": [1.0, 2.0, 3.0], "side": "left", "right_share": 0.0, "midline_mm": 7.5,
        "foci": [focus],
    }  # fmt: skip
    signs = {
        "agreement": {}, "fit": {}, "both_sides": 0.0, "distant_ml": 0.0, "brain_ml": 1400.0, "voxel_mm": 1.0,
        "shading": {},
    }  # fmt: skip
    calibration = {
        "cases": 43, "data": "somewhere", "temperature": 1.2, "coverage": 0.8,
        "volume_ranges_ml": {"wt": [30.0, 50.5], "tc": None, "et": None}, "dice_ranges": {"wt": [0.7, 0.95]},
        "gains": None, "helpful_sequence": None, "notes": None,
    }  # fmt: skip
    return {
        "format": 1, "case": case, "written": "2026-01-02T03:04:05+00:00", "subset": "t1c+t2f",
        "acquired": "t1c+t2w+t2f", "cautions": [], "volumes_ml": volumes, "measures": {"wt": shape},
        "caveat": "", "doubts": [],
        "signs": signs, "left_out": {}, "n4": {}, "evidence": {"wt": "seen", "tc": "seen", "et": "seen"},
        "expected_dice": {"wt": 0.875}, "expected_dice_from": None, "calibration": calibration,
        "withheld": {}, "warnings": [],
        "label_convention": "brats2023", "masks": [f"{case}-mask.nii.gz"], "postprocessing": [],
        "provenance": {"model": "default", "weights (sha256)": "ab" * 32}, "seconds": 4.5, "inputs_sha256": {},
        "masks_sha256": {f"{case}-mask.nii.gz": "cd" * 32}, "dice": {},
    } | changes  # fmt: skip


def finish(folder: Path, case: str, ml: float = 40.0, layout: Layout = "plain", **changes: Any) -> Segmented:
    """A case that is done: its record and its page."""
    at = places(folder, case, layout)
    at.record.parent.mkdir(parents=True, exist_ok=True)
    at.page.write_text("page")
    at.record.write_text(json.dumps(record(case, ml, **changes)))
    return Segmented(case, at, {}, ())


def table(path: Path) -> dict[str, dict[str, str]]:
    """The rows of the table by case."""
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream, strict=True)}


def drain(folder: Path, results: list[Survey | Segmented | Problem], part: Part | None = None) -> list[Any]:
    return list(with_cohort(iter(results), folder, REGIONS, part))


def test_a_row_has_all_that_the_record_says(tmp_path):
    finish(tmp_path, "a", doubts=[{"kind": "pieces", "sentence": "two, or more"}], warnings=["two, or more", 'a "b"'])
    finish(tmp_path, "b", dice={"wt": 0.9123})
    write_cohort(tmp_path)
    a, b = table(tmp_path / "results.csv").values()
    wanted = {
        "case": "a", "state": "done", "failure": "", "subset": "t1c+t2f", "acquired": "t1c+t2w+t2f",
        "doubts": "pieces",
        "warnings": 'two, or more | a "b"', "wt_volume_ml": "40.0", "wt_volume_low_ml": "30.0",
        "wt_volume_high_ml": "50.5", "tc_volume_low_ml": "", "wt_expected_dice": "0.875",
        "wt_dice_low": "0.7", "wt_dice_high": "0.95",
        "wt_dice": "", "wt_foci": "1", "wt_side": "left", "wt_midline_mm": "7.5",
        "wt_longest_mm": "45.2", "wt_across_mm": "30.1",
        "et_volume_ml": "0.0", "et_foci": "0", "et_side": "", "range_coverage": "0.8", "mask": "a/a-mask.nii.gz",
        "mask_sha256": "cd" * 32, "model": "default", "weights_sha256": "ab" * 32, "page": "a/report.html",
        "written": "2026-01-02T03:04:05+00:00", "seconds": "4.5",
    }  # fmt: skip
    assert {name: a[name] for name in wanted} == wanted
    assert list(a) == columns_of(REGIONS)
    assert b["wt_dice"] == "0.9123"
    content = (tmp_path / "results.csv").read_bytes()
    assert (content.count(b"\r\n"), content.count(b"\n")) == (3, 3)


def test_the_documented_columns_are_those_of_the_table():
    said = (ROOT / "docs/report.md").read_text(encoding="utf-8").split("## A cohort\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in said.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row)]
    assert named == [name.removeprefix("wt_") for name in columns_of(("wt",))]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@SUM(A1)", "'@SUM(A1)"), ("\uff1d1", "'\uff1d1"),
        (" =1", " '=1"), ('"=1', "\"'=1"), ("x;=1", "x;'=1"), ("x, +1", "x, '+1"), ("\t=1", "\\t=1"),
        ("\r\n=1", "\\r\\n=1"), ("a=1", "a=1"), ("t1c+t2f", "t1c+t2f"),
        ("UCSF-PDGM-1", "UCSF-PDGM-1"), ("ü – 5", "ü – 5"),
        ("x\udcfc", "x\\udcfc"),
        (None, ""), (0.5, "0.5"), (3, "3"),
    ],
)  # fmt: skip
def test_no_cell_becomes_a_formula(cell, written):
    assert safe(cell) == written


def test_names_and_reasons_that_begin_like_formulas_stay_text(tmp_path):
    finish(tmp_path, "=cmd|' !A0")
    finish(tmp_path, "-x")
    note_failure(tmp_path, Problem("@SUM(1)", "+1: is no scan"), REGIONS)
    write_cohort(tmp_path)
    rows = table(tmp_path / "results.csv")
    assert set(rows) == {"'=cmd|' !A0", "'-x", "'@SUM(1)"}
    assert rows["'@SUM(1)"]["failure"] == "'+1: is no scan"
    assert not re.search(rb'(?:^|,)"?[=+@-]', (tmp_path / "results.csv").read_bytes(), re.MULTILINE)


def test_a_failed_case_has_a_row_until_it_is_done(tmp_path):
    done = finish(tmp_path, "a")
    broken = Problem("b", f"{tmp_path}/b/x.nii: cannot be written (No space left on device)")
    assert drain(tmp_path, [done, broken]) == [done, broken]
    row = table(tmp_path / "results.csv")["b"]
    assert (row["state"], row["failure"]) == ("failed", "b/x.nii: cannot be written (No space left on device)")
    assert {value for name, value in row.items() if name not in ("case", "state", "failure")} == {""}

    drain(tmp_path, [replace(done, skipped=True), finish(tmp_path, "b")])
    assert {row["state"] for row in table(tmp_path / "results.csv").values()} == {"done"}
    assert read_failures(tmp_path) == []


@pytest.mark.parametrize("name", ["x\udcfc", "x\n=1", "x" * 300, "../x", ""])
def test_a_case_fails_under_any_name(tmp_path, name):
    drain(tmp_path, [Problem(name, f"{name}: not a plain name"), finish(tmp_path, "a")])
    assert [row["state"] for row in table(tmp_path / "results.csv").values()] in (
        ["done", "failed"],
        ["failed", "done"],
    )


def test_a_later_attempt_that_failed_is_said_beside_the_result(tmp_path):
    drain(tmp_path, [finish(tmp_path, "a"), finish(tmp_path, "b"), Problem("a", "broke")])
    assert [table(tmp_path / "results.csv")["a"][name] for name in ("state", "failure", "subset")] == [
        "done", "broke", "t1c+t2f",
    ]  # fmt: skip
    finish(
        tmp_path, "a", written="2100-01-01T00:00:00+00:00"
    )  # the note of an earlier failure was left by a killed run
    assert write_cohort(tmp_path).cases[0].failure == ""


def test_sources_without_names_are_told_apart_and_met_again_by_the_next_run(tmp_path):
    lost = [Problem("a case", "one"), Problem("a case", "two"), Problem("source 2", "holds nothing")]
    drain(tmp_path, lost, Part(1, 2))
    drain(tmp_path, [Problem("source 3", "holds nothing")], Part(2, 2))
    assert [(case.name, case.failure) for case in cohort_of(tmp_path).cases] == [
        ("a case", "one"), ("a case", "two"), ("source 2", "holds nothing"), ("source 3", "holds nothing"),
    ]  # fmt: skip
    drain(tmp_path, [finish(tmp_path, "a")], Part(1, 2))
    assert [case.name for case in cohort_of(tmp_path).cases] == ["a", "source 3"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "case.json: "),
        (json.dumps(record("b") | {"format": 2}), "'format' = 2"),
        (json.dumps(record("b") | {"volumes_ml": {"wt": -1}}), "'volumes_ml.wt' = -1"),
    ],
)
def test_a_damaged_record_is_a_failure_of_its_case_alone(tmp_path, content, said):
    finish(tmp_path, "a")
    finish(tmp_path, "b").places.record.write_text(content)
    a, b = cohort_of(tmp_path).cases
    assert a.result is not None
    assert (b.name, b.result, said in b.failure, str(tmp_path) in b.failure) == ("b", None, True, False)


def test_both_layouts_are_found_and_nothing_else(tmp_path):
    for case in ("sub-01", "sub-02_ses-1", "sub-02_ses-2"):
        finish(tmp_path, case, layout="bids")
    finish(tmp_path, "plain")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "logs").mkdir()
    assert [case.name for case in cohort_of(tmp_path).cases] == ["plain", "sub-01", "sub-02_ses-1", "sub-02_ses-2"]


def test_only_records_that_changed_are_read_again(tmp_path, monkeypatch):
    for case in ("a", "b"):
        finish(tmp_path, case)
    before = cohort_of(tmp_path)
    finish(tmp_path, "b", ml=50.0)
    finish(tmp_path, "c")
    read: list[str] = []
    of = cohort_module.result_of
    monkeypatch.setattr(cohort_module, "result_of", lambda at: (read.append(at.stem), of(at))[1])
    after = cohort_of(tmp_path, before)
    assert read == ["b", "c"]
    assert after == cohort_of(tmp_path)


def test_in_any_order_and_after_a_stop_the_files_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort_files, "MOST_TIME", 1e9)  # after each case, however quick it was
    names = [f"case {number}" for number in range(8)]

    def results(folder: Path, own: list[str]) -> Iterator[Segmented | Problem]:
        for name in own:
            yield Problem(name, "broken") if name == "case 5" else finish(folder, name, ml=10 + int(name[-1]))

    folders = [tmp_path / name for name in ("serial", "turned", "parts", "stopped")]
    serial, turned, parts, stopped = folders
    drain(serial, list(results(serial, names)))
    drain(turned, list(results(turned, names[::-1])))
    for number in (2, 1):
        drain(parts, list(results(parts, names[number - 1 :: 2])), Part(number, 2))
    run = with_cohort(results(stopped, names), stopped, REGIONS)
    for _ in range(3):
        next(run)
    assert len(table(stopped / "results.csv")) == 3
    run.close()
    drain(stopped, list(results(stopped, names[3:])))
    for file in ("results.csv", "cohort.html"):
        assert len({(folder / file).read_bytes() for folder in folders}) == 1


def test_a_single_case_has_no_cohort(tmp_path):
    drain(tmp_path, [finish(tmp_path, "a")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_a_table_that_cannot_be_written_ends_no_run(tmp_path):
    (tmp_path / "results.csv").mkdir()
    results = [finish(tmp_path, "a"), finish(tmp_path, "b")]
    *same, error = drain(tmp_path, results)
    assert same == results
    assert isinstance(error, OutputError)
    assert "results.csv: cannot be written" in str(error)


def test_a_run_that_is_refused_changes_nothing(tmp_path):
    def refused() -> Iterator[Segmented]:
        raise OutputError("results are there already")
        yield

    finish(tmp_path, "a")
    finish(tmp_path, "b")
    note_failure(tmp_path, Problem("source 2", "empty"), REGIONS)
    with pytest.raises(OutputError, match="there already"):
        list(with_cohort(refused(), tmp_path, REGIONS))
    assert len(read_failures(tmp_path)) == 1
    assert not (tmp_path / "results.csv").exists()


def made(name: str, ml: float = 40.0, failure: str = "", **changes: Any) -> CohortCase:
    """A case of a cohort without files."""
    regions = {"wt": RegionResult(ml, "seen"), "tc": RegionResult(10.0, "seen"), "et": RegionResult(0.0, "seen")}
    result = Result(
        subset="t1c+t2f", acquired="t1c+t2f", regions=regions, coverage=None, cautions=(), doubts=(), warnings=(),
        mask=Path("out", name, "mask.nii.gz"), mask_sha256="", model="default", weights_sha256="ab" * 32,
        written=datetime(2026, 1, 2, 3, 4, tzinfo=UTC), seconds=4.0, page=Path("out", name, "report.html"),
    )  # fmt: skip
    return CohortCase(name, replace(result, **changes), failure)


def cohort(*cases: CohortCase) -> Cohort:
    return Cohort(Path("out"), cases, REGIONS)


USUAL = [made(f"usual {number:02}", ml=30.0 + number) for number in range(20)]
NEEDY = [
    CohortCase("failed", None, "truncated"),
    made("failed later", failure="broke"),
    made("caution", cautions=("child",), warnings=("a child",)),
    made("doubtful", doubts=("pieces",), warnings=("two pieces",)),
    made("far", ml=4000.0),
    made("less far", ml=0.0),
    made("warned", warnings=("no T1ce",)),
]


def test_what_needs_a_look_comes_first_and_of_its_kind_the_most_unusual():
    looked = in_order(cohort(*USUAL, *NEEDY[::-1]))
    assert [one.case.name for one in looked][:7] == [case.name for case in NEEDY]
    assert [one.reasons for one in looked][:7] == [
        ("failed",), ("failed",), ("caution",), ("doubtful",), ("far",), ("far",), ("warned",),
    ]  # fmt: skip
    rest = [one.unusual.deviations for one in looked[7:] if one.unusual]
    assert rest == sorted(rest, reverse=True)
    assert max(rest) < FAR
    both = made("both", ml=4000.0, doubts=("volume",), warnings=("too large", "no T1ce"))
    assert in_order(cohort(*USUAL, both))[0].reasons == ("doubtful", "far", "warned")


def test_of_few_cases_none_is_unusual():
    assert not any(one.reasons for one in in_order(cohort(*USUAL[:8], made("far", ml=4000.0))))
    alike = [made(f"alike {number}", ml=5.0) for number in range(20)]
    assert not any(one.reasons for one in in_order(cohort(*alike, made("far", ml=4000.0))))


def test_the_page_says_what_is_there_and_runs_no_text_from_outside():
    doubtful = made(NASTY, doubts=("pieces",), warnings=(f"two {NASTY}", "no T1ce"))
    page = cohort_page(cohort(*USUAL, *NEEDY, doubtful), Path("out"))
    words = unescape(re.sub(r"<[^>]+>", " ", page))
    for said in (
        "28 cases", "27 segmented, 1 failed", "Failed  2", "Doubtful  2", "Unusual volume  2", "Nothing said  20",
        "T1ce + FLAIR", "truncated", "A later attempt failed: broke",
        "WT 4000.0 ml, half of the cohort 40.0 ml or less",
        "default abababab (27)",
    ):  # fmt: skip
        assert said in words, said
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert f'href="{link_of(Path("out", "far", "report.html"), Path("out"))}"' in page
    assert not re.search(r'(?:src|href)="(?:https?:|//|javascript:)', page)


@pytest.mark.parametrize(
    ("page", "folder", "link"),
    [
        ("out/a/report.html", "out", "a/report.html"),
        ("out/a b#1?%/report.html", "out", "a%20b%231%3F%25/report.html"),
        ("out/javascript:x/report.html", "out", "javascript%3Ax/report.html"),
        ("out/sub-01.html", "out/group", "../sub-01.html"),
        ("out/\udcfc/report.html", "out", "%FC/report.html"),
    ],
)
def test_links_lead_from_the_page_to_the_case(page, folder, link):
    assert link_of(Path(page), Path(folder)) == link


def test_measured_dice_has_columns_only_where_it_was_measured():
    plain = cohort_page(cohort(*USUAL), Path("out"))
    measured = made("m", regions={"wt": RegionResult(40.0, "seen", dice=0.912)})
    assert "Measured Dice" not in plain
    page = cohort_page(cohort(*USUAL, measured), Path("out"))
    assert "Measured Dice WT" in page
    assert "0.91" in page


def test_ten_thousand_cases_fit_on_a_page(tmp_path):
    many = [made(f"case {number}", ml=5.0 + number % 97, warnings=("no T1ce",)) for number in range(10_000)]
    page = cohort_page(cohort(*many), Path("out"))
    assert page.count("<tr data-r=") == 10_000
    assert len(page) < 8e6
    write_results(tmp_path / "results.csv", cohort(*many))
    assert len(table(tmp_path / "results.csv")) == 10_000


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_shows_the_first_rows_in_order_and_the_controls(tmp_path):
    path = tmp_path / "cohort.html"
    many = [made(f"case {number}", ml=5.0 + number % 97) for number in range(500)]
    path.write_text(cohort_page(cohort(*many, *NEEDY), Path("out")), encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-crash-reporter --virtual-time-budget=3000"
    run = [CHROMIUM, *options.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=300, env=dict(os.environ))
    names = re.findall(r'<th scope="row" class="name">(?:<a[^>]*>)?([^<]*)', done.stdout)
    assert (len(names), names[:3]) == (200, ["failed", "failed later", "caution"])
    assert "200 of 507" in done.stdout
    assert re.search(r'<form class="controls" id="controls">', done.stdout)
    assert 'aria-sort="ascending"><button type="button">Why look' in done.stdout
