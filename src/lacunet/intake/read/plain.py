"""The files of a stack as a plain series for the converter: the pixels as they are, and no more of the header than says
where they lie. What differs between the files in the last digits, or by mistake, cannot mislead the converter then."""

from pathlib import Path

import numpy as np

from lacunet.intake.read.dataset import read_with_pixels
from lacunet.intake.read.header import Header
from lacunet.intake.read.quiet import silently
from lacunet.intake.read.series import Series

try:
    from pydicom import config
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
except ImportError:  # an extra that may be absent
    pass

PLAIN_MM = 0.01
"""Positions that are nearer to equal distances are left to the converter as they are."""

_MR = "1.2.840.10008.5.1.4.1.1.4"
_PIXELS = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip


def is_plain(series: Series) -> bool:
    """Whether the files agree in all that may differ only by mistake, so that the converter may have them."""
    headers = series.headers
    numbers = {header.instance for header in headers}
    settings = {
        (one.series, one.acquisition, one.repetition_ms, one.inversion_ms, one.flip, one.maker) for one in headers
    }
    geometry = {(one.orientation, one.spacing, one.echo_ms) for one in series.slices}
    return (
        len(numbers) == len(headers) == len({header.sop_instance for header in headers})
        and None not in numbers
        and len(settings) == len(geometry) == 1
        and not scales_differ(series)
        and series.off_line_mm <= PLAIN_MM
    )


def scales_differ(series: Series) -> bool:
    """Whether stored numbers become values by another slope or intercept from slice to slice."""
    return len({(one.slope, one.intercept, one.philips_slope) for one in series.slices}) > 1


def write_plain(series: Series, folder: Path) -> None:
    """Write each file of a classic series into `folder`, at even steps, without a scale where scales differ.

    Raises:
        OSError: a file cannot be read.
        UnreadableFile: a file is damaged.
        ValueError: a file cannot be understood.
    """
    uid = generate_uid()
    start, step = series.line
    for number, header in enumerate(series.headers):
        with silently(), config.disable_value_validation():
            source = read_with_pixels(header.path, _PIXELS)
            data = _dataset(source, series, number, uid)
            place = start + number * step
            data.ImagePositionPatient = [_decimal(value) for value in place]
            _save(data, source, folder / f"{number:06d}.dcm")


def _dataset(source: "Dataset", series: Series, number: int, uid: str) -> "Dataset":
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = _MR, generate_uid()
    data.StudyInstanceUID = data.SeriesInstanceUID = data.FrameOfReferenceUID = uid
    data.Modality, data.SeriesNumber, data.InstanceNumber = "MR", 1, number + 1
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = "20000101"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = "120000"
    for name in _PIXELS:
        if name in source:
            data[name] = source[name]
    assert series.directions is not None
    assert series.spacing is not None
    data.ImageOrientationPatient = [_decimal(value) for value in series.directions.reshape(-1)]
    data.PixelSpacing = [_decimal(value) for value in series.spacing]
    data.SliceThickness = data.SpacingBetweenSlices = _decimal(float(np.linalg.norm(series.line[1])))
    if not scales_differ(series):
        data.RescaleSlope, data.RescaleIntercept = (_decimal(value) for value in _scale(series.headers[number]))
    return data


def _scale(header: Header) -> tuple[float, float]:
    return header.slices[0].slope, header.slices[0].intercept


def _save(data: "Dataset", source: "Dataset", path: Path) -> None:
    syntax = source.file_meta.get("TransferSyntaxUID") if hasattr(source, "file_meta") else None
    if syntax is None:
        syntax = ImplicitVRLittleEndian if source.original_encoding[0] else ExplicitVRLittleEndian
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = _MR, data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return next(text for digits in range(12, 3, -1) if len(text := f"{value:.{digits}g}") <= 16)
