"""What values from files must be: limits that several schemas share, and the one line about the first that is wrong."""

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lacunet.errors import LacunetError
from lacunet.reading import shown

Fitted = TypeVar("Fitted", bound=BaseModel)

Spacing = Annotated[float, Field(ge=0.25, le=10)]
"""Millimetres between voxels of a network's grid."""

Clip = Annotated[float, Field(gt=0, le=1000)]
"""Largest intensity after normalisation, in standard deviations."""


class Strict(BaseModel):
    """A section of a file that lacunet wrote: no unknown key, no number written as text, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def fitted(
    schema: type[Fitted], content: Any, where: str, error: type[LacunetError], advice: str, inside: str = ""
) -> Fitted:
    """Plain values of JSON as an object of the schema.

    Args:
        schema: What they must be.
        content: As `read_json` gives it.
        where: The file, for the error.
        error: What is raised.
        advice: What to do: the last words of the error.
        inside: The key that the content stands under, for the error.

    Raises:
        LacunetError: of the type `error`, about the first value that is wrong: where, what was found, what is expected.
    """
    try:
        return schema.model_validate_json(json.dumps(content))
    except ValidationError as problems:
        raise error(f"{where}: {first_problem(problems, inside)}; {advice}") from problems


def first_problem(problems: ValidationError, inside: str = "") -> str:
    """The first value that is wrong, in words: its key, what it is, what is expected."""
    problem = problems.errors()[0]
    key = ".".join([*([inside] if inside else []), *map(str, problem["loc"])])[:100]
    if problem["type"] == "missing":
        return f"'{key}' is missing"
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'"
    said = problem["msg"].removeprefix("Value error, ")
    said = f"{said[:1].lower()}{said[1:]}"
    if problem["type"] == "value_error" and isinstance(
        problem["input"], dict | list
    ):  # parts do not agree: said is which
        return f"'{key}': {said}" if key else said
    return f"'{key}' = {shown(problem['input'])}: {said}" if key else f"{shown(problem['input'])}: {said}"
