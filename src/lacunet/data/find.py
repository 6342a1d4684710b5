"""From a folder or a manifest to cases. Only names are read here, no voxels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.labels import known_convention
from lacunet.data.manifest import read_manifest
from lacunet.data.msd import read_msd
from lacunet.data.names import (
    REFERENCE,
    NamedFile,
    existing_file,
    image_files,
    in_task_order,
    known_names,
    person_of,
    understand,
)
from lacunet.errors import DataError, Problem
from lacunet.task import GLIOMA, Task


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
    cases, problems = survey(Path(source), task, labels)
    if problems:
        raise DataError(problems[0].message)
    return cases


def survey(source: Path, task: Task, labels: str | None = None) -> tuple[list[CaseFiles], list[Problem]]:
    """As `find_cases`, but a faulty case becomes a problem and the others are returned: for cohorts, `lacunet check`.

    Raises:
        DataError: the source is empty, or its layout as a whole cannot be understood.
        UsageError: `labels` is no convention of the task.
    """
    if labels is not None:
        known_convention(labels, task)
    cases, problems = _read_layout(source, task, labels)
    if not cases and not problems:
        raise DataError(f"{source}: no scans found; {known_names(task)}")
    cases, doubles = _without_doubles(cases)
    return sorted(cases, key=lambda case: case.name), [*problems, *doubles]


def survey_all(sources: Sequence[Path], task: Task, labels: str | None = None) -> tuple[list[CaseFiles], list[Problem]]:
    """`survey` of several sources together.

    Raises:
        DataError: see `survey`; or two sources hold cases of the same name.
    """
    surveyed = [survey(source, task, labels) for source in sources]
    cases = [case for found, _ in surveyed for case in found]
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{', '.join(twice)}: more than one case of this name; segment them into different folders")
    return cases, [problem for _, problems in surveyed for problem in problems]


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


def _read_layout(source: Path, task: Task, labels: str | None) -> tuple[list[CaseFiles], list[Problem]]:
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder")
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise DataError(
                f"{source}: is a file; give its folder, a manifest.csv, or one file per sequence (--t1c FILE)"
            )
        return read_manifest(source, task, labels)
    if (source / "manifest.csv").is_file():
        return read_manifest(source / "manifest.csv", task, labels)
    if (source / "imagesTr").is_dir() or (source / "dataset.json").is_file():
        return read_msd(source, task, labels), []
    return _read_names(source, task, labels)


def _read_names(source: Path, task: Task, labels: str | None) -> tuple[list[CaseFiles], list[Problem]]:
    groups: dict[tuple[Path, str], list[NamedFile]] = defaultdict(list)
    for path in image_files(source):
        if found := understand(path, task):
            groups[found.home, found.stem.lower()].append(found)
    _adopt_lone_references(groups)
    cases, problems = [], []
    for group in groups.values():
        try:
            cases.append(_case_of(group, task, labels))
        except DataError as error:
            problems.append(Problem(group[0].stem, str(error)))
    return cases, problems


def _adopt_lone_references(groups: dict[tuple[Path, str], list[NamedFile]]) -> None:
    """In a folder with one case and one reference of another name, the reference belongs to the case
    (BraTS20_Training_355 is such a folder)."""
    by_home: dict[Path, list[tuple[Path, str]]] = defaultdict(list)
    for key in groups:
        by_home[key[0]].append(key)
    for keys in by_home.values():
        with_scans = [key for key in keys if any(found.role != REFERENCE for found in groups[key])]
        lone = [key for key in keys if key not in with_scans]
        if len(with_scans) == 1 and len(lone) == 1:
            groups[with_scans[0]].extend(groups.pop(lone[0]))


def _case_of(group: Sequence[NamedFile], task: Task, labels: str | None) -> CaseFiles:
    files: dict[str, Path] = {}
    for found in group:
        if found.role in files:
            raise DataError(
                f"{files[found.role]} and {found.path}: two files for {found.role} of case {found.stem}; "
                "keep one, or name the right one in a manifest.csv"
            )
        files[found.role] = found.path
    reference = files.pop(REFERENCE, None)
    if not files:
        raise DataError(f"{reference}: a reference mask without any scan beside it; {known_names(task)}")
    scans = [found for found in group if found.role != REFERENCE]
    families = {found.family for found in scans if found.family}
    family = families.pop() if len(families) == 1 else "mixed"
    convention = labels or ("brats2013" if family == "brats2013" else None)
    images = {modality: ImageFile(path) for modality, path in files.items()}
    mask = ImageFile(reference) if reference else None
    name = scans[0].stem
    return CaseFiles(name, person_of(name), in_task_order(images, task), mask, family, convention if mask else None)


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
