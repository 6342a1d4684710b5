"""Which names may be shown, what a case is called otherwise, and what is left of a message without names."""

import json
from pathlib import Path

import pytest

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.find import case_from_files, find_cases
from lacunet.data.hidden_names import errors_without_names, names_of_files, survey_named, without_names
from lacunet.data.pseudonyms import contents_hash, hidden_name, is_pseudonym, may_show_file, named_cases
from lacunet.errors import DataError, UnpreparedError
from lacunet.task import GLIOMA

PSEUDONYMS = [
    "p01", "P-01", "pat-7_b", "case_012", "case-00001-000", "Patient-041", "subject01", "sub_3", "S01_ses2", "site2_p7",
    "x", "a", "7", "0001", "004", "4711-0815", "ab12", "gbm_003", "HG_0001", "LG_0001", "val_12", "train-7", "000123",
    "patient", "case", "brain", "scan 4", "id.17", "visit2", "MR1", "EGD-0001",
    "UCSF-PDGM-0004", "UCSF-PDGM-0429_FU001d", "UPENN-GBM-00001_11", "TCGA-FG-6692", "TCGA-02-0003", "phantom-0003-000",
    "BraTS-GLI-00000-000", "BraTS-MET-00232-000", "BraTS-SSA-00002-000", "Brats18_CBICA_ABM_1", "Brats18_2013_20_1",
    "Brats17_TCIA_104_1", "BraTS19_TMC_06643_1", "BraTS20_Training_355", "BraTS2021_00621", "BRATS_001",
    "brats_2013_pat0001_1", "sub-01", "sub-01_ses-2", "sub-BraTSGLI00000000",
    "case-c493c7ff", "case-c493c7ff-again-2", "study-1a2b3c4d", "0f8fad5b-d9cb-469f-a165-70867728950e",
    "d41d8cd98f00b204e9800998ecf8427e",
]  # fmt: skip
NAMES = [
    "", "_", "...", "anna", "Anna", "ANNA", "Mustermann_Anna", "Mustermann^Anna", "MustermannAnna", "Anna01", "anna_1",
    "p01_Mustermann", "case_anna", "a-Łukasz", "Łukasz", "李", "p李1", "é", "Müller", "Mueller", "o'neil", "Li", "Wu",
    "Ng", "Bo", "Li_07", "p_Wu", "smith_john_19500101", "19500101", "p_19640812", "12081964", "1234567890", "640812",
    "120864", "p-640812", "120864-1234", "1964-08-12", "12.08.1964", "8_12_1964", "12-08-64", "123-45-6789",
    "brats_mustermann", "BraTS_anna_001", "BraTS18_Anna_1", "tcga-ab-anna", "UCSF-PDGM-anna", "phantom-anna",
    "sub-Müller", "sub-01_anna", "case-anna", "case-bea64812x", "Patient Meier", "tumor_meier", "meier", "T1 Meier",
]  # fmt: skip


@pytest.mark.parametrize("name", PSEUDONYMS)
def test_a_pseudonym_is_told_by_its_form(name):
    assert is_pseudonym(name)


@pytest.mark.parametrize("name", NAMES)
def test_any_other_name_may_be_a_person_s(name):
    assert not is_pseudonym(name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("t1c.nii.gz", True), ("flair.mha", True), ("T1_AX_POST_GAD.nii.gz", True), ("BraTS-GLI-00001-000-t1c", True),
        ("Brats18_CBICA_ABM_1_seg.nii", True), ("sub-01_ses-1_ce-gadolinium_T1w.nii.gz", True), ("p01_T1_CE.nii", True),
        ("UCSF-PDGM-0004_tumor_segmentation.nii.gz", True), ("VSD.Brain.XX.O.MR_T1c.54512.mha", True),
        ("case-c493c7ff-t1c.nii.gz", True), ("anna_t1c.nii.gz", False), ("t1c_anna.nii.gz", False),
        ("BraTS-GLI-00001-000_anna.nii.gz", False), ("t1_19640812.nii.gz", False), ("Li.nii", False),
    ],
)  # fmt: skip
def test_a_file_is_named_where_its_name_holds_no_person_s(name, shown):
    assert may_show_file(name) == shown


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_hidden_case_is_called_after_its_contents_in_any_folder_and_order(tmp_path):
    one, two = write(tmp_path / "a", b"1"), write(tmp_path / "b", b"2")
    other = [write(tmp_path / "x" / "c", b"2"), write(tmp_path / "x" / "d", b"1")]
    assert contents_hash([one, two]) == contents_hash(other) != contents_hash([one])
    name = hidden_name([one, two])
    assert name == f"case-{contents_hash([one, two])}"
    assert hidden_name(other, [name]) == f"{name}-again-2"
    assert hidden_name(other, [name, f"{name}-again-2"]) == f"{name}-again-3"


def test_names_that_the_user_gave_are_kept(tmp_path):
    for name in ("anna", "Mustermann", "p01"):
        write(tmp_path / name / f"{name}-t1c.nii.gz", name.encode())
    (tmp_path / "anna" / "import.json").write_text(json.dumps({"case": "anna"}))
    (tmp_path / "Mustermann" / "import.json").write_text(json.dumps({"case": "p77"}))
    names = {files.name for files in named_cases(find_cases(tmp_path))}
    assert names == {"anna", "p01", f"case-{contents_hash([tmp_path / 'Mustermann' / 'Mustermann-t1c.nii.gz'])}"}
    assert {files.name for files in named_cases(find_cases(tmp_path), show_names=True)} == {"anna", "Mustermann", "p01"}
    write(tmp_path / "manifest.csv", b"case,t1c\nMustermann,Mustermann/Mustermann-t1c.nii.gz\n")
    assert [files.name for files in named_cases(find_cases(tmp_path))] == ["Mustermann"]
    given = case_from_files({"t1c": tmp_path / "anna" / "anna-t1c.nii.gz"}, "anna")
    assert named_cases([given])[0].name == "anna"


def hidden(folder: Path, **names: str) -> CaseFiles:
    images = {modality: ImageFile(folder / name) for modality, name in names.items()}
    mask = ImageFile(folder / "anna mask.nii.gz")
    return CaseFiles("case-0", "case-0", images, mask, "plain", None, names_shown=False)


def test_texts_of_a_hidden_case_call_files_by_their_roles(tmp_path):
    files = hidden(tmp_path / "Mustermann", t1c="anna_t1ce.nii.gz", t2f="flair.nii")
    path = tmp_path / "Mustermann" / "anna_t1ce.nii.gz"
    for text, cleaned in (
        ("anna_t1ce.nii.gz: is empty", "t1c: is empty"),
        (f"{path}: is empty; anna_t1ce too", "t1c: is empty; t1c too"),
        (f"'{path}' and {tmp_path / 'Mustermann' / 'flair.nii'}", "'t1c' and flair.nii"),
        ("anna mask.nii.gz: label 9", "the reference: label 9"),
        ("2 scans of 4 to t1c", "2 scans of 4 to t1c"),
    ):
        assert without_names(text, files) == cleaned
    assert set(names_of_files(files).values()) == {"t1c", "flair.nii", "the reference"}
    with pytest.raises(UnpreparedError, match=r"^t1c: shape"), errors_without_names(files):
        raise UnpreparedError("anna_t1ce.nii.gz: shape")


def test_problems_and_errors_below_a_source_name_numbers_and_words(tmp_path):
    source = tmp_path / "Meier"
    one = write(source / "anna" / "Meier_T1c.nii", b"1")
    two = write(source / "anna" / "Meier_T1ce.nii", b"2")
    write(source / "b" / "p01_flair.nii", b"3")
    found = survey_named([source], GLIOMA, show_names=False)
    (problem,) = found.problems
    assert problem.case == f"case-{contents_hash([one, two])}"
    assert problem.message.startswith("file 1 (… T1C) and file 2 (… T1CE): two files for t1c of case case-")
    assert "Meier" not in problem.message
    row = found.rows[0]
    assert (row.case, row.source) == (problem.case, str(source / "anna"))
    assert row.files == ("Meier_T1c.nii", "Meier_T1ce.nii")
    assert str(one) in row.reason
    shown = survey_named([source], GLIOMA, show_names=True)
    assert [one.case for one in shown.problems] == ["Meier"]
    (tmp_path / "Schulz").mkdir()
    with pytest.raises(DataError, match=r"^the source: no scans found"):
        survey_named([tmp_path / "Schulz"], GLIOMA)
    with pytest.raises(DataError, match="Schulz: no scans found"):
        survey_named([tmp_path / "Schulz"], GLIOMA, show_names=True)
    with pytest.raises(DataError, match="Nobody: there is no such file"):  # as the user typed it
        survey_named([tmp_path / "Nobody"], GLIOMA)
