"""What a person sees in the terminal: progress, tables, problems."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lacunet.task import Task

if TYPE_CHECKING:
    from rich.progress import Progress

    from lacunet.complete import Completed
    from lacunet.data.names import Problem
    from lacunet.segment import Segmented


def say(text: str) -> None:
    """A line on standard output."""
    print(text)


@contextmanager
def progress() -> "Iterator[Progress]":
    """A bar on standard error that vanishes when the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar


class TrainingBar:
    """Draws a training's progress; see `lacunet.train.Progress`."""

    def __init__(self, bar: "Progress") -> None:
        self.bar = bar
        self.jobs: dict[str, Any] = {}

    def preparing(self, done: int, total: int) -> None:
        """So many of the cases are prepared."""
        self._update("preparing", done, total, "preparing cases")

    def stepped(self, stage: str, step: int, steps: int, loss: float) -> None:
        """A step is done."""
        self._update(stage, step, steps, f"{stage}: loss {loss:.3f}")

    def validated(self, stage: str, step: int, score: float, best: bool) -> None:
        """A line that stays."""
        self.bar.console.print(f"{stage} step {step}: validation {score:.4f}{'  (best)' if best else ''}")

    def _update(self, key: str, done: int, total: int, words: str) -> None:
        if key not in self.jobs:
            self.jobs[key] = self.bar.add_task(words, total=total)
        self.bar.update(self.jobs[key], completed=done, description=words)


def print_segmented(done: "Segmented", task: Task) -> None:
    """One line a case, and what its reader must not miss."""
    if done.skipped:
        say(f"{done.name}: done before")
        return
    volumes = ", ".join(f"{task.titles[region]} {volume:.1f} ml" for region, volume in done.volumes.items())
    say(f"{done.name}: {volumes}")
    for warning in done.warnings:
        say(f"    note: {warning}")


def print_completed(done: "Completed", task: Task) -> None:
    """One line a case."""
    if done.skipped:
        say(f"{done.name}: done before")
    elif not done.estimated:
        say(f"{done.name}: has every sequence, nothing to estimate (--subset leaves some out, to compare)")
    else:
        estimated = ", ".join(task.titles[modality] for modality in done.estimated)
        say(f"{done.name}: {estimated} estimated from {task.subset_title(done.subset)}")


def print_summary(summary: Any, task: Task) -> None:
    """Mean Dice (and HD95 in mm) by region, for each subset and over all."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("subset")
    for region in task.regions:
        table.add_column(region.upper(), justify="right")
        table.add_column("HD95", justify="right", style="dim")
    for name, scores in summary["subsets"].items():
        table.add_row(name, *_cells(scores, task))
    table.add_row("mean", *_cells(summary["mean"], task), style="bold")
    if "deviation" in summary:  # a card's table may be older
        table.add_row("deviation", *_cells(summary["deviation"], task), style="dim")
    Console().print(table)


def _cells(scores: Any, task: Task) -> list[str]:
    cells = []
    for region in task.regions:
        hd95 = scores[region]["hd95"]
        cells += [f"{scores[region]['dice']:.3f}", "-" if hd95 is None else f"{hd95:.1f}"]
    return cells


def print_problems(problems: "Sequence[Problem]") -> None:
    """One line each, on standard error."""
    print(f"\n{len(problems)} problem{'s' if len(problems) > 1 else ''}:", file=sys.stderr)
    for problem in problems:
        where = "" if problem.message.startswith(problem.case) else f"{problem.case}: "
        print(f"  {where}{problem.message}", file=sys.stderr)
