"""Volumes as a DICOM structured report (TID 1500), for archives that read numbers from there."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lacunet.files import whole_file
from lacunet.intake.read.quiet import silently
from lacunet.segmentation.dicom_seg import BRAIN, FINDINGS, RESEARCH, TUMOUR
from lacunet.task import Task

if TYPE_CHECKING:  # an extra that may be absent, and slow: each function imports what it needs
    import highdicom as hd

Code = tuple[str, str, str]
"""Value, scheme and meaning."""

NEOPLASM: Code = ("108369006", "SCT", "Neoplasm")
VOLUME: Code = ("118565006", "SCT", "Volume")
MILLILITRE: Code = ("cm3", "UCUM", "cubic centimeter")  # the name that CID 7462 (units of volume) has for it
MRI_OF_BRAIN: Code = ("816077007", "SCT", "MRI of brain")
DEVICE: Code = ("121007", "DCM", "Device")

_SERIES = 300
_DIGITS = 3


@dataclass(frozen=True)
class Measured:
    """What a report says.

    Attributes:
        object: The DICOM SEG.
        volumes_ml: By region, as on the case's page.
        titles: By region: `whole tumour`, with a word in brackets where it is inferred or doubtful.
    """

    object: Path
    volumes_ml: Mapping[str, float]
    titles: Mapping[str, str]


def write_measurements(measured: Measured, path: Path, task: Task) -> None:
    """Write the report: the volume of each region as on the case's page, and that of each segment by its own voxels.

    Args:
        measured: What it says.
        path: Ends in .dcm.
        task: Knows regions and labels.

    Raises:
        OutputError: the file cannot be written.
    """
    import highdicom as hd
    from pydicom import dcmread
    from pydicom.uid import generate_uid

    with silently():
        mask: Any = dcmread(measured.object)
        groups = [*_regions(measured, mask, task), *_segments(mask, task)]
        device = hd.sr.DeviceObserverIdentifyingAttributes(
            uid=_uid("device", version("lacunet")), name="lacunet", model_name=str(mask.ManufacturerModelName)
        )
        observer = hd.sr.ObserverContext(observer_type=_code(DEVICE), observer_identifying_attributes=device)
        content = hd.sr.MeasurementReport(
            observation_context=hd.sr.ObservationContext(observer_device_context=observer),
            procedure_reported=_code(MRI_OF_BRAIN),
            imaging_measurements=groups,
        )
        report = hd.sr.ComprehensiveSR(
            evidence=[mask],
            content=content[0],
            series_instance_uid=_uid("measurements", str(mask.SOPInstanceUID)),
            series_number=int(mask.SeriesNumber or 0) + _SERIES,
            sop_instance_uid=generate_uid(
                entropy_srcs=["measurements", str(mask.SOPInstanceUID), repr(sorted(measured.volumes_ml.items()))]
            ),
            instance_number=1,
            manufacturer="lacunet",
            is_complete=True,
            is_final=False,
        )
        report.SeriesDescription = f"{RESEARCH}: tumour volumes"[:64]
        with whole_file(path) as temporary:
            report.save_as(temporary)


def _regions(measured: Measured, mask: Any, task: Task) -> "list[hd.sr.MeasurementsAndQualitativeEvaluations]":
    """One group for each region; it refers to the mask as a whole, since a region is one or several segments."""
    import highdicom as hd

    source = hd.sr.SourceImageForMeasurementGroup(str(mask.SOPClassUID), str(mask.SOPInstanceUID))
    return [
        hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(
                uid=_uid("region", str(mask.SOPInstanceUID), region), identifier=measured.titles[region]
            ),
            finding_type=_code(FINDINGS["enhancing"].code if region == "et" else NEOPLASM),
            finding_category=_code(TUMOUR),
            finding_sites=[hd.sr.FindingSite(_code(BRAIN))],
            measurements=[_volume(measured.volumes_ml[region])],
            source_images=[source],
        )
        for region in task.regions
    ]


def _segments(mask: Any, task: Task) -> "list[hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations]":
    """One group for each segment that has voxels."""
    import highdicom as hd

    series = hd.sr.SourceSeriesForSegmentation(str(mask.ReferencedSeriesSequence[0].SeriesInstanceUID))
    volumes = _volumes_of(mask)
    labels = dict(enumerate(task.labels, 1))
    return [
        hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(
                uid=_uid("segment", str(mask.SOPInstanceUID), str(number)), identifier=str(item.SegmentLabel)
            ),
            referenced_segment=hd.sr.ReferencedSegment(
                str(mask.SOPClassUID), str(mask.SOPInstanceUID), number, source_series=series
            ),
            finding_type=_code(FINDINGS[labels[number]].code if labels[number] in FINDINGS else TUMOUR),
            finding_category=_code(TUMOUR),
            finding_sites=[hd.sr.FindingSite(_code(BRAIN))],
            measurements=[_volume(volumes[number])],
        )
        for number, item in ((int(item.SegmentNumber), item) for item in mask.SegmentSequence)
        if volumes.get(number)
    ]


def _volumes_of(mask: Any) -> dict[int, float]:
    """Millilitres of each segment, by its voxels."""
    measures = mask.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    step = measures.get("SpacingBetweenSlices") or measures.SliceThickness
    voxel = float(np.prod([float(one) for one in (*measures.PixelSpacing, step)])) / 1000
    frames = mask.pixel_array.reshape(-1, mask.Rows, mask.Columns)
    found: dict[int, float] = {}
    for frame, group in zip(frames, mask.PerFrameFunctionalGroupsSequence, strict=True):
        number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        found[number] = found.get(number, 0.0) + float(frame.sum()) * voxel
    return found


def _volume(millilitres: float) -> "hd.sr.Measurement":
    import highdicom as hd

    return hd.sr.Measurement(name=_code(VOLUME), value=round(millilitres, _DIGITS), unit=_code(MILLILITRE))


def _code(code: Code) -> "hd.sr.CodedConcept":
    import highdicom as hd

    return hd.sr.CodedConcept(*code)


def _uid(*entropy: str) -> str:
    """The same report of the same mask has the same identity."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["lacunet", *entropy]))
