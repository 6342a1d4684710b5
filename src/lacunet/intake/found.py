"""What was found in a source: the recognised scans, as files; what was left out, and why.

All texts for people (`label`, `reason`, `warnings`, `name`, `Facts`) are free of personal data and may be shown,
logged and written. `DicomSource` is not: it stays in memory, for results that refer to the DICOM files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Instance:
    """One DICOM file of a scan. Local only: UIDs and paths can identify a person."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class DicomSource:
    """The DICOM files of a scan, so that a DICOM SEG can refer to them. Local only: import never shows or writes it.

    Attributes:
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        frame_of_reference_uid: Its frame of reference; None where the files have none.
        instances: In the order of the slices; one file where it is multi-frame.
        multi_frame: Whether one file holds many slices (enhanced MR).
        even: Slice k (third axis) of the NIfTI file is slice k of these files, and its first two axes are column and
        row. False where slices were interpolated to equal distances; then resample by the affine.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str | None
    instances: tuple[Instance, ...]
    multi_frame: bool
    even: bool


@dataclass(frozen=True)
class Facts:
    """What a header says of a scan, without personal data.

    Attributes:
        words: Recognised words of the series description or the file's name: `T1 AX POST GAD`; the rest is "…".
        source: `dicom`, `bids` or `nifti`.
        manufacturer: One of a fixed list; None: not said, or another.
        field_tesla: Field strength.
        repetition_ms: TR.
        echo_ms: TE.
        inversion_ms: TI.
        contrast_agent: Whether the header names one; None: it does not say.
        three_d: Whether acquired as a volume; None: not said.
        shape: Voxels of the NIfTI file.
        spacing: Millimetres between them.
    """

    words: str
    source: str
    manufacturer: str | None
    field_tesla: float | None
    repetition_ms: float | None
    echo_ms: float | None
    inversion_ms: float | None
    contrast_agent: bool | None
    three_d: bool | None
    shape: tuple[int, int, int]
    spacing: Triple


@dataclass(frozen=True)
class Scan:
    """One recognised scan, ready to be registered.

    Attributes:
        path: A NIfTI file in the work folder, named without personal data, its free text fields emptied.
        modality: `t1n`, `t1c`, `t2w` or `t2f`.
        label: Its name for people: `series 4 (T1 AX POST GAD)`.
        reason: Why it is taken for this modality, and why it was preferred to other scans, in one or two sentences.
        confidence: 0..1.
        facts: What its header says.
        warnings: Sentences that a reader must not miss: "labelled T2, looks like FLAIR".
        dicom: Its DICOM files; None for NIfTI.
        inputs: The files as given, of DICOM in the order of slices. Local only: their names may name a person.
    """

    path: Path
    modality: str
    label: str
    reason: str
    confidence: float
    facts: Facts
    warnings: tuple[str, ...] = ()
    dicom: DicomSource | None = None
    inputs: tuple[Path, ...] = field(default=(), repr=False)


CautionKind = Literal["age", "body part", "burned-in text"]


@dataclass(frozen=True)
class Caution:
    """What a person must know of a case before any volume, in a sentence without personal data.

    Attributes:
        kind: What it is about; `burned-in text` keeps every picture of the case out of pages.
        sentence: For people, without its full stop.
    """

    kind: CautionKind
    sentence: str


def pictures_allowed(cautions: Iterable[Caution]) -> bool:
    """Whether a page may show the scans: not where text in one of them may name the patient."""
    return all(caution.kind != "burned-in text" for caution in cautions)


@dataclass(frozen=True)
class LeftOut:
    """A series, file or study that is not used, and why."""

    label: str
    reason: str


@dataclass(frozen=True)
class Visit:
    """One person at one visit. It becomes a case.

    Attributes:
        name: `case-3f2a91bc`, from a hash of the study's UID; or the BIDS name; or a name of a public data set.
        scans: By modality, in the task's order; never empty.
        left_out: Scans of the visit that are not used.
        warnings: Of the visit as a whole; those of a scan are in the scan.
        cautions: What must be said before any volume.
    """

    name: str
    scans: Mapping[str, Scan]
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()

    @property
    def files(self) -> dict[str, Path]:
        """Modality -> NIfTI file."""
        return {modality: scan.path for modality, scan in self.scans.items()}

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """The warnings of the visit and of its scans; those of scans begin with the scan's label."""
        of_scans = (f"{scan.label}: {line}" for scan in self.scans.values() for line in scan.warnings)
        return (*self.warnings, *of_scans)


@dataclass(frozen=True)
class Survey:
    """Everything that a source holds.

    Attributes:
        kind: `dicom`, `bids` or `nifti`.
        visits: One for DICOM; one per subject and session for BIDS; never empty.
        left_out: Of the source as a whole: other studies, files that could not be read.
        notes: "12 files were no images and were passed over".
        passed_over: Number of files that the notes are about.
        root: The folder that holds all files; of an archive it exists within the `with` block only. Local only.
    """

    kind: str
    visits: tuple[Visit, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    passed_over: int = 0
    root: Path | None = field(default=None, repr=False)

    @property
    def dropped(self) -> int:
        """Number of scans, studies and files that are not used."""
        return len(self.left_out) + sum(len(visit.left_out) for visit in self.visits) + self.passed_over
