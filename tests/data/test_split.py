"""Splits by person, published lists, and cases that lose modalities for good."""

import json
from pathlib import Path

import numpy as np
import pytest

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.find import find_cases
from lacunet.data.missing import apply_missing, complete_share, draw_missing, read_missing, write_missing
from lacunet.data.split import folds, read_split, split_hash
from lacunet.errors import DataError, UsageError
from lacunet.task import GLIOMA
from small import SHARED

NAMES = [f"case-{number:04d}" for number in range(200)]


def case(name: str, person: str | None = None, *modalities: str) -> CaseFiles:
    images = {modality: ImageFile(Path(f"{modality}.nii.gz")) for modality in modalities or GLIOMA.modalities}
    return CaseFiles(name, person or name, images, None, "plain", None)


def visits() -> list[CaseFiles]:
    """Eleven persons with one to three visits each."""
    return [case(f"p{person}-{visit}", f"p{person}") for person in range(11) for visit in range(person % 3 + 1)]


# ---------------------------------------------------------------- folds


def test_no_person_is_on_both_sides_of_a_fold() -> None:
    person = {found.name: found.person for found in visits()}
    for fold in folds(visits(), 4, seed=3):
        assert not {person[name] for name in fold.train} & {person[name] for name in fold.val}
        assert {*fold.train, *fold.val} == set(person)


def test_each_case_validates_once_and_folds_have_nearly_as_many_persons() -> None:
    made = folds(visits(), 4, seed=3)
    validated = [name for fold in made for name in fold.val]
    assert sorted(validated) == sorted(found.name for found in visits())
    persons = [len({name.split("-")[0] for name in fold.val}) for fold in made]
    assert sorted(persons) == [2, 3, 3, 3]


def test_folds_depend_on_the_seed_not_on_the_order_of_cases() -> None:
    assert folds(visits(), 4, seed=3) == folds(visits()[::-1], 4, seed=3)
    assert folds(visits(), 4, seed=3) != folds(visits(), 4, seed=4)


@pytest.mark.parametrize("number", [0, 1, 12])
def test_impossible_numbers_of_folds_are_refused(number: int) -> None:
    with pytest.raises(DataError, match=f"{number} folds of 11 persons"):
        folds(visits(), number, seed=0)


# ---------------------------------------------------------------- split files


def test_reads_json_text_and_a_folder_of_texts(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"train": ["a", "b"], "val": [], "test": ["c"]}))
    assert read_split(tmp_path / "s.json") == {"train": ["a", "b"], "val": [], "test": ["c"]}
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("HG_BraTS20_Training_001\r\n\r\nLG_BraTS20_Training_260\r\n")
    (tmp_path / "lists" / "test.txt").write_text("Fräulein 7\n", encoding="utf-8")
    expected = ["BraTS20_Training_001", "BraTS20_Training_260"]
    assert read_split(tmp_path / "lists") == {"test": ["Fräulein 7"], "train": expected}
    assert read_split(tmp_path / "lists" / "train.txt") == {"train": expected}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": ["a", "a"]}, "case a is twice in train"),
        ({"train": ["a"], "test": ["b", "a"]}, "case a is in train and in test"),
        (
            {"train": ["P-001-000"], "test": ["P-001-001"]},
            "person P-001 is in several parts .P-001-000 in train and P-001-",
        ),
        ({"train": [], "test": []}, "names no case"),
        ({"training": ["a"]}, "unknown part 'training'; did you mean 'train'"),
        ({"train": "a"}, "part 'train' is no list of names"),
        ({"train": [1]}, "part 'train' is no list of names"),
        (["a"], "an object such as"),
        ({}, "an object such as"),
    ],
)
def test_a_split_that_is_wrong_is_refused(tmp_path: Path, content: object, message: str) -> None:
    (tmp_path / "s.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"s\.json: .*{message}|s\.json: {message}"):
        read_split(tmp_path / "s.json")


def test_names_that_the_data_lack_are_named_alone_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"train": ["case-0001", "Brats18_CBICA_ABN_1"]}))
    with pytest.raises(
        DataError, match=r"1 cases are not in the data: 'Brats18_CBICA_ABN_1'; did you mean 'Brats18_CBICA_ABM_1'"
    ):
        read_split(tmp_path / "s.json", [case("case-0001"), case("Brats18_CBICA_ABM_1")])


def test_persons_of_the_data_count_before_those_of_the_names(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"train": ["a"], "test": ["b"]}))
    with pytest.raises(DataError, match="person anna is in several parts"):
        read_split(tmp_path / "s.json", [case("a", "anna"), case("b", "anna")])


def test_unreadable_splits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{train: a}")
    with pytest.raises(DataError, match=r"not JSON .*; an object such as"):
        read_split(tmp_path / "s.json")
    with pytest.raises(DataError, match="No such file"):
        read_split(tmp_path / "gone.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no split here"):
        read_split(tmp_path / "empty")


def test_the_hash_is_of_sorted_bare_names() -> None:
    """SHA-256 of the two lines, without a line end after the last, as `sha256sum` gives it."""
    expected = "e31d422ec210c073fa4bc468401363ae0efa7b5e9b7323260d3db13d626d73c6"
    assert split_hash(["LG_BraTS20_2", "HG_BraTS20_1"]) == split_hash(["BraTS20_1", "BraTS20_2"]) == expected


@pytest.mark.skipif(not (SHARED / "splits").is_dir(), reason="the published lists are not here")
def test_published_lists_have_their_hashes() -> None:
    hashes = json.loads((SHARED / "splits" / "split_hashes.json").read_text())
    for name, expected in hashes.items():
        names = read_split(SHARED / "splits" / f"{name}.txt")[name]
        assert (len(names), split_hash(names)) == (expected["n"], expected["sha256_sorted_ids_newline"])


@pytest.mark.skipif(not (SHARED / "data" / "glioma").is_dir(), reason="the real cases are not here")
def test_the_split_of_the_real_cohort_fits_it() -> None:
    folder = SHARED / "data" / "glioma"
    parts = read_split(folder / "split.json", find_cases(folder))
    assert {part: len(names) for part, names in parts.items()} == {"train": 19, "val": 3, "test": 6}


# ---------------------------------------------------------------- missing modalities


@pytest.mark.parametrize(("share", "complete"), [(0.0, 1), (0.01, 2), (0.1, 20), (0.5, 100), (1.0, 200)])
def test_a_share_stays_complete(share: float, complete: int) -> None:
    drawn = draw_missing(NAMES, GLIOMA, share, seed=0)
    assert sum(kept == GLIOMA.modalities for kept in drawn.values()) == complete
    assert complete_share(drawn, GLIOMA) == complete / 200
    assert set(drawn) == set(NAMES)


def test_at_least_one_case_stays_complete() -> None:
    assert complete_share(draw_missing(NAMES[:19], GLIOMA, 0.01, seed=0), GLIOMA) == pytest.approx(1 / 19)


def test_lost_numbers_are_uniform_and_so_are_the_subsets_of_a_number() -> None:
    drawn = draw_missing([f"c{number}" for number in range(6001)], GLIOMA, 0.0, seed=1)
    incomplete = [kept for kept in drawn.values() if kept != GLIOMA.modalities]
    sizes = np.bincount([len(kept) for kept in incomplete], minlength=5)
    assert sizes[0] == 0
    np.testing.assert_allclose(sizes[1:4], 2000, atol=150)
    for size, subsets in ((1, 4), (2, 6), (3, 4)):
        counts = [incomplete.count(subset) for subset in GLIOMA.subsets if len(subset) == size]
        np.testing.assert_allclose(counts, 2000 / subsets, atol=90)


def test_a_case_draws_the_same_whatever_the_others_are() -> None:
    drawn = draw_missing(NAMES, GLIOMA, 0.1, seed=7)
    assert draw_missing(NAMES[::-1], GLIOMA, 0.1, seed=7) == drawn
    more = draw_missing(NAMES, GLIOMA, 0.5, seed=7)
    assert all(more[name] in (drawn[name], GLIOMA.modalities) for name in NAMES)
    assert all(more[name] == GLIOMA.modalities for name in NAMES if drawn[name] == GLIOMA.modalities)
    assert draw_missing(NAMES, GLIOMA, 0.1, seed=8) != drawn


def test_a_draw_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"share of complete cases 10"):
        draw_missing(NAMES, GLIOMA, 10.0, seed=0)
    with pytest.raises(DataError, match="empty or names a case twice"):
        draw_missing([], GLIOMA, 0.5, seed=0)
    with pytest.raises(DataError, match="empty or names a case twice"):
        draw_missing(["a", "a"], GLIOMA, 0.5, seed=0)


def test_the_manifest_comes_back(tmp_path: Path) -> None:
    drawn = draw_missing([*NAMES[:20], "Müller, Anna"], GLIOMA, 0.1, seed=7)
    write_missing(tmp_path / "missing.csv", drawn, GLIOMA)
    assert read_missing(tmp_path / "missing.csv", GLIOMA) == drawn
    lines = (tmp_path / "missing.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "case,acquired"
    assert lines[2] == f"case-0000,{'+'.join(drawn['case-0000'])}"
    assert lines[1].startswith('"Müller, Anna",')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case;acquired\na;t1c\n", "columns 'case' and 'acquired'"),
        ("", "columns 'case' and 'acquired'"),
        ("case,acquired\na,t1c\na,t2f\n", "case a has two rows"),
        ("case,acquired\na,t9\n", "case a: unknown modality 't9'"),
        ("case,acquired\na,\n", "case a: unknown modality ''"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError, match=rf"m\.csv: {message}"):
        read_missing(tmp_path / "m.csv", GLIOMA)
    with pytest.raises(DataError, match="cannot be read"):
        read_missing(tmp_path / "gone.csv", GLIOMA)


def test_cases_lose_their_images_for_good() -> None:
    cases = [case("a"), case("b", None, "t1n", "t1c")]
    left = apply_missing(cases, {"a": ("t2f",), "b": ("t1c", "t2f"), "other": ("t1n",)})
    assert [list(found.images) for found in left] == [["t2f"], ["t1c"]]
    assert [list(found.images) for found in cases] == [list(GLIOMA.modalities), ["t1n", "t1c"]]
    with pytest.raises(DataError, match="case a has no row"):
        apply_missing(cases, {"b": ("t1c",)})
    with pytest.raises(DataError, match="nothing is left of t1n"):
        apply_missing(cases, {"a": ("t1n",), "b": ("t2f",)})
