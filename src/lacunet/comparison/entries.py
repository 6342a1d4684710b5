"""The numbers of a comparison as rows of `comparison.csv`. No torch here."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from lacunet.comparison.align import Aligned
from lacunet.comparison.comparison import Comparison
from lacunet.comparison.numbers import Counts, Number, PairedTest, RunScores, SubsetMeans
from lacunet.comparison.published.tables import PublishedTable
from lacunet.files import whole_file

HERE, ALL, WITH, WITHOUT, ONE = "here", "all", "with-reference", "without-reference", "one"


@dataclass(frozen=True)
class Entry:
    """One number, and what it is. A row of `comparison.csv`.

    Attributes:
        group: `here`, or the published table.
        method: A run's name, or a method as the published table calls it.
        training: Which of several trainings, from 1; None for their mean or where there is one.
        against: The baseline where two runs are compared, else empty.
        region: `wt`, `tc`, `et`, or `mean` over the regions.
        subsets: `all` (mean over the subsets), `2 of 4` (over those of a size), or one subset's name.
        cases: `all`, `with-reference` and `without-reference` (whose reference has the region, or not), or `one`.
        case: The case's name where `cases` is `one`.
        measure: What the value is: docs/compare.md lists them.
        value: Dice 0 to 1, HD95 in mm, volumes in ml; None where there is none.
        low: Lower end of the interval of resampled cases, where one was computed.
        high: Its upper end.
        n: How many cases the value rests on (of `false_share` and `false_ml`: how many segmentations).
    """

    group: str
    method: str
    training: int | None
    against: str
    region: str
    subsets: str
    cases: str
    case: str
    measure: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


COLUMNS = tuple(field.name for field in fields(Entry))


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Write `comparison.csv` whole. None is an empty cell; numbers are written so that reading gives the same ones."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(entry) for entry in entries)


def entries_of(comparison: Comparison) -> list[Entry]:
    """Every number: of the runs, of their trainings, of the tests, of the published tables."""
    shared, cases = comparison.shared, len(comparison.shared.cases)
    return [
        *(entry for name in comparison.names for entry in _of_run(shared, name, comparison.scores[name])),
        *(entry for name in comparison.names for entry in _of_trainings(name, comparison.scores[name])),
        *(
            entry
            for name, tests in comparison.tests.items()
            for region, test in tests.items()
            for entry in _of_test(shared, name, comparison.baseline, region, test)
        ),
        *(
            Entry(HERE, name, None, comparison.baseline, region, ALL, ALL, "", measure, value, n=cases)
            for name, tests in comparison.tests.items()
            for region, test in tests.items()
            for measure, value in (("p", test.p), ("p_holm", test.p_holm), ("p_smallest", test.p_smallest))
        ),
        *(entry for table in comparison.tables for entry in _of_table(shared, table)),
    ]


def _of_run(shared: Aligned, name: str, scores: RunScores) -> Iterator[Entry]:
    """Region by region: means over all cases, over those with the region, false findings, each case."""
    for region, dice in scores.dice.items():
        yield from _means(shared, name, region, ALL, "dice", dice)
        if region in scores.hd95:
            yield from _means(shared, name, region, ALL, "hd95", scores.hd95[region])
        if region in scores.dice_with:
            yield from _means(shared, name, region, WITH, "dice", scores.dice_with[region])
            yield from _means(shared, name, region, WITH, "hd95", scores.hd95_with[region])
        if region in scores.false:
            false = scores.false[region]
            for measure, value in (("false_share", false.found / false.of), ("false_ml", false.ml)):
                yield Entry(HERE, name, None, "", region, ALL, WITHOUT, "", measure, value, n=false.of)
        for case, value in scores.by_case[region].items():
            yield Entry(HERE, name, None, "", region, ALL, ONE, case, "dice", value, n=1)


def _means(
    shared: Aligned, name: str, region: str, cases: str, measure: str, means: SubsetMeans, against: str = ""
) -> Iterator[Entry]:
    """The mean over all subsets, over those of each size, and of each; AURC where there is one."""

    def entry(subsets: str, measure: str, number: Number) -> Entry:
        where = (HERE, name, None, against, region, subsets, cases, "")
        return Entry(*where, measure, number.value, number.low, number.high, number.n)

    yield entry(ALL, measure, means.mean)
    for size, number in means.by_size.items():
        yield entry(shared.size_title(size), measure, number)
    for subset, number in means.by_subset.items():
        yield entry(subset, measure, number)
    if means.aurc is not None:
        area = means.aurc.value
        yield entry(ALL, "aurc", means.aurc)
        normalised = None if area is None else area / (len(means.by_size) - 1)
        yield entry(ALL, "aurc_normalised", replace(means.aurc, value=normalised))


def _of_trainings(name: str, scores: RunScores) -> Iterator[Entry]:
    """Mean Dice of each of several trainings."""
    for training, numbers in enumerate(zip(*scores.trainings.values(), strict=True), start=1):
        for region, number in zip(scores.trainings, numbers, strict=True):
            yield Entry(HERE, name, training, "", region, ALL, ALL, "", "dice", number.value, n=number.n)


def _of_test(shared: Aligned, name: str, baseline: str, region: str, test: PairedTest) -> Iterator[Entry]:
    """Differences, and how many cases and subsets are better, equal and worse."""
    yield from _means(shared, name, region, ALL, "difference", test.difference, baseline)
    if test.difference_with is not None:
        yield from _means(shared, name, region, WITH, "difference", test.difference_with, baseline)
    of_cases, of_subsets = ("wins", "ties", "losses"), ("subsets_ahead", "subsets_equal", "subsets_behind")
    counted: list[tuple[str, tuple[str, str, str], Counts]] = [
        (ALL, of_cases, test.cases),
        *((subset, of_cases, counts) for subset, counts in test.cases_by_subset.items()),
        (ALL, of_subsets, test.subsets),
    ]
    for subsets, measures, counts in counted:
        for measure, count in zip(measures, astuple(counts), strict=True):
            where = (HERE, name, None, baseline, region, subsets, ALL, "")
            yield Entry(*where, measure, float(count), n=len(shared.cases))


def _of_table(shared: Aligned, table: PublishedTable) -> Iterator[Entry]:
    """A published table in the same form: means of its cells, and the printed mean."""
    most = len(shared.task.modalities)
    for score in table.scores:
        where = (table.name, score.method, None, "", score.region)
        values: list[tuple[str, str, float | None]] = [
            (ALL, "dice", score.mean),
            (ALL, "dice_printed", score.printed_mean),
            *((shared.size_title(size), "dice", value) for size, value in score.by_size.items()),
            *((subset, "dice", value) for subset, value in score.subsets.items()),
            (ALL, "aurc", score.aurc),
            (ALL, "aurc_normalised", None if score.aurc is None else score.aurc / (most - 1)),
            (ALL, "hd95", score.hd95),
        ]
        for subsets, measure, value in values:
            if value is not None:
                yield Entry(*where, subsets, ALL, "", measure, value, n=table.test_cases)
