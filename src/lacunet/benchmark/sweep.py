"""What a benchmark trains: recipes and sweeps. A sweep is one recipe in several variants (the rows of a paper's table).

title = "CCSD, table 3: which distillation helps"
recipe = "../ccsd.toml"                 # beside this file; `--base` takes another
[rows."HMSD only"]                      # laid over the recipe, key by key
arguments.dmcd = 0.0
[rows."HMSD and DMCD"]                  # the recipe as it is
"""

import re
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lacunet.errors import RecipeError, UsageError, nearest
from lacunet.training.recipe import Recipe, laid_over, read_recipe, read_toml


class Sweep(BaseModel):
    """One recipe in several variants.

    Attributes:
        title: Of the table, for people.
        recipe: The recipe's file, beside the sweep's.
        rows: Row -> sections laid over the recipe.
        subsets: What is scored, where the table does not show all.
        published: The published table with methods of the same names as the rows; `lacunet reproduce` needs it.
        lists: The published lists of cases (`lacunet.comparison.published.lists`).
        policy: What empty masks score, where the table is reproduced.
        postprocess: The rule of the published masks, if any.
        complete: Share of the training cases that keep every sequence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    recipe: str
    rows: dict[str, dict[str, Any]] = Field(min_length=1)
    subsets: tuple[str, ...] = ("all",)
    published: str = ""
    lists: str = ""
    policy: str = "brats"
    postprocess: tuple[str, ...] = Field((), max_length=1)
    complete: float = Field(1.0, ge=0, le=1)


@dataclass(frozen=True)
class Entrant:
    """A recipe that is trained and compared.

    Attributes:
        name: In every table.
        file: The file of the recipe.
        recipe: The whole recipe.
        complete: Share of the training cases that keep every sequence, as its sweep says.
        also: Rows of other sweeps that are the same recipe: it trains once and stands for them.
    """

    name: str
    file: Path
    recipe: Recipe
    complete: float = 1.0
    also: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Its name as the name of a folder."""
        return re.sub(r"[^\w.+-]+", "-", self.name).strip("-.") or "unnamed"


def read_sweep(path: Path) -> Sweep:
    """A sweep from its file.

    Raises:
        RecipeError: not TOML, an unknown key, no row.
    """
    try:
        return Sweep.model_validate(read_toml(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        known = list(Sweep.model_fields)
        hint = nearest(where, known) if problem["type"] == "extra_forbidden" else ""
        raise RecipeError(
            f"{path}: {where}: {problem['msg'].lower()}{hint}; a sweep has: {', '.join(known)}"
        ) from error


def entrants_of(
    words: Sequence[str], changes: Sequence[str] = (), base: Path | None = None, common: Path | None = None
) -> list[Entrant]:
    """Everything that recipes and sweeps name. The first of those with one recipe and the same cases stands for all.

    Args:
        words: `FILE` or `NAME=FILE`; a sweep gives an entrant per row and takes no name.
        changes: `KEY=VALUE`, for all of them, after all else.
        base: The recipe that sweeps vary, instead of their own.
        common: A recipe whose preparation, augmentation and validation every entrant takes.

    Raises:
        RecipeError: a file cannot be read or is no recipe.
        UsageError: nothing is named, or two different entrants have the same name.
    """
    if not words:
        raise UsageError("nothing to train: name recipes (recipes/small/ccsd.toml) or a sweep (recipes/sweeps/...)")
    found: list[Entrant] = []
    for entrant in [one for word in words for one in _entrants(word, changes, base, _shared(common))]:
        asked = entrant.recipe, entrant.complete
        same = next((index for index, one in enumerate(found) if (one.recipe, one.complete) == asked), None)
        if same is not None:
            first = found[same]
            if entrant.name not in (first.name, *first.also):
                found[same] = replace(first, also=(*first.also, entrant.name))
        elif entrant.folder in [one.folder for one in found]:
            raise UsageError(
                f"two entrants are called '{entrant.name}'; give one of them another name: NAME={entrant.file}"
            )
        else:
            found.append(entrant)
    return found


def row_entrants(path: Path, sweep: Sweep, changes: Sequence[str] = (), base: Path | None = None) -> list[Entrant]:
    """An entrant per row."""
    recipe = base or path.parent / sweep.recipe
    return [
        Entrant(name, recipe, read_recipe(recipe, changes, over), sweep.complete) for name, over in sweep.rows.items()
    ]


def recipes_folder() -> Path:
    """The recipes that come with the package: of the checkout, else as installed.

    Raises:
        UsageError: neither is there.
    """
    folders = (
        Path(__file__).parents[3] / "recipes",
        Path(sysconfig.get_path("data")) / "share" / "lacunet" / "recipes",
    )
    for folder in folders:
        if (folder / "sweeps").is_dir():
            return folder
    raise UsageError(f"lacunet's recipes are neither in {folders[0]} nor in {folders[1]}; install the package again")


def _entrants(word: str, changes: Sequence[str], base: Path | None, shared: Mapping[str, Any]) -> list[Entrant]:
    name, equals, rest = word.partition("=")
    path = Path(rest if equals else word)
    fields = read_toml(path)
    if "rows" not in fields:
        return [Entrant(name if equals else path.stem, path, read_recipe(path, changes, shared))]
    if equals:
        raise UsageError(f"{word}: the rows of a sweep have names already; give the file without a name")
    sweep = read_sweep(path)
    rows = {row: laid_over(shared, over) for row, over in sweep.rows.items()}
    return row_entrants(path, sweep.model_copy(update={"rows": rows}), changes, base)


def _shared(common: Path | None) -> dict[str, Any]:
    """The sections that `--common` takes from a recipe, with all their values."""
    if common is None:
        return {}
    fields = read_recipe(common).model_dump(by_alias=True, mode="json")
    return {key: fields[key] for key in ("prepare", "augment", "transplant", "validate")}
