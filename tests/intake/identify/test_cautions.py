"""Ages, parts of the body and burned-in text: what is said, what is silent, and that no age is ever repeated."""

import pytest

from lacunet.intake.found import pictures_allowed
from lacunet.intake.identify.cautions import Subject, cautions_of, is_under_age, shows_another_part, subject_of_all

CHILDREN = [
    ("012Y", "", ""), ("17Y", "", ""), ("017 Y", "", ""), ("8", "", ""), ("006M", "", ""), ("200M", "", ""),
    ("003W", "", ""), ("010D", "", ""), ("12.5", "", ""), ("017y", "", ""), ("000Y", "", ""), ("12years", "", ""),
    ("", "20050305", "20230304"), ("", "2005-03-05", "20230304"), ("", "2005.12.31", "20230304"),
    ("", "2005", "20230304"), ("", "200504", "20230304"), ("?", "20200101", "20230304"),
]  # fmt: skip
ADULTS = [
    ("018Y", "", ""), ("045Y", "", ""), ("216M", "", ""), ("89+", "", ""), ("n/a", "", ""), ("", "", ""), ("Y", "", ""),
    ("056Y", "20220101", "20230304"), ("", "20050304", "20230304"), ("", "1964", "20230304"), ("", "20050305", ""),
    ("", "", "20230304"), ("", "20240101", "20230304"), ("", "00000000", "20230304"), ("", "unknown", "20230304"),
]  # fmt: skip
HEADS = [
    "BRAIN", "HEAD", "Skull", "NEURO", "NEURO HEAD", "HEADNECK", "HEAD_NECK", "HEAD AND NECK", "Kopf", "SCHÄDEL",
    "TÊTE", "Cráneo", "CABEZA", "ENCEPHALE", "Testa", "HOOFD", "GŁOWA", "ГОЛОВА", "головной мозг", "头", "頭部",
    "大脑", "머리", "PITUITARY", "ORBIT", "IAC", "CEREBRUM", "HIPPOCAMPUS BRAIN",
]  # fmt: skip
SILENT = ["", "  ", "UNKNOWN", "NONE", "N/A", "OTHER", "WHOLEBODY", "whole body", "MR", "---"]
OTHERS = [
    "CHEST", "ABDOMEN", "PELVIS", "LSPINE", "CSPINE", "CERVICAL SPINE", "NECK", "KNEE", "PROSTATE", "BREAST", "HEART",
    "FEMORAL HEAD", "HUMERAL HEAD", "HODEN", "Wirbelsäule", "胸部", "EXTREMITY",
]  # fmt: skip


@pytest.mark.parametrize(("age", "birth", "day"), CHILDREN)
def test_a_child_is_known_by_age_or_dates(age: str, birth: str, day: str) -> None:
    assert is_under_age(age, birth, day)


@pytest.mark.parametrize(("age", "birth", "day"), ADULTS)
def test_an_adult_and_an_unknown_age_are_silent(age: str, birth: str, day: str) -> None:
    assert not is_under_age(age, birth, day)


@pytest.mark.parametrize("part", [*HEADS, *SILENT])
def test_the_head_and_an_unknown_part_are_silent(part: str) -> None:
    assert not shows_another_part(part)
    assert cautions_of({"series 3": Subject(body_part=part)}) == ()


@pytest.mark.parametrize("part", OTHERS)
def test_another_part_of_the_body_is_told(part: str) -> None:
    (caution,) = cautions_of({"series 3": Subject(body_part=part)})
    assert caution.kind == "body part"
    assert caution.sentence.startswith("series 3: its header says that it shows ")
    assert caution.sentence.endswith(", not the head")


def test_only_words_of_a_list_are_repeated() -> None:
    known, typed = cautions_of({"a": Subject(body_part="L_SPINE Mustermann"), "b": Subject(body_part="Chest")})
    assert known.sentence == "a: its header says that it shows another part of the body, not the head"
    assert typed.sentence == "b: its header says that it shows the chest, not the head"


def test_a_child_is_said_once_and_without_the_age() -> None:
    child = Subject(under_age=True)
    (said,) = cautions_of({"a": child, "b": child})
    assert said.sentence == "the patient is under 18; the models learned from adults"
    assert cautions_of({"a": Subject()}, under_age=True) == (said,)


def test_burned_in_text_is_told_by_scan_and_keeps_pictures_away() -> None:
    cautions = cautions_of({"series 3": Subject(burned_in=True), "series 4": Subject(under_age=True)})
    assert [caution.kind for caution in cautions] == ["age", "burned-in text"]
    assert cautions[1].sentence.startswith("series 3: text is burned into the image")
    assert not pictures_allowed(cautions)
    assert pictures_allowed(cautions[:1])


def test_one_file_of_a_scan_is_enough() -> None:
    files = [Subject(body_part="HEAD"), Subject(burned_in=True), Subject(body_part="CHEST", under_age=True)]
    assert subject_of_all(files) == Subject(under_age=True, body_part="CHEST", burned_in=True)
    assert subject_of_all([]) == Subject()
