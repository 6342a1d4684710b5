"""The BIDS App as it is typed: which visits, what is written, what the validator says of it, how it ends."""

import csv
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_valid import needs_validator, validated
from lacunet import __version__
from lacunet.case import Case
from lacunet.cli.bids import main
from lacunet.data.phantom.phantom import make_phantom
from small import save_tiny
from typed import Run, typed

pytestmark = pytest.mark.usefixtures("few_starts")

WORDS = {"t1n": "T1w", "t1c": "ce-gadolinium_T1w", "t2w": "T2w", "t2f": "FLAIR"}
EXPECTED_WARNINGS = {
    ("TOO_FEW_AUTHORS", "/dataset_description.json", ""),  # a program does not know who they are
    ("SIDECAR_KEY_RECOMMENDED", "/desc-lacunet_dseg.tsv", "SpatialReference"),  # a table of labels lies nowhere
}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the App in this process: its exit status, what it printed, and its complaints."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    for name in ("TMPDIR", "OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        monkeypatch.setenv(name, "")  # else what the App sets where nothing was set stays after the test
        monkeypatch.delenv(name)
    return typed("lacunet-bids", main, monkeypatch, capsys)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def patient() -> Case:
    return make_phantom(3, spacing=6.0)


def write_scan(case: Case, modality: str, anat: Path, stem: str, step: int = 1) -> None:
    """One scan under a BIDS name; with `step` 2 every other slice alone."""
    affine = case.grid.affine @ np.diag([1, 1, step, 1])
    image = nib.Nifti1Image(case.images[modality][:, :, ::step].astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    anat.mkdir(parents=True, exist_ok=True)
    nib.save(image, anat / f"{stem}_{WORDS[modality]}.nii.gz")


def describe(dataset: Path, **more: str) -> None:
    said = {"Name": "invented", "BIDSVersion": "1.10.0", "DatasetType": "raw"} | more
    (dataset / "dataset_description.json").write_text(json.dumps(said))
    (dataset / "README").write_text("Nobody: invented patients for tests of a program that segments tumours.\n")


@pytest.fixture
def dataset(tmp_path: Path, patient: Case) -> Path:
    """01: two sessions, ready; 02: two T1, of which import takes one; 03: no scan of use."""
    folder = tmp_path / "bids"
    for session in ("pre", "post"):
        for modality in ("t1c", "t2f"):
            stem = f"sub-01_ses-{session}"
            write_scan(patient, modality, folder / "sub-01" / f"ses-{session}" / "anat", stem)
    write_scan(patient, "t1n", folder / "sub-02" / "anat", "sub-02_run-1")
    write_scan(patient, "t1n", folder / "sub-02" / "anat", "sub-02_run-2", step=2)
    (folder / "sub-03" / "func").mkdir(parents=True)
    describe(folder)
    return folder


def names_below(folder: Path) -> set[str]:
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix() for path in files if path.parts[0] != ".parts"}


@needs_validator
def test_all_of_a_data_set_and_the_validator_accepts_it(app: Run, dataset: Path, model: str) -> None:
    out = dataset / "derivatives" / "lacunet"
    status, said, complaints = app(dataset, out, "participant", "-m", model, "--no-viewer", "--save-probabilities")
    assert (status, "3 of 4 visits" in said) == (1, True), (said, complaints)
    assert "sub-03: has no T1w, T2w or FLAIR image in its folder anat" in complaints
    status, said, complaints = app(dataset, out, "group")
    assert (status, "3 visits with a mask, 1 that failed" in said) == (0, True), (said, complaints)
    one, two = "sub-01/ses-pre/anat/sub-01_ses-pre", "sub-02/anat/sub-02"
    maps = {f"{stem}_label-{region}_probseg" for stem in (one, two) for region in ("WT", "TC", "ET")}
    images = {f"{one}_desc-lacunet_dseg", f"{two}_desc-lacunet_dseg", f"{two}_space-t1n_desc-lacunet_dseg", *maps}
    top = {"dataset_description.json", "README.md", ".bidsignore", "desc-lacunet_dseg.tsv", "desc-lacunet_dseg.json"}
    pages = {f"{name}.html" for name in ("sub-01_ses-pre", "sub-01_ses-post", "sub-02", "cohort")}
    written = {name for name in names_below(out) if "ses-post/" not in name}
    assert written == top | pages | {"sources.csv", "results.csv", f"{two}_desc-lacunet_xfm.json"} | {
        f"{image}{end}" for image in images for end in (".nii.gz", ".json")
    }
    assert validated(out) == (set(), EXPECTED_WARNINGS)
    assert validated(dataset)[0] == set()
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        states = {row["case"]: bool(row["failure"]) for row in csv.DictReader(stream)}
    assert states == {"sub-01_ses-post": False, "sub-01_ses-pre": False, "sub-02": False, "sub-03": True}


def said_of(out: Path, image: str) -> Mapping[str, object]:
    said: Mapping[str, object] = json.loads((out / f"{image}.json").read_text())
    return said


def test_each_mask_says_where_it_lies_and_what_it_was_made_from(app: Run, dataset: Path, model: str) -> None:
    out = dataset / "derivatives" / "lacunet"
    app(dataset, out, "participant", "-m", model, "--no-viewer", "--session-label", "pre")
    app(dataset, out, "participant", "-m", model, "--no-viewer", "--participant-label", "sub-02")
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["DatasetLinks"] == {"source": "../.."}
    assert described["SourceDatasets"] == [{"URL": "../.."}]
    assert described["GeneratedBy"][0]["Name"], described["GeneratedBy"][0]["Version"] == ("lacunet", __version__)
    ready = said_of(out, "sub-01/ses-pre/anat/sub-01_ses-pre_desc-lacunet_dseg")
    scan = "bids:source:sub-01/ses-pre/anat/sub-01_ses-pre_"
    assert ready["SpatialReference"] == f"{scan}ce-gadolinium_T1w.nii.gz"
    assert ready["Sources"] == [f"{scan}ce-gadolinium_T1w.nii.gz", f"{scan}FLAIR.nii.gz"]
    own = "sub-02/anat/sub-02_desc-lacunet_dseg"
    assert said_of(out, own)["SpatialReference"] == f"bids::{own}.nii.gz"
    native = said_of(out, "sub-02/anat/sub-02_space-t1n_desc-lacunet_dseg")["SpatialReference"]
    assert (dataset / str(native).removeprefix("bids:source:")).is_file()
    assert nib.load(out / "sub-02/anat/sub-02_space-t1n_desc-lacunet_dseg.nii.gz").shape == (
        nib.load(dataset / str(native).removeprefix("bids:source:")).shape
    )


@pytest.mark.usefixtures("one_thread")
def test_what_is_done_is_passed_over_until_it_is_to_be_replaced(app: Run, dataset: Path, model: str) -> None:
    words = (dataset, dataset.parent / "out", "participant", "-m", model, "--no-viewer", "--session_label", "pre")
    record = dataset.parent / "out/sub-01/ses-pre/anat/sub-01_ses-pre_desc-lacunet_dseg.json"
    assert app(*words)[0] == 0
    first = record.read_bytes()
    status, said, _ = app(*words)
    assert (status, "done before" in said, record.read_bytes()) == (0, True, first)
    assert app(*words, "--overwrite", "-w", dataset.parent / "work", "--n-cpus", "1")[0] == 0
    assert record.read_bytes() != first


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("out", "participants"), "invalid choice: 'participants'"),
        (("out", "participant", "--participant-label", "7"), "there is no sub-7; there are sub-01, sub-02, sub-03"),
        (("out", "participant", "--session-label", "x"), "there is no ses-x; there are ses-post, ses-pre"),
        (("bids", "participant"), "OUTPUT_DIR lies among the scans; take BIDS_DIR/derivatives/lacunet"),
        (("bids/sub-01", "participant"), "OUTPUT_DIR lies among the scans"),
        (("out", "group"), "OUTPUT_DIR holds no results; run the level participant first"),
        (("out", "participant", "--n-cpus", "0"), "give a number of threads, 1 or more"),
        (("out", "participant", "--participant", "01"), "unrecognized arguments: --participant 01"),
    ],
)
def test_a_wrong_command_line_ends_with_2(app: Run, dataset: Path, words: tuple[str, ...], why: str) -> None:
    out, *rest = words
    status, _, complaints = app(dataset, dataset.parent / out, *rest)
    assert (status, why in complaints) == (2, True), complaints
    assert not (dataset.parent / "out").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "BIDS_DIR has no dataset_description.json"),
        ("{", "dataset_description.json of BIDS_DIR: not JSON"),
        ("[]", "Name and BIDSVersion missing"),
        ('{"Name": "x"}', "BIDSVersion missing, which BIDS requires; --skip-bids-validation goes on"),
    ],
)
def test_a_folder_that_may_be_no_bids_is_refused(
    app: Run, dataset: Path, model: str, text: str | None, why: str
) -> None:
    path = dataset / "dataset_description.json"
    path.unlink() if text is None else path.write_text(text)
    status, _, complaints = app(dataset, dataset.parent / "out", "participant")
    assert (status, why in complaints) == (2, True), complaints
    words = ("participant", "-m", model, "--skip-bids-validation", "--participant-label", "03")
    assert app(dataset, dataset.parent / "out", *words)[0] == 1  # it goes on, and this person has no scan


def test_no_folder_of_people_and_no_folder_at_all(app: Run, tmp_path: Path) -> None:
    assert "BIDS_DIR holds no folder that is called sub-LABEL" in app(tmp_path, tmp_path / "o", "participant")[2]
    assert "BIDS_DIR: there is no such folder" in app(tmp_path / "x", tmp_path / "o", "participant")[2]


def test_the_version_is_said(app: Run) -> None:
    assert app("--version")[:2] == (0, f"lacunet-bids {__version__}\n")


def test_files_of_another_person_are_refused(app: Run, dataset: Path, patient: Case, model: str) -> None:
    write_scan(patient, "t2w", dataset / "sub-04" / "anat", "sub-05")
    status, _, complaints = app(
        dataset, dataset.parent / "out", "participant", "-m", model, "--participant-label", "04"
    )
    assert (status, "sub-04: the names of its files do not begin with sub-04_" in complaints) == (1, True), complaints
