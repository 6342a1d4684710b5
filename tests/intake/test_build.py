"""Scans in any state to a case that lacunet reads, and nothing at all where that cannot be."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import nibabel as nib
import numpy as np
import pytest

from lacunet.case import Case, Grid
from lacunet.data.find import find_cases
from lacunet.data.nifti import load_case
from lacunet.errors import DataError, GeometryError, OutputError
from lacunet.intake import build
from lacunet.intake.align import strip
from lacunet.intake.align.atlas import case_grid
from lacunet.intake.align.quality import Judgement
from lacunet.intake.align.rigid import Rigid, distances, grown, voxel_points
from lacunet.intake.align.source import Source, is_stripped, read_source
from lacunet.intake.build import ImportSettings, choose_reference, even_out, import_case
from lacunet.intake.record import ImportRecord, read_record
from lacunet.progress import Silent
from lacunet.task import GLIOMA
from phantoms_made import make_phantom
from small import Told

MOTION = Rigid.about((0, -16, 6), (9, -6, 12), (8, -5, 10))


@pytest.fixture(scope="module")
def patient() -> Case:
    return make_phantom(seed=5, spacing=2.0)


def save(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def thick(image: np.ndarray, grid: Grid, motion: Rigid) -> tuple[np.ndarray, np.ndarray]:
    """Slices of 6 mm, each the mean of three, placed as if the head had moved."""
    count = grid.shape[2] // 3
    voxels = image[:, :, : 3 * count].reshape(*grid.shape[:2], count, 3).mean(-1)
    affine = grid.affine @ np.diag([1.0, 1, 3, 1])
    affine[2, 3] = grid.affine[2, 3] + grid.spacing[2]
    return np.rint(voxels).astype(np.int16), motion.matrix @ affine


def with_skull(image: np.ndarray, grid: Grid, seed: int) -> np.ndarray:
    """Scalp around a dark gap, and noise everywhere."""
    brain = image > 0
    level = float(np.median(image[brain]))
    scalp = grown(brain, grid, 14.0) & ~grown(brain, grid, 8.0)
    noise = np.abs(np.random.default_rng(seed).normal(0, 0.02 * level, image.shape))
    return np.rint(image + scalp * level * 1.3 + noise + 1).astype(np.int16)


@dataclass(frozen=True)
class Imported:
    folder: Path
    record: ImportRecord
    told: list[str]


@pytest.fixture(scope="module")
def imported(patient, tmp_path_factory) -> Imported:
    """T1ce as it is, FLAIR in thick slices after the head had moved; both stripped."""
    folder = tmp_path_factory.mktemp("Smith^John")
    t1c = save(folder / "Smith_John_gd.nii.gz", patient.images["t1c"].astype(np.int16), patient.grid.affine)
    t2f = save(folder / "Smith_John_flair.nii.gz", *thick(patient.images["t2f"], patient.grid, MOTION))
    told = Told()
    record = import_case({"t2f": t2f, "t1c": t1c}, folder / "cases", "anna", GLIOMA, progress=told)
    return Imported(folder / "cases", record, told.words)


def test_scattered_scans_become_a_case_that_lacunet_reads(imported, patient) -> None:
    (files,) = find_cases(imported.folder)
    case = load_case(files)
    assert list(case.images) == ["t1c", "t2f"]
    assert case.grid.shape == case_grid().shape
    np.testing.assert_array_equal(case.grid.affine, case_grid().affine)
    both = (case.images["t1c"] != 0) & (case.images["t2f"] != 0)
    volume = (patient.images["t1c"] != 0).sum() * 8
    assert both.sum() == pytest.approx(volume, rel=0.05)
    assert sorted(path.name for path in imported.folder.iterdir()) == ["anna"]
    names = ["anna-t1c.nii.gz", "anna-t2f.nii.gz", "import.json"]
    assert sorted(path.name for path in (imported.folder / "anna").iterdir()) == names


def test_the_kept_transforms_undo_the_motion_to_a_millimetre(imported, patient) -> None:
    scans = read_record(imported.folder / "anna").scans
    brain = voxel_points(patient.images["t1c"] > 0, patient.grid)
    assert distances(scans["t2f"].scan_to_case.after(MOTION), scans["t1c"].scan_to_case, brain).mean() < 1.0
    voxel = np.argwhere(patient.images["t1c"] == patient.images["t1c"].max())[0]
    point = scans["t1c"].scan_to_case.move((patient.grid.affine @ [*voxel, 1])[None, :3])[0]
    there = np.rint(np.linalg.inv(case_grid().affine) @ [*point, 1])[:3].astype(int)
    image = nib.load(imported.folder / "anna" / "anna-t1c.nii.gz").get_fdata()
    assert image[tuple(there)] > 0.75 * patient.images["t1c"].max()


def test_the_record_tells_steps_and_judgements_and_nobody_s_name(imported) -> None:
    text = (imported.folder / "anna" / "import.json").read_text()
    assert "Smith" not in text
    assert str(imported.folder) not in text
    record = json.loads(text)
    assert record["reference"] == "t1c"
    assert [step["step"] for step in record["steps"]][:3] == ["read", "register", "brain"]
    assert {judgement["verdict"] for judgement in record["judgements"]} == {"good"}
    assert record["scans"]["t2f"]["grid"]["shape"] == [88, 104, 29]
    assert record["warnings"] == []
    assert imported.told[0] == "reading"
    assert imported.told[-1] == "writing"


def test_the_record_is_read_as_it_was_written_and_refused_when_damaged(imported, tmp_path) -> None:
    record = read_record(imported.folder / "anna")
    assert record.case == "anna"
    assert [one.step for one in record.judgements] == [one.step for one in imported.record.judgements]
    for modality, placed in imported.record.scans.items():
        np.testing.assert_array_equal(record.scans[modality].scan_to_case.matrix, placed.scan_to_case.matrix)
        np.testing.assert_array_equal(record.scans[modality].grid.affine, placed.grid.affine)
    with pytest.raises(DataError, match="was not made by lacunet import"):
        read_record(tmp_path)
    (tmp_path / "import.json").write_text('{"case": "a"}')
    with pytest.raises(DataError, match=r"'grid' is missing; import the case again"):
        read_record(tmp_path)


def test_stripped_scans_on_one_grid_stay_as_they_are(patient, tmp_path) -> None:
    affine = patient.grid.affine @ np.diag([-1.0, -1, 1, 1])
    scans = {
        modality: save(tmp_path / f"{modality}.nii.gz", patient.images[modality].astype(np.int16), affine)
        for modality in ("t1n", "t2f")
    }
    record = import_case(scans, tmp_path / "cases", "a", GLIOMA)
    (files,) = find_cases(tmp_path / "cases")
    case = load_case(files)
    np.testing.assert_array_equal(case.images["t2f"], patient.images["t2f"][::-1, ::-1])
    np.testing.assert_array_equal(record.scans["t1n"].scan_to_case.matrix, np.eye(4))
    assert record.steps[-1].sentence == "stripped and on one grid already; nothing was moved or interpolated"
    with pytest.raises(OutputError, match="exists already; replace it with --overwrite"):
        import_case(scans, tmp_path / "cases", "a", GLIOMA)
    import_case({"t1n": scans["t1n"]}, tmp_path / "cases", "a", GLIOMA, ImportSettings(overwrite=True))
    assert sorted(path.name for path in (tmp_path / "cases" / "a").iterdir()) == ["a-t1n.nii.gz", "import.json"]
    assert sorted(path.name for path in (tmp_path / "cases").iterdir()) == ["a"]


def test_a_stripped_scan_gives_its_brain_to_one_with_skull(patient, few_starts, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(build, "strip", None)  # asking for a stripper would fail
    t1n = save(tmp_path / "t1n.nii.gz", patient.images["t1n"].astype(np.int16), patient.grid.affine)
    t2w = save(
        tmp_path / "t2w.nii.gz", with_skull(patient.images["t2w"], patient.grid, 0), MOTION.matrix @ patient.grid.affine
    )
    record = import_case(
        {"t1n": t1n, "t2w": t2w}, tmp_path / "cases", "a", GLIOMA, ImportSettings(bias_correction=True)
    )
    assert [record.scans[modality].stripped for modality in ("t1n", "t2w")] == [True, False]
    assert {judgement.verdict for judgement in record.judgements} == {"good"}
    assert record.steps[-1].name == "bias correction"
    brain = voxel_points(patient.images["t1n"] > 0, patient.grid)
    motions = [record.scans[modality].scan_to_case for modality in ("t2w", "t1n")]
    assert distances(motions[0].after(MOTION), motions[1], brain).mean() < 1.0
    image = nib.load(tmp_path / "cases" / "a" / "a-t2w.nii.gz").get_fdata()
    assert (image != 0).sum() == pytest.approx((patient.images["t1n"] > 0).sum() * 8, rel=0.03)


@pytest.mark.slow
def test_scans_with_skull_are_stripped_alike_on_one_mask(patient, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(strip, "installed", lambda name: name == "deepbet")
    monkeypatch.setattr(
        build, "strip", lambda voxels, grid, *_: (strip.one_piece(voxels > 60).astype(np.float32), grid)
    )
    scans = {
        modality: save(tmp_path / f"{modality}.nii.gz", with_skull(patient.images[modality], patient.grid, 1), affine)
        for modality, affine in (("t1c", patient.grid.affine), ("t2w", MOTION.matrix @ patient.grid.affine))
    }
    record = import_case(scans, tmp_path / "cases", "a", GLIOMA)
    (files,) = find_cases(tmp_path / "cases")
    case = load_case(files)
    apart = (case.images["t1c"] != 0) ^ (case.images["t2w"] != 0)
    assert apart.mean() < 0.001
    assert {judgement.verdict for judgement in record.judgements} == {"good"}


def test_what_does_not_fit_is_refused_and_nothing_is_left(patient, tmp_path) -> None:
    """The "FLAIR" is a ball of noise: no part of any head."""
    places = np.indices((60, 60, 60)) - 29.5
    ball = ((places**2).sum(0) < 25**2) * np.random.default_rng(0).integers(1, 900, (60, 60, 60))
    scans = {
        "t1c": save(tmp_path / "in" / "t1c.nii.gz", patient.images["t1c"].astype(np.int16), patient.grid.affine),
        "t2f": save(tmp_path / "in" / "t2f.nii.gz", ball.astype(np.int16), np.diag([2.0, 2, 2, 1])),
    }
    with pytest.raises(DataError, match=r"^a: .*t2f does not fit t1c: another patient.* keep it with --allow"):
        import_case(scans, tmp_path / "cases", "a", GLIOMA)
    assert not (tmp_path / "cases").exists()


def test_a_failure_ends_the_import_unless_it_is_allowed_and_a_doubt_is_a_warning() -> None:
    log = build._Log(Silent())
    log.judgements += [Judgement("x", 0.0, "good", "one"), Judgement("y", 0.0, "doubtful", "two")]
    build._settle("a", ImportSettings(), log)
    assert log.warnings == ["two"]
    log.judgements.append(Judgement("z", 0.0, "failed", "three"))
    with pytest.raises(DataError, match=r"a: three\. Leave that scan out"):
        build._settle("a", ImportSettings(), log)
    log.warnings.clear()
    build._settle("a", ImportSettings(allow=True), log)
    assert log.warnings == ["two", "three"]


def test_a_failing_disk_leaves_nothing_and_spares_what_was_there(patient, tmp_path, monkeypatch) -> None:
    scans = {"t1n": save(tmp_path / "t1n.nii.gz", patient.images["t1n"].astype(np.int16), patient.grid.affine)}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(nib, "save", fail)
        with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
            import_case(scans, tmp_path / "cases", "a", GLIOMA)
    assert list((tmp_path / "cases").iterdir()) == []
    import_case(scans, tmp_path / "cases", "a", GLIOMA)
    before = (tmp_path / "cases" / "a" / "import.json").read_bytes()
    monkeypatch.setattr(nib, "save", fail)
    with pytest.raises(OutputError):
        import_case(scans, tmp_path / "cases", "a", GLIOMA, ImportSettings(overwrite=True))
    assert [path.name for path in (tmp_path / "cases").iterdir()] == ["a"]
    assert (tmp_path / "cases" / "a" / "import.json").read_bytes() == before


def test_a_missing_stripper_is_told_before_anything_is_registered(patient, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(strip, "installed", lambda name: False)
    t1c = save(tmp_path / "t1c.nii.gz", with_skull(patient.images["t1c"], patient.grid, 0), patient.grid.affine)
    told = Told()
    with pytest.raises(DataError, match=r"scans with skull \(t1c\), and no skull stripper is installed"):
        import_case({"t1c": t1c}, tmp_path / "cases", "a", GLIOMA, progress=told)
    assert told.words == ["reading"]


def test_no_scan_and_no_plain_name_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="has no scan; at least one of t1n, t1c, t2w, t2f"):
        import_case({}, tmp_path, "a", GLIOMA)
    with pytest.raises(DataError, match=r"case name '\.\./a': not a plain name"):
        import_case({}, tmp_path, "../a", GLIOMA)


# ---------------------------------------------------------------- bad input


def body(shape: tuple[int, ...] = (30, 30, 30)) -> np.ndarray:
    voxels = np.zeros(shape, np.float32)
    voxels[tuple(slice(8, -8) for _ in shape)] = 100
    return voxels + np.random.default_rng(0).random(shape, np.float32)


def spoil_spacing(value: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        header = nib.Nifti1Header(bytes(content[:348]), check=False)
        header["pixdim"][3] = value
        path.write_bytes(header.binaryblock + bytes(content[348:]))

    return change


SHEARED = np.array([[4.0, 2, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]])
NAN = body()
NAN[0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("voxels", "affine", "change", "error", "words"),
    [
        (body(), np.diag([4.0, 4, 4, 1]), spoil_spacing(0.0), GeometryError, r"spacing \(4, 4, 0\) mm in the header"),
        (body(), np.diag([4.0, 4, 4, 1]), spoil_spacing(-4.0), GeometryError, r"spacing \(4, 4, -4\) mm"),
        (body(), SHEARED, None, GeometryError, "not at right angles"),
        (body((30, 30, 30, 2)), np.diag([4.0, 4, 4, 1]), None, DataError, "holds 2 volumes"),
        (NAN, np.diag([4.0, 4, 4, 1]), None, DataError, "1 voxels are NaN or infinite"),
        (np.zeros((30, 30, 30), np.float32), np.diag([4.0, 4, 4, 1]), None, DataError, "all voxels are 0"),
        (body((30, 30, 30))[:, :, :1], np.diag([4.0, 4, 4, 1]), None, DataError, "three, each of at least 2 voxels"),
        (body((30, 30, 30))[:, :, :3], np.diag([4.0, 4, 6, 1]), None, DataError, "covers 18 mm in 3 slices"),
        (body((30, 30, 30)), np.diag([4.0, 4, 0.5, 1]), None, DataError, "covers 15 mm in 30 slices; at least 40 mm"),
    ],
)
def test_a_bad_scan_gets_one_clear_line_and_nothing_is_written(tmp_path, voxels, affine, change, error, words) -> None:
    path = tmp_path / "Smith" / "scan.nii"
    save(path, voxels, affine)
    if change:
        change(path)
    with pytest.raises(error, match=words) as caught:
        import_case({"t2w": path}, tmp_path / "cases", "a", GLIOMA)
    assert str(caught.value).startswith("t2w: scan.nii")
    assert "Smith" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cases").exists()


def test_files_that_are_missing_or_no_scan_are_named_without_their_folder(tmp_path) -> None:
    with pytest.raises(DataError, match=r"^t2w: gone.nii.gz: there is no such file$"):
        read_source("t2w", tmp_path / "Smith" / "gone.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no scan")
    with pytest.raises(DataError, match=r"^t2w: text\.nii\.gz: is not a NIfTI file") as caught:
        read_source("t2w", tmp_path / "text.nii.gz")
    assert str(tmp_path) not in str(caught.value)


def test_a_stripped_scan_that_was_normalised_is_refused(tmp_path, patient) -> None:
    image = patient.images["t1n"]
    path = save(tmp_path / "t1n.nii.gz", ((image - 300) / 100).astype(np.float32), patient.grid.affine)
    with pytest.raises(DataError, match="its background is -3, not 0; was it normalised already"):
        read_source("t1n", path)


def test_a_head_in_blanked_air_is_not_taken_for_a_brain() -> None:
    """A slab of a head can have less signal than a whole brain; its sections are larger than a brain's."""
    grid = Grid((90, 110, 50), np.diag([2.0, 2, 2, 1]))
    places = (np.indices(grid.shape).transpose(1, 2, 3, 0) - [44.5, 54.5, 24.5]) * 2.0

    def ellipse(right: float, front: float) -> np.ndarray:
        inside = (places[..., 0] / right) ** 2 + (places[..., 1] / front) ** 2 < 1
        return np.where(inside & (np.abs(places[..., 2]) < 35), 100.0, 0.0).astype(np.float32)

    assert is_stripped(ellipse(68, 86), grid)
    assert not is_stripped(ellipse(80, 100), grid)
    noise = np.random.default_rng(0).random(grid.shape, np.float32)
    assert not is_stripped(ellipse(68, 86) + noise, grid)


def source(modality: str, thickness: float) -> Source:
    grid = Grid((10, 10, 10), np.diag([1.0, 1, thickness, 1]))
    return Source(modality, Path("x"), np.zeros((10, 10, 10), np.float32), grid, False)


@pytest.mark.parametrize(
    ("thicknesses", "reference"),
    [
        ({"t1n": 1.0, "t1c": 1.0, "t2f": 1.0}, "t1c"),
        ({"t1n": 1.0, "t1c": 5.5, "t2f": 1.4}, "t1n"),
        ({"t1c": 5.5, "t2w": 6.0, "t2f": 1.0}, "t2f"),
        ({"t1c": 5.5, "t2w": 4.0}, "t1c"),
        ({"t2w": 3.0}, "t2w"),
    ],
)
def test_the_reference_is_t1ce_unless_another_scan_is_much_finer(thicknesses, reference) -> None:
    sources = {modality: source(modality, thickness) for modality, thickness in thicknesses.items()}
    assert choose_reference(sources) == reference


def test_bias_correction_evens_out_a_gain_and_leaves_the_background(patient) -> None:
    image = patient.images["t1n"]
    ramp = np.exp(np.linspace(-0.3, 0.3, image.shape[0], dtype=np.float32))[:, None, None]
    evened = even_out(image * ramp)
    assert (evened[image == 0] == 0).all()
    inside = image > 0

    def unevenness(tried: np.ndarray) -> float:
        ratio = np.log(tried[inside] / image[inside])
        return float(ratio.std())

    assert unevenness(evened) < 0.5 * unevenness(image * ramp)


def test_a_command_that_is_stopped_does_not_wait_for_registrations() -> None:
    begun, ended = Event(), Event()
    waited = []

    def work(name: str) -> Rigid:
        if name == "stopped":
            begun.wait(20)
            raise SystemExit(143)
        begun.set()
        waited.append(not ended.wait(20))
        return Rigid.identity()

    with pytest.raises(SystemExit):
        build._side_by_side(work, ["stopped", "still computed"])
    ended.set()
    assert len(build._side_by_side(work, ["one", "two"])) == 2
    assert not any(waited)
