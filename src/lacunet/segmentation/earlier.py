"""What an earlier run left among the results of a case that is segmented again."""

from collections.abc import Collection
from pathlib import Path

from lacunet.data.source_table import sha256_of
from lacunet.errors import DataError
from lacunet.files import cannot_write
from lacunet.segmentation.layout import Places
from lacunet.segmentation.record import read_record
from lacunet.task import Task


def of_earlier_run(at: Places, task: Task) -> list[Path]:
    """The maps and the masks on other grids that the last run wrote. A mask that was changed since is none of them.

    Args:
        at: Where the case's results lie; nothing new is there yet.
        task: Of the model.
    """
    if not at.record.is_file():
        return []
    maps = [at.probability(region) for region in task.regions]
    masks = [place(modality) for modality in task.modalities for place in (at.native_mask, at.dicom)]
    try:
        record = read_record(at.record, "")
    except DataError:  # damaged: it does not say which masks are as they were written
        return [path for path in maps if path.is_file()]
    unchanged = [path for path in masks if path.is_file() and record.as_written(path.name, sha256_of([path]))]
    return [*(path for path in maps if path.is_file()), *unchanged]


def remove(files: Collection[Path]) -> None:
    """Remove those that are there.

    Raises:
        OutputError: one cannot be removed.
    """
    for path in files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
