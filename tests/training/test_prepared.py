"""Prepared cases on disk: what they cost, and that it does not matter how many processes made them."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.prepare import Preparation
from lacunet.errors import DataError
from lacunet.task import GLIOMA
from lacunet.training import prepared
from lacunet.training.prepared import PreparedCase, prepare_cases
from phantoms_made import write_phantoms
from small import ROOT

FEW_FILES = ROOT / "tests" / "few_files.py"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copies(files: CaseFiles, count: int) -> list[CaseFiles]:
    return [replace(files, name=f"case-{number:03d}") for number in range(count)]


def open_files() -> int:
    """Of this process, where the system tells; else 0."""
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_hundred_cases_need_few_open_files(workers: int, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "cases", count=1, seed=1, spacing=8.0)
    words = [sys.executable, FEW_FILES, tmp_path / "cases", tmp_path / "prepared", str(workers)]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_case_costs_little_memory_and_nothing_stays_open(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    cases = list(prepare_cases(phantoms[:1], GLIOMA, Preparation(4.0), tmp_path))
    before = open_files()
    tracemalloc.start()
    again = [next(iter(prepare_cases(phantoms[:1], GLIOMA, Preparation(4.0), tmp_path))) for _ in range(50)]
    each = tracemalloc.get_traced_memory()[0] / len(again)
    tracemalloc.stop()
    assert each < 10_000, f"{each:.0f} bytes"
    assert len(pickle.dumps(cases[0])) < 2_000
    assert all(case.images.any() and case.voxel("wt", 0).shape == (3,) for case in again)
    assert open_files() == before


def test_cases_prepared_in_parallel_are_the_same_bytes(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    def prepare(workers: int) -> tuple[list[PreparedCase], Path]:
        folder = tmp_path / str(workers)
        return list(prepare_cases(phantoms, GLIOMA, Preparation(3.0), folder, workers)), folder

    serial, one = prepare(0)
    parallel, other = prepare(2)
    assert [case.name for case in parallel] == [case.name for case in serial] == [case.name for case in phantoms]
    assert [case.counts for case in parallel] == [case.counts for case in serial]
    assert contents(one) == contents(other)
    assert len(contents(one)) == 8 * len(phantoms)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_case_that_cannot_be_read_ends_it_with_its_own_message(
    phantoms: list[CaseFiles], tmp_path: Path, workers: int
) -> None:
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"no image")
    images = {**phantoms[0].images, "t1c": ImageFile(broken)}
    cases = [*copies(phantoms[0], 2), replace(phantoms[0], name="broken", images=images), phantoms[1]]
    made = prepare_cases(cases, GLIOMA, Preparation(8.0), tmp_path / "prepared", workers)
    assert [next(made).name, next(made).name] == ["case-000", "case-001"]
    with pytest.raises(DataError, match=r"^[^\n]*broken\.nii: [^\n]*$"):
        next(made)


def test_other_regions_or_modalities_are_prepared_again(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    list(prepare_cases(phantoms[:1], GLIOMA, Preparation(8.0), tmp_path))
    core = replace(GLIOMA, regions={"wt": (1, 2, 3), "tc": (1,)}, painting=(("wt", 2), ("tc", 1)))
    (case,) = prepare_cases(phantoms[:1], core, Preparation(8.0), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert set(case.counts) == {"wt", "tc"}
    assert case.counts["tc"] == (np.asarray(case.labels) == 1).sum() > 0


def test_the_hash_of_a_case_is_that_of_its_voxels_and_is_kept(
    phantoms: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = prepare_cases(phantoms[:1], GLIOMA, Preparation(8.0), tmp_path)
    expected = hashlib.sha256(case.images.tobytes() + case.labels.tobytes()).hexdigest()
    read: list[Path] = []
    monkeypatch.setattr(prepared, "opened", lambda path: [read.append(path), np.load(path)][1])
    assert case.sha256 == expected
    assert not read
    (case.folder / "content.sha256").unlink()  # prepared by an older version
    assert (case.sha256, case.sha256) == (expected, expected)
    assert [path.name for path in read] == ["images.npy", "labels.npy"]
    changed = np.load(case.folder / "labels.npy")
    changed[0, 0, 0] += 1
    np.save(case.folder / "labels.npy", changed)
    assert case.sha256 != expected


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "voxels-wt.npy"])
def test_a_damaged_file_is_named_with_what_to_do(phantoms: list[CaseFiles], tmp_path: Path, name: str) -> None:
    (case,) = prepare_cases(phantoms[:1], GLIOMA, Preparation(8.0), tmp_path)
    (case.folder / name).write_bytes(b"half")
    with pytest.raises(DataError, match=rf"{name}: cannot be read as a prepared array; remove its folder"):
        _ = case.images, case.labels, case.voxel("wt", 0)


def test_facts_that_cannot_be_read_are_named_too(phantoms: list[CaseFiles], tmp_path: Path) -> None:
    (case,) = prepare_cases(phantoms[:1], GLIOMA, Preparation(8.0), tmp_path)
    for text in ("{", json.dumps([1]), json.dumps({"name": "a", "shape": [1, 2]})):
        (case.folder / "facts.json").write_text(text)
        with pytest.raises(DataError, match=r"facts\.json: .*remove its folder"):
            list(prepare_cases(phantoms[:1], GLIOMA, Preparation(8.0), tmp_path))
