"""Evaluations side by side: one list of numbers, of which the table, the page and the terminal show each a part.

Tests, intervals and what may be compared with what: docs/compare.md. No torch here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lacunet.comparison.comparison import CompareSettings, Comparison, compare_runs
from lacunet.comparison.entries import entries_of, write_entries
from lacunet.comparison.page import comparison_page
from lacunet.evaluation.results import read_runs
from lacunet.files import write_text


def compare(words: Sequence[str], folder: Path, settings: CompareSettings | None = None) -> Comparison:
    """Write `comparison.csv` and `compare.html` into a folder; earlier ones are replaced.

    Args:
        words: `NAME=DIR` or `DIR`, as for `lacunet.evaluation.results.read_runs`.
        folder: Where the results go.
        settings: What is compared with what.

    Raises:
        UsageError: the baseline or a published table is unknown, or runs have no names that tell them apart.
        DataError: an evaluation cannot be read, or cannot be compared with the others.
        OutputError: the folder cannot be written.
    """
    comparison = compare_runs(read_runs(words), settings or CompareSettings())
    page = comparison_page(comparison, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    write_entries(folder / "comparison.csv", entries_of(comparison))
    write_text(folder / "compare.html", page)
    return comparison
