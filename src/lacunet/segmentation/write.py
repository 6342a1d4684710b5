"""An answer as files: masks, probability maps, a page and, last of all, a record."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lacunet.data.nifti import write_image, write_mask
from lacunet.data.parts import Part, table_of
from lacunet.data.source_table import SourceRow, inputs_of, write_sources
from lacunet.evaluation.fit import Fit
from lacunet.files import rounded, write_json
from lacunet.intake.found import Caution
from lacunet.intake.record import import_facts
from lacunet.prediction.choices import N4
from lacunet.prediction.postprocess import Rule
from lacunet.segmentation.answer import Answer
from lacunet.segmentation.bad_scan import BadScan
from lacunet.segmentation.doubts import SHADED, Doubt, Kind, Signs
from lacunet.segmentation.even import Evened
from lacunet.segmentation.layout import Layout, Places
from lacunet.segmentation.page import view_of, write_case_page
from lacunet.task import Evidence, Subset

if TYPE_CHECKING:  # it loads the packages of registration, which a case that is ready does not need
    from lacunet.segmentation.native import Back


@dataclass(frozen=True)
class SegmentSettings:
    """How a case is segmented, and what is written.

    Attributes:
        subset: Modalities to use; None uses all that a case has.
        convention: Label convention of the masks, by name.
        rules: Post-processing, in order; none by default.
        probabilities: Also write a probability map per region.
        raw_probabilities: Write these maps as the network gives them, without the calibration's temperature.
        reference: Compare with the case's reference where it has one.
        overwrite: Replace results that are there.
        resume: Skip cases that have results already.
        layout: A folder per case, or a BIDS derivative.
        viewer: Put the scans and the interactive viewer into each page: 5 to 10 MB more a case at 1 mm.
        n4: Which scans are corrected for uneven brightness before the model sees them.
        leave_out_bad: Leave out the scan that does not fit the others, where there is one among three or more.
        part: Only the cases of this part of a cohort; None: all.
        table: The folder for rows of `sources.csv`; None: the output folder, or that of the part.
    """

    subset: Subset | None = None
    convention: str = "brats2023"
    rules: Sequence[Rule] = ()
    probabilities: bool = False
    raw_probabilities: bool = False
    reference: bool = False
    overwrite: bool = False
    resume: bool = False
    layout: Layout = "plain"
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


@dataclass(frozen=True)
class CaseRecord:
    """All of `case.json`, in its order.

    Attributes:
        case: The case's name.
        subset: The modalities that were used: `t1c+t2f`.
        acquired: The modalities that the case has.
        cautions: What must be said before any volume: its kind and a sentence, which stands in `warnings` too.
        volumes_ml: By region.
        caveat: What a volume does not show.
        doubts: Why the mask may be wrong: its kind and a sentence, which stands in `warnings` too.
        signs: What the doubts come from: `agreement` (by part of the subset: volumes and Dice with this mask, by
            region), `fit` (by modality: Dice with the mask from the others, of the mask from it `alone` and of the
            `others` alone), `both_sides` (share of the whole tumour), `distant_ml`, `brain_ml`, `voxel_mm`, `shading`
            (by modality).
        left_out: By modality that was left out as a bad scan: its fit, and the `least` score of good scans.
        n4: By modality that was corrected for uneven brightness: how many times brighter in one place than in another,
            `before` and `after`.
        evidence: By region: `seen`; `inferred`, where no sequence in use can show it; `partly inferred`, where that is
            so of a region inside it.
        expected_dice: By region; regions of which it is not known, or withheld, are left out.
        expected_dice_from: The calibration or the card, and how many cases.
        calibration: What the calibration says; None without one.
        withheld: Regions of which neither a Dice nor a range of volumes is stated, each with the kinds of doubt.
        warnings: Sentences that a reader must not miss.
        label_convention: What the integers of the masks mean.
        masks: Names of the files.
        postprocessing: Names of the rules, in order.
        provenance: As on the page.
        seconds: From loading the case to writing its page.
        inputs_sha256: By modality, of the file as given; of DICOM, of its files one after another in the order of
            slices.
    """

    case: str
    subset: str
    acquired: str
    cautions: Sequence[Caution]
    volumes_ml: Mapping[str, float]
    caveat: str
    doubts: Sequence[Doubt]
    signs: Mapping[str, Any]
    left_out: Mapping[str, Mapping[str, float]]
    n4: Mapping[str, Evened]
    evidence: Mapping[str, Evidence]
    expected_dice: Mapping[str, float]
    expected_dice_from: str | None
    calibration: Mapping[str, Any] | None
    withheld: Mapping[str, Sequence[Kind]]
    warnings: Sequence[str]
    label_convention: str
    masks: Sequence[str]
    postprocessing: Sequence[str]
    provenance: Mapping[str, str]
    seconds: float
    inputs_sha256: Mapping[str, str]


def write(answer: Answer, at: Places, settings: SegmentSettings, rows: Sequence[SourceRow] = ()) -> Segmented:
    """Write what was answered; the record comes last, so that it says that the case is done.

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
    write_mask(at.mask, answer.labels, answer.case, settings.convention, answer.task, answer.like)
    if settings.probabilities:
        for region, values in answer.prediction.probabilities(not settings.raw_probabilities).items():
            write_image(at.probability(region), values, answer.case, f"probability {region}", answer.like)
    back = _write_back(answer, at, settings.convention)
    masks, notes = (back.masks, back.notes) if back else ((), ())
    warnings = [*answer.warnings, *notes]
    facts = _facts(answer, settings)
    write_case_page(at.page, view_of(answer, warnings, facts, settings.viewer))
    seconds = answer.seconds + time.monotonic() - started
    names = [path.name for path in (at.mask, *masks)]
    write_sources(at.table, rows)
    record = _record(answer, settings.convention, names, warnings, facts, seconds, inputs_of(rows))
    write_json(at.record, asdict(record))
    cautions, doubts = [one.sentence for one in answer.cautions], [one.sentence for one in answer.doubts]
    return Segmented(answer.case.name, at, answer.volumes, warnings, answer.evidence, cautions, doubts, masks)


def _write_back(answer: Answer, at: Places, convention: str) -> "Back | None":
    """Masks on the grids of the scans before import; None where there was no import."""
    if answer.origin is None:
        return None
    from lacunet.segmentation.native import write_back  # it loads the packages of registration, which takes a while
    from lacunet.segmentation.resample import maps_of

    maps = maps_of(answer.labels, answer.prediction.probabilities(), answer.task)
    model = f"{answer.model.name} {answer.model.sha256[:8]}"
    return write_back(at, answer.origin, maps, answer.case.grid, convention, model, answer.task, answer.subset)


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
        mask["corrected for uneven brightness (N4)"] = done
    imported = import_facts(answer.imported, answer.task) if answer.imported else {}
    return {**answer.provenance, **mask, **imported}


def _record(
    answer: Answer,
    convention: str,
    masks: Sequence[str],
    warnings: Sequence[str],
    facts: Mapping[str, str],
    seconds: float,
    inputs: Mapping[str, str],
) -> CaseRecord:
    task, expectation = answer.task, answer.expected.expectation
    return CaseRecord(
        case=answer.case.name,
        subset=task.subset_name(answer.subset),
        acquired=task.subset_name(answer.case.acquired(task)),
        cautions=answer.cautions,
        volumes_ml={region: round(volume, 3) for region, volume in answer.volumes.items()},
        caveat=answer.caveat,
        doubts=answer.doubts,
        signs=_signs(answer.signs),
        left_out=_left_out(answer.left_out),
        n4=answer.evened,
        evidence=answer.evidence,
        expected_dice=dict(expectation.dice) if expectation else {},
        expected_dice_from=expectation.source if expectation else None,
        calibration=answer.expected.record,
        withheld=answer.expected.withheld,
        warnings=[*(one.sentence for one in answer.cautions), *(one.sentence for one in answer.doubts), *warnings],
        label_convention=convention,
        masks=masks,
        postprocessing=answer.rules,
        provenance=facts,
        seconds=round(seconds, 2),
        inputs_sha256=inputs,
    )


def _signs(signs: Signs) -> dict[str, Any]:
    """For `case.json`, with as many digits as mean something."""
    parts = signs.agreement.parts if signs.agreement else {}
    return {
        "agreement": {
            name: {"volumes_ml": rounded(dict(part.volumes_ml), 4), "dice": rounded(dict(part.dice), 4)}
            for name, part in parts.items()
        },
        "fit": {modality: _fit(fit) for modality, fit in signs.fits.items()},
        "both_sides": round(signs.where.both_sides, 3),
        "distant_ml": round(signs.where.distant_ml, 2),
        "brain_ml": round(signs.facts.brain_ml, 1),
        "voxel_mm": round(signs.facts.voxel_mm, 3),
        "shading": {modality: round(factor, 2) for modality, factor in signs.facts.shading.items()},
    }


def _left_out(bad: BadScan | None) -> dict[str, dict[str, float]]:
    return {bad.modality: {**_fit(bad.fit), "least": bad.least}} if bad else {}


def _fit(fit: Fit) -> dict[str, float]:
    return {"alone": round(fit.alone, 4), "others": round(fit.others, 4)}
