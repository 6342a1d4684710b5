"""A training from its recipe to its model folder; the loop itself is in loop.py.

A killed run that is resumed ends with the same weights, bit for bit, as one that never stopped: every random choice is
a function of (seed, stage, step), and the saved state is complete.
"""

import atexit
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from lacunet.case import CaseFiles
from lacunet.crew.memory import ALONE, Share, share_of
from lacunet.data.split import RUN_SPLIT, split_hash
from lacunet.environment import describe_environment
from lacunet.errors import DataError, OutputError, RecipeError
from lacunet.files import plain_name, write_json
from lacunet.models.origin import Source, read_origin, read_teachers, write_origin, write_teachers
from lacunet.nn.memory import in_channels_last
from lacunet.nn.method import Method, Stage
from lacunet.progress import Progress, Silent
from lacunet.reading import read_json
from lacunet.task import Task, get_task
from lacunet.training.checkpoint import State, save_state
from lacunet.training.log import Notes, TrainingLog
from lacunet.training.loop import (
    TrainingRun,
    donors_on_all_ranks,
    healthy_on_all_ranks,
    prepared_on_all_ranks,
    run_stages,
)
from lacunet.training.objective import made_for
from lacunet.training.processes import fabric_for, processes_of
from lacunet.training.ranks import ranks_of, require_seen, speaking_of_the_others
from lacunet.training.recipe import Recipe, read_recipe, write_recipe
from lacunet.training.start import Start, start_from
from lacunet.training.teacher import critic_of, require_same_sources, taught, teacher_of

BEFORE = "before"
"""The folder, in a run's, of the training that its recipe's `[before]` wants."""


def train(
    recipe: Recipe,
    training: Sequence[CaseFiles],
    validation: Sequence[CaseFiles],
    folder: Path,
    *,
    resume: bool = False,
    init: str | None = None,
    init_partly: bool = False,
    device: str = "auto",
    method_file: Path | None = None,
    card: Mapping[str, Any] | None = None,
    progress: Progress = Silent(),
    prepared: Path | None = None,
    lesions: Sequence[CaseFiles] = (),
    share: Share = ALONE,
) -> Path:
    """Train a method as a recipe says.

    Args:
        recipe: Everything that decides the training.
        training: Cases with references; some may lack modalities.
        validation: Cases that choose the best weights; empty keeps the last.
        folder: The run: `recipe.toml`, `split.json` and `lesions.json` (which cases), `log.jsonl`, TensorBoard events,
            `state/`, `model/`, `environment.json`; `init.json` if it began from a model; `before/`, a run, if the
            recipe has `[before]`.
        resume: Go on from the state that the folder holds.
        init: A model (shipped name or folder) whose weights the training starts from. All of them must fit the
            recipe's network, which may have more tensors. A resumed run does not need it. Where the recipe has
            `[before]`, that training starts from them.
        init_partly: Take only those weights of `init` that fit.
        device: `auto`, `cpu`, `cuda`, ...
        method_file: File of a method that is not of the package.
        card: What the model says of itself (data, licence).
        progress: Told of every prepared case, step and validation.
        prepared: Folder of prepared cases, which several runs may share; None keeps them in the run.
        lesions: Cases with references that give lesions to transplant and are not trained on otherwise.
        share: Of the memory, where others work beside it; several processes of a node divide what is free.

    Returns:
        The model folder.

    Raises:
        OutputError: the folder holds a run, and `resume` is False.
        RecipeError: the recipe does not fit the method or the model `init`, or is not the one that the resumed run
            began with.
        DataError: no training case, a case without a reference, a lesion of a person who is validated with, or other
            cases than those that the resumed run began with.
    """
    task = get_task(recipe.task)
    task.subsets_named(recipe.validate_.subsets)  # a wrong name is reported now, not at the first validation
    _require_cases(training, validation)
    _require_lesions(recipe, lesions, validation)
    fabric = _fabric(recipe, device)
    ranks = ranks_of(fabric)
    torch.manual_seed(recipe.seed)
    method, all_stages = made_for(recipe, method_file)
    method = in_channels_last(method)
    critic = critic_of(recipe, method.task, fabric.device)
    if critic is not None:
        method.take_critic(critic)
        all_stages = method.stages()
    shares = recipe.steps_of([stage.name for stage in all_stages])
    teacher = teacher_of(recipe, method.task, fabric.device)
    if teacher is not None:
        all_stages = [taught(stage, method, teacher) for stage in all_stages]
    sources = [*(teacher.sources if teacher is not None else []), *([critic.source] if critic is not None else [])]
    stages = [stage for stage in all_stages if stage.wanted]
    steps = [share for share, stage in zip(shares, all_stages, strict=True) if stage.wanted]
    _require_fit(recipe, method, stages, fabric.world_size)
    where, begun = prepared or folder / "prepared", _is_begun(folder, recipe, resume)
    fabric.barrier()  # no process may find what the first one writes from here on
    if not begun and (first := recipe.earlier()) is not None:
        train(
            first, training, validation, folder / BEFORE, lesions=lesions,
            resume=resume, init=init, init_partly=init_partly, device=device, method_file=method_file, card=card,
            progress=progress, prepared=where, share=share,
        )  # fmt: skip
        init, init_partly = str(folder / BEFORE), first.objective != recipe.objective
    if begun:
        require_same_sources(sources, folder)
    start = start_from(init, method, method_file, init_partly) if init is not None and not begun else None
    if start is not None:
        start.put_into(method)

    def begin() -> None:
        if fabric.global_rank == 0:
            if not begun:
                _begin(folder, recipe, method, start, sources)
            _record_cases(folder / RUN_SPLIT, {"train": _names(training), "val": _names(validation)})
            _record_cases(folder / "lesions.json", {"lesions": _names(lesions)})

    ranks.together(begin)
    ranks.together(partial(require_seen, folder / RUN_SPLIT))
    progress = progress if fabric.global_rank == 0 else Silent()
    if start is not None:
        progress.said(start.words())
    cases = prepared_on_all_ranks(recipe, training, where, ranks, progress)
    run = TrainingRun(
        recipe=recipe,
        folder=folder,
        fabric=fabric,
        ranks=ranks,
        method=method,
        training=cases,
        healthy=healthy_on_all_ranks(recipe, training, where, ranks, progress),
        donors=donors_on_all_ranks(recipe, cases, lesions, where, ranks, progress),
        validation=validation,
        prepared=where,
        card={
            **_cases_of(task, training, validation),
            **_lesions_of(lesions),
            **_learned_from(folder),
            **(card or {}),
        },
        progress=progress,
        log=TrainingLog(folder, steps, active=fabric.global_rank == 0),
        notes=Notes(),
        last_stage=len(stages) - 1,
        share=share_of(here) if (here := processes_of(os.environ).here) > 1 else share,
    )
    try:
        with speaking_of_the_others():
            run_stages(run, stages, steps, resume)
    finally:
        run.log.close()
    return folder / "model"


def _cases_of(task: Task, training: Sequence[CaseFiles], validation: Sequence[CaseFiles]) -> dict[str, Any]:
    """Hashes of the lists of training and validation cases; how many training cases have every modality."""
    return {
        "training_list": split_hash(case.name for case in training),
        "validation_list": split_hash(case.name for case in validation) if validation else None,
        "complete_cases": sum(set(case.images) >= set(task.modalities) for case in training),
    }


def _lesions_of(lesions: Sequence[CaseFiles]) -> dict[str, Any]:
    """Hash and number of the cases that give lesions only; nothing where there are none."""
    return {"lesion_list": split_hash(_names(lesions)), "lesion_cases": len(lesions)} if lesions else {}


def _fabric(recipe: Recipe, device: str) -> Fabric:
    processes = processes_of(os.environ)  # no setting of a user: what has started this process
    fabric = fabric_for(processes, device, recipe.train.precision)
    fabric.launch()
    if processes.several:  # a process that ends with the group alive can abort: gloo's threads outlive the interpreter
        atexit.register(_leave_group)
    return fabric


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _require_cases(training: Sequence[CaseFiles], validation: Sequence[CaseFiles]) -> None:
    if not training:
        raise DataError("no training case: the split names none")
    for files in [*training, *validation]:
        plain_name(files.name)
        if files.reference is None:
            raise DataError(f"{files.name}: has no reference mask; training and validation need one for every case")


def _require_lesions(recipe: Recipe, lesions: Sequence[CaseFiles], validation: Sequence[CaseFiles]) -> None:
    if lesions and not recipe.transplant.wanted:
        raise RecipeError(
            f"{len(lesions)} cases are given for their lesions, but the recipe transplants none; set transplant.chance"
        )
    judges = {case.person for case in validation}
    for files in lesions:
        plain_name(files.name)
        if files.reference is None:
            raise DataError(f"{files.name}: has no reference mask; a case that gives a lesion needs one")
        if files.person in judges:
            raise DataError(f"{files.name}: its person is a validation case; a lesion must not come from one")


def _require_fit(recipe: Recipe, method: Method[Any], stages: Sequence[Stage], ranks: int) -> None:
    for stage in stages:
        settings = recipe.for_stage(stage.name)
        if settings.batch % ranks:
            raise RecipeError(f"train.batch = {settings.batch} cannot be shared evenly by {ranks} processes")
        if any(length % method.divisor for length in settings.crop):
            raise RecipeError(
                f"train.crop = {list(settings.crop)}: {recipe.method} with these arguments needs multiples of "
                f"{method.divisor} voxels"
            )


def _is_begun(folder: Path, recipe: Recipe, resume: bool) -> bool:
    """Whether the folder holds the beginning of this run.

    Raises:
        OutputError: it holds a run that is not to be resumed.
        RecipeError: it holds a run of another recipe.
    """
    path = folder / "recipe.toml"
    if not path.is_file():
        return False
    if not resume:
        raise OutputError(f"{folder}: holds a run already; continue with --resume, or choose another folder")
    if read_recipe(path) != recipe:
        raise RecipeError(
            f"{path}: the run began with another recipe; resume it with its own, or choose another folder"
        )
    return True


def _begin(folder: Path, recipe: Recipe, method: Method[Any], start: Start | None, sources: Sequence[Source]) -> None:
    """Write what a run begins with, the recipe last: a run that is stopped while cases are prepared is resumed from
    the same weights.
    """
    if start is not None:
        write_origin(folder, start.origin)
        save_state(folder / "state" / "state.safetensors", State(), method, None)
    if sources:
        write_teachers(folder, sources)
    write_json(folder / "environment.json", describe_environment())
    write_recipe(folder / "recipe.toml", recipe)


def _learned_from(folder: Path) -> dict[str, Any]:
    """For the card: the model that the run began from and those that taught or judged it, if there are any."""
    origin, teachers = read_origin(folder), [teacher.card() for teacher in read_teachers(folder)]
    return {**({"init": origin.card()} if origin is not None else {}), **({"teachers": teachers} if teachers else {})}


def _record_cases(path: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """Write lists of names, or refuse to go on with others than those that are there.

    Raises:
        DataError: the run began with other cases.
    """
    if path.is_file() and read_json(path, DataError, "remove the run, or take its cases from elsewhere") != lists:
        raise DataError(f"{path}: the run began with other cases; resume it with its own, or choose another folder")
    write_json(path, lists)


def _names(cases: Sequence[CaseFiles]) -> list[str]:
    return sorted(case.name for case in cases)
