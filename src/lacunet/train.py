"""The training loop: stages, optimiser, validation, checkpoints, resume. It knows no method.

A killed run that is resumed ends with the same weights, bit for bit, as one that never stopped: every random choice is
a function of (seed, stage, step), and the state that is saved is all the state there is.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from lacunet.batch import Batch
from lacunet.case import CaseFiles
from lacunet.data.augment import NO_AUGMENTATION
from lacunet.data.nifti import load_case
from lacunet.data.patches import Crops, PreparedCase, crops_from, prepare_cases
from lacunet.device import choose_device
from lacunet.environment import describe_environment
from lacunet.errors import DataError, OutputError, RecipeError
from lacunet.files import whole_file, write_json
from lacunet.method import Clock, Method, Stage, get_method, make_method
from lacunet.metrics import dice
from lacunet.model import Model, load_model, save_model
from lacunet.predict import Predictor, in_channels_last
from lacunet.recipe import Recipe, TrainSettings, write_recipe
from lacunet.task import Task, get_task


class Progress(Protocol):
    """What a training tells while it runs; the command line draws it."""

    def preparing(self, done: int, total: int) -> None:
        """So many of the cases are prepared."""

    def stepped(self, stage: str, step: int, steps: int, loss: float) -> None:
        """A step is done; steps count from 1."""

    def validated(self, stage: str, step: int, score: float, best: bool) -> None:
        """A validation is done; higher is better."""


class Silent:
    """Progress that nobody watches."""

    def preparing(self, done: int, total: int) -> None:
        """Say nothing."""

    def stepped(self, stage: str, step: int, steps: int, loss: float) -> None:
        """Say nothing."""

    def validated(self, stage: str, step: int, score: float, best: bool) -> None:
        """Say nothing."""


class StageModule(nn.Module):
    """A method's stage as one module whose forward is the loss, so that autocast and DDP see every forward pass."""

    def __init__(self, method: Method, stage: Stage) -> None:
        super().__init__()
        self.method = method
        self.stage = stage

    def forward(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """Named, weighted loss terms of one batch."""
        return self.stage.loss(batch, clock)


@dataclass
class State:
    """All that a resumed run needs beside the recipe; everything else is a function of it.

    Attributes:
        stage: Index of the stage; the number of stages when the training is over.
        step: The next step of the stage.
        best: The best validation score of the stage so far.
        average: A running average of the weights, empty when none is kept.
    """

    stage: int = 0
    step: int = 0
    best: float = float("-inf")
    average: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class _Run:
    """The things a training holds in its hands; nothing here outlives `train`."""

    recipe: Recipe
    task: Task
    folder: Path
    fabric: Fabric
    method: Method
    training: Sequence[PreparedCase]
    validation: Sequence[CaseFiles]
    card: Mapping[str, Any]
    progress: Progress
    log: "_Log"


def train(
    recipe: Recipe,
    training: Sequence[CaseFiles],
    validation: Sequence[CaseFiles],
    folder: Path,
    *,
    resume: bool = False,
    init: str | None = None,
    device: str = "auto",
    method_file: Path | None = None,
    card: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train a method as a recipe says.

    Args:
        recipe: Everything that decides the training.
        training: Cases with references; some may lack modalities.
        validation: Cases that choose the best weights; empty keeps the last.
        folder: The run: `recipe.toml`, `log.jsonl`, TensorBoard events, `state/`, `model/`, `environment.json`.
        resume: Go on where the folder's state stands.
        init: A model (shipped name or folder) to start the weights from.
        device: `auto`, `cpu`, `cuda`, ...
        method_file: File of a method that is not of the package.
        card: What the model shall say of itself (data, licence).
        progress: Told of every step.

    Returns:
        The model folder.

    Raises:
        OutputError: the folder holds a run and `resume` is not asked for.
        RecipeError: the recipe does not fit the method.
        DataError: no training case, or one without a reference.
    """
    task = get_task(recipe.task)
    fabric = _fabric(recipe, device)
    _require_cases(training)
    if fabric.global_rank == 0:
        _open_folder(folder, recipe, resume)
    fabric.barrier()
    progress = progress if progress is not None and fabric.global_rank == 0 else Silent()
    torch.manual_seed(recipe.seed)
    method = in_channels_last(make_method(get_method(recipe.method, method_file), task, recipe.arguments))
    if init is not None:
        method.load_state_dict(_initial_weights(init, method, method_file))
    run = _Run(
        recipe=recipe,
        task=task,
        folder=folder,
        fabric=fabric,
        method=method,
        training=_prepared(recipe, training, task, folder, fabric, progress),
        validation=validation,
        card=dict(card or {}),
        progress=progress,
        log=_Log(folder, active=fabric.global_rank == 0),
    )
    _run_stages(run, resume)
    run.log.close()
    return folder / "model"


def _run_stages(run: _Run, resume: bool) -> None:
    stages = run.method.stages()
    steps = run.recipe.steps_of([stage.name for stage in stages])
    state = State()
    optimiser_state: dict[str, Tensor] = {}
    if resume and (run.folder / "state" / "state.safetensors").is_file():
        state, optimiser_state = _load_state(run.folder, run.method)
    run.log.rewind(state.stage, state.step)
    for index in range(state.stage, len(stages)):
        if state.step == 0:
            stages[index].before()
        _run_stage(run, stages[index], steps[index], state, optimiser_state)
        optimiser_state = {}
        state = State(stage=index + 1)
        _save_state(run, state, {})


def _run_stage(run: _Run, stage: Stage, steps: int, state: State, optimiser_state: dict[str, Tensor]) -> None:
    settings = run.recipe.for_stage(stage.name)
    ranks, rank = run.fabric.world_size, run.fabric.global_rank
    if settings.batch % ranks:
        raise RecipeError(f"train.batch = {settings.batch} cannot be shared evenly by {ranks} processes")
    parameters = _freeze_all_but(run.method, stage.trains)
    optimiser = make_optimiser(parameters, settings)
    _load_optimiser(optimiser, optimiser_state)
    module, optimiser = run.fabric.setup(StageModule(run.method, stage), optimiser)
    if settings.average:
        start = state.average or run.method.state_dict()
        state.average = {name: value.detach().clone().to(run.fabric.device) for name, value in start.items()}
    crops = _crops(run, settings, steps, state.stage, rank, ranks)
    for batch in crops_from(crops, state.step, settings.workers):
        _step(run, stage, module, optimiser, parameters, settings, steps, state, batch)
        state.step += 1
        at_end = state.step == steps
        if run.validation and (at_end or state.step % run.recipe.validate_.every == 0):
            _validate(run, stage, settings, state)
        if not at_end and state.step % settings.save_every == 0:
            _save_state(run, state, dict(optimiser_tensors(optimiser)))
    _finish_stage(run, stage, state)


def _step(
    run: _Run,
    stage: Stage,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    settings: TrainSettings,
    steps: int,
    state: State,
    batch: Batch,
) -> None:
    """One update: seed, schedule, forward, backward, clip, step, average, log."""
    seed_step(run.recipe.seed, state.stage, state.step, run.fabric.global_rank)
    _training_mode(run.method, stage.trains)
    rate = learning_rate_at(state.step, steps, settings)
    for group in optimiser.param_groups:
        group["lr"] = rate
    clock = Clock(state.step, steps, shared_generator(run.recipe.seed, state.stage, state.step))
    terms = module(_on_device(batch, run.fabric.device), clock)
    loss = torch.stack([term.float() for term in terms.values()]).sum()
    _require_finite(loss, terms, batch, stage, state)
    optimiser.zero_grad(set_to_none=True)
    run.fabric.backward(loss)
    limit = settings.clip_gradient or float("inf")
    norm = torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], limit)
    optimiser.step()
    if settings.average:
        _average(state.average, run.method, decay_at(state.step, settings.average))
    if (state.step + 1) % settings.log_every == 0 or state.step + 1 == steps:
        numbers = {name: float(term.detach()) for name, term in terms.items()}
        run.log.write(
            {
                "stage": stage.name,
                "stage_index": state.stage,
                "step": state.step + 1,
                "loss": float(loss.detach()),
                **numbers,
            }
            | {"gradient_norm": float(norm), "learning_rate": rate}
        )
    run.progress.stepped(stage.name, state.step + 1, steps, float(loss.detach()))


def learning_rate_at(step: int, steps: int, settings: TrainSettings) -> float:
    """The schedule: a linear rise over the warm-up, then cosine, poly (power 0.9) or constant."""
    warmup = settings.warmup * steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    over = (step - warmup) / max(steps - warmup, 1)
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * over))
    if settings.schedule == "poly":
        return float(settings.learning_rate * (1 - over) ** 0.9)
    return settings.learning_rate


def decay_at(step: int, decay: float) -> float:
    """The running average's decay, small in the first steps so that the first weights are forgotten."""
    return min(decay, (1 + step) / (10 + step))


def make_optimiser(parameters: Sequence[nn.Parameter], settings: TrainSettings) -> torch.optim.Optimizer:
    """The recipe's optimiser; weight decay spares biases and norms."""
    weights = [parameter for parameter in parameters if parameter.dim() > 1]
    others = [parameter for parameter in parameters if parameter.dim() <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.99, nesterov=True)
    make = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return make(groups, lr=settings.learning_rate)


def seed_step(seed: int, stage: int, step: int, rank: int) -> None:
    """Seed torch so that dropout and sampled noise replay at this step, and differ between ranks."""
    torch.manual_seed(_mix(seed, stage, step, rank + 1))


def shared_generator(seed: int, stage: int, step: int) -> torch.Generator:
    """Draws that are the same on every rank at this step."""
    return torch.Generator().manual_seed(_mix(seed, stage, step, 0))


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers, each combination another (SplitMix64's finaliser)."""
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & (2**64 - 1)
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        mixed ^= mixed >> 31
    return mixed >> 1


def _fabric(recipe: Recipe, device: str) -> Fabric:
    chosen = choose_device(device)
    processes = TorchElasticEnvironment().world_size() if TorchElasticEnvironment.detect() else 1
    fabric = Fabric(
        accelerator=chosen.type,
        devices=processes if processes > 1 else ([chosen.index] if chosen.index is not None else 1),
        strategy=DDPStrategy(find_unused_parameters=True) if processes > 1 else "auto",
        precision="bf16-mixed" if recipe.train.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def _require_cases(training: Sequence[CaseFiles]) -> None:
    if not training:
        raise DataError("no training case; the split leaves none")
    for files in training:
        if files.reference is None:
            raise DataError(f"{files.name}: has no reference mask; training needs one for every case")


def _open_folder(folder: Path, recipe: Recipe, resume: bool) -> None:
    started = (folder / "recipe.toml").is_file()
    if started and not resume:
        raise OutputError(f"{folder}: holds a run already; go on with --resume, or choose another folder")
    if not started:
        write_recipe(folder / "recipe.toml", recipe)
        write_json(folder / "environment.json", describe_environment())


def _prepared(
    recipe: Recipe, cases: Sequence[CaseFiles], task: Task, folder: Path, fabric: Fabric, progress: Progress
) -> list[PreparedCase]:
    """Rank 0 prepares, then the others open what it has written."""
    prepared: list[PreparedCase] = []
    with fabric.rank_zero_first():
        for case in prepare_cases(cases, task, recipe.prepare.preparation(), folder / "prepared"):
            prepared.append(case)
            progress.preparing(len(prepared), len(cases))
    return prepared


def _crops(run: _Run, settings: TrainSettings, steps: int, stage: int, rank: int, ranks: int) -> Crops:
    return Crops(
        run.training,
        run.task,
        crop=settings.crop,
        batch=settings.batch,
        steps=steps,
        augmentation=run.recipe.augment,
        subsets=settings.subsets,
        keep=settings.keep,
        tumour_share=settings.tumour_share,
        seed=run.recipe.seed,
        stage=stage,
        rank=rank,
        ranks=ranks,
    )


def _freeze_all_but(method: Method, trains: Sequence[nn.Module]) -> list[nn.Parameter]:
    for parameter in method.parameters():
        parameter.requires_grad_(False)
    parameters = list(dict.fromkeys(parameter for module in trains for parameter in module.parameters()))
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def _training_mode(method: Method, trains: Sequence[nn.Module]) -> None:
    method.eval()
    for module in trains:
        module.train()


def _on_device(batch: Batch, device: torch.device) -> Batch:
    moved = batch.to(device)
    images = moved.images.contiguous(memory_format=torch.channels_last_3d)
    return Batch(images, moved.acquired, moved.presence, moved.regions, moved.names)


def _require_finite(loss: Tensor, terms: Mapping[str, Tensor], batch: Batch, stage: Stage, state: State) -> None:
    if not torch.isfinite(loss):
        values = ", ".join(f"{name} {float(term):g}" for name, term in terms.items())
        raise RecipeError(
            f"stage {stage.name}, step {state.step}: the loss is not a number ({values}; "
            f"cases {', '.join(batch.names)}); lower train.learning_rate or set train.clip_gradient"
        )


def _average(average: dict[str, Tensor], method: Method, decay: float) -> None:
    with torch.no_grad():
        for name, value in method.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)


def _validate(run: _Run, stage: Stage, settings: TrainSettings, state: State) -> None:
    """Score the weights that would be kept; keep them when they are the best so far."""
    current = {name: value.detach().clone() for name, value in run.method.state_dict().items()}
    run.method.load_state_dict(state.average or current)
    run.method.eval()
    scores = validation_dice(run, settings) if stage.select == "dice" else _validation_loss(run, stage, settings, state)
    score = scores["mean"]
    best = score > state.best or stage.select == "last"
    if best:
        state.best = score
        if run.fabric.global_rank == 0:
            with whole_file(run.folder / "state" / "best.safetensors") as temporary:
                save_file(_contiguous(run.method.state_dict()), temporary)
            _save_model(run, state.step, scores)
    run.method.load_state_dict(current)
    numbers = {f"validation_{name}": value for name, value in scores.items()}
    run.log.write({"stage": stage.name, "stage_index": state.stage, "step": state.step, "best": best, **numbers})
    run.progress.validated(stage.name, state.step, score, best)
    run.fabric.barrier()


def validation_dice(run: _Run, settings: TrainSettings) -> dict[str, float]:
    """Mean Dice over cases, then over subsets and regions: `mean`, and one value per region. Ranks share the cases."""
    task = run.task
    subsets = task.subsets_named(run.recipe.validate_.subsets)
    model = Model("validated", run.method, run.recipe.prepare.preparation(), {}, "")
    predictor = Predictor(model, str(run.fabric.device), settings.precision)
    sums = torch.zeros((len(subsets), len(task.regions)), dtype=torch.float64)
    counts = torch.zeros(len(subsets), dtype=torch.float64)
    for files in list(run.validation)[run.fabric.global_rank :: run.fabric.world_size]:
        case = load_case(files, task)
        assert case.reference is not None
        possible = [subset for subset in subsets if set(subset) <= set(case.images)]
        for prediction in predictor.each(case, possible):
            row = subsets.index(prediction.subset)
            counts[row] += 1
            for column, (region, mask) in enumerate(prediction.regions().items()):
                reference = torch.isin(torch.from_numpy(case.reference), torch.tensor(task.regions[region])).numpy()
                sums[row, column] += dice(mask, reference)
    if run.fabric.world_size > 1:
        sums = cast(Tensor, run.fabric.all_reduce(sums, reduce_op="sum"))
        counts = cast(Tensor, run.fabric.all_reduce(counts, reduce_op="sum"))
    means = (sums / counts.clamp_min(1)[:, None])[counts > 0].mean(dim=0)
    return {"mean": float(means.mean()), **dict(zip(task.regions, means.tolist(), strict=True))}


def _validation_loss(run: _Run, stage: Stage, settings: TrainSettings, state: State) -> dict[str, float]:
    """Minus the stage's loss over fixed, unchanged crops of the validation cases (higher is better)."""
    if stage.select == "last":
        return {"mean": 0.0}
    cases = _prepared(run.recipe, run.validation, run.task, run.folder, run.fabric, Silent())
    crops = Crops(
        cases,
        run.task,
        crop=settings.crop,
        batch=1,
        steps=4 * len(cases),
        augmentation=NO_AUGMENTATION,
        subsets=settings.subsets,
        keep=settings.keep,
        tumour_share=settings.tumour_share,
        seed=run.recipe.seed,
        stage=state.stage,
    )
    total = 0.0
    for step, batch in enumerate(crops_from(crops, 0, 0)):
        seed_step(run.recipe.seed, state.stage, step, 0)
        clock = Clock(step, len(crops), shared_generator(run.recipe.seed, state.stage, step))
        with torch.no_grad():
            total += sum(float(term) for term in stage.loss(_on_device(batch, run.fabric.device), clock).values())
    return {"mean": -total / len(crops)}


def _finish_stage(run: _Run, stage: Stage, state: State) -> None:
    """A stage ends with its selected weights: the best validated ones, or the last (averaged) ones."""
    best = run.folder / "state" / "best.safetensors"
    if run.validation:
        run.fabric.barrier()
        with safe_open(best, framework="pt") as tensors:
            run.method.load_state_dict({name: tensors.get_tensor(name) for name in tensors.keys()})  # noqa: SIM118
    else:
        if state.average:
            run.method.load_state_dict(state.average)
        if run.fabric.global_rank == 0:
            _save_model(run, state.step, {})


def _save_model(run: _Run, step: int, scores: Mapping[str, float]) -> None:
    card = {
        **run.card,
        "recipe": run.recipe.model_dump(by_alias=True, mode="json"),
        "step": step,
        "training_cases": len(run.training),
        "validation": {name: round(value, 4) for name, value in scores.items()},
    }
    save_model(run.folder / "model", run.method, run.recipe.prepare.preparation(), card)


def _save_state(run: _Run, state: State, optimiser: Mapping[str, Tensor]) -> None:
    """Everything a resumed run needs, in one file that is there whole or not at all."""
    if run.fabric.global_rank != 0:
        return
    tensors = {f"method.{name}": value for name, value in run.method.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    tensors |= {f"optimiser.{name}": value for name, value in optimiser.items()}
    numbers = {"stage": state.stage, "step": state.step, "best": repr(state.best)}
    with whole_file(run.folder / "state" / "state.safetensors") as temporary:
        save_file(_contiguous(tensors), temporary, metadata={"state": json.dumps(numbers)})


def _load_state(folder: Path, method: Method) -> tuple[State, dict[str, Tensor]]:
    with safe_open(folder / "state" / "state.safetensors", framework="pt") as file:
        numbers = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    parts: dict[str, dict[str, Tensor]] = {"method": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    method.load_state_dict(parts["method"])
    state = State(numbers["stage"], numbers["step"], float(numbers["best"]), parts["average"])
    return state, parts["optimiser"]


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """An optimiser's state as named tensors, so that it needs no pickle: `12.exp_avg` -> tensor."""
    for index, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                yield f"{index}.{name}", torch.as_tensor(value)


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    if state:
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _initial_weights(source: str, method: Method, method_file: Path | None) -> dict[str, Tensor]:
    """A model's weights for fine-tuning; it must be the same network.

    Raises:
        RecipeError: the model's weights have other names or shapes than the recipe's method.
    """
    weights = load_model(source, method_file).method.state_dict()
    wanted = method.state_dict()
    different = [name for name in wanted if name not in weights or weights[name].shape != wanted[name].shape]
    if different or len(weights) != len(wanted):
        raise RecipeError(
            f"--init {source}: another network than the recipe's ({len(different)} of {len(wanted)} tensors differ, "
            f"such as {different[0] if different else 'additional ones'}); give the recipe the model's own method and "
            "arguments"
        )
    return weights


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in plain memory order, as safetensors wants them; equal values, shared storage untied."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


class _Log:
    """`log.jsonl` and TensorBoard events of the first process."""

    def __init__(self, folder: Path, active: bool) -> None:
        self.path = folder / "log.jsonl"
        self.active = active
        self.events: SummaryWriter | None = None
        self.started = time.monotonic()

    def rewind(self, stage: int, step: int) -> None:
        """Forget lines of steps that will be done again."""
        if not self.active:
            return
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if _complete_before(line, stage, step)]
        with whole_file(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self.events = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=step)

    def write(self, numbers: Mapping[str, Any]) -> None:
        """One line, and its numbers as TensorBoard scalars."""
        if not self.active or self.events is None:
            return
        numbers = {**numbers, "seconds": round(time.monotonic() - self.started, 2)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(numbers) + "\n")
        for name, value in numbers.items():
            if isinstance(value, float):
                self.events.add_scalar(f"{numbers['stage']}/{name}", value, numbers["step"])

    def close(self) -> None:
        """Flush the events."""
        if self.events is not None:
            self.events.close()


def _complete_before(line: str, stage: int, step: int) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:  # the line that a killed run was writing
        return False
    return bool((entry["stage_index"], entry["step"]) <= (stage, step))
