"""`--on` a crew: every file that the serial run writes, with the same bytes but for seconds and dates.

Every kind of crew, with workers that are killed, is tested in tests/crew/test_crews.py.
"""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from threading import Thread

import pytest

from calibrations_made import tiny_model
from lacunet.training.recipe import write_recipe
from phantoms_made import write_phantoms
from same_files import written
from small import tiny_recipe
from typed import Run

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four invented patients, the second of them broken in one copy; a model; fold models, a split and a recipe."""
    folder: Path = tmp_path_factory.mktemp("world")
    names = [path.name for path in write_phantoms(folder / "cases", 4, seed=1, spacing=8.0)]
    write_phantoms(folder / "broken", 4, seed=1, spacing=8.0)
    scan = next((folder / "broken" / names[1]).glob("*t1c*.nii.gz"))
    scan.write_bytes(scan.read_bytes()[:-500])
    for seed in range(2):
        tiny_model(folder / f"fold{seed}", seed, spacing=8.0)
        (folder / f"fold{seed}.json").write_text(json.dumps({"val": names[2 * seed : 2 * seed + 2]}))
    (folder / "split.json").write_text(json.dumps({"train": names[:2], "val": names[2:3], "test": names[3:]}))
    recipe = tiny_recipe(
        prepare={"spacing": 8.0}, train={"steps": 2, "save_every": 1}, validate={"every": 2, "subsets": ["t1c"]}
    )
    write_recipe(folder / "one.toml", recipe)
    for number, patient in enumerate(write_phantoms(folder / "raw", 2, seed=1, spacing=4.0), start=1):
        scans = folder / f"visit-{number}" / f"sub-0{number}" / "anat"
        scans.mkdir(parents=True)
        for modality, ending in {"t1n": "T1w", "t1c": "ce-GAD_T1w", "t2w": "T2w", "t2f": "FLAIR"}.items():
            next(patient.glob(f"*{modality}*")).rename(scans / f"sub-0{number}_{ending}.nii.gz")
        shutil.copytree(folder / f"visit-{number}", folder / "visits", dirs_exist_ok=True)
        shutil.make_archive(str(folder / f"visit-{number}"), "zip", folder / f"visit-{number}")
    return folder


SerialRuns = dict[str, tuple[Path, tuple[int, str, str]]]


@pytest.fixture(scope="module")
def serial_runs() -> SerialRuns:
    """By its words, where a serial run wrote and what it returned: several crews are compared with one."""
    return {}


SEGMENT = ["segment", "{world}/broken", "-m", "{world}/fold0", "--device", "cpu"]
ARCHIVES = ["segment", "{world}/visit-1.zip", "{world}/visit-2.zip", "-m", "{world}/fold0", "--device", "cpu"]
IMPORT = ["import", "{world}/visits"]
EVALUATE = ["evaluate", "{world}/fold0", "{world}/broken", "--subsets", "t1c,t1c+t2f", "--device", "cpu"]
BENCHMARK = [
    "benchmark", "{world}/one.toml", "--data", "{world}/cases", "--split", "{world}/split.json", "--seeds", "2",
    "--subsets", "t1c,t2f", "--device", "cpu",
]  # fmt: skip
CALIBRATE = [
    "calibrate", "{world}/fold0={world}/fold0.json:val", "{world}/fold1={world}/fold1.json:val",
    "--data", "{world}/cases", "--voxels", "100", "--device", "cpu",
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "on", "status"),
    [
        (SEGMENT, "processes:2", 1),
        pytest.param(SEGMENT, "ray", 1, marks=pytest.mark.slow),
        (ARCHIVES, "processes:2", 0),
        (IMPORT, "processes:2", 0),
        (EVALUATE, "processes:2", 1),
        pytest.param(EVALUATE, "slurm:workers=2,cluster=local,folder={out}", 1, marks=pytest.mark.slow),
        (BENCHMARK, "processes:2", 0),
        (CALIBRATE, "processes:2", 0),
    ],
    ids=lambda value: f"{value[0]}" if isinstance(value, list) else str(value).partition(":")[0],
)
def test_a_crew_writes_and_prints_what_the_serial_run_does(
    lacunet: Run, world: Path, serial_runs: SerialRuns, tmp_path: Path, words: list[str], on: str, status: int
) -> None:
    pytest.importorskip({"ray": "ray", "slurm": "submitit"}.get(on.partition(":")[0], "torch"), reason="no such extra")
    (tmp_path / "array").mkdir()
    told = [word.format(world=world) for word in words]
    if " ".join(told) not in serial_runs:
        serial_runs[" ".join(told)] = (tmp_path / "serial", lacunet(*told, "-o", tmp_path / "serial"))
    folder, serial = serial_runs[" ".join(told)]
    crew = lacunet(*told, "-o", tmp_path / "crew", "--on", on.format(out=tmp_path / "array"))
    assert (serial[0], crew[0]) == (status, status), crew
    expected, found = written(folder), written(tmp_path / "crew")
    assert sorted(found) == sorted(expected)
    assert [name for name, content in expected.items() if found[name] != content] == []
    assert not list((tmp_path / "array").iterdir())
    if words in (SEGMENT, ARCHIVES, EVALUATE):
        printed = [one.replace(str(tmp_path / "crew"), str(folder)) for one in crew[1:]]
        assert printed == list(serial[1:])


@pytest.mark.slow
def test_after_a_worker_is_killed_every_case_is_there_with_the_bytes_of_the_serial_run(
    lacunet: Run, world: Path, tmp_path: Path
) -> None:
    words = ["segment", world / "cases", "-m", world / "fold0", "--device", "cpu"]
    lacunet(*words, "-o", tmp_path / "serial")
    killed: list[int] = []

    def kill_one() -> None:
        while not any((tmp_path / "crew").glob("*/case.json")):
            time.sleep(0.01)
        killed.append(multiprocessing.active_children()[0].pid or 0)
        os.kill(killed[0], signal.SIGKILL)

    killer = Thread(target=kill_one)
    killer.start()
    status, out, err = lacunet(*words, "-o", tmp_path / "crew", "--on", "processes:2")
    killer.join()
    assert killed
    assert (status, "4 of 4 cases" in out) == (0, True), err
    assert written(tmp_path / "crew") == written(tmp_path / "serial")


@pytest.mark.parametrize("command", ["segment", "import", "evaluate", "benchmark", "calibrate", "train"])
def test_other_words_are_refused_before_anything_is_written(
    lacunet: Run, world: Path, tmp_path: Path, command: str
) -> None:
    words = {
        "segment": [world / "cases"],
        "import": [world / "visits"],
        "evaluate": [world / "fold0", world / "cases"],
        "benchmark": [world / "one.toml", "--data", world / "cases", "--split", world / "split.json"],
        "calibrate": [f"{world}/fold0={world}/fold0.json:val", "--data", world / "cases"],
        "train": [world / "one.toml", "--data", world / "cases", "--split", world / "split.json"],
    }[command]
    status, _, err = lacunet(command, *words, "-o", tmp_path / "out", "--on", "processes")
    assert (status, "--on processes: expected how many, from 1 to 1024" in err) == (2, True), err
    assert not (tmp_path / "out").exists()
