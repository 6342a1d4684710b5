"""Finding cases by names: no voxels are read, so the files are empty."""

import csv
import json
from pathlib import Path

import pytest

from lacunet.case import ImageFile
from lacunet.data.find import case_from_files, find_cases, survey
from lacunet.data.manifest import read_manifest
from lacunet.data.names import person_of
from lacunet.errors import DataError, UsageError
from lacunet.task import GLIOMA
from small import SHARED

ALL = ["t1n", "t1c", "t2w", "t2f"]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def brats18(case: str) -> list[str]:
    return [f"{case}/{case}_{word}.nii.gz" for word in ("t1", "t1ce", "t2", "flair", "seg")]


def test_finds_brats_2018_names_in_nested_grade_folders(tmp_path: Path) -> None:
    for name in brats18("Brats18_B_1"):
        touch(tmp_path / "HGG", name)
    for name in brats18("Brats18_A_1"):
        touch(tmp_path / "LGG", name)
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["Brats18_A_1", "Brats18_B_1"]
    assert list(cases[0].images) == ALL
    assert cases[0].images["t1c"].path.name == "Brats18_A_1_t1ce.nii.gz"
    assert cases[0].reference is not None
    assert cases[0].reference.path.name == "Brats18_A_1_seg.nii.gz"
    assert (cases[0].family, cases[0].convention) == ("brats2018", None)


def test_finds_brats_2023_names_with_some_sequences_absent(tmp_path: Path) -> None:
    touch(tmp_path / "BraTS-GLI-00007-000", "BraTS-GLI-00007-000-t1c.nii.gz", "BraTS-GLI-00007-000-t2f.nii")
    (case,) = find_cases(tmp_path)
    assert list(case.images) == ["t1c", "t2f"]
    assert (case.person, case.family, case.reference) == ("BraTS-GLI-00007", "brats2023", None)


def test_a_case_folder_itself_is_a_source(tmp_path: Path) -> None:
    touch(tmp_path, *brats18("Brats18_A_1"))
    (case,) = find_cases(tmp_path / "Brats18_A_1")
    assert case.name == "Brats18_A_1"


def test_many_cases_may_share_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a-t1c.nii.gz", "b-t1c.nii.gz", "b-seg.nii.gz")
    assert [case.name for case in find_cases(tmp_path)] == ["a", "b"]


def test_upper_and_lower_case_do_not_matter(tmp_path: Path) -> None:
    touch(tmp_path / "x", "X_T1CE.NII.GZ", "x_Flair.nii")
    (case,) = find_cases(tmp_path)
    assert list(case.images) == ["t1c", "t2f"]


@pytest.mark.parametrize("folder", ["sub-1.2", "Frau Müller", "患者 7", "a.b c-d"])
def test_spaces_dots_and_other_letters_in_names_work(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / folder, "t1c.nii.gz", "FLAIR.nii.gz", "seg.nii.gz")
    touch(tmp_path / "other", f"{folder} 2_t1.nii.gz")
    names = {case.name: case for case in find_cases(tmp_path)}
    assert set(names) == {folder, f"{folder} 2"}
    assert names[folder].family == "plain"


def test_finds_brats_2013_and_2015_names(tmp_path: Path) -> None:
    old = tmp_path / "HG" / "0001"
    touch(old / "VSD.Brain.XX.O.MR_T1c", "VSD.Brain.XX.O.MR_T1c.685.mha", "VSD.Brain.XX.O.MR_T1c.685.txt")
    touch(old / "VSD.Brain_3more.XX.XX.OT", "VSD.Brain_3more.XX.XX.OT.6560.mha")
    touch(tmp_path / "LG" / "0001" / "VSD.Brain.XX.O.MR_T2", "VSD.Brain.XX.O.MR_T2.9.mha")
    new = tmp_path / "HGG" / "brats_tcia_pat105_0001"
    touch(new / "VSD.Brain.XX.O.MR_Flair.54512", "VSD.Brain.XX.O.MR_Flair.54512.mha")
    touch(new / "VSD.Brain_3more.XX.O.OT.54517", "VSD.Brain_3more.XX.O.OT.54517.mha")
    cases = {case.name: case for case in find_cases(tmp_path)}
    assert set(cases) == {"HG_0001", "LG_0001", "brats_tcia_pat105_0001"}
    assert cases["HG_0001"].reference is not None
    assert cases["HG_0001"].convention == "brats2013"
    assert list(cases["brats_tcia_pat105_0001"].images) == ["t2f"]
    assert cases["brats_tcia_pat105_0001"].person == "brats_tcia_pat105"


def test_finds_files_inside_folders_of_their_own_name(tmp_path: Path) -> None:
    """Some copies of BraTS 2020 are packed so."""
    touch(tmp_path / "c1" / "c1_t1ce.nii", "c1_t1ce.nii")
    touch(tmp_path / "c1" / "c1_flair.nii", "c1_flair.nii")
    (case,) = find_cases(tmp_path)
    assert list(case.images) == ["t1c", "t2f"]


def test_adopts_the_one_reference_of_another_name(tmp_path: Path) -> None:
    """BraTS20_Training_355 has its mask under a name of its own."""
    touch(tmp_path / "BraTS20_Training_355", "BraTS20_Training_355_t1ce.nii", "W39_1998.09.19_Segm.nii")
    (case,) = find_cases(tmp_path)
    assert case.name == "BraTS20_Training_355"
    assert case.reference is not None
    assert case.reference.path.name == "W39_1998.09.19_Segm.nii"


def test_the_longest_spelling_counts(tmp_path: Path) -> None:
    touch(tmp_path, "x-ce-t1.nii.gz", "x-t2-flair.nii.gz", "x-t2.nii.gz")
    (case,) = find_cases(tmp_path)
    assert (case.name, list(case.images)) == ("x", ["t1c", "t2w", "t2f"])


def test_reads_bids_names(tmp_path: Path) -> None:
    anat = tmp_path / "sub-01" / "ses-1" / "anat"
    touch(anat, *(f"sub-01_ses-1_{end}.nii.gz" for end in ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR")))
    (case,) = find_cases(tmp_path)
    assert (case.name, case.person, case.family) == ("sub-01_ses-1", "sub-01", "bids")
    assert list(case.images) == ALL
    assert "ce-gad" in case.images["t1c"].path.name


def test_ignores_hidden_files(tmp_path: Path) -> None:
    touch(tmp_path / "a", "a_t1.nii.gz", "._a_t1.nii.gz", ".DS_Store", ".1f2e3d4c-a_t2.nii.gz")
    touch(tmp_path / ".cache", "b_t1.nii.gz")
    (case,) = find_cases(tmp_path)
    assert list(case.images) == ["t1n"]


def test_follows_symbolic_links_but_never_in_a_circle(tmp_path: Path) -> None:
    touch(tmp_path / "store", *brats18("Brats18_A_1"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "store" / "Brats18_A_1")
    (tmp_path / "data" / "round").symlink_to(tmp_path / "data")
    (case,) = find_cases(tmp_path / "data")
    assert case.name == "Brats18_A_1"
    assert "linked" in str(case.images["t1n"].path)


def test_two_files_for_one_modality_are_refused_and_both_named(tmp_path: Path) -> None:
    touch(tmp_path / "a", "a_t1ce.nii.gz", "a_t1gd.nii.gz")
    with pytest.raises(DataError, match=r"a_t1ce\.nii\.gz and .*a_t1gd\.nii\.gz: two files for t1c of case"):
        find_cases(tmp_path)


def test_a_wrong_case_does_not_hide_the_others(tmp_path: Path) -> None:
    touch(tmp_path / "a", "a_t1ce.nii.gz", "a_t1gd.nii.gz")
    touch(tmp_path / "b", "b_t1ce.nii.gz")
    touch(tmp_path / "c", "c_seg.nii.gz")
    found = survey(tmp_path, GLIOMA)
    assert [case.name for case in found.cases] == ["b"]
    assert [problem.case for problem in found.problems] == ["a", "c"]
    assert "without any scan" in found.problems[1].message


def test_no_modality_at_all_says_which_names_are_known(tmp_path: Path) -> None:
    touch(tmp_path, "scan_1.nii.gz", "notes.txt")
    words = r"no scans found; .*scan_1.nii.gz its name says no sequence; known names are .*t1n, t1c, t2w, t2f.*flair"
    with pytest.raises(DataError, match=words):
        find_cases(tmp_path)


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "HGG" / "a", "a_t1.nii.gz")
    touch(tmp_path / "LGG" / "a", "a_t1.nii.gz")
    with pytest.raises(DataError, match=r"HGG.* and .*LGG.*two cases are called a"):
        find_cases(tmp_path)


def test_a_place_that_is_not_there_or_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        find_cases(tmp_path / "nowhere")
    touch(tmp_path, "a_t1.nii.gz")
    with pytest.raises(DataError, match=r"is a file; give its folder"):
        find_cases(tmp_path / "a_t1.nii.gz")


def test_unknown_convention_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'brats2017'; did you mean 'brats201"):
        find_cases(tmp_path / "nowhere", labels="brats2017")


@pytest.mark.parametrize(
    ("case", "person"),
    [
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000"),
        ("BraTS-GLI-00000-101", "BraTS-GLI-00000"),
        ("phantom-00000-000", "phantom-00000"),
        ("Brats18_CBICA_ABM_1", "Brats18_CBICA_ABM"),
        ("Brats18_2013_20_1", "Brats18_2013_20"),
        ("BraTS19_TMC_06290_1", "BraTS19_TMC_06290"),
        ("BraTS2021_01476", "BraTS2021_01476"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("brats_2013_pat0001_1", "brats_2013_pat0001"),
        ("sub-1.2", "sub-1.2"),
        ("sub-01_ses-2", "sub-01"),
    ],
)
def test_person_from_case_name(case: str, person: str) -> None:
    assert person_of(case) == person


# ---------------------------------------------------------------- one file per sequence


def test_case_from_single_files(tmp_path: Path) -> None:
    touch(tmp_path, "one.nii.gz", "two.nii.gz")
    case = case_from_files({"FLAIR": tmp_path / "two.nii.gz", "t1c": tmp_path / "one.nii.gz"}, "me")
    assert list(case.images) == ["t1c", "t2f"]
    assert (case.name, case.family, case.reference) == ("me", "files", None)
    with pytest.raises(DataError, match="both are given as t1c"):
        case_from_files({"t1c": tmp_path / "one.nii.gz", "T1ce": tmp_path / "two.nii.gz"}, "me")
    with pytest.raises(DataError, match="no such file"):
        case_from_files({"t1c": tmp_path / "gone.nii.gz"}, "me")
    with pytest.raises(DataError, match="no scan given"):
        case_from_files({}, "me")


# ---------------------------------------------------------------- Medical Segmentation Decathlon

MSD = {
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
}


def msd(folder: Path, description: object) -> Path:
    touch(folder, "imagesTr/BRATS_001.nii.gz", "imagesTr/._BRATS_001.nii.gz", "labelsTr/BRATS_001.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def test_msd_channels_are_read_from_the_description(tmp_path: Path) -> None:
    (case,) = find_cases(msd(tmp_path, MSD))
    path = tmp_path / "imagesTr" / "BRATS_001.nii.gz"
    assert {modality: file.volume for modality, file in case.images.items()} == {"t1n": 1, "t1c": 2, "t2w": 3, "t2f": 0}
    assert case.images["t1n"] == ImageFile(path, 1)
    assert (case.name, case.family, case.convention) == ("BRATS_001", "msd", "nnunet")


def test_msd_labels_follow_their_names(tmp_path: Path) -> None:
    newer = {"channel_names": MSD["modality"], "labels": {"background": 0, "necrosis": 1, "edema": 2, "enhancing": 3}}
    assert find_cases(msd(tmp_path, newer))[0].convention == "brats2023"
    regions = {"channel_names": MSD["modality"], "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3]}}
    assert find_cases(msd(tmp_path, regions))[0].convention is None
    assert find_cases(tmp_path, labels="brats2018")[0].convention == "brats2018"


def test_msd_split_into_a_file_per_channel(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/B_001_0000.nii.gz", "imagesTr/B_001_0002.nii.gz", "labelsTr/B_001.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps(MSD))
    (case,) = find_cases(tmp_path)
    assert case.images["t2f"] == ImageFile(tmp_path / "imagesTr" / "B_001_0000.nii.gz")
    assert list(case.images) == ["t1c", "t2f"]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"labels": {}}, "neither 'modality' nor 'channel_names'"),
        ({"modality": {"0": "CT"}}, "channel 0 is 'CT'"),
        ({"modality": {"0": "T1", "1": "t1n"}}, "channels 0 and 1 are both t1n"),
        ([], r"dataset\.json: \[\]: input should be an object"),
    ],
)
def test_msd_description_that_does_not_tell(tmp_path: Path, description: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_cases(msd(tmp_path, description))


def test_half_an_msd_folder_and_a_mixture_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "half", "imagesTr/BRATS_001.nii.gz")
    with pytest.raises(DataError, match=r"needs both dataset\.json"):
        find_cases(tmp_path / "half")
    both = msd(tmp_path / "both", MSD)
    touch(both, *brats18("Brats18_A_1"))
    with pytest.raises(DataError, match="which one is meant is unclear"):
        find_cases(both)


# ---------------------------------------------------------------- manifest


def manifest(folder: Path, *rows: list[str]) -> Path:
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "manifest.csv"


def test_manifest_with_aliases_and_relative_paths(tmp_path: Path) -> None:
    touch(tmp_path, "scans/größe 1.nii.gz", "scans/two.nii.gz", "scans/mask.nii.gz")
    path = manifest(
        tmp_path,
        ["case", "person", "T1Gd", "FLAIR", "reference", "convention"],
        ["b", "anna", "scans/größe 1.nii.gz", "", "scans/mask.nii.gz", "brats2018"],
        ["a", "", "scans/two.nii.gz", "scans/größe 1.nii.gz", "", ""],
    )
    first, second = find_cases(path)
    assert find_cases(tmp_path) == [first, second]
    assert (first.name, first.person, list(first.images), first.reference) == ("a", "a", ["t1c", "t2f"], None)
    assert (second.person, list(second.images), second.convention) == ("anna", ["t1c"], "brats2018")


def test_manifest_convention_is_more_particular_than_the_option(tmp_path: Path) -> None:
    touch(tmp_path, "x.nii.gz", "m.nii.gz")
    rows = [["a", "x.nii.gz", "m.nii.gz", "brats2018"], ["b", "x.nii.gz", "m.nii.gz", ""]]
    path = manifest(tmp_path, ["case", "t1c", "reference", "convention"], *rows)
    assert [case.convention for case in find_cases(path, labels="brats2023")] == ["brats2018", "brats2023"]
    assert [case.convention for case in find_cases(path)] == ["brats2018", None]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["t1c"], ["x.nii.gz"]], "has no column 'case'"),
        ([["case", "t7"], ["a", "x.nii.gz"]], "unknown column 't7'"),
        ([["case", "t1c", "T1ce"], ["a", "x.nii.gz", ""]], "two columns for t1c"),
        ([["case", "t1c"], ["a", "gone.nii.gz"]], r"case a: .*gone\.nii\.gz: there is no such file"),
        ([["case", "t1c"], ["a", ""]], "case a: has no scan"),
        ([["case", "t1c"], ["", "x.nii.gz"]], "a row has no case name"),
        ([["case", "t1c", "convention"], ["a", "x.nii.gz", "brats"]], "case a: unknown label convention 'brats'"),
        ([["case", "t1c"], ["a", "x.nii.gz"], ["a", "x.nii.gz"]], "two cases are called a"),
        ([["case", "t1c"]], "no scans found"),
    ],
)
def test_manifest_that_is_wrong(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    touch(tmp_path, "x.nii.gz")
    with pytest.raises(DataError, match=message):
        find_cases(manifest(tmp_path, *rows))


@pytest.mark.skipif(not (SHARED / "data" / "glioma").is_dir(), reason="the real cases are not here")
def test_finds_the_real_cohort_with_its_two_families() -> None:
    cases = find_cases(SHARED / "data" / "glioma")
    assert len(cases) == 28
    assert all(list(case.images) == ALL and case.reference for case in cases)
    assert {case.family for case in cases} == {"brats2018", "brats2023"}
    (raw,) = find_cases(SHARED / "data" / "raw")
    assert (raw.name, list(raw.images)) == ("TCGA-FG-6692", ALL)


def test_a_manifest_s_cell_that_no_file_can_be_called_is_a_problem_of_its_row(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz")
    path = manifest(tmp_path, ["case", "t1c"], ["long", "x" * 300], ["good", "a.nii.gz"])
    found, problems = read_manifest(path, GLIOMA, None)
    assert [case.name for case in found] == ["good"]
    assert "cannot be opened (File name too long)" in problems[0].message
