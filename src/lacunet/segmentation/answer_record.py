"""An answer as the record of its case (`case.json`), with as many digits as mean something."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lacunet.data.source_table import sha256_of
from lacunet.description.pose import Pose
from lacunet.evaluation.fit import Fit
from lacunet.files import rounded
from lacunet.segmentation.answer import Answer
from lacunet.segmentation.bad_scan import BadScan
from lacunet.segmentation.doubts import Signs
from lacunet.segmentation.record import (
    AgreementRecord,
    CalibrationRecord,
    CaseRecord,
    DoubtRecord,
    EvenedRecord,
    FitRecord,
    LeftOutRecord,
    SentenceRecord,
    SignsRecord,
    record_pose,
    shape_record,
)


def record_of_answer(
    answer: Answer,
    convention: str,
    masks: Mapping[Path, Pose | None],
    warnings: Sequence[str],
    facts: Mapping[str, str],
    seconds: float,
    inputs: Mapping[str, str],
) -> CaseRecord:
    """An answer for programs, with as many digits as mean something.

    Args:
        answer: Of one case.
        convention: What the integers of the masks mean.
        masks: The files, which are there, and how the brain lies in their coordinates; None of a DICOM object.
        warnings: All but cautions and doubts, also those of writing.
        facts: The provenance, as the page prints it.
        seconds: From loading the case to writing its page.
        inputs: SHA-256 by sequence.
    """
    task, expected = answer.task, answer.expected
    return CaseRecord(
        case=answer.case.name,
        written=datetime.now(UTC),
        subset=task.subset_name(answer.subset),
        acquired=task.subset_name(answer.case.acquired(task)),
        cautions=tuple(SentenceRecord(kind=one.kind, sentence=one.sentence) for one in answer.cautions),
        volumes_ml={region: round(volume, 3) for region, volume in answer.volumes.items()},
        measures={region: shape_record(shape) for region, shape in answer.shapes.items() if shape},
        vasari=answer.vasari,
        caveat=answer.caveat,
        doubts=tuple(DoubtRecord(kind=one.kind, sentence=one.sentence) for one in answer.doubts),
        signs=_signs(answer.signs),
        left_out=_left_out(answer.left_out),
        n4={name: EvenedRecord(before=one.before, after=one.after) for name, one in answer.evened.items()},
        evidence=answer.evidence,
        expected_dice=dict(expected.expectation.dice) if expected.expectation else {},
        expected_dice_from=expected.expectation.source if expected.expectation else None,
        calibration=_calibration(expected.record),
        withheld={region: tuple(kinds) for region, kinds in expected.withheld.items()},
        warnings=(*(one.sentence for one in answer.cautions), *(one.sentence for one in answer.doubts), *warnings),
        label_convention=convention,
        masks=tuple(path.name for path in masks),
        masks_sha256={path.name: sha256_of([path]) for path in masks},
        poses={path.name: record_pose(pose) for path, pose in masks.items() if pose},
        postprocessing=tuple(answer.rules),
        provenance=facts,
        seconds=round(seconds, 2),
        inputs_sha256=inputs,
        dice={region: round(dice, 4) for region, dice in answer.dice.items()},
    )


def _signs(signs: Signs) -> SignsRecord:
    parts = signs.agreement.parts if signs.agreement else {}
    return SignsRecord(
        agreement={
            name: AgreementRecord(volumes_ml=rounded(dict(part.volumes_ml), 4), dice=rounded(dict(part.dice), 4))
            for name, part in parts.items()
        },
        fit={modality: FitRecord(**_fit(fit)) for modality, fit in signs.fits.items()},
        both_sides=round(signs.where.both_sides, 3),
        distant_ml=round(signs.where.distant_ml, 2),
        brain_ml=round(signs.facts.brain_ml, 1),
        voxel_mm=round(signs.facts.voxel_mm, 3),
        shading={modality: round(factor, 2) for modality, factor in signs.facts.shading.items()},
        taken_out_ml=tuple(round(volume, 2) for volume in signs.taken_out_ml),
    )


def _left_out(bad: BadScan | None) -> dict[str, LeftOutRecord]:
    return {bad.modality: LeftOutRecord(**_fit(bad.fit), least=bad.least)} if bad else {}


def _fit(fit: Fit) -> dict[str, float]:
    return {"alone": round(fit.alone, 4), "others": round(fit.others, 4)}


def _calibration(record: Mapping[str, Any] | None) -> CalibrationRecord | None:
    return None if record is None else CalibrationRecord.model_validate_json(json.dumps(record))
