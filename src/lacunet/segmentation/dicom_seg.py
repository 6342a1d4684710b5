"""A mask as a DICOM segmentation object, which a viewer lays over its source series. Needs the extra `dicom`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from lacunet.case import RAS_LPS, Grid
from lacunet.errors import DataError, UsageError
from lacunet.files import whole_file
from lacunet.intake.read.quiet import silently
from lacunet.intake.read.series import Series
from lacunet.segmentation.dicom_source import SourceSeries, read_source
from lacunet.task import IN_BRACKETS, Subset, Task

if TYPE_CHECKING:  # an extra that may be absent, and slow: each function imports what it needs
    import highdicom as hd

SAME_PLACE_MM = 0.05
"""NIfTI keeps places as 32-bit floats, DICOM as decimal text, often rounded to 0.01 mm: grids that differ by less are
one grid."""

RESEARCH = "lacunet, research use only"
"""Stands in the description of the series, of the content and of each segment."""


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
) -> tuple[str, ...]:
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

    Returns:
        What was amiss in the headers of the source, for the user: names of attributes, never values.

    Raises:
        DataError: a source file cannot be read, the headers lack what is needed, or the mask does not lie on the
            source's grid.
        OutputError: the file cannot be written.
        UsageError: `lacunet[dicom]` is not installed.
    """
    _require_highdicom()
    with silently(), _any_value():
        try:
            found = read_source(source)
            geometry = _geometry(found.stack, str(found.headers[0].FrameOfReferenceUID))
            segmentation = _segmentation(_on(geometry, labels, grid), found, model, task, subset or task.modalities)
        except (
            AttributeError,
            KeyError,
            OSError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:  # its text may hold what the headers say
            raise DataError(
                f"the headers of the source series lack what a DICOM SEG needs ({type(error).__name__} by highdicom); "
                "use the NIfTI mask"
            ) from None
        with whole_file(path) as temporary:
            segmentation.save_as(temporary)
    return found.notes


@contextmanager
def _any_value() -> Iterator[None]:
    """Let pydicom write what a source holds: what is taken over was checked, and UIDs must stay as they are."""
    from pydicom import config

    with config.disable_value_validation():
        yield


def _require_highdicom() -> None:
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UsageError("DICOM needs more packages: pip install 'lacunet[dicom]'") from error


def _geometry(stack: Series, frame_of_reference: str) -> "hd.VolumeGeometry":
    """The grid of a series, at even steps; from its last slice to its first, since highdicom wants axes that are
    right-handed as slices, rows, columns."""
    import highdicom as hd

    assert stack.directions is not None
    assert stack.spacing is not None
    one = len(stack.slices) == 1
    start, step = (np.array(stack.slices[0].position), np.zeros(3)) if one else stack.line
    last = start + (len(stack.slices) - 1) * step
    return hd.VolumeGeometry.from_attributes(
        image_position=last.tolist(),
        image_orientation=stack.directions.reshape(-1).tolist(),
        rows=stack.first.rows,
        columns=stack.first.columns,
        pixel_spacing=list(stack.spacing),
        spacing_between_slices=float(np.linalg.norm(step)) or stack.first.thickness or 1.0,
        number_of_frames=len(stack.slices),
        coordinate_system="PATIENT",
        frame_of_reference_uid=frame_of_reference,
    )


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
    volume: "hd.Volume", source: SourceSeries, model: str, task: Task, subset: Subset
) -> "hd.seg.Segmentation":
    import highdicom as hd

    entropy = [source.series[0], model, hashlib.sha256(volume.array.tobytes()).hexdigest()]
    segmentation = hd.seg.Segmentation(
        source_images=source.headers,
        pixel_array=_one_channel_per_label(volume, task),
        segmentation_type="BINARY",
        segment_descriptions=_descriptions(model, task, subset),
        series_instance_uid=_uid("series", *entropy),
        series_number=max(source.number, 0) % 10**9 + 9000,
        sop_instance_uid=_uid("instance", *entropy),
        instance_number=1,
        manufacturer="lacunet",
        manufacturer_model_name=model[:64],
        software_versions=version("lacunet"),
        device_serial_number="0",
        content_label="TUMOUR",
        content_description=f"{RESEARCH}, not for diagnosis",
        omit_empty_frames=bool(volume.array.any()),
        series_description=f"{RESEARCH}: tumour mask ({model})"[:64],
    )
    for segment in segmentation.SegmentSequence:
        segment.SegmentDescription = f"{RESEARCH}, not for diagnosis"
    _refer_to_every_series(segmentation, source)
    return segmentation


def _refer_to_every_series(segmentation: "hd.seg.Segmentation", source: SourceSeries) -> None:
    """Where every file has a SeriesInstanceUID of its own, name each with its file, as an archive knows them."""
    from pydicom import Dataset

    if len(set(source.series)) == 1:
        return
    items = []
    for uid, header in zip(source.series, source.headers, strict=True):
        instance, series = Dataset(), Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        series.ReferencedInstanceSequence, series.SeriesInstanceUID = [instance], uid
        items.append(series)
    segmentation.ReferencedSeriesSequence = items


def _one_channel_per_label(volume: "hd.Volume", task: Task) -> "hd.Volume":
    """Slices x rows x columns x labels, 0 or 1, with their place, by which each slice is matched with one of the
    source."""
    channels = np.stack([volume.array == label for label in task.labels.values()], axis=-1).astype(np.uint8)
    return volume.with_array(channels, channels={"SegmentNumber": list(range(1, len(task.labels) + 1))})


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
