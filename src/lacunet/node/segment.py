"""One study from its DICOM files to the objects that go back. It knows neither the queue nor the network."""

import time
from collections.abc import Sequence
from pathlib import Path

from lacunet.errors import DataError, Problem, problem_of
from lacunet.intake.build import ImportSettings
from lacunet.intake.found import Survey, Visit, pictures_allowed
from lacunet.intake.importer import Importer
from lacunet.models.ensemble import load_models
from lacunet.node.captures import Shown, write_captures
from lacunet.node.measurements import Measured, write_measurements
from lacunet.node.outcome import Kind, Made, Outcome, write_outcome
from lacunet.node.settings import NodeSettings, Send
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.sources import segment_export, wanted_targets
from lacunet.segmentation.write import Segmented, SegmentSettings
from lacunet.task import IN_BRACKETS, Task

RESULTS = "results"
"""Below the outcome's folder: what `lacunet segment` writes."""


def work_on(settings: NodeSettings, source: Path, folder: Path, name: str) -> None:
    """Segment a study, and write what came of it.

    Args:
        settings: The node's.
        source: The folder of its DICOM files.
        folder: An empty one for the results and the outcome, which is written last.
        name: The study's, for people.

    Raises:
        OutputError: the outcome cannot be written.
    """
    started = time.monotonic()
    try:
        outcome = segment_study(settings, source, folder, name)
    except Exception as error:
        reason = problem_of(name, error).message
        outcome = Outcome(reason=reason.removeprefix("the source: "))
    write_outcome(folder, outcome.model_copy(update={"seconds": round(time.monotonic() - started, 1)}))


def segment_study(settings: NodeSettings, source: Path, folder: Path, name: str) -> Outcome:
    """Segment a study; see `work_on`.

    Raises:
        LacunetError: as `segment_export`; or no object could be made.
    """
    predictor = Predictor(load_models(settings.segment.model, None), settings.segment.device)
    task = predictor.model.task
    on = "cuda" if settings.segment.device.startswith("cuda") else "cpu"
    importer = Importer(settings=ImportSettings(settings.segment.stripper, on), name=name, task=task)
    visit: Visit | None = None
    for result in segment_export(predictor, importer, source, folder / RESULTS, SegmentSettings(viewer=False)):
        if isinstance(result, Survey):
            visit = result.visits[0]
        elif isinstance(result, Problem):
            return Outcome(reason=result.message)
        elif visit is not None:  # the converted scans are there until the next step of the loop
            return _outcome(result, _made(settings.send, visit, result, folder, task), task)
    raise DataError("holds no visit that can be segmented")


def _made(settings: Send, visit: Visit, done: Segmented, folder: Path, task: Task) -> list[Made]:
    """The objects that go back: masks, then what is made of them.

    Raises:
        DataError: a mask could not be written as DICOM.
        OutputError: a file cannot be written.
    """
    made: list[Made] = []
    for modality in wanted_targets(tuple(visit.scans), (), task):
        mask = done.places.dicom(modality)
        if not mask.is_file():
            notes = "; ".join(line for line in done.warnings if line.startswith("no DICOM SEG"))
            raise DataError(notes or f"no DICOM SEG of {task.titles[modality]}")
        made.append(_as_made(mask, "mask", folder))
        if settings.secondary_capture and pictures_allowed(visit.cautions):
            shown = Shown(
                visit.scans[modality].path, done.places.native_mask(modality), mask, _legend(done, task), _said(done)
            )
            pictures = write_captures(shown, done.places.folder, settings.most_pictures, task)
            made += [_as_made(path, "picture", folder) for path in pictures]
        if settings.structured_report:
            report = done.places.folder / f"volumes-on-{modality}.dcm"
            write_measurements(Measured(mask, done.volumes, _titles(done, task)), report, task)
            made.append(_as_made(report, "report", folder))
    return made


def _titles(done: Segmented, task: Task) -> dict[str, str]:
    """Regions by name, with a word where the number must be read with care."""
    doubtful = " (doubtful)" if done.doubts else ""
    return {region: f"{task.titles[region]}{IN_BRACKETS[done.evidence[region]]}{doubtful}" for region in task.regions}


def _legend(done: Segmented, task: Task) -> dict[str, str]:
    titles = _titles(done, task)
    return {region: f"{titles[region]} {done.volumes[region]:.1f} ml" for region in task.regions}


def _said(done: Segmented) -> list[str]:
    return [*(f"CAUTION: {line}" for line in done.cautions), *(f"DOUBTFUL: {line}" for line in done.doubts)]


def _as_made(path: Path, kind: Kind, folder: Path) -> Made:
    return Made(uid=uid_of(path), kind=kind, file=str(path.relative_to(folder)))


def uid_of(path: Path) -> str:
    """The SOPInstanceUID of a file that was made here."""
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _outcome(done: Segmented, made: Sequence[Made], task: Task) -> Outcome:
    return Outcome(
        volumes_ml={task.titles[region]: round(volume, 3) for region, volume in done.volumes.items()},
        notes=(*done.cautions, *done.doubts, *done.warnings),
        made=tuple(made),
    )
