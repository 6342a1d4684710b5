"""A folder, or a manifest, -> cases. Only names are read here, no voxels.

What a file is follows from its name: `<case>_t1ce.nii.gz`, `<case>-t2f.nii.gz`, `VSD.Brain.XX.O.MR_T1c.123.mha`,
or plainly `flair.nii.gz` in a folder that names the case. `docs/data.md` shows every layout.
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.labels import known_convention
from lacunet.errors import DataError, UsageError
from lacunet.task import GLIOMA, Task

SUFFIXES = (".nii.gz", ".nii", ".mha")
REFERENCE_WORDS = ("seg", "segm", "segmentation")
REFERENCE = "reference"
SEPARATORS = "_-. "

_VSD = re.compile(r"^vsd\.brain.*?\.(?:mr_(?P<word>[a-z0-9]+)|(?P<truth>ot))\.[^.]+$", re.IGNORECASE)
_BIDS = re.compile(
    r"^(?P<stem>sub-[^_]+(?:_ses-[^_]+)?)(?P<entities>(?:_[a-z]+-[^_]+)*)_(?P<word>[^_]+)$", re.IGNORECASE
)
_PERSONS = (
    re.compile(r"^(sub-[^_]+)_ses-[^_]+$", re.IGNORECASE),
    re.compile(r"^(brats1[789]_.+)_\d+$", re.IGNORECASE),
    re.compile(r"^(brats_.*pat\d+)_\d+$", re.IGNORECASE),
    re.compile(r"^(.+-\d{3,})-\d{3}$"),
)
_FAMILY_WORDS = {
    "brats2018": ("_", {"t1", "t1ce", "t2", "flair"}),
    "brats2023": ("-", {"t1n", "t1c", "t2w", "t2f"}),
}


@dataclass(frozen=True)
class _Found:
    """One file whose name is understood: `role` is a modality or `reference`; `family` is None for a reference."""

    path: Path
    home: Path
    stem: str
    role: str
    family: str | None


def find_cases(source: Path, task: Task = GLIOMA, labels: str | None = None) -> list[CaseFiles]:
    """The cases in a folder (a case, a folder of cases, an MSD task) or in a manifest.csv, sorted by name.

    The label convention of a case is known here only where its place states it (`labels`, a manifest's column,
    the dataset.json of an MSD folder, BraTS 2013 names); `labels.with_conventions` decides the others.

    Args:
        source: A folder, or a .csv file.
        task: Says which modalities there are and what they are called.
        labels: The convention of all references, by name. A manifest's column is more particular and wins.

    Raises:
        DataError: nothing is there, two files claim one place, or two cases have one name.
        UsageError: `labels` is no convention of the task.
    """
    if labels is not None:
        known_convention(labels, task)
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder")
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise DataError(
                f"{source}: is a file; give its folder, a manifest.csv, or one file per sequence (--t1c FILE)"
            )
        cases = _from_manifest(source, task, labels)
    elif (source / "manifest.csv").is_file():
        cases = _from_manifest(source / "manifest.csv", task, labels)
    elif (source / "imagesTr").is_dir() or (source / "dataset.json").is_file():
        cases = _from_msd(source, task, labels)
    else:
        cases = _from_names(source, task, labels)
    if not cases:
        raise DataError(f"{source}: no scans found; {_known_names(task)}")
    _refuse_duplicates(cases)
    return sorted(cases, key=lambda case: case.name)


def case_from_files(
    files: Mapping[str, Path], name: str, task: Task = GLIOMA, reference: Path | None = None, labels: str | None = None
) -> CaseFiles:
    """A case from one file per modality, as `--t1c FILE --t2f FILE` gives it."""
    images: dict[str, ImageFile] = {}
    for word, path in files.items():
        modality = task.modality(word)
        if modality in images:
            raise DataError(f"{images[modality].path} and {path}: both are given as {modality}; give one")
        images[modality] = ImageFile(_existing(path))
    if not images:
        raise DataError(f"{name}: no scan given; give at least one of {', '.join(task.modalities)}")
    mask = ImageFile(_existing(reference)) if reference is not None else None
    convention = known_convention(labels, task) if labels and mask else None
    return CaseFiles(name, person_of(name), _in_order(images, task), mask, "files", convention)


def person_of(case_name: str) -> str:
    """Whose case it is, from the naming rules of BraTS and BIDS: `BraTS-GLI-00000-000` -> `BraTS-GLI-00000`."""
    for pattern in _PERSONS:
        if match := pattern.match(case_name):
            return match.group(1)
    return case_name


# ---------------------------------------------------------------- names


def _from_names(source: Path, task: Task, labels: str | None) -> list[CaseFiles]:
    groups: dict[tuple[Path, str], list[_Found]] = defaultdict(list)
    for path in _image_files(source):
        if found := _understand(path, task):
            groups[found.home, found.stem.lower()].append(found)
    _adopt_lone_references(groups)
    return [_case_of(found, task, labels) for found in groups.values()]


def _image_files(folder: Path) -> Iterator[Path]:
    """Files of image formats below a folder, hidden ones left out, symbolic links followed (each folder once)."""
    seen: set[Path] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        if here.resolve() in seen:
            continue
        seen.add(here.resolve())
        for path in sorted(here.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                waiting.append(path)
            elif path.name.lower().endswith(SUFFIXES):
                yield path


def _bare(name: str) -> str:
    """The name without the suffix of its format."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _understand(path: Path, task: Task) -> _Found | None:
    """What a file is, or None when its name says nothing to us."""
    name = _bare(path.name)
    home = path.parent.parent if path.parent.name in (path.name, name) else path.parent
    if match := _VSD.match(name):
        if match["truth"]:
            return _Found(path, home, home.name, REFERENCE, None)
        modality = _modality(match["word"], task)
        return _Found(path, home, home.name, modality, "brats2013") if modality else None
    if (match := _BIDS.match(name)) and (role := _bids_role(match["entities"], match["word"], task)):
        return _Found(path, home, match["stem"], role, "bids" if role != REFERENCE else None)
    return _by_last_word(path, home, name, task)


def _by_last_word(path: Path, home: Path, name: str, task: Task) -> _Found | None:
    words = sorted({*task.modalities, *task.aliases, *REFERENCE_WORDS}, key=len, reverse=True)
    lower = name.lower()
    for word in words:
        rest = name[: len(name) - len(word)]
        if not lower.endswith(word) or (rest and rest[-1] not in SEPARATORS):
            continue
        stem = rest.rstrip(SEPARATORS) or home.resolve().name
        if word in REFERENCE_WORDS:
            return _Found(path, home, stem, REFERENCE, None)
        return _Found(path, home, stem, task.modality(word), _family(rest[-1:], word))
    return None


def _family(separator: str, word: str) -> str:
    for family, (mark, words) in _FAMILY_WORDS.items():
        if separator == mark and word in words:
            return family
    return "plain"


def _bids_role(entities: str, word: str, task: Task) -> str | None:
    """BIDS says contrast agent by an entity: `_ce-gadolinium_T1w` is T1ce, `_T1w` is T1."""
    if word.lower() == "t1w":
        return _modality("t1c" if "_ce-" in entities.lower() else "t1n", task)
    if entities and word.lower() in ("t2w", "flair"):
        return _modality(word, task)
    return None


def _modality(word: str, task: Task) -> str | None:
    try:
        return task.modality(word)
    except UsageError:
        return None


def _adopt_lone_references(groups: dict[tuple[Path, str], list[_Found]]) -> None:
    """A folder with one case and one reference of another name is that case's (BraTS20_Training_355 is so)."""
    for home in {home for home, _ in groups}:
        keys = [key for key in groups if key[0] == home]
        with_scans = [key for key in keys if any(found.role != REFERENCE for found in groups[key])]
        lone = [key for key in keys if key not in with_scans]
        if len(with_scans) == 1 and len(lone) == 1:
            groups[with_scans[0]].extend(groups.pop(lone[0]))


def _case_of(group: list[_Found], task: Task, labels: str | None) -> CaseFiles:
    files: dict[str, Path] = {}
    for found in group:
        if found.role in files:
            raise DataError(
                f"{files[found.role]} and {found.path.name}: two files for one place ({found.role}) of case "
                f"{found.stem}; keep one, or name the right one in a manifest.csv"
            )
        files[found.role] = found.path
    reference = files.pop(REFERENCE, None)
    if not files:
        raise DataError(f"{reference}: a reference mask without any scan beside it; {_known_names(task)}")
    scans = [found for found in group if found.family]
    families = {found.family for found in scans}
    family = str(families.pop()) if len(families) == 1 else "mixed"
    convention = (labels or ("brats2013" if family == "brats2013" else None)) if reference else None
    images = {modality: ImageFile(path) for modality, path in files.items()}
    mask = ImageFile(reference) if reference else None
    name = scans[0].stem
    return CaseFiles(name, person_of(name), _in_order(images, task), mask, family, convention)


# ---------------------------------------------------------------- Medical Segmentation Decathlon


def _from_msd(source: Path, task: Task, labels: str | None) -> list[CaseFiles]:
    """4-D files: which volume is which modality is read from dataset.json, never assumed."""
    description = source / "dataset.json"
    if not description.is_file() or not (source / "imagesTr").is_dir():
        raise DataError(
            f"{source}: looks like a Medical Segmentation Decathlon folder, but not wholly; it needs both "
            "dataset.json, which gives the order of the channels, and imagesTr; for other layouts move these away"
        )
    if others := [path for path in source.iterdir() if path.is_dir() and _understood_below(path, task)]:
        raise DataError(
            f"{source}: has dataset.json and imagesTr, and {others[0].name} with scans named as in BraTS; "
            "which one is meant is unclear: give that folder itself"
        )
    try:
        fields = json.loads(description.read_text(encoding="utf-8"))
        channels = _msd_channels(fields, task, description)
    except (ValueError, AttributeError) as error:
        raise DataError(f"{description}: cannot be read as a description of a data set ({error})") from error
    convention = labels or _msd_convention(fields)
    return [
        _msd_case(path, source / "labelsTr", channels, convention, task)
        for path in sorted((source / "imagesTr").iterdir())
        if not path.name.startswith(".") and path.name.lower().endswith((".nii.gz", ".nii"))
    ]


def _understood_below(folder: Path, task: Task) -> bool:
    if folder.name.startswith(".") or folder.name.lower() in ("imagestr", "imagests", "labelstr"):
        return False
    return any(_understand(path, task) for path in _image_files(folder))


def _msd_channels(fields: Any, task: Task, description: Path) -> dict[str, int]:
    names = fields.get("modality") or fields.get("channel_names")
    if not names:
        raise DataError(
            f"{description}: has neither 'modality' nor 'channel_names'; the order of the channels is unknown"
        )
    channels: dict[str, int] = {}
    for number, word in names.items():
        modality = _modality("t1n" if str(word).lower() == "t1w" else str(word), task)
        if modality is None:
            raise DataError(f"{description}: channel {number} is '{word}', which is no modality of {task.name}")
        if modality in channels:
            raise DataError(f"{description}: channels {channels[modality]} and {number} are both {modality}")
        channels[modality] = int(number)
    return channels


def _msd_convention(fields: Any) -> str | None:
    """From the label names of dataset.json, in either direction of its two versions; None when they do not tell."""
    values: dict[str, int] = {}
    for key, value in (fields.get("labels") or {}).items():
        number, words = (key, value) if str(key).isdigit() else (value, key)
        if isinstance(number, str | int) and isinstance(words, str):
            values[words.lower()] = int(number)
    oedema = [value for words, value in values.items() if "edema" in words]
    enhancing = [value for words, value in values.items() if "enhancing" in words and "non" not in words]
    by_values = {(1, 3): "nnunet", (2, 3): "brats2023", (2, 4): "brats2018"}
    return by_values.get((oedema[0], enhancing[0])) if oedema and enhancing else None


def _msd_case(
    path: Path, labels_folder: Path, channels: Mapping[str, int], convention: str | None, task: Task
) -> CaseFiles:
    name = _bare(path.name)
    references = [labels_folder / f"{name}{suffix}" for suffix in (".nii.gz", ".nii")]
    reference = next((ImageFile(mask) for mask in references if mask.is_file()), None)
    images = {modality: ImageFile(path, volume) for modality, volume in channels.items()}
    return CaseFiles(
        name, person_of(name), _in_order(images, task), reference, "msd", convention if reference else None
    )


# ---------------------------------------------------------------- manifest


def _from_manifest(manifest: Path, task: Task, labels: str | None) -> list[CaseFiles]:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            columns = _manifest_columns(reader.fieldnames or [], manifest, task)
            return [_manifest_case(row, columns, manifest, task, labels) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: cannot be read as CSV in UTF-8 ({error})") from error


def _manifest_columns(header: Iterable[str], manifest: Path, task: Task) -> dict[str, str]:
    """Header as written -> what the column is: case, person, reference, convention or a modality."""
    columns: dict[str, str] = {}
    for written in header:
        word = (written or "").strip().lower()
        meaning = word if word in ("case", "person", REFERENCE, "convention") else _modality(word, task)
        if meaning is None:
            known = f"case, person, {', '.join(task.modalities)}, reference, convention"
            raise DataError(f"{manifest}: unknown column '{written}'; known: {known}")
        if meaning in columns.values():
            raise DataError(f"{manifest}: two columns for {meaning}; keep one")
        columns[written] = meaning
    if "case" not in columns.values():
        raise DataError(f"{manifest}: has no column 'case'")
    return columns


def _manifest_case(
    row: Mapping[str | None, str | None], columns: Mapping[str, str], manifest: Path, task: Task, labels: str | None
) -> CaseFiles:
    cells = {meaning: (row.get(written) or "").strip() for written, meaning in columns.items()}
    name = cells["case"]
    if not name:
        raise DataError(f"{manifest}: a row has no case name")
    paths = {
        meaning: ImageFile(_existing(manifest.parent / cells[meaning], f"{manifest}: case {name}: "))
        for meaning in (*task.modalities, REFERENCE)
        if cells.get(meaning)
    }
    reference = paths.pop(REFERENCE, None)
    if not paths:
        raise DataError(f"{manifest}: case {name} has no scan; give at least one of {', '.join(task.modalities)}")
    convention = cells.get("convention") or labels
    if convention is not None:
        known_convention(convention, task, f"{manifest}: case {name}: ")
    person = cells.get("person") or person_of(name)
    return CaseFiles(name, person, _in_order(paths, task), reference, "manifest", convention if reference else None)


# ---------------------------------------------------------------- common


def _in_order(images: Mapping[str, ImageFile], task: Task) -> dict[str, ImageFile]:
    return {modality: images[modality] for modality in task.modalities if modality in images}


def _existing(path: Path, where: str = "") -> Path:
    if not path.is_file():
        raise DataError(f"{where}{path}: there is no such file")
    return path


def _refuse_duplicates(cases: list[CaseFiles]) -> None:
    places: dict[str, Path] = {}
    for case in cases:
        place = next(iter(case.images.values())).path
        if case.name in places:
            raise DataError(f"two cases are called {case.name}: {places[case.name]} and {place}; rename one")
        places[case.name] = place


def _known_names(task: Task) -> str:
    words = ", ".join(task.modalities)
    return (
        f"known names are <case>-t1n.nii.gz or <case>_t1.nii.gz with {words} or their other spellings "
        f"({', '.join(sorted(task.aliases))}), BraTS 2013 .mha, an MSD folder, or a manifest.csv"
    )
