"""Which masks in the folder of a change are those of an earlier run."""

from pathlib import Path

from pydantic import ValidationError

from lacunet.data.source_table import sha256_of
from lacunet.errors import DataError
from lacunet.files import path_in
from lacunet.reading import read_text
from lacunet.visits.record import ChangeRecord


def masks_of_earlier_run(record: Path) -> list[Path]:
    """The masks that are as the run wrote them whose `change.json` this is.

    A file that somebody has changed since, or that the record does not name, is none of them. Where there is no record,
    or it is damaged, there are none.
    """
    try:
        found = ChangeRecord.model_validate_json(read_text(record, DataError, ""))
    except (DataError, ValidationError):
        return []
    return [path_in(record.parent, name) for name, digest in found.masks_sha256.items() if _is(record, name, digest)]


def _is(record: Path, name: str, digest: str) -> bool:
    """Whether the file of this name beside the record has this SHA-256."""
    try:
        return digest == sha256_of([path_in(record.parent, name)]) != ""
    except DataError:  # no name of a file: the record was changed
        return False
