"""The slices of a DICOM file: one of a classic file, one for each frame of a multi-frame file."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lacunet.intake.read.dataset import UnreadableFile
from lacunet.intake.read.elements import as_number, as_numbers, as_pair, as_triple, element_of, value_of

if TYPE_CHECKING:  # an extra that may be absent
    from pydicom.dataset import Dataset

MOST_FRAMES = 2**16
"""Frames of a file."""

PHILIPS_CREATOR, PHILIPS_SLOPE, _PHILIPS_FRAME = 0x20050010, 0x2005100E, 0x2005140F
"""Philips' private block, the scale slope in it, and the item of a frame that holds such a block."""


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


def _groups(data: "Dataset") -> "tuple[Dataset | None, Sequence[Dataset]]":
    """The functional groups shared by all frames, and those of each frame."""
    shared = data.get("SharedFunctionalGroupsSequence")
    return (shared[0] if shared else None), (data.get("PerFrameFunctionalGroupsSequence") or [])


def _in_group(group: "Dataset | None", sequence: str, name: str) -> Any:
    items = group.get(sequence) if group is not None else None
    return None if not items else element_of(items[0], name)


def in_groups(data: "Dataset", sequence: str, name: str) -> Any:
    """A value of the data set, else of the shared groups, else of the first frame."""
    if (value := element_of(data, name)) is not None:
        return value
    shared, frames = _groups(data)
    value = _in_group(shared, sequence, name)
    return value if value is not None or not frames else _in_group(frames[0], sequence, name)


def slices_of(data: "Dataset") -> tuple[Slice, ...]:
    """One slice for each frame.

    Raises:
        UnreadableFile: the number of frames cannot be, or is not that of the frames that are described.
    """
    shared, frames = _groups(data)
    count = _stated_frames(data)
    if frames and count not in (None, len(frames)):
        raise UnreadableFile(f"damaged: states {count} frames and describes {len(frames)}")
    if frames:
        return tuple(_frame(frame, shared) for frame in frames)
    one = Slice(
        position=as_triple(value_of(data, "ImagePositionPatient")),
        orientation=as_numbers(value_of(data, "ImageOrientationPatient"), 6),
        spacing=as_pair(value_of(data, "PixelSpacing")),
        echo_ms=as_number(value_of(data, "EchoTime")),
        b_value=as_number(value_of(data, "DiffusionBValue")),
        frame_type=(),
        slope=as_number(value_of(data, "RescaleSlope")) or 1.0,
        intercept=as_number(value_of(data, "RescaleIntercept")) or 0.0,
        philips_slope=_philips_slope(data),
    )
    return (one,) * (count or 1)


def _stated_frames(data: "Dataset") -> int | None:
    """NumberOfFrames, which other things are made as many of."""
    stated = value_of(data, "NumberOfFrames")
    if stated in (None, ""):
        return None
    count = as_number(stated)
    if count is None or not 0 <= count <= MOST_FRAMES:
        raise UnreadableFile(f"damaged: states a NumberOfFrames that is none, or more than {MOST_FRAMES}")
    return int(count)


def _frame(frame: "Dataset", shared: "Dataset | None") -> Slice:
    def value(sequence: str, name: str) -> Any:
        own = _in_group(frame, sequence, name)
        return own if own is not None else _in_group(shared, sequence, name)

    kind = value("MRImageFrameTypeSequence", "FrameType")
    return Slice(
        position=as_triple(value("PlanePositionSequence", "ImagePositionPatient")),
        orientation=as_numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        spacing=as_pair(value("PixelMeasuresSequence", "PixelSpacing")),
        echo_ms=as_number(value("MREchoSequence", "EffectiveEchoTime")),
        b_value=as_number(value("MRDiffusionSequence", "DiffusionBValue")),
        frame_type=tuple(str(part).upper() for part in kind) if kind else (),
        slope=as_number(value("PixelValueTransformationSequence", "RescaleSlope")) or 1.0,
        intercept=as_number(value("PixelValueTransformationSequence", "RescaleIntercept")) or 0.0,
        philips_slope=_philips_slope_of_frame(frame),
    )


def _philips_slope_of_frame(frame: "Dataset") -> float | None:
    element = frame.get(_PHILIPS_FRAME)
    items = [] if element is None or isinstance(element.value, bytes) else element.value
    return _philips_slope(items[0]) if items else None


def _philips_slope(data: "Dataset") -> float | None:
    """The private scale slope; None where there is none, or where it is zero."""
    creator, value = value_of(data, PHILIPS_CREATOR), value_of(data, PHILIPS_SLOPE)
    if creator is None or value is None or not str(creator).startswith("Philips MR"):
        return None
    if isinstance(value, bytes):  # an unknown private element of an implicit file
        value = struct.unpack("<f", value)[0] if len(value) == 4 else None
    return as_number(value) or None
