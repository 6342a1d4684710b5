"""Several models that answer together."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lacunet.errors import UsageError
from lacunet.models.folder import DESCRIPTION, shipped_models
from lacunet.models.model import Model, load_model
from lacunet.reading import is_file


def members_of(source: str) -> list[str]:
    """The models that a source names.

    Args:
        source: A model as `load_model` takes it; several of them with commas between; or the folder of a benchmark's
            folds (`NAME/seed-1`), whose members are the models of all folds.
    """
    folder = Path(source)
    if source in ("default", *shipped_models()) or any(is_file(at / DESCRIPTION) for at in (folder, folder / "model")):
        return [source]
    if folds := _folds_in(folder):
        return folds
    if "," in source:
        return [member for part in source.split(",") for member in members_of(part.strip())]
    return [source]


def _folds_in(folder: Path) -> list[str]:
    try:
        folds = sorted(folder.glob("fold-*"), key=lambda fold: (len(fold.name), fold.name))
    except (OSError, ValueError):  # a name that no file can have
        return []
    return [str(fold) for fold in folds]


def load_models(source: str, method_file: Path | None = None) -> list[Model]:
    """The models that a source names; see `members_of`, and `load_model` for the errors."""
    return [load_model(member, method_file) for member in members_of(source)]


def as_one(models: Sequence[Model]) -> Model:
    """What several models are called together: their names, a hash of their hashes, what they were trained on.

    One model is itself. Several have no calibration and no scores of their own; method and preparation are those of the
    first, and so is post-processing where all have the same; otherwise there is none.

    Raises:
        UsageError: no model, or models of different tasks.
    """
    if not models:
        raise UsageError("an ensemble without a model: name at least one")
    first, *others = models
    if not others:
        return first
    for other in others:
        if other.task.to_json() != first.task.to_json():
            raise UsageError(
                f"{other.name} is of the task '{other.task.name}', {first.name} of '{first.task.name}'; models that "
                "answer together have one task, with the same modalities and regions"
            )
    data = dict.fromkeys(str(model.card.get("data", "not stated")) for model in models)
    card = {
        "data": "; ".join(data),
        "members": [{"model": model.name, "sha256": model.sha256} for model in models],
    }
    sha256 = hashlib.sha256("\n".join(model.sha256 for model in models).encode()).hexdigest()
    name = " + ".join(model.name for model in models)
    rules = shared_rules(models)
    return replace(first, name=name, card=card, sha256=sha256, calibration=None, postprocessing=rules)


def shared_rules(models: Sequence[Model]) -> tuple[str, ...]:
    """The post-processing of several models where all have the same; otherwise none."""
    rules = {model.postprocessing for model in models}
    return rules.pop() if len(rules) == 1 else ()
