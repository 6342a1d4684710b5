"""`lacunet measure`: masks that somebody corrected, alone, beside their case, and on other grids."""

import gzip
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import nibabel
import numpy as np
import pytest

from brains_made import Patient, moved
from lacunet.corrections.measure import measure
from lacunet.data.nifti import nifti_image
from lacunet.data.source_table import sha256_of
from lacunet.errors import DataError, LabelError, UnpreparedError
from lacunet.segmentation.record import CaseRecord, SignsRecord, record_pose
from lacunet.task import GLIOMA
from small import ROOT

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/measures.schema.json").read_text("utf-8"))
VOXEL_ML = 0.027
MODEL = "p01-mask.nii.gz"


@pytest.fixture(scope="module")
def patient() -> Patient:
    return Patient(moved((5, -3, 4), (0.97, 1.0, 1.03), (20, -30, 10)))


@pytest.fixture(scope="module")
def drawn(patient: Patient) -> np.ndarray:
    """Labels inside lacunet: a ball of oedema in the right frontal lobe, enhancement and a core in it."""
    labels = np.zeros(patient.grid.shape, np.uint8)
    for label, radius in ((2, 16.0), (3, 10.0), (1, 5.0)):
        labels[patient.ball((30, 40, 25), radius)] = label
    return labels


def save(path: Path, labels: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nifti_image(labels, affine), path)
    return path


def scanned(patient: Patient) -> np.ndarray:
    """A scan without skull."""
    return np.where(patient.brain, 100, 0).astype(np.int16)


def case_folder(folder: Path, patient: Patient, drawn: np.ndarray, **changes: Any) -> Path:
    """What `lacunet segment` writes, without a model: the mask and its record."""
    path = save(folder / MODEL, drawn, patient.grid.affine)
    signs = SignsRecord(agreement={}, fit={}, both_sides=0, distant_ml=0, brain_ml=1400, voxel_mm=3, shading={})
    record = CaseRecord(
        case="p01",
        written=datetime.now(UTC),
        subset="t1c+t2f",
        acquired="t1c+t2f",
        cautions=(),
        volumes_ml={},
        measures={},
        caveat="",
        doubts=(),
        signs=signs,
        left_out={},
        n4={},
        evidence={"wt": "seen", "tc": "seen", "et": "seen"},
        expected_dice={},
        expected_dice_from=None,
        calibration=None,
        withheld={},
        warnings=(),
        label_convention="brats2023",
        masks=(MODEL,),
        masks_sha256={MODEL: sha256_of([path])},
        poses={MODEL: record_pose(patient.pose)},
        postprocessing=(),
        provenance={},
        seconds=1.0,
        inputs_sha256={},
    ).model_dump(mode="json")
    (folder / "case.json").write_text(json.dumps(record | changes))
    return folder


def nrrd(path: Path, labels: np.ndarray, affine: np.ndarray, segments: Mapping[int, str], extra: str = "") -> Path:
    """As 3D Slicer writes a .seg.nrrd: gzip, LPS, one layer, segments described in the header."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    vectors = " ".join("(" + ",".join(f"{number:.9g}" for number in column) + ")" for column in lps[:3, :3].T)
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "type: unsigned char",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, labels.shape))}",
        f"space directions: {vectors}",
        "kinds: domain domain domain",
        "encoding: gzip",
        f"space origin: ({','.join(f'{number:.9g}' for number in lps[:3, 3])})",
    ]
    for number, (value, name) in enumerate(segments.items()):
        lines += [f"Segment{number}_ID:=Segment_{number}", f"Segment{number}_LabelValue:={value}"]
        lines += [f"Segment{number}_Layer:=0", f"Segment{number}_Name:={name}"]
    content = gzip.compress(labels.astype(np.uint8).tobytes(order="F"))
    path.write_bytes(("\n".join(lines) + extra + "\n\n").encode() + content)
    return path


def counted(labels: np.ndarray) -> dict[str, float]:
    return {
        region: pytest.approx(VOXEL_ML * np.isin(labels, values).sum(), abs=1e-3)
        for region, values in GLIOMA.regions.items()
    }


def test_the_model_s_own_mask_is_measured_as_it_was_and_said_to_be_unchanged(patient, drawn, tmp_path):
    folder = case_folder(tmp_path / "p01", patient, drawn)
    found = measure(folder / MODEL, GLIOMA)
    assert found.volumes_ml == counted(drawn)
    assert (found.change.corrected, found.change.voxels, found.change.as_written) == (False, 0, True)
    assert {region: (one.change_ml, one.dice) for region, one in found.change.regions.items()} == dict.fromkeys(
        GLIOMA.regions, (0.0, 1.0)
    )
    whole = found.measures["wt"]
    assert (whole.side, next(iter(whole.lobes))) == ("right", "frontal")
    assert whole.voxels == np.count_nonzero(drawn)
    assert (found.place_from, found.labels_from, found.label_convention) == ("case", "case", "brats2023")
    assert found.warnings == ()


@pytest.mark.parametrize("cut", [False, True])
def test_a_corrected_mask_is_compared_also_where_an_editor_cut_it(patient, drawn, tmp_path, cut):
    folder = case_folder(tmp_path / "p01", patient, drawn)
    corrected = np.where(patient.ball((30, 40, 33), 9.0), 3, np.where(drawn == 1, 2, drawn)).astype(np.uint8)
    affine, written = patient.grid.affine.copy(), corrected
    if cut:
        box = [slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(corrected)]
        written = corrected[tuple(box)]
        affine[:3, 3] = patient.grid.places(np.array([[part.start] for part in box]))[:, 0]
    found = measure(save(tmp_path / "corrected.nii.gz", written, affine), GLIOMA, folder)
    assert found.volumes_ml == counted(corrected)
    assert found.change.voxels == np.count_nonzero(corrected != drawn)
    for region, values in GLIOMA.regions.items():
        now, before = np.isin(corrected, values), np.isin(drawn, values)
        own = found.change.regions[region]
        assert own.dice == pytest.approx(2 * (now & before).sum() / (now.sum() + before.sum()), abs=1e-4)
        assert own.model_ml + own.change_ml == pytest.approx(found.volumes_ml[region], abs=2e-3)
    assert found.mask_sha256 == sha256_of([tmp_path / "corrected.nii.gz"])
    assert found.change.mask_sha256 == sha256_of([folder / MODEL])
    assert found.measures["wt"].side == "right"


def test_a_mask_that_lies_otherwise_in_the_file_is_the_same(patient, drawn, tmp_path):
    folder = case_folder(tmp_path / "p01", patient, drawn)
    flipped = patient.grid.affine @ np.array([[-1.0, 0, 0, 73], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    found = measure(save(tmp_path / "las.nii.gz", drawn[::-1], flipped), GLIOMA, folder)
    assert (found.change.corrected, found.measures["wt"].side) == (False, "right")


@pytest.mark.parametrize(
    ("segments", "values"),
    [
        ({1: "necrotic core", 2: "oedema", 3: "enhancing"}, {1: 1, 2: 2, 3: 3}),
        ({1: "Edema", 2: "Enhancing tumor", 3: "Necrosis"}, {2: 1, 3: 2, 1: 3}),
        ({7: "NCR/NET", 5: "ED", 9: "ET"}, {1: 7, 2: 5, 3: 9}),
        ({1: "necrotic_core", 2: "peritumoral edema", 4: "enhancing_tumour"}, {1: 1, 2: 2, 3: 4}),
    ],
)
def test_segments_of_slicer_are_understood_by_their_names(patient, drawn, tmp_path, segments, values):
    on_disk = np.zeros_like(drawn)
    for label, value in values.items():
        on_disk[drawn == label] = value
    found = measure(nrrd(tmp_path / "a.seg.nrrd", on_disk, patient.grid.affine, segments), GLIOMA)
    assert (found.volumes_ml, found.labels_from, found.label_convention) == (counted(drawn), "segments", None)


def test_segments_without_known_names_are_understood_by_their_values(patient, drawn, tmp_path):
    folder = case_folder(tmp_path / "p01", patient, drawn)
    path = nrrd(tmp_path / "a.seg.nrrd", drawn, patient.grid.affine, {1: "Segment_1", 2: "Segment_2", 3: "Anna M"})
    found = measure(path, GLIOMA, folder)
    assert (found.labels_from, found.volumes_ml) == ("case", counted(drawn))
    assert "Anna" not in found.model_dump_json()


@pytest.mark.parametrize(
    ("values", "labels", "decided"),
    [
        ({1: 1, 2: 2, 3: 4}, "brats2018", "brats2018"),
        ({1: 2, 2: 1, 3: 3}, "nnunet", "nnunet"),
        ({1: 3, 2: 2, 3: 4}, "brats2013", "brats2013"),
        ({1: 1, 2: 2, 3: 3}, "brats2024", "brats2024"),
    ],
)
def test_the_option_says_what_the_labels_mean(patient, drawn, tmp_path, values, labels, decided):
    table = np.zeros(5, np.uint8)
    table[list(values)] = list(values.values())
    path = save(tmp_path / "m.nii.gz", table[drawn], patient.grid.affine)
    found = measure(path, GLIOMA, labels=labels)
    assert (found.volumes_ml, found.label_convention, found.labels_from) == (counted(drawn), decided, "option")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda m: m,
            r"labels \{0, 1, 2, 3\} in m\.nii\.gz do not show which .* state it: --labels with one of brats2013",
        ),
        (lambda m: np.where(m == 3, 4, m), r"labels \{0, 1, 2, 4\} in m\.nii\.gz do not show"),
        (lambda m: np.where(m == 3, 9, m), r"labels \{0, 1, 2, 9\} in m\.nii\.gz fit no label convention"),
        (lambda m: m.astype(np.float32) * 0.7, r"m\.nii\.gz: label 1\.4 is not a whole number"),
        (
            lambda m: np.arange(m.size, dtype=np.int16).reshape(m.shape) % 500,
            "has 499 different values; .* is it a scan",
        ),
    ],
)
def test_labels_that_do_not_show_what_they_mean_are_asked(patient, drawn, tmp_path, change, said):
    with pytest.raises(LabelError, match=said):
        measure(save(tmp_path / "m.nii.gz", change(drawn), patient.grid.affine), GLIOMA)


def test_half_known_names_of_segments_are_asked(patient, drawn, tmp_path):
    path = nrrd(tmp_path / "a.seg.nrrd", drawn, patient.grid.affine, {1: "core", 2: "oedema", 3: "enhancing"})
    with pytest.raises(LabelError, match="segment with value 1 is none of necrotic_core, oedema, enhancing, and other"):
        measure(path, GLIOMA)
    assert measure(path, GLIOMA, labels="brats2023").volumes_ml == counted(drawn)


def test_without_a_case_nothing_is_said_of_the_place_but_a_scan_shows_it(patient, drawn, tmp_path):
    path = save(tmp_path / "m.nii.gz", drawn, patient.grid.affine)
    alone = measure(path, GLIOMA, labels="brats2023")
    assert (alone.case, alone.place_from, alone.change) == (None, None, None)
    assert (alone.measures["wt"].side, alone.measures["wt"].lobes) == (None, None)
    assert alone.measures["wt"].foci[0].longest_mm > 25
    assert "give its case (--case), or a scan" in alone.warnings[0]
    scan = save(tmp_path / "t2f.nii.gz", scanned(patient), patient.grid.affine)
    placed = measure(path, GLIOMA, scans=[scan], labels="brats2023")
    assert (placed.measures["wt"].side, placed.place_from, placed.warnings) == ("right", "scans", ())
    skull = save(tmp_path / "head.nii.gz", np.full(patient.grid.shape, 90, np.int16), patient.grid.affine)
    with pytest.raises(DataError, match="scan 1"):
        measure(path, GLIOMA, scans=[skull], labels="brats2023")
    shifted = save(tmp_path / "t1c.nii.gz", np.where(patient.brain, 9, 0).astype(np.int16), np.diag([3.0, 3, 3, 1]))
    with pytest.raises(UnpreparedError, match=r"scan 2: .* differ"):
        measure(path, GLIOMA, scans=[scan, shifted], labels="brats2023")


def test_a_folder_of_scans_is_a_case_too(patient, drawn, tmp_path):
    folder = tmp_path / "BraTS-GLI-00000-000"
    save(folder / "BraTS-GLI-00000-000-t2f.nii.gz", scanned(patient), patient.grid.affine)
    path = save(tmp_path / "m.nii.gz", drawn, patient.grid.affine)
    found = measure(path, GLIOMA, folder)
    assert (found.labels_from, found.label_convention) == ("values", "brats2023")  # the names of the scans say it
    assert (found.case, found.place_from, found.measures["et"].side) == ("BraTS-GLI-00000-000", "case", "right")


def test_what_cannot_be_compared_is_said(patient, drawn, tmp_path):
    folder = case_folder(tmp_path / "p01", patient, drawn)
    elsewhere = patient.grid.affine.copy()
    elsewhere[:3, 3] += 1.4
    found = measure(save(tmp_path / "m.nii.gz", drawn, elsewhere), GLIOMA, folder)
    assert found.change is None
    assert found.warnings == (
        "it is not compared with the model's mask, since its voxels lie elsewhere; save it on the grid of the scan on "
        "which the model's mask lies",
    )
    other = save(tmp_path / "other.nii.gz", drawn[::-1], patient.grid.affine)
    assert "hardly anything in common with the model's (Dice 0.00)" in measure(other, GLIOMA, folder).warnings[0]
    empty = measure(save(tmp_path / "no.nii.gz", drawn * 0, patient.grid.affine), GLIOMA, folder)
    assert empty.vasari == ()
    assert (empty.warnings, empty.measures, empty.change.regions["wt"].dice) == (("the mask is empty",), {}, 0.0)
    save(folder / MODEL, np.where(drawn == 3, 2, drawn), patient.grid.affine)
    in_place = measure(folder / MODEL, GLIOMA)
    assert in_place.change.as_written is False
    assert "was changed in place: the model's own is lost" in in_place.warnings[0]
    assert "is not as lacunet wrote it" in measure(other, GLIOMA, folder).warnings[0]
    (folder / MODEL).unlink()
    gone = measure(other, GLIOMA, folder)
    assert (gone.change, gone.place_from) == (None, "case")
    assert "no longer beside the case's record" in gone.warnings[0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at: at / "no.nii.gz", r"no\.nii\.gz: no such file; name the file of the mask"),
        (lambda at: at, r"is a folder; name the file of the mask"),
        (lambda at: written(at / "a.dcm", bytes(128) + b"DICM" + bytes(9)), "DICOM object, .* measure the .nii.gz"),
        (lambda at: written(at / "Anna.nii.gz", b""), "^the mask: is empty"),
        (lambda at: written(at / "m.nii.gz", b"nonsense" * 99), r"^m\.nii\.gz: "),
        (
            lambda at: nrrd(
                at / "l.seg.nrrd", np.zeros((2, 2, 2)), np.eye(4), {}, "\nkinds: list domain domain domain"
            ),
            "gives 'kinds' twice",
        ),
    ],
)
def test_a_file_that_is_no_mask_is_refused(tmp_path, make, said):
    with pytest.raises(DataError, match=said):
        measure(make(tmp_path), GLIOMA)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_segments_in_layers_are_refused_with_the_way_out(tmp_path):
    path = nrrd(tmp_path / "l.seg.nrrd", np.zeros((2, 2, 2)), np.eye(4), {})
    path.write_bytes(path.read_bytes().replace(b"kinds: domain", b"kinds: list domain").replace(b"ion: 3", b"ion: 4"))
    with pytest.raises(DataError, match="segments in several layers, since some overlap; in 3D Slicer export them"):
        measure(path, GLIOMA)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "'case' is missing; give the folder that lacunet segment wrote"),
        ("[", "not JSON"),
        (None, r"p01: has no case\.json, and no scans were found; --case takes the folder of one case"),
    ],
)
def test_a_case_that_is_none_is_refused(patient, drawn, tmp_path, content, said):
    folder = tmp_path / "p01"
    folder.mkdir()
    if content is not None:
        (folder / "case.json").write_text(content)
    path = save(tmp_path / "m.nii.gz", drawn, patient.grid.affine)
    with pytest.raises(DataError, match=said):
        measure(path, GLIOMA, folder)


def test_a_case_of_a_bids_derivative_is_known_by_its_folder_and_beside_its_mask(patient, drawn, tmp_path):
    stem = "sub-01_ses-1_desc-lacunet_dseg"
    mask = f"{stem}.nii.gz"
    anat, poses = tmp_path / "sub-01/ses-1/anat", {mask: record_pose(patient.pose).model_dump()}
    folder = case_folder(anat, patient, drawn, masks=[mask], poses=poses, SpatialReference="orig")
    (folder / "case.json").rename(folder / f"{stem}.json")
    (folder / MODEL).rename(folder / mask)
    for path, case in (
        (save(tmp_path / "m.nii.gz", drawn, patient.grid.affine), anat.parent),
        (save(anat / "corrected.nii.gz", drawn, patient.grid.affine), None),
    ):
        found = measure(path, GLIOMA, case)
        assert (found.case, found.change.mask, found.place_from) == ("p01", mask, "case")


def test_a_name_that_no_file_can_have_is_told_as_one_that_is_not_there(lacunet, patient, drawn, tmp_path):
    path, name = save(tmp_path / "m.nii.gz", drawn, patient.grid.affine), 300 * "a"
    for words, said in (
        ((f"{name}.nii.gz",), "no such file; name the file of the mask"),
        ((path, "--case", name), "no such file or folder; --case takes the folder of one case"),
        ((path, "--labels", "brats2023", "-o", f"{tmp_path}/{name}.json"), "cannot be written (File name too long)"),
    ):
        status, _, complaint = lacunet("measure", *words)
        assert (status, said in complaint) == (1, True), complaint


def test_an_older_record_without_poses_and_hashes_is_read(patient, drawn, tmp_path):
    folder = case_folder(tmp_path / "p01", patient, drawn)
    record = json.loads((folder / "case.json").read_text())
    (folder / "case.json").write_text(
        json.dumps({k: v for k, v in record.items() if k not in ("poses", "masks_sha256", "vasari")})
    )
    found = measure(folder / MODEL, GLIOMA)
    assert (found.case, found.labels_from, found.place_from) == ("p01", "case", None)


def test_the_command_prints_a_table_and_writes_what_the_schema_says(lacunet, patient, drawn, tmp_path):
    caution = {"kind": "identity", "sentence": "the scans may be of two patients"}
    folder = case_folder(tmp_path / "p01", patient, drawn, evidence={"wt": "seen", "tc": "seen", "et": "inferred"})
    record = json.loads((folder / "case.json").read_text())
    kinds = SCHEMA["$defs"]["SentenceRecord"]["properties"]["kind"]["enum"]
    (folder / "case.json").write_text(json.dumps(record | {"cautions": [caution | {"kind": kinds[0]}]}))
    path = save(tmp_path / "Mustermann_Anna.nii.gz", np.where(drawn == 1, 2, drawn), patient.grid.affine)
    output = tmp_path / "measures.json"
    status, out, complaints = lacunet("measure", path, "--case", folder, "-o", output)
    assert (status, complaints) == (0, "")
    assert out.startswith("CAUTION: the scans may be of two patients\n")
    assert "enhancing tumour (inferred, not seen)" in out
    assert "whole tumour: frontal " in out
    assert re.search(r"F1 Location +frontal", out)
    assert "not stated: F5, F6+F7, F22, F23, since enhancement is inferred, not seen\n" in out
    said = json.loads(output.read_text())
    jsonschema.validate(said, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert set(said) == set(SCHEMA["properties"])
    assert "Mustermann" not in output.read_text() + out.replace(str(tmp_path), "")
    assert {one["number"]: one["value"] for one in said["vasari"]}["F2"] == "right"
    change = said["change"]["regions"]["tc"]["change_ml"]
    assert change == pytest.approx(-VOXEL_ML * (drawn == 1).sum(), abs=1e-3)
    row = next(line for line in out.splitlines() if line.startswith("tumour core"))
    assert f"{change:+.1f}" in row.split()
    status, _, complaints = lacunet("measure", path, "--case", folder, "-o", output)
    assert (status, "exists already; replace it with --overwrite" in complaints) == (1, True)
    assert lacunet("measure", path, "--case", folder, "--json", tmp_path, "--overwrite")[0] == 0
