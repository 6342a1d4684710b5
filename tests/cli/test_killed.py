"""Commands that are killed between two results: no file is half there, and a second call ends with the same files."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from calibrations_made import tiny_model
from lacunet.data.prepare import Preparation
from lacunet.models.model import save_model
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA
from lacunet.training.recipe import write_recipe
from phantoms_made import write_phantoms
from same_files import written
from small import ROOT, tiny_recipe
from typed import Run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three invented patients, two fold models, a model that estimates sequences, splits and a recipe."""
    folder: Path = tmp_path_factory.mktemp("world")
    names = [path.name for path in write_phantoms(folder / "cases", 3, seed=1, spacing=8.0)]
    for seed in range(2):
        tiny_model(folder / f"fold{seed}", seed)
        (folder / f"fold{seed}.json").write_text(json.dumps({"val": names[seed : seed + 1 + seed]}))
    torch.manual_seed(0)
    arguments = {"width": 4, "levels": 2, "indicator": "none", "keep": "student+recovery"}
    method = make_method(get_method("dual_stage"), GLIOMA, arguments)
    save_model(folder / "recovery", method, Preparation(8.0), {"data": "nothing", "licence": "none"})
    parts = {"train": names[:1], "val": names[1:2], "test": names[2:]}
    (folder / "split.json").write_text(json.dumps(parts))
    recipe = tiny_recipe(
        prepare={"spacing": 8.0}, train={"steps": 4, "save_every": 1}, validate={"every": 2, "subsets": ["t1c"]}
    )
    write_recipe(folder / "one.toml", recipe)
    return folder


pytestmark = pytest.mark.usefixtures("one_thread")


def kill(number: int, *words: object) -> None:
    command = [sys.executable, str(ROOT / "tests" / "killed.py"), str(number), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr


def files(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Path -> bytes. What a killed process left under a temporary name is hidden, and no result."""
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    shown = [path for path in found if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in shown}


@pytest.mark.parametrize(
    ("words", "number", "again", "same"),
    [
        (["missing", "{world}/cases", "-o", "{out}/missing.csv", "--full", "0.3"], 1, [], ["missing.csv"]),
        (
            ["complete", "{world}/cases", "-o", "{out}", "-m", "{world}/recovery", "--subset", "t2f"],
            8, ["--resume"], ["*/*-synthetic.nii.gz", "sources.csv"],
        ),
        (
            ["calibrate", "{world}/fold0={world}/fold0.json:val", "{world}/fold1={world}/fold1.json:val",
             "--data", "{world}/cases", "-o", "{out}", "--voxels", "100"],
            5, ["--resume"], ["calibration.json", "cases.csv", "parts/*"],
        ),
        (
            ["benchmark", "{world}/one.toml", "--data", "{world}/cases", "-o", "{out}", "--split",
             "{world}/split.json", "--subsets", "t1c,t2f", "--device", "cpu"],
            14, [], ["one/seed-1/model/weights.safetensors", "one/seed-1/test/cases.csv", "splits/*", "comparison.csv"],
        ),
    ],
    ids=["missing", "complete", "calibrate", "benchmark"],
)  # fmt: skip
def test_a_killed_command_leaves_no_half_and_its_second_call_the_same_files(
    lacunet: Run, world: Path, tmp_path: Path, words: list[str], number: int, again: list[str], same: list[str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    status, _, said = lacunet(*(word.format(world=world, out=whole) for word in words))
    assert status == 0, said
    wanted = files(whole, *same)
    assert len(wanted) >= len(same)

    kill(number, *(word.format(world=world, out=killed) for word in words))
    there = files(killed, *same)
    assert set(there) < set(wanted)

    status, _, said = lacunet(*(word.format(world=world, out=killed) for word in words), *again)
    assert status == 0, said
    assert files(killed, *same) == wanted


def test_a_killed_segmentation_leaves_a_whole_table_and_ends_with_the_same_cohort(
    lacunet: Run, world: Path, tmp_path: Path
) -> None:
    words = ["segment", world / "cases", "-m", world / "fold0", "--device", "cpu", "--no-viewer"]
    assert lacunet(*words, "-o", tmp_path / "whole")[0] == 0
    wanted = written(tmp_path / "whole")
    assert {"results.csv", "cohort.html"} < set(wanted)

    kill(10, *words, "-o", tmp_path / "killed")  # where two cases are done, and their page comes
    there = tmp_path / "killed" / "results.csv"
    if there.exists():
        with there.open(newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
        assert {len(row) for row in rows} == {len(header)}
    status, _, said = lacunet(*words, "-o", tmp_path / "killed", "--resume")
    assert status == 0, said
    shown = {name: content for name, content in written(tmp_path / "killed").items() if "/." not in f"/{name}"}
    assert shown == wanted
