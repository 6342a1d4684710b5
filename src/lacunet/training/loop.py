"""The loop: stages, steps, validation, selection. It knows no method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from lacunet.case import CaseFiles
from lacunet.errors import ModelError, RecipeError
from lacunet.models.model import save_model
from lacunet.nn.batch import Batch
from lacunet.nn.method import Clock, Method, Stage
from lacunet.task import get_task
from lacunet.training.augment import NO_AUGMENTATION, Augmentation
from lacunet.training.checkpoint import State, load_optimiser, load_state, load_weights, save_state, save_weights
from lacunet.training.crops import Crops, PreparedCase, crops_from, prepare_cases
from lacunet.training.log import Notes, Progress, Silent, TrainingLog
from lacunet.training.optimiser import (
    freeze_all_but,
    gradient_norms,
    learning_rate_at,
    make_optimiser,
    start_average,
    training_mode,
    update_average,
)
from lacunet.training.recipe import Recipe, TrainSettings
from lacunet.training.seeds import seed_step, shared_generator
from lacunet.training.validation import on_device, validation_dice, validation_loss


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
class Run:
    """The things a training holds in its hands; nothing here outlives `train`."""

    recipe: Recipe
    folder: Path
    fabric: Fabric
    method: Method[Any]
    training: Sequence[PreparedCase]
    validation: Sequence[CaseFiles]
    prepared: Path
    card: Mapping[str, Any]
    progress: Progress
    log: TrainingLog
    notes: Notes
    last_stage: int

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.fabric.global_rank == 0


@dataclass
class Phase:
    """A stage under way: what `_step` needs beside the run and its state."""

    stage: Stage
    settings: TrainSettings
    steps: int
    module: nn.Module
    optimiser: torch.optim.Optimizer
    parameters: Sequence[nn.Parameter]


def run_stages(run: Run, stages: Sequence[Stage], steps: Sequence[int], resume: bool) -> None:
    """Train every stage in order, from the beginning or from where the saved state stands."""
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


def _run_stage(run: Run, stage: Stage, steps: int, state: State, optimiser_state: Mapping[str, Tensor]) -> None:
    settings = run.recipe.for_stage(stage.name)
    run.method.to(run.fabric.device)
    parameters = freeze_all_but(run.method, stage.trains)
    optimiser = make_optimiser(parameters, settings)
    load_optimiser(optimiser, optimiser_state)
    module, wrapped = run.fabric.setup(StageModule(run.method, stage), optimiser)
    phase = Phase(stage, settings, steps, module, wrapped, parameters)
    if settings.average:
        state.average = start_average(run.method, state.average)
    rank, ranks = run.fabric.global_rank, run.fabric.world_size
    crops = _crops(run.training, run, settings, state.stage, steps, run.recipe.augment, rank, ranks)
    for batch in crops_from(crops, state.step, settings.workers):
        _step(run, phase, state, batch)
        state.step += 1
        at_end = state.step == steps
        if run.validation and (at_end or state.step % run.recipe.validate_.every == 0):
            _validate(run, stage, settings, state)
            if settings.patience and state.stale >= settings.patience and not at_end:
                run.log.write(stage.name, state.stage, state.step, {"ended_early": True})
                break
        if run.first and not at_end and state.step % settings.save_every == 0:
            save_state(run.folder / "state" / "state.safetensors", state, run.method, wrapped)
    _finish_stage(run, state)


def _step(run: Run, phase: Phase, state: State, batch: Batch) -> None:
    """One update: seed, schedule, forward, backward, clip, step, average, log."""
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
    _require_finite(loss, "loss", terms, batch, stage, state)
    phase.optimiser.zero_grad(set_to_none=True)
    run.fabric.backward(loss)
    norm = _clip(stage.trains, settings.clip_gradient or float("inf"))
    _require_finite(norm, "gradient", terms, batch, stage, state)
    phase.optimiser.step()
    if settings.average:
        update_average(state.average, run.method, state.step, settings.average)
    run.notes.step()
    if done % settings.log_every == 0 or done == phase.steps:
        numbers = {"loss": float(loss.detach()), **{name: float(term.detach()) for name, term in terms.items()}}
        numbers |= {"gradient_norm": float(norm), "learning_rate": rate}
        run.log.write(stage.name, state.stage, done, {**numbers, **_apart(run.notes.take(), numbers, stage)})
    run.progress.stepped(stage.name, done, phase.steps, float(loss.detach()))


def _clip(modules: Sequence[nn.Module], limit: float) -> Tensor:
    """Clip the gradient of each module by itself, so that a steep loss of one does not slow the others.

    Returns:
        The norm over all of them, before clipping.
    """
    moved = [[p for p in module.parameters() if p.grad is not None] for module in modules]
    norm: Tensor = torch.stack([clip_grad_norm_(parameters, limit) for parameters in moved if parameters]).norm()
    return norm


def _clock(run: Run, phase: Phase, state: State, note: Callable[[str, Tensor | float], None]) -> Clock:
    return Clock(state.step, phase.steps, shared_generator(run.recipe.seed, state.stage, state.step), note)


def _apart(notes: Mapping[str, float], numbers: Mapping[str, float], stage: Stage) -> Mapping[str, float]:
    """What was noted, which must not hide a term of the loss."""
    if both := sorted(set(notes) & set(numbers)):
        raise ModelError(f"stage {stage.name}: {', '.join(both)} is noted and logged already; note it by another name")
    return notes


def _measure_gradients(run: Run, phase: Phase, state: State, batch: Batch) -> None:
    """Log the gradient of each term at the step that comes, by a forward pass of its own.

    It changes nothing, unless a loss keeps a state of its own from call to call (a running mean, a queue).
    """
    seed_step(run.recipe.seed, state.stage, state.step, run.fabric.global_rank)
    with run.fabric.autocast():
        terms = phase.stage.loss(batch, _clock(run, phase, state, note=lambda name, value: None))
    run.log.write(phase.stage.name, state.stage, state.step + 1, gradient_norms(terms, phase.parameters))


def _validate(run: Run, stage: Stage, settings: TrainSettings, state: State) -> None:
    """Score the weights that would be kept; keep them when they are the best so far."""
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
    run.progress.validated(stage.name, state.step, score, best)
    run.fabric.barrier()


def _scores(run: Run, stage: Stage, settings: TrainSettings, state: State) -> dict[str, float]:
    """What the stage is selected by, higher is better."""
    if stage.select == "dice":
        method = run.method if stage.judged is None else stage.judged()
        return validation_dice(method, run.validation, run.recipe, run.fabric)
    if stage.select == "last":
        return {"mean": 0.0}
    cases = prepared_on_all_ranks(run.recipe, run.validation, run.prepared, run.fabric, Silent())
    alone = settings.model_copy(update={"batch": 1})  # every process looks at all of them, and they agree
    crops = _crops(cases, run, alone, state.stage, 4 * len(cases), NO_AUGMENTATION, rank=0, ranks=1)
    return validation_loss(stage, crops, state.stage, run.fabric.device)


def _finish_stage(run: Run, state: State) -> None:
    """A stage ends with its selected weights: the best validated ones, or the last (averaged) ones."""
    if run.validation:
        run.fabric.barrier()
        load_weights(run.folder / "state" / "best.safetensors", run.method)
    else:
        if state.average:
            run.method.load_state_dict(state.average)
        if run.first:
            _save_model(run, state, {})


def _save_model(run: Run, state: State, scores: Mapping[str, float]) -> None:
    """The model folder, once the last stage has begun: before, what is deployed has not been trained."""
    if state.stage < run.last_stage:
        return
    card = {
        **run.card,
        "recipe": run.recipe.model_dump(by_alias=True, mode="json"),
        "step": state.step,
        "training_cases": len(run.training),
        "validation": {name: round(value, 4) for name, value in scores.items()},
    }
    save_model(run.folder / "model", run.method, run.recipe.prepare.preparation(), card)


def _require_finite(
    value: Tensor, what: str, terms: Mapping[str, Tensor], batch: Batch, stage: Stage, state: State
) -> None:
    if not torch.isfinite(value):
        values = ", ".join(f"{name} {float(term.detach()):g}" for name, term in terms.items())
        raise RecipeError(
            f"stage {stage.name}, step {state.step}: the {what} is not a number ({values}; "
            f"cases {', '.join(batch.names)}); lower train.learning_rate or set train.clip_gradient"
        )


def prepared_on_all_ranks(
    recipe: Recipe, cases: Sequence[CaseFiles], folder: Path, fabric: Fabric, progress: Progress
) -> list[PreparedCase]:
    """Rank 0 prepares, then the others open what it has written."""
    prepared: list[PreparedCase] = []
    with fabric.rank_zero_first():
        for case in prepare_cases(cases, get_task(recipe.task), recipe.prepare.preparation(), folder):
            prepared.append(case)
            progress.preparing(len(prepared), len(cases))
    return prepared


def _crops(
    cases: Sequence[PreparedCase],
    run: Run,
    settings: TrainSettings,
    stage: int,
    steps: int,
    augmentation: Augmentation,
    rank: int,
    ranks: int,
) -> Crops:
    return Crops(
        cases,
        run.method.task,
        crop=settings.crop,
        batch=settings.batch,
        steps=steps,
        augmentation=augmentation,
        subsets=settings.subsets,
        keep=settings.keep,
        tumour_share=settings.tumour_share,
        seed=run.recipe.seed,
        stage=stage,
        rank=rank,
        ranks=ranks,
    )
