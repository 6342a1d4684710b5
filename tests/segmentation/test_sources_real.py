"""Import and segmentation of real scans: a raw patient, and real cases written as DICOM. Skipped without them."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet.case import Case, Grid, ImageFile
from lacunet.data.find import case_from_files, find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case
from lacunet.data.volume import read_image
from lacunet.evaluation.metrics import dice
from lacunet.intake.align.rigid import Rigid, carry, centre_of
from lacunet.intake.align.strip import installed
from lacunet.intake.found import Survey
from lacunet.models.folder import DEFAULT, shipped_models
from lacunet.models.model import load_model
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.resample import onto_scan, regions_of_labels
from lacunet.segmentation.segment import segment_case
from lacunet.segmentation.write import Segmented, SegmentSettings
from lacunet.task import GLIOMA
from small import SHARED

pytest.importorskip("pydicom", reason="pip install 'lacunet[dicom]'")
pytest.importorskip("highdicom", reason="pip install 'lacunet[dicom]'")
pytest.importorskip("dcm2niix", reason="pip install 'lacunet[dicom]'")


from dicom_made import SECRETS, Examination, labels_in
from lacunet.intake.importer import Importer
from lacunet.segmentation.sources import segment_export

DATA = SHARED / "data"
RAW = DATA / "raw/TCGA-FG-6692"
VALIDATION = DATA / "glioma/split.json"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DEFAULT not in shipped_models(), reason="the package holds no model"),
]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load_model("default"), "cpu")


@pytest.mark.skipif(not (RAW.is_dir() and installed("deepbet")), reason="needs the raw scans and deepbet")
def test_a_raw_patient_gets_masks_on_every_scan_as_it_came(predictor: Predictor, tmp_path: Path) -> None:
    targets = ("t1n", "t1c", "t2w", "t2f")
    survey, done = segment_export(predictor, Importer(), RAW, tmp_path, SegmentSettings(viewer=False), targets)
    assert isinstance(survey, Survey)
    assert isinstance(done, Segmented), done
    files = dict(zip(targets, ("T1_AX", "T1_AX_POST_GAD", "T2_AX", "FLAIR_AX"), strict=True))
    volumes = []
    for modality, name in files.items():
        scan, mask = nib.load(RAW / f"{name}.nii.gz"), nib.load(done.places.native_mask(modality))
        assert mask.shape == scan.shape
        np.testing.assert_array_equal(mask.affine, scan.affine)
        volumes.append(np.count_nonzero(mask.dataobj) * float(np.prod(mask.header.get_zooms())) / 1000)
    assert np.ptp(volumes) < 0.1 * np.mean(volumes)
    assert np.mean(volumes) == pytest.approx(done.volumes["wt"], rel=0.1)
    facts = json.loads(done.places.record.read_text())["provenance"]
    assert "deepbet" in facts["import"]
    assert "failed" not in facts["import judged"]


@pytest.mark.skipif(not VALIDATION.is_file(), reason="needs the real cases")
def test_a_real_case_as_dicom_has_nearly_the_mask_that_it_has_as_nifti(predictor: Predictor, tmp_path: Path) -> None:
    """FLAIR as it is, T1ce in slices of 3 mm, turned and moved, by two makers; both from one person."""
    name = json.loads(VALIDATION.read_text())["val"][0]
    (files,) = (case for case in with_conventions(find_cases(DATA / "glioma")) if case.name == name)
    case = load_case(files).only(["t1c", "t2f"])
    motion = Rigid.about(centre_of(case.grid), (4.0, -5.0, 10.0), (6.0, -4.0, 3.0))  # from T1ce as scanned to FLAIR
    thick = thick_grid(case, 3.0)
    made = Examination(tmp_path / "Mustermann", vendor="ge")
    made.write(whole(case.images["t2f"]), case.grid.affine, 4, "Ax T2 FLAIR Mustermann", "t2f", compress="jpegls")
    moved = carry(case.images["t1c"], case.grid, thick, motion)
    made.write(whole(moved), thick.affine, 7, "AX T1 +C", "t1c", implicit=True)
    importer, settings = Importer(name="real"), SegmentSettings(viewer=False)
    source, out = tmp_path / "Mustermann", tmp_path / "out"
    _, done = segment_export(predictor, importer, source, out, settings, ("t1c", "t2f"))
    assert isinstance(done, Segmented), done
    placed = json.loads(done.places.imported.read_text())["scans"]
    one, other = (Rigid.from_json(placed[modality]["scan_to_case"]) for modality in ("t1c", "t2f"))
    corners = np.array([[x, y, z] for x in (-50, 50) for y in (-60, 60) for z in (-40, 40)]) + centre_of(case.grid)
    assert np.linalg.norm(other.inverse.after(one).move(corners) - motion.move(corners), axis=1).mean() < 1.0
    direct = segment_case(predictor, files_of(case, tmp_path / "nifti"), tmp_path / "direct", SegmentSettings())
    expected, _, _ = read_image(ImageFile(direct.places.mask))
    labels = expected.astype(np.uint8)
    on_t1c = onto_scan(regions_of_labels(labels, predictor.model.task), case.grid, thick, motion, GLIOMA)
    for modality, mask in (("t2f", labels), ("t1c", on_t1c)):
        found, _ = labels_in(done.places.dicom(modality))
        native = np.asanyarray(nib.load(done.places.native_mask(modality)).dataobj)
        assert np.count_nonzero(found) == np.count_nonzero(native) > 1000
        assert dice(native > 0, mask > 0) > 0.85, modality
    assert not [secret for secret in SECRETS if secret in done.places.page.read_text()]


def whole(image: np.ndarray) -> np.ndarray:
    return np.rint(image * (3000 / image.max())).astype(np.uint16)


def thick_grid(case: Case, thickness: float) -> Grid:
    x, y, z = case.grid.shape
    return Grid((x, y, int(z / thickness)), case.grid.affine @ np.diag([1, 1, thickness, 1]))


def files_of(case: Case, folder: Path):
    """The two scans as files on one grid."""
    folder.mkdir()
    for modality, image in case.images.items():
        nib.save(nib.Nifti1Image(image.astype(np.float32), case.grid.affine), folder / f"real-{modality}.nii.gz")
    return case_from_files({modality: folder / f"real-{modality}.nii.gz" for modality in case.images}, "real")
