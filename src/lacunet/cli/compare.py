"""Evaluations side by side: `lacunet compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.options import Output
from lacunet.cli.terminal import print_comparison, say, say_at_length
from lacunet.errors import UsageError


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(help="NAME=DIR or DIR: evaluations, or runs that hold one. The same name again: another seed."),
    ],
    output: Output = Path("comparison"),
    baseline: Annotated[str, typer.Option(help="The run that others are compared with; else the first.")] = "",
    published: Annotated[
        list[str] | None,
        typer.Option(
            help="A published table (brats2018-ccsd) or data set (brats2018) to show beside; may be repeated."
        ),
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print markdown tables instead of the summary.")
    ] = False,
) -> None:
    """Evaluations side by side: a page and a table, tests over cases, published numbers."""
    from lacunet.comparison.compare import compare as run_comparison
    from lacunet.comparison.comparison import CompareSettings

    comparison = run_comparison(named_runs(runs), output, CompareSettings(baseline, tuple(published or ())))
    if as_markdown:
        from lacunet.comparison.markdown import markdown

        say_at_length(markdown(comparison))
        return
    print_comparison(comparison)
    say()
    say(f"page: {output / 'compare.html'}")


def named_runs(words: Sequence[str]) -> dict[str, list[Path]]:
    """Runs from `NAME=DIR` or `DIR`, in their order; a name that is given again adds a training to its run.

    A `DIR` without a name gets the name of the run in which it lies, else of the folder itself. Where two runs would
    have the same name, more of the path is taken.

    Returns:
        Name -> the folders of its evaluations.

    Raises:
        UsageError: one folder is given twice, or two runs would have the same name.
        DataError: a folder holds no evaluation, or several.
    """
    from lacunet.evaluation.results import evaluation_folder, refuse_twice

    given = [_named(word) for word in words]
    folders = [evaluation_folder(path) for _, path in given]
    refuse_twice(folders)
    runs: dict[str, list[Path]] = {}
    for name, folder in zip(_names([name for name, _ in given], folders), folders, strict=True):
        runs.setdefault(name, []).append(folder)
    return runs


def _named(word: str) -> tuple[str, Path]:
    """`NAME=DIR`; a folder that has a `=` in its own name is a folder."""
    name, equals, rest = word.partition("=")
    return ("", Path(word)) if not equals or Path(word).is_dir() else (name.strip(), Path(rest))


def _names(given: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """The names as given; for an empty one the run's name, or that and the evaluation's, or the whole path."""
    for name_of in (_run_name, lambda folder: f"{_run_name(folder)}/{folder.resolve().name}", str):
        names = [name or name_of(folder) for name, folder in zip(given, folders, strict=True)]
        made = [name for name, own in zip(names, given, strict=True) if not own]
        if all(names.count(name) == 1 for name in made):
            return names
    raise UsageError("runs cannot be told apart by their folders; give each a name: NAME=FOLDER")


def _run_name(folder: Path) -> str:
    """The name of the run in which the evaluation lies, else of the evaluation's own folder."""
    path = folder.resolve()
    return path.parent.name if (path.parent / "recipe.toml").is_file() else path.name
