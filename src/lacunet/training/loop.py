"""The training loop: stages, steps, validation, and which weights are kept. It knows no method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from lacunet.case import CaseFiles
from lacunet.crew.memory import ALONE, Share
from lacunet.errors import ModelError, RecipeError
from lacunet.models.model import save_model
from lacunet.nn.batch import Batch
from lacunet.nn.method import Clock, Method, Stage
from lacunet.progress import Progress, Silent
from lacunet.task import get_task
from lacunet.training.augmentation.settings import NO_AUGMENTATION
from lacunet.training.checkpoint import State, load_optimiser, load_state, load_weights, save_state, save_weights
from lacunet.training.crops import Crops, crops_from
from lacunet.training.healthy import prepare_mirrored, prepare_phantoms
from lacunet.training.log import Notes, TrainingLog
from lacunet.training.optimiser import (
    freeze_all_but,
    gradient_norms,
    learning_rate_at,
    make_optimiser,
    start_average,
    training_mode,
    update_average,
)
from lacunet.training.prepared import PreparedCase, prepare_cases
from lacunet.training.ranks import Ranks
from lacunet.training.recipe import Recipe, TrainSettings
from lacunet.training.seeds import seed_step, shared_generator
from lacunet.training.transplant.given import prepare_lesions
from lacunet.training.transplant.transplant import Donors
from lacunet.training.validation import on_device, validation_dice, validation_loss
from lacunet.training.watch import Taken, Watch


class StageModule(nn.Module):
    """A method's stage as one module whose forward is the loss, so that autocast and DDP see every forward pass."""

    def __init__(self, method: Method[Any], stage: Stage) -> None:
        super().__init__()
        self.method = method
        self.stage = stage

    def forward(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """Named, weighted loss terms of one batch."""
        return self.stage.loss(batch, clock)


@dataclass
class TrainingRun:
    """What every part of a training needs; it lives as long as one call of `train`.

    Attributes:
        recipe: Everything that decides the training.
        folder: Where it writes.
        fabric: Device, precision and processes.
        ranks: Those processes, as they share work.
        method: What is trained.
        training: Prepared cases.
        healthy: Prepared brains without a tumour, if the recipe wants any.
        donors: Whose lesions are put into crops; None transplants none.
        validation: Cases that choose the weights; empty keeps the last.
        prepared: The folder of prepared cases.
        card: What the model says of itself.
        progress: What watches.
        log: `log.jsonl` and TensorBoard events.
        notes: Numbers that the method notes.
        last_stage: Index of the last stage; before it there is no model to keep.
        share: Of the memory, where others work beside it.
    """

    recipe: Recipe
    folder: Path
    fabric: Fabric
    ranks: Ranks
    method: Method[Any]
    training: Sequence[PreparedCase]
    healthy: Sequence[PreparedCase]
    donors: Donors | None
    validation: Sequence[CaseFiles]
    prepared: Path
    card: Mapping[str, Any]
    progress: Progress
    log: TrainingLog
    notes: Notes
    last_stage: int
    share: Share = ALONE

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.fabric.global_rank == 0


@dataclass
class Phase:
    """What a stage needs beside the run and its state.

    Attributes:
        stage: The method's.
        settings: The recipe's, for this stage.
        steps: How many.
        module: The stage's loss, wrapped for precision and processes.
        optimiser: Of `parameters`.
        parameters: What the stage trains.
        watch: Losses and gradients that have not been read yet.
    """

    stage: Stage
    settings: TrainSettings
    steps: int
    module: nn.Module
    optimiser: torch.optim.Optimizer
    parameters: Sequence[nn.Parameter]
    watch: Watch


def run_stages(run: TrainingRun, stages: Sequence[Stage], steps: Sequence[int], resume: bool) -> None:
    """Train every stage in order, from the beginning or from the saved state."""
    saved = run.folder / "state" / "state.safetensors"
    state, optimiser_state = State(), dict[str, Tensor]()
    if resume and saved.is_file():
        state, optimiser_state = load_state(saved, run.method)
    elif run.first:
        save_state(saved, state, run.method, None)  # a run that began from a model is resumed from that model
    run.fabric.barrier()
    run.log.rewind(state.stage, state.step)
    for index in range(state.stage, len(stages)):
        if state.step == 0:
            stages[index].before()
        _run_stage(run, stages[index], steps[index], state, optimiser_state)
        state, optimiser_state = State(stage=index + 1), {}
        if run.first:
            save_state(saved, state, run.method, None)


def prepared_on_all_ranks(
    recipe: Recipe, cases: Sequence[CaseFiles], folder: Path, ranks: Ranks, progress: Progress
) -> list[PreparedCase]:
    """The prepared cases, which the processes of the training have made together."""
    prepared: list[PreparedCase] = []
    preparation, workers = recipe.prepare.preparation(), recipe.train.workers
    for case in prepare_cases(cases, get_task(recipe.task), preparation, folder, workers, ranks):
        prepared.append(case)
        progress.advanced("preparing cases", len(prepared), len(cases), "preparing cases")
    return prepared


def healthy_on_all_ranks(
    recipe: Recipe, cases: Sequence[CaseFiles], folder: Path, ranks: Ranks, progress: Progress
) -> list[PreparedCase]:
    """As `prepared_on_all_ranks`: the brains without a tumour that the recipe wants.

    Raises:
        RecipeError: the recipe wants some, and there are none; or it wants phantoms and shows none.
    """
    if not recipe.train.healthy and not recipe.train.phantoms:
        return []
    if not recipe.train.healthy:
        raise RecipeError(f"train.phantoms = {recipe.train.phantoms}: no crop shows them; set train.healthy above 0")
    wanted = (get_task(recipe.task), recipe.prepare.preparation(), folder, recipe.train.workers, ranks)
    brains: list[PreparedCase | None] = []
    mirrored, phantoms = prepare_mirrored(cases, *wanted), prepare_phantoms(recipe.train.phantoms, *wanted)
    for brain in chain(mirrored, phantoms):
        brains.append(brain)
        total = len(cases) + recipe.train.phantoms
        progress.advanced("healthy brains", len(brains), total, "preparing brains without a tumour")
    healthy = [brain for brain in brains if brain is not None]
    if not healthy:
        raise RecipeError(
            f"train.healthy = {recipe.train.healthy:g}: no training case has a half without tumour to make a healthy "
            "brain of; set train.phantoms above 0, or train.healthy to 0"
        )
    return healthy


def donors_on_all_ranks(
    recipe: Recipe,
    training: Sequence[PreparedCase],
    lesions: Sequence[CaseFiles],
    folder: Path,
    ranks: Ranks,
    progress: Progress,
) -> Donors | None:
    """As `prepared_on_all_ranks`: whose lesions are transplanted; None if the recipe transplants none."""
    if not recipe.transplant.wanted:
        return None
    given: list[PreparedCase] = []
    preparation, workers = recipe.prepare.preparation(), recipe.train.workers
    for case in prepare_lesions(lesions, get_task(recipe.task), preparation, folder, workers, ranks):
        given.append(case)
        progress.advanced("preparing lesions", len(given), len(lesions), "preparing lesions")
    own = training if recipe.transplant.training or not given else []
    return Donors(recipe.transplant, [*own, *given], preparation)


def _run_stage(run: TrainingRun, stage: Stage, steps: int, state: State, optimiser_state: Mapping[str, Tensor]) -> None:
    settings = run.recipe.for_stage(stage.name)
    run.method.to(run.fabric.device)
    parameters = freeze_all_but(run.method, stage.trains)
    optimiser = make_optimiser(parameters, settings)
    load_optimiser(optimiser, optimiser_state)
    module, wrapped = run.fabric.setup(StageModule(run.method, stage), optimiser)
    phase = Phase(stage, settings, steps, module, wrapped, parameters, Watch(stage.name))
    if settings.average:
        state.average = start_average(run.method, state.average)
    crops = Crops(
        run.training, run.method.task, settings, brains=run.healthy,
        steps=steps, augmentation=run.recipe.augment, seed=run.recipe.seed, stage=state.stage,
        rank=run.fabric.global_rank, ranks=run.fabric.world_size,
        donors=run.donors, spacing=run.recipe.prepare.spacing,
    )  # fmt: skip
    for batch in crops_from(crops, state.step, settings.workers, run.fabric.device):
        _step(run, phase, state, batch)
        state.step += 1
        at_end = state.step == steps
        if run.validation and (at_end or state.step % run.recipe.validate_.every == 0):
            phase.watch.read()
            _validate(run, stage, settings, state)
            if settings.patience and state.stale >= settings.patience and not at_end:
                run.log.write(stage.name, state.stage, state.step, {"ended_early": True})
                break
        if run.first and not at_end and state.step % settings.save_every == 0:
            phase.watch.read()
            save_state(run.folder / "state" / "state.safetensors", state, run.method, wrapped)
    _finish_stage(run, state)


def _step(run: TrainingRun, phase: Phase, state: State, batch: Batch) -> None:
    """One update: seed, schedule, forward, backward, clip, step, average, log.

    No number is read from the device but for a line of the log, so that it need not wait for the next step's work.
    """
    settings, stage = phase.settings, phase.stage
    training_mode(run.method, stage.trains)
    batch, done = on_device(batch, run.fabric.device), state.step + 1
    if settings.gradients_every and done % settings.gradients_every == 0:
        _measure_gradients(run, phase, state, batch)
    seed_step(run.recipe.seed, state.stage, state.step, run.fabric.global_rank)
    rate = learning_rate_at(state.step, phase.steps, settings)
    for group in phase.optimiser.param_groups:
        group["lr"] = rate
    terms = phase.module(batch, _clock(run, phase, state, run.notes.add))
    loss = torch.stack([term.float() for term in terms.values()]).sum()
    phase.optimiser.zero_grad(set_to_none=True)
    run.fabric.backward(loss)
    norm = _clip(stage.trains, settings.clip_gradient or float("inf"))
    phase.optimiser.step()
    if settings.average:
        update_average(state.average, run.method, state.step, settings.average)
    run.notes.step()
    detached = {name: term.detach() for name, term in terms.items()}
    phase.watch.add(Taken(state.step, batch.names, loss.detach(), norm, detached))
    if done % settings.log_every == 0 or done == phase.steps:
        phase.watch.read()
        numbers = {"loss": phase.watch.loss, **{name: float(term) for name, term in detached.items()}}
        numbers |= {"gradient_norm": float(norm), "learning_rate": rate}
        run.log.write(stage.name, state.stage, done, {**numbers, **_apart(run.notes.take(), numbers, stage)})
    run.progress.advanced(stage.name, done, phase.steps, phase.watch.words())


def _clip(modules: Sequence[nn.Module], limit: float) -> Tensor:
    """Clip the gradient of each module by itself, so that a large gradient of one does not slow the others.

    Returns:
        The norm over all of them, before clipping.
    """
    moved = [[p for p in module.parameters() if p.grad is not None] for module in modules]
    norm: Tensor = torch.stack([clip_grad_norm_(parameters, limit) for parameters in moved if parameters]).norm()
    return norm


def _clock(run: TrainingRun, phase: Phase, state: State, note: Callable[[str, Tensor | float], None]) -> Clock:
    return Clock(state.step, phase.steps, shared_generator(run.recipe.seed, state.stage, state.step), note)


def _apart(notes: Mapping[str, float], numbers: Mapping[str, float], stage: Stage) -> Mapping[str, float]:
    """The notes, whose names must differ from those of the loss terms.

    Raises:
        ModelError: a name is used twice.
    """
    if both := sorted(set(notes) & set(numbers)):
        raise ModelError(
            f"stage {stage.name}: {', '.join(both)} is noted, but the log has it already; give the note another name"
        )
    return notes


def _measure_gradients(run: TrainingRun, phase: Phase, state: State, batch: Batch) -> None:
    """Log the gradient of each loss term at the coming step, from a forward pass of its own.

    Nothing changes by it, unless a loss keeps a state from call to call (a running mean, a queue).
    """
    seed_step(run.recipe.seed, state.stage, state.step, run.fabric.global_rank)
    with run.fabric.autocast():
        terms = phase.stage.loss(batch, _clock(run, phase, state, note=lambda name, value: None))
    run.log.write(phase.stage.name, state.stage, state.step + 1, gradient_norms(terms, phase.parameters))


def _validate(run: TrainingRun, stage: Stage, settings: TrainSettings, state: State) -> None:
    """Score the weights that would be kept, and keep them if they are the best so far."""
    current = {name: value.detach().clone() for name, value in run.method.state_dict().items()}
    run.method.load_state_dict(state.average or current)
    run.method.eval()
    scores = _scores(run, stage, settings, state)
    score = scores["mean"]
    best = score > state.best or stage.select == "last"
    if best:
        state.best, state.stale = score, 0
        if run.first:
            save_weights(run.folder / "state" / "best.safetensors", run.method)
            _save_model(run, state, scores)
    else:
        state.stale += 1
    run.method.load_state_dict(current)
    numbers = {f"validation_{name}": value for name, value in scores.items()}
    run.log.write(stage.name, state.stage, state.step, {"best": best, **numbers})
    run.progress.said(f"{stage.name} step {state.step}: validation {score:.4f}{'  (best)' if best else ''}")
    run.fabric.barrier()


def _scores(run: TrainingRun, stage: Stage, settings: TrainSettings, state: State) -> dict[str, float]:
    """What chooses the weights of the stage; higher is better."""
    if stage.select == "dice":
        method = run.method if stage.judged is None else stage.judged()
        return validation_dice(method, run.validation, run.recipe, run.fabric, run.share)
    if stage.select == "last":
        return {"mean": 0.0}
    cases = prepared_on_all_ranks(run.recipe, run.validation, run.prepared, run.ranks, Silent())
    single = settings.model_copy(update={"batch": 1})  # each process sees all crops, so that all find the same loss
    crops = Crops(
        cases, run.method.task, single,
        steps=4 * len(cases), augmentation=NO_AUGMENTATION, seed=run.recipe.seed, stage=state.stage,
    )  # fmt: skip
    return validation_loss(stage, crops, state.stage, run.fabric.device)


def _finish_stage(run: TrainingRun, state: State) -> None:
    """End a stage with its best validated weights or, without validation cases, with the last (averaged) ones."""
    if run.validation:
        run.fabric.barrier()
        load_weights(run.folder / "state" / "best.safetensors", run.method)
    else:
        if state.average:
            run.method.load_state_dict(state.average)
        if run.first:
            _save_model(run, state, {})


def _save_model(run: TrainingRun, state: State, scores: Mapping[str, float]) -> None:
    """Write the model folder, from the last stage on: before, the part that is kept has not been trained."""
    if state.stage < run.last_stage:
        return
    card = {
        **run.card,
        "recipe": run.recipe.model_dump(by_alias=True, mode="json"),
        "step": state.step,
        "training_cases": len(run.training),
        **({"healthy_brains": len(run.healthy)} if run.healthy else {}),
        "validation": {name: round(value, 4) for name, value in scores.items()},
    }
    save_model(run.folder / "model", run.method, run.recipe.prepare.preparation(), card)
