"""The top of a BIDS derivative: what it says, whom it names, and that it replaces nobody else's."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lacunet.errors import OutputError, UsageError
from lacunet.segmentation.bids import SourceDataset, begin_bids, source_dataset
from lacunet.segmentation.bids_dataset import visits_of
from lacunet.task import GLIOMA

DISK = {"necrotic_core": 1, "oedema": 2, "enhancing": 4}


def made(folder: Path, **said: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0", **said}))
    return folder


def test_the_derivative_says_what_made_it_and_what_its_integers_mean(tmp_path: Path) -> None:
    begin_bids(tmp_path, GLIOMA, DISK)
    described = json.loads((tmp_path / "dataset_description.json").read_text())
    assert (described["DatasetType"], "DatasetLinks" in described) == ("derivative", False)
    table = (tmp_path / "desc-lacunet_dseg.tsv").read_text().splitlines()
    assert table == ["index\tname", "0\tbackground", "1\tnecrotic_core", "2\toedema", "4\tenhancing"]
    assert (tmp_path / ".bidsignore").read_text().split() == ["sources.csv", "results.csv", "*.html", "*_xfm.json"]


@pytest.mark.parametrize(
    ("dataset", "output", "doi", "show_names", "link"),
    [
        ("bids", "bids/derivatives/lacunet", "", False, "../.."),
        ("bids", "bids/derivatives/lacunet", "doi:10.18112/openneuro.ds1.v1", False, "../.."),
        ("raw", "results", "", False, "../raw"),
        ("Erika Mustermann", "out", "", False, ""),
        ("Erika Mustermann", "out", "", True, "../Erika Mustermann"),
        ("Erika Mustermann", "out", "10.18112/openneuro.ds1.v1", False, "doi:10.18112/openneuro.ds1.v1"),
        ("Erika Mustermann", "out", "https://doi.org/10.1/x", False, "https://doi.org/10.1/x"),
        ("Erika Mustermann", "out", "by Erika Mustermann", False, ""),
    ],
)
def test_a_link_to_the_scans_names_nobody(
    tmp_path: Path, dataset: str, output: str, doi: str, show_names: bool, link: str
) -> None:
    folder = made(tmp_path / dataset, **({"DatasetDOI": doi} if doi else {}))
    found = source_dataset(folder, tmp_path / output, show_names)
    assert found is not None
    assert found.link == link


@pytest.mark.parametrize("said", ["", "[]", '{"DatasetDOI": 3}', "{"])
def test_a_strange_description_gives_no_doi(tmp_path: Path, said: str) -> None:
    (made(tmp_path / "raw") / "dataset_description.json").write_text(said)
    assert source_dataset(tmp_path / "raw", tmp_path / "out") == SourceDataset("../raw")


def test_what_is_no_bids_is_not_named(tmp_path: Path) -> None:
    assert source_dataset(tmp_path, tmp_path / "out") is None


@pytest.mark.parametrize("said", [{}, {"GeneratedBy": [{"Name": "fMRIPrep"}]}, {"GeneratedBy": "lacunet"}])
def test_a_data_set_of_another_program_is_not_replaced(tmp_path: Path, said: dict[str, object]) -> None:
    folder = made(tmp_path / "raw", **said)
    before = (folder / "dataset_description.json").read_bytes()
    with pytest.raises(OutputError, match="holds a BIDS data set that lacunet did not make"):
        begin_bids(folder, GLIOMA, DISK)
    assert (folder / "dataset_description.json").read_bytes() == before


def test_its_own_is_written_again_and_a_readme_of_the_user_stays(tmp_path: Path) -> None:
    begin_bids(tmp_path, GLIOMA, DISK)
    (tmp_path / "README.md").write_text("ours")
    begin_bids(tmp_path, GLIOMA, DISK, SourceDataset("../raw", "doi:10.1/x"))
    described = json.loads((tmp_path / "dataset_description.json").read_text())
    assert described["SourceDatasets"] == [{"URL": "../raw", "DOI": "doi:10.1/x"}]
    assert (tmp_path / "README.md").read_text() == "ours"


@pytest.mark.parametrize(("closed", "named"), [("", "BIDS_DIR"), ("sub-01", "BIDS_DIR/sub-01")])
def test_a_folder_that_is_closed_to_the_user_is_named(tmp_path, monkeypatch, closed: str, named: str) -> None:
    (tmp_path / "sub-01").mkdir()
    opened = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path == tmp_path / closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    said = rf"^{named}: cannot be opened \(Permission denied\); ask for the right to read it$"
    with pytest.raises(UsageError, match=said):
        visits_of(tmp_path)


@pytest.mark.parametrize(
    ("people", "sessions", "names"),
    [
        ((), (), "sub-01_ses-a sub-01_ses-b sub-02 sub-03 sub-03_ses-a"),
        (("01", "sub-02"), (), "sub-01_ses-a sub-01_ses-b sub-02"),
        ((), ("ses-a",), "sub-01_ses-a sub-03_ses-a"),
        (("01",), ("b",), "sub-01_ses-b"),
    ],
)
def test_visits_are_folders_of_sessions_or_of_people(tmp_path, people, sessions, names) -> None:
    for name in (
        "sub-01/ses-a",
        "sub-01/ses-b",
        "sub-02/anat",
        "sub-03/anat",
        "sub-03/ses-a",
        "sub-x y",
        "derivatives",
    ):
        (tmp_path / name).mkdir(parents=True)
    assert " ".join(visit.name for visit in visits_of(tmp_path, people, sessions)) == names
