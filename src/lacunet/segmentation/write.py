"""An answer as files: masks, probability maps, a page and, last of all, a record."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lacunet.data.nifti import write_image, write_mask
from lacunet.data.parts import Part, table_of
from lacunet.data.source_table import SourceRow, inputs_of, write_sources
from lacunet.files import write_json
from lacunet.intake.record import import_facts
from lacunet.prediction.choices import N4
from lacunet.prediction.postprocess import Rule
from lacunet.segmentation.answer import Answer
from lacunet.segmentation.answer_record import record_of_answer
from lacunet.segmentation.bids import SourceDataset, about_mask, about_native, write_sidecar
from lacunet.segmentation.doubts import SHADED
from lacunet.segmentation.earlier import of_earlier_run, remove
from lacunet.segmentation.layout import Layout, Places, sidecar_of
from lacunet.segmentation.page import view_of, write_case_page
from lacunet.segmentation.provenance import EVENED
from lacunet.task import Evidence, Subset

if TYPE_CHECKING:  # it loads the packages of registration, which a case that is ready does not need
    from lacunet.segmentation.native import Back


@dataclass(frozen=True)
class SegmentSettings:
    """How a case is segmented, and what is written.

    Attributes:
        subset: Modalities to use; None uses all that a case has.
        convention: Label convention of the masks, by name.
        rules: Post-processing, in order; None: the model's own.
        probabilities: Also write a probability map per region.
        raw_probabilities: Write these maps as the network gives them, without the calibration's temperature.
        reference: Compare with the case's reference where it has one.
        overwrite: Replace results that are there.
        resume: Skip cases that have results already.
        layout: A folder per case, or a BIDS derivative.
        dataset: The BIDS data set that the scans come from, which a derivative names.
        viewer: Put the scans and the interactive viewer into each page: 5 to 10 MB more a case at 1 mm.
        n4: Which scans are corrected for uneven brightness before the model sees them.
        leave_out_bad: Leave out the scan that does not fit the others, where there is one among three or more.
        part: Only the cases of this part of a cohort; None: all.
        table: The folder for rows of `sources.csv`; None: the output folder, or that of the part.
    """

    subset: Subset | None = None
    convention: str = "brats2023"
    rules: Sequence[Rule] | None = None
    probabilities: bool = False
    raw_probabilities: bool = False
    reference: bool = False
    overwrite: bool = False
    resume: bool = False
    layout: Layout = "plain"
    dataset: SourceDataset | None = None
    viewer: bool = True
    n4: N4 = "off"
    leave_out_bad: bool = False
    part: Part | None = None
    table: Path | None = None

    def table_in(self, folder: Path) -> Path:
        """The folder for rows of `sources.csv`, of results in an output folder."""
        return self.table or table_of(folder, self.part)


@dataclass(frozen=True)
class Segmented:
    """One case, done.

    Attributes:
        name: The case.
        places: Where its results are.
        volumes: Millilitres by region.
        warnings: Sentences that a reader must not miss, but for the cautions and the doubts.
        evidence: By region: whether the sequences that were used can show it at all.
        cautions: Sentences that must be said before any volume.
        doubts: Sentences on why the mask may be wrong.
        back: Masks on the grids of the scans as they were before import.
        skipped: The results were there already (`resume`); volumes are then empty.
    """

    name: str
    places: Places
    volumes: Mapping[str, float]
    warnings: Sequence[str]
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    cautions: Sequence[str] = ()
    doubts: Sequence[str] = ()
    back: Sequence[Path] = ()
    skipped: bool = False

    @property
    def folder(self) -> Path:
        """Where its mask lies."""
        return self.places.folder


def write(answer: Answer, at: Places, settings: SegmentSettings, rows: Sequence[SourceRow] = ()) -> Segmented:
    """Write what was answered; the record comes last, so that it says that the case is done.

    Maps and masks of an earlier run that are not written again are removed: nothing must lie beside a mask that belongs
    to another one.

    Args:
        answer: Of one case.
        at: Where its results go.
        settings: What is written.
        rows: For `sources.csv`: whose case it is; without any, nobody is told.

    Raises:
        DataError: a scan from before import cannot be read any more.
        OutputError: the results cannot be written.
    """
    started = time.monotonic()
    earlier = of_earlier_run(at, answer.task)
    write_mask(at.mask, answer.labels, answer.case, settings.convention, answer.task, answer.like)
    if settings.probabilities:
        for region, values in answer.prediction.probabilities(not settings.raw_probabilities).items():
            write_image(at.probability(region), values, answer.case, f"probability {region}", answer.like)
    back = _write_back(answer, at, settings.convention)
    moved, notes = (back.masks, back.notes) if back else ({}, ())
    poses = {path: answer.pose.before(motion.matrix) if motion else None for path, motion in moved.items()}
    warnings = [*answer.warnings, *notes]
    facts = _facts(answer, settings)
    write_case_page(at.page, view_of(answer, warnings, facts, settings.viewer))
    seconds = answer.seconds + time.monotonic() - started
    about = _write_sidecars(answer, at, settings, rows) if at.layout == "bids" else {}
    maps = [at.probability(region) for region in answer.task.regions] if settings.probabilities else []
    gone = {*earlier} - {*maps, *moved}
    remove([*gone, *(map(sidecar_of, gone) if at.layout == "bids" else ())])
    write_sources(at.table, rows)
    masks = {at.mask: answer.pose, **poses}
    record = record_of_answer(answer, settings.convention, masks, warnings, facts, seconds, inputs_of(rows))
    write_json(at.record, record.model_dump(mode="json") | about)
    cautions, doubts = [one.sentence for one in answer.cautions], [one.sentence for one in answer.doubts]
    return Segmented(answer.case.name, at, answer.volumes, warnings, answer.evidence, cautions, doubts, tuple(moved))


def _write_back(answer: Answer, at: Places, convention: str) -> "Back | None":
    """Masks on the grids of the scans before import; None where there was no import."""
    if answer.origin is None:
        return None
    from lacunet.segmentation.native import write_back  # it loads the packages of registration, which takes a while
    from lacunet.segmentation.resample import maps_of

    maps = maps_of(answer.labels, answer.prediction.probabilities(), answer.task)
    model = f"{answer.model.name} {answer.model.sha256[:8]}"
    return write_back(at, answer.origin, maps, answer.case.grid, convention, model, answer.task, answer.subset)


def _write_sidecars(answer: Answer, at: Places, settings: SegmentSettings, rows: Sequence[SourceRow]) -> dict[str, Any]:
    """Say where each image lies and what it was made from; of the case's own mask, this is for its record."""
    about = about_mask(at, rows, answer.subset, answer.origin is not None, settings.dataset)
    for region in answer.task.regions if settings.probabilities else ():
        said = {"Description": f"Probability of {answer.task.titles[region]}, by a neural network"}
        write_sidecar(at.probability(region), {**said, **about})
    for modality in answer.origin.wanted if answer.origin else ():
        write_sidecar(at.native_mask(modality), about_native(rows, modality, answer.subset, settings.dataset))
    return about


def _facts(answer: Answer, settings: SegmentSettings) -> dict[str, str]:
    """The provenance that page and record print."""
    window = answer.prediction.window
    cut = "the whole brain at once" if window is None else f"in windows of {' x '.join(map(str, window))} voxels"
    mask = {
        "predicted": cut,
        "labels in the mask": settings.convention,
        "post-processing": ", ".join(answer.rules) or "none",
    }
    if settings.n4 != "off":
        none = f"no scan: none is more than {SHADED:g} times brighter in one place than in another"
        done = answer.task.subset_title(answer.evened) if answer.evened else none
        mask[EVENED] = done
    imported = import_facts(answer.imported, answer.task) if answer.imported else {}
    return {**answer.provenance, **mask, **imported}
