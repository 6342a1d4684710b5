"""One study from its DICOM files to the objects that go back: mask, pictures, volumes."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("pydicom", reason="pip install 'lacunet[node]'")
pytest.importorskip("highdicom", reason="pip install 'lacunet[node]'")
pytest.importorskip("dcm2niix", reason="pip install 'lacunet[node]'")

import highdicom as hd
from heads import a_head
from pydicom import Dataset, dcmread

from dicom_made import SECRETS
from lacunet.node.captures import COLOURS, LEAST_SIDE, Shown, picture, slices_shown, write_captures
from lacunet.node.outcome import Outcome, read_outcome
from lacunet.node.segment import work_on
from lacunet.node.settings import NodeSettings
from lacunet.task import GLIOMA
from small import save_tiny

MOST = 5


def settings_for(folder: Path, model: Path) -> NodeSettings:
    return NodeSettings.model_validate(
        {
            "folder": folder,
            "receive": {"senders": [{"title": "A", "addresses": ["10.0.0.5"]}]},
            "segment": {"model": str(model), "device": "cpu"},
            "send": {
                "store": {"title": "B", "address": "10.0.0.5", "port": 104},
                "secondary_capture": True,
                "most_pictures": MOST,
                "structured_report": True,
            },
        }
    )


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the outcome of a study."""
    folder = tmp_path_factory.mktemp("worked")
    source, out = a_head(folder / "Mustermann"), folder / "out"
    out.mkdir()
    work_on(settings_for(folder, save_tiny(folder / "tiny")), source, out, "case-1")
    return out


@pytest.fixture
def outcome(worked: Path) -> Outcome:
    found = read_outcome(worked)
    assert not found.reason
    return found


def objects(worked: Path, outcome: Outcome, kind: str) -> list[Dataset]:
    return [dcmread(worked / one.file) for one in outcome.made if one.kind == kind]


def test_each_object_belongs_to_the_patient_and_says_what_it_is(worked: Path, outcome: Outcome) -> None:
    assert [one.kind for one in outcome.made] == ["mask", *["picture"] * MOST, "report"]
    source = dcmread(next((worked.parent / "Mustermann").iterdir()))
    for one in outcome.made:
        header = dcmread(worked / one.file)
        assert (header.StudyInstanceUID, header.PatientID) == (source.StudyInstanceUID, source.PatientID)
        assert header.SOPInstanceUID == one.uid
        assert "lacunet, research use only" in header.SeriesDescription
    assert len({dcmread(worked / one.file).SeriesInstanceUID for one in outcome.made}) == 3
    assert set(outcome.volumes_ml) == {"whole tumour", "tumour core", "enhancing tumour"}
    said = (worked / "outcome.json").read_text()
    assert not [secret for secret in SECRETS if not secret.isdigit() and secret in said]


def test_pictures_show_the_slices_of_the_source(worked: Path, outcome: Outcome) -> None:
    source = {int(one.InstanceNumber): one for one in map(dcmread, (worked.parent / "Mustermann").iterdir())}
    for one in objects(worked, outcome, "picture"):
        original = source[int(one.InstanceNumber)]
        assert one.PatientOrientation == ["R", "A"]  # where the rows and columns of this invented series lead
        rows, columns = original.pixel_array.shape
        wide = LEAST_SIDE * columns // rows
        shown = one.pixel_array[:LEAST_SIDE, :wide].astype(float)
        grey = np.where(np.ptp(shown, axis=-1) > 0, np.nan, shown[..., 0])  # but for the outlines
        step = LEAST_SIDE / rows
        at = [(np.arange(count) * step + step / 2).astype(int) for count in (rows, columns)]
        there = grey[np.ix_(*at)]
        known = ~np.isnan(there)
        assert np.corrcoef(there[known], original.pixel_array[known])[0, 1] > 0.9
        assert one.BurnedInAnnotation == "NO"
        assert one.pixel_array[LEAST_SIDE:].any()  # the text


def test_the_report_has_the_volumes_of_the_page_and_of_the_segments(worked: Path, outcome: Outcome) -> None:
    (report,), (mask,) = objects(worked, outcome, "report"), objects(worked, outcome, "mask")
    content = hd.sr.ComprehensiveSR.from_dataset(report).content
    regions = content.get_image_measurement_groups()
    values = {one.tracking_identifier.removesuffix(" (doubtful)"): one.get_measurements()[0].value for one in regions}
    assert values == pytest.approx(outcome.volumes_ml)
    segments = content.get_volumetric_roi_measurement_groups()
    written = next(worked.rglob("*-mask-on-t1c.nii.gz"))
    labels = np.asanyarray(nib.load(written).dataobj)
    voxel = float(np.prod(nib.load(written).header.get_zooms())) / 1000
    assert segments
    for group in segments:
        (item,) = (one for one in group[0].ContentSequence if one.name.meaning == "Referenced Segment")
        (reference,) = item.ReferencedSOPSequence
        assert reference.ReferencedSOPInstanceUID == mask.SOPInstanceUID
        number = int(reference.ReferencedSegmentNumber)
        assert group.get_measurements()[0].value == pytest.approx((labels == number).sum() * voxel, abs=2e-3)


def test_the_same_study_gives_the_same_objects(worked: Path, outcome: Outcome, tmp_path: Path) -> None:
    (mask,) = [worked / one.file for one in outcome.made if one.kind == "mask"]
    scan = mask.with_name("case-1-mask-on-t1c.nii.gz")
    shown = Shown(scan, scan, mask, dict.fromkeys(GLIOMA.regions, "x"), ())
    again = [dcmread(path).SOPInstanceUID for path in write_captures(shown, tmp_path, MOST, GLIOMA)]
    assert again == [one.uid for one in outcome.made if one.kind == "picture"]


def test_an_outline_has_the_colour_of_its_region() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[20:40, 20:40] = 2
    drawn = picture(np.zeros((64, 64)), labels, (1.0, 1.0), dict.fromkeys(GLIOMA.regions, ""), ("a line",), GLIOMA)
    blue = (drawn[:LEAST_SIDE] == COLOURS[0]).all(axis=-1)
    rows, columns = np.nonzero(blue)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (160, 319, 160, 319)
    assert blue.sum() == 4 * 159


def test_an_outline_lies_where_the_mask_is(worked: Path, outcome: Outcome, tmp_path: Path) -> None:
    """Columns from left to right, rows from top to bottom, as the slice itself."""
    voxels, mask = np.ones((20, 32, 4), np.float32), np.zeros((20, 32, 4), np.uint8)
    mask[2:6, 20:28, 1] = 2
    for name, array in (("scan", voxels), ("mask", mask)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    reference = next(worked / one.file for one in outcome.made if one.kind == "mask")
    legend = dict.fromkeys(GLIOMA.regions, "")
    shown = Shown(tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz", reference, legend, ())
    (path,) = write_captures(shown, tmp_path, MOST, GLIOMA)
    drawn = dcmread(path)
    assert drawn.InstanceNumber == 2
    rows, columns = np.nonzero((drawn.pixel_array[:LEAST_SIDE] == COLOURS[0]).all(axis=-1))
    step = LEAST_SIDE // 32
    assert (rows.min(), rows.max() + 1) == (20 * step, 28 * step)
    assert (columns.min(), columns.max() + 1) == (2 * step, 6 * step)


def test_which_slices_are_shown() -> None:
    mask = np.zeros((2, 2, 40), np.uint8)
    assert slices_shown(mask, 5) == [20]
    mask[0, 0, 10:30] = 1
    assert slices_shown(mask, 40) == list(range(10, 30))
    assert slices_shown(mask, 5) == [10, 15, 20, 24, 29]


def test_no_pictures_where_text_in_the_scan_may_name_the_patient(worked: Path, tmp_path: Path) -> None:
    source = shutil.copytree(worked.parent / "Mustermann", tmp_path / "in")
    for path in source.iterdir():
        header = dcmread(path)
        header.BurnedInAnnotation = "YES"
        header.save_as(path)
    (tmp_path / "out").mkdir()
    work_on(settings_for(tmp_path, worked.parent / "tiny"), source, tmp_path / "out", "case-1")
    assert [one.kind for one in read_outcome(tmp_path / "out").made] == ["mask", "report"]


def test_a_study_without_a_scan_says_why(worked: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.dcm").write_bytes(b"DICM")
    work_on(settings_for(tmp_path, worked.parent / "tiny"), tmp_path / "in", tmp_path, "case-1")
    assert "no scan" in read_outcome(tmp_path).reason
