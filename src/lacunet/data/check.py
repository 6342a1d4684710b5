"""What is in a folder of cases, what is missing and what is wrong: checked before a long run."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from lacunet.case import CaseFiles, Grid, ImageFile
from lacunet.data.background import on_empty_background
from lacunet.data.content import refuse_labels, refuse_whole_brain
from lacunet.data.hidden_names import all_without_names, names_of_files, survey_named
from lacunet.data.labels import decide_convention, pooled_values, require_known, whole_values
from lacunet.data.nifti import require_same_grid
from lacunet.data.tree import PassedOver
from lacunet.data.volume import read_file, read_image
from lacunet.errors import DataError, LabelError, Problem, problem_of
from lacunet.task import Subset, Task

TOLD_BY_SCHEME = ("brats2013", "brats2018", "brats2023", "bids", "msd", "manifest")
"""Naming families whose names say which file is which sequence."""


@dataclass(frozen=True)
class CaseFindings:
    """What was found in one case.

    Attributes:
        name: The case's name.
        person: Whose case it is.
        family: The naming family that it was recognised by.
        acquired: Its modalities, in the task's order.
        shape: Voxels along each axis as on disk; None when no scan could be read.
        spacing: Millimetres between voxels as on disk; None likewise.
        values: Label values of the reference on disk; None where there is no reference or it cannot be read.
        convention: The label convention of the reference; None where there is no reference, or it cannot be decided.
        notes: Remarks from reading the files, one line each.
        problems: What is wrong, one line each; empty for a good case.
        files: Modality -> name of its file, where the names follow no scheme of BraTS or BIDS, or the file is no NIfTI.
    """

    name: str
    person: str
    family: str
    acquired: Subset
    shape: tuple[int, int, int] | None
    spacing: tuple[float, float, float] | None
    values: tuple[int, ...] | None
    convention: str | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """What was found in a folder.

    Attributes:
        cases: One entry per case that was found, sorted by name.
        conventions: Naming family -> label convention, or None where it cannot be decided.
        families: Naming family -> number of cases.
        subsets: Acquired subset, as `t1c+t2f` -> number of cases.
        problems: Problems of cases that could not be assembled, and of whole families.
        left_out: Files and folders that are not used, each with its reason.
    """

    cases: tuple[CaseFindings, ...]
    conventions: Mapping[str, str | None]
    families: Mapping[str, int]
    subsets: Mapping[str, int]
    problems: tuple[Problem, ...]
    left_out: tuple[PassedOver, ...] = ()

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong, one line each."""
        of_cases = (Problem(case.name, line) for case in self.cases for line in case.problems)
        return (*self.problems, *of_cases)


@dataclass(frozen=True)
class _Labels:
    """What is known of a readable reference before its convention is decided.

    Attributes:
        values: On disk; None where they are not whole numbers.
        note: Where they had to be rounded.
        fault: Why they are no labels.
    """

    values: set[int] | None = None
    note: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class _Examined:
    """A case whose files were read.

    Attributes:
        findings: Without the convention, and what depends on it.
        labels: Of its reference; None where there is none, it cannot be read, or it is no mask of this case's tumour.
        values: On disk, of any reference that can be read.
    """

    findings: CaseFindings
    labels: _Labels | None
    values: set[int]


Each = Callable[[Callable[[CaseFiles], "_Examined | Problem"], Sequence[CaseFiles]], Iterable["_Examined | Problem"]]
"""How all cases are examined: `map`, or that of a pool of processes."""


def check(source: Path, task: Task, labels: str | None = None, show_names: bool = True, each: Each = map) -> Findings:
    """Read everything below `source` and report what is there and what is wrong. A faulty case does not stop it.

    Args:
        source: A folder of cases, or a manifest.
        task: Says which modalities there are.
        labels: The convention of all references, by name.
        show_names: Name cases and files as they are; False: no name that may be a person's (`data.pseudonyms`).
        each: Applies a function to each case, in their order; several processes are quicker (`Executor.map`).

    Raises:
        DataError: the source is empty, or its layout as a whole cannot be understood.
        UsageError: `labels` is no convention of the task.
    """
    found = survey_named([source], task, show_names, labels)
    cases = found.cases
    seen = dict(zip((case.name for case in cases), each(partial(_examine, task=task), cases), strict=True))
    values = {name: one.values if isinstance(one, _Examined) else set() for name, one in seen.items()}
    conventions, undecided = _conventions(cases, values, task, labels)
    examined: list[CaseFindings] = []
    for case in cases:
        one = seen[case.name]
        if isinstance(one, Problem):
            undecided.append(one)
        else:
            examined.append(_with_convention(case, one, conventions, task))
    return Findings(
        cases=tuple(examined),
        conventions=conventions,
        families=dict(sorted(Counter(case.family for case in cases).items())),
        subsets=dict(Counter(task.subset_name(case.images) for case in cases)),
        problems=(*found.problems, *found.questions, *undecided),
        left_out=tuple(found.left_out),
    )


def _conventions(
    cases: Sequence[CaseFiles], values: Mapping[str, set[int]], task: Task, labels: str | None
) -> tuple[dict[str, str | None], list[Problem]]:
    """The convention of every family with references, and the families for which none can be decided."""
    conventions: dict[str, str | None] = {}
    undecided: list[Problem] = []
    for family in sorted({case.family for case in cases if case.reference is not None}):
        members = [case for case in cases if case.family == family and case.reference is not None]
        stated = {case.convention for case in members}
        open_values = [values[case.name] for case in members if case.convention is None]
        try:
            if open_values:
                stated = {labels or decide_convention(family, pooled_values(open_values, task), task)}
            conventions[family] = stated.pop() if len(stated) == 1 else None
        except LabelError as error:
            conventions[family] = None
            undecided.append(Problem(f"family {family}", str(error)))
    return conventions, undecided


def _examine(case: CaseFiles, task: Task) -> _Examined | Problem:
    """Read every file of a case once."""
    try:
        return _read_case(case, task)
    except Exception as error:
        return problem_of(case.name, error)


def _read_case(case: CaseFiles, task: Task) -> _Examined:
    problems: list[str] = []
    notes: list[str] = []
    first: tuple[str, Grid] | None = None
    brain: np.ndarray | None = None
    for file in case.images.values():
        try:
            grid, said, problem, signal = _examine_scan(file, first)
        except DataError as error:
            problems.append(str(error))
            continue
        first = first or (file.path.name, grid)
        notes += said
        problems += problem
        if signal is not None:
            brain = signal if brain is None else brain | signal
    labels, values = None, set[int]()
    if case.reference is not None:
        try:
            voxels, grid, said = read_file(case.reference)
            labels = _labels_of(case.reference.path.name, voxels)
            values = labels.values or values
            _require_mask_of(case.reference.path.name, voxels, grid, first, brain)
            notes += said
        except DataError as error:
            labels = None
            problems.append(str(error))
    findings = CaseFindings(
        name=case.name,
        person=case.person,
        family=case.family,
        acquired=task.subset(case.images),
        shape=first[1].shape if first else None,
        spacing=first[1].spacing if first else None,
        values=tuple(sorted(values)) or None,
        convention=None,
        notes=tuple(dict.fromkeys(all_without_names(notes, case))),
        problems=all_without_names(problems, case),
        files=_files_to_tell(case),
    )
    return _Examined(findings, labels, values)


def _labels_of(name: str, voxels: np.ndarray) -> _Labels:
    try:
        values, note = whole_values(voxels, name)
    except LabelError as error:
        return _Labels(fault=str(error))
    return _Labels(values, note)


def _with_convention(
    case: CaseFiles, one: _Examined, conventions: Mapping[str, str | None], task: Task
) -> CaseFindings:
    """The findings of a case with its convention, and whether that knows the labels."""
    convention = case.convention or conventions.get(case.family) if case.reference is not None else None
    found = replace(one.findings, convention=convention)
    if convention is None or one.labels is None or case.reference is None:
        return found
    try:
        if one.labels.values is None:
            raise LabelError(one.labels.fault)
        require_known(one.labels.values, convention, task, case.reference.path.name)
    except LabelError as error:
        return replace(found, problems=(*found.problems, *all_without_names([str(error)], case)))
    notes = all_without_names([one.labels.note] if one.labels.note else [], case)
    return replace(found, notes=tuple(dict.fromkeys((*found.notes, *notes))))


def _files_to_tell(case: CaseFiles) -> dict[str, str]:
    """Which file is taken for which sequence, where this is not plain from a known scheme of names."""
    names = names_of_files(case)
    told = {modality: names[image.path] for modality, image in case.images.items()}
    plain = case.family in TOLD_BY_SCHEME and all(name.lower().endswith((".nii", ".nii.gz")) for name in told.values())
    return {} if plain else told


def _examine_scan(
    file: ImageFile, first: tuple[str, Grid] | None
) -> tuple[Grid, Sequence[str], Sequence[str], np.ndarray | None]:
    """The grid of a scan, notes, problems, and where it has signal (None: it has a problem).

    Its voxels are gone from memory when the next file is read.
    """
    voxels, grid, notes = read_image(file)
    try:
        if first is not None:
            require_same_grid(file.path.name, grid, *first)
        voxels, remarks = on_empty_background(file.path.name, voxels, grid)
        refuse_labels(file.path.name, voxels)
        return grid, [*notes, *remarks], (), voxels != 0
    except DataError as error:
        return grid, notes, (str(error),), None


def _require_mask_of(
    name: str, voxels: np.ndarray, grid: Grid, first: tuple[str, Grid] | None, brain: np.ndarray | None
) -> None:
    """Refuse a reference that lies elsewhere than the scans, or is a mask of the whole brain."""
    if first is not None:
        require_same_grid(name, grid, *first)
    if brain is not None and brain.shape == voxels.shape:
        refuse_whole_brain(name, voxels, brain)
