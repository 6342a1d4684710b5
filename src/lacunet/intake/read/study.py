"""From many files to one patient, one study and its series. Other studies and files are left out, with a reason."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lacunet.data.sequences import OTHER
from lacunet.errors import DataError, UsageError
from lacunet.intake.found import LeftOut
from lacunet.intake.identify.clues import Clues, guess
from lacunet.intake.read.dataset import UnreadableFile
from lacunet.intake.read.header import Header, looks_like_dicom, read_header, require_pydicom
from lacunet.intake.read.kinds import why_not
from lacunet.intake.read.neighbours import with_neighbours
from lacunet.intake.read.series import Series, counted, group
from lacunet.task import Task

MOST_SLICES = 2**19
"""Slices of all files together; no examination has so many."""

MOST_PERSONS = 20
"""Persons that are told apart; where there are more, it is said that there are more."""


@dataclass(frozen=True)
class Pile:
    """The headers of many files, and the files that have none.

    Attributes:
        headers: Of all DICOM files that could be read and hold an image or a document.
        damaged: Reason -> number of files.
        others: Files that are not DICOM.
        directories: Number of DICOMDIR files, which are lists, not images.
    """

    headers: tuple[Header, ...]
    damaged: Counter[str] = field(default_factory=Counter)
    others: tuple[Path, ...] = ()
    directories: int = 0


@dataclass(frozen=True)
class Study:
    """One examination. `date` (YYYY-MM-DD) is shown only where the user must choose between studies."""

    uid: str
    date: str
    time: str
    series: tuple[Series, ...]

    @property
    def name(self) -> str:
        """`study-1a2b3c4d`, from a hash of its UID."""
        return f"study-{short_hash(self.uid)}"

    @property
    def label(self) -> str:
        """Date and name, for choosing between studies."""
        return f"{self.name} of {self.date}" if self.date else f"{self.name} (no date)"


def short_hash(uid: str) -> str:
    """Eight hexadecimal digits of SHA-256 of a UID, which cannot be computed back from them."""
    return hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()[:8]


def read_pile(files: Iterable[Path]) -> Pile:
    """Read the headers of all DICOM files; damaged ones are counted.

    Raises:
        DataError: they hold more than `MOST_SLICES` slices.
        UsageError: there are DICOM files, and pydicom is not installed.
    """
    headers: list[Header] = []
    slices = 0
    damaged: Counter[str] = Counter()
    others: list[Path] = []
    directories = 0
    for path in files:
        try:
            if not looks_like_dicom(path):
                others.append(path)
                continue
            require_pydicom()
            header = read_header(path)
        except OSError as error:
            damaged[f"cannot be opened ({error.strerror})"] += 1
        except UnreadableFile as error:
            damaged[str(error)] += 1
        else:
            directories += header is None
            headers += [header] if header is not None else []
            slices += len(header.slices) if header is not None else 0
        if slices > MOST_SLICES:
            raise DataError(f"the source: holds more than {MOST_SLICES} slices; give the folder of one examination")
    return Pile(tuple(headers), damaged, tuple(others), directories)


def require_one_person(headers: Sequence[Header]) -> None:
    """Refuse files of several persons. The message names each by a hash of a file's UID, never by name or number.

    Raises:
        DataError: the files are of several persons.
    """
    persons: list[list[Header]] = []
    for header in sorted(headers, key=lambda header: not header.person.number):
        group_of = next(
            (files for files in persons if all(header.person.may_be(one.person) for one in files[:1])), None
        )
        if group_of is None and len(persons) == MOST_PERSONS:
            raise DataError(f"the source: holds files of more than {MOST_PERSONS} patients; give the folder of one")
        if group_of is None:
            persons.append([header])
        else:
            group_of.append(header)
    if len(persons) <= 1:
        return
    named = sorted(
        f"patient-{short_hash(min(header.sop_instance for header in files))}: {counted(len(files), 'file', 'files')}"
        for files in persons
    )
    raise DataError(
        f"the source: holds files of {len(persons)} patients ({', '.join(named)}); give the folder of one patient "
        "(lacunet compares their numbers, names and birth dates, and shows none of these)"
    )


def studies_of(headers: Sequence[Header]) -> list[Study]:
    """The studies, newest first; those without a date last."""
    by_study: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        by_study[header.study].append(header)
    found = []
    for uid, files in by_study.items():
        date = max((header.study_date for header in files), default="")
        time = max((header.study_time for header in files), default="")
        shown = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else ""
        found.append(Study(uid, shown, time, tuple(with_neighbours(group(files)))))
    return sorted(found, key=lambda study: (study.date, study.time, study.uid), reverse=True)


def choose_study(studies: Sequence[Study], wish: str | None, task: Task) -> tuple[Study, list[LeftOut]]:
    """The study that was asked for, else the newest that has a usable scan; and why each of the others is left out.

    Raises:
        UsageError: no study, or more than one, matches `wish`.
        DataError: no study has a usable scan; the message says why.
    """
    if wish is not None:
        chosen = _wished(studies, wish)
        why = "is not the one asked for"
    else:
        usable = [study for study in studies if candidates(study, task)]
        if not usable:
            raise DataError(f"the source: holds no MR scan that can be used ({_why_none(studies, task)})")
        chosen, why = (
            usable[0],
            f"is not the newest with usable scans; --study {'DATE' if usable[0].date else 'NAME'} chooses it",
        )
    others = []
    for study in studies:
        if study is not chosen:
            scans = len(candidates(study, task))
            reason = why if scans or wish is not None else "has no MR scan that can be used"
            others.append(LeftOut(f"{study.label}, {counted(len(study.series), 'series', 'series')}", reason))
    return chosen, others


def _wished(studies: Sequence[Study], wish: str) -> Study:
    digits = "".join(letter for letter in wish if letter.isdigit())
    names = {study.uid: (study.uid, study.name, study.name.removeprefix("study-")) for study in studies}
    found = [
        study for study in studies if wish in names[study.uid] or (study.date and study.date.replace("-", "") == digits)
    ]
    known = ", ".join(study.label for study in studies)
    if not found:
        raise UsageError(f"--study: no such study; there are {known}")
    if len(found) > 1:
        raise UsageError(f"--study: several studies of that date; name one: {', '.join(study.name for study in found)}")
    return found[0]


def candidates(study: Study, task: Task) -> list[Series]:
    """The series of a study that may be one of the sequences, by their headers alone."""
    return [
        series for series in study.series if why_not(series) is None and guess(clues_of(series), task).modality != OTHER
    ]


def reason_against(series: Series, task: Task) -> str | None:
    """Why a series is left out before it is converted, or None."""
    if reason := why_not(series):
        return reason
    found = guess(clues_of(series), task)
    return found.reason if found.modality == OTHER else None


def _why_none(studies: Sequence[Study], task: Task) -> str:
    """The reasons against all series, the most frequent first, in one line."""
    reasons = Counter(reason_against(series, task) or "" for study in studies for series in study.series)
    said = [f"{counted(count, 'series', 'series')}: {reason}" for reason, count in reasons.most_common(6)]
    return "; ".join(said) or "no series at all"


def clues_of(series: Series) -> Clues:
    """Clues about the sequence of a series, from its headers."""
    first = series.first
    times = [header.time for header in series.headers if header.time is not None]
    return Clues(
        texts=first.texts,
        repetition=first.repetition_ms,
        echo=series.slices[0].echo_ms,
        inversion=first.inversion_ms,
        flip=first.flip,
        sequence=first.sequence,
        agent=first.agent,
        time=min(times) if times else None,
        image_type=(*first.image_type, *first.acquired),
    )
