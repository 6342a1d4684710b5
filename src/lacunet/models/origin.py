"""Which model a training began from: what its card says of it, and whose cases that model had seen. No torch here."""

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
_AGAIN = "train the model again"


class Origin(Strict):
    """The model that a training began from.

    Attributes:
        model: Its name.
        sha256: Of its weights file.
        data: What its card says of its training data.
        training_list: The hash of the list of its training cases; empty if its card has none.
        init: What its own training began from, as its card says; None if from nothing.
        taken: How many tensors of the network began with its weights.
        new: Names of those that did not.
        left: Names of its tensors that were not used.
        seen: Cases that it, or the model that it began from, was trained on; None where this is not known, as of a
            model that ships. A run keeps these names, a card does not.
    """

    model: str
    sha256: str
    data: str
    training_list: str
    init: dict[str, Any] | None
    taken: int = Field(ge=1)
    new: tuple[str, ...]
    left: tuple[str, ...]
    seen: tuple[str, ...] | None

    def card(self) -> dict[str, Any]:
        """For the card of the model that was trained: all but the names of cases."""
        return self.model_dump(mode="json", exclude={"seen"})


def origin_of(source: str, taken: int, new: tuple[str, ...], left: tuple[str, ...]) -> Origin:
    """What is kept of a model that a training begins from.

    Args:
        source: A shipped name, a model folder or a run.
        taken: See `Origin`, as for the others.
        new: See `Origin`.
        left: See `Origin`.
    """
    folder = model_folder(source)
    description = read_description(folder)
    card = description.card
    return Origin(
        model=model_name(folder),
        sha256=description.sha256,
        data=card.get("data", ""),
        training_list=card.get("training_list", ""),
        init=card.get("init"),
        taken=taken,
        new=new,
        left=left,
        seen=cases_seen(run_of(folder)),
    )


def cases_seen(run: Path) -> tuple[str, ...] | None:
    """The cases that a run's weights were trained on, with those of the model that it began from.

    None where this is not known: the folder is no run, or the run began from a model whose cases are not known.
    """
    split = run / RUN_SPLIT
    if not split.is_file():
        return None
    own, origin = read_split(split).get("train", []), read_origin(run)
    if origin is None:
        return tuple(sorted(own))
    return None if origin.seen is None else tuple(sorted({*own, *origin.seen}))


def write_origin(run: Path, origin: Origin) -> None:
    """Keep it in a run's folder."""
    write_json(run / ORIGIN, origin.model_dump(mode="json"))


def read_origin(run: Path) -> Origin | None:
    """What a run began from; None if from nothing.

    Raises:
        ModelError: its file cannot be read.
    """
    path = run / ORIGIN
    return (
        fitted(Origin, read_json(path, ModelError, _AGAIN), str(path), ModelError, _AGAIN) if path.is_file() else None
    )
