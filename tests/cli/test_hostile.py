"""Hostile names, errors that nobody foresaw, and terminals that take nothing: the cohort goes on, and no line lies."""

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from calibrations_made import tiny_model
from lacunet.calibration.out_of_fold import HeldOut, PassSettings, pass_through
from lacunet.case import CaseFiles
from lacunet.cli.main import main
from lacunet.cli.terminal import DEBUG
from lacunet.data import volume
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.missing import draw_missing
from lacunet.data.phantom import phantom
from lacunet.data.prepare import Preparation
from lacunet.errors import DataError, OutputError, Problem
from lacunet.evaluation.evaluate import EvaluateSettings, evaluate
from lacunet.intake.importer import Importer
from lacunet.models.model import load_model, save_model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.complete import Completed, CompleteSettings, complete_cases
from lacunet.segmentation.segment import segment_cases
from lacunet.segmentation.write import Segmented, SegmentSettings
from lacunet.task import GLIOMA
from lacunet.training.prepared import prepare_cases
from lacunet.training.train import train
from phantoms_made import write_phantoms
from small import tiny_recipe
from typed import Run

LINE = "lacunet: every case was segmented without a problem"
"""What a name would like the terminal to say."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("models") / "tiny", spacing=8.0))


@pytest.fixture(scope="module")
def recovery(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    arguments = {"width": 4, "levels": 2, "indicator": "none", "keep": "student+recovery"}
    folder: Path = tmp_path_factory.mktemp("models") / "recovery"
    method = make_method(get_method("dual_stage"), GLIOMA, arguments)
    save_model(folder, method, Preparation(8.0), {"data": "nothing", "licence": "none"})
    return str(folder)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder, 2, seed=1, spacing=8.0)
    return folder


@pytest.fixture(scope="module")
def cases(cohort: Path) -> list[CaseFiles]:
    return with_conventions(find_cases(cohort))


def everything_but(top: Path, out: Path) -> set[Path]:
    return {path for path in top.rglob("*") if path != out and out not in path.parents}


def manifest_of(folder: Path, cohort: Path, *names: str, persons: tuple[str, ...] = ()) -> Path:
    """A manifest in which the first patient is called by each of the names, and the second by his own."""
    first, second = sorted(cohort.iterdir())
    rows = [(first, name, person) for name, person in zip(names, persons or names, strict=True)]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "person", "t1c", "reference", "convention"])
        for case, name, person in (*rows, (second, "good", "good")):
            writer.writerow(
                [name, person, case / f"{case.name}-t1c.nii.gz", case / f"{case.name}-seg.nii.gz", "brats2023"]
            )
    return folder / "manifest.csv"


# ---------------------------------------------------------------- nothing is written or read outside


@pytest.mark.parametrize(
    "name", ["../../../EVIL", "{top}/EVIL", "C:\\EVIL", "NUL", f"x\n{LINE}", "x\x1b[2J", "x" * 300]
)
def test_a_hostile_name_in_a_manifest_is_the_problem_of_its_row_alone(
    lacunet: Run, model: str, cohort: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "a" / "b" / "out"
    manifest = manifest_of(tmp_path, cohort, name.format(top=tmp_path))
    before = everything_but(tmp_path, out.parents[1])
    status, said, complaint = lacunet("segment", manifest, "-o", out, "--model", model, "--no-viewer")
    assert status == 1
    assert "1 of 2 cases" in said
    assert (out / "good" / "good-mask.nii.gz").is_file()
    assert "not a plain name" in complaint
    assert len(complaint.strip().splitlines()) == 2  # "1 problem:" and its line
    assert LINE not in (said + complaint).splitlines()
    assert "\x1b" not in complaint
    assert everything_but(tmp_path, out.parents[1]) == before
    assert {path.name for path in out.iterdir()} == {"good", "sources.csv", "results.csv", "cohort.html", ".parts"}


@pytest.mark.parametrize("command", ["evaluate", "train", "calibrate", "missing", "check", "complete"])
def test_no_command_follows_a_name_out_of_its_folder(
    lacunet: Run, model: str, recovery: str, cohort: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    victim = tmp_path / "deep" / "EVIL.csv"
    victim.write_text("a user's own")
    manifest, out = manifest_of(tmp_path, cohort, "../../EVIL", f"{tmp_path}/EVIL"), tmp_path / "deep" / "er" / "out"
    before = everything_but(tmp_path, out)
    words = {
        "evaluate": [model, manifest, "-o", out, "--subsets", "t1c"],
        "train": [_recipe(tmp_path.parent), "--data", manifest, "-o", out],
        "calibrate": [f"{model}={_split(tmp_path.parent)}:val", "--data", manifest, "-o", out],
        "missing": [manifest, "-o", out / "missing.csv"],
        "check": [manifest],
        "complete": [manifest, "-o", out, "-m", recovery],
    }
    status, _, complaint = lacunet(command, *words[command])
    assert status == 1
    assert "../../EVIL': not a plain name" in complaint
    assert everything_but(tmp_path, out) == before
    assert victim.read_text() == "a user's own"


def _recipe(folder: Path) -> Path:
    from lacunet.training.recipe import write_recipe

    write_recipe(folder / "recipe.toml", tiny_recipe())
    return folder / "recipe.toml"


def _split(folder: Path) -> Path:
    (folder / "split.json").write_text(json.dumps({"val": ["good"]}))
    return folder / "split.json"


@pytest.mark.parametrize("person", ["../p", "p\x1b[2J", f"p\n{LINE}"])
def test_a_hostile_person_is_refused_too(lacunet: Run, cohort: Path, tmp_path: Path, person: str) -> None:
    status, said, complaint = lacunet("check", manifest_of(tmp_path, cohort, "c1", persons=(person,)))
    assert status == 1
    assert "case c1: person 'p" in complaint or "case c1: person '../p'" in complaint
    assert LINE not in (said + complaint).splitlines()
    assert "\x1b" not in complaint


def test_names_that_come_another_way_become_paths_at_one_place_only(
    model: str, recovery: str, cases: list[CaseFiles], tmp_path: Path
) -> None:
    evil, good = replace(cases[0], name="../../EVIL", person="evil"), cases[1]
    predictor = Predictor(load_model(model), "cpu", "float32")
    out = tmp_path / "a" / "b" / "c"
    settings = EvaluateSettings((("t1c",),), pictures=0)
    assert [one.case for one in evaluate(predictor, [evil, good], out / "eval", settings).problems] == [evil.name]

    fold = [HeldOut(model, (evil, good))]
    parts = list(pass_through(fold, out / "pass", PassSettings(voxels=10), lambda model, place: predictor))
    assert [isinstance(part, Problem) for part in parts] == [True, False]

    masks = list(segment_cases(predictor, [evil, good], out / "masks", SegmentSettings(viewer=False)))
    assert [type(one) for one in masks] == [Problem, Segmented]
    bids = SegmentSettings(viewer=False, layout="bids")
    masks = list(segment_cases(predictor, [replace(evil, name="试"), good], out / "bids", bids))
    assert [type(one) for one in masks] == [Problem, Segmented]

    estimator = Predictor(load_model(recovery), "cpu", "float32")
    done = list(complete_cases(estimator, [evil, good], out / "done", CompleteSettings(("t1c",))))
    assert [type(one) for one in done] == [Problem, Completed]

    for draw in (
        lambda: list(prepare_cases([evil], GLIOMA, Preparation(8.0), out / "prepared")),
        lambda: train(tiny_recipe(), [good], [evil], out / "run"),
        lambda: draw_missing([evil.name, good.name], GLIOMA, 0.5, 1),
    ):
        with pytest.raises(DataError, match=r"'\.\./\.\./EVIL': not a plain name"):
            draw()
    assert not list(tmp_path.rglob("EVIL*"))
    assert not (out / "run").exists()


def test_a_region_of_a_strangers_model_cannot_lead_out_either(cases: list[CaseFiles], tmp_path: Path) -> None:
    from lacunet.segmentation.layout import places

    for layout in ("plain", "bids"):
        with pytest.raises(DataError, match="cannot end the name of a file"):
            places(tmp_path, "case", layout).probability("/../../EVIL")
        with pytest.raises(DataError, match="cannot end the name of a file"):
            places(tmp_path, "case", layout).native_mask("/../../EVIL")


# ---------------------------------------------------------------- one case never ends a cohort


@pytest.fixture
def first_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Reading any file of the first patient raises an error that names a patient."""

    def fail(error: Exception) -> None:
        read = volume._stored

        def stored(path: Path):
            if "phantom-00001" in str(path):
                raise error
            return read(path)

        monkeypatch.setattr(volume, "_stored", stored)

    return fail


WORDS = {
    "segment": ["{cohort}", "-o", "{out}", "-m", "{model}", "--no-viewer"],
    "complete": ["{cohort}", "-o", "{out}", "-m", "{recovery}", "--subset", "t1c"],
    "evaluate": ["{model}", "{manifest}", "-o", "{out}", "--subsets", "t1c"],
    "check": ["{cohort}"],
}


@pytest.mark.parametrize("command", WORDS)
def test_an_error_that_nobody_foresaw_is_the_problem_of_its_case_alone(
    lacunet: Run, first_fails, monkeypatch: pytest.MonkeyPatch, model: str, recovery: str, cohort: Path, tmp_path: Path,
    command: str,
) -> None:  # fmt: skip
    manifest = manifest_of(tmp_path, cohort, "bad")
    places = {"cohort": cohort, "out": tmp_path / "out", "model": model, "recovery": recovery, "manifest": manifest}
    words = [word.format(**places) for word in WORDS[command]]
    first_fails(KeyError("Mustermann"))
    status, said, complaint = lacunet(command, *words)
    assert status == 1
    assert "1 problem:" in complaint
    assert "an error in lacunet itself (KeyError); please report it" in complaint
    assert len(complaint.strip().splitlines()) == 2
    assert "Mustermann" not in said + complaint
    good = {"segment": "phantom-00002-000: whole tumour", "complete": "1 of 2 cases", "check": "phantom-00002-000: t1n"}
    assert good.get(command, "t1c") in said

    monkeypatch.setenv(DEBUG, "0")  # restored by monkeypatch, whatever the option does
    again = {"segment": ["--overwrite"], "complete": ["--overwrite"], "evaluate": ["--resume"], "check": []}
    status, _, complaint = lacunet("--debug", command, *words, *again[command])
    assert status == 1
    assert "KeyError: 'Mustermann'" in complaint


def test_a_permission_that_lacks_is_told_as_the_system_tells_it(
    lacunet: Run, cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine(*_):
        raise PermissionError(errno.EACCES, "No", "Mustermann")

    monkeypatch.setattr("lacunet.data.check._read_case", examine)
    status, _, complaint = lacunet("check", cohort)
    assert status == 1
    assert "an error in lacunet itself (PermissionError: No)" in complaint
    assert "Mustermann" not in complaint


TOO_LITTLE = {"python": MemoryError(), "torch": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")}


@pytest.mark.parametrize("error", TOO_LITTLE)
@pytest.mark.parametrize("command", WORDS)
def test_too_little_memory_for_one_case_does_not_end_the_others(
    lacunet: Run, first_fails, model: str, recovery: str, cohort: Path, tmp_path: Path, command: str, error: str
) -> None:
    manifest = manifest_of(tmp_path, cohort, "bad")
    places = {"cohort": cohort, "out": tmp_path / "out", "model": model, "recovery": recovery, "manifest": manifest}
    first_fails(TOO_LITTLE[error])
    status, _, complaint = lacunet(command, *(word.format(**places) for word in WORDS[command]))
    assert status == 1
    assert "1 problem:" in complaint
    assert complaint.strip().splitlines()[-1].endswith("use smaller windows (--window 96) or another machine")


def test_a_visit_of_an_export_fails_alone_too(
    lacunet: Run, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(self, visit, folder):
        raise KeyError("Mustermann")

    monkeypatch.setattr(Importer, "imported", imported)
    status, _, complaint = lacunet("import", cohort, "-o", tmp_path)
    assert status == 1
    assert complaint.count("an error in lacunet itself (KeyError)") == 2
    assert "Mustermann" not in complaint
    assert (tmp_path / "sources.csv").read_text().count("failed: an error in lacunet itself") >= 2


def test_any_other_error_is_one_line_and_with_debug_a_traceback(
    lacunet: Run, cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def survey(*_):
        raise ZeroDivisionError(f"Mustermann\n{LINE}")

    monkeypatch.setattr("lacunet.data.check.survey_named", survey)
    monkeypatch.delenv(DEBUG, raising=False)
    status, _, complaint = lacunet("check", cohort)
    assert status == 1
    assert complaint.startswith("lacunet: an error in lacunet itself (ZeroDivisionError); please report it")
    assert len(complaint.splitlines()) == 1
    monkeypatch.setenv(DEBUG, "1")
    _, _, complaint = lacunet("check", cohort)
    assert "Traceback (most recent call last):" in complaint
    assert "Mustermann" in complaint


# ---------------------------------------------------------------- terminals


def test_a_folder_cannot_print_a_line_of_its_own(lacunet: Run, model: str, cohort: Path, tmp_path: Path) -> None:
    case = sorted(cohort.iterdir())[0]
    hostile = [f"x\n{LINE}".encode(), b"e\x1b[2J\x1b]0;owned\x07", "\u202egnp.a".encode(), b"M\xfcller"]
    for name in hostile:
        folder = tmp_path / "in" / os.fsdecode(name)
        folder.mkdir(parents=True)
        (folder / "flair.nii.gz").write_bytes((case / f"{case.name}-t2f.nii.gz").read_bytes())
        (folder / "notes.txt").touch()
    for words in (["segment", tmp_path / "in", "-o", tmp_path / "out", "-m", model], ["check", tmp_path / "in"]):
        for more in ([], ["--show-names"]):
            extra = ["--overwrite"] if words[0] == "segment" else []
            _, said, complaint = lacunet(*words, *more, *extra)
            assert LINE not in [line.strip() for line in (said + complaint).splitlines()]
            assert not {"\x1b", "\x07", "\u202e", "\udcfc"} & set(said + complaint)
    assert len(list((tmp_path / "out").glob("case-*/case-*-mask.nii.gz"))) == len(hostile)


@pytest.mark.parametrize("words", [["\x1b[2Jx"], ["segment", "--\x1b[2Jx"], ["segment", "x", "--mirror", "\x1b[2Jx"]])
def test_what_was_typed_wrong_is_repeated_visibly(lacunet: Run, words: list[str]) -> None:
    status, _, complaint = lacunet(*words)
    assert status == 2
    assert "\x1b" not in complaint
    assert "\\x1b[2Jx" in complaint


def run_into(stream: io.TextIOWrapper | None, monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """A command whose standard output is this stream: its exit status."""
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "argv", ["lacunet", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_a_reader_that_has_read_enough_ends_nothing(
    monkeypatch, capsys, model: str, cohort: Path, tmp_path: Path
) -> None:
    read, written = os.pipe()
    os.close(read)
    with os.fdopen(written, "w") as stream:
        status = run_into(stream, monkeypatch, "segment", cohort, "-o", tmp_path, "-m", model, "--no-viewer")
    assert status == 0
    assert len(list(tmp_path.glob("*/*-mask.nii.gz"))) == 2
    assert capsys.readouterr().err.strip() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_below_the_output_ends_nothing_and_is_told(
    monkeypatch, capsys, model: str, cohort: Path, tmp_path: Path
) -> None:
    with Path("/dev/full").open("w") as stream:
        status = run_into(stream, monkeypatch, "segment", cohort, "-o", tmp_path, "-m", model, "--no-viewer")
    assert status == 1
    assert len(list(tmp_path.glob("*/*-mask.nii.gz"))) == 2
    assert f"could be ({os.strerror(errno.ENOSPC)})" in capsys.readouterr().err


def test_a_program_without_standard_output_runs(monkeypatch, cohort: Path) -> None:
    assert run_into(None, monkeypatch, "check", cohort) == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_letters_that_the_terminal_lacks_are_spelled(monkeypatch, cohort: Path, tmp_path: Path, encoding: str) -> None:
    manifest_of(tmp_path, cohort, "a-Łukasz")
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    assert run_into(stream, monkeypatch, "check", tmp_path / "manifest.csv") == 0
    assert b"a-\\u0141ukasz: t1c" in stream.buffer.getvalue()
    assert b"good: t1c" in stream.buffer.getvalue()


# ---------------------------------------------------------------- full disks


def test_a_full_disk_leaves_no_half_of_an_invented_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_bytes, []

    def until_full(self: Path, content: bytes) -> int:
        written.append(self.name)
        if len(written) == 8:  # the third file of the second patient
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(OutputError, match=r"phantom-00002-000: cannot be written .*make room on the disk"):
        phantom.write_phantoms(tmp_path, 2, seed=1, spacing=8.0)
    assert [path.name for path in tmp_path.iterdir()] == ["phantom-00001-000"]
    assert len(list((tmp_path / "phantom-00001-000").iterdir())) == 5
