"""Recipes: everything that decides a training, in TOML, checked before any case is read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lacunet.data.prepare import Preparation
from lacunet.errors import RecipeError, nearest
from lacunet.files import write_text
from lacunet.reading import parse_toml, read_text, shown
from lacunet.schema import Clip, Spacing
from lacunet.training.augmentation.settings import Augmentation
from lacunet.training.transplant.settings import Transplant

SubsetRule = Literal["subset", "size", "modality", "all"]
"""How the subset that the network is shown is drawn; see `draw_subset` of crops.py."""

_Length = Annotated[int, Field(ge=1, le=1024)]
Crop = tuple[_Length, _Length, _Length]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PrepareSettings(_Section):
    """How scans are prepared.

    Attributes:
        spacing: Millimetres between voxels of the network's grid.
        clip: Largest intensity after normalisation, in standard deviations.
    """

    spacing: Spacing = 1.0
    clip: Clip = 5.0

    def preparation(self) -> Preparation:
        """The same, as `lacunet.data` takes it."""
        return Preparation(self.spacing, self.clip)


class TrainSettings(_Section):
    """The training loop.

    Attributes:
        steps: Optimiser updates over all stages.
        batch: Crops of one step, over all processes.
        crop: Voxels of a crop.
        optimiser: `adamw`, `adam` or `sgd` (Nesterov momentum 0.99).
        learning_rate: At the top of the schedule.
        weight_decay: On every weight of more than one axis; not on biases and norms.
        schedule: After the warm-up: `cosine` to zero, `poly` (power 0.9) to zero, or `constant`.
        warmup: Share of the steps in which the learning rate rises from zero.
        clip_gradient: Largest norm of the gradient of each module that the stage trains; 0 does not clip.
        precision: Of the forward pass: `bf16` or `float32`. Weights and losses are float32.
        average: Decay of a running average of the weights, reached gradually over the first steps. The average is what
            is validated and kept; with 0 there is none, and the weights themselves are.
        subsets: How the subset shown to the network is drawn: `subset`, `size`, `modality` or `all`.
        keep: With `subsets = "modality"`: the chance that a modality is shown.
        tumour_share: Share of the crops that are centred near a voxel of a random region.
        inside: Keep crops near tumour inside the case, as the others are, where a case is as large as a crop.
        healthy: Share of the crops that show a brain without a tumour: the healthy halves of training cases, mirrored,
            and `phantoms`, each as often as the others.
        phantoms: Number of invented brains among these, with another random contrast in each crop.
        patience: Validations in a row without a better score after which a stage ends early; 0 never ends it early.
        save_every: Steps between savings of the state that `--resume` starts from.
        log_every: Steps between lines of the log.
        gradients_every: Steps between lines that hold the norm of each loss term's own gradient; one costs a forward
            pass and a backward pass per term. 0 never measures them.
        workers: Processes that prepare cases, and then make crops ahead; 0 makes them in the loop.
        change_on: Where the intensities of crops are changed: by those processes, or on the device that trains, so that
            a GPU waits less for crops. The noise that is added differs from device to device.
    """

    steps: int = Field(2000, ge=1, le=10**9)
    batch: int = Field(2, ge=1, le=1024)
    crop: Crop = (64, 64, 64)
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    warmup: float = Field(0.03, ge=0, lt=1)
    clip_gradient: float = Field(1.0, ge=0)
    precision: Literal["bf16", "float32"] = "bf16"
    average: float = Field(0.0, ge=0, lt=1)
    subsets: SubsetRule = "subset"
    keep: float = Field(0.5, gt=0, le=1)
    tumour_share: float = Field(0.5, ge=0, le=1)
    inside: bool = False
    healthy: float = Field(0.0, ge=0, lt=1)
    phantoms: int = Field(0, ge=0, le=1000)
    patience: int = Field(0, ge=0)
    save_every: int = Field(100, ge=1)
    log_every: int = Field(10, ge=1)
    gradients_every: int = Field(0, ge=0)
    workers: int = Field(0, ge=0, le=256)
    change_on: Literal["workers", "device"] = "workers"


class ValidateSettings(_Section):
    """When and on what the training is validated.

    Attributes:
        every: Steps between validations; the last step of a stage always has one.
        subsets: Names of the subsets, or `["all"]` for every subset.
    """

    every: int = Field(250, ge=1)
    subsets: tuple[str, ...] = ("all",)


class TeacherSettings(_Section):
    """Trained models whose answers a student learns, beside its own losses.

    Attributes:
        models: As `lacunet segment --model` takes them: a name, a folder, several with commas between, or the folder of
            a benchmark's folds. Their grid must be the recipe's. Empty: none.
        weight: Of the divergence of the student's answer from the mean of theirs, for the subset that the recipe shows.
    """

    models: str = ""
    weight: float = Field(1.0, gt=0)


class CriticSettings(_Section):
    """A trained model that judges what a method rebuilds, where the method has a critic (`dual_stage`).

    Attributes:
        model: A shipped name, a model folder or a run, of any method. Its grid must be the recipe's. Empty: the method
            trains a critic of its own.
    """

    model: str = ""


class StageSettings(_Section):
    """Where a stage differs from `[train]`.

    Attributes:
        share: Its share of `train.steps`, relative to the other stages'.
        batch: See `TrainSettings`.
        crop: See `TrainSettings`.
        learning_rate: See `TrainSettings`.
        subsets: See `TrainSettings`.
        patience: See `TrainSettings`.
    """

    share: float = Field(1.0, gt=0, le=1e6)
    batch: int | None = Field(None, ge=1, le=1024)
    crop: Crop | None = None
    learning_rate: float | None = Field(None, gt=0)
    subsets: SubsetRule | None = None
    patience: int | None = Field(None, ge=0)


def _positive_seed(seed: int) -> int:
    if seed < 0:
        raise ValueError("a seed is not negative")
    return seed


class Recipe(_Section):
    """A training, complete.

    Attributes:
        method: A method of the package (`lacunet methods` lists them).
        task: `glioma`, `mets`, or a JSON file that describes another task.
        seed: Of all random choices.
        arguments: Keyword arguments of the method.
        prepare: See `PrepareSettings`.
        train: See `TrainSettings`.
        augment: See `Augmentation`.
        transplant: See `Transplant`.
        validate_: Written `[validate]`; see `ValidateSettings`.
        teacher: See `TeacherSettings`.
        critic: See `CriticSettings`.
        stages: Overrides by stage name; see `StageSettings`.
        objective: `segmentation`, by the method's stages; or `reconstruction` of hidden parts of the images, by one
            stage, `reconstruct`, whatever the method is. The model that results only serves another training to begin.
        before: Sections laid over this recipe, key by key, which make the recipe of a training that comes first. This
            one begins with its weights: on a coarser grid, or from another objective, whose last layers are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    method: str
    task: str = "glioma"
    seed: Annotated[int, AfterValidator(_positive_seed)] = 1
    arguments: dict[str, Any] = {}
    prepare: PrepareSettings = PrepareSettings()
    train: TrainSettings = TrainSettings()
    augment: Augmentation = Augmentation()
    transplant: Transplant = Transplant()
    validate_: ValidateSettings = Field(ValidateSettings(), alias="validate")
    teacher: TeacherSettings = TeacherSettings()
    critic: CriticSettings = CriticSettings()
    stages: dict[str, StageSettings] = {}
    objective: Literal["segmentation", "reconstruction"] = "segmentation"
    before: dict[str, Any] = {}

    def earlier(self, where: str = "recipe") -> "Recipe | None":
        """The recipe of the training that comes first, if there is one. It has no teachers, no critic but its
        own, and other stages if its objective is another.

        Raises:
            RecipeError: an unknown key in `[before]` (the nearest is named), a value that means nothing, or another
                `[before]` inside it.
        """
        if not self.before:
            return None
        if "before" in self.before:
            raise RecipeError(f"{where}: [before] has a [before] of its own; one training can come first")
        fields = self.model_dump(by_alias=True, exclude_none=True, mode="json", exclude={"before"})
        fields["teacher"], fields["critic"] = {}, {}
        if self.before.get("objective", self.objective) != self.objective:
            fields["stages"] = {}
        return make_recipe(laid_over(fields, self.before), f"{where}: [before]")

    def for_stage(self, name: str) -> TrainSettings:
        """The settings of the loop for one stage."""
        changed = self.stages.get(name, StageSettings()).model_dump(exclude={"share"}, exclude_none=True)
        return self.train.model_copy(update=changed)

    def steps_of(self, names: Sequence[str]) -> list[int]:
        """How the steps are shared out among the stages; they add up to `train.steps`.

        Raises:
            RecipeError: the recipe tunes a stage that the method does not have, or a stage is left without a step.
        """
        for name in self.stages:
            if name not in names:
                raise RecipeError(f"[stages.{name}]: the method has no such stage{nearest(name, names)}")
        shares = [self.stages.get(name, StageSettings()).share for name in names]
        ends = [round(self.train.steps * sum(shares[: i + 1]) / sum(shares)) for i in range(len(shares))]
        steps = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        for name, count in zip(names, steps, strict=True):
            if count == 0:
                raise RecipeError(f"train.steps = {self.train.steps} leaves no step for stage {name}; use more steps")
        return steps


def read_recipe(path: Path, changes: Sequence[str] = (), over: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe from a file, with changes.

    Args:
        path: The file.
        changes: As on the command line: `train.learning_rate=1e-4`. They come last.
        over: Sections laid over the file's, key by key: `{"arguments": {"hmsd": 0.0}}`.

    Raises:
        RecipeError: not TOML, an unknown key (the nearest is named), or a value that means nothing.
    """
    fields = laid_over(read_toml(path), over or {})
    for change in changes:
        _apply(fields, change)
    return make_recipe(fields, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The plain values of a recipe or another file of settings.

    Raises:
        RecipeError: it cannot be read, or is not TOML.
    """
    text = read_text(path, RecipeError, "name a recipe, a .toml file", largest=2**20)
    try:
        return parse_toml(text)
    except ValueError as error:
        raise RecipeError(f"{path}: not TOML ({error})") from error


def laid_over(fields: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Sections merged key by key; any other value is replaced."""
    merged = dict(fields)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = laid_over(below, value)
        else:
            merged[key] = value
    return merged


def make_recipe(fields: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain values; see `read_recipe` for the errors."""
    try:
        recipe = Recipe.model_validate(fields)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_first_problem(error)}") from error
    recipe.earlier(where)
    return recipe


def write_recipe(path: Path, recipe: Recipe) -> None:
    """The resolved recipe: every value is written out, so that it alone restarts the run."""
    fields = recipe.model_dump(by_alias=True, exclude_none=True, mode="json")
    write_text(path, tomli_w.dumps(fields))


def _apply(fields: dict[str, Any], change: str) -> None:
    """Set one dotted key; the value is read as TOML, or taken as text where it is not TOML."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {change}: expected KEY=VALUE, such as train.learning_rate=1e-4")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text
    *sections, last = key.strip().split(".")
    for section in sections:
        fields = fields.setdefault(section, {})
        if not isinstance(fields, dict):
            raise RecipeError(f"--set {change}: '{section}' is a value, not a section")
    fields[last] = value


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        section, known = problem["loc"][:-1], _known_keys(problem["loc"])
        name = f"[{'.'.join(map(str, section))}]" if section else "a recipe"
        key = str(problem["loc"][-1])
        return f"unknown key '{where}'{nearest(key, known)}; {name} has: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"'{where}' is missing"
    return f"'{where}' = {shown(problem['input'])}: {problem['msg'].lower()}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Recipe
    sections: dict[str, type[BaseModel]] = {
        "prepare": PrepareSettings,
        "train": TrainSettings,
        "augment": Augmentation,
        "transplant": Transplant,
        "validate": ValidateSettings,
        "teacher": TeacherSettings,
        "critic": CriticSettings,
        "stages": StageSettings,
    }
    if len(location) > 1:
        model = sections.get(str(location[0]), Recipe)
    if len(location) > 2 and model is Augmentation:
        part = Augmentation.model_fields[str(location[1])].annotation
        model = part if isinstance(part, type) and issubclass(part, BaseModel) else model
    return [field.alias or name for name, field in model.model_fields.items()]
