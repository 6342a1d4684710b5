"""What a person sees in the terminal: progress, tables, problems.

Names of cases and files, and texts from files, pass through `visible` here: none can steer the terminal, or print a
line of its own.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lacunet.errors import visible
from lacunet.models.folder import model_name
from lacunet.task import IN_BRACKETS, Task

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.table import Table
    from rich.text import Text

    from lacunet.comparison.comparison import Comparison
    from lacunet.comparison.numbers import Number
    from lacunet.data.tree import PassedOver
    from lacunet.errors import Problem
    from lacunet.evaluation.summary import RegionMeans, Summary
    from lacunet.intake.found import Survey
    from lacunet.intake.importer import Imported
    from lacunet.models.description import Description
    from lacunet.segmentation.complete import Completed
    from lacunet.segmentation.write import Segmented
    from lacunet.visits.change import Changed


DEBUG = "LACUNET_DEBUG"
"""The environment variable that `lacunet --debug` sets."""


def say(line: str = "") -> None:
    """One line on standard output; whatever would end it earlier is made visible."""
    print(visible(line))


def say_at_length(text: str) -> None:
    """A text of several lines on standard output; whatever goes into one of them must have no ends of lines."""
    for line in text.split("\n"):
        say(line)


def complain(line: str) -> None:
    """One line on standard error; whatever would end it earlier is made visible."""
    print(visible(line), file=sys.stderr)


def complain_at_length(text: str) -> None:
    """A text of several lines on standard error, such as a traceback."""
    for line in text.rstrip("\n").split("\n"):
        complain(line)


def debugging() -> bool:
    """Whether the user wants to see where lacunet itself failed."""
    return os.environ.get(DEBUG, "0") not in ("", "0")


class Bar:
    """Draws `lacunet.progress.Progress`: one bar for the job that is under way, and lines above it."""

    def __init__(self, drawn: "RichProgress") -> None:
        self._drawn = drawn
        self._job, self._done, self._full = "", 0, False
        self._bar = drawn.add_task("", total=None, visible=False)

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        """Move the bar; another job, or the same one from its beginning, gets a new bar."""
        if job != self._job or done < self._done:
            self._begin(job, total)
        self._done, self._full = done, done >= total
        self._drawn.update(self._bar, completed=done, total=total, description=visible(words), visible=True)

    def doing(self, words: str) -> None:
        """Show the words beside the bar until it moves; if there is none, or a full one, draw one without an end."""
        if self._full:
            self._begin("", None)
        self._drawn.update(self._bar, description=visible(words), visible=True)

    def said(self, words: str) -> None:
        """A line above the bar."""
        self._drawn.console.print(visible(words), markup=False, highlight=False)

    def _begin(self, job: str, total: int | None) -> None:
        """A new bar instead of the one before; it is hidden until it has words."""
        self._drawn.remove_task(self._bar)
        self._bar = self._drawn.add_task("", total=total, visible=False)
        self._job, self._done, self._full = job, 0, False


@contextmanager
def progress() -> Iterator[Bar]:
    """A bar on standard error; it goes away when the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words = TextColumn("{task.description}", markup=False)  # names of cases may hold brackets
    columns = (words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        yield Bar(drawn)


def print_segmented(done: "Segmented", task: Task) -> None:
    """What a person must know first, one line of volumes, then the files and the other warnings of a case."""
    if done.skipped:
        say(f"{done.name}: done before")
        return
    for caution in done.cautions:
        say(f"{done.name}: CAUTION: {caution}")
    if done.doubts:
        say(f"{done.name}: DOUBTFUL: {'; '.join(done.doubts)}")
    volumes = ", ".join(
        f"{task.titles[region]} {volume:.1f} ml{IN_BRACKETS[done.evidence[region]]}"
        for region, volume in done.volumes.items()
    )
    say(f"{done.name}: {volumes}")
    for path in done.back:
        say(f"    {path}")
    for warning in done.warnings:
        say(f"    note: {warning}")


def print_survey(survey: "Survey", task: Task) -> None:
    """What a source holds: a line for each scan that is used, and for each that is not."""
    for visit in survey.visits:
        say(visit.name)
        for modality, scan in visit.scans.items():
            say(f"    {task.titles[modality]:<6} {scan.label}: {scan.reason}")
        for one in visit.left_out:
            say(f"    -      {one.label}: {one.reason}")
    for one in survey.left_out:
        say(f"left out: {one.label}: {one.reason}")
    for line in survey.notes:
        say(f"note: {line}")


def print_left_out(left_out: "Sequence[PassedOver]", most: int | None = None) -> None:
    """What a source holds that is not used, with reasons; at most so many lines of one reason."""
    from lacunet.data.account import in_short

    for line in in_short(left_out, most):
        say(f"left out: {line}")


def dropped(count: int) -> str:
    """`3 files or folders were left out, as listed above`."""
    return "1 file or folder was left out, as listed above" if count == 1 else (
        f"{count} files or folders were left out, as listed above"
    )  # fmt: skip


def print_imported(done: "Imported", task: Task) -> None:
    """What a person must know first, where the case is, how long it took, and the other warnings."""
    if done.skipped:
        say(f"{done.record.case}: done before")
        return
    cautions = [caution.sentence for caution in done.record.found.cautions]
    for caution in cautions:
        say(f"{done.record.case}: CAUTION: {caution}")
    seconds = sum(step.seconds for step in done.record.steps)
    scans = ", ".join(task.titles[modality] for modality in task.subset(done.record.scans))
    say(f"{done.record.case}: {scans} in {done.folder} ({seconds:.0f} s)")
    for warning in done.record.warnings:
        if warning not in cautions:
            say(f"    note: {warning}")


def print_completed(done: "Completed", task: Task) -> None:
    """One line for a case."""
    if done.skipped:
        say(f"{done.name}: done before")
    elif not done.estimated:
        say(f"{done.name}: has every sequence, nothing to estimate (--subset leaves some out, to compare)")
    else:
        estimated = ", ".join(task.titles[modality] for modality in done.estimated)
        say(f"{done.name}: {estimated} estimated from {task.subset_title(done.subset)}")


def print_changed(done: "Changed", task: Task) -> None:
    """The verdict, a line for each region, and what a person must not miss."""
    from lacunet.visits.words import range_words, signed

    say(f"{done.verdict}.")
    for title, one in (("same sequences", done.common), ("everything", done.everything)):
        if one is None or (one is done.everything and one.equal):
            continue
        for region, change in one.regions.items():
            range_ml = range_words(change.span, one.coverage)
            beside = f" ({range_ml})" if range_ml else ""
            volumes = f"{change.earlier:.1f} -> {change.later:.1f} ml, {signed(change.ml)} ml{beside}"
            verdict = f": {change.verdict}" if one is done.common else ""
            say(f"    {title}, {task.titles[region]}: {volumes}{verdict}")
    for warning in done.warnings:
        say(f"    note: {warning}")
    say(f"page: {done.page}")


def print_models(models: Mapping[Path, "Description"], default: str) -> None:
    """A line for each model (folder -> description): name, method, grid, size, Dice over all subsets."""
    from rich.console import Console
    from rich.table import Table

    from lacunet.evaluation.summary import summary_of

    table = Table(box=None, pad_edge=False)
    for title in ("model", "method", "grid", "MiB", "Dice, all subsets"):
        table.add_column(title, justify="right" if title in ("grid", "MiB") else "left")
    for folder, description in models.items():
        name = model_name(folder) + (" (default)" if folder.name == default else "")
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        results = description.card.get("results")
        mean = summary_of(results, folder).mean if results else {}
        dice = ", ".join(f"{region.upper()} {means.dice:.2f}" for region, means in mean.items())
        grid = f"{description.preparation.spacing:g} mm"
        table.add_row(*map(_cell, (name, description.methods, grid, f"{size:.1f}", dice or "not measured")))
    Console().print(table)


def _cell(text: str) -> "Text":
    """Text from outside as a cell of a table or a line above it: nothing in it is taken for markup."""
    from rich.text import Text

    return Text(visible(text))


def print_summary(summary: "Summary", task: Task) -> None:
    """Mean Dice and HD95 (mm) by region, for each subset and over all; `ET*` is over the cases that have the region.

    Below them, means of cohorts, how often one more sequence makes a mask worse, and what is found without a tumour.
    """
    from rich.console import Console
    from rich.table import Table

    from lacunet.evaluation.cohorts import cohort_words
    from lacunet.evaluation.monotony import monotony_words
    from lacunet.evaluation.tumour_free import tumour_free_words

    table = Table(box=None, pad_edge=False, caption_justify="left")
    cut = [region for region in task.regions if _lacks(summary, region)]
    table.add_column("subset")
    for region in task.regions:
        table.add_column(_cell(region.upper()), justify="right")
        if region in cut:
            table.add_column(_cell(f"{region.upper()}*"), justify="right")
        table.add_column("HD95", justify="right", style="dim")
    for name, scores in summary.subsets.items():
        table.add_row(_cell(name), *_cells(scores, task, cut))
    table.add_row("mean", *_cells(summary.mean, task, cut), style="bold")
    if summary.deviation:  # an older card has none
        table.add_row("deviation", *_cells(summary.deviation, task, cut), style="dim")
    if cut:
        lacking = summary.empty.references
        counts = [f"the {summary.cases - lacking[region]} with {region.upper()}" for region in cut]
        table.caption = _cell(f"* over {' and '.join(counts)}, of {summary.cases} cases")
    Console().print(table)
    for name, cohort in summary.cohorts.items():
        say(cohort_words(name, cohort))
    if summary.monotony:
        say(monotony_words(summary.monotony))
    if summary.tumour_free:
        say(tumour_free_words(summary.tumour_free, task))


def _lacks(summary: "Summary", region: str) -> bool:
    """Whether some cases lack the region and some have it; False where an older card does not tell."""
    return summary.empty.references.get(region, 0) > 0 and summary.mean[region].dice_present is not None


def _cells(means: "RegionMeans", task: Task, cut: Sequence[str]) -> list[str]:
    cells = []
    for region in task.regions:
        own = means[region]
        present = [_digits(own.dice_present, 3)] if region in cut else []
        cells += [_digits(own.dice, 3), *present, _digits(own.hd95, 1)]
    return cells


def _digits(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def print_comparison(comparison: "Comparison") -> None:
    """Means of each run, every test against the baseline, warnings, and which published tables are comparable."""
    from rich.console import Console

    console = Console()
    console.print(_means_table(comparison))
    if comparison.others:
        console.print()
        console.print(_tests_table(comparison))
        cases = len(comparison.shared.cases)
        say(f"Wilcoxon over {cases} case{'s' if cases > 1 else ''}; corrected after Holm for {comparison.family} tests")
    for words in (*comparison.warnings, *comparison.hints):
        console.print(_cell(f"note: {words}"))
    for table in comparison.tables:
        console.print(_cell(f"published {table.name}, on the page: {_beside(comparison.apart(table))}"))


def _beside(reasons: Sequence[str]) -> str:
    """Whether a published table can be compared with the runs."""
    if reasons:
        return f"not comparable: {'; '.join(reasons)}"
    return "comparable, as far as an evaluation shows"


def _means_table(comparison: "Comparison") -> "Table":
    """A row for each run; `ET*` is over the cases that have the region."""
    regions = list(comparison.shared.task.regions)
    cut = comparison.shared.divided
    stars = [f"\n{region.upper()}*" for region in cut]
    table = _table(
        "\nrun", [*_titles("Dice", regions), *stars, *_titles("AURC", regions), *_titles("HD95 mm", regions)]
    )
    for name, scores in comparison.scores.items():
        cells = [_value(scores.dice[region].mean, 3) for region in regions]
        cells += [_value(scores.dice_with[region].mean, 3) for region in cut]
        cells += [_value(scores.dice[region].aurc, 2) for region in regions]
        cells += [_value(scores.hd95[region].mean, 0) for region in regions]
        table.add_row(_cell(name), *cells)
    if cut:
        counts = [f"{int(comparison.shared.with_reference(region).sum())} with {region.upper()}" for region in cut]
        table.caption = _cell(f"* over the {' and the '.join(counts)}, of {len(comparison.shared.cases)} cases")
    return table


def _tests_table(comparison: "Comparison") -> "Table":
    """A row for each test."""
    titles = [
        "\nregion",
        "Dice\nmore by",
        "95 %\nfrom",
        "\nto",
        "cases\n+ = -",
        "p\nas it is",
        "\ncorrected",
        "\nleast",
    ]
    table = _table(f"against {visible(comparison.baseline)}\nrun", titles)
    for name, tests in comparison.tests.items():
        for region, test in tests.items():
            mean, cases = test.difference.mean, test.cases
            ends = [f"{value:+.3f}" for value in (mean.value, mean.low, mean.high)]
            ps = [f"{p:.3f}" for p in (test.p, test.p_holm, test.p_smallest)]
            title = _cell(region if region == "mean" else region.upper())
            table.add_row(_cell(name), title, *ends, f"{cases.better} {cases.equal} {cases.worse}", *ps)
    return table


def _table(first: str, titles: list[str]) -> "Table":
    """A table without lines: one column of words, wrapped in a narrow terminal, and columns of numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, caption_justify="left")
    table.add_column(Text(first), overflow="fold")
    for title in titles:
        table.add_column(Text(title), justify="right", no_wrap=True)
    return table


def print_rows(first: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: one column of words, and columns of numbers under their titles."""
    from rich.console import Console

    table = _table(first, list(titles))
    for row in rows:
        table.add_row(*map(_cell, row))
    Console().print(table)


def _titles(score: str, regions: list[str]) -> list[str]:
    """`Dice` over the first region, nothing over the others."""
    return [f"{'' if index else score}\n{region.upper()}" for index, region in enumerate(regions)]


def _value(number: "Number | None", digits: int) -> str:
    return _digits(None if number is None else number.value, digits)


def print_problems(problems: "Sequence[Problem]") -> None:
    """One line each, on standard error; with `--debug` also where lacunet itself failed."""
    complain("")
    complain(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}:")
    for problem in problems:
        where = "" if problem.message.startswith(problem.case) else f"{problem.case}: "
        complain(f"  {where}{problem.message}")
        if problem.details and debugging():
            complain_at_length(problem.details)
