"""`results.csv`: a row for each case of a cohort. docs/report.md says what the columns mean."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from lacunet.cohort.cohort import Cohort, CohortCase
from lacunet.cohort.result import RegionResult, Result
from lacunet.errors import visible
from lacunet.files import whole_file

BETWEEN = " | "
"""Between the sentences of one cell."""

OF_CASE = ("case", "state", "failure", "subset", "acquired", "cautions", "doubts", "warnings")
OF_REGION = (
    "volume_ml", "volume_low_ml", "volume_high_ml", "evidence", "expected_dice", "dice_low", "dice_high", "dice",
    "foci", "side", "midline_mm", "longest_mm", "across_mm",
)  # fmt: skip
"""Each region of the task has these, after its name: `wt_volume_ml`."""
OF_RUN = ("range_coverage", "mask", "mask_sha256", "model", "weights_sha256", "page", "written", "seconds")

_FORMULA = re.compile(r"""((?:^|[,;\t])[\s"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])""")
"""Where a spreadsheet begins to read a formula: at the start of a cell, or behind what it takes for the end of one."""

Cell = str | float | int | None


def columns_of(regions: Sequence[str]) -> list[str]:
    """The names of the columns, in their order."""
    return [*OF_CASE, *(f"{region}_{name}" for region in regions for name in OF_REGION), *OF_RUN]


def write_results(path: Path, cohort: Cohort) -> None:
    """Write the table whole, in UTF-8 and as RFC 4180 has it.

    Args:
        path: The file. What the table names lies below `cohort.folder`, wherever the table itself is.
        cohort: The cases.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(columns_of(cohort.regions))
        writer.writerows([safe(cell) for cell in _row(cohort, case)] for case in cohort.cases)


def safe(cell: Cell) -> str:
    """A cell as text in one line, of which no spreadsheet makes a formula: `=1+1` becomes `'=1+1`."""
    if not isinstance(cell, str):
        return "" if cell is None else str(cell)
    return _FORMULA.sub(r"\1'", visible(cell))


def _row(cohort: Cohort, case: CohortCase) -> list[Cell]:
    result = case.result
    state = "done" if result else "failed"
    if result is None:
        return [case.name, state, case.failure, *[None] * (len(columns_of(cohort.regions)) - 3)]
    regions = [cell for region in cohort.regions for cell in _of_region(result.regions.get(region))]
    return [
        case.name,
        state,
        case.failure,
        result.subset,
        result.acquired,
        BETWEEN.join(result.cautions),
        BETWEEN.join(result.doubts),
        BETWEEN.join(result.warnings),
        *regions,
        *_of_run(cohort.folder, result),
    ]


def _of_region(region: RegionResult | None) -> list[Cell]:
    if region is None:
        return [None] * len(OF_REGION)
    return [
        region.volume_ml,
        *(region.volume_range_ml or (None, None)),
        region.evidence,
        region.expected_dice,
        *(region.dice_range or (None, None)),
        region.dice,
        region.foci,
        region.side,
        region.midline_mm,
        region.longest_mm,
        region.across_mm,
    ]


def _of_run(folder: Path, result: Result) -> list[Cell]:
    return [
        result.coverage,
        result.mask.relative_to(folder).as_posix(),
        result.mask_sha256,
        result.model,
        result.weights_sha256,
        result.page.relative_to(folder).as_posix() if result.page else None,
        result.written.isoformat(timespec="seconds"),
        result.seconds,
    ]
