"""Reads the header of one DICOM file. Pixels are not read; names, birth dates and numbers of patients are not kept.

Needs pydicom (`pip install "lacunet[dicom]"`). The patient becomes a `Person`: keyed hashes that only tell whether
two files are of one person. The key is drawn anew each time the program starts.
"""

import hashlib
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lacunet.errors import UsageError
from lacunet.intake.identify.cautions import Subject
from lacunet.intake.read.quiet import silently
from lacunet.intake.read.subject import TAGS, subject_of

try:
    import pydicom
    from pydicom import config
    from pydicom.dataset import Dataset
    from pydicom.errors import InvalidDicomError
except ImportError:
    pydicom = None

_KEY = secrets.token_bytes(16)
"""The key of the hashes of persons, drawn anew each time the program starts."""

_ENHANCED = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
_TAIL = 2**16
_END_OF_PIXELS = b"\xfe\xff\xdd\xe0"

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyTime", "SeriesNumber", "InstanceNumber",
    "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentTime", "SeriesTime", "ImageType",
    "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "ScanningSequence", "MRAcquisitionType",
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoNumbers", "ContrastBolusAgent",
    "ContrastBolusAgentSequence", "ContrastBolusVolume", "ContrastBolusRoute", "MagneticFieldStrength",
    "Manufacturer", "Rows", "Columns", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "ImageOrientationPatient", "ImagePositionPatient", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated",
    "PixelRepresentation", "PhotometricInterpretation", "DiffusionBValue", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "AcquisitionContrast", "ComplexImageComponent", "RescaleType",
    "AcquisitionNumber", "TemporalPositionIdentifier", "RescaleSlope", "RescaleIntercept",
    "AnatomicRegionSequence", *TAGS,
]  # fmt: skip


_PHILIPS_CREATOR, _PHILIPS_SLOPE, _PHILIPS_FRAME = 0x20050010, 0x2005100E, 0x2005140F
"""Philips' private block, the scale slope in it, and the item of a frame that holds such a block."""


class UnreadableFile(Exception):
    """A DICOM file that is damaged; the message says how, without personal data."""


@dataclass(frozen=True)
class Slice:
    """One slice of a file: a classic file has one, a multi-frame file has many. Numbers as in the header (LPS+, mm).

    Attributes:
        slope: A stored number becomes a value by `slope` and `intercept`; 1 and 0 where the header states none.
        intercept: See `slope`.
        philips_slope: Philips' own scale slope: the value divided by it and by `slope` is comparable between slices
            even where `slope` is not; None for other makers.
    """

    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    echo_ms: float | None
    b_value: float | None
    frame_type: tuple[str, ...]
    slope: float = 1.0
    intercept: float = 0.0
    philips_slope: float | None = None


@dataclass(frozen=True)
class Person:
    """The patient of a file, as keyed hashes ("" where missing), which tell whether two files are of one person."""

    number: str
    name: str
    birth: str

    def may_be(self, other: "Person") -> bool:
        """Whether two files may be of one person.

        With numbers: the same number, and name and birth date do not both differ. Without: neither differs."""
        names_differ = bool(self.name and other.name) and self.name != other.name
        births_differ = bool(self.birth and other.birth) and self.birth != other.birth
        if self.number and other.number:
            return self.number == other.number and not (names_differ and births_differ)
        return not (names_differ or births_differ)


@dataclass(frozen=True)
class Header:
    """The header of one file. `texts`, UIDs, `path` and dates are local: used, but never shown.

    Attributes:
        person: The patient.
        texts: Series description, protocol and sequence names: typed by people, may contain names.
        agent: By `ContrastBolusAgent`: True: given, False: stated as not given, None: not stated.
        time: Acquisition time as a number for sorting (YYYYMMDDhhmmss.f); None where missing.
        photometric: `MONOCHROME2`, ... in capitals.
        acquired: AcquisitionContrast and ComplexImageComponent, in capitals.
        unit: Of the values (RescaleType); "" where missing.
        acquisition: Number of the acquisition within the series.
        temporal: Number of the time point within the series.
        thickness: Of a slice, mm.
        subject: What it says of whom and what the image shows, without an age or a date.
    """

    path: Path
    sop_class: str
    sop_instance: str
    study: str
    series: str
    frame_of_reference: str | None
    person: "Person"
    modality: str
    study_date: str
    study_time: str
    number: int | None
    instance: int | None
    image_type: tuple[str, ...]
    texts: tuple[str, ...]
    sequence: tuple[str, ...]
    three_d: bool | None
    repetition_ms: float | None
    inversion_ms: float | None
    flip: float | None
    agent: bool | None
    field_tesla: float | None
    maker: str
    rows: int
    columns: int
    time: float | None
    slices: tuple[Slice, ...]
    multi_frame: bool
    colour: bool
    photometric: str
    acquired: tuple[str, ...]
    unit: str
    acquisition: int | None
    temporal: int | None
    thickness: float | None
    subject: Subject = field(default_factory=Subject)


def require_pydicom() -> None:
    """Raises: UsageError where the extra is not installed."""
    if pydicom is None:
        raise UsageError('reading DICOM needs pydicom and dcm2niix: pip install "lacunet[dicom]"')


def looks_like_dicom(path: Path) -> bool:
    """By content: "DICM" after the preamble, or, without a preamble, the start of a data set."""
    with path.open("rb") as stream:
        start = stream.read(132)
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16:
        return False
    group, element = struct.unpack("<HH", start[:4])
    kind = start[4:6]
    explicit = kind.isalpha() and kind.isupper()
    implicit = struct.unpack("<I", start[4:8])[0] < 256
    return group in (0x0002, 0x0008) and element <= 0x0018 and (explicit or implicit)


def read_header(path: Path) -> Header | None:
    """The header of a file, or None for a file that is DICOM but holds no image at all (a DICOMDIR, a report).

    Raises:
        UnreadableFile: damaged or truncated.
    """
    try:
        with silently(), config.disable_value_validation():
            with path.open("rb") as stream:
                dataset = pydicom.dcmread(
                    stream,
                    stop_before_pixels=True,
                    force=True,
                    specific_tags=[*_TAGS, _PHILIPS_CREATOR, _PHILIPS_SLOPE],
                )
                rest = path.stat().st_size - stream.tell()
            if "DICOMDIR" in str(getattr(dataset.file_meta, "MediaStorageSOPClassUID", "")) or _is_directory(dataset):
                return None
            header = _header(path, dataset)
            if header.rows and header.columns:
                _require_pixels(path, dataset, header, rest)
            return header
    except UnreadableFile:
        raise
    except (InvalidDicomError, AttributeError, ValueError, LookupError, TypeError, OSError, EOFError,
            NotImplementedError, struct.error, OverflowError, RecursionError) as error:  # fmt: skip
        raise UnreadableFile(f"damaged or truncated ({type(error).__name__})") from None


def _is_directory(dataset: "Dataset") -> bool:
    meta = getattr(dataset, "file_meta", None)
    return str(getattr(meta, "MediaStorageSOPClassUID", "")) == "1.2.840.10008.1.3.10"


def _header(path: Path, data: "Dataset") -> Header:
    study, series, instance = (
        _text(data, name) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    )
    if not series or not instance:
        raise UnreadableFile("damaged: its header has no SeriesInstanceUID or no SOPInstanceUID")
    slices = _slices(data)
    return Header(
        path=path,
        sop_class=_text(data, "SOPClassUID"),
        sop_instance=instance,
        study=study or series,
        series=series,
        frame_of_reference=_text(data, "FrameOfReferenceUID") or None,
        person=_person(data),
        modality=_text(data, "Modality").upper(),
        study_date=_digits(_text(data, "StudyDate"))[:8],
        study_time=_digits(_text(data, "StudyTime"))[:6],
        number=_integer(data, "SeriesNumber"),
        instance=_integer(data, "InstanceNumber"),
        image_type=_words(data, "ImageType"),
        texts=tuple(
            text
            for name in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
            if (text := _text(data, name))
        ),
        sequence=_words(data, "ScanningSequence"),
        three_d={"3D": True, "2D": False}.get(_text(data, "MRAcquisitionType").upper()),
        repetition_ms=_number(_in_groups(data, "MRTimingAndRelatedParametersSequence", "RepetitionTime")),
        inversion_ms=_inversion(data),
        flip=_number(_in_groups(data, "MRTimingAndRelatedParametersSequence", "FlipAngle")),
        agent=_agent(data),
        field_tesla=_field(data),
        maker=_text(data, "Manufacturer"),
        rows=_integer(data, "Rows") or 0,
        columns=_integer(data, "Columns") or 0,
        time=_time(data),
        slices=slices,
        multi_frame=len(slices) > 1 or _text(data, "SOPClassUID") in _ENHANCED,
        colour=(_integer(data, "SamplesPerPixel") or 1) > 1,
        photometric=_text(data, "PhotometricInterpretation").upper(),
        acquired=(*_words(data, "AcquisitionContrast"), *_words(data, "ComplexImageComponent")),
        unit=str(_in_groups(data, "PixelValueTransformationSequence", "RescaleType") or ""),
        acquisition=_integer(data, "AcquisitionNumber"),
        temporal=_integer(data, "TemporalPositionIdentifier"),
        thickness=_number(_in_groups(data, "PixelMeasuresSequence", "SliceThickness")),
        subject=subject_of(lambda tag: _text(data, tag), _anatomy(data)),
    )


def _anatomy(data: "Dataset") -> str:
    """The meaning of the code of what a file shows, of all frames or of the first."""
    regions = _in_groups(data, "FrameAnatomySequence", "AnatomicRegionSequence")
    return _text(regions[0], "CodeMeaning") if regions else ""


# ---------------------------------------------------------------- persons


def _hash(text: str) -> str:
    text = " ".join(text.split()).casefold()
    return hashlib.blake2b(text.encode("utf-8", "replace"), key=_KEY, digest_size=8).hexdigest() if text else ""


def _person(data: "Dataset") -> Person:
    name = "".join(letter for letter in _text(data, "PatientName").casefold() if letter.isalnum())
    return Person(_hash(_text(data, "PatientID")), _hash(name), _hash(_digits(_text(data, "PatientBirthDate"))))


# ---------------------------------------------------------------- values


def _text(data: "Dataset", name: str) -> str:
    value = data.get(name)
    return "" if value is None else str(value).strip().strip("\x00").strip()


def _words(data: "Dataset", name: str) -> tuple[str, ...]:
    value = data.get(name)
    if value is None:
        return ()
    parts = [value] if isinstance(value, str) else list(value)
    return tuple(str(part).strip().upper() for part in parts if str(part).strip())


def _number(value: Any) -> float | None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _integer(data: "Dataset", name: str) -> int | None:
    number = _number(data.get(name))
    return None if number is None else int(number)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and bool(np.isfinite(numbers).all()) else None


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _time(data: "Dataset") -> float | None:
    """When it was acquired, as a number for sorting."""
    whole = _text(data, "AcquisitionDateTime")
    date = _text(data, "AcquisitionDate") or _text(data, "StudyDate")
    clock = _text(data, "AcquisitionTime") or _text(data, "ContentTime") or _text(data, "SeriesTime")
    if whole:
        date, clock = whole[:8], whole[8:].split("+")[0].split("-")[0]
    date, (clock, _, fraction) = _digits(date)[:8], clock.replace(":", "").partition(".")
    digits = _digits(clock)[:6]
    return float(f"{date or 0}{digits:0<6}.{_digits(fraction) or 0}") if digits else None


def _agent(data: "Dataset") -> bool | None:
    """Contrast agent by tag; None where the tag is empty: many scanners leave it out, some always write it."""
    sequence = data.get("ContrastBolusAgentSequence")
    text = _text(data, "ContrastBolusAgent").lower()
    if text in ("none", "no", "n", "0", "without", "ohne", "kein", "keine", "sans", "non", "nein", "no contrast", "-"):
        return False
    volume = _number(data.get("ContrastBolusVolume"))
    if text or sequence:
        return not (volume == 0 and not text)
    return True if volume else None


def _field(data: "Dataset") -> float | None:
    field = _number(data.get("MagneticFieldStrength"))
    if field is None:
        return None
    return field / 10000.0 if field > 100 else field  # some scanners write gauss


def _inversion(data: "Dataset") -> float | None:
    value = _number(data.get("InversionTime"))
    if value is None:
        value = _number(_in_groups(data, "MRModifierSequence", "InversionTimes"))
    return value or None  # some scanners write 0 where there is none


# ---------------------------------------------------------------- multi-frame


def _groups(data: "Dataset") -> "tuple[Dataset | None, Sequence[Dataset]]":
    """The functional groups shared by all frames, and those of each frame."""
    shared = data.get("SharedFunctionalGroupsSequence")
    return (shared[0] if shared else None), (data.get("PerFrameFunctionalGroupsSequence") or [])


def _in_group(group: "Dataset | None", sequence: str, name: str) -> Any:
    items = group.get(sequence) if group is not None else None
    return items[0].get(name) if items else None


def _in_groups(data: "Dataset", sequence: str, name: str) -> Any:
    """A value of the data set, else of the shared groups, else of the first frame."""
    if (value := data.get(name)) is not None:
        return value
    shared, frames = _groups(data)
    value = _in_group(shared, sequence, name)
    return value if value is not None or not frames else _in_group(frames[0], sequence, name)


def _slices(data: "Dataset") -> tuple[Slice, ...]:
    shared, frames = _groups(data)
    if frames:
        return tuple(_frame(frame, shared) for frame in frames)
    one = Slice(
        position=_triple(data.get("ImagePositionPatient")),
        orientation=_numbers(data.get("ImageOrientationPatient"), 6),
        spacing=_pair(data.get("PixelSpacing")),
        echo_ms=_number(data.get("EchoTime")),
        b_value=_number(data.get("DiffusionBValue")),
        frame_type=(),
        slope=_number(data.get("RescaleSlope")) or 1.0,
        intercept=_number(data.get("RescaleIntercept")) or 0.0,
        philips_slope=_philips_slope(data),
    )
    return (one,) * max(_integer(data, "NumberOfFrames") or 1, 1)


def _frame(frame: "Dataset", shared: "Dataset | None") -> Slice:
    def value(sequence: str, name: str) -> Any:
        own = _in_group(frame, sequence, name)
        return own if own is not None else _in_group(shared, sequence, name)

    kind = value("MRImageFrameTypeSequence", "FrameType")
    return Slice(
        position=_triple(value("PlanePositionSequence", "ImagePositionPatient")),
        orientation=_numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        spacing=_pair(value("PixelMeasuresSequence", "PixelSpacing")),
        echo_ms=_number(value("MREchoSequence", "EffectiveEchoTime")),
        b_value=_number(value("MRDiffusionSequence", "DiffusionBValue")),
        frame_type=tuple(str(part).upper() for part in kind) if kind else (),
        slope=_number(value("PixelValueTransformationSequence", "RescaleSlope")) or 1.0,
        intercept=_number(value("PixelValueTransformationSequence", "RescaleIntercept")) or 0.0,
        philips_slope=_philips_slope_of_frame(frame),
    )


def _philips_slope_of_frame(frame: "Dataset") -> float | None:
    element = frame.get(_PHILIPS_FRAME)
    items = [] if element is None or isinstance(element.value, bytes) else element.value
    return _philips_slope(items[0]) if items else None


def _philips_slope(data: "Dataset") -> float | None:
    """The private scale slope; None where there is none, or where it is zero."""
    creator, element = data.get(_PHILIPS_CREATOR), data.get(_PHILIPS_SLOPE)
    if creator is None or element is None or not str(creator.value).startswith("Philips MR"):
        return None
    value = element.value
    if isinstance(value, bytes):  # an unknown private element of an implicit file
        value = struct.unpack("<f", value)[0] if len(value) == 4 else None
    return _number(value) or None


def _triple(value: Any) -> tuple[float, float, float] | None:
    numbers = _numbers(value, 3)
    return (numbers[0], numbers[1], numbers[2]) if numbers else None


def _pair(value: Any) -> tuple[float, float] | None:
    numbers = _numbers(value, 2)
    return (numbers[0], numbers[1]) if numbers else None


# ---------------------------------------------------------------- truncated files


def _require_pixels(path: Path, data: "Dataset", header: Header, rest: int) -> None:
    """Refuse a file that ends before its pixels do.

    Raises:
        UnreadableFile: it is shorter than its header says, or its compressed pixels have no end.
    """
    syntax = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is not None and not syntax.is_private and syntax.is_transfer_syntax and syntax.is_compressed:
        if str(syntax) == "1.2.840.10008.1.2.1.99":  # deflated as a whole: a truncated file could not be inflated
            return
        with path.open("rb") as stream:
            stream.seek(max(path.stat().st_size - _TAIL, 0))
            if _END_OF_PIXELS not in stream.read():
                raise UnreadableFile("truncated: its compressed pixels have no end")
        return
    samples = 3 if header.colour else 1
    bits = _integer(data, "BitsAllocated") or 16
    wanted = header.rows * header.columns * len(header.slices) * samples * bits // 8
    if rest < wanted:
        raise UnreadableFile("truncated: it is shorter than its header says")
