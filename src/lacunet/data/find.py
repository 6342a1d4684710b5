"""From a folder or a manifest to cases, and an account of all that is not used. Only names are read here, no voxels."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.account import account_of
from lacunet.data.groups import Group, grouped, is_scan
from lacunet.data.labels import known_convention
from lacunet.data.manifest import read_manifest
from lacunet.data.msd import read_msd
from lacunet.data.names import (
    REFERENCE,
    SUFFIXES,
    NamedFile,
    existing_file,
    in_task_order,
    known_names,
    person_of,
)
from lacunet.data.sequences import T1
from lacunet.data.tree import PassedOver, Tree, read_tree
from lacunet.errors import DataError, Problem
from lacunet.task import GLIOMA, Task


@dataclass(frozen=True)
class Surveyed:
    """What the names in a source tell.

    Attributes:
        cases: Sorted by name.
        problems: Faulty cases.
        questions: Cases whose reference must be named by the user; they are among `cases`, without a reference.
        left_out: Files and folders that are not used, each with its reason.
        by_words: Whether a scan was recognised by words put together, so that its image should be looked at.
    """

    cases: tuple[CaseFiles, ...] = ()
    problems: tuple[Problem, ...] = ()
    questions: tuple[Problem, ...] = ()
    left_out: tuple[PassedOver, ...] = ()
    by_words: bool = False


def find_cases(source: Path | str, task: Task = GLIOMA, labels: str | None = None) -> list[CaseFiles]:
    """The cases in a folder (a case, a folder of cases, an MSD task) or in a manifest.csv, sorted by name.

    The label convention of a case is known here only where it is stated (`labels`, a manifest's column, the
    dataset.json of an MSD folder, BraTS 2013 names); `labels.with_conventions` decides the others.

    Args:
        source: A folder, or a .csv file.
        task: Says which modalities there are and what they are called.
        labels: The convention of all references, by name. A column of a manifest overrides it.

    Raises:
        DataError: no case is there, two files are the same modality of a case, or two cases have the same name.
        UsageError: `labels` is no convention of the task.
    """
    found = survey(Path(source), task, labels)
    if wrong := (*found.problems, *found.questions):
        raise DataError(wrong[0].message)
    return list(found.cases)


def survey(source: Path, task: Task, labels: str | None = None) -> Surveyed:
    """As `find_cases`, but a faulty case becomes a problem and the others are returned: for cohorts, `lacunet check`.

    Raises:
        DataError: the source is empty, or its layout as a whole cannot be understood.
        UsageError: `labels` is no convention of the task.
    """
    if labels is not None:
        known_convention(labels, task)
    found = _read_layout(source, task, labels)
    if not found.cases and not found.problems:
        raise DataError(f"{source}: no scans found; {_what_else(found.left_out)}{known_names(task)}")
    cases, doubles = _without_doubles(found.cases)
    ordered = tuple(sorted(cases, key=lambda case: case.name))
    return replace(found, cases=ordered, problems=(*found.problems, *doubles))


def _what_else(left_out: Sequence[PassedOver]) -> str:
    """What an error adds where nothing is used: the first reasons."""
    reasons = list(dict.fromkeys(f"{one.path.name} {one.reason}" for one in left_out if one.path.name[:1] != "."))
    return f"{'; '.join(reasons[:3])}; " if reasons else ""


def survey_all(sources: Sequence[Path], task: Task, labels: str | None = None) -> Surveyed:
    """`survey` of several sources together.

    Raises:
        DataError: see `survey`; or two sources hold cases of the same name.
    """
    surveyed = [survey(source, task, labels) for source in sources]
    names = [case.name for found in surveyed for case in found.cases]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"{', '.join(twice)}: more than one case of this name; segment them into different folders")
    return Surveyed(
        cases=tuple(case for found in surveyed for case in found.cases),
        problems=tuple(problem for found in surveyed for problem in found.problems),
        questions=tuple(question for found in surveyed for question in found.questions),
        left_out=tuple(one for found in surveyed for one in found.left_out),
        by_words=any(found.by_words for found in surveyed),
    )


def case_from_files(
    files: Mapping[str, Path], name: str, task: Task = GLIOMA, reference: Path | None = None, labels: str | None = None
) -> CaseFiles:
    """A case from one file per modality, as `--t1c FILE --t2f FILE` gives it.

    Raises:
        DataError: no file, a file that does not exist, or two files for one modality.
        UsageError: an unknown modality or convention.
    """
    images: dict[str, ImageFile] = {}
    for word, path in files.items():
        modality = task.modality(word)
        if modality in images:
            raise DataError(f"{images[modality].path} and {path}: both are given as {modality}; give one")
        images[modality] = ImageFile(existing_file(path))
    if not images:
        raise DataError(f"{name}: no scan given; give at least one of {', '.join(task.modalities)}")
    mask = ImageFile(existing_file(reference)) if reference is not None else None
    convention = known_convention(labels, task) if labels and mask else None
    return CaseFiles(name, person_of(name), in_task_order(images, task), mask, "files", convention)


def _read_layout(source: Path, task: Task, labels: str | None) -> Surveyed:
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder")
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise DataError(
                f"{source}: is a file; give its folder, a manifest.csv, or one file per sequence (--t1c FILE)"
            )
        cases, problems = read_manifest(source, task, labels)
        return Surveyed(tuple(cases), tuple(problems))
    if (source / "manifest.csv").is_file():
        cases, problems = read_manifest(source / "manifest.csv", task, labels)
        read = Surveyed(tuple(cases), tuple(problems))
        return _with_account(read_tree(source), read, [source / "manifest.csv"], {})
    if (source / "imagesTr").is_dir() or (source / "dataset.json").is_file():
        msd = Surveyed(tuple(read_msd(source, task, labels)))
        return _with_account(read_tree(source), msd, [source / "dataset.json"], {})
    return _read_names(source, task, labels)


def _with_account(tree: Tree, found: Surveyed, used: Sequence[Path], reasons: Mapping[Path, str]) -> Surveyed:
    """The same with all files and folders below its source that it does not use."""
    taken = {image.path for case in found.cases for image in case.images.values()}
    taken |= {case.reference.path for case in found.cases if case.reference is not None}
    return replace(found, left_out=account_of(tree, taken | set(used), reasons))


def _read_names(source: Path, task: Task, labels: str | None) -> Surveyed:
    tree = read_tree(source)
    paths = [path for path in tree.files if path.name.lower().endswith(SUFFIXES)]
    groups, reasons = grouped(paths, task)
    cases, problems, questions = [], [], []
    by_words = False
    for group in groups:
        reasons |= {found.path: found.reason for found in group.files if found.reason}
        if not any(is_scan(found) or found.role == REFERENCE for found in group.files):
            continue
        try:
            case, question, unused = _case_of(group, task, labels)
        except DataError as error:
            problems.append(Problem(group.name, str(error)))
            reasons |= {found.path: "belongs to a case with a problem" for found in group.files if not found.reason}
            continue
        reasons |= unused
        cases.append(case)
        questions += [Problem(case.name, question)] if question else []
        by_words = by_words or not all(found.exact for found in group.scans)
    read = Surveyed(tuple(cases), tuple(problems), tuple(questions), by_words=by_words)
    return _with_account(tree, read, (), reasons)


def _case_of(group: Group, task: Task, labels: str | None) -> tuple[CaseFiles, str, dict[Path, str]]:
    """The case of a group; the question about its reference, if there is one; and why each other file is not used.

    Raises:
        DataError: the group has a question, no scan, or two files for a modality.
    """
    if group.question:
        raise DataError(group.question)
    unused: dict[Path, str] = {}
    files = _scans_by_role(group, unused)
    reference, question = _reference_of(group, unused)
    if not files and reference is not None:
        raise DataError(f"{reference}: a reference mask without any scan beside it; {known_names(task)}")
    if not files:
        raise DataError(
            f"{', '.join(found.path.name for found in group.scans)}: the name says T1, but not whether contrast agent "
            "was given; call the file <case>_t1 or <case>_t1ce, or let lacunet import look at the image"
        )
    families = {found.family for found in group.scans if found.path in files.values() and found.family}
    family = families.pop() if len(families) == 1 else "mixed"
    convention = labels or ("brats2013" if family == "brats2013" else None)
    images = {modality: ImageFile(path) for modality, path in files.items()}
    mask = ImageFile(reference) if reference else None
    name = group.name
    case = CaseFiles(name, person_of(name), in_task_order(images, task), mask, family, convention if mask else None)
    return case, question, unused


def _scans_by_role(group: Group, unused: dict[Path, str]) -> dict[str, Path]:
    """The file of each modality: one whose name follows a scheme word by word, else the only one by its words.

    Raises:
        DataError: two files that are equally good.
    """
    files: dict[str, Path] = {}
    roles = list(dict.fromkeys(found.role for found in group.scans))
    for role in roles:
        members = [found for found in group.scans if found.role == role]
        best = [found for found in members if found.exact] or members
        if role == T1 or role is None:
            continue
        if len(best) > 1:
            raise DataError(
                f"{best[0].path} and {best[1].path}: two files for {role} of case {group.name}; "
                "keep one, name the right one in a manifest.csv, or let lacunet import choose"
            )
        files[role] = best[0].path
        unused |= {found.path: f"another file is taken for {role}" for found in members if found not in best}
    for found in group.scans:
        if found.role == T1:
            _place_t1(found, files, unused)
    return files


def _place_t1(found: NamedFile, files: dict[str, Path], unused: dict[Path, str]) -> None:
    """A T1 whose name says nothing of contrast agent is the native one where another is known to be after it."""
    if "t1c" in files and "t1n" not in files:
        files["t1n"] = found.path
        return
    unused[found.path] = (
        "another file is taken for t1n"
        if "t1n" in files
        else "its name says T1, but not whether contrast agent was given; call it <case>_t1 or <case>_t1ce"
    )


def _reference_of(group: Group, unused: dict[Path, str]) -> tuple[Path | None, str]:
    """The mask of the tumour by its name, or the question which of several it is.

    A mask that is named as the case and `seg` comes first, then any `seg`, then one that says tumour.
    """
    masks = [found for found in group.files if found.role == REFERENCE]
    ranks = [(found.stem.lower() == group.name.lower() and found.exact, found.exact) for found in masks]
    best = [found for found, rank in zip(masks, ranks, strict=True) if rank == max(ranks)]
    if len(best) > 1:
        names = ", ".join(found.path.name for found in best)
        unused |= {found.path: "is one of several masks that may be the reference" for found in masks}
        return None, (
            f"{names}: which of these masks is the tumour's reference? Call it <case>_seg, or name it in a manifest.csv"
        )
    unused |= {found.path: "another mask is taken as the reference" for found in masks if found not in best}
    return (best[0].path, "") if best else (None, "")


def _without_doubles(cases: Sequence[CaseFiles]) -> tuple[list[CaseFiles], list[Problem]]:
    """Leave out cases that share a name: results are named after the case and would overwrite each other."""
    by_name: dict[str, list[CaseFiles]] = defaultdict(list)
    for case in cases:
        by_name[case.name].append(case)
    single = [same[0] for same in by_name.values() if len(same) == 1]
    problems = []
    for name, same in by_name.items():
        if len(same) > 1:
            first, second = (next(iter(case.images.values())).path for case in same[:2])
            message = f"{first} and {second}: two cases are called {name}; rename one, or name both in a manifest.csv"
            problems.append(Problem(name, message))
    return single, problems
