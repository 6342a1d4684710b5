"""A mask as a DICOM segmentation object, which a viewer lays over its source series. Needs the extra `dicom`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from lacunet.case import RAS_LPS, Grid
from lacunet.errors import DataError, UsageError
from lacunet.files import whole_file
from lacunet.task import IN_BRACKETS, Subset, Task

if TYPE_CHECKING:  # an extra that may be absent, and slow: each function imports what it needs
    import highdicom as hd
    from pydicom import Dataset

SAME_PLACE_MM = 0.01
"""NIfTI keeps places as 32-bit floats, DICOM as decimal text: grids that differ by less are one grid."""


@dataclass(frozen=True)
class Finding:
    """How a label is called in DICOM.

    Attributes:
        title: For people.
        code: Value, scheme and meaning of the property type, from the context group for lesions (CID 7159).
        colour: As in the case's page: red, green, blue.
    """

    title: str
    code: tuple[str, str, str]
    colour: tuple[int, int, int]


FINDINGS: Mapping[str, Finding] = {
    "necrotic_core": Finding("Necrotic and non-enhancing tumour core", ("6574001", "SCT", "Necrosis"), (255, 210, 60)),
    "oedema": Finding("Peritumoural oedema", ("79654002", "SCT", "Edema"), (95, 182, 255)),
    "enhancing": Finding("Enhancing tumour", ("C113842", "NCIt", "Enhancing Lesion"), (255, 95, 144)),
}
"""By the names of `Task.labels`. SNOMED has no word for an enhancing lesion; DICOM's own list takes it from NCIt."""

MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What a DICOM object takes over from its source."""

TUMOUR = ("49755003", "SCT", "Morphologically Abnormal Structure")
BRAIN = ("12738006", "SCT", "Brain")
MACHINE_LEARNING = ("123110", "DCM", "Artificial Intelligence")


def write_dicom_seg(
    path: Path,
    labels: UInt8[np.ndarray, "x y z"],
    grid: Grid,
    source: Sequence[Path],
    model: str,
    task: Task,
    subset: Subset | None = None,
) -> None:
    """Write one binary segment per label of the task, whole or not at all.

    The object belongs to the patient and study of its source, so that an archive files it there: it carries their
    name and number, as every DICOM object does.

    Args:
        path: Ends in .dcm.
        labels: Labels inside lacunet.
        grid: Where they lie: the source's grid, its axes in any order and direction.
        source: The files of the series the mask was made for: its slices, or one multi-frame file.
        model: Name and version of what made the mask, for the object's description.
        task: Names the labels.
        subset: The modalities that the model used; a label that they cannot show is called inferred. None: all.

    Raises:
        DataError: a source file cannot be read, the headers lack what is needed, or the mask does not lie on the
            source's grid.
        OutputError: the file cannot be written.
        UsageError: `lacunet[dicom]` is not installed.
    """
    _require_highdicom()
    headers = _headers(source)
    try:
        geometry, ordered = _geometry(headers)
        segmentation = _segmentation(_on(geometry, labels, grid), ordered, model, task, subset or task.modalities)
    except (
        AttributeError,
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # its text may hold what the headers say
        raise DataError(
            f"the headers of the source series lack what a DICOM SEG needs ({type(error).__name__} by highdicom); "
            "use the NIfTI mask"
        ) from error
    with whole_file(path) as temporary:
        segmentation.save_as(temporary)


def _require_highdicom() -> None:
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UsageError("DICOM needs more packages: pip install 'lacunet[dicom]'") from error


def _headers(source: Sequence[Path]) -> list["Dataset"]:
    """The files without their pixels."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not source:
        raise DataError("no DICOM files to refer to; a DICOM SEG needs the series that was segmented")
    headers: list[Dataset] = []
    for number, path in enumerate(source, start=1):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (OSError, InvalidDicomError, ValueError, EOFError) as error:  # its text may hold the file's name
            raise DataError(
                f"file {number} of {len(source)} of the source series cannot be read ({type(error).__name__}); "
                "is it still there, and DICOM?"
            ) from error
        for name in MAY_BE_EMPTY:  # standard says: there, and empty where not known; many files lack them
            if name not in header:
                setattr(header, name, "")
        headers.append(header)
    return headers


def _geometry(headers: list["Dataset"]) -> tuple["hd.VolumeGeometry", list["Dataset"]]:
    """The grid of a series, and its files in the order of its slices."""
    import highdicom as hd

    if len(headers) == 1 and "NumberOfFrames" in headers[0]:
        geometry = hd.Image.from_dataset(headers[0]).get_volume_geometry()
        if geometry is None:
            raise DataError("the frames of the source series do not make a volume: uneven or missing slices")
        return geometry, headers
    _, places = hd.spatial.get_series_volume_positions(headers)
    if places is None:
        raise DataError("the slices of the source series do not make a volume: uneven, doubled or missing slices")
    ordered = [headers[index] for index in np.argsort(places)]
    spacing = _between_slices(ordered)
    first = ordered[0]
    geometry = hd.VolumeGeometry.from_attributes(
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        rows=first.Rows,
        columns=first.Columns,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=spacing,
        number_of_frames=len(ordered),
        coordinate_system="PATIENT",
        frame_of_reference_uid=first.get("FrameOfReferenceUID"),
    )
    return geometry, ordered


def _between_slices(ordered: Sequence["Dataset"]) -> float:
    """Millimetres from slice to slice; the thickness where there is one slice only."""
    if len(ordered) == 1:
        return float(ordered[0].get("SliceThickness") or 1.0)
    first, last = (np.array(header.ImagePositionPatient, float) for header in (ordered[0], ordered[-1]))
    return float(np.linalg.norm(last - first)) / (len(ordered) - 1)


def _on(geometry: "hd.VolumeGeometry", labels: np.ndarray, grid: Grid) -> "hd.Volume":
    """The labels in the order of the source's voxels: axes exchanged and turned round, nothing resampled."""
    import highdicom as hd

    volume = hd.Volume(labels, RAS_LPS @ grid.affine, "PATIENT")
    try:
        matched = volume.match_orientation(geometry)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"the mask does not lie on the grid of the source series: {error}") from error
    far = np.abs(matched.affine - geometry.affine)
    reach = far[:3, :3] @ np.array(geometry.spatial_shape) + far[:3, 3]
    if matched.spatial_shape != geometry.spatial_shape or reach.max() > SAME_PLACE_MM:
        raise DataError(
            f"the mask does not lie on the grid of the source series: {_shape(matched)} against {_shape(geometry)} "
            f"voxels, up to {reach.max():.3g} mm apart; put it on that grid first"
        )
    return geometry.with_array(matched.array)


def _shape(volume: Any) -> str:
    return " x ".join(map(str, volume.spatial_shape))


def _segmentation(
    volume: "hd.Volume", ordered: list["Dataset"], model: str, task: Task, subset: Subset
) -> "hd.seg.Segmentation":
    import highdicom as hd

    entropy = [str(ordered[0].SeriesInstanceUID), model, hashlib.sha256(volume.array.tobytes()).hexdigest()]
    return hd.seg.Segmentation(
        source_images=ordered,
        pixel_array=_one_channel_per_label(volume, task),
        segmentation_type="BINARY",
        segment_descriptions=_descriptions(model, task, subset),
        series_instance_uid=_uid("series", *entropy),
        series_number=int(ordered[0].get("SeriesNumber") or 0) + 9000,
        sop_instance_uid=_uid("instance", *entropy),
        instance_number=1,
        manufacturer="lacunet",
        manufacturer_model_name=model[:64],
        software_versions=version("lacunet"),
        device_serial_number="0",
        content_label="TUMOUR",
        content_description="Research, not for diagnosis",
        omit_empty_frames=bool(volume.array.any()),
        series_description=f"lacunet tumour mask ({model})"[:64],
    )


def _one_channel_per_label(volume: "hd.Volume", task: Task) -> np.ndarray:
    """Slices x rows x columns x labels, 0 or 1."""
    return np.stack([volume.array == label for label in task.labels.values()], axis=-1).astype(np.uint8)


def _descriptions(model: str, task: Task, subset: Subset) -> list["hd.seg.SegmentDescription"]:
    import highdicom as hd
    from pydicom.sr.coding import Code

    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"lacunet {model}"[:64], family=Code(*MACHINE_LEARNING), version=version("lacunet")
    )
    evidence = task.label_evidence(subset)
    return [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"{FINDINGS[label].title if label in FINDINGS else label}{IN_BRACKETS[evidence[label]]}",
            segmented_property_category=Code(*TUMOUR),
            segmented_property_type=Code(*(FINDINGS[label].code if label in FINDINGS else TUMOUR)),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            anatomic_regions=[Code(*BRAIN)],
            display_color=hd.color.CIELabColor.from_rgb(*FINDINGS[label].colour) if label in FINDINGS else None,
        )
        for number, label in enumerate(task.labels, start=1)
    ]


def _uid(*entropy: str) -> str:
    """The same mask of the same series by the same model has the same identity."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=list(entropy)))
