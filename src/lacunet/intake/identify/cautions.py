"""What a header says that a person must know before any volume: a child, another part of the body, text in the image.

Ages and dates are compared and forgotten: no sentence holds one.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lacunet.intake.found import Caution

ADULT_YEARS = 18

_AGE = re.compile(r"^\s*(\d{1,3}(?:\.\d+)?)\s*([DWMY]?)[A-Z]*\s*$")
_IN_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 1 / 52.2, "D": 1 / 365.25}

_NOTHING_SAID = {
    "", "unknown", "unk", "none", "other", "na", "undefined", "unspecified", "default", "mr", "mri", "null",
    "body", "wholebody", "totalbody", "notspecified",
}  # fmt: skip
"""Answers that leave open which part of the body it is."""

_HEAD_STEMS = (
    "brain", "head", "skull", "neuro", "cran", "cerebr", "cerebell", "enceph", "encefal", "pituitar", "hypophys",
    "sella", "orbit", "facial", "paranasal", "kopf", "schaedel", "schadel", "hirn", "gehirn", "cerveau", "cabeza",
    "cabeca", "cervello", "hoofd", "hersen", "schedel", "glowa", "glowy", "mozg", "czaszk", "huvud", "hjarn", "hjern",
    "hlava", "mozek", "aivo", "beyin", "голов", "мозг", "череп",
)  # fmt: skip
"""Beginnings of words for the head and for what lies in it."""

_HEAD_WORDS = {"tete", "testa", "hode", "ear", "ears", "eye", "eyes", "face", "iac", "iacs", "sinus", "sinuses"}
"""Whole words for the same: other words begin like them."""

_HEAD_SIGNS = "头頭脑脳腦颅顱머뇌"
"""Letters of words for the same in Chinese, Japanese and Korean."""

_OTHER_BONES = ("femor", "femur", "humer", "radial", "radius", "tibia", "fibul", "metatars")
"""Bones that have a head too."""

_ELSEWHERE = (
    "abdomen", "ankle", "aorta", "arm", "bladder", "breast", "cervical spine", "chest", "clavicle", "cspine", "elbow",
    "extremity", "femur", "finger", "foot", "forearm", "hand", "heart", "hip", "humerus", "kidney", "knee", "leg",
    "liver", "lspine", "lumbar spine", "neck", "pancreas", "pelvis", "prostate", "rectum", "sacrum", "shoulder",
    "spine", "tspine", "thigh", "thoracic spine", "thorax", "toe", "uterus", "wrist",
)  # fmt: skip
"""Parts of the body that a sentence may name; any other text may have been typed by anybody."""


@dataclass(frozen=True)
class Subject:
    """What a header says of whom and what an image shows, without an age or a date.

    Attributes:
        under_age: Whether the patient was under 18 when scanned; False where nothing is said.
        body_part: `BodyPartExamined`, unchanged; never shown.
        burned_in: Whether text is burned into the image.
    """

    under_age: bool = False
    body_part: str = ""
    burned_in: bool = False


def is_under_age(age: str, birth: str, day: str) -> bool:
    """Whether a patient is under 18, by the age (`017Y`, `30M`, `12`), else by dates (YYYYMMDD, or their beginning).

    Where only the year or the month of birth is known, the youngest that the patient can be counts. False where neither
    can be read.
    """
    if (years := _years(age)) is not None:
        return years < ADULT_YEARS
    born, then = ("".join(letter for letter in text if letter.isdigit())[:8] for text in (birth, day))
    if len(born) < 4 or len(then) < 8 or int(born[:4]) == 0:
        return False
    born = born + "1231"[len(born) - 4 :]
    return 0 <= int(then) - int(born) < ADULT_YEARS * 10000


def _years(age: str) -> float | None:
    """An age in years; None where it cannot be read."""
    match = _AGE.match(age.upper())
    return float(match[1]) * _IN_YEARS[match[2]] if match else None


def shows_another_part(body_part: str) -> bool:
    """Whether a header names a part of the body, and it is not the head; False where nothing is said."""
    plain = _plain(body_part)
    if plain.replace(" ", "") in _NOTHING_SAID:
        return False
    words = plain.split()
    if any(word.startswith(_OTHER_BONES) for word in words):
        return True
    return not any(_of_the_head(word) for word in words)


def _of_the_head(word: str) -> bool:
    return word.startswith(_HEAD_STEMS) or word in _HEAD_WORDS or not set(word).isdisjoint(_HEAD_SIGNS)


def _plain(text: str) -> str:
    """Lower case, without accents, its words divided by single spaces."""
    apart = unicodedata.normalize("NFKD", text.lower().replace("_", " ").replace("ł", "l"))
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFC", bare)))


def subject_of_all(subjects: Iterable[Subject]) -> Subject:
    """What the files of one scan say together: a warning of one of them is enough."""
    everyone = list(subjects)
    parts = [one.body_part for one in everyone if one.body_part]
    return Subject(
        under_age=any(one.under_age for one in everyone),
        body_part=next((part for part in parts if shows_another_part(part)), parts[0] if parts else ""),
        burned_in=any(one.burned_in for one in everyone),
    )


def cautions_of(subjects: Mapping[str, Subject], under_age: bool = False) -> tuple[Caution, ...]:
    """What must be said first of the scans that are used.

    Args:
        subjects: Of these scans, by their names for people.
        under_age: Whether another scan of the same patient says that the patient was under 18.
    """
    cautions = []
    if under_age or any(subject.under_age for subject in subjects.values()):
        cautions.append(Caution("age", "the patient is under 18; the models learned from adults"))
    for label, subject in subjects.items():
        if shows_another_part(subject.body_part):
            cautions.append(Caution("body part", f"{label}: its header says {_part(subject.body_part)}, not the head"))
    for label, subject in subjects.items():
        if subject.burned_in:
            said = (
                "text is burned into the image, by its header, and may name the patient: look at the scan before you "
                "pass on anything that shows it; lacunet's pages show no picture of this case"
            )
            cautions.append(Caution("burned-in text", f"{label}: {said}"))
    return tuple(cautions)


def _part(body_part: str) -> str:
    """The part in words of a fixed list."""
    plain = _plain(body_part)
    return f"that it shows the {plain}" if plain in _ELSEWHERE else "that it shows another part of the body"
