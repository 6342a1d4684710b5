"""Evaluations side by side, written into a folder as a table and a page.

Tests, intervals and what may be compared with what: docs/compare.md. No torch here.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lacunet.comparison.comparison import CompareSettings, Comparison, compare_runs
from lacunet.comparison.entries import entries_of, write_entries
from lacunet.comparison.page import comparison_page
from lacunet.evaluation.results import read_runs
from lacunet.files import write_text


def compare(runs: Mapping[str, Sequence[Path]], folder: Path, settings: CompareSettings | None = None) -> Comparison:
    """Write `comparison.csv` and `compare.html` into a folder; earlier ones are replaced.

    Args:
        runs: A run's name -> the folders of its evaluations, one for each of its trainings. The first is the baseline
            unless the settings name another.
        folder: Where the results go.
        settings: What is compared with what.

    Raises:
        UsageError: there is no run, a folder is given twice, or the baseline or a published table is unknown.
        DataError: an evaluation cannot be read, or cannot be compared with the others.
        OutputError: the folder cannot be written.
    """
    comparison = compare_runs(read_runs(runs), settings or CompareSettings())
    page = comparison_page(comparison, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    write_entries(folder / "comparison.csv", entries_of(comparison))
    write_text(folder / "compare.html", page)
    return comparison
