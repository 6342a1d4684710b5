"""Scans in; per case a mask on the scan's own grid, volumes, and a page. One model load for a whole cohort."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lacunet.case import Case, CaseFiles
from lacunet.data.labels import labels_on_disk
from lacunet.data.nifti import load_case, write_image, write_mask
from lacunet.errors import LacunetError, OutputError, Problem, UnpreparedError, UsageError
from lacunet.evaluation.metrics import dice, region_masks, volume_ml
from lacunet.files import write_json
from lacunet.intake.identify.classify import contradictions
from lacunet.intake.record import import_facts, record_of
from lacunet.models.model import Model
from lacunet.prediction.postprocess import Rule, apply_rules
from lacunet.prediction.predictor import Prediction, Predictor
from lacunet.segmentation.expectation import Expectation, Expected, expectation_warnings, expected_of
from lacunet.segmentation.layout import Layout, Places, begin_bids, places, require_apart
from lacunet.segmentation.page import CaseView, write_case_page
from lacunet.task import Subset, Task

if TYPE_CHECKING:
    from lacunet.segmentation.native import Back, Origin


@dataclass(frozen=True)
class SegmentSettings:
    """What is written, and how.

    Attributes:
        subset: Modalities to use; None uses all that a case has.
        convention: Label convention of the masks, by name.
        rules: Post-processing, in order; none by default.
        probabilities: Also write a probability map per region.
        raw_probabilities: These maps as the network gives them, without the calibration's temperature.
        reference: Compare with the case's reference where it has one.
        overwrite: Replace results that are there.
        resume: Leave cases that are done already.
        layout: A folder per case, or a BIDS derivative.
        viewer: Put the scans and the interactive viewer into each page: 5 to 10 MB more a case at 1 mm.
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


@dataclass(frozen=True)
class Segmented:
    """One case, done.

    Attributes:
        name: The case.
        places: Where its results are.
        volumes: Millilitres by region.
        warnings: Sentences that a reader must not miss.
        back: Masks on the grids of the scans as they came to import.
        skipped: It was there already (`resume`); volumes are then empty.
    """

    name: str
    places: Places
    volumes: Mapping[str, float]
    warnings: Sequence[str]
    back: Sequence[Path] = ()
    skipped: bool = False

    @property
    def folder(self) -> Path:
        """Where its mask lies."""
        return self.places.folder


MakeReady = Callable[[CaseFiles], AbstractContextManager[tuple[CaseFiles, "Origin"]]]
"""Imports a case whose scans have skulls or grids of their own, for as long as the context lasts."""


def segment_cases(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    folder: Path,
    settings: SegmentSettings,
    make_ready: MakeReady | None = None,
) -> Iterator[Segmented | Problem]:
    """Segment case by case; one that fails is a `Problem` and the others are still done.

    Args:
        predictor: The model.
        cases: What to segment.
        folder: Where results go.
        settings: What is written.
        make_ready: Imports scans that have skulls or do not lie on one grid; None refuses them.

    Raises:
        DataError: the results of two cases would lie in one place.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
    """
    begin([files.name for files in cases], folder, settings, predictor.model.task)
    for files in cases:
        try:
            done = done_before(files.name, folder, settings)
            yield done or _segmented(predictor, files, folder, settings, make_ready)
        except LacunetError as error:
            yield Problem(files.name, str(error))


def begin(names: Sequence[str], folder: Path, settings: SegmentSettings, task: Task) -> None:
    """Before the first of these cases: nothing is replaced unasked, and a BIDS derivative gets its top.

    Raises:
        DataError: the results of two cases would lie in one place.
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
    """
    require_apart(names, settings.layout)
    if not settings.overwrite and not settings.resume:
        for name in names:
            refuse_to_replace(places(folder, name, settings.layout).record)
    if settings.layout == "bids" and names:
        begin_bids(folder, task, labels_on_disk(settings.convention, task))


def done_before(name: str, folder: Path, settings: SegmentSettings) -> Segmented | None:
    """A case that is there already, where `resume` leaves such; None otherwise."""
    at = places(folder, name, settings.layout)
    return Segmented(name, at, {}, (), skipped=True) if settings.resume and at.record.is_file() else None


def _segmented(
    predictor: Predictor, files: CaseFiles, folder: Path, settings: SegmentSettings, make_ready: MakeReady | None
) -> Segmented:
    try:
        return segment_case(predictor, files, folder, settings)
    except UnpreparedError:
        if make_ready is None:
            raise
    with make_ready(files) as (ready, origin):
        return segment_case(predictor, ready, folder, settings, origin)


def segment_case(
    predictor: Predictor, files: CaseFiles, folder: Path, settings: SegmentSettings, origin: "Origin | None" = None
) -> Segmented:
    """Segment one case into `folder`: the mask, the page and, last of all, the record (`layout.places`).

    Args:
        predictor: The model.
        files: The case, ready: stripped, on one grid.
        folder: Where results go.
        settings: What is written.
        origin: The scans as they came, where the case was imported from them; a mask is written on theirs too.

    Raises:
        DataError: a scan is not what it should be.
        OutputError: the results cannot be written.
    """
    started = time.monotonic()
    model = predictor.model
    case = load_case(files, model.task, want_reference=settings.reference and files.reference is not None)
    subset = subset_in_use(case, settings.subset, model)
    prediction = predictor(case, subset)
    labels = apply_rules(settings.rules, prediction.labels(), case.grid, model.task)
    masks = region_masks(labels, model.task)
    volumes = {region: volume_ml(mask, case.grid.spacing) for region, mask in masks.items()}
    rules = [rule.name for rule in settings.rules]
    expected = expected_of(model, subset, volumes, rules, predictor.mirror, expectation(model, subset))
    expected_dice = expected.expectation.dice if expected.expectation else {}
    imported = origin.record if origin else record_of(files)
    warnings = [
        *case.notes,
        *(imported.warnings if imported else ()),
        *contradictions(case.images, case.grid, model.task),
        *expected.warnings,
        *expectation_warnings(model.task, subset, expected.expectation),
    ]
    at = places(folder, files.name, settings.layout)
    like = files.images[subset[0]].path
    write_mask(at.mask, labels, case, settings.convention, model.task, like)
    if settings.probabilities:
        for region, values in prediction.probabilities(not settings.raw_probabilities).items():
            write_image(at.probability(region), values, case, f"probability {region}", like)
    back: Sequence[Path] = ()
    if origin:
        brought = _write_back(at, origin, labels, prediction, case, settings, model)
        back, warnings = brought.masks, [*warnings, *brought.notes]
    facts = provenance_of(predictor, files, subset) | {
        "labels in the mask": settings.convention,
        "post-processing": ", ".join(rules) or "none",
    }
    facts |= import_facts(imported, model.task) if imported else {}
    moved = imported is not None and imported.moved
    write_case_page(at.page, _view(case, model, labels, subset, volumes, expected, warnings, facts, settings, moved))
    record = {
        "case": case.name,
        "subset": model.task.subset_name(subset),
        "acquired": model.task.subset_name(case.acquired(model.task)),
        "volumes_ml": {region: round(volume, 3) for region, volume in volumes.items()},
        "expected_dice": dict(expected_dice),
        "expected_dice_from": expected.expectation.source if expected.expectation else None,
        "calibration": expected.record,
        "warnings": warnings,
        "label_convention": settings.convention,
        "masks": [path.name for path in (at.mask, *back)],
        "postprocessing": rules,
        "provenance": facts,
        "seconds": round(time.monotonic() - started, 2),
    }
    write_json(at.record, record)
    return Segmented(case.name, at, volumes, warnings, back)


def expectation(model: Model, subset: Subset) -> Expectation | None:
    """What the model's card says of a subset, or None when it says nothing."""
    expected = model.expected_dice(subset)
    results = model.card.get("results", {})
    if not expected:
        return None
    complete = model.expected_dice(model.task.modalities)
    return Expectation(expected, int(results.get("cases", 0)), str(results.get("data", "")), complete=complete)


def _write_back(
    at: Places,
    origin: "Origin",
    labels: np.ndarray,
    prediction: Prediction,
    case: Case,
    settings: SegmentSettings,
    model: Model,
) -> "Back":
    from lacunet.segmentation.native import write_back
    from lacunet.segmentation.resample import maps_of  # registration's packages take a while to load

    name = f"{model.name} {model.sha256[:8]}"
    maps = maps_of(labels, prediction.probabilities(), model.task)
    return write_back(at, origin, maps, case.grid, settings.convention, name, model.task)


def refuse_to_replace(result: Path) -> None:
    """A result is not replaced unasked.

    Raises:
        OutputError: it is there.
    """
    if result.exists():
        raise OutputError(
            f"{result}: is there already; go on with --resume, replace it with --overwrite, or choose another folder"
        )


def subset_in_use(case: Case, subset: Subset | None, model: Model) -> Subset:
    """The modalities asked for, or all that a case has.

    Raises:
        UsageError: the case lacks one that is asked for.
    """
    acquired = case.acquired(model.task)
    if subset is None:
        return acquired
    absent = [modality for modality in subset if modality not in acquired]
    if absent:
        raise UsageError(
            f"{case.name}: --subset asks for {', '.join(absent)}, but the case has only {', '.join(acquired)}; "
            "leave --subset out to use all that there is"
        )
    return subset


def provenance_of(predictor: Predictor, files: CaseFiles, subset: Subset) -> dict[str, str]:
    """By which software, model and scans a result came about."""
    model = predictor.model
    facts = {
        "lacunet": version("lacunet"),
        "model": model.name,
        "weights (sha256)": model.sha256,
        "trained on": str(model.card.get("data", "not stated")),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "scans": ", ".join(files.images[modality].path.name for modality in subset),
        "network grid": f"{model.preparation.spacing:g} mm",
        "computed on": f"{predictor.device.type}, {str(predictor.dtype).removeprefix('torch.')}",
    }
    if predictor.mirror != "none":
        facts["averaged over mirror images"] = predictor.mirror
    return facts


def _view(
    case: Case,
    model: Model,
    labels: np.ndarray,
    subset: Subset,
    volumes: Mapping[str, float],
    expected: Expected,
    warnings: Sequence[str],
    facts: Mapping[str, str],
    settings: SegmentSettings,
    moved: bool,
) -> CaseView:
    more: dict[str, Any] = {}
    if moved:
        more["coordinates"] = "the case's coordinates (RAS+), where the brain lies as the average one does"
    if case.reference is not None:
        reference, found = region_masks(case.reference, model.task), region_masks(labels, model.task)
        more |= {
            "reference": case.reference,
            "reference_volumes": {region: volume_ml(mask, case.grid.spacing) for region, mask in reference.items()},
            "dice": {region: dice(found[region], mask) for region, mask in reference.items()},
        }
    return CaseView(
        name=case.name,
        task=model.task,
        images=case.images,
        grid=case.grid,
        prediction=labels,
        subset=subset,
        volumes=volumes,
        expected=expected.expectation,
        volume_words=expected.volume_words,
        helpful_sequence=expected.helpful_sequence,
        warnings=warnings,
        provenance=facts,
        viewer=settings.viewer,
        **more,
    )
