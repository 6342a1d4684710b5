"""`sources.csv` beside the results: which result is whose. It names files as they are, so it must not be sent on.

    write_sources(results, [SourceRow("case-3f2a91bc", "/scans/a", role="t1c", files=("gd.nii.gz",), sha256=...)])

Only the user who ran lacunet may read it.
"""

import csv
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from lacunet.errors import OutputError
from lacunet.files import cannot_write, path_in, whole_file

if TYPE_CHECKING:  # it needs numpy, which `lacunet --help` does not
    from lacunet.case import CaseFiles

FILE_NAME = "sources.csv"
BETWEEN_FILES = "; "

PARTS = ".parts"
"""The folder, in an output folder, of what becomes whole at the end."""

PATIENCE_SECONDS = 30.0
"""How long a process waits for another that writes the same table; a lock that is older was left behind."""


@dataclass(frozen=True)
class SourceRow:
    """One scan of a case, or what was left out.

    Attributes:
        case: The case's name in the results; "" for what belongs to none.
        source: The folder or archive, as an absolute path.
        role: The modality, or `reference`; "" for what was left out.
        series: What the scan is called on the terminal and in the results: `series 4 (T1 … KM)`.
        files: Below the source; of DICOM in the order of slices.
        sha256: Of the files, one after another, as `cat FILES | sha256sum` prints it; "" where none could be read.
        reason: Why it was left out, or why the case failed; "" for a scan that was used.
    """

    case: str
    source: str
    role: str = ""
    series: str = ""
    files: tuple[str, ...] = ()
    sha256: str = ""
    reason: str = ""


COLUMNS = tuple(field.name for field in fields(SourceRow))


def write_sources(folder: Path, rows: Sequence[SourceRow]) -> None:
    """Add rows to the table of an output folder, whole or not at all; those there of the same cases are replaced.

    Rows of no case are replaced by those of the same source.

    Args:
        folder: Where the results lie.
        rows: Of one or several cases; nothing is done without any.

    Raises:
        OutputError: the table cannot be written, or the file of that name is another one.
    """
    _add(folder / FILE_NAME, [{**asdict(row), "files": BETWEEN_FILES.join(row.files)} for row in rows])


def files_of_case(folder: Path, case: str) -> dict[str, list[Path]]:
    """The input files of a case as the table of an output folder has them, by modality; empty without a table.

    Raises:
        OutputError: the file of that name is no such table.
    """
    rows = [row for row in _read(folder / FILE_NAME) if row["case"] == case and row["role"] not in ("", "reference")]
    return {row["role"]: [Path(row["source"]) / name for name in row["files"].split(BETWEEN_FILES)] for row in rows}


def own_table(folder: Path, name: str) -> Path:
    """A folder for the table of one case alone, which its worker writes; workers side by side would wait for each other
    at the table of all."""
    return path_in(folder / PARTS / "cases", name)


def gather_tables(folder: Path, parts: Sequence[Path], places: Mapping[str, int] = MappingProxyType({})) -> None:
    """Put tables into that of an output folder, in their order, and remove them.

    Args:
        folder: Where the results lie.
        parts: The folders of the tables; one without a table is passed over. Of rows that several have, the last stay.
        places: Where cases stand in the whole table; the rows of others follow.

    Raises:
        OutputError: see `write_sources`.
    """
    there = [part for part in parts if (part / FILE_NAME).is_file()]
    by_key: dict[tuple[str, str], list[dict[str, str]]] = {}
    for part in there:
        own: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in _read(part / FILE_NAME):
            own.setdefault(_key(row), []).append(row)
        by_key |= own
    _add(folder / FILE_NAME, [row for rows in by_key.values() for row in rows], places)
    for part in there:
        (part / FILE_NAME).unlink(missing_ok=True)
        with suppress(OSError):  # another process may be writing into one of them
            for empty in (part, part.parent, part.parent.parent):
                empty.rmdir()


def _add(path: Path, new: Sequence[Mapping[str, str]], places: Mapping[str, int] = MappingProxyType({})) -> None:
    """Add rows to a table; those there of the same cases are replaced."""
    if not new:
        return
    keys = {_key(row) for row in new}
    with _alone(path), whole_file(path) as temporary:
        kept = [row for row in _read(path) if _key(row) not in keys]
        temporary.touch(mode=0o600, exist_ok=False)  # before the first name is in it
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(sorted([*kept, *new], key=lambda row: places.get(row["case"], len(places))))


def failed_rows(rows: Sequence[SourceRow], why: str) -> list[SourceRow]:
    """The rows of a case that failed."""
    return [replace(row, reason=row.reason or f"failed: {why}") for row in rows]


def rows_of_files(files: "CaseFiles") -> list[SourceRow]:
    """A row for each scan of a case that was found by its file names, and for its reference."""
    by_role = {role: image.path for role, image in files.images.items()}
    if files.reference is not None:
        by_role["reference"] = files.reference.path
    source = common_folder(list(by_role.values()))
    digests = {path: sha256_of([path]) for path in set(by_role.values())}
    return [
        SourceRow(files.name, str(source), role, files=(relative(path, source),), sha256=digests[path])
        for role, path in by_role.items()
    ]


def inputs_of(rows: Sequence[SourceRow]) -> dict[str, str]:
    """SHA-256 of the input of each scan, by modality, as `case.json` keeps it."""
    return {row.role: row.sha256 for row in rows if row.role and row.role != "reference"}


def sha256_of(paths: Sequence[Path]) -> str:
    """SHA-256 of files one after another, as 64 hexadecimal digits; "" where there is none, or one cannot be read."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            with path.open("rb") as stream:
                while chunk := stream.read(2**20):
                    digest.update(chunk)
    except OSError:  # reported when the file is read as a scan
        return ""
    return digest.hexdigest() if paths else ""


def relative(path: Path, folder: Path) -> str:
    """A file's path below a folder; its absolute path where it does not lie there."""
    path, folder = path.absolute(), folder.absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def common_folder(paths: Sequence[Path]) -> Path:
    """The lowest folder that holds all files."""
    parents = [path.absolute().parent for path in paths]
    try:
        return Path(os.path.commonpath(parents))
    except ValueError:  # on several drives
        return parents[0]


def _key(row: Mapping[str, str]) -> tuple[str, str]:
    return (row["case"], "" if row["case"] else row["source"])


def _read(path: Path) -> list[dict[str, str]]:
    """The rows that are there."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            csv.field_size_limit(2**27)  # one cell names all files of a series
            reader = csv.DictReader(stream)
            columns, rows = tuple(reader.fieldnames or ()), list(reader)
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error) as error:
        raise OutputError(f"{path}: is no table of sources that lacunet wrote; move it away ({error})") from error
    if columns != COLUMNS or any(None in row or None in row.values() for row in rows):  # too many cells, or too few
        raise OutputError(f"{path}: is no table of sources that lacunet wrote; move it away")
    return rows


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time is within the block: results of several go into one folder."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _take(lock)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _take(lock: Path) -> None:
    """Make the file, which only one process can; a file that stays there for long was left behind."""
    began = time.monotonic()
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, mode=0o600))
            return
        except FileExistsError:
            if time.monotonic() - began > PATIENCE_SECONDS:
                lock.unlink(missing_ok=True)
            time.sleep(0.02)
