"""A ranking: every recipe of some folders under one protocol, in one file.

title = "Every method at 3 mm"
recipes = ["../small/*.toml"]            # beside this file; each is an entrant under its file's name
folds = 4
budget = "800crops"
learning_rates = [3e-4, 1e-3, 3e-3]      # each entrant's is chosen among these,
rates_budget = "200crops"                # by shorter trainings
baseline = "early_fusion"
[over]                                   # laid over every recipe, key by key
prepare.spacing = 3.0
[rows."early_fusion, five subsets"]      # one more entrant: a recipe, changed
recipe = "../small/early_fusion.toml"
arguments.subsets = 5

A recipe that is put into the folders later is a new entrant of the next call.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lacunet.benchmark.sweep import Entrant
from lacunet.comparison.ranking import RANKING
from lacunet.errors import DataError, RecipeError, UsageError, nearest
from lacunet.reading import read_json
from lacunet.schema import fitted
from lacunet.training.recipe import laid_over, read_recipe, read_toml


class RankingFile(BaseModel):
    """What one file says of a ranking.

    Attributes:
        title: For people.
        recipes: Patterns of files, beside this one; each file is an entrant.
        over: Sections laid over every recipe.
        rows: Further entrants: name -> `recipe`, a file, and sections laid over it after `over`.
        folds: Of the cross-validation by person.
        budget: Of each training, as `--budget` takes it; empty is the recipes' own steps.
        learning_rates: Among which each entrant's is chosen; none takes those of the recipes.
        rates_budget: Of each training that tries a learning rate, in steps or crops; empty is `budget`.
        seeds: How often each is trained.
        seeded: How many of the best train with all seeds, the others with one; 0 is every one.
        baseline: What the others are compared with.
        complete: Share of the training cases that keep every sequence.
        first: Only so many of the best of another ranking enter, and the baseline; 0 is every one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    recipes: tuple[str, ...] = Field(min_length=1)
    over: dict[str, Any] = {}
    rows: dict[str, dict[str, Any]] = {}
    folds: int = Field(4, ge=2)
    budget: str = ""
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = ()
    rates_budget: str = ""
    seeds: int = Field(1, ge=1)
    seeded: int = Field(0, ge=0)
    baseline: str = ""
    complete: float = Field(1.0, ge=0, le=1)
    first: int = Field(0, ge=0)


def find_ranking(words: Sequence[str]) -> tuple[Path, RankingFile] | None:
    """The ranking among the files that a command names, or None if they are recipes and sweeps.

    Raises:
        RecipeError: not TOML, an unknown key (the nearest is named), or a value that means nothing.
        UsageError: a ranking stands beside other files.
    """
    found = [Path(word) for word in words if "=" not in word and "recipes" in read_toml(Path(word))]
    if not found:
        return None
    if len(words) > 1:
        raise UsageError(f"{found[0]}: a ranking names all its entrants; give it alone, or add the others to it")
    return found[0], read_ranking(found[0])


def read_ranking(path: Path) -> RankingFile:
    """A ranking from its file; see `find_ranking` for the errors."""
    try:
        return RankingFile.model_validate(read_toml(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where, known = ".".join(map(str, problem["loc"])), list(RankingFile.model_fields)
        hint = nearest(where, known) if problem["type"] == "extra_forbidden" else ""
        raise RecipeError(
            f"{path}: {where}: {problem['msg'].lower()}{hint}; a ranking has: {', '.join(known)}"
        ) from error


def ranked_entrants(path: Path, ranking: RankingFile, changes: Sequence[str] = ()) -> list[Entrant]:
    """All entrants of a ranking: the files in the order of their patterns and names, then the rows.

    Args:
        path: Of the ranking; patterns and files are beside it.
        ranking: Its content.
        changes: `KEY=VALUE`, for all of them, after all else.

    Raises:
        RecipeError: a pattern that no file has, a row without a recipe, or a recipe that cannot be read.
        UsageError: two entrants have the same name.
    """
    entrants = [
        Entrant(file.stem, file, read_recipe(file, changes, ranking.over), ranking.complete)
        for pattern in ranking.recipes
        for file in _files(path, pattern)
    ]
    entrants += [_row(path, ranking, name, over, changes) for name, over in ranking.rows.items()]
    folders = [entrant.folder for entrant in entrants]
    for entrant in entrants:
        if folders.count(entrant.folder) > 1:
            raise UsageError(f"{path}: two entrants are called '{entrant.name}'; give one of them another name")
    return entrants


def first_entrants(entrants: Sequence[Entrant], ranking: RankingFile, folder: Path | None) -> list[Entrant]:
    """The entrants that are among the first of another ranking, and the baseline.

    Args:
        entrants: All of the file.
        ranking: Its `first` says how many.
        folder: Of the other ranking's benchmark.

    Raises:
        UsageError: `first` without the other ranking, or the other way round.
        DataError: the folder holds no ranking.
    """
    if not ranking.first and folder is None:
        return list(entrants)
    if folder is None or not ranking.first:
        raise UsageError(
            "'first' of a ranking's file and --ranked BENCHMARK belong together: how many of the best of which ranking"
        )
    advice = "name the folder of a finished benchmark of more than two entrants"
    order = fitted(_Order, read_json(folder / RANKING, DataError, advice), str(folder / RANKING), DataError, advice)
    names = {run.name for run in order.runs[: ranking.first]} | {ranking.baseline}
    return [entrant for entrant in entrants if entrant.name in names]


class _Run(BaseModel):
    name: str


class _Order(BaseModel):
    """What is read of an earlier `ranking.json`."""

    runs: list[_Run]


def _files(path: Path, pattern: str) -> list[Path]:
    """The files of a pattern; `..` may only lead its way."""
    whole = path.parent / pattern
    found = sorted(whole.parent.glob(whole.name))
    if not found:
        raise RecipeError(f"{path}: recipes: no file {whole}; name a recipe, or several as in ../small/*.toml")
    return found


def _row(path: Path, ranking: RankingFile, name: str, over: Mapping[str, Any], changes: Sequence[str]) -> Entrant:
    recipe, sections = over.get("recipe"), {key: value for key, value in over.items() if key != "recipe"}
    if not isinstance(recipe, str):
        raise RecipeError(f'{path}: rows.{name}: names no recipe; add recipe = "../small/METHOD.toml"')
    file = path.parent / recipe
    return Entrant(name, file, read_recipe(file, changes, laid_over(ranking.over, sections)), ranking.complete)
