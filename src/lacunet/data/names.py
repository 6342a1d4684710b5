"""What a file is, by its name alone: `<case>_t1ce.nii.gz`, `<case>-t2f.nii.gz`, `VSD.Brain.XX.O.MR_T1c.123.mha`,
or just `flair.nii.gz` in a folder that names the case. `docs/data.md` shows every layout.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lacunet.case import ImageFile
from lacunet.errors import DataError, UsageError
from lacunet.task import Task

SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd", ".mgz", ".mgh.gz", ".mgh", ".hdr.gz", ".hdr")
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
class NamedFile:
    """A file whose name is understood: `role` is a modality or `reference`; `family` is None for a reference."""

    path: Path
    home: Path
    stem: str
    role: str
    family: str | None


def person_of(case_name: str) -> str:
    """Whose case it is, from the naming rules of BraTS and BIDS: `BraTS-GLI-00000-000` -> `BraTS-GLI-00000`."""
    for pattern in _PERSONS:
        if match := pattern.match(case_name):
            return match.group(1)
    return case_name


def image_files(folder: Path) -> Iterator[Path]:
    """Files of image formats below a folder, hidden ones left out, symbolic links followed (never in a circle).

    Raises:
        DataError: a folder cannot be opened.
    """
    yield from _below(folder, ())


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be opened ({error.strerror or error})") from error
    for path in entries:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _below(path, (*above, here))
        elif path.name.lower().endswith(SUFFIXES):
            yield path


def bare_name(name: str) -> str:
    """The name without the suffix of its format."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def understand(path: Path, task: Task) -> NamedFile | None:
    """What a file is, or None when its name is not understood."""
    name = bare_name(path.name)
    if match := _VSD.match(name):
        return _understand_vsd(path, match, task)
    home = path.parent.parent if path.parent.name in (path.name, name) else path.parent
    if (match := _BIDS.match(name)) and (role := _bids_role(match["entities"], match["word"], task)):
        return NamedFile(path, home, match["stem"], role, "bids")
    return _by_last_word(path, home, name, task)


def _understand_vsd(path: Path, match: re.Match[str], task: Task) -> NamedFile | None:
    """BraTS 2013-2015: a folder per file, the case is the folder above; `HG/0001` and `LG/0001` are two cases."""
    home = path.parent.parent if path.parent.name.lower().startswith("vsd.") else path.parent
    folder = home.resolve()
    stem = f"{folder.parent.name}_{folder.name}" if folder.name.isdigit() else folder.name
    if match["truth"]:
        return NamedFile(path, home, stem, REFERENCE, None)
    modality = modality_or_none(match["word"], task)
    return NamedFile(path, home, stem, modality, "brats2013") if modality else None


def _by_last_word(path: Path, home: Path, name: str, task: Task) -> NamedFile | None:
    words = sorted({*task.modalities, *task.aliases, *REFERENCE_WORDS}, key=len, reverse=True)
    lower = name.lower()
    for word in words:
        rest = name[: len(name) - len(word)]
        if not lower.endswith(word) or (rest and rest[-1] not in SEPARATORS):
            continue
        stem = rest.rstrip(SEPARATORS) or home.resolve().name
        if word in REFERENCE_WORDS:
            return NamedFile(path, home, stem, REFERENCE, None)
        return NamedFile(path, home, stem, task.modality(word), _family(rest[-1:], word))
    return None


def _family(separator: str, word: str) -> str:
    for family, (mark, words) in _FAMILY_WORDS.items():
        if separator == mark and word in words:
            return family
    return "plain"


def _bids_role(entities: str, word: str, task: Task) -> str | None:
    """BIDS names the contrast agent by an entity: `_ce-gadolinium_T1w` is T1ce, `_T1w` is T1."""
    words = {"T1w": "t1c" if "_ce-" in entities.lower() else "t1n", "T2w": "t2w", "FLAIR": "t2f"}
    return modality_or_none(words[word], task) if word in words else None


def modality_or_none(word: str, task: Task) -> str | None:
    """The modality that a word means, or None where it is not a known name of a sequence."""
    try:
        return task.modality(word)
    except UsageError:
        return None


def in_task_order(images: Mapping[str, ImageFile], task: Task) -> dict[str, ImageFile]:
    """Images in the task's order of modalities."""
    return {modality: images[modality] for modality in task.modalities if modality in images}


def existing_file(path: Path, where: str = "") -> Path:
    """The path itself; DataError where there is no such file."""
    if not path.is_file():
        raise DataError(f"{where}{path}: there is no such file")
    return path


def known_names(task: Task) -> str:
    """What the user is told when no file name is understood."""
    words = ", ".join(task.modalities)
    return (
        f"known names are <case>-t1n.nii.gz or <case>_t1.nii.gz with {words} or their other spellings "
        f"({', '.join(sorted(task.aliases))}), BraTS 2013 .mha, an MSD folder, or a manifest.csv"
    )
