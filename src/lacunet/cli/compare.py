"""Evaluations side by side: `lacunet compare`."""

from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.options import Output
from lacunet.cli.terminal import print_comparison, say


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(help="NAME=DIR or DIR: evaluations, or runs that hold one. A name given again: another seed."),
    ],
    output: Output = Path("comparison"),
    baseline: Annotated[str, typer.Option(help="The run that others are held against; else the first.")] = "",
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

    comparison = run_comparison(runs, output, CompareSettings(baseline, tuple(published or ())))
    if as_markdown:
        from lacunet.comparison.markdown import markdown

        say(markdown(comparison))
        return
    print_comparison(comparison)
    say(f"\npage: {output / 'compare.html'}")
