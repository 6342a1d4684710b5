"""Many trainings under one protocol: `lacunet benchmark`, `lacunet reproduce`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lacunet.cli.options import (
    Cohorts,
    Device,
    Devices,
    Labels,
    MethodFile,
    On,
    Output,
    PrecisionName,
    Rules,
    TumourFree,
    Window,
    crew_for,
    exit_with,
    first_device,
    require_writable,
)
from lacunet.cli.terminal import print_comparison, progress, say, say_at_length
from lacunet.errors import UsageError
from lacunet.task import Task, get_task

if TYPE_CHECKING:
    from lacunet.benchmark.plan import Split
    from lacunet.benchmark.sweep import Entrant
    from lacunet.case import CaseFiles


def benchmark(
    recipes: Annotated[
        list[str],
        typer.Argument(
            help="Recipes, FILE or NAME=FILE, and sweeps (recipes/sweeps/ccsd-table3.toml); or a ranking, alone "
            "(recipes/sweeps/ranking-3mm.toml)."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of cases with references, or a manifest.csv.")],
    output: Output = Path("benchmark"),
    split: Annotated[Path | None, typer.Option(help="Split file with train, val and test.")] = None,
    protocol: Annotated[
        str,
        typer.Option(help="Published lists of cases, instead of a split: brats2018-2 (docs/benchmark.md)."),
    ] = "",
    lists: Annotated[
        Path | None, typer.Option(help="With --protocol: the folder that holds the lists; else the data's folder.")
    ] = None,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Cross-validate by person: over all cases, or a split's train and val."),
    ] = 0,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Train each so many times, with the seeds 1, 2, ...; once when not given.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="For each training: 2000steps, 4000crops, or 30min (converted into steps by a measurement)."),
    ] = None,
    account: Annotated[
        bool, typer.Option("--account", help="Also count what each training spends; a ranking always does.")
    ] = False,
    until_fold: Annotated[
        int, typer.Option(min=0, help="Stop after so many folds and compare; a later call goes on. 0: all.")
    ] = 0,
    ranked: Annotated[
        Path | None, typer.Option(help="Benchmark whose best enter a ranking that says how many ('first').")
    ] = None,
    common: Annotated[
        Path | None, typer.Option(help="A recipe: every training takes its preparation, augmentation and validation.")
    ] = None,
    base: Annotated[Path | None, typer.Option(help="The recipe that sweeps vary, instead of their own.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, for all of them.")] = None,
    missing: Annotated[
        Path | None, typer.Option(help="Manifest of what each training case keeps (lacunet missing).")
    ] = None,
    subsets: Annotated[str, typer.Option(help="What is scored: all, or names such as t1c+t2f,t2f.")] = "all",
    policy: Annotated[str, typer.Option(help="What empty masks score (docs/metrics.md).")] = "brats",
    postprocess: Rules = None,
    baseline: Annotated[str, typer.Option(help="What the others are compared with; else the first.")] = "",
    published: Annotated[
        list[str] | None, typer.Option(help="A published table or data set to show beside; may be repeated.")
    ] = None,
    tumour_free: TumourFree = False,
    cohort: Cohorts = None,
    labels: Labels = None,
    on: On = "here",
    device: Devices = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    method_file: MethodFile = None,
) -> None:
    """Train methods under one protocol, score each once, compare. A second call continues where the first stopped."""
    from dataclasses import replace

    from lacunet.benchmark.benchmark import benchmark as run_benchmark
    from lacunet.benchmark.budget import Budget, read_budget
    from lacunet.benchmark.plan import BenchmarkSettings, notes_on
    from lacunet.benchmark.ranking_file import find_ranking, first_entrants, ranked_entrants
    from lacunet.benchmark.rates import rates_within
    from lacunet.benchmark.sweep import entrants_of
    from lacunet.crew.over_cores import over_cores
    from lacunet.data.labelled import labelled
    from lacunet.data.split import PARTS
    from lacunet.evaluation.cohorts import require_cohorts
    from lacunet.evaluation.metrics import get_policy
    from lacunet.prediction.postprocess import rules_named

    ranking = find_ranking(recipes)
    _require_ranking(ranking is not None, ranked, base, common)
    rates: tuple[float, ...] = ()
    rates_budget, seeded = "", 0
    if ranking is None:
        entrants = entrants_of(recipes, changes or [], base, common)
    else:
        path, file = ranking
        entrants = first_entrants(ranked_entrants(path, file, changes or []), file, ranked)
        rates, rates_budget, seeded, account = file.learning_rates, file.rates_budget, file.seeded, True
        seeds, budget, baseline = seeds or file.seeds, budget or file.budget, baseline or file.baseline
        folds = folds or (0 if protocol else file.folds)
    _require_one_way(protocol, lists, split, folds)
    crew = crew_for(on, device)
    _require_missing(entrants, missing)
    task = get_task(entrants[0].recipe.task)
    settings = BenchmarkSettings(
        data=_data_words(data, split, folds, protocol),
        seeds=tuple(range(1, (seeds or 1) + 1)),
        budget=read_budget(budget) if budget else Budget(),
        subsets=task.subsets_named(subsets.split(",")),
        policy=get_policy(policy),
        rules=rules_named(postprocess) or (),
        baseline=baseline,
        published=tuple(published or ()),
        missing=_file_words(missing),
        method_file=method_file,
        device=first_device(on, device),
        precision=precision,
        window=window,
        tumour_free=tumour_free,
        cohorts=tuple(cohort or ()),
        account=account,
        seeded=seeded,
        until=until_fold,
    )
    if protocol:
        whole = [_published_part(data, protocol, PARTS, lists, labels, task)]
    else:
        whole = _parts(labelled(data, task, labels, over_cores), split, folds)
    if until_fold > len(whole):
        raise UsageError(f"--until-fold {until_fold}: there are {len(whole)} folds; give a smaller number")
    require_cohorts([files.name for part in whole for files in part.test], settings.cohorts)
    parts = _without_lost(whole, missing, task)
    if rates:
        inner = rates_within(rates, whole[0], read_budget(rates_budget) if rates_budget else None)
        settings = replace(settings, rates=replace(inner, part=_without_lost([inner.part], missing, task)[0]))
    require_writable(output)
    for words in notes_on(entrants):
        say(f"note: {words}")
    with progress() as bar:
        done = run_benchmark(entrants, parts, output, settings, bar, crew)
    if done.comparison is not None:
        print_comparison(done.comparison)
        say()
        say(f"page: {output / 'compare.html'}, protocol and tables: {output / 'benchmark.md'}")
    exit_with(done.problems)


def reproduce(
    table: Annotated[str, typer.Argument(help="A published table (ccsd-table1), or the file of a sweep.")],
    data: Annotated[Path, typer.Option(help="Folder with all cases of the data set, with references.")],
    output: Output = Path("reproduced"),
    lists: Annotated[
        Path | None, typer.Option(help="Folder with the published lists of cases, or a split; else the data's folder.")
    ] = None,
    runs: Annotated[
        list[str] | None, typer.Option("--run", help="A trained run instead of training: RUN, or ROW=RUN; repeatable.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train each row so many times, with the seeds 1, 2, ...")] = 1,
    labels: Labels = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
) -> None:
    """A published table: trained and scored by its protocol, and shown beside its numbers where all of that matches."""
    from dataclasses import replace

    from lacunet.benchmark.plan import BenchmarkSettings
    from lacunet.benchmark.reproduce import reproduce as run_reproduction
    from lacunet.benchmark.reproduce import with_incomplete_cases
    from lacunet.benchmark.reproduction_page import reproduction
    from lacunet.benchmark.target import find_target
    from lacunet.comparison.published.lists import known_lists
    from lacunet.data.split import PARTS
    from lacunet.files import write_text

    target = find_target(table, known_lists())
    given = _given(runs or [], list(target.sweep.rows))
    task = get_task("glioma")
    part = _published_part(data, target.lists.name, ("test",) if given else PARTS, lists, labels, task)
    require_writable(output)
    settings = BenchmarkSettings(
        data=f"{target.lists.dataset}, lists {target.lists.name}",
        seeds=tuple(range(1, seeds + 1)),
        device=device,
        precision=precision,
        window=window,
    )
    part, missing = (part, "") if given else with_incomplete_cases(part, target.sweep.complete, task, output)
    with progress() as bar:
        rows, problems = run_reproduction(target, part, output, replace(settings, missing=missing), given or None, bar)
    if rows:
        page = reproduction(target, rows)
        write_text(output / "table.md", page)
        say_at_length(page)
    exit_with(problems)
    if any(row.refusals for row in rows):
        raise typer.Exit(1)


def _given(runs: list[str], rows: list[str]) -> dict[str, Path]:
    """`--run RUN` for a table of one row, `--run ROW=RUN` for any; a RUN may have an equals sign in its name."""
    from lacunet.errors import nearest

    found: dict[str, Path] = {}
    for word in runs:
        row, equals, path = word.partition("=")
        if row not in rows and (not equals or Path(word).exists()):
            if len(rows) > 1:
                raise UsageError(f"--run {word}: name its row, --run 'ROW={word}'; rows: {', '.join(rows)}")
            row, path = rows[0], word
        if row not in rows:
            raise UsageError(f"--run {word}: no row '{row}'{nearest(row, rows)}; rows: {', '.join(rows)}")
        if row in found:
            raise UsageError(f"--run {word}: '{row}' is given already")
        found[row] = Path(path)
    return found


def _require_ranking(given: bool, ranked: Path | None, base: Path | None, common: Path | None) -> None:
    """Refuse options that are for a ranking, and those that a ranking's file decides."""
    if ranked is not None and not given:
        raise UsageError("--ranked is for a ranking that says how many enter, such as recipes/sweeps/ranking-2mm.toml")
    if given and (base is not None or common is not None):
        raise UsageError("--base and --common are not for a ranking: its file says what is laid over every recipe")


def _require_missing(entrants: "list[Entrant]", missing: Path | None) -> None:
    """Refuse complete training cases where the table is of incomplete ones."""
    share = min(entrant.complete for entrant in entrants)
    if missing is None and share < 1:
        raise UsageError(
            f"in this sweep {100 * share:g} % of the training cases have every sequence; make a manifest of what the "
            f"others keep (lacunet missing DATA --split FILE:train --full {share:g} -o missing.csv) and give it: "
            "--missing missing.csv"
        )


def _require_one_way(protocol: str, lists: Path | None, split: Path | None, folds: int) -> None:
    """Refuse a split or folds beside published lists, which already name the cases."""
    if lists is not None and not protocol:
        raise UsageError(
            "--lists needs --protocol, such as --protocol brats2018-2; for your own split use --split FILE"
        )
    if protocol and (split is not None or folds):
        raise UsageError("--protocol names the cases; leave out --split and --folds")


def _published_part(
    data: Path, protocol: str, parts: Sequence[str], lists: Path | None, labels: str | None, task: Task
) -> "Split":
    """The cases of published lists, which are recognised by their content. Missing data are reported first."""
    from lacunet.benchmark.reproduce import part_of_lists
    from lacunet.comparison.published.lists import find_lists, get_lists
    from lacunet.crew.over_cores import over_cores
    from lacunet.data.find import find_cases
    from lacunet.data.labels import with_conventions

    known = get_lists(protocol)
    cases = find_cases(data, task, labels)
    names = find_lists(lists or data, known, parts)
    return part_of_lists(names, with_conventions(cases, task, labels, over_cores), data)


def _parts(cases: "list[CaseFiles]", split: Path | None, folds: int) -> "list[Split]":
    """A split's three parts, or folds of persons."""
    from lacunet.benchmark.plan import Split, parts_by_person
    from lacunet.data.labelled import part_of

    if folds == 1 or (split is None and not folds):
        raise UsageError("name the cases for training and for scoring: --split FILE, --folds 4, or --protocol LISTS")
    if split is None:
        return parts_by_person(cases, folds)
    train, val = part_of(cases, split, "train"), part_of(cases, split, "val")
    if folds:
        return parts_by_person([*train, *val], folds)
    return [Split("", train, val, part_of(cases, split, "test"))]


def _without_lost(parts: "list[Split]", missing: Path | None, task: Task) -> "list[Split]":
    """Training cases as the manifest leaves them."""
    from dataclasses import replace

    from lacunet.data.missing import apply_missing, read_missing

    if missing is None:
        return parts
    manifest = read_missing(missing, task)
    return [replace(part, train=apply_missing(part.train, manifest)) for part in parts]


def _data_words(data: Path, split: Path | None, folds: int, protocol: str) -> str:
    words = data.resolve().name
    if protocol:
        return f"{words}, lists {protocol}"
    if folds:
        return f"{words}, {'train and val, ' if split else ''}{folds} folds"
    return f"{words}, test"


def _file_words(path: Path | None) -> str:
    """A file's name and the hash of its content."""
    import hashlib

    if path is None or not path.is_file():
        return ""
    return f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
