"""What a file is, by its name alone: `<case>_t1ce.nii.gz`, `<case>-t2f.nii.gz`, `VSD.Brain.XX.O.MR_T1c.123.mha`,
`p01_T1_AX_POST.nii.gz`, or just `flair.nii.gz` in a folder that names the case. `docs/data.md` shows every layout.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lacunet.case import ImageFile
from lacunet.data.agent import says_agent
from lacunet.data.masks import is_tumour_mask, names_mask
from lacunet.data.sequences import OTHER, T1, is_sequence_word, sequence_named
from lacunet.errors import DataError, UsageError
from lacunet.task import Task

SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd", ".mgz", ".mgh.gz", ".mgh", ".hdr.gz", ".hdr")
REFERENCE = "reference"
MASK = "mask"
ESTIMATE = "estimate"
NO_SCANS = (REFERENCE, MASK, ESTIMATE)
SEPARATORS = "_-. "

_REFERENCE_WORDS = ("seg", "segm", "segmentation")
_OWN_RESULT = re.compile(r"desc-lacunet|-mask-on-[a-z0-9]+$|-probability-[a-z]+$|^(?P<case>.+)-mask$", re.IGNORECASE)
_VSD = re.compile(r"^vsd\.brain.*?\.(?:mr_(?P<word>[a-z0-9]+)|(?P<truth>ot))\.[^.]+$", re.IGNORECASE)
_BIDS = re.compile(
    r"^(?P<stem>sub-[^_]+(?:_ses-[^_]+)?)(?P<entities>(?:_[a-z0-9]+-[^_]+)*)_(?P<word>[^_]+)$", re.IGNORECASE
)
_BIDS_STEM = re.compile(r"^(sub-[^_]+(?:_ses-[^_]+)?)_", re.IGNORECASE)
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
_PUBLIC_FAMILIES = ("ucsf-pdgm", "upenn-gbm")


@dataclass(frozen=True)
class NamedFile:
    """What the name of an image file says.

    Attributes:
        path: The file.
        home: The folder whose files are named together: the file's own, or the one above a folder per sequence.
        stem: What is left of the name without the words about the sequence; "" where nothing is left.
        role: A modality; `t1` where contrast agent is not told; `reference` (may be the tumour's mask); `mask` (is no
            scan, nor the tumour's mask); `estimate` (of `lacunet complete`); None where the name tells no sequence of
            the task.
        family: The naming family; None for masks and where the role is None.
        exact: Whether the name follows a known scheme word by word; False where several words were put together.
        reason: Why the file is no scan of the task, where the role is `mask`, `estimate` or None.
        text: What was read: the name without the case of BIDS, or the folder's name and the file's.
    """

    path: Path
    home: Path
    stem: str
    role: str | None
    family: str | None = None
    exact: bool = False
    reason: str = ""
    text: str = ""


def person_of(case_name: str) -> str:
    """Whose case it is, from the naming rules of BraTS and BIDS: `BraTS-GLI-00000-000` -> `BraTS-GLI-00000`."""
    for pattern in _PERSONS:
        if match := pattern.match(case_name):
            return match.group(1)
    return case_name


def bare_name(name: str) -> str:
    """The name without the suffix of its format."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def read_name(path: Path, task: Task) -> NamedFile:
    """What the name of an image file says; the one reading of names for every command."""
    name = bare_name(path.name)
    bids = _BIDS_STEM.match(name)
    return replace(_read(path, name, bids[1] if bids else "", task), text=name[bids.end() :] if bids else name)


def _read(path: Path, name: str, bids: str, task: Task) -> NamedFile:
    if (match := _VSD.match(name)) and (found := _read_vsd(path, match, task)):
        return found
    home = path.parent.parent if path.parent.name in (path.name, name) else path.parent
    if bids:
        return _read_bids(path, _bids_root(path), name, bids, task)
    if name.lower().endswith("-synthetic"):
        return NamedFile(path, home, name, ESTIMATE, reason="is an estimate by its name, not a scan")
    if match := _OWN_RESULT.search(name):
        return NamedFile(path, home, match["case"] or name, MASK, reason="is a result of lacunet by its name")
    if names_mask(name):
        return _read_mask(path, home, name)
    return _by_last_word(path, home, name, task) or _by_words(path, home, name, name, task)


def in_sequence_folder(found: NamedFile, task: Task) -> NamedFile:
    """The same file where its folder is one of a folder per sequence, such as `T1_post/p01.nii.gz`."""
    folder, name = found.path.parent, bare_name(found.path.name)
    text = f"{folder.name} {name}"
    read = _by_words(found.path, folder.parent, text, name, task)
    rest = stem_by_words(folder.name) if sequence_named(folder.name) else ""
    plain = _by_last_word(found.path, folder.parent, folder.name, task)
    role = plain.role if read.role == T1 and plain else read.role
    return replace(read, stem=read.stem or rest, role=role, text=text)


def _read_vsd(path: Path, match: re.Match[str], task: Task) -> NamedFile | None:
    """BraTS 2013-2015: a folder per file, the case is the folder above; `HG/0001` and `LG/0001` are two cases."""
    home = path.parent.parent if path.parent.name.lower().startswith("vsd.") else path.parent
    folder = home.resolve()
    stem = f"{folder.parent.name}_{folder.name}" if folder.name.isdigit() else folder.name
    if match["truth"]:
        return NamedFile(path, home, stem, REFERENCE, exact=True)
    modality = modality_or_none(match["word"], task)
    return NamedFile(path, home, stem, modality, "brats2013", exact=True) if modality else None


def _bids_root(path: Path) -> Path:
    """The folder of the data set: the one above the subject's."""
    above = [folder for folder in path.parents if folder.name.lower().startswith("sub-")]
    return above[-1].parent if above else path.parent


def _read_bids(path: Path, home: Path, name: str, stem: str, task: Task) -> NamedFile:
    rest = name[len(stem) + 1 :]
    if _OWN_RESULT.search(name):
        return NamedFile(path, home, stem, MASK, reason="is a result of lacunet by its name")
    if names_mask(rest):
        return replace(_read_mask(path, home, rest), stem=stem)
    if (match := _BIDS.match(name)) and (role := _bids_role(match["entities"], match["word"], task)):
        return NamedFile(path, home, stem, role, "bids", exact=True)
    if found := _by_last_word(path, home, rest, task):
        return replace(found, stem=stem)
    return replace(_by_words(path, home, rest, rest, task), stem=stem)


def _bids_role(entities: str, word: str, task: Task) -> str | None:
    """BIDS names the contrast agent by an entity: `_ce-gadolinium_T1w` is T1ce, `_T1w` is T1, unless its other entities
    say that it was acquired after contrast agent (`_acq-post_T1w`)."""
    words = {"T1w": "t1c" if "_ce-" in entities.lower() or says_agent([entities]) else "t1n", "T2w": "t2w"}
    words["FLAIR"] = "t2f"
    if word not in words or ((named := sequence_named(entities)) and named.sequence == OTHER):
        return None
    return modality_or_none(words[word], task)


def _read_mask(path: Path, home: Path, name: str) -> NamedFile:
    """A mask: `<case>_seg` and `<case>_tumor_segmentation` may be the tumour's, `<case>_brain_mask` is not."""
    tumour = is_tumour_mask(name)
    last = next((word for word in _REFERENCE_WORDS if _ends_with(name, word)), None)
    exact = last is not None and not names_mask(rest := name[: len(name) - len(last)]) and tumour is None
    stem = rest.rstrip(SEPARATORS) if exact and not any(map(_is_of_a_sequence, words_of(rest))) else stem_by_words(name)
    if exact or tumour:
        return NamedFile(path, home, stem, REFERENCE, exact=exact)
    reason = "is a mask by its name"
    if tumour is None:
        reason += ", and the name does not say whose: of the tumour, call it <case>_seg"
    return NamedFile(path, home, stem, MASK, reason=reason)


def _ends_with(name: str, word: str) -> bool:
    """Whether a name ends with a word, alone or behind a separator."""
    rest = name[: len(name) - len(word)]
    return name.lower().endswith(word) and (not rest or rest[-1] in SEPARATORS)


def _by_last_word(path: Path, home: Path, name: str, task: Task) -> NamedFile | None:
    """The schemes of BraTS and the like: the case, a separator, a known name of a sequence."""
    lower = name.lower()
    fitting = [word for word in (*task.modalities, *task.aliases) if lower.endswith(word) and _ends_with(name, word)]
    word = max(fitting, key=len, default=None)
    if word is None:
        return None
    rest = name[: len(name) - len(word)]
    stem, role = rest.rstrip(SEPARATORS), task.modality(word)
    if role != "t1c" and any(map(_is_of_a_sequence, words_of(stem))):
        return None
    return NamedFile(path, home, stem, role, _family(stem, rest[-1:], word), exact=True)


def _by_words(path: Path, home: Path, text: str, name: str, task: Task) -> NamedFile:
    """By all words of a text together, in any order."""
    stem = stem_by_words(name)
    named = sequence_named(text)
    if named is None:
        return NamedFile(path, home, stem, None, reason="its name says no sequence")
    if named.sequence == OTHER:
        return NamedFile(path, home, stem, None, reason=f"its name says {named.what}")
    role = named.sequence
    if role == T1:
        agent = says_agent([text])
        role = T1 if agent is None else "t1c" if agent else "t1n"
        if agent is None and modality_or_none(text, task) == "t1n":
            role = "t1n"
    if role != T1 and role not in task.modalities:
        return NamedFile(path, home, stem, None, reason=f"its name says {named.what}, which {task.name} does not use")
    return NamedFile(path, home, stem, role, "plain")


def _is_of_a_sequence(word: str) -> bool:
    """Whether a word in front of a known name of a sequence belongs to it (`T2` in `p01_T2_FLAIR`), not to the case."""
    return len(word) > 1 and word not in _ALSO_NAMES and is_sequence_word(word)


def words_of(name: str) -> list[str]:
    """The words of a name, lower case."""
    return [word for word in re.split(r"[_\-. ()]+", name.lower()) if word]


def stem_by_words(name: str) -> str:
    """What is left of a name without the words about the sequence or the mask, joined by `_`."""
    words = [word for word in re.split(r"[_\-. ()]+", name) if word]
    first = words[:1] if words and re.fullmatch(r"[a-su-z]\d{1,3}", words[0], re.IGNORECASE) else []
    return "_".join([*first, *(word for word in words[len(first) :] if _names_case(word.lower()))])


def _names_case(word: str) -> bool:
    """False for words of the sequence, of a mask, and for those that any file may have."""
    return not (is_sequence_word(word) or word in _EMPTY_WORDS or names_mask(word))


_ALSO_NAMES = {"met", "con", "sin", "com", "sem", "med", "no", "se", "ge", "ir", "sub", "fa", "and"}
_EMPTY_WORDS = {"image", "images", "img", "scan", "vol", "volume", "file", "nii", "stripped", "tumor", "tumour"}


def _family(stem: str, separator: str, word: str) -> str:
    public = next((family for family in _PUBLIC_FAMILIES if stem.lower().startswith(f"{family}-")), None)
    if public is not None:
        return public
    for family, (mark, words) in _FAMILY_WORDS.items():
        if separator == mark and word in words:
            return family
    return "plain"


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
    """The path itself; DataError where there is no such file, or it cannot be looked for."""
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise DataError(
            f"{where}{path}: cannot be opened ({error.strerror}); check its name and its permissions"
        ) from error
    raise DataError(f"{where}{path}: there is no such file")


def known_names(task: Task) -> str:
    """What the user is told when no file name is understood."""
    words = ", ".join(task.modalities)
    return (
        f"known names are <case>-t1n.nii.gz or <case>_t1.nii.gz with {words} or their other spellings "
        f"({', '.join(sorted(task.aliases))}), BraTS 2013 .mha, an MSD folder, or a manifest.csv"
    )
