"""Scans in; per case a mask on the scan's own grid, volumes, and a page. One model load for a whole cohort."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lacunet.case import Case, CaseFiles
from lacunet.data.labels import labels_on_disk
from lacunet.data.names import Problem
from lacunet.data.nifti import load_case, write_image, write_mask
from lacunet.errors import LacunetError, OutputError, UsageError
from lacunet.files import write_json
from lacunet.layout import Layout, Places, begin_bids, places, require_apart
from lacunet.metrics import dice, region_masks, volume_ml
from lacunet.model import Model
from lacunet.postprocess import Rule
from lacunet.predict import Predictor
from lacunet.report.case import CaseView, Expectation, expectation_warnings, write_case_page
from lacunet.task import Subset
from lacunet.trust import Trust, trust_in


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
        skipped: It was there already (`resume`); volumes are then empty.
    """

    name: str
    places: Places
    volumes: Mapping[str, float]
    warnings: Sequence[str]
    skipped: bool = False

    @property
    def folder(self) -> Path:
        """Where its mask lies."""
        return self.places.folder


def segment_cases(
    predictor: Predictor, cases: Sequence[CaseFiles], folder: Path, settings: SegmentSettings
) -> Iterator[Segmented | Problem]:
    """Segment case by case; one that fails is a `Problem` and the others are still done.

    Raises:
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
    """
    require_apart([files.name for files in cases], settings.layout)
    if not settings.overwrite and not settings.resume:
        for files in cases:
            refuse_to_replace(places(folder, files.name, settings.layout).record)
    if settings.layout == "bids" and cases:
        task = predictor.model.task
        begin_bids(folder, task, labels_on_disk(settings.convention, task))
    for files in cases:
        try:
            at = places(folder, files.name, settings.layout)
            done = settings.resume and at.record.is_file()
            yield _skipped(files, at) if done else segment_case(predictor, files, folder, settings)
        except LacunetError as error:
            yield Problem(files.name, str(error))


def segment_case(predictor: Predictor, files: CaseFiles, folder: Path, settings: SegmentSettings) -> Segmented:
    """Segment one case into `folder`: the mask, the page and, last of all, the record (`layout.places`).

    Raises:
        DataError: a scan is not what it should be.
        OutputError: the results cannot be written.
    """
    started = time.monotonic()
    model = predictor.model
    case = load_case(files, model.task, want_reference=settings.reference and files.reference is not None)
    subset = subset_in_use(case, settings.subset, model)
    prediction = predictor(case, subset)
    labels = prediction.labels()
    for rule in settings.rules:
        labels = rule(labels, case.grid)
    masks = region_masks(labels, model.task)
    volumes = {region: volume_ml(mask, case.grid.spacing) for region, mask in masks.items()}
    trust = trust_in(model, subset, volumes, [rule.name for rule in settings.rules], expectation(model, subset))
    expected_dice = trust.expected.dice if trust.expected else {}
    warnings = [*case.notes, *trust.warnings, *expectation_warnings(model.task, subset, expected_dice)]
    at = places(folder, files.name, settings.layout)
    like = files.images[subset[0]].path
    write_mask(at.mask, labels, case, settings.convention, model.task, like)
    if settings.probabilities:
        for region, values in prediction.probabilities(not settings.raw_probabilities).items():
            write_image(at.probability(region), values, case, f"probability {region}", like)
    facts = provenance_of(predictor, files, subset) | {
        "labels in the mask": settings.convention,
        "post-processing": ", ".join(rule.name for rule in settings.rules) or "none",
    }
    write_case_page(at.page, _view(case, model, labels, subset, volumes, trust, warnings, facts, settings))
    record = {
        "case": case.name,
        "subset": model.task.subset_name(subset),
        "acquired": model.task.subset_name(case.acquired(model.task)),
        "volumes_ml": {region: round(volume, 3) for region, volume in volumes.items()},
        "expected_dice": dict(expected_dice),
        "expected_dice_from": trust.expected.source if trust.expected else None,
        "calibration": trust.record,
        "warnings": warnings,
        "label_convention": settings.convention,
        "postprocessing": [rule.name for rule in settings.rules],
        "provenance": facts,
        "seconds": round(time.monotonic() - started, 2),
    }
    write_json(at.record, record)
    return Segmented(case.name, at, volumes, warnings)


def expectation(model: Model, subset: Subset) -> Expectation | None:
    """What the model's card says of a subset, or None when it says nothing."""
    expected = model.expected_dice(subset)
    results = model.card.get("results", {})
    return Expectation(expected, int(results.get("cases", 0)), str(results.get("data", ""))) if expected else None


def refuse_to_replace(result: Path) -> None:
    """A result is not replaced unasked.

    Raises:
        OutputError: it is there.
    """
    if result.exists():
        raise OutputError(
            f"{result}: is there already; go on with --resume, replace it with --overwrite, or choose another folder"
        )


def _skipped(files: CaseFiles, at: Places) -> Segmented:
    return Segmented(files.name, at, {}, (), skipped=True)


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
    return {
        "lacunet": version("lacunet"),
        "model": model.name,
        "weights (sha256)": model.sha256,
        "trained on": str(model.card.get("data", "not stated")),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "scans": ", ".join(files.images[modality].path.name for modality in subset),
        "network grid": f"{model.preparation.spacing:g} mm",
        "computed on": f"{predictor.device.type}, {str(predictor.dtype).removeprefix('torch.')}",
    }


def _view(
    case: Case,
    model: Model,
    labels: np.ndarray,
    subset: Subset,
    volumes: Mapping[str, float],
    trust: Trust,
    warnings: Sequence[str],
    facts: Mapping[str, str],
    settings: SegmentSettings,
) -> CaseView:
    compared: dict[str, Any] = {}
    if case.reference is not None:
        expected, found = region_masks(case.reference, model.task), region_masks(labels, model.task)
        compared = {
            "reference": case.reference,
            "reference_volumes": {region: volume_ml(mask, case.grid.spacing) for region, mask in expected.items()},
            "dice": {region: dice(found[region], mask) for region, mask in expected.items()},
        }
    return CaseView(
        name=case.name,
        task=model.task,
        images=case.images,
        grid=case.grid,
        prediction=labels,
        subset=subset,
        volumes=volumes,
        expected=trust.expected,
        volume_words=trust.volume_words,
        helpful_sequence=trust.helpful_sequence,
        warnings=warnings,
        provenance=facts,
        viewer=settings.viewer,
        **compared,
    )
