"""Predictions of cases that a model has not seen: scores and agreement of every subset, logits of some voxels."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from safetensors.numpy import load_file, save

from lacunet.case import Case, CaseFiles, box_around
from lacunet.crew.crew import Crew, Here, Lost, Place
from lacunet.data.names import person_of
from lacunet.data.nifti import load_case
from lacunet.data.scan_facts import ScanFacts, scan_facts
from lacunet.data.split import RUN_SPLIT, bare_id, read_split
from lacunet.errors import DataError, ModelError, OutputError, Problem, problem_of
from lacunet.evaluation.agreement import agreement_of, parts_of
from lacunet.evaluation.masks import masks_of
from lacunet.evaluation.metrics import BRATS, dice, region_masks, volume_ml
from lacunet.evaluation.scores import Row, read_rows, write_rows
from lacunet.files import path_in, whole_file, write_json
from lacunet.models.description import read_description
from lacunet.models.folder import model_folder, run_of
from lacunet.models.origin import cases_seen, learned_from
from lacunet.prediction.choices import Mirror, Precision
from lacunet.prediction.postprocess import Rule
from lacunet.prediction.predictor import Predictor
from lacunet.progress import Progress, Silent
from lacunet.reading import read_json
from lacunet.schema import Strict, fitted
from lacunet.task import Subset, Task


@dataclass(frozen=True)
class HeldOut:
    """Cases that a model has not seen in training.

    Attributes:
        model: A run or a model folder.
        cases: With references; their label convention is decided.
    """

    model: str
    cases: tuple[CaseFiles, ...]


@dataclass(frozen=True)
class PassSettings:
    """How the cases are predicted.

    Attributes:
        voxels: How many voxels of a case's brain are kept; all if there are fewer.
        seed: Decides, with the case's name, which voxels.
        rules: Post-processing of the masks, in order; it does not change logits.
        mirror: Of the predictors, whose settings are only recorded here.
        precision: Of the predictors.
        window: Of the predictors.
        resume: Go on with a pass that was stopped.
    """

    voxels: int = 10_000
    seed: int = 1
    rules: Sequence[Rule] = ()
    mirror: Mirror = "none"
    precision: Precision = "auto"
    window: int = 0
    resume: bool = False


class Beside(Strict):
    """What is known of a predicted case beside its scores; `parts/NAME.json`.

    Attributes:
        agreement: By subset of several modalities, then by region: mean Dice with the masks from its parts.
        facts: What the scans are like.
    """

    agreement: dict[str, dict[str, float]]
    facts: ScanFacts


@dataclass(frozen=True)
class Passed:
    """What is kept of a case.

    Attributes:
        rows: Dice and volumes by subset and region; no HD95.
        voxels: `truth`, and logits by subset, region by voxel.
        beside: The rest.
    """

    rows: Sequence[Row]
    voxels: Mapping[str, np.ndarray]
    beside: Beside


@dataclass(frozen=True)
class HeldOutCase:
    """One case, predicted.

    Attributes:
        name: The case.
        person: Whose case it is.
        fold: Index of its fold.
        rows: Dice and volumes by subset and region; no HD95.
        voxels: The file with its logits; see `logits_of`.
        beside: The rest.
    """

    name: str
    person: str
    fold: int
    rows: Sequence[Row]
    voxels: Path
    beside: Beside


def own_split(source: str) -> Path | None:
    """The split file of the run that a model came from; None if the run kept none."""
    path = run_of(model_folder(source)) / RUN_SPLIT
    return path if path.is_file() else None


def require_out_of_fold(folds: Sequence[HeldOut], persons: Mapping[str, str]) -> None:
    """Refuse a person whom two models hold out, or on whom the model that holds them out was trained.

    Args:
        folds: The models and their cases.
        persons: Case -> person, of all data; the person of any other training case is read from its name.

    Raises:
        DataError: a case is held out twice, a person in two folds, or a run knows that it trained on the person.
        ModelError: the models differ in method, arguments, task or preparation.
    """
    seen: dict[str, tuple[str, str]] = {}
    for fold in folds:
        for case in fold.cases:
            name, model = seen.setdefault(case.person, (case.name, fold.model))
            if model != fold.model:
                raise DataError(
                    f"{case.name} is held out by {fold.model}, but {name} of the same person by {model}; "
                    "a person belongs to one fold: correct the split files"
                )
        _refuse_seen(fold, persons)
    require_alike([fold.model for fold in folds])


def chose_weights(fold: HeldOut) -> bool:
    """Whether the run validated with some of the cases, which may then have chosen its weights."""
    path = own_split(fold.model)
    validated = read_split(path).get("val", []) if path is not None else []
    return any(bare_id(case.name) in validated for case in fold.cases)


def _refuse_seen(fold: HeldOut, persons: Mapping[str, str]) -> None:
    run = run_of(model_folder(fold.model))
    sources = learned_from(run)
    for source in sources:
        if source.seen is None:
            raise DataError(
                f"{fold.model}: its training learned from {source.model}, whose training cases are not known, and the "
                "cases held out may be among them; train the folds from nothing, or from runs that keep their split"
            )
    known = {bare_id(name): person for name, person in persons.items()}
    trained = {known.get(name) or person_of(name): name for name in cases_seen(run) or ()}
    for case in fold.cases:
        if case.person in trained:
            others = any(trained[case.person] in (source.seen or ()) for source in sources)
            kept = "a model that it learned from" if others else run / RUN_SPLIT
            raise DataError(
                f"{case.name}: {fold.model} has trained on it or on its person ({trained[case.person]} in {kept}); "
                "name the cases that this run has not seen: RUN=FILE:PART"
            )


def require_alike(models: Sequence[str]) -> None:
    """Refuse models that differ in method, arguments, task or preparation.

    Raises:
        ModelError: one differs from the first; the first difference is named.
    """
    first = read_description(model_folder(models[0]))
    for model in models[1:]:
        other = read_description(model_folder(model))
        for what in ("method", "arguments", "task", "preparation"):
            found, expected = getattr(other, what), getattr(first, what)
            if found != expected:
                raise ModelError(
                    f"{model}: its {what} is {found}, and that of {models[0]} is {expected}; "
                    "all folds of a calibration are trained by one recipe"
                )


def pass_through(
    folds: Sequence[HeldOut],
    folder: Path,
    settings: PassSettings,
    predictor_for: Callable[[str, Place], Predictor],
    progress: Progress = Silent(),
    crew: Crew = Here(),
) -> Iterator[HeldOutCase | Problem]:
    """Predict every case from every subset of its modalities, with the model that has not seen it; a model at a time.

    Each case is kept in `folder/parts/` as soon as it is done. `predictor_for` loads a model where a worker is.

    Raises:
        OutputError: the folder holds a pass with other settings, or any pass and `settings.resume` is False.
    """
    _open_folder(folder, folds, settings)
    each = [_ToPass(index, fold.model, files) for index, fold in enumerate(folds) for files in fold.cases]
    passed = crew.run(each, partial(_Passing, folder, settings, predictor_for))
    for done, one in enumerate(each):
        progress.advanced("calibrating", done, len(each), f"calibrating: {one.files.name}")
        found = next(passed)
        yield Problem(one.files.name, found.words) if isinstance(found, Lost) else found
    progress.advanced("calibrating", len(each), len(each), "calibrated")


@dataclass(frozen=True)
class _ToPass:
    """A case to predict: the index of its fold, and the model of that."""

    fold: int
    model: str
    files: CaseFiles


class _Passing:
    """A worker: the model of the fold that it is at stays loaded."""

    def __init__(
        self, folder: Path, settings: PassSettings, predictor_for: Callable[[str, Place], Predictor], place: Place
    ) -> None:
        self._folder, self._settings = folder, settings
        self._predictor_for, self._place = predictor_for, place
        self._loaded: tuple[str, Predictor] | None = None

    def __call__(self, one: _ToPass) -> HeldOutCase | Problem:
        files = one.files
        try:
            table, voxels, beside = (
                path_in(self._folder / "parts", files.name, end) for end in (".csv", ".safetensors", ".json")
            )
            if not (self._settings.resume and table.is_file() and beside.is_file()):
                predictor = self._predictor(one.model)
                passed = go_through(predictor, load_case(files, predictor.model.task), self._settings)
                _save_voxels(voxels, passed.voxels)
                write_json(beside, passed.beside.model_dump(mode="json"))
                write_rows(table, passed.rows)
            return HeldOutCase(files.name, files.person, one.fold, read_rows(table), voxels, _read_beside(beside))
        except Exception as error:
            return problem_of(files.name, error)

    def _predictor(self, model: str) -> Predictor:
        if self._loaded is None or self._loaded[0] != model:
            self._loaded = None  # before the next one takes memory
            self._loaded = model, self._predictor_for(model, self._place)
        return self._loaded[1]


def go_through(predictor: Predictor, case: Case, settings: PassSettings) -> Passed:
    """Predict one case from every subset of its modalities.

    Where none of a subset's images has signal, the logit is NaN.

    Raises:
        DataError: the case has no reference.
        ModelError: a logit is not a number.
    """
    if case.reference is None:
        raise DataError(f"{case.name}: has no reference mask; calibration needs one")
    task, acquired = predictor.model.task, case.acquired(predictor.model.task)
    reference = region_masks(case.reference, task)
    chosen = sample_brain(_brain(case, acquired), settings.voxels, settings.seed, case.name)
    kept = {"truth": np.stack([mask.ravel()[chosen] for mask in reference.values()]).astype(np.uint8)}
    rows: dict[Subset, list[Row]] = {}
    box = box_around(_brain(case, acquired))
    masks: dict[Subset, dict[str, np.ndarray]] = {}
    for prediction in predictor.each(case, [subset for subset in task.subsets if set(subset) <= set(acquired)]):
        name = task.subset_name(prediction.subset)
        logits = prediction.logits.flatten(1)[:, chosen].numpy()
        if not np.isfinite(logits).all():
            raise ModelError(
                f"{predictor.model.name}: its logits of {case.name} from {name} are not numbers; train it again"
            )
        processed = masks_of(prediction, settings.rules, case.grid)
        masks[prediction.subset] = {region: mask[box].copy() for region, mask in processed.items()}
        kept[name] = np.where(_brain(case, prediction.subset).ravel()[chosen], logits, np.float32(nan))
        found = processed if settings.rules else region_masks(prediction.labels(), task)
        spacing = case.grid.spacing
        rows[prediction.subset] = [
            Row(case.name, name, region, dice(found[region], mask), nan,
                volume_ml(mask, spacing), volume_ml(found[region], spacing))
            for region, mask in reference.items()
        ]  # fmt: skip
    return Passed(
        rows=[row for subset in task.subsets for row in rows.get(subset, [])],
        voxels=kept,
        beside=Beside(agreement=_agreement(masks, case, task), facts=scan_facts(case, acquired)),
    )


def _agreement(masks: Mapping[Subset, Mapping[str, np.ndarray]], case: Case, task: Task) -> dict[str, dict[str, float]]:
    """Mean Dice of each subset's masks with those from its parts."""
    found = {}
    for subset, whole in masks.items():
        if parts := {task.subset_name(part): masks[part] for part in parts_of(subset)}:
            agreement = agreement_of(whole, parts, case.grid.voxel_ml)
            found[task.subset_name(subset)] = {region: agreement.dice(region) for region in task.regions}
    return found


def sample_brain(brain: Bool[np.ndarray, "x y z"], number: int, seed: int, name: str) -> Int[np.ndarray, " voxel"]:
    """Indices into the flattened array of some voxels of a brain; seed and name decide which."""
    indices = np.flatnonzero(brain)
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype=np.uint32)
    generator = np.random.default_rng([seed, *map(int, words)])
    return np.sort(generator.choice(indices, size=min(number, indices.size), replace=False))


def logits_of(
    parts: Sequence[HeldOutCase], task: Task, size: int, group: Mapping[str, str]
) -> dict[str, tuple[Float[np.ndarray, "region voxel"], Bool[np.ndarray, "region voxel"]]]:
    """Logits and truth of the sampled voxels over all subsets of one size, read from the parts' files.

    Args:
        parts: The cases.
        task: Names and orders.
        size: How many modalities the subsets have.
        group: Case -> its key in the result.
    """
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for part in parts:
        kept = load_file(part.voxels)
        for subset in task.subsets:
            logits = kept.get(task.subset_name(subset))
            if len(subset) == size and logits is not None:
                there = np.isfinite(logits).all(axis=0)
                found.setdefault(group[part.name], []).append((logits[:, there], kept["truth"][:, there].astype(bool)))
    return {
        key: (np.concatenate([one for one, _ in pairs], axis=1), np.concatenate([one for _, one in pairs], axis=1))
        for key, pairs in found.items()
    }


def _brain(case: Case, subset: Sequence[str]) -> Bool[np.ndarray, "x y z"]:
    brain: np.ndarray = np.logical_or.reduce([case.images[modality] != 0 for modality in subset])
    return brain


def _read_beside(path: Path) -> Beside:
    advice = "remove it and continue with --resume"
    return fitted(Beside, read_json(path, DataError, advice), str(path), DataError, advice)


def _save_voxels(path: Path, kept: Mapping[str, np.ndarray]) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(save({name: np.ascontiguousarray(array) for name, array in kept.items()}))


def _open_folder(folder: Path, folds: Sequence[HeldOut], settings: PassSettings) -> None:
    identity = {
        "folds": [
            {
                "weights": read_description(model_folder(fold.model)).sha256,
                "cases": [case.name for case in fold.cases],
            }
            for fold in folds
        ],
        "voxels": settings.voxels,
        "seed": settings.seed,
        "postprocessing": [rule.name for rule in settings.rules],
        "mirror": settings.mirror,
        "precision": settings.precision,
        "window": settings.window,
        "policy": BRATS.name,
    }
    path = folder / "parts" / "pass.json"
    if path.is_file():
        if not settings.resume:
            raise OutputError(
                f"{folder}: holds a calibration already; continue with --resume, or choose another folder"
            )
        if read_json(path, OutputError, "choose another folder") != json.loads(json.dumps(identity)):
            raise OutputError(f"{folder}: holds a calibration of other folds or settings; choose another folder")
    write_json(path, identity)
