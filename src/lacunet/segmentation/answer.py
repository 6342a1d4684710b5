"""What a model says about one case: labels, volumes, doubts, and how reliable they are. No file is written here.

answer = ask(Predictor(load_model("default")), case_from_files({"t1c": t1c, "t2f": flair}, "anna"))
print(answer.volumes, answer.warnings)
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from lacunet.case import Case, CaseFiles
from lacunet.data.called import by_label
from lacunet.data.hidden_names import all_without_names, names_of_files
from lacunet.data.midplane import Plane
from lacunet.data.nifti import load_case
from lacunet.data.scan_facts import scan_facts
from lacunet.description.pose import Pose, pose_of
from lacunet.description.shape import Shape, shape_of
from lacunet.description.vasari import Feature, vasari_of
from lacunet.description.where import where_of
from lacunet.errors import DataError, UsageError
from lacunet.evaluation.agreement import Agreement, Masks, agreement_of, parts_of
from lacunet.evaluation.metrics import dice, region_masks, volume_ml
from lacunet.intake.found import Caution
from lacunet.intake.identify.classify import contradictions
from lacunet.intake.read.subject import cautions_beside
from lacunet.intake.record import ImportRecord, record_of
from lacunet.models.model import Model
from lacunet.prediction.choices import N4
from lacunet.prediction.postprocess import Rule, apply_rules, rules_of, taken_out, taken_out_words
from lacunet.prediction.predictor import Prediction, Predictor
from lacunet.segmentation.asked import Asked, ask_in_parts
from lacunet.segmentation.bad_scan import BadScan, bad_scan_of, left_out_words, without
from lacunet.segmentation.doubts import Doubt, Signs, doubts_of, unreliable_regions
from lacunet.segmentation.even import Evened, evened, evened_warnings
from lacunet.segmentation.expectation import (
    Expected,
    card_expectation,
    caveat,
    expected_of,
    inference_warnings,
    withhold,
)
from lacunet.segmentation.provenance import MIRRORED, MODEL, WEIGHTS
from lacunet.task import Evidence, Subset, Task

if TYPE_CHECKING:  # it loads the packages of registration, which a case that is ready does not need
    from lacunet.segmentation.native import Origin


@dataclass(frozen=True)
class Answer:
    """What a model says of one case.

    Attributes:
        model: The model.
        files: The files of the case.
        case: What they hold, on one RAS+ grid.
        subset: The modalities that were used.
        prediction: What the network says, before post-processing; it gives the probabilities.
        labels: Labels inside lacunet, after post-processing.
        rules: Names of the post-processing, in order.
        volumes: Millilitres by region.
        pose: How the brain lies in the case's coordinates.
        shapes: Diameters, foci and place by region; None of a region that is empty.
        caveat: What a volume does not show.
        cautions: What must be said before any volume.
        doubts: Why the mask may be wrong.
        signs: What the doubts come from: the mask, and the scans as the model saw them.
        left_out: The scan that was not used since it does not fit the others; None where there is none, or it was not
            asked to be left out.
        evened: Scans that were corrected for uneven brightness before the model saw them; `case` has them as they came.
        expected: The Dice and the volumes to expect; nothing where there is a doubt.
        warnings: Other sentences that a reader must not miss.
        provenance: The software, the model and the scans, in the order in which they are printed.
        imported: What `lacunet import` did to the scans; None for a case that needed no import.
        origin: The scans as they were before this import; None where they are not at hand.
        seconds: How long it took to load the case and to ask.
    """

    model: Model
    files: CaseFiles
    case: Case
    subset: Subset
    prediction: Prediction
    labels: UInt8[np.ndarray, "x y z"]
    rules: Sequence[str]
    volumes: Mapping[str, float]
    pose: Pose
    shapes: Mapping[str, Shape | None]
    caveat: str
    cautions: Sequence[Caution]
    doubts: Sequence[Doubt]
    signs: Signs
    left_out: BadScan | None
    evened: Mapping[str, Evened]
    expected: Expected
    warnings: Sequence[str]
    provenance: Mapping[str, str]
    imported: ImportRecord | None
    origin: "Origin | None"
    seconds: float

    @property
    def task(self) -> Task:
        """The model's task."""
        return self.model.task

    @property
    def evidence(self) -> dict[str, Evidence]:
        """By region: whether the sequences that were used can show it at all."""
        return self.task.evidence(self.subset)

    @cached_property
    def dice(self) -> dict[str, float]:
        """Dice with the reference by region; empty where none was loaded."""
        if self.case.reference is None:
            return {}
        found, drawn = region_masks(self.labels, self.task), region_masks(self.case.reference, self.task)
        return {region: dice(mask, drawn[region]) for region, mask in found.items()}

    @cached_property
    def vasari(self) -> tuple[Feature, ...]:
        """Features of VASARI; none of an empty mask, and none for other tasks than gliomas."""
        masks = region_masks(self.labels, self.task)
        return vasari_of(masks, self.shapes, self.pose, self.case.grid, self.task, self.evidence)

    @property
    def like(self) -> Path:
        """The scan whose header a mask on this case's grid gets."""
        return self.files.images[self.subset[0]].path


def ask(
    predictor: Predictor,
    files: CaseFiles,
    subset: Subset | None = None,
    rules: Sequence[Rule] | None = None,
    want_reference: bool = False,
    origin: "Origin | None" = None,
    n4: N4 = "off",
    leave_out_bad: bool = False,
) -> Answer:
    """Ask the model about one case. No file is written.

    Args:
        predictor: The model.
        files: A case whose scans have no skull and lie on one grid.
        subset: Modalities to use; None uses all that the case has.
        rules: Post-processing, in order; None: the model's own.
        want_reference: Also load the case's reference, where it has one.
        origin: The scans before import, where the case was just imported.
        n4: Which scans are corrected for uneven brightness before the model sees them.
        leave_out_bad: Leave out the scan that does not fit the others, where there is one among three or more.

    Raises:
        DataError: a scan is not what it should be.
        UsageError: the case lacks a modality of `subset`.
    """
    started = time.monotonic()
    model = predictor.model
    want = want_reference and files.reference is not None
    case = _imported_case(files, model.task, want) if origin else load_case(files, model.task, want)
    subset = subset_in_use(case, subset, model)
    seen, changes = evened(case, subset, n4)
    rules = rules_of(rules, model.postprocessing)
    asked = ask_in_parts(predictor, seen, subset, leave_out_bad, rules)
    bad = bad_scan_of(asked.fits(subset)) if leave_out_bad else None
    subset = without(subset, bad) if bad else subset
    prediction = asked.answers[subset]
    found = prediction.found(case.grid)
    labels = apply_rules(rules, found)
    names = [rule.name for rule in rules]
    masks = region_masks(labels, model.task)
    pose = pose_of(_brain(seen, subset), case.grid)
    gone = taken_out(found, labels)
    signs = replace(signs_of(seen, masks, prediction, asked, pose.midline), taken_out_ml=gone)
    volumes = signs.volumes
    doubts = doubts_of(model.task, subset, signs, model.calibration)
    unreliable = unreliable_regions(model.task, subset, signs, model.calibration)
    corrected = any(modality in changes for modality in subset)
    expected = withhold(
        expected_of(model, subset, volumes, names, predictor.mirror, card_expectation(model, subset), corrected),
        dict.fromkeys(model.task.regions, doubts) if doubts else unreliable,
    )
    imported = origin.record if origin else record_of(files)
    cautions = cautions_of_case(files, imported, model.task)
    said_first = {caution.sentence for caution in cautions}
    judged = imported.found.scans if imported else ()
    warnings = [
        *all_without_names(case.notes, files),
        *(line for line in (imported.warnings if imported else ()) if line not in said_first),
        *contradictions(case.images, case.grid, model.task, known=judged),
        *([left_out_words(model.task, bad)] if bad else ()),
        *evened_warnings(model.task, changes),
        *taken_out_words(gone, names),
        *inference_warnings(model.task, subset),
        *expected.warnings,
        *(doubt.sentence for one in unreliable.values() for doubt in one),
    ]
    return Answer(
        model=model,
        files=files,
        case=case,
        subset=subset,
        prediction=prediction,
        labels=labels,
        rules=names,
        volumes=volumes,
        pose=pose,
        shapes={region: shape_of(mask, pose, case.grid) for region, mask in masks.items()},
        caveat=caveat(model, subset),
        cautions=cautions,
        doubts=doubts,
        signs=signs,
        left_out=bad,
        evened=changes,
        expected=expected,
        warnings=warnings,
        provenance=provenance_of(predictor, [] if origin else scan_names(files, subset)),
        imported=imported,
        origin=origin,
        seconds=time.monotonic() - started,
    )


def signs_of(
    case: Case, masks: Mapping[str, Bool[np.ndarray, "x y z"]], whole: Prediction, asked: Asked, midline: Plane
) -> Signs:
    """What can be seen of a mask and of its scans.

    Args:
        case: The scans.
        masks: By region, after post-processing, the whole tumour first.
        whole: The prediction that they come from.
        asked: Has the masks from parts of its subset.
        midline: The plane between the halves of the brain, mm (RAS+).
    """
    return Signs(
        volumes={region: volume_ml(mask, case.grid.spacing) for region, mask in masks.items()},
        agreement=_agreement(whole, asked.masks),
        where=where_of(next(iter(masks.values())), midline, case.grid),
        facts=scan_facts(case, whole.subset),
        fits=asked.fits(whole.subset),
    )


def _brain(case: Case, subset: Subset) -> Bool[np.ndarray, "x y z"]:
    """Where any scan in use has signal."""
    return np.asarray(np.logical_or.reduce([case.images[modality] != 0 for modality in subset]))


def _agreement(whole: Prediction, masks: Mapping[Subset, Masks]) -> Agreement | None:
    """Of masks on the networks' own grid; None for a single modality."""
    parts = {whole.task.subset_name(part): masks[part] for part in parts_of(whole.subset)}
    return agreement_of(masks[whole.subset], parts, whole.voxel_ml) if parts else None


def _imported_case(files: CaseFiles, task: Task, want_reference: bool) -> Case:
    """A case that import wrote for this moment: errors name the sequence, since nobody knows its files.

    Raises:
        DataError: import left a scan that cannot be segmented.
    """
    try:
        return load_case(files, task, want_reference)
    except DataError as error:
        said = str(error)
        for modality, image in files.images.items():
            said = by_label(said, image.path, f"{task.titles[modality]} after import")
        raise DataError(said) from None


def cautions_of_case(files: CaseFiles, imported: ImportRecord | None, task: Task) -> Sequence[Caution]:
    """What must be said first: what import found, or what the sidecars say of a case that was not imported."""
    if imported is not None:
        return imported.found.cautions
    return cautions_beside({task.titles[modality]: image.path for modality, image in files.images.items()})


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
            "leave --subset out to use all of them"
        )
    return subset


def scan_names(files: CaseFiles, subset: Subset) -> list[str]:
    """The names of a case's files, where they may be shown; the modality of the others."""
    names = names_of_files(files)
    return [names[files.images[modality].path] for modality in subset]


def provenance_of(predictor: Predictor, scans: Sequence[str]) -> dict[str, str]:
    """The software, the model and the scans that a result comes from.

    Args:
        predictor: Has the model.
        scans: Names of files that may be shown; empty where the files do not outlast the result.
    """
    model = predictor.model
    facts = {
        "lacunet": version("lacunet"),
        MODEL: model.name,
        WEIGHTS: model.sha256,
        "trained on": str(model.card.get("data", "not stated")),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **({"scans": ", ".join(scans)} if scans else {}),
        "network grid": predictor.grids,
        "computed on": f"{predictor.device.type}, {str(predictor.dtype).removeprefix('torch.')}",
        "threads": f"{torch.get_num_threads()}, PyTorch {torch.__version__}",
    }
    if predictor.mirror != "none":
        facts[MIRRORED] = predictor.mirror
    return facts
