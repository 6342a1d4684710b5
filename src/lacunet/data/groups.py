"""Which files belong to one patient at one visit, by their names alone. The one grouping of every command: `segment`,
`check`, `train`, `evaluate` and `import`.

Files of one stem (`p01_T1`, `p01_T1_CE`) are one visit. Where the stems in a folder differ, it is decided by what they
are: series numbers (`004_T2`, `005_FLAIR`) are one visit, names with several sequences each are several visits. Where
that does not tell, the group has a question, and no command guesses.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lacunet.data.names import NO_SCANS, REFERENCE, NamedFile, in_sequence_folder, read_name, words_of
from lacunet.data.sequences import T1
from lacunet.task import Task

_PUBLIC_NAME = re.compile(
    r"^(?:brats[-_0-9a-z]*|brats-[a-z]+-\d+-\d+|tcga-\w\w-\w{4}|upenn-gbm-\d+_?\d*|ucsf-pdgm-\d+\w*|phantom-\d+(?:-\d+)?)$",
    re.IGNORECASE,
)

Stems = dict[str, list[NamedFile]]


@dataclass(frozen=True)
class Group:
    """The files of one patient at one visit.

    Attributes:
        home: The folder whose files are named together.
        name: The stem that its scans share, else the folder's name.
        files: In the order of their paths; scans, masks and files of unknown kind.
        question: What the user must decide, where the names do not tell whether this is one patient; "" otherwise.
    """

    home: Path
    name: str
    files: tuple[NamedFile, ...]
    question: str = ""

    @property
    def scans(self) -> tuple[NamedFile, ...]:
        """The files whose names tell a sequence."""
        return tuple(found for found in self.files if is_scan(found))


def is_scan(found: NamedFile) -> bool:
    """Whether a name tells a sequence of the task, or T1 without telling contrast agent."""
    return found.role is not None and found.role not in NO_SCANS


def is_public(name: str) -> bool:
    """Whether a name is a case of a public data set."""
    return bool(_PUBLIC_NAME.match(name))


def grouped(paths: Sequence[Path], task: Task) -> tuple[list[Group], dict[Path, str]]:
    """The groups of image files, in the order of their first path; and the files in no group, each with its reason."""
    aside = _derivatives(paths)
    by_home: dict[Path, Stems] = defaultdict(lambda: defaultdict(list))
    for found in _with_sequence_folders([read_name(path, task) for path in paths if path not in aside], task):
        by_home[found.home][found.stem.lower()].append(found)
    groups = [group for home, stems in by_home.items() for group in _groups_of(home, stems)]
    reason = "lies in a folder of derivatives, results of other programs; give that folder itself to use it"
    return sorted(groups, key=lambda group: group.files[0].path), dict.fromkeys(aside, reason)


def _derivatives(paths: Sequence[Path]) -> set[Path]:
    """The files in a BIDS data set's folder `derivatives`, where the data set itself has files too."""
    above = {home: _above_derivatives(home) for home in {path.parent for path in paths}}
    own = {folder for home, root in above.items() if root is None for folder in (home, *home.parents)}
    aside = {home for home, root in above.items() if root is not None and root in own}
    return {path for path in paths if path.parent in aside}


def _above_derivatives(home: Path) -> Path | None:
    return next((folder.parent for folder in (home, *home.parents) if folder.name == "derivatives"), None)


def _with_sequence_folders(files: Sequence[NamedFile], task: Task) -> list[NamedFile]:
    """Read the files of a folder per sequence with the folder's name: `T1_post/p01.nii.gz`."""
    by_folder: dict[Path, list[NamedFile]] = defaultdict(list)
    for found in files:
        by_folder[found.path.parent].append(found)
    whole = {folder for folder, members in by_folder.items() if _is_sequence_folder(folder, members, task)}
    around = {folder.parent for folder in whole}
    beside = {
        folder
        for folder, (first, *more) in by_folder.items()
        if folder.parent in around and not more and not first.stem
    }
    return [in_sequence_folder(found, task) if _is_part(found, whole | beside) else found for found in files]


def _is_part(found: NamedFile, sequence_folders: Collection[Path]) -> bool:
    return found.path.parent in sequence_folders and found.role not in NO_SCANS


def _is_sequence_folder(folder: Path, members: Sequence[NamedFile], task: Task) -> bool:
    """Whether a folder is named after a sequence, and no file in it names another one or follows a known scheme."""
    sequences = {found.role for found in members} - {*NO_SCANS, None}
    if len(sequences) > 1 and not sequences <= {T1, "t1n", "t1c"}:
        return False
    named = read_name(folder / folder.name, task)
    if not is_scan(named) or any(found.family == "bids" or found.home != folder for found in members):
        return False
    same = {named.role, None, *((T1, "t1n", "t1c") if named.role in (T1, "t1n", "t1c") else ())}
    return all(found.role in (same | {*NO_SCANS}) for found in members)


# ---------------------------------------------------------------- the stems of one folder


def _groups_of(home: Path, stems: Stems) -> list[Group]:
    """The groups among the files that are named together."""
    scans = {stem: files for stem, files in stems.items() if any(map(is_scan, files))}
    others = {stem: files for stem, files in stems.items() if stem not in scans}
    merged, question = _merged(scans)
    for stem, files in others.items():
        key = _owner(stem, merged)
        if key is None and not any(found.role == REFERENCE for found in files):
            key = ""
        merged.setdefault(stem if key is None else key, []).extend(files)
    if question:
        everything = [found for files in merged.values() for found in files]
        return [_group(home, everything, question)]
    return [_group(home, files) for files in merged.values()]


def _group(home: Path, files: Sequence[NamedFile], question: str = "") -> Group:
    scans = [found for found in files if is_scan(found)] or list(files)
    stems = {found.stem.lower(): found.stem for found in scans if found.stem}
    common = _common_words(list(stems.values()))
    name = next(iter(stems.values())) if len(stems) == 1 else common
    ordered = tuple(sorted(files, key=lambda found: found.path))
    return Group(home, name or home.resolve().name, ordered, question)


def _common_words(stems: Sequence[str]) -> str:
    """The words that are not numbers and that all stems share; "" where a stem has others."""
    words = [[word for word in re.split(r"[_\-. ]+", stem) if word and not word.isdigit()] for stem in stems]
    longest = max(words, key=len, default=[])
    return "_".join(longest) if all(set(one) <= set(longest) for one in words) else ""


def _merged(scans: Mapping[str, list[NamedFile]]) -> tuple[Stems, str]:
    """The stems of one folder, those of one visit put together; and the question where this cannot be told.

    Beside a file that is named by its sequence alone (`FLAIR`), the folder names the case, and what other names add
    (`T2_new`) does not.
    """
    kept = {stem: list(files) for stem, files in scans.items()}
    members = [found for files in scans.values() for found in files]
    if len(scans) < 2 or any(is_public(stem) or stem.startswith("sub-") for stem in scans):
        return kept, ""
    sequences = {found.role for found in members}
    different = len(sequences) == len(members)
    one_each = len(scans) == len(members)
    in_words = len(sequences) > 1 and not all(found.exact for found in members)
    folder_names_it = "" in scans and one_each
    if folder_names_it or (_is_one_visit(list(scans), one_each) and (different or (one_each and in_words))):
        return {"": members}, ""
    if not (different and one_each):
        return kept, ""
    names = ", ".join(found.path.name for found in members)
    question = (
        f"{names}: one sequence each, under different names; is this one patient or several? Put the files of each "
        "patient into a folder of their own, list them in a manifest.csv, or give them one by one (--t1c FILE ...)"
    )
    return kept, question


def _is_one_visit(stems: Sequence[str], one_each: bool) -> bool:
    """Whether stems have the same words, or fewer of them, behind a number of a series: `004`, `005_anna`, `anna`.

    Different numbers are those of series only where each stands before a single sequence.
    """
    parts = [_number_apart(stem) for stem in stems]
    numbers = {number for number, _ in parts if number}
    words = [set(words_of(rest)) for _, rest in parts]
    longest = max(words, key=len)
    return (len(numbers) < 2 or one_each) and all(one <= longest for one in words)


def _number_apart(stem: str) -> tuple[str, str]:
    """A number of a series at the start of a stem, "" where there is none, and the rest."""
    match = re.match(r"\d{1,4}(?=[_\-. ]|$)", stem)
    return (match[0], stem[match.end() :]) if match else ("", stem)


def _owner(stem: str, groups: Stems) -> str | None:
    """The group that files belong to whose names tell no sequence: that of the same stem, the only one, or the one with
    the longest stem that theirs begins with."""
    if stem in groups or len(groups) == 1:
        return stem if stem in groups else next(iter(groups))
    starts = [key for key in groups if key and re.match(rf"{re.escape(key)}(?:[_\-. ]|$)", stem)]
    return max(starts, key=len) if starts else None
