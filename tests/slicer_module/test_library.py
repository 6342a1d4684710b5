"""The module of 3D Slicer without Slicer: command lines, answers, labels, and runs of the program."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lacunet.corrections.labels import understood
from lacunet.data.phantom.phantom import write_phantoms
from lacunet.task import GLIOMA
from LacunetLib import LacunetProblem
from LacunetLib.answers import HEADINGS, read_case, read_measures
from LacunetLib.command import (
    SEQUENCES,
    environment_for,
    find_program,
    measure_command,
    readable,
    segment_command,
    why_it_failed,
)
from LacunetLib.labels import SEGMENTS, merged

FAKE = f"""#!{sys.executable}
import json, pathlib, sys
words = sys.argv[1:]
print("\\x1b[1msegmenting\\x1b[0m", json.dumps(words), flush=True)
if "--fail" in words:
    print("case: all files are damaged", file=sys.stderr)
    print("lacunet: nothing was segmented; give other scans", file=sys.stderr)
    sys.exit(1)
folder = pathlib.Path(words[words.index("--output") + 1]) / "case"
folder.mkdir(parents=True)
(folder / "case-mask.nii.gz").write_bytes(b"mask")
(folder / "case.json").write_text(pathlib.Path(__file__).with_name("answer.json").read_text())
"""


def answer(**changes: Any) -> dict[str, Any]:
    """A case.json, as far as the module reads it."""
    return {
        "format": 1,
        "volumes_ml": {"wt": 40.123, "tc": 28.06, "et": 20.2},
        "expected_dice": {"wt": 0.77, "tc": 0.6},
        "evidence": {"wt": "seen", "tc": "partly inferred", "et": "inferred"},
        "withheld": {"et": ["region"]},
        "calibration": {
            "coverage": 0.8,
            "volume_ranges_ml": {"wt": [17.0, 160.1], "tc": None},
            "dice_ranges": {"wt": [0.33, 0.93]},
        },
        "cautions": [{"kind": "identity", "sentence": "two patients"}],
        "doubts": [{"kind": "both sides", "sentence": "on both sides"}],
        "warnings": ["two patients", "on both sides", "T2 is noisy"],
        "caveat": "A volume is no evidence",
        "masks": ["case-mask.nii.gz"],
    } | changes


def results(folder: Path, said: Any) -> Path:
    (folder / "case").mkdir(parents=True)
    (folder / "case/case.json").write_text(said if isinstance(said, str) else json.dumps(said))
    for name in ("case-mask.nii.gz", "case-mask-on-t1c.nii.gz"):
        (folder / "case" / name).write_bytes(b"mask")
    return folder


def program(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lacunet"
    path.write_text(FAKE)
    path.chmod(0o755)
    (folder / "answer.json").write_text(json.dumps(answer()))
    return path


# ---------------------------------------------------------------- the program


def test_the_program_is_found_in_path_by_its_file_and_in_environments(tmp_path):
    path = program(tmp_path / "my env" / "bin")
    assert find_program("", {"PATH": f"/nowhere{os.pathsep}{path.parent}"}) == str(path)
    for setting in (str(path), f" {path} ", str(path.parent), str(path.parent.parent)):
        assert find_program(setting, {}) == str(path)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("", "is not in PATH; install lacunet"),
        ("{at}/nothing", "nothing is not the program lacunet, and no folder that has it; install"),
        ("{at}", "is not the program lacunet, and no folder"),
        ("{at}/plain", "plain may not be run; change its permissions"),
    ],
)
def test_a_program_that_is_not_there_is_said(tmp_path, setting, said):
    (tmp_path / "plain").write_text("")
    with pytest.raises(LacunetProblem, match=said):
        find_program(setting.format(at=tmp_path), {"PATH": str(tmp_path)})


def test_the_environment_keeps_all_but_what_is_for_slicer_s_python():
    found = environment_for({"PATH": "/bin", "PYTHONHOME": "/slicer", "HOME": "/h"})
    assert found == {
        "PATH": "/bin",
        "HOME": "/h",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "100",
    }


# ---------------------------------------------------------------- command lines


def scans(folder: Path, *names: str) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: folder / f"{name}.nii.gz" for name in names}
    for path in found.values():
        path.write_bytes(b"scan")
    return found


@pytest.mark.parametrize("names", [("t1n",), ("t2f", "t1c"), ("t2w", "t1n", "t2f"), tuple(SEQUENCES)])
def test_one_to_four_scans_become_options_in_one_order(tmp_path, names):
    folder = tmp_path / "ünï cødé; $(rm) 'x' \"y\" -o"
    given = scans(folder, *names)
    command = segment_command("/p/lacunet", given, "", folder / "out")
    pairs = [word for name in SEQUENCES if name in names for word in (f"--{name}", str(given[name]))]
    assert command[:2] == ["/p/lacunet", "segment"]
    assert command[2 : 2 + len(pairs)] == pairs
    rest = ["--name", "case", "--output", str(folder / "out"), "--convention", "brats2023", "--overwrite"]
    assert command[2 + len(pairs) :] == rest


def test_model_and_further_options_are_passed_on(tmp_path):
    command = segment_command("l", scans(tmp_path, "t1c"), " my model ", tmp_path, "--device cpu --allow 'a b'")
    assert command[command.index("--model") + 1] == "my model"
    assert command[-4:] == ["--device", "cpu", "--allow", "a b"]
    measure = measure_command("l", tmp_path / "c.nii.gz", tmp_path / "case", tmp_path / "m.json")
    assert measure[:5] == ["l", "measure", str(tmp_path / "c.nii.gz"), "--case", str(tmp_path / "case")]
    assert measure[5:] == ["--labels", "brats2023", "--output", str(tmp_path / "m.json"), "--overwrite"]


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ((), "", "no scan is chosen; choose one to four of T1, T1ce, T2, FLAIR"),
        (("adc",), "", "unknown sequence 'adc'; known: t1n, t1c, t2w, t2f"),
        (("t1c", "gone"), "", "the file of FLAIR is not there"),
        (("t1c",), "--allow 'a", "cannot be read .*close the quotation marks"),
    ],
)
def test_what_makes_no_command_is_said(tmp_path, names, options, said):
    given = scans(tmp_path, *(name for name in names if name != "gone"))
    if "gone" in names:
        given["t2f"] = tmp_path / "t2f.nii.gz"
    with pytest.raises(LacunetProblem, match=said):
        segment_command("lacunet", given, "", tmp_path, options)


def test_every_option_is_one_of_the_command_line_s(tmp_path):
    from typer.main import get_command

    from lacunet.cli.main import app

    commands = get_command(app).commands
    for command in (
        segment_command("l", scans(tmp_path, *SEQUENCES), "default", tmp_path),
        measure_command("l", tmp_path, tmp_path, tmp_path),
    ):
        known = {option for one in commands[command[1]].params for option in one.opts}
        assert {word for word in command if word.startswith("--")} <= known


# ---------------------------------------------------------------- answers and failures


@pytest.mark.parametrize(
    ("printed", "status", "crashed", "said"),
    [
        ("x\nlacunet: t1c: is empty; copy it again\n", 1, False, "t1c: is empty; copy it again"),
        ("case: shows the skull\n1 case failed\n", 1, False, "shows the skull"),
        (
            "Traceback\nModuleNotFoundError: torch\n",
            1,
            False,
            "lacunet ended with status 1: ModuleNotFoundError: torch",
        ),
        ("", 3, False, "lacunet ended with status 3 and said nothing; run it in a terminal to see more"),
        ("case: 40.1 ml", 9, True, "lacunet was ended from outside, perhaps for lack of memory; .*"),
    ],
)
def test_a_failure_is_one_line(printed, status, crashed, said):
    import re

    assert re.fullmatch(said, why_it_failed(printed, status, crashed))


def test_what_is_printed_becomes_plain_text():
    assert readable(b"\x1b[31mred\x1b[0m\x07 10 %\r20 %\r\n\xff<b>") == "red 10 %\n20 %\n\ufffd<b>"


def test_an_answer_becomes_rows_and_sentences(tmp_path):
    found = read_case(results(tmp_path, answer()))
    assert dict(found.rows) == {
        "wt": ("Whole tumour", "40.1", "80 %: 17.0 to 160.1", "0.77 (80 %: 0.33 to 0.93)"),
        "tc": ("Tumour core (partly inferred)", "28.1", "not known", "0.60"),
        "et": ("Enhancing tumour (inferred, not seen)", "20.2", "not known", "withheld"),
    }
    assert found.first == ("two patients", "on both sides")
    assert found.warnings == ("T2 is noisy", "A volume is no evidence")
    assert (found.mask, found.page) == (tmp_path / "case/case-mask.nii.gz", tmp_path / "case/report.html")
    assert {len(row) for row in found.rows.values()} == {4}
    assert len(HEADINGS) == 4 + 3


def test_a_mask_on_a_scan_s_own_grid_is_preferred(tmp_path):
    masks = ["case-mask.nii.gz", "case-mask-on-t1c.nii.gz", "case-mask-on-t1c.dcm"]
    assert read_case(results(tmp_path, answer(masks=masks))).mask.name == "case-mask-on-t1c.nii.gz"


def test_a_model_without_calibration_has_no_ranges(tmp_path):
    found = read_case(results(tmp_path, answer(calibration=None, expected_dice={}, withheld={}, caveat="")))
    assert found.rows["wt"][2:] == ("not known", "not known")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("{", "case.json cannot be read"),
        ("[]", "of a format that this module does not know"),
        (answer(format=2), r"of a format that this module does not know \(1 is expected\)"),
        ({"format": 1}, "not as expected .*volumes_ml.*; use the versions"),
        (answer(volumes_ml={"wt": None}), "not as expected"),
        (answer(masks=[]), "not as expected"),
        (answer(masks=["gone.nii.gz"]), "the mask gone.nii.gz is not in the folder of results"),
    ],
)
def test_an_answer_that_cannot_be_read_is_said(tmp_path, said, problem):
    with pytest.raises(LacunetProblem, match=problem):
        read_case(results(tmp_path, said))


def test_no_answer_and_two_are_said(tmp_path):
    with pytest.raises(LacunetProblem, match="has 0 answers"):
        read_case(tmp_path)
    results(tmp_path, answer())
    (tmp_path / "other").mkdir()
    (tmp_path / "other/case.json").write_text("{}")
    with pytest.raises(LacunetProblem, match="has 2 answers"):
        read_case(tmp_path)


def test_measures_become_rows_and_sentences(tmp_path):
    foci = [
        {"product_mm2": 9.0, "longest_mm": 3.0, "across_mm": 3.0},
        {"product_mm2": 600.0, "longest_mm": 30.2, "across_mm": 20},
    ]
    said = {
        "format": 1,
        "volumes_ml": {"wt": 24.0, "tc": 0.0, "et": 0.0},
        "change": {
            "regions": {
                "wt": {"change_ml": -16.12, "dice": 0.7493},
                "tc": {"change_ml": 0.0, "dice": None},
                "et": {"change_ml": 1.0, "dice": 0.0},
            }
        },
        "measures": {"wt": {"foci": foci, "side": "both", "lobes": {"frontal": 0.9, "insula": 0.096, "deep": 0.004}}},
        "warnings": ["look"],
    }
    (tmp_path / "m.json").write_text(json.dumps(said))
    found = read_measures(tmp_path / "m.json")
    assert dict(found.rows) == {
        "wt": ("24.0", "-16.1", "0.749"),
        "tc": ("0.0", "+0.0", "both empty"),
        "et": ("0.0", "+1.0", "0.000"),
    }
    assert found.sizes == ("Whole tumour: 2 foci; largest 30 × 20 mm; on both sides; frontal 90 %, insula 10 %",)
    assert found.warnings == ("look",)
    (tmp_path / "m.json").write_text(json.dumps(said | {"change": None, "measures": {}}))
    assert read_measures(tmp_path / "m.json").rows["wt"] == ("24.0", "not known", "not known")


# ---------------------------------------------------------------- labels


def test_segments_become_labels_that_lacunet_understands():
    shape = (2, 3, 4)
    arrays = {segment.name: np.zeros(shape, np.uint8) for segment in SEGMENTS}
    arrays["oedema"][0] = 1
    arrays["necrotic core"][0, 1] = 1
    arrays["enhancing"][0, 1, 2:] = 1  # overlaps both
    labels = merged(dict(reversed(arrays.items())))
    assert (labels[1] == 0).all()
    assert labels[0].tolist() == [[2] * 4, [1, 1, 3, 3], [2] * 4]
    inside = understood(labels, {}, GLIOMA, "brats2023", None, (), "mask").labels
    assert (inside == labels).all()
    assert [segment.value for segment in SEGMENTS] == [1, 2, 3]  # as Slicer numbers them when it exports them
    named = {segment.value: segment.name for segment in SEGMENTS}
    assert (understood(labels, named, GLIOMA, None, None, (), "mask").labels == labels).all()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "has no segments"),
        ({"Segment_1": np.zeros((1, 1, 1))}, "'Segment_1' is none of necrotic core, oedema, enhancing; rename"),
        ({"oedema": np.zeros((1, 1, 1)), "enhancing": np.zeros((1, 1, 2))}, "lie on 2 grids"),
    ],
)
def test_segments_that_make_no_mask_are_said(arrays, said):
    with pytest.raises(LacunetProblem, match=said):
        merged(arrays)


# ---------------------------------------------------------------- runs


def run(command: list[str]) -> tuple[int, str]:
    environment = environment_for(os.environ)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False)
    return done.returncode, readable(done.stdout)


def test_a_program_gets_odd_paths_as_they_are_and_its_answer_is_read(tmp_path):
    odd = tmp_path / 'Müller\'s scans; $HOME & "more"'
    found = find_program(str(program(odd / "bin")), {})
    status, printed = run(segment_command(found, scans(odd, "t1c", "t2f"), "", odd / "results"))
    assert (status, printed.startswith('segmenting ["segment", "--t1c", ')) == (0, True)
    assert json.loads(printed.removeprefix("segmenting "))[2] == str(odd / "t1c.nii.gz")
    assert read_case(odd / "results").rows["wt"][1] == "40.1"


def test_a_program_that_fails_gives_its_reason(tmp_path):
    command = segment_command(str(program(tmp_path)), scans(tmp_path, "t1c"), "", tmp_path / "out", "--fail")
    status, printed = run(command)
    assert why_it_failed(printed, status) == "nothing was segmented; give other scans"


@pytest.mark.slow
def test_lacunet_itself_segments_and_measures_an_invented_patient(tmp_path):
    write_phantoms(tmp_path / "phantoms", count=1, seed=5, spacing=4.0)
    given = {name: next((tmp_path / "phantoms").rglob(f"*-{name}.nii.gz")) for name in ("t1c", "t2f")}
    found = find_program(str(Path(sys.executable).parent), {})
    status, printed = run(segment_command(found, given, "default", tmp_path / "results", "--no-viewer --device cpu"))
    assert status == 0, printed
    said = read_case(tmp_path / "results")
    assert set(said.rows) == {"wt", "tc", "et"}
    status, printed = run(measure_command(found, said.mask, said.folder, tmp_path / "measures.json"))
    assert status == 0, printed
    assert read_measures(tmp_path / "measures.json").rows["wt"][1:] == ("+0.0", "1.000")
