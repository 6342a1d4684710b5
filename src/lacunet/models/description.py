"""`model.json`: the limits of every value, and a hash that tells whether the file was changed. No torch here."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lacunet.errors import ModelError
from lacunet.models.folder import DESCRIPTION
from lacunet.reading import read_json, shown
from lacunet.schema import Clip, Spacing, Strict, fitted
from lacunet.task import Task
from lacunet.task_fields import TaskFields

FORMAT = 1
HASH = "description_sha256"
"""The key of the description's own hash; descriptions that older versions wrote have none."""
AGAIN = "get the model again"
JOINED = "joined"
"""In place of a method's name: several trained networks, each for some regions (`models/joined.py`)."""
MOST_NETWORKS = 10
"""In a joined model."""

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Word = Annotated[str, Field(max_length=200)]
_LARGEST_ARGUMENT = 10**6


class PreparationFields(Strict):
    """As `lacunet.data.prepare.Preparation`."""

    spacing: Spacing
    clip: Clip


class _Open(BaseModel):
    """A part of the card: what is read of it has a type, all else is kept as it is."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class _Score(_Open):
    dice: Annotated[float, Field(ge=0, le=1)]


class _Found(_Open):
    median: Annotated[float, Field(ge=0)]


class _TumourFree(_Open):
    cases: Annotated[int, Field(ge=1)]
    subsets: dict[str, dict[str, _Found]] = {}


class _Results(_Open):
    cases: Annotated[int, Field(ge=0)] = 0
    data: str = ""
    subsets: dict[str, dict[str, _Score]] = {}
    tumour_free: _TumourFree | None = None


class _Training(_Open):
    steps: Annotated[int, Field(ge=1)] | None = None


class _Recipe(_Open):
    method: str = ""
    arguments: dict[str, Any] = {}
    train: _Training = _Training()


class Card(_Open):
    """What is read of a card, by its type."""

    data: str = ""
    licence: str = ""
    recipe: _Recipe | None = None
    results: _Results = _Results()
    training_list: str | None = None
    validation_list: str | None = None
    complete_cases: int = 0
    init: dict[str, Any] | None = None


class _Member(_Open):
    method: _Word


class _Members(_Open):
    members: Annotated[list[_Member], Field(min_length=1, max_length=MOST_NETWORKS)]


class Description(Strict):
    """The content of `model.json`.

    Attributes:
        format: Of the file.
        method: Name of the method, or `joined`.
        arguments: Of the method.
        task_fields: Modalities in, regions out; written `task`.
        preparation: What is done to images before the method sees them.
        postprocessing: Names of the rules that masks go through unless others are asked for.
        sha256: Of the weights file.
        card: What the model says of itself; `Card` gives the types of what is read of it.
        description_sha256: Of everything else in this file; None in a file that an older version wrote.
    """

    format: Literal[1]
    method: _Word
    arguments: Annotated[dict[_Word, Any], Field(max_length=100)]
    task_fields: TaskFields = Field(alias="task")
    preparation: PreparationFields
    postprocessing: Annotated[tuple[_Word, ...], Field(max_length=10)] = ()
    sha256: _Hash
    card: dict[str, Any]
    description_sha256: _Hash | None = None

    @property
    def task(self) -> Task:
        """The task."""
        return Task.of_fields(self.task_fields)

    @property
    def methods(self) -> str:
        """The method's name; of a joined model those of its networks, `ccsd + masm`."""
        if self.method != JOINED:
            return self.method
        return " + ".join(member.method for member in _Members.model_validate(self.arguments).members)


def read_description(folder: Path) -> Description:
    """The description beside the weights, checked value by value; the weights are not read.

    Raises:
        ModelError: see `read_json` and `description_of`.
    """
    path = folder / DESCRIPTION
    return description_of(read_json(path, ModelError, AGAIN, largest=4 * 2**20), path)


def description_of(content: Any, path: Path) -> Description:
    """A description from its JSON. Every value is checked before anything is made from it.

    Raises:
        ModelError: another format, a value that is missing or impossible, or a description that was changed.
    """
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT or isinstance(found, bool):
        raise ModelError(f"{path}: format {shown(found)}, expected {FORMAT}; use the version of lacunet that wrote it")
    description = fitted(Description, content, str(path), ModelError, AGAIN)
    _require_small(description.arguments, "arguments", path)
    fitted(Card, content["card"], str(path), ModelError, AGAIN, inside="card")
    if description.method == JOINED:
        fitted(_Members, content["arguments"], str(path), ModelError, AGAIN, inside="arguments")
    own = description.description_sha256
    if own is not None and own != (hashed := description_hash(content)):
        raise ModelError(
            f"{path}: changed since it was written (sha256 {hashed[:12]}..., expected {own[:12]}...); {AGAIN}, or "
            f"remove '{HASH}' from the file if the change is yours"
        )
    return description


def description_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of a description without its own hash: keys sorted, no spaces, UTF-8."""
    others = {key: value for key, value in content.items() if key != HASH}
    return hashlib.sha256(json.dumps(others, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _require_small(value: Any, key: str, path: Path) -> None:
    """Arguments size a network: whole numbers and lengths have a limit; methods have narrower ones of their own."""
    if isinstance(value, dict):
        for name, one in value.items():
            _require_small(one, f"{key}.{name}", path)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            _require_small(one, f"{key}.{number}", path)
    elif isinstance(value, int | float) and abs(value) > _LARGEST_ARGUMENT:
        raise ModelError(f"{path}: '{key}' = {shown(value)}: at most {_LARGEST_ARGUMENT:,} is expected; {AGAIN}")
