"""Estimates of the sequences that a patient lacks: to be looked at, and marked so that nobody takes them for scans."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lacunet.case import CaseFiles
from lacunet.data.hidden_names import all_without_names, errors_without_names
from lacunet.data.nifti import ESTIMATE_DEVIATION, ESTIMATE_MEAN, load_case, scaled_estimate, write_estimate
from lacunet.data.source_table import inputs_of, rows_of_files, write_sources
from lacunet.errors import DataError, LacunetError, ModelError, Problem, problem_of
from lacunet.files import path_in, write_json
from lacunet.intake.found import pictures_allowed
from lacunet.intake.record import record_of
from lacunet.prediction.postprocess import apply_rules
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.answer import cautions_of_case, provenance_of, scan_names, subset_in_use
from lacunet.segmentation.completion_page import CompletionView, write_completion_page
from lacunet.segmentation.earlier import remove
from lacunet.segmentation.layout import places, refuse_to_replace
from lacunet.segmentation.segment import failed
from lacunet.task import Subset

NO_SCAN = (
    "An estimate is what a network expects to see. It is no scan: nothing in it was measured",
    "A lesion, or its enhancement, can be missing in an estimate, or be invented by it. Do not read it, measure in it "
    "or register to it, and do not hand it on as a scan",
)
"""What a reader of estimates must not miss."""

UNITS = f"{ESTIMATE_MEAN} is the mean of the brain, {ESTIMATE_DEVIATION} one standard deviation; 0 is background"


@dataclass(frozen=True)
class CompleteSettings:
    """What is estimated, and where results may be.

    Attributes:
        subset: Modalities that the network sees; None shows all that a case has. The others are estimated, also those
            that were scanned.
        overwrite: Replace results that are there.
        resume: Skip cases that have results already.
    """

    subset: Subset | None = None
    overwrite: bool = False
    resume: bool = False


@dataclass(frozen=True)
class Completed:
    """One case, done.

    Attributes:
        name: The case.
        folder: Where its results are.
        subset: What the network saw.
        estimated: What was estimated; empty where nothing is absent, and then nothing is written.
        skipped: The results were there already (`resume`).
    """

    name: str
    folder: Path
    subset: Subset
    estimated: Sequence[str]
    skipped: bool = False


def complete_cases(
    predictor: Predictor, cases: Sequence[CaseFiles], folder: Path, settings: CompleteSettings
) -> Iterator[Completed | Problem]:
    """Estimate what each case lacks; one that fails is a `Problem` and the others are still done.

    Raises:
        OutputError: results are there already, and neither `overwrite` nor `resume` is asked for.
        ModelError: the model does not estimate sequences, or was kept without the part that does.
    """
    if not settings.overwrite and not settings.resume:
        for files in cases:
            with suppress(DataError):  # a name that cannot be a folder's is the problem of its case alone
                refuse_to_replace(_record(folder, files.name))
    for files in cases:
        try:
            record = _record(folder, files.name)
        except LacunetError as error:
            yield Problem(files.name, str(error))
            continue
        if settings.resume and record.is_file():
            yield Completed(files.name, record.parent, (), (), skipped=True)
            continue
        try:
            done = complete_case(predictor, files, folder, settings)
        except ModelError:  # this model can complete no case
            raise
        except Exception as error:
            yield failed(problem_of(files.name, error), rows_of_files(files), folder, record)
        else:
            yield done


def complete_case(predictor: Predictor, files: CaseFiles, folder: Path, settings: CompleteSettings) -> Completed:
    """Write `folder/NAME/NAME-t1c-synthetic.nii.gz` for each absent modality, `report.html`, `completion.json` last.

    `sources.csv` in `folder` says whose case it is.

    Raises:
        DataError: a scan is not what it should be.
        ModelError: the model does not estimate sequences, or was kept without the part that does.
        OutputError: the results cannot be written.
    """
    with errors_without_names(files):
        return _complete(predictor, files, folder, settings)


def _complete(predictor: Predictor, files: CaseFiles, folder: Path, settings: CompleteSettings) -> Completed:
    model, at = predictor.model, _record(folder, files.name)
    case = load_case(files, model.task, want_reference=False)
    subset = subset_in_use(case, settings.subset, model)
    if subset == model.task.modalities:
        return Completed(case.name, at.parent, subset, ())
    shown, like = case.only(subset), files.images[subset[0]].path
    estimates = {name: scaled_estimate(values, shown) for name, values in predictor.complete(case, subset).items()}
    for modality, values in estimates.items():
        write_estimate(path_in(at.parent, files.name, _ending(modality)), values, shown, modality, like)
    others = [modality for modality in model.task.modalities if modality not in estimates]
    remove([path_in(at.parent, files.name, _ending(modality)) for modality in others])  # of an earlier run
    facts = provenance_of(predictor, scan_names(files, subset)) | {"intensities of the estimates": UNITS}
    cautions = cautions_of_case(files, record_of(files), model.task)
    said = [*(caution.sentence for caution in cautions), *all_without_names(case.notes, files)]
    warnings = [*NO_SCAN, *said]
    tumour = apply_rules(predictor.own_rules, predictor(case, subset).found(case.grid))
    pictured = pictures_allowed(cautions)
    view = CompletionView(
        case.name, model.task, case.images, case.grid, subset, estimates, tumour, warnings, facts, pictured
    )
    write_completion_page(at.with_name("report.html"), view)
    rows = rows_of_files(files)
    write_sources(folder, rows)
    record = {
        "case": case.name,
        "subset": model.task.subset_name(subset),
        "acquired": model.task.subset_name(case.acquired(model.task)),
        "synthetic": {modality: file_name(files.name, modality) for modality in estimates},
        "intensities": UNITS,
        "warnings": warnings,
        "provenance": facts,
        "inputs_sha256": inputs_of(rows),
    }
    write_json(at, record)
    return Completed(case.name, at.parent, subset, tuple(estimates))


def file_name(case: str, modality: str) -> str:
    """A name that `lacunet` itself does not take for a scan's."""
    return f"{case}{_ending(modality)}"


def _ending(modality: str) -> str:
    return f"-{modality}-synthetic.nii.gz"


def _record(folder: Path, name: str) -> Path:
    """Written last, so that it says that the case is done; the other results lie beside it."""
    return places(folder, name).folder / "completion.json"
