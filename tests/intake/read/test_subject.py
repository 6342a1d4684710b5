"""Sidecars and lists of participants: whom and what a NIfTI file shows; broken ones say nothing."""

import json
from pathlib import Path

import pytest

from lacunet.intake.identify.cautions import Subject
from lacunet.intake.read.subject import cautions_beside, subject_beside


def image(folder: Path, sidecar: object = None) -> Path:
    path = folder / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if sidecar is not None:
        text = sidecar if isinstance(sidecar, str) else json.dumps(sidecar)
        (path.parent / "sub-01_T1w.json").write_text(text)
    return path


@pytest.mark.parametrize(
    ("sidecar", "subject"),
    [
        (None, Subject()),
        ({}, Subject()),
        ({"PatientAge": "012Y", "BodyPartExamined": "BRAIN"}, Subject(under_age=True, body_part="BRAIN")),
        ({"PatientAge": 12}, Subject(under_age=True)),
        ({"PatientAge": "045Y", "BurnedInAnnotation": "yes"}, Subject(burned_in=True)),
        ({"PatientBirthDate": "2010-01-01", "AcquisitionDateTime": "2020-02-03T10:11:12"}, Subject(under_age=True)),
        ({"PatientAge": None, "BodyPartExamined": ["KNEE"]}, Subject()),
        ("{broken", Subject()),
        ("[1]", Subject()),
    ],
)
def test_what_a_sidecar_says(tmp_path: Path, sidecar: object, subject: Subject) -> None:
    assert subject_beside(image(tmp_path, sidecar)) == subject


@pytest.mark.parametrize(
    ("rows", "units", "child"),
    [
        ("participant_id\tage\nsub-01\t12\n", None, True),
        ("participant_id\tsex\tage\nsub-01\tF\t12.5\n", None, True),
        ("\ufeffparticipant_id\tage\r\nsub-01\t12\r\n", None, True),
        ("participant_id\tage\nsub-01\t30\n", "months", True),
        ("participant_id\tage\nsub-01\t30\n", "years", False),
        ("participant_id\tage\nsub-01\t89+\nsub-02\t12\n", None, False),
        ("participant_id\tage\nsub-01\tn/a\n", None, False),
        ("participant_id\tage\nsub-02\t12\n", None, False),
        ("participant_id\tsex\nsub-01\tF\n", None, False),
        (f"participant_id\tage\n{'x' * 2**18}\t12\n", None, False),
        ("", None, False),
    ],
)
def test_the_age_in_a_list_of_participants(tmp_path: Path, rows: str, units: str | None, child: bool) -> None:
    path = image(tmp_path)
    (tmp_path / "participants.tsv").write_text(rows, encoding="utf-8")
    if units is not None:
        (tmp_path / "participants.json").write_text(json.dumps({"age": {"Units": units}}))
    assert subject_beside(path).under_age is child


def test_scans_are_called_by_their_names_for_people(tmp_path: Path) -> None:
    (caution,) = cautions_beside({"T1": image(tmp_path, {"BodyPartExamined": "KNEE"})})
    assert caution.sentence == "T1: its header says that it shows the knee, not the head"
