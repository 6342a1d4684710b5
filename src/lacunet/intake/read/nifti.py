"""Finds visits among NIfTI files: a BIDS data set, dcm2niix's output with sidecars, or files named after sequences."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacunet.data.names import REFERENCE, SUFFIXES, bare_name, understand
from lacunet.data.pseudonyms import is_pseudonym
from lacunet.intake.identify.clues import Clues
from lacunet.task import Task

LARGEST_SIDECAR = 2**20
_BIDS_NAME = re.compile(r"^(sub-[A-Za-z0-9]+)(?:_(ses-[A-Za-z0-9]+))?_", re.ASCII)


@dataclass(frozen=True)
class LooseFile:
    """One NIfTI file with the content of its name and sidecar."""

    number: int
    path: Path
    clues: Clues
    sidecar: Mapping[str, Any]
    source: str


@dataclass(frozen=True)
class LooseVisit:
    """The files of one person at one visit.

    Attributes:
        name: A name that may be shown; None: its own name may be a patient's.
        own: Its own name: the stem of its files, or the name of its folder.
        files: In the order of their paths.
    """

    name: str | None
    own: str
    files: tuple[LooseFile, ...]


def is_image(path: Path) -> bool:
    """Whether a file's name has the suffix of NIfTI or .mha."""
    return path.name.lower().endswith(SUFFIXES)


def loose_visits(paths: Sequence[Path], task: Task) -> list[LooseVisit]:
    """Group image files by person and visit.

    BIDS names state person and visit. Otherwise the files of one folder are one visit, unless their names are known and
    give the same modality to several cases. Where every folder holds a single file (a folder per sequence), the folder
    above is the visit.
    """
    files = [_file(number, path, task) for number, path in enumerate(paths, 1) if is_image(path)]
    found: dict[tuple[str, ...], list[LooseFile]] = defaultdict(list)
    for one in files:
        found[_visit_key(one, task)].append(one)
    found = _folder_per_sequence(found)
    visits = []
    for key, members in found.items():
        visits += _cases(key, members, task)
    return visits


def _visit_key(one: LooseFile, task: Task) -> tuple[str, ...]:
    if match := _BIDS_NAME.match(one.path.name):
        return ("bids", "_".join(part for part in match.groups() if part))
    known = understand(one.path, task)
    home = known.home if known else one.path.parent
    return ("folder", str(home))


def _folder_per_sequence(found: Mapping[tuple[str, ...], list[LooseFile]]) -> dict[tuple[str, ...], list[LooseFile]]:
    """Sibling folders of one file each are one visit."""
    merged: dict[tuple[str, ...], list[LooseFile]] = {}
    folders = {key: members for key, members in found.items() if key[0] == "folder"}
    above: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for key in folders:
        above[str(Path(key[1]).parent)].append(key)
    for key, members in found.items():
        siblings = above[str(Path(key[1]).parent)] if key[0] == "folder" else []
        alone = len(siblings) > 1 and all(len(folders[sibling]) == 1 for sibling in siblings)
        visit = ("folder", str(Path(key[1]).parent)) if alone else key
        merged.setdefault(visit, []).extend(members)
    return merged


def _cases(key: tuple[str, ...], members: Sequence[LooseFile], task: Task) -> list[LooseVisit]:
    if key[0] == "bids":
        return [LooseVisit(key[1], key[1], tuple(members))]
    stems: dict[str, list[LooseFile]] = defaultdict(list)
    for one in members:
        known = understand(one.path, task)
        stems[known.stem if known else ""].append(one)
    named = {stem: files for stem, files in stems.items() if stem}
    roles = [one.clues.role for files in named.values() for one in files if one.clues.role]
    if len(named) > 1 and len(set(roles)) < len(roles):
        return [LooseVisit(_public(stem), stem, tuple(files)) for stem, files in named.items()]
    stem, folder = next(iter(named)) if len(named) == 1 else "", Path(key[1]).name
    return [LooseVisit(_public(stem) or _public(folder), stem or folder, tuple(members))]


def _public(name: str) -> str | None:
    """The name itself, where it is a pseudonym with a number: `scans` or `b` could be anybody's."""
    return name if is_pseudonym(name) and any(letter.isdigit() for letter in name) else None


def _file(number: int, path: Path, task: Task) -> LooseFile:
    sidecar = _sidecar(path)
    known = understand(path, task)
    role = known.role if known and known.role != REFERENCE else None
    source = "bids" if _BIDS_NAME.match(path.name) else "nifti"
    texts = tuple(
        str(sidecar[name]) for name in ("SeriesDescription", "ProtocolName") if isinstance(sidecar.get(name), str)
    )
    return LooseFile(number, path, _clues((*texts, stem_of(path, source)), role, sidecar), sidecar, source)


def stem_of(path: Path, source: str) -> str:
    """A file's name without its suffix; of a `bids` file also without the subject, which names a person."""
    bare = bare_name(path.name)
    return bare if source == "nifti" else bare.split("_", 1)[1]


def is_reference(path: Path, task: Task) -> bool:
    """Whether a file is a mask by its name."""
    known = understand(path, task)
    return known is not None and known.role == REFERENCE


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
    sequence = sidecar.get("ScanningSequence")
    return Clues(
        texts=texts,
        role=role,
        repetition=ms("RepetitionTime"),
        echo=ms("EchoTime"),
        inversion=ms("InversionTime"),
        sequence=tuple(re.split(r"[^A-Z]+", sequence.upper())) if isinstance(sequence, str) else (),
        agent=str(agent).upper() not in ("", "NONE", "NO") if isinstance(agent, str) else None,
        time=_time(sidecar),
    )


def _time(sidecar: Mapping[str, Any]) -> float | None:
    value = sidecar.get("AcquisitionTime")
    match = re.match(r"^(\d\d):(\d\d):(\d\d(?:\.\d+)?)", value) if isinstance(value, str) else None
    return float(match[1]) * 10000 + float(match[2]) * 100 + float(match[3]) if match else None
