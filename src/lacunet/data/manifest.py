"""manifest.csv: cases in any layout, one per row."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from lacunet.case import CaseFiles, ImageFile
from lacunet.data.labels import known_convention
from lacunet.data.names import REFERENCE, existing_file, in_task_order, modality_or_none, person_of
from lacunet.errors import DataError, Problem, UsageError
from lacunet.files import plain_name
from lacunet.task import Task


def read_manifest(manifest: Path, task: Task, labels: str | None) -> tuple[list[CaseFiles], list[Problem]]:
    """The cases of a manifest, and the faulty rows. Relative paths start at the manifest's folder.

    Raises:
        DataError: the file is not CSV in UTF-8, or a column is unknown.
    """
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            columns = _columns(reader.fieldnames or [], manifest, task)
            rows = [{meaning: (row.get(word) or "").strip() for word, meaning in columns.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: cannot be read as CSV in UTF-8 ({error})") from error
    cases, problems = [], []
    for cells in rows:
        try:
            cases.append(_case(cells, manifest, task, labels))
        except (DataError, UsageError) as error:
            problems.append(Problem(cells["case"], str(error)))
    return cases, problems


def _columns(header: Iterable[str], manifest: Path, task: Task) -> dict[str, str]:
    """Header as written -> what the column is: case, person, reference, convention or a modality."""
    columns: dict[str, str] = {}
    for written in header:
        word = (written or "").strip().lower()
        meaning = word if word in ("case", "person", REFERENCE, "convention") else modality_or_none(word, task)
        if meaning is None:
            known = f"case, person, {', '.join(task.modalities)}, reference, convention"
            raise DataError(f"{manifest}: unknown column '{written}'; known: {known}")
        if meaning in columns.values():
            raise DataError(f"{manifest}: two columns for {meaning}; keep one")
        columns[written] = meaning
    if "case" not in columns.values():
        raise DataError(f"{manifest}: has no column 'case'")
    return columns


def _case(cells: Mapping[str, str], manifest: Path, task: Task, labels: str | None) -> CaseFiles:
    name = cells["case"]
    if not name:
        raise DataError(f"{manifest}: a row has no case name")
    plain_name(name, f"{manifest}: case name")
    where = f"{manifest}: case {name}: "
    paths = {
        meaning: ImageFile(existing_file(manifest.parent / cells[meaning], where))
        for meaning in (*task.modalities, REFERENCE)
        if cells.get(meaning)
    }
    reference = paths.pop(REFERENCE, None)
    if not paths:
        raise DataError(f"{where}has no scan; give at least one of {', '.join(task.modalities)}")
    convention = cells.get("convention") or labels
    if convention is not None:
        known_convention(convention, task, where)
    person = plain_name(cells.get("person") or person_of(name), f"{where}person")
    return CaseFiles(name, person, in_task_order(paths, task), reference, "manifest", convention if reference else None)
