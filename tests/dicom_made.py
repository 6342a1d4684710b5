"""DICOM series made from arrays, as several vendors would write them. Everything in them is invented."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

CLASSIC, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
SECONDARY, CT, PET = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.128"
NAME, NUMBER, BIRTH = "Mustermann^Erika", "4711-0815", "19640812"
SECRETS = ("Mustermann", "Erika", "4711", "0815", "19640812", "Sankt-Elsewhere", "Dr-Feelgood", "ACC-998877")

SETTINGS: dict[str, dict[str, Any]] = {
    "t1n": {"RepetitionTime": 550, "EchoTime": 10, "ScanningSequence": "SE"},
    "t1c": {"RepetitionTime": 550, "EchoTime": 10, "ScanningSequence": "SE"},
    "t2w": {"RepetitionTime": 4500, "EchoTime": 95, "ScanningSequence": "SE"},
    "t2f": {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500, "ScanningSequence": ["SE", "IR"]},
}
MAKERS = {"siemens": "SIEMENS", "ge": "GE MEDICAL SYSTEMS", "philips": "Philips Medical Systems", "canon": "CANON_MEC"}
TYPES = {
    "siemens": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
    "ge": ["ORIGINAL", "PRIMARY", "OTHER"],
    "philips": ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"],
    "canon": ["ORIGINAL", "PRIMARY", "OTHER"],
}


@dataclass
class Examination:
    """One invented examination of one invented person, that series are written into."""

    folder: Path
    person: tuple[str, str, str] = (NAME, NUMBER, BIRTH)
    date: str = "20210304"
    vendor: str = "siemens"
    uid: str = field(default_factory=generate_uid)
    frame: str = field(default_factory=generate_uid)
    minutes: int = 0

    def write(
        self,
        volume: np.ndarray,
        affine: np.ndarray,
        number: int,
        description: str,
        kind: str | None = None,
        *,
        tags: dict[str, Any] | None = None,
        drop: Sequence[str] = (),
        compress: str | None = None,
        implicit: bool = False,
        suffix: str = ".dcm",
        preamble: bool = True,
        slices: Sequence[int] | None = None,
        series: str | None = None,
        each: Callable[[int], dict[str, Any]] | None = None,
    ) -> list[Path]:
        """A classic series, one file a slice; voxels are whole numbers. `each` gives tags of slice k (None: drop)."""
        self.minutes += 5
        series = series or generate_uid()
        paths = []
        for k in range(volume.shape[2]) if slices is None else slices:
            data = self._common(number, description, kind, series)
            data.SOPClassUID = CLASSIC
            data.ImageType = TYPES[self.vendor]
            data.InstanceNumber = k + 1
            _place(data, affine, k)
            _pixels(data, volume[:, :, k].T[None])
            own = each(k) if each else {}
            _change(data, {**(tags or {}), **own}, [*drop, *(name for name, value in own.items() if value is None)])
            paths.append(self._save(data, f"{number:03d}-{k:03d}", suffix, compress, implicit, preamble))
        return paths

    def write_enhanced(
        self, volume: np.ndarray, affine: np.ndarray, number: int, description: str, kind: str, suffix: str = ".dcm"
    ) -> Path:
        """A multi-frame series: one file."""
        self.minutes += 5
        data = self._common(number, description, None, generate_uid())
        data.SOPClassUID = ENHANCED
        data.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
        data.InstanceNumber = 1
        data.MRAcquisitionType = "2D"
        data.ContentDate, data.ContentTime = self.date, "101010"
        data.AcquisitionDateTime = f"{self.date}{self._clock()}"
        data.PixelPresentation, data.VolumetricProperties = "MONOCHROME", "VOLUME"
        data.AcquisitionContrast = "UNKNOWN"
        data.ComplexImageComponent = "MAGNITUDE"
        settings = SETTINGS[kind]
        shared = Dataset()
        shared.MRTimingAndRelatedParametersSequence = Items(
            [_item(RepetitionTime=float(settings["RepetitionTime"]), FlipAngle=90.0)]
        )
        shared.MREchoSequence = Items([_item(EffectiveEchoTime=float(settings["EchoTime"]))])
        if "InversionTime" in settings:
            shared.MRModifierSequence = Items(
                [_item(InversionRecovery="YES", InversionTimes=[float(settings["InversionTime"])])]
            )
        orientation = _orientation(affine)
        shared.PlaneOrientationSequence = Items([_item(ImageOrientationPatient=orientation)])
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        shared.PixelMeasuresSequence = Items(
            [_item(PixelSpacing=[_ds(spacing[1]), _ds(spacing[0])], SliceThickness=_ds(spacing[2]))]
        )
        shared.PixelValueTransformationSequence = Items([_item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")])
        data.SharedFunctionalGroupsSequence = Items([shared])
        organisation = generate_uid()
        data.DimensionOrganizationSequence = Items([_item(DimensionOrganizationUID=organisation)])
        data.DimensionIndexSequence = Items(
            [
                _item(
                    DimensionOrganizationUID=organisation,
                    DimensionIndexPointer=0x00209057,
                    FunctionalGroupPointer=0x00209111,
                )
            ]
        )
        frames = []
        for k in range(volume.shape[2]):
            frame = Dataset()
            frame.FrameContentSequence = Items(
                [
                    _item(
                        StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[k + 1], FrameAcquisitionNumber=1
                    )
                ]
            )
            frame.PlanePositionSequence = Items([_item(ImagePositionPatient=_position(affine, k))])
            frame.MRImageFrameTypeSequence = Items([_item(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"])])
            frames.append(frame)
        data.PerFrameFunctionalGroupsSequence = Items(frames)
        data.NumberOfFrames = volume.shape[2]
        _pixels(data, volume.transpose(2, 1, 0))
        return self._save(data, f"{number:03d}-enhanced", suffix, None, False, True)

    def _clock(self) -> str:
        return f"{10 + self.minutes // 60:02d}{self.minutes % 60:02d}00"

    def _common(self, number: int, description: str, kind: str | None, series: str) -> Dataset:
        data = Dataset()
        data.PatientName, data.PatientID, data.PatientBirthDate = self.person
        data.InstitutionName, data.OperatorsName, data.AccessionNumber = "Sankt-Elsewhere", "Dr-Feelgood", "ACC-998877"
        data.ReferringPhysicianName, data.PatientComments = "Dr-Feelgood", "knows Mustermann"
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = self.uid, series, self.frame
        data.SOPInstanceUID, data.StudyID = generate_uid(), "1"
        data.StudyDate, data.StudyTime = self.date, "100000"
        data.AcquisitionDate, data.AcquisitionTime = self.date, self._clock()
        data.SeriesNumber, data.SeriesDescription, data.Modality = number, description, "MR"
        data.Manufacturer, data.MagneticFieldStrength = MAKERS[self.vendor], 3
        for name, value in SETTINGS.get(kind or "", {}).items():
            setattr(data, name, value)
        return data

    def _save(
        self, data: Dataset, name: str, suffix: str, compress: str | None, implicit: bool, preamble: bool
    ) -> Path:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        path = self.folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = FileDataset(str(path), data, file_meta=meta, preamble=b"\0" * 128)
        if compress is not None:
            file.compress({"rle": RLELossless, **_COMPRESSIONS}[compress])
        if preamble:
            file.save_as(path, enforce_file_format=True)
        else:
            del file.file_meta
            file.preamble = None
            file.save_as(path, implicit_vr=implicit, little_endian=True)
        return path


_COMPRESSIONS = {
    "jpeg2000": pydicom.uid.JPEG2000Lossless,
    "jpegls": pydicom.uid.JPEGLSLossless,
}


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _ds(value: float) -> str:
    return f"{value:.10g}"[:16]


def _lps(vector: np.ndarray) -> np.ndarray:
    return vector * np.array([-1.0, -1.0, 1.0])


def _orientation(affine: np.ndarray) -> list[str]:
    axes = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    return [_ds(value) for value in (*_lps(axes[:, 0]), *_lps(axes[:, 1]))]


def _position(affine: np.ndarray, k: int) -> list[str]:
    return [_ds(value) for value in _lps(affine[:3, 3] + k * affine[:3, 2])]


def _place(data: Dataset, affine: np.ndarray, k: int) -> None:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    data.ImageOrientationPatient, data.ImagePositionPatient = _orientation(affine), _position(affine, k)
    data.PixelSpacing = [_ds(spacing[1]), _ds(spacing[0])]
    data.SliceThickness = data.SpacingBetweenSlices = _ds(spacing[2])


def _pixels(data: Dataset, frames: np.ndarray) -> None:
    data.Rows, data.Columns = frames.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = np.ascontiguousarray(frames.astype("<u2")).tobytes()
    data["PixelData"].VR = "OW"


def _change(data: Dataset, tags: dict[str, Any] | None, drop: Sequence[str]) -> None:
    for name, value in (tags or {}).items():
        setattr(data, name, value)
    for name in drop:
        if name in data:
            delattr(data, name)


def labels_in(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a segmentation as columns x rows x slices with their RAS+ affine, read by pydicom alone."""
    found = pydicom.dcmread(path)
    frames = found.pixel_array
    frames = frames[None] if frames.ndim == 2 else frames
    shared = found.SharedFunctionalGroupsSequence[0]
    directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    measures = shared.PixelMeasuresSequence[0]
    normal = np.cross(*directions)
    placed: dict[float, np.ndarray] = {}
    where: dict[float, np.ndarray] = {}
    for frame, group in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        height = round(float(place @ normal), 3)
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        layer = placed.setdefault(height, np.zeros(frame.shape, np.uint8))
        layer[frame > 0] = number
        where[height] = place
    heights = sorted(placed)
    affine = np.eye(4)
    affine[:3, 0] = directions[0] * float(measures.PixelSpacing[1])
    affine[:3, 1] = directions[1] * float(measures.PixelSpacing[0])
    affine[:3, 2] = normal * float(measures.SpacingBetweenSlices)
    affine[:3, 3] = where[heights[0]]
    stack = np.stack([placed[height] for height in heights], axis=-1)
    return stack.transpose(1, 0, 2), np.diag([-1.0, -1, 1, 1]) @ affine
