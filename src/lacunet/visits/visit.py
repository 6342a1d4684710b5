"""A visit, loaded: its scans, its mask, its person and its day."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from lacunet.case import Case, CaseFiles, ImageFile
from lacunet.data.content import MOST_OF_THE_BRAIN
from lacunet.data.hidden_names import errors_without_names
from lacunet.data.names import person_of
from lacunet.data.nifti import is_prepared, load_case
from lacunet.data.pseudonyms import IMPORT_RECORD
from lacunet.data.source_table import FILE_NAME, files_of_case, sha256_of
from lacunet.errors import DataError, LacunetError, UnpreparedError, WholeBrainError
from lacunet.intake.read.dataset import UnreadableFile
from lacunet.intake.read.header import Person, looks_like_dicom, read_header
from lacunet.intake.read.subject import day_beside, day_of
from lacunet.segmentation.record import CaseRecord
from lacunet.task import Subset, Task
from lacunet.visits.finished import Finished

_IMPORT_FIRST = (
    "was imported while it was segmented, and imported scans are not kept; import first (lacunet import SOURCE -o "
    "CASES), segment CASES, and compare those results"
)
_MASK_ELSEWHERE = (
    "the mask lies on another grid than the scans, so another program saved it there; save it on the grid of the "
    "scans, or segment the case again"
)


@dataclass(frozen=True)
class Visit:
    """One visit.

    Attributes:
        finished: Its results on disk.
        files: Its scans and its mask; no message names them.
        case: What they hold, on one RAS+ grid; the mask is its reference.
        subset: The modalities that its mask comes from.
        day: When it was; None where nothing says so. It is compared, and never shown.
        dicom_person: Whose it is by the DICOM files; None where there are none. It is compared, and never shown.
    """

    finished: Finished
    files: CaseFiles
    case: Case
    subset: Subset
    day: date | None
    dicom_person: Person | None

    @property
    def record(self) -> CaseRecord:
        """What `case.json` says."""
        return self.finished.record

    @property
    def labels(self) -> UInt8[np.ndarray, "x y z"]:
        """Its mask, labels as inside lacunet."""
        assert self.case.reference is not None
        return self.case.reference

    @cached_property
    def brain(self) -> Bool[np.ndarray, "x y z"]:
        """Where any scan has signal."""
        return np.asarray(np.logical_or.reduce([image != 0 for image in self.case.images.values()]))


def load_visit(finished: Finished, task: Task) -> Visit:
    """Load the scans and the mask of a finished case.

    Args:
        finished: Its results.
        task: Of the model that made the mask.

    Raises:
        DataError: a scan is gone, is not named in `sources.csv`, or is not the one that was segmented; the case was
            imported while it was segmented; the mask lies on another grid than the scans, or is none of a tumour.
    """
    if finished.imported:
        raise DataError(f"{finished.folder}: {_IMPORT_FIRST}")
    record, subset = finished.record, task.subset(finished.record.subset)
    if unnamed := [task.titles[modality] for modality in subset if modality not in finished.inputs]:
        raise DataError(
            f"{finished.folder}: {FILE_NAME} does not name the scan that is {' or '.join(unnamed)}; keep it as it was "
            "written beside the results, or segment the case again"
        )
    images = {modality: ImageFile(_scan(finished, modality, task)) for modality in task.subset(finished.inputs)}
    files = CaseFiles(
        name=record.case,
        person=person_of(record.case),
        images=images,
        reference=ImageFile(finished.mask),
        family="finished",
        convention=record.label_convention,
        names_shown=False,
    )
    case = _loaded(files, finished.folder, task)
    first = finished.inputs[subset[0]][0]
    digits, person = _said_by(_dicom_behind(first, record.case, subset[0]))
    return Visit(finished, replace(files, reference=None), case, subset, day_of(digits) or day_beside(first), person)


def _loaded(files: CaseFiles, folder: Path, task: Task) -> Case:
    """The scans and the mask of a case in a folder of results, in whose words errors speak."""
    with errors_without_names(files):
        try:
            return load_case(files, task)
        except UnpreparedError as error:
            raise DataError(f"{folder}: {_MASK_ELSEWHERE if is_prepared(files) else _IMPORT_FIRST}") from error
        except WholeBrainError as error:
            raise DataError(
                f"{folder}: the mask covers more than {MOST_OF_THE_BRAIN:.0%} of the brain, as no tumour does; look at "
                "it and correct it, or segment the case again"
            ) from error


def _scan(finished: Finished, modality: str, task: Task) -> Path:
    """The file of one scan, which must be the one that was segmented."""
    inputs, title = finished.inputs[modality], task.titles[modality]
    if not inputs[0].is_file():
        raise DataError(f"{finished.folder}: the {title} scan is not where it was; bring it back, or segment it again")
    if finished.record.inputs_sha256.get(modality) != sha256_of(inputs):
        raise DataError(
            f"{finished.folder}: the {title} scan is another one than was segmented; segment the case again"
        )
    return inputs[0]


def _dicom_behind(scan: Path, case: str, modality: str) -> Path | None:
    """The first DICOM file that an imported scan was made of; None where it was not, or the file is gone."""
    if not (scan.parent / IMPORT_RECORD).is_file():
        return None
    try:
        inputs = files_of_case(scan.parent.parent, case).get(modality, [])
    except LacunetError:
        return None
    return inputs[0] if inputs and _is_dicom(inputs[0]) else None


def _is_dicom(path: Path) -> bool:
    try:
        return path.is_file() and looks_like_dicom(path)
    except OSError:
        return False


def _said_by(dicom: Path | None) -> tuple[str, Person | None]:
    """The day of the study (`20240131`, or "") and the person."""
    if dicom is None:
        return "", None
    try:
        header = read_header(dicom)
    except (UnreadableFile, OSError):
        return "", None
    return (header.study_date, header.person) if header else ("", None)


def common_subset(visits: Sequence[Visit], task: Task) -> Subset:
    """The modalities that the masks of all visits come from; may be empty."""
    shared = set.intersection(*(set(visit.subset) for visit in visits))
    return tuple(modality for modality in task.modalities if modality in shared)
