"""Reads a case that `lacunet segment` finished: its record, its mask, and where its scans lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lacunet.data.groups import is_public
from lacunet.data.names import person_of
from lacunet.data.source_table import FILE_NAME, files_of_case
from lacunet.errors import DataError
from lacunet.files import path_in
from lacunet.segmentation.layout import record_in
from lacunet.segmentation.record import CaseRecord, read_record

_ADVICE = "segment the case again"
_HIGHEST = 4
"""The table of sources lies at most so many folders above a record (`OUT/sub-01/ses-1/anat`)."""


@dataclass(frozen=True)
class Finished:
    """A finished case on disk.

    Attributes:
        folder: As the user named it.
        record: What `case.json` says.
        mask: On the grid of the scans that the model saw.
        inputs: The files of each scan as they were given, by modality. Local only: their names may name a person.
    """

    folder: Path
    record: CaseRecord
    mask: Path
    inputs: Mapping[str, list[Path]]

    @property
    def named_person(self) -> str | None:
        """Whose it is by the name of the case, where that follows BIDS or a public data set; None where it does not."""
        name = self.record.case
        return person_of(name) if name.startswith("sub-") or is_public(name) else None

    @property
    def imported(self) -> bool:
        """Whether its scans were imported while they were segmented: only then it has masks on their own grids too."""
        return len(self.record.masks) > 1


def read_finished(folder: Path) -> Finished:
    """Read a result of `lacunet segment`, in either layout.

    Args:
        folder: Of one case: `OUT/CASE`; in a BIDS derivative `OUT/sub-01/ses-1`.

    Raises:
        DataError: there is no finished case or more than one, its record is not one, or its mask or the list of its
            scans is gone.
    """
    path = _record_in(folder)
    record = read_record(path, _ADVICE)
    if not record.masks:
        raise DataError(f"{path}: names no mask; {_ADVICE}")
    mask = path_in(path.parent, record.masks[0])
    if not mask.is_file():
        raise DataError(f"{mask}: the mask of the case is not there; {_ADVICE}")
    return Finished(folder, record, mask, _inputs(path.parent, record.case))


def _record_in(folder: Path) -> Path:
    found = record_in(folder)
    if found is not None:
        return found
    raise DataError(
        f"{folder}: holds no finished case, since there is no case.json; give the folder that lacunet segment wrote "
        "for the case, or go on with lacunet segment --resume if it was stopped"
    )


def _inputs(folder: Path, case: str) -> dict[str, list[Path]]:
    for above in [folder, *folder.resolve().parents][: _HIGHEST + 1]:
        if (above / FILE_NAME).is_file() and (inputs := files_of_case(above, case)):
            return inputs
    raise DataError(
        f"{folder}: no {FILE_NAME} above it names the scans of the case; keep it beside the results, or {_ADVICE}"
    )
