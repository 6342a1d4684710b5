"""What DICOM tags, a sidecar or a BIDS list of participants say of whom and what an image shows.

Ages and dates are read, compared and dropped here; see `identify.cautions`.
"""

import csv
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from lacunet.data.names import bare_name
from lacunet.data.source_table import relative
from lacunet.intake.found import Caution
from lacunet.intake.identify.cautions import Subject, cautions_of, is_under_age

LARGEST_TEXT = 2**22
"""A larger sidecar or list is not read."""

TAGS = (
    "PatientAge",
    "PatientBirthDate",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "BodyPartExamined",
    "BurnedInAnnotation",
)
"""The DICOM tags that `subject_of` asks for."""


def subject_of(value: Callable[[str], str], anatomy: str = "") -> Subject:
    """From the values of `TAGS` ("" where a tag is missing).

    Args:
        value: The text of a tag.
        anatomy: The meaning of an anatomic code, for headers that give no BodyPartExamined.
    """
    day = value("StudyDate") or value("SeriesDate") or value("AcquisitionDate")
    return Subject(
        under_age=is_under_age(value("PatientAge"), value("PatientBirthDate"), day),
        body_part=value("BodyPartExamined") or anatomy,
        burned_in=value("BurnedInAnnotation").upper() == "YES",
    )


def subject_beside(image: Path) -> Subject:
    """From the JSON sidecar of an image and, in BIDS, the age in `participants.tsv`; files that cannot be read say
    nothing."""
    said = _json(image.with_name(bare_name(image.name) + ".json"))
    day = str(said.get("AcquisitionDateTime", ""))[:10]
    found = subject_of(lambda tag: _text(said.get(tag)) or (day if tag == "StudyDate" else ""))
    return Subject(found.under_age or _participant_under_age(image), found.body_part, found.burned_in)


def cautions_beside(images: Mapping[str, Path]) -> tuple[Caution, ...]:
    """What must be said first of scans that lie beside their sidecars.

    Args:
        images: By their names for people.
    """
    return cautions_of({label: subject_beside(path) for label, path in images.items()})


def day_beside(image: Path) -> date | None:
    """The day on which an image was taken, as a BIDS list of scans or of sessions or its sidecar says; None: not said.

    Days of anonymised data may be moved; all of one person are moved alike, so differences stay right.
    """
    subject = next((folder for folder in image.parents if folder.name.startswith("sub-")), None)
    if subject is not None and image.name.startswith(f"{subject.name}_"):
        session = next((part for part in image.name.split("_") if part.startswith("ses-")), "")
        folder = subject / session
        listed = folder / f"{'_'.join(filter(None, (subject.name, session)))}_scans.tsv"
        for row in _rows(listed):
            if row.get("filename") == relative(image, folder) and (day := _day(row.get("acq_time"))):
                return day
        for row in _rows(subject / f"{subject.name}_sessions.tsv"):
            if session and row.get("session_id") == session and (day := _day(row.get("acq_time"))):
                return day
    said = _json(image.with_name(f"{bare_name(image.name)}.json"))
    tags = ("AcquisitionDateTime", "StudyDate", "SeriesDate", "AcquisitionDate")
    return next((day for day in (_day(said.get(tag)) for tag in tags) if day), None)


def _day(value: Any) -> date | None:
    digits = _text(value)[:10].replace("-", "")[:8]
    return day_of(digits)


def day_of(digits: str) -> date | None:
    """`20240131` as a day; None of anything else."""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) if len(digits) == 8 else None
    except ValueError:
        return None


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _participant_under_age(image: Path) -> bool:
    """By the column `age` of the `participants.tsv` beside the folder of the subject; years, unless its JSON says
    another unit."""
    subject = next((folder for folder in image.parents if folder.name.startswith("sub-")), None)
    if subject is None or not image.name.startswith(f"{subject.name}_"):
        return False
    unit = _json(subject.parent / "participants.json").get("age", {})
    letter = str(unit.get("Units", "y"))[:1] if isinstance(unit, Mapping) else "y"
    for row in _rows(subject.parent / "participants.tsv"):
        if row.get("participant_id") == subject.name:
            return is_under_age(f"{row.get('age') or ''}{letter}", "", "")
    return False


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return list(csv.DictReader(_lines(path), delimiter="\t"))
    except csv.Error:
        return []


def _json(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads("\n".join(_lines(path)))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _lines(path: Path) -> list[str]:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_TEXT:
            return []
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):
        return []
