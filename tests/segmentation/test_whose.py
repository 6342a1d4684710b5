"""Which result is whose: hashes of the inputs in case.json, and sources.csv after one run and after several."""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lacunet.data.find import find_cases
from lacunet.data.prepare import Preparation
from lacunet.errors import Problem, UsageError
from lacunet.models.model import Model
from lacunet.nn.method import get_method, make_method
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.segment import segment_cases
from lacunet.segmentation.sources import Sources, segment, under_name
from lacunet.segmentation.write import Segmented, SegmentSettings
from lacunet.task import GLIOMA
from phantoms_made import make_phantom, write_phantoms

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
from dicom_made import Examination
from lacunet.intake.importer import Importer

pytestmark = pytest.mark.usefixtures("coarse_cases")

SETTINGS = SegmentSettings(viewer=False)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2}).eval()
    return Predictor(Model("tiny", method, Preparation(8.0), {}, "0" * 64), "cpu", "float32")


def rows_in(folder: Path) -> list[Mapping[str, str]]:
    with (folder / "sources.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_slices_are_hashed_in_their_order(predictor, tmp_path):
    case = make_phantom(5, spacing=6.0)
    made = Examination(tmp_path / "export" / "DICOM")
    voxels = case.images["t1c"].astype(np.uint16)
    downwards = case.grid.affine @ np.diag([1, 1, -1, 1])  # the file of number 1 is the top slice
    downwards[:3, 3] += case.grid.affine[:3, 2] * (voxels.shape[2] - 1)
    paths = made.write(voxels[:, :, ::-1], downwards, 3, "T1 KM", "t1c")
    made.write(np.ones((8, 8, 3), np.uint16), np.eye(4) * 20, 1, "localizer")
    _, done = segment(predictor, [tmp_path / "export"], tmp_path / "out", SETTINGS)
    assert isinstance(done, Segmented), done
    record = json.loads(done.places.record.read_text())
    assert "scans" not in record["provenance"]  # they were files of ours, which are gone
    used, left = rows_in(tmp_path / "out")
    in_order = [tmp_path / "export" / name for name in used["files"].split("; ")]
    assert in_order in (paths, paths[::-1])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in in_order)).hexdigest()
    assert record["inputs_sha256"] == {"t1c": digest}
    assert (used["case"], used["role"], used["sha256"]) == (done.name, "t1c", digest)
    assert used["source"] == left["source"] == str(tmp_path / "export")
    assert used["series"].startswith("series 3 (")
    assert (left["case"], left["role"], left["reason"]) == (done.name, "", "is a localiser")


def test_the_table_is_right_after_resuming_and_replacing(predictor, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    write_phantoms(data, 2, seed=3, spacing=8.0)
    first, second = find_cases(data)
    assert all(isinstance(done, Segmented) for done in segment_cases(predictor, [first], out, SETTINGS))
    resumed = SegmentSettings(viewer=False, resume=True)
    list(segment_cases(predictor, [first, second], out, resumed))
    before = rows_in(out)
    assert {row["case"] for row in before} == {first.name, second.name}
    assert len(before) == 10  # four scans and a reference each
    by_name = {row["role"]: row["sha256"] for row in before if row["case"] == first.name}
    assert by_name["t1c"] == hashlib.sha256(first.images["t1c"].path.read_bytes()).hexdigest()
    record = json.loads((out / first.name / "case.json").read_text())
    assert record["inputs_sha256"] == {role: digest for role, digest in by_name.items() if role != "reference"}
    image = nib.load(first.images["t1c"].path)
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj) * 2, image.affine), first.images["t1c"].path)
    list(segment_cases(predictor, [first, second], out, resumed))
    assert rows_in(out) == before
    replaced = SegmentSettings(viewer=False, overwrite=True)
    list(segment_cases(predictor, [first], out, replaced))
    after = {(row["case"], row["role"]): row["sha256"] for row in rows_in(out)}
    changed = [key for key, digest in after.items() if (*key, digest) not in [_key(row) for row in before]]
    assert (len(after), changed) == (10, [(first.name, "t1c")])


def _key(row: Mapping[str, str]) -> tuple[str, str, str]:
    return row["case"], row["role"], row["sha256"]


def test_a_case_that_fails_can_be_found_by_its_hash_and_does_not_replace_one_that_is_there(predictor, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    write_phantoms(data, 1, seed=3, spacing=8.0)
    (files,) = find_cases(data)
    scan = files.images["t2w"].path
    good, bad = scan.read_bytes(), scan.read_bytes()[:-500]
    scan.write_bytes(bad)
    (problem,) = segment_cases(predictor, [files], out, SETTINGS)
    assert isinstance(problem, Problem)
    failed = rows_in(out)
    assert {row["reason"] for row in failed} == {f"failed: {problem.message}"}
    assert hashlib.sha256(bad).hexdigest() in {row["sha256"] for row in failed}
    scan.write_bytes(good)
    list(segment_cases(predictor, [files], out, SETTINGS))
    done = rows_in(out)
    assert {row["reason"] for row in done} == {""}
    scan.write_bytes(bad)
    (problem,) = segment_cases(predictor, [files], out, SegmentSettings(viewer=False, overwrite=True))
    assert isinstance(problem, Problem)
    assert rows_in(out) == done


def test_a_result_whose_owner_cannot_be_written_down_is_not_done(predictor, tmp_path):
    write_phantoms(tmp_path / "data", 1, seed=3, spacing=8.0)
    (files,) = find_cases(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sources.csv").write_text("mine\n")
    (problem,) = segment_cases(predictor, [files], tmp_path / "out", SETTINGS)
    assert isinstance(problem, Problem)
    assert problem.message.count("is no table of sources that lacunet wrote; move it away") == 1
    assert not list(tmp_path.rglob("case.json"))


def test_a_name_is_for_one_case(predictor, tmp_path):
    write_phantoms(tmp_path, 2, seed=3, spacing=8.0)
    cases = find_cases(tmp_path)
    assert under_name(Sources(cases), None).cases == cases
    assert [files.name for files in under_name(Sources(cases[:1]), "anna").cases] == ["anna"]
    for found in (Sources(cases), Sources(cases[:1], [tmp_path])):
        with pytest.raises(UsageError, match="--name anna: there are 2 cases; leave it out"):
            under_name(found, "anna")


def test_imported_cases_have_their_table_too(tmp_path):
    case = make_phantom(5, spacing=6.0)
    path = tmp_path / "export" / "Meier T1 KM.nii.gz"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(np.rint(case.images["t1c"]).astype(np.int16), case.grid.affine), path)
    importer = Importer(name="anna")
    list(importer.import_into(path.parent, tmp_path / "cases"))
    (row,) = rows_in(tmp_path / "cases")
    assert (row["case"], row["role"], row["files"]) == ("anna", "t1c", "Meier T1 KM.nii.gz")
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    other = tmp_path / "other" / "Schulz T1 KM.nii.gz"
    other.parent.mkdir()
    nib.save(nib.Nifti1Image(np.rint(case.images["t1c"] * 2).astype(np.int16), case.grid.affine), other)
    _, refused = importer.import_into(other.parent, tmp_path / "cases")
    assert isinstance(refused, Problem)
    assert rows_in(tmp_path / "cases") == [row]
