"""What a visit's mask measures: the mask that is there, or one from fewer sequences, for which the model is asked."""

from collections.abc import Mapping

from lacunet.data.hidden_names import errors_without_names
from lacunet.data.source_table import sha256_of
from lacunet.description.shape import Shape, shape_of
from lacunet.errors import UsageError
from lacunet.evaluation.metrics import region_masks, volume_ml
from lacunet.prediction.choices import N4
from lacunet.prediction.postprocess import get_rule
from lacunet.prediction.predictor import Predictor
from lacunet.segmentation.answer import Answer, ask
from lacunet.segmentation.doubts import SHADED
from lacunet.segmentation.provenance import MODEL
from lacunet.segmentation.record import CaseRecord
from lacunet.task import Subset, Task
from lacunet.visits.numbers import Measured
from lacunet.visits.visit import Visit

_ROUNDED_ML = 0.001
"""Volumes in `case.json` are rounded to this."""


def mask_measured(visit: Visit, task: Task) -> Measured:
    """What the mask on disk measures. One that was changed after it was segmented has no range."""
    record, grid = visit.record, visit.case.grid
    masks = region_masks(visit.labels, task)
    volumes = {region: volume_ml(mask, grid.spacing) for region, mask in masks.items()}
    changed = _was_changed(visit, volumes)
    calibration = None if changed else record.calibration
    return Measured(
        subset=visit.subset,
        volumes=volumes,
        ranges=(calibration.volume_ranges_ml if calibration else None) or {},
        coverage=calibration.coverage if calibration else None,
        products=_products({region: shape_of(mask, None, grid) for region, mask in masks.items()}),
        evidence=task.evidence(visit.subset),
        doubtful=bool(record.doubts),
        changed=changed,
    )


def _was_changed(visit: Visit, volumes: Mapping[str, float]) -> bool:
    """Whether the mask is another one than lacunet wrote; by its volumes where the record does not have its hash."""
    mask = visit.finished.mask
    as_written = visit.record.as_written(mask.name, sha256_of([mask]))
    if as_written is not None:
        return not as_written
    stated = visit.record.volumes_ml
    return any(abs(volume - stated.get(region, 0.0)) > _ROUNDED_ML for region, volume in volumes.items())


def asked_again(visit: Visit, subset: Subset, predictor: Predictor) -> Answer:
    """The answer from fewer sequences, with the settings of the mask that is there.

    Args:
        visit: Has these sequences.
        subset: To be used.
        predictor: The model that made the visit's mask.

    Raises:
        DataError: a scan is not what it should be.
        UsageError: the model is another one.
    """
    record = visit.record
    require_its_model(record, predictor)
    rules = [get_rule(name) for name in record.postprocessing]
    with errors_without_names(visit.files):
        return ask(predictor, visit.files, subset, rules, n4=_n4_of(record))


def answer_measured(answer: Answer) -> Measured:
    """What the mask of an answer measures."""
    known = answer.expected.record or {}
    return Measured(
        subset=answer.subset,
        volumes=answer.volumes,
        ranges={region: ends and (ends[0], ends[1]) for region, ends in known.get("volume_ranges_ml", {}).items()},
        coverage=known.get("coverage"),
        products=_products(dict(answer.shapes)),
        evidence=answer.evidence,
        doubtful=bool(answer.doubts),
    )


def require_its_model(record: CaseRecord, predictor: Predictor) -> None:
    """Refuse a model that did not make the mask.

    Raises:
        UsageError: the weights or the mirror images are others.
    """
    name = record.provenance.get(MODEL, "another model")
    if predictor.model.sha256 != record.weights:
        raise UsageError(
            f"the masks were made by {name} (sha256 {record.weights[:8]}), and the model given is "
            f"{predictor.model.name} (sha256 {predictor.model.sha256[:8]}); give the one that made them (--model)"
        )
    if predictor.mirror != record.mirror:
        raise UsageError(
            f"the masks were made with --mirror {record.mirror}, not {predictor.mirror}; give --mirror {record.mirror}"
        )


def _n4_of(record: CaseRecord) -> N4:
    """As the scans were corrected when they were segmented."""
    if not record.evened:
        return "off"
    return "on" if any(one.before <= SHADED for one in record.n4.values()) else "auto"


def _products(shapes: dict[str, Shape | None]) -> dict[str, float]:
    largest = {region: shape.largest for region, shape in shapes.items() if shape}
    return {region: focus.diameters.product for region, focus in largest.items() if focus}
