"""Finds visits among NIfTI files: a BIDS data set, dcm2niix's output with sidecars, or files named after sequences."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacunet.data.groups import Group, grouped, is_scan
from lacunet.data.names import ESTIMATE, MASK, REFERENCE, SUFFIXES, NamedFile, bare_name, read_name
from lacunet.data.pseudonyms import is_pseudonym
from lacunet.data.sequences import OTHER, sequence_named
from lacunet.intake.identify.clues import Clues
from lacunet.task import Task

LARGEST_SIDECAR = 2**20
_BIDS_NAME = re.compile(r"^(sub-[A-Za-z0-9]+)(?:_(ses-[A-Za-z0-9]+))?_", re.ASCII)


@dataclass(frozen=True)
class LooseFile:
    """One NIfTI file with the content of its name and sidecar.

    Attributes:
        number: Its place in the order of the names.
        path: The file.
        clues: What its name and its sidecar say.
        sidecar: The content of its sidecar.
        source: `bids` or `nifti`.
        text: What its name says of the sequence; may hold a patient's name.
        reason: Why it is no scan by its name; "" where it may be one.
    """

    number: int
    path: Path
    clues: Clues
    sidecar: Mapping[str, Any]
    source: str
    text: str
    reason: str = ""


@dataclass(frozen=True)
class LooseVisit:
    """The files of one person at one visit.

    Attributes:
        name: A name that may be shown; None: its own name may be a patient's.
        own: Its own name: the stem of its files, or the name of its folder.
        files: In the order of their paths.
        question: Whether there is a doubt that these are the files of one person; the user must decide.
    """

    name: str | None
    own: str
    files: tuple[LooseFile, ...]
    question: bool = False


def is_image(path: Path) -> bool:
    """Whether a file's name has the suffix of a format that is read here."""
    return path.name.lower().endswith(SUFFIXES)


def loose_visits(paths: Sequence[Path], task: Task) -> tuple[list[LooseVisit], list[LooseFile]]:
    """The visits among image files, by the grouping that every command uses; and the files that belong to none.

    A visit has at least one file that may be a scan.
    """
    images = [path for path in paths if is_image(path)]
    numbers = {path: number for number, path in enumerate(images, 1)}
    groups, reasons = grouped(images, task)
    visits, aside = [], [_file(numbers[path], read_name(path, task), reason) for path, reason in reasons.items()]
    for group in groups:
        visit = _visit_of(group, numbers)
        if all(one.reason for one in visit.files):
            aside += visit.files
        else:
            visits.append(visit)
    return visits, aside


def loose_files(paths: Sequence[Path], task: Task) -> list[LooseFile]:
    """Image files one by one, numbered in the order of their names."""
    return [_file(number, read_name(path, task)) for number, path in enumerate(filter(is_image, paths), 1)]


def _visit_of(group: Group, numbers: Mapping[Path, int]) -> LooseVisit:
    files = tuple(_file(numbers[found.path], found) for found in group.files)
    bids = any(_BIDS_NAME.match(found.path.name) for found in group.files)
    name = group.name if bids else _public(group.name) or _public(group.home.name)
    return LooseVisit(name, group.name, files, bool(group.question))


def _file(number: int, found: NamedFile, aside: str = "") -> LooseFile:
    sidecar = _sidecar(found.path)
    role = found.role if found.exact and is_scan(found) else None
    source = "bids" if _BIDS_NAME.match(found.path.name) else "nifti"
    said = (sidecar.get(name) for name in ("SeriesDescription", "ProtocolName"))
    described = tuple(text for text in said if isinstance(text, str))
    named = sequence_named(found.text)  # a map may have the sidecar of the scan that it was calculated from
    texts = (found.text, *described) if named and named.sequence == OTHER else (*described, found.text)
    reason = aside or _no_scan_by_name(found)
    return LooseFile(number, found.path, _clues(texts, role, sidecar), sidecar, source, found.text, reason)


def _no_scan_by_name(found: NamedFile) -> str:
    """Why a file is no scan, where its name alone tells; a sidecar or the image may tell more of the others."""
    if found.role == REFERENCE:
        return "is a mask by its name"
    return found.reason if found.role in (MASK, ESTIMATE) else ""


def _public(name: str) -> str | None:
    """The name itself, where it is a pseudonym with a number: `scans` or `b` could be anybody's."""
    return name if is_pseudonym(name) and any(letter.isdigit() for letter in name) else None


def _sidecar(path: Path) -> Mapping[str, Any]:
    """The content of the JSON file beside an image; empty where there is none, or it cannot be read."""
    beside = path.with_name(bare_name(path.name) + ".json")
    try:
        if not beside.is_file() or beside.stat().st_size > LARGEST_SIDECAR:
            return {}
        said = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _clues(texts: tuple[str, ...], role: str | None, sidecar: Mapping[str, Any]) -> Clues:
    """Clues from a name and a sidecar, which gives times in seconds."""

    def ms(name: str) -> float | None:
        value = sidecar.get(name)
        return value * 1000.0 if isinstance(value, int | float) and 0 < value < 100 else None

    agent = sidecar.get("ContrastBolusIngredient")
    sequence, types = sidecar.get("ScanningSequence"), sidecar.get("ImageType")
    return Clues(
        texts=texts,
        role=role,
        repetition=ms("RepetitionTime"),
        echo=ms("EchoTime"),
        inversion=ms("InversionTime"),
        sequence=tuple(re.split(r"[^A-Z]+", sequence.upper())) if isinstance(sequence, str) else (),
        agent=str(agent).upper() not in ("", "NONE", "NO") if isinstance(agent, str) else None,
        time=_time(sidecar),
        image_type=tuple(str(word).upper() for word in types) if isinstance(types, list) else (),
    )


def _time(sidecar: Mapping[str, Any]) -> float | None:
    value = sidecar.get("AcquisitionTime")
    match = re.match(r"^(\d\d):(\d\d):(\d\d(?:\.\d+)?)", value) if isinstance(value, str) else None
    return float(match[1]) * 10000 + float(match[2]) * 100 + float(match[3]) if match else None
