"""Why cases failed, kept beside the results until they succeed, so that the table of a cohort can be made anew."""

import hashlib
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime

from lacunet.data.source_table import PARTS
from lacunet.errors import OutputError, Problem, visible
from lacunet.files import cannot_write, write_json
from lacunet.reading import read_json
from lacunet.schema import Strict, fitted

_NAMELESS = re.compile(r"the source|source \d+|a case")
"""What is failed where no name of a case is known. Several may be called the same."""


class Failure(Strict):
    """Why a case has no result, or no new one.

    Attributes:
        case: The case, or the source.
        reason: One line. It names neither a patient nor the folder of the results.
        time: When it failed.
        part: The part of the cohort that it was met in: `3/20`; "" where there are none.
        regions: Of the task that it was to be segmented for.
    """

    case: str
    reason: str
    time: AwareDatetime
    part: str
    regions: tuple[str, ...]

    @property
    def nameless(self) -> bool:
        """Whether the case has no name of its own."""
        return _NAMELESS.fullmatch(self.case) is not None


def note_failure(folder: Path, problem: Problem, regions: Sequence[str], part: str = "") -> None:
    """Keep why a case failed; what was kept of it before is replaced.

    Args:
        folder: Where the results lie.
        problem: The case, and the reason.
        regions: Of the task.
        part: The part of the cohort.

    Raises:
        OutputError: it cannot be written.
    """
    reason = visible(problem.message.replace(f"{folder}{os.sep}", ""))
    case = visible(problem.case)  # bytes that are no text cannot stand in JSON
    failure = Failure(case=case, reason=reason, time=datetime.now(UTC), part=part, regions=tuple(regions))
    key = f"{failure.case}\n{failure.reason}" if failure.nameless else failure.case
    write_json(_file(folder, key), failure.model_dump(mode="json"))


def forget_failure(folder: Path, case: str) -> None:
    """A case succeeded.

    Raises:
        OutputError: what was kept cannot be removed.
    """
    _remove(_file(folder, visible(case)))


def forget_nameless(folder: Path, part: str = "") -> None:
    """A run begins, which meets all sources and cases without names again: what was kept of them is removed.

    Raises:
        OutputError: it cannot be removed, or is damaged.
    """
    for path, failure in _all(folder):
        if failure.nameless and failure.part == part:
            _remove(path)


def read_failures(folder: Path) -> list[Failure]:
    """All that is kept below an output folder.

    Raises:
        OutputError: a file is damaged.
    """
    return [failure for _, failure in _all(folder)]


def _all(folder: Path) -> list[tuple[Path, Failure]]:
    advice = "remove it, and segment the case again"
    paths = sorted(_folder(folder).glob("[0-9a-f]*.json"))
    return [
        (path, fitted(Failure, read_json(path, OutputError, advice), str(path), OutputError, advice)) for path in paths
    ]


def _file(folder: Path, key: str) -> Path:
    """A case that failed may have a name that no file can have."""
    return _folder(folder) / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _folder(folder: Path) -> Path:
    return folder / PARTS / "failed"


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
