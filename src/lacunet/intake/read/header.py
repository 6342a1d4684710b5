"""Reads the header of one DICOM file. Pixels are not read; names, birth dates and numbers of patients are not kept.

Needs pydicom (`pip install "lacunet[dicom]"`). The patient becomes a `Person`: keyed hashes that only tell whether
two files are of one person. The key is drawn anew each time the program starts.
"""

import hashlib
import secrets
import struct
from dataclasses import dataclass, field
from pathlib import Path

from lacunet.errors import UsageError
from lacunet.intake.identify.cautions import Subject
from lacunet.intake.read.dataset import UnreadableFile, read_header_of
from lacunet.intake.read.elements import as_number, digits_of, side_of, text_of, value_of, whole_of, words_of
from lacunet.intake.read.frames import PHILIPS_CREATOR, PHILIPS_SLOPE, Slice, in_groups, slices_of
from lacunet.intake.read.quiet import silently
from lacunet.intake.read.subject import TAGS, subject_of

try:
    import pydicom
    from pydicom import config
    from pydicom.dataset import Dataset
except ImportError:
    pydicom = None

_KEY = secrets.token_bytes(16)
"""The key of the hashes of persons, drawn anew each time the program starts."""

_ENHANCED = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
_TAIL = 2**16
_LEAST_FRAME = 8
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
        UnreadableFile: damaged, truncated, or beyond the limits of `dataset.py` and of this file.
        OSError: it cannot be opened or read.
    """
    data, rest = read_header_of(path, [*_TAGS, PHILIPS_CREATOR, PHILIPS_SLOPE])
    try:
        with silently(), config.disable_value_validation():
            if "DICOMDIR" in str(getattr(data.file_meta, "MediaStorageSOPClassUID", "")) or _is_directory(data):
                return None
            header = _header(path, data)
            if header.rows and header.columns:
                _require_pixels(path, data, header, rest)
            return header
    except (UnreadableFile, OSError):
        raise
    except Exception as error:  # pydicom raises whatever a hostile byte leads to
        raise UnreadableFile(f"damaged or truncated ({type(error).__name__})") from None


def _is_directory(dataset: "Dataset") -> bool:
    meta = getattr(dataset, "file_meta", None)
    return str(getattr(meta, "MediaStorageSOPClassUID", "")) == "1.2.840.10008.1.3.10"


def _header(path: Path, data: "Dataset") -> Header:
    study, series, instance = (
        text_of(data, name) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    )
    if not series or not instance:
        raise UnreadableFile("damaged: its header has no SeriesInstanceUID or no SOPInstanceUID")
    slices = slices_of(data)
    return Header(
        path=path,
        sop_class=text_of(data, "SOPClassUID"),
        sop_instance=instance,
        study=study or series,
        series=series,
        frame_of_reference=text_of(data, "FrameOfReferenceUID") or None,
        person=_person(data),
        modality=text_of(data, "Modality").upper(),
        study_date=digits_of(text_of(data, "StudyDate"))[:8],
        study_time=digits_of(text_of(data, "StudyTime"))[:6],
        number=whole_of(data, "SeriesNumber"),
        instance=whole_of(data, "InstanceNumber"),
        image_type=words_of(data, "ImageType"),
        texts=tuple(
            text
            for name in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
            if (text := text_of(data, name))
        ),
        sequence=words_of(data, "ScanningSequence"),
        three_d={"3D": True, "2D": False}.get(text_of(data, "MRAcquisitionType").upper()),
        repetition_ms=as_number(in_groups(data, "MRTimingAndRelatedParametersSequence", "RepetitionTime")),
        inversion_ms=_inversion(data),
        flip=as_number(in_groups(data, "MRTimingAndRelatedParametersSequence", "FlipAngle")),
        agent=_agent(data),
        field_tesla=_field(data),
        maker=text_of(data, "Manufacturer"),
        rows=side_of(data, "Rows"),
        columns=side_of(data, "Columns"),
        time=_time(data),
        slices=slices,
        multi_frame=len(slices) > 1 or text_of(data, "SOPClassUID") in _ENHANCED,
        colour=(whole_of(data, "SamplesPerPixel") or 1) > 1,
        photometric=text_of(data, "PhotometricInterpretation").upper(),
        acquired=(*words_of(data, "AcquisitionContrast"), *words_of(data, "ComplexImageComponent")),
        unit=str(in_groups(data, "PixelValueTransformationSequence", "RescaleType") or ""),
        acquisition=whole_of(data, "AcquisitionNumber"),
        temporal=whole_of(data, "TemporalPositionIdentifier"),
        thickness=as_number(in_groups(data, "PixelMeasuresSequence", "SliceThickness")),
        subject=subject_of(lambda tag: text_of(data, tag), _anatomy(data)),
    )


def _anatomy(data: "Dataset") -> str:
    """The meaning of the code of what a file shows, of all frames or of the first."""
    regions = in_groups(data, "FrameAnatomySequence", "AnatomicRegionSequence")
    return text_of(regions[0], "CodeMeaning") if regions else ""


# ---------------------------------------------------------------- persons


def _hash(text: str) -> str:
    text = " ".join(text.split()).casefold()
    return hashlib.blake2b(text.encode("utf-8", "replace"), key=_KEY, digest_size=8).hexdigest() if text else ""


def _person(data: "Dataset") -> Person:
    name = "".join(letter for letter in text_of(data, "PatientName").casefold() if letter.isalnum())
    return Person(_hash(text_of(data, "PatientID")), _hash(name), _hash(digits_of(text_of(data, "PatientBirthDate"))))


# ---------------------------------------------------------------- values


def _time(data: "Dataset") -> float | None:
    """When it was acquired, as a number for sorting."""
    whole = text_of(data, "AcquisitionDateTime")
    date = text_of(data, "AcquisitionDate") or text_of(data, "StudyDate")
    clock = text_of(data, "AcquisitionTime") or text_of(data, "ContentTime") or text_of(data, "SeriesTime")
    if whole:
        date, clock = whole[:8], whole[8:].split("+")[0].split("-")[0]
    date, (clock, _, fraction) = digits_of(date)[:8], clock.replace(":", "").partition(".")
    digits = digits_of(clock)[:6]
    return float(f"{date or 0}{digits:0<6}.{digits_of(fraction) or 0}") if digits else None


def _agent(data: "Dataset") -> bool | None:
    """Contrast agent by tag; None where the tag is empty: many scanners leave it out, some always write it."""
    sequence = data.get("ContrastBolusAgentSequence")
    text = text_of(data, "ContrastBolusAgent").lower()
    if text in ("none", "no", "n", "0", "without", "ohne", "kein", "keine", "sans", "non", "nein", "no contrast", "-"):
        return False
    volume = as_number(value_of(data, "ContrastBolusVolume"))
    if text or sequence:
        return not (volume == 0 and not text)
    return True if volume else None


def _field(data: "Dataset") -> float | None:
    field = as_number(value_of(data, "MagneticFieldStrength"))
    if field is None:
        return None
    return field / 10000.0 if field > 100 else field  # some scanners write gauss


def _inversion(data: "Dataset") -> float | None:
    value = as_number(value_of(data, "InversionTime"))
    if value is None:
        value = as_number(in_groups(data, "MRModifierSequence", "InversionTimes"))
    return value or None  # some scanners write 0 where there is none


# ---------------------------------------------------------------- truncated files


def _require_pixels(path: Path, data: "Dataset", header: Header, rest: int) -> None:
    """Refuse a file that ends before its pixels do.

    Raises:
        UnreadableFile: it is shorter than its header says, or its compressed pixels have no end.
    """
    syntax = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is not None and not syntax.is_private and syntax.is_transfer_syntax and syntax.is_compressed:
        if rest < len(header.slices) * _LEAST_FRAME:
            raise UnreadableFile("truncated: it is too short for its number of frames")
        with path.open("rb") as stream:
            stream.seek(max(path.stat().st_size - _TAIL, 0))
            if _END_OF_PIXELS not in stream.read():
                raise UnreadableFile("truncated: its compressed pixels have no end")
        return
    samples = 3 if header.colour else 1
    bits = whole_of(data, "BitsAllocated") or 16
    wanted = header.rows * header.columns * len(header.slices) * samples * bits // 8
    if not 1 <= bits <= 64:
        raise UnreadableFile("damaged: its BitsAllocated cannot be")
    if rest < wanted:
        raise UnreadableFile("truncated: it is shorter than its header says")
