"""One invented name goes through every command, as the name of files and in every header. It comes out nowhere."""

import base64
import csv
import gzip
import json
import logging
import shutil
import stat
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lacunet.case import Grid
from lacunet.cli.main import main
from lacunet.data.prepare import Preparation
from lacunet.intake.align import strip
from lacunet.models.model import save_model
from lacunet.nn.method import get_method, make_method
from lacunet.task import GLIOMA
from one_name import (
    BIRTH,
    DICOM_TAGS,
    FAMILY,
    GIVEN,
    NUMBER,
    PLAIN_FAMILY,
    PLAIN_GIVEN,
    SENTENCE,
    SHORT,
    leaks_below,
    named_in,
    write_nifti,
)
from phantoms_made import make_phantom
from small import ROOT

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
from dicom_made import Examination

pytestmark = pytest.mark.usefixtures("coarse_cases")

Run = Callable[..., tuple[int, str]]
PERSON = f"{FAMILY}_{GIVEN}"
PLAIN_PERSON = f"{PLAIN_FAMILY} {PLAIN_GIVEN}"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """A command as typed: its status, and all that it and the libraries say."""

    def said(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lacunet", *map(str, words)])
        caplog.clear()
        with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.WARNING):
            warnings.simplefilter("always")
            with pytest.raises(SystemExit) as left:
                main()
        captured = capfd.readouterr()
        of_libraries = [str(one.message) for one in seen]
        return int(left.value.code or 0), "\n".join([captured.out, captured.err, caplog.text, *of_libraries])

    return said


@pytest.fixture(scope="module")
def scans() -> dict[str, tuple[np.ndarray, Grid]]:
    """An invented patient without skull."""
    case = make_phantom(5, spacing=6.0)
    return {modality: (np.rint(image).astype(np.int16), case.grid) for modality, image in case.images.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained networks: one that segments, one that estimates sequences."""
    folder = tmp_path_factory.mktemp("models")
    small = {"width": 4, "levels": 2}
    kinds = {
        "early_fusion": small,
        "dual_stage": {**small, "indicator": "none", "keep": "student+recovery"},
    }
    for method, arguments in kinds.items():
        torch.manual_seed(0)
        made = make_method(get_method(method), GLIOMA, arguments)
        save_model(folder / method, made, Preparation(8.0), {"data": "nothing", "licence": "none"})
    return {method: folder / method for method in kinds}


def prepared(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> Path:
    """Two cases without skull, named after the patient, one by its files and one by its folder."""
    for modality in ("t1c", "t2f"):
        voxels, grid = scans[modality]
        write_nifti(folder / PERSON / f"{PLAIN_FAMILY}-{PLAIN_GIVEN}-{modality}.nii.gz", voxels, grid.affine)
        write_nifti(
            folder / f"{PERSON}_{BIRTH}" / f"{modality}.nii.gz", voxels + np.int16(3) * (voxels > 0), grid.affine
        )
        two_forms(folder / f"{PERSON}_{BIRTH}" / f"{modality}.nii.gz")
        two_forms(folder / PERSON / f"{PLAIN_FAMILY}-{PLAIN_GIVEN}-{modality}.nii.gz")
    return folder


def loose(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> Path:
    """Scans whose names hold words for sequences among others."""
    write_nifti(folder / PERSON / f"{PERSON} T1 KM {BIRTH}.nii.gz", *_of(scans, "t1c"))
    (folder / PERSON / f"{PERSON} brief.txt").write_text(SENTENCE, encoding="utf-8")
    return folder / PERSON


def own_grids(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> Path:
    """Prepared names on two grids, so that the scans are imported."""
    for modality, moved in (("t1c", 0), ("t2f", 3)):
        voxels, affine = _of(scans, modality)
        affine = affine.copy()
        affine[:3, 3] += moved
        two_forms(write_nifti(folder / PERSON / f"{PERSON}_{modality}.nii.gz", voxels, affine))
    return folder


def two_forms(path: Path) -> None:
    """Let the qform disagree with the sform, which is noted with the name of the file."""
    image = nib.load(path)
    other = nib.Nifti1Image(np.asanyarray(image.dataobj), None, image.header)
    moved = image.affine.copy()
    moved[:3, 3] += 7
    other.set_qform(moved, 1)
    nib.save(other, path)


def dicom(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]], person: str = PLAIN_FAMILY) -> Path:
    """A series of a patient whose name is one word, as not every archive writes it."""
    made = Examination(folder / PERSON / f"{PLAIN_FAMILY}", person=(person, NUMBER, BIRTH))
    voxels, affine = _of(scans, "t1c")
    made.write(voxels.astype(np.uint16), affine, 3, f"T1 KM {SHORT}", "t1c", tags=DICOM_TAGS)
    made.write(np.ones((8, 8, 3), np.uint16), np.eye(4) * 20, 1, f"localizer {PLAIN_FAMILY}", tags=DICOM_TAGS)
    return folder / PERSON


def zipped(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> Path:
    """The same in an archive, with two names in the order of DICOM."""
    source = dicom(folder / "inside", scans, f"{FAMILY}^{GIVEN}")
    archive = folder / f"{PERSON}.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for path in sorted(source.rglob("*")):
            stream.write(path, f"{PERSON}/{path.relative_to(source)}")
    return archive


def manifest(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> Path:
    """Cases under names of the user's choice."""
    write_nifti(folder / PERSON / f"{PERSON}.nii.gz", *_of(scans, "t1c"))
    text = f"case,t1c\nfirst,{PERSON}/{PERSON}.nii.gz\n"
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    return folder / "manifest.csv"


def _of(scans: dict[str, tuple[np.ndarray, Grid]], modality: str) -> tuple[np.ndarray, np.ndarray]:
    voxels, grid = scans[modality]
    return voxels, grid.affine


SLOW = pytest.param(own_grids, marks=pytest.mark.slow)


@pytest.mark.parametrize("make", [own_grids, loose, dicom, zipped, manifest])
@pytest.mark.parametrize("layout", ["plain", "bids"])
def test_a_segmentation_names_nobody(run: Run, models, scans, tmp_path: Path, make, layout) -> None:
    if layout == "bids" and make is not dicom:
        pytest.skip("the layout changes names of results alone")
    source, out = make(tmp_path / "in", scans), tmp_path / "out"
    words = ["--viewer"] if layout == "plain" else ["--no-viewer", "--save-probabilities"]
    status, said = run("segment", source, "-o", out, "-m", models["early_fusion"], "--layout", layout, *words)
    assert status == 0, said
    assert named_in(said) == []
    assert ("sform and qform disagree" in said) == (make is own_grids)
    assert leaks_below(out) == {}
    own = (*out.rglob("case.json"), *out.rglob("sub-case????????_desc-lacunet_dseg.json"))
    records = [json.loads(path.read_text()) for path in own]
    assert len(records) == 1
    with (out / "sources.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case"] for row in rows if row["case"]} == {record["case"] for record in records}
    assert all(record["inputs_sha256"] for record in records)
    assert stat.S_IMODE((out / "sources.csv").stat().st_mode) == 0o600
    assert named_in((out / "sources.csv").read_bytes())
    if layout == "bids":
        assert "sources.csv" in (out / ".bidsignore").read_text().split()


@pytest.mark.parametrize("make", [prepared, loose, SLOW, dicom, zipped])
def test_an_import_names_nobody(run: Run, models, scans, tmp_path: Path, make) -> None:
    source, out = make(tmp_path / "in", scans), tmp_path / "cases"
    status, said = run("import", source, "-o", out)
    assert status == 0, said
    assert named_in(said) == []
    assert leaks_below(out) == {}
    assert named_in((out / "sources.csv").read_bytes())
    status, said = run("segment", out, "-o", tmp_path / "out", "-m", models["early_fusion"], "--no-viewer")
    assert (status, named_in(said), leaks_below(tmp_path / "out")) == (0, [], {})
    assert {path.name for path in out.iterdir() if path.is_dir()} == {
        path.name for path in (tmp_path / "out").iterdir() if path.is_dir()
    }


def test_check_names_nobody(run: Run, models, scans, tmp_path: Path) -> None:
    source = own_grids(tmp_path / "in", scans)
    status, said = run("check", source)
    assert (status, named_in(said)) == (1, [])
    assert named_in(run("check", source, "--show-names")[1])


def test_prepared_cases_keep_their_names_as_research_data_do(run: Run, models, scans, tmp_path: Path) -> None:
    source = prepared(tmp_path / "in", scans)
    out = tmp_path / "out"
    status, _ = run("segment", source, "-o", out, "-m", models["early_fusion"], "--no-viewer")
    names = {path.name for path in out.iterdir() if path.is_dir()}
    assert (status, names) == (0, {f"{PLAIN_FAMILY}-{PLAIN_GIVEN}", f"{PERSON}_{BIRTH}"})
    status, _ = run("complete", source, "-o", tmp_path / "completed", "-m", models["dual_stage"])
    assert status == 0
    assert {path.name for path in (tmp_path / "completed").iterdir() if path.is_dir()} == names
    assert PLAIN_FAMILY in run("check", source)[1]


def test_scans_given_one_by_one_name_nobody(run: Run, models, scans, tmp_path: Path) -> None:
    source = prepared(tmp_path / "in", scans) / PERSON
    given = ["--t1c", next(source.glob("*t1c.nii.gz")), "--t2f", next(source.glob("*t2f.nii.gz"))]
    for command, model in (("segment", "early_fusion"), ("complete", "dual_stage")):
        out = tmp_path / command
        status, said = run(command, *given, "-o", out, "-m", models[model])
        assert (status, named_in(said), leaks_below(out)) == (0, [], {})
        status, said = run(command, "--t1c", source / f"{PERSON}.nii", "-o", out, "-m", models[model])
        assert (status, named_in(said)) == (1, [])
        assert "the file for t1c: there is no such file" in said


def test_what_is_measured_or_compared_names_nobody(run: Run, models, scans, tmp_path: Path) -> None:
    """A corrected mask that somebody named after the patient; two visits whose scans are called so."""
    source, visits = prepared(tmp_path / "in", scans), []
    for visit, person in (("earlier", PERSON), ("later", f"{PERSON}_{BIRTH}")):
        given = [
            word for name in ("t1c", "t2f") for word in (f"--{name}", next((source / person).glob(f"*{name}.nii*")))
        ]
        assert run("segment", *given, "-o", tmp_path / visit, "-m", models["early_fusion"])[0] == 0
        visits += [record.parent for record in (tmp_path / visit).glob("*/case.json")]
        path = next(visits[-1].glob("*-mask.nii.gz"))  # an untrained network takes the whole brain for tumour
        image = nib.nifti1.load(path)
        labels = np.zeros(image.shape, np.uint8)
        labels[tuple(slice(n // 2, n // 2 + 4) for n in image.shape)] = 1
        nib.nifti1.save(nib.nifti1.Nifti1Image(labels, image.affine, image.header), path)
    mask = shutil.copy(next(visits[0].glob("*-mask.nii.gz")), tmp_path / f"{PERSON} corrected.nii.gz")
    status, said = run("measure", mask, "--case", visits[0], "-o", tmp_path / "measured.json")
    assert (status, named_in(said), named_in((tmp_path / "measured.json").read_bytes())) == (0, [], []), said
    status, said = run("change", *visits, "-o", tmp_path / "change", "-m", models["early_fusion"])
    assert (status, named_in(said), leaks_below(tmp_path / "change")) == (0, [], {}), said


# ---------------------------------------------------------------- what fails


def broken(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    """A file that breaks off."""
    path = write_nifti(folder / PERSON / f"{PERSON}_t1c.nii.gz", *_of(scans, "t1c"))
    path.write_bytes(path.read_bytes()[:-2000])


def empty(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    (folder / PERSON).mkdir(parents=True)
    (folder / PERSON / f"{PERSON}_flair.nii").write_bytes(b"")


def text(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    (folder / PERSON).mkdir(parents=True)
    (folder / PERSON / f"{PERSON}_t2.nii.gz").write_bytes(gzip.compress(SENTENCE.encode() * 99))
    (folder / PERSON / f"{PERSON}_t1.mha").write_text(f"NDims = 3\nComment = {SENTENCE}\nDimSize = 9 9 9\n" * 9)


def skull(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    """A head, and no package that finds the brain."""
    voxels = np.random.default_rng(0).integers(50, 900, (40, 40, 40)).astype(np.int16)
    write_nifti(folder / PERSON / f"{PERSON}_t1ce.nii.gz", voxels, np.diag([5.0, 5, 5, 1]))


def twice(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    """Two files for one sequence of one case."""
    for suffix in (".nii", ".nii.gz"):
        write_nifti(folder / PERSON / f"{PERSON}_flair{suffix}", *_of(scans, "t2f"))


def two_of_one_name(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    for visit in ("a", PERSON):
        write_nifti(folder / visit / f"{PERSON}_flair.nii.gz", *_of(scans, "t2f"))


def not_finite(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    voxels, affine = _of(scans, "t2f")
    voxels = voxels.astype(np.float32)
    voxels[9, 9, 9] = np.nan
    write_nifti(folder / PERSON / f"{PERSON}_flair.nii.gz", voxels, affine)


def four_volumes(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    voxels, affine = _of(scans, "t2f")
    write_nifti(folder / PERSON / f"{PERSON}_flair.nii.gz", np.stack([voxels] * 4, axis=-1), affine)


def mask_alone(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    write_nifti(folder / PERSON / f"{PERSON}_seg.nii.gz", *_of(scans, "t2f"))


def no_image(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    loose(folder, scans)
    for path in folder.rglob("*.nii.gz"):
        path.write_bytes(b"no image")


def half_a_decathlon(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    skull(folder, scans)
    (folder / "imagesTr").mkdir()
    (folder / "dataset.json").write_text(json.dumps({"modality": {"0": PLAIN_FAMILY}, "name": SENTENCE}))


def not_there(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    folder.mkdir()
    (folder / "manifest.csv").write_text(f"case,t1c\nfirst,{PERSON}/{PERSON}.nii.gz\n", encoding="utf-8")


def nothing(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    (folder / PERSON).mkdir(parents=True)
    (folder / PERSON / f"{PERSON}.pdf").write_bytes(b"%PDF")


def broken_dicom(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    for path in dicom(folder, scans).rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:900])


def broken_archive(folder: Path, scans: dict[str, tuple[np.ndarray, Grid]]) -> None:
    archive = zipped(folder, scans)
    shutil.rmtree(folder / "inside")
    content = bytearray(archive.read_bytes())
    content[5000:5400] = b"x" * 400
    archive.write_bytes(content)


@pytest.mark.parametrize(
    "make",
    [
        broken, empty, text, skull, twice, two_of_one_name, not_finite, four_volumes, mask_alone, no_image,
        half_a_decathlon, not_there, nothing, broken_dicom, broken_archive,
    ],
)  # fmt: skip
def test_an_error_names_nobody(run: Run, models, scans, tmp_path: Path, monkeypatch, make) -> None:
    """The source itself is called after the patient too. What the private table keeps is left for the user to find."""
    monkeypatch.setattr(strip, "installed", lambda name: False)
    source = tmp_path / f"{PERSON} {BIRTH}"
    make(source, scans)
    model = ["-m", models["early_fusion"]]
    failures = 0
    inside = [path for path in source.iterdir() if path.is_dir() or path.suffix == ".zip"]
    commands: list[list[object]] = [
        ["segment", source, *model],
        ["segment", *inside, *model],
        ["segment", source, "--no-import", *model],
        ["complete", source, "-m", models["dual_stage"]],
        ["import", source],
        ["import", *(inside or [source])[:1]],
    ]
    for number, words in enumerate(commands):
        out = tmp_path / f"out{number}"
        status, said = run(*words, "-o", out)
        failures += status != 0
        assert named_in(said) == [], (words, said)
        assert leaks_below(out) == {}, words
        assert "Traceback" not in said
    assert failures > 1, make
    status, said = run("check", source)
    assert (status != 0, named_in(said)) == (True, []), said


# ---------------------------------------------------------------- training and comparing


@pytest.mark.slow
def test_headers_name_nobody_in_what_research_writes(run: Run, tmp_path: Path) -> None:
    """Names of cases stay as they are here, since splits name them; headers and sidecars are read by nobody."""
    data = tmp_path / "data"
    for seed in (1, 2):
        case = make_phantom(seed, spacing=6.0)
        name = f"case-{seed:03d}"
        for modality, image in case.images.items():
            write_nifti(data / name / f"{name}-{modality}.nii.gz", np.rint(image).astype(np.int16), case.grid.affine)
        write_nifti(data / name / f"{name}-seg.nii.gz", np.asarray(case.reference, np.uint8), case.grid.affine)
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["case-001"], "val": ["case-002"]}))
    changes = ["arguments.width=4", "arguments.levels=2", "prepare.spacing=8.0", "train.steps=2", "train.batch=1"]
    changes += ["train.crop=[16,16,16]", 'validate.subsets=["t2f"]', "train.precision=float32"]
    recipe = ROOT / "recipes" / "small" / "early_fusion.toml"
    out = tmp_path / "out"
    for words in (
        ["missing", data, "-o", out / "missing.csv"],
        ["train", recipe, "--data", data, "--split", split, "-o", out / "run", *_set(changes)],
        ["evaluate", out / "run", data, "--split", f"{split}:val", "--subsets", "t2f", "-o", out / "evaluated"],
        ["compare", out / "evaluated", "-o", out / "compared"],
        ["calibrate", out / "run", "--data", data, "-o", out / "calibrated"],
        ["check", data],
    ):
        status, said = run(*words)
        assert status == 0 or words[0] == "calibrate", said
        assert named_in(said) == []
    assert leaks_below(out) == {}


def _set(changes: list[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def test_the_search_finds_the_name_where_it_is(tmp_path: Path, scans) -> None:
    """Packed, in other letters and encodings; so that the tests above can fail."""
    write_nifti(tmp_path / "x.nii.gz", *_of(scans, "t1c"))
    (tmp_path / f"{PLAIN_FAMILY.upper()}.txt").write_text("")
    (tmp_path / "page.html").write_bytes(
        b"<html>" + base64.b64encode(gzip.compress(SENTENCE.encode() + np.random.default_rng(0).bytes(400)))
    )
    (tmp_path / "a.json").write_text(json.dumps({"x": FAMILY}))
    (tmp_path / "clean.json").write_text(json.dumps({"x": "series 4 (T1 … KM)"}))
    assert set(leaks_below(tmp_path)) == {"x.nii.gz", "x.json", f"{PLAIN_FAMILY.upper()}.txt", "page.html", "a.json"}
