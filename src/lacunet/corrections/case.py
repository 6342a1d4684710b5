"""The case that a mask belongs to: the record and the masks of `lacunet segment`, or the case's scans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lacunet.case import Grid, ImageFile
from lacunet.data.hidden_names import survey_named
from lacunet.data.labels import FAMILY_CONVENTIONS, to_inside
from lacunet.data.nifti import ras_grid, to_ras
from lacunet.data.volume import read_file
from lacunet.description.pose import Pose
from lacunet.errors import DataError
from lacunet.reading import is_file, is_folder
from lacunet.segmentation.layout import RECORD, record_in
from lacunet.segmentation.record import CaseRecord, pose_from, read_record
from lacunet.task import Task


@dataclass(frozen=True)
class MeasuredCase:
    """What is known of the case that a mask belongs to.

    Attributes:
        name: Of the case, as it may be shown; None where no case is known.
        folder: Where the masks of its record lie.
        record: What lacunet said of it.
        scans: Without skull, on one grid, by title of the sequence: they show how the brain lies.
        conventions: Label conventions that its masks may follow, the likeliest first; empty: all.
    """

    name: str | None = None
    folder: Path = Path()
    record: CaseRecord | None = None
    scans: Mapping[str, Path] = field(default_factory=dict)
    conventions: Sequence[str] = ()

    @property
    def masks(self) -> list[str]:
        """Names of the masks that lacunet wrote as NIfTI and that are there still."""
        return [name for name in (self.record.poses if self.record else ()) if is_file(self.folder / name)]

    def mask(self, name: str, task: Task) -> tuple[UInt8[np.ndarray, "x y z"], Grid]:
        """Labels inside lacunet of one of these masks, and their RAS+ grid.

        Raises:
            DataError: it cannot be read.
            LabelError: its labels are not those of the record.
        """
        assert self.record is not None
        voxels, native, _ = read_file(ImageFile(self.folder / name))
        labels, _ = to_inside(voxels, self.record.label_convention, task, name)
        return to_ras(labels, native), ras_grid(native)

    def pose(self, mask: str | None) -> Pose | None:
        """How the brain lies in the coordinates of a mask of the record; None: of another mask, known only where the
        record has one mask."""
        poses = self.record.poses if self.record else {}
        chosen = poses.get(mask) if mask else next(iter(poses.values())) if len(poses) == 1 else None
        return pose_from(chosen) if chosen else None


def case_beside(mask: Path) -> MeasuredCase:
    """The case whose record lies in the folder of a mask; of none, nothing is known.

    Raises:
        DataError: the record cannot be read, or there are several.
    """
    record = record_in(mask.parent)
    return MeasuredCase() if record is None else _recorded(record)


def case_at(path: Path, task: Task, show_names: bool) -> MeasuredCase:
    """The case at a path.

    Args:
        path: The folder that `lacunet segment` wrote for a case, in either layout; its record in this folder; or the
            folder of the case's scans.
        task: Names the modalities.
        show_names: Show the name of the case as it is.

    Raises:
        DataError: there is neither, the record cannot be read, or there are several cases.
    """
    if is_file(path):
        return _recorded(path)
    if (record := record_in(path)) is not None:
        return _recorded(record)
    what = f"--case takes the folder of one case, with {RECORD} of lacunet segment or with its scans"
    if not is_folder(path):
        raise DataError(f"{path}: no such file or folder; {what}")
    try:
        cases = survey_named([path], task, show_names).cases
    except DataError as error:
        raise DataError(f"{path}: has no {RECORD}, and no scans were found; {what}") from error
    if len(cases) != 1:
        raise DataError(f"{path}: has no {RECORD} and holds {len(cases)} cases; {what}")
    files = cases[0]
    scans = {task.titles[modality]: image.path for modality, image in files.images.items()}
    return MeasuredCase(files.name, path, None, scans, FAMILY_CONVENTIONS.get(files.family, ()))


def _recorded(path: Path) -> MeasuredCase:
    advice = "give the folder that lacunet segment wrote for the case, or segment it again"
    record = read_record(path, advice)
    return MeasuredCase(record.case, path.parent, record)
