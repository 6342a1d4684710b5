"""The series that a DICOM SEG refers to: its files' headers as the object needs them, and the notes on what was amiss.

Real headers hold values that DICOM does not allow. Only what the object takes over is kept, such values are left empty,
and the notes name the attribute, never its value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lacunet.errors import DataError
from lacunet.intake.read.dataset import UnreadableFile, read_header_of
from lacunet.intake.read.header import read_header
from lacunet.intake.read.series import Series, in_order

if TYPE_CHECKING:  # an extra that may be absent, and slow: each function imports what it needs
    from pydicom import DataElement, Dataset

MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What a DICOM object takes over from its source. By the standard: there, and empty where not known."""

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
_KEPT = (
    *_UIDS, "SOPClassUID", "Modality", "Rows", "Columns", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod", "NumberOfFrames", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence", "DimensionIndexSequence",
)  # fmt: skip
_READ = (*_KEPT, *MAY_BE_EMPTY, "SpecificCharacterSet")
_SEXES = ("M", "F", "O")
_UTF_8 = "ISO_IR 192"
_BYTES = "OB"


@dataclass(frozen=True)
class SourceSeries:
    """What a DICOM SEG needs of its source.

    Attributes:
        stack: Its slices in order, with their geometry.
        headers: Of its files, in the order of the slices (one, where it is multi-frame), on an even grid.
        number: The series' number; 0 where there is none.
        series: The SeriesInstanceUID of each file: one, unless the source gives every slice its own.
        notes: Attributes that were left empty or changed, for the user.
    """

    stack: Series
    headers: tuple["Dataset", ...]
    number: int
    series: tuple[str, ...]
    notes: tuple[str, ...]


def read_source(files: Sequence[Path]) -> SourceSeries:
    """Read the files of a series, without their pixels. To be called within `silently`.

    Raises:
        AttributeError: a header lacks what cannot be done without.
        DataError: a file cannot be read, the slices make no volume, or files cannot be told apart by their UIDs.
    """
    if not files:
        raise DataError("no DICOM files to refer to; a DICOM SEG needs the series that was segmented")
    stack = _stack(files)
    instances = {header.sop_instance for header in stack.headers}
    if len(instances) < len(stack.headers):
        raise DataError(
            f"the {len(stack.headers)} files of the source series share {len(instances)} "
            f"SOPInstanceUID{'s' * (len(instances) > 1)}, so that nothing can refer to one of them; use the NIfTI mask"
        )
    whole = [read_header_of(header.path, _READ)[0] for header in stack.headers]
    headers = [_reduced(data, stack, number) for number, data in enumerate(whole)]
    notes = [*_blank(headers), *_harmonise(headers)]
    return SourceSeries(
        stack=stack,
        headers=tuple(headers),
        number=stack.first.number or 0,
        series=tuple(header.series for header in stack.headers),
        notes=tuple(notes),
    )


def _stack(files: Sequence[Path]) -> Series:
    headers = []
    for number, path in enumerate(files, start=1):
        try:
            header = read_header(path)
        except (UnreadableFile, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise DataError(f"file {number} of {len(files)} of the source series cannot be read: {why}") from None
        if header is None:
            raise DataError(f"file {number} of {len(files)} of the source series cannot be read: it holds no image")
        headers.append(header)
    stack = in_order(Series("", tuple(headers), tuple(one for header in headers for one in header.slices)))
    if not len(stack.heights) or stack.spacing is None or not (stack.first.rows and stack.first.columns):
        raise AttributeError
    if len(stack.slices) > 1 and not stack.even:
        raise DataError("the slices of the source series do not make a volume: uneven, doubled or missing slices")
    return stack


def _reduced(data: "Dataset", stack: Series, number: int) -> "Dataset":
    """What the object takes over, with the slices on even positions: a rounded position would make it refuse."""
    from pydicom import Dataset

    assert stack.directions is not None
    assert stack.spacing is not None
    found = Dataset()
    for name in _READ:
        if name in data:
            found[name] = _element(data, name)
    start, step = stack.line if len(stack.slices) > 1 else (np.array(stack.slices[0].position), np.zeros(3))
    if len(stack.headers) == len(stack.slices):
        found.pop("NumberOfFrames", None)
        found.pop("PerFrameFunctionalGroupsSequence", None)
        found.ImageOrientationPatient = stack.directions.reshape(-1).tolist()
        found.ImagePositionPatient = (start + number * step).tolist()
        found.PixelSpacing = list(stack.spacing)
        found.SliceThickness = float(np.linalg.norm(step)) or stack.first.thickness or 1.0
    else:
        _even_frames(found, stack, start, step)
    return found


def _element(data: "Dataset", name: str) -> "DataElement":
    """An attribute. Where what may be empty cannot be read, bytes stand for it.

    Raises:
        DataError: it cannot be read, and cannot be done without.
    """
    from pydicom import DataElement
    from pydicom.datadict import tag_for_keyword

    try:
        return data[name]
    except Exception as error:  # pydicom raises whatever a hostile byte leads to
        if name not in MAY_BE_EMPTY:
            raise DataError(f"{name} of the source series cannot be read; use the NIfTI mask") from error
        return DataElement(tag_for_keyword(name) or 0, _BYTES, b"unreadable")


def _even_frames(data: "Dataset", stack: Series, start: np.ndarray, step: np.ndarray) -> None:
    normal = stack.normal
    assert normal is not None
    frames = data.PerFrameFunctionalGroupsSequence
    places = [np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float) @ normal for frame in frames]
    assert stack.directions is not None
    for rank, k in enumerate(np.argsort(places, kind="stable")):
        frames[k].PlanePositionSequence[0].ImagePositionPatient = (start + rank * step).tolist()
        if "PlaneOrientationSequence" in frames[k]:
            frames[k].PlaneOrientationSequence[0].ImageOrientationPatient = stack.directions.reshape(-1).tolist()


# ---------------------------------------------------------------- what DICOM does not allow


def _blank(headers: Sequence["Dataset"]) -> list[str]:
    """Leave empty what is not allowed, and make every header say the same; the notes name the attributes."""
    first = headers[0]
    bad, values = [], {}
    for name in MAY_BE_EMPTY:
        stated = next((header for header in headers if _text(header.get(name))), first)
        allowed = name not in stated or _is_allowed(stated, name)
        values[name] = _text(stated.get(name)) if allowed else ""
        bad += [] if allowed else [name]
    bad_set = _needs_other_character_set(first)
    for header in headers:
        for name, value in values.items():
            header.pop(name, None)  # and with it a type that is not the attribute's
            setattr(header, name, value)
        if bad_set:
            header.SpecificCharacterSet = _UTF_8
        elif "SpecificCharacterSet" in first:
            header.SpecificCharacterSet = first.SpecificCharacterSet
    notes = [f"{name} of the source holds a value that DICOM does not allow, and was left empty" for name in bad]
    if bad_set:
        notes.append("SpecificCharacterSet of the source is not known; texts were written as UTF-8")
    return notes


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _is_allowed(header: "Dataset", name: str) -> bool:
    from pydicom import config
    from pydicom.multival import MultiValue
    from pydicom.valuerep import DA, TM, validate_value

    try:
        element = header[name]
        value = _text(element.value)
        if not value:
            return True
        if isinstance(element.value, MultiValue) or element.VR == _BYTES:
            return False
        validate_value(element.VR, value, config.RAISE)
        if element.VR == "DA":
            datetime.strptime(str(DA(value)), "%Y%m%d")
        if element.VR == "TM":
            TM(value, validation_mode=config.RAISE)
    except (AttributeError, OverflowError, TypeError, ValueError, UnicodeError):
        return False
    return name != "PatientSex" or value in _SEXES


def _needs_other_character_set(header: "Dataset") -> bool:
    """Whether the source's set of characters is none that DICOM knows."""
    from highdicom.valuerep import _check_specific_character_set as check
    from pydicom.charset import python_encoding

    named = header.get("SpecificCharacterSet")
    if not named:
        return False
    try:
        check(named if isinstance(named, str) else list(named))
    except (TypeError, ValueError):
        return True
    return not all(one in python_encoding for one in ([named] if isinstance(named, str) else named))


def _harmonise(headers: Sequence["Dataset"]) -> list[str]:
    """One series and one frame of reference for all files, as an object refers to one; UIDs stay as they are, even
    where DICOM does not allow them, since the source is filed under them."""
    from pydicom.uid import UID, generate_uid

    first = headers[0]
    notes = [
        f"{name} of the source is not one that DICOM allows; it was kept, since the source is filed under it"
        for name in _UIDS
        if any(name in header and not UID(str(header[name].value)).is_valid for header in headers)
    ]
    frames = {str(header.get("FrameOfReferenceUID") or "") for header in headers}
    if frames == {""}:
        notes.append("the source names no frame of reference; the object got one of its own")
    elif len(frames) > 1:
        notes.append(f"the files of the source name {len(frames)} frames of reference; the first is used")
    own = generate_uid(entropy_srcs=["frame of reference", str(first.SeriesInstanceUID)])
    frame = next((uid for uid in (str(header.get("FrameOfReferenceUID") or "") for header in headers) if uid), own)
    for header in headers:
        header.SeriesInstanceUID, header.StudyInstanceUID = first.SeriesInstanceUID, first.StudyInstanceUID
        header.FrameOfReferenceUID = frame
    return notes
