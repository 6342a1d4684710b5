"""Which models a training learned from: what its card says of them, and whose cases they had seen. No torch here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from lacunet.data.split import RUN_SPLIT, read_split
from lacunet.errors import ModelError
from lacunet.files import write_json
from lacunet.models.description import read_description
from lacunet.models.folder import model_folder, model_name, run_of
from lacunet.reading import read_json
from lacunet.schema import Strict, fitted

ORIGIN = "init.json"
"""In the folder of a run that began from a model."""
TEACHERS = "teachers.json"
"""In the folder of a run that was taught by models."""
_AGAIN = "train the model again"


class Source(Strict):
    """A model that a training learned from.

    Attributes:
        model: Its name.
        sha256: Of its weights file.
        data: What its card says of its training data.
        training_list: The hash of the list of its training cases; empty if its card has none.
        init: What its own training began from, as its card says; None if from nothing.
        seen: Cases that it, or a model that it learned from, was trained on; None where this is not known, as of a
            model that ships. A run keeps these names, a card does not.
    """

    model: str
    sha256: str
    data: str
    training_list: str
    init: dict[str, Any] | None
    seen: tuple[str, ...] | None

    def card(self) -> dict[str, Any]:
        """For the card of the model that was trained: all but the names of cases."""
        return self.model_dump(mode="json", exclude={"seen"})


class Origin(Source):
    """The model that a training began from.

    Attributes:
        taken: How many tensors of the network began with its weights.
        new: Names of those that did not.
        left: Names of its tensors that were not used.
    """

    taken: int = Field(ge=1)
    new: tuple[str, ...]
    left: tuple[str, ...]


class Teachers(Strict):
    """The models that taught a training, or judged what it rebuilt."""

    models: tuple[Source, ...]


def source_of(source: str) -> Source:
    """What is kept of a model that a training learns from: a shipped name, a model folder or a run."""
    folder = model_folder(source)
    description = read_description(folder)
    card = description.card
    return Source(
        model=model_name(folder),
        sha256=description.sha256,
        data=card.get("data", ""),
        training_list=card.get("training_list", ""),
        init=card.get("init"),
        seen=cases_seen(run_of(folder)),
    )


def origin_of(source: str, taken: int, new: tuple[str, ...], left: tuple[str, ...]) -> Origin:
    """What is kept of a model that a training begins from; see `Origin`."""
    return Origin(**source_of(source).model_dump(), taken=taken, new=new, left=left)


def learned_from(run: Path) -> list[Source]:
    """The models that a run began from, was taught by or was judged by."""
    origin = read_origin(run)
    return [*([origin] if origin is not None else []), *read_teachers(run)]


def cases_seen(run: Path) -> tuple[str, ...] | None:
    """The cases that a run's weights were trained on, with those of the models that it learned from.

    None where this is not known: the folder is no run, or the run learned from a model whose cases are not known.
    """
    split = run / RUN_SPLIT
    if not split.is_file():
        return None
    names = set(read_split(split).get("train", []))
    for source in learned_from(run):
        if source.seen is None:
            return None
        names |= set(source.seen)
    return tuple(sorted(names))


def write_origin(run: Path, origin: Origin) -> None:
    """Keep it in a run's folder."""
    write_json(run / ORIGIN, origin.model_dump(mode="json"))


def read_origin(run: Path) -> Origin | None:
    """What a run began from; None if from nothing.

    Raises:
        ModelError: its file cannot be read.
    """
    path = run / ORIGIN
    if not path.is_file():
        return None
    return fitted(Origin, read_json(path, ModelError, _AGAIN), str(path), ModelError, _AGAIN)


def write_teachers(run: Path, teachers: Sequence[Source]) -> None:
    """Keep them in a run's folder."""
    write_json(run / TEACHERS, Teachers(models=tuple(teachers)).model_dump(mode="json"))


def read_teachers(run: Path) -> tuple[Source, ...]:
    """The models that taught or judged a run; none if there is no such file.

    Raises:
        ModelError: its file cannot be read.
    """
    path = run / TEACHERS
    if not path.is_file():
        return ()
    return fitted(Teachers, read_json(path, ModelError, _AGAIN), str(path), ModelError, _AGAIN).models
