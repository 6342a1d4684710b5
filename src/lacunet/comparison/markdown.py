"""A comparison as markdown tables, for a page of results: `lacunet compare ... --markdown`."""

from collections.abc import Sequence
from html import escape

from lacunet.comparison.comparison import Comparison
from lacunet.comparison.numbers import MEAN, Number, SubsetMeans
from lacunet.comparison.published.tables import PublishedScore, PublishedTable
from lacunet.errors import visible
from lacunet.report.page import sentence

NOTHING = "–"


def markdown(comparison: Comparison) -> str:
    """All subsets of a single run; means of several side by side, tests and cases below; published tables last."""
    parts = _single(comparison) if len(comparison.names) == 1 else _several(comparison)
    parts += _list(comparison.warnings)
    return "\n\n".join([*parts, *(part for table in comparison.tables for part in _published(comparison, table))])


def _single(comparison: Comparison) -> list[str]:
    """Every subset, the means by size, and the mean of all."""
    (name,) = comparison.names
    task = comparison.shared.task
    regions = [region.upper() for region in task.regions]
    stars = [f"{region.upper()}*" for region in comparison.shared.divided]
    head = ["sequences", f"Dice {regions[0]}", *regions[1:], *stars, f"HD95 {regions[0]} (mm)", *regions[1:]]
    subsets, scores = comparison.shared.subsets, comparison.scores[name]
    labels = [task.subset_title(task.subset(subset)) for subset in subsets]
    labels += [f"*mean of subsets of {size}*" for size in comparison.sizes]
    labels += [f"**mean of the {len(subsets)} subsets**"]
    dice = [*(scores.dice[region] for region in task.regions), *scores.dice_with.values()]
    columns = [*map(_column, dice), *(_column(means, 1) for means in scores.hd95.values())]
    rows = list(zip(labels, *columns, strict=True))
    words = [
        f"{region.upper()}*: of the {int(comparison.shared.with_reference(region).sum())} cases that have any."
        for region in comparison.shared.divided
    ]
    return [markdown_table(head, rows), " ".join([_protocol(comparison), *words]), *_empty(comparison)]


def _several(comparison: Comparison) -> list[str]:
    parts = [_side_by_side(comparison), _protocol(comparison), *_empty(comparison)]
    return [*parts, _tests(comparison), _family(comparison), _cases(comparison)]


def _side_by_side(comparison: Comparison) -> str:
    """Dice by the number of sequences, the mean of all, AURC and HD95 of each run and region."""
    shared = comparison.shared
    sizes = map(shared.size_title, comparison.sizes)
    head = ["", "region", *sizes, f"mean of {len(shared.subsets)}", "AURC", "HD95 (mm)"]
    rows = []
    for name, scores in comparison.scores.items():
        for region in shared.task.regions:
            dice = scores.dice[region]
            cells = [*map(_number, dice.by_size.values()), f"**{_number(dice.mean)}**", _number(dice.aurc)]
            rows.append([escaped(name), region.upper(), *cells, _distance(comparison, name, region)])
    return markdown_table(head, rows)


def _tests(comparison: Comparison) -> str:
    """A row per test: the difference, its interval, cases better, equal and worse, p as it is and corrected."""
    head = ["", "region", "difference", "95 % interval", "cases better, equal, worse", "p", "corrected", "least p"]
    rows = []
    for name, tests in comparison.tests.items():
        for region, test in tests.items():
            mean, cases = test.difference.mean, test.cases
            label = "mean" if region == MEAN else region.upper()
            cells = [f"{mean.value or 0.0:+.3f}", f"{mean.low:+.3f} to {mean.high:+.3f}"]
            cells += [f"{cases.better}, {cases.equal}, {cases.worse}"]
            cells += [f"{test.p:.2f}", f"{test.p_holm:.2f}", f"{test.p_smallest:.3f}"]
            rows.append([escaped(name), label, *cells])
    return markdown_table(head, rows)


def _family(comparison: Comparison) -> str:
    """Which tests were made, and how p was corrected."""
    cases, resamples = len(comparison.shared.cases), comparison.settings.resampling.resamples
    return (
        f"Differences of mean Dice to {escaped(comparison.baseline)}. Wilcoxon signed-rank over {cases} cases, "
        f"two-sided; Holm's correction over all {comparison.family} tests of the table; intervals are percentiles of "
        f"{resamples:,} resamples of the cases."
    )


def _cases(comparison: Comparison) -> str:
    """Mean Dice of each case over subsets and regions."""
    rows = []
    for case in comparison.shared.cases:
        values = {name: scores.by_case[MEAN][case] for name, scores in comparison.scores.items()}
        gains = [values[name] - values[comparison.baseline] for name in comparison.others]
        rows.append(
            [escaped(case), *(f"{value:.3f}" for value in values.values()), *(f"{gain:+.3f}" for gain in gains)]
        )
    head = ["case", *map(escaped, comparison.names), *(f"{escaped(name)} better by" for name in comparison.others)]
    return markdown_table(head, rows)


def _empty(comparison: Comparison) -> list[str]:
    """A table for each region that some references lack: Dice without these cases, and false segmentations in them."""
    parts = []
    for region in comparison.shared.divided:
        rows = []
        for name, scores in comparison.scores.items():
            dice, false = (scores.dice[region].mean, scores.dice_with[region].mean), scores.false[region]
            rows.append([escaped(name), *map(_number, dice), f"{false.found} of {false.of}", f"{false.ml:.1f}"])
        present, total = int(comparison.shared.with_reference(region).sum()), len(comparison.shared.cases)
        title = region.upper()
        head = [
            "",
            f"Dice {title}, {total} cases",
            f"the {present} with {title}",
            "false segmentations of the others",
            "ml",
        ]
        parts.append(markdown_table(head, rows))
    return parts


def _published(comparison: Comparison, table: PublishedTable) -> list[str]:
    """A published table, why it cannot be compared with ours, and notes on it."""
    shared, sizes = comparison.shared, comparison.sizes
    rows = [
        [escaped(method), region.upper(), *_published_cells(table.score(method, region), sizes)]
        for method in table.methods
        for region in shared.task.regions
    ]
    head = [table.name, "region", *map(shared.size_title, sizes), "mean of 15", "AURC", "HD95 (mm)"]
    reasons = escaped("; ".join(comparison.apart(table)))
    words = f"{table.source} ({table.url}). {sentence(table.protocol)}."
    words += f" **Not comparable with ours**: {reasons}." if reasons else ""
    return [markdown_table(head, rows), words, *_list(table.notes)]


def _published_cells(score: PublishedScore | None, sizes: Sequence[int]) -> list[str]:
    """Dice by the number of sequences, the mean of all, AURC and HD95 of one method and region."""
    if score is None:
        return [*(NOTHING for _ in sizes), f"**{NOTHING}**", NOTHING, NOTHING]
    by_size = [_digits(score.by_size.get(size)) for size in sizes]
    return [*by_size, f"**{_digits(score.mean)}**", _digits(score.aurc), _digits(score.hd95, 1)]


def _list(sentences: Sequence[str]) -> list[str]:
    """One part with a line for each sentence; empty where there are no sentences."""
    return ["\n".join(f"* {escaped(words)}." for words in sentences)] if sentences else []


def _protocol(comparison: Comparison) -> str:
    """The number of cases and the policy; for a single run also its AURC."""
    shared = comparison.shared
    words = f"{len(shared.cases)} cases, policy `{shared.policy.name}`."
    dice = comparison.scores[comparison.names[0]].dice
    if len(comparison.names) > 1 or dice[MEAN].aurc is None:
        return words
    areas = ", ".join(f"{region.upper()} {_number(dice[region].aurc)}" for region in shared.task.regions)
    return f"AURC (Dice 0 to 1, so at most {len(shared.task.modalities) - 1}): {areas}. {words}"


def _column(means: SubsetMeans, digits: int = 3) -> list[str]:
    """Each subset, then each number of sequences, then the mean of all."""
    return [_number(number, digits) for number in (*means.by_subset.values(), *means.by_size.values(), means.mean)]


def _distance(comparison: Comparison, name: str, region: str) -> str:
    """Mean HD95, and the number of masks where it is not the same for all runs."""
    masks = comparison.masks_with_hd95(name, region)
    words = _number(comparison.scores[name].hd95[region].mean, 1)
    return words if masks is None else f"{words} ({masks} masks)"


def _number(number: Number | None, digits: int = 3) -> str:
    return _digits(None if number is None else number.value, digits)


def _digits(value: float | None, digits: int = 3) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table; an empty title is written as `| |`."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0].replace("|  |", "| |"), "|" + "---|" * len(head), *lines[1:]])


def escaped(text: str) -> str:
    """Text from outside, escaped so that it cannot end a cell or a line."""
    return escape(visible(" ".join(text.split())), quote=False).replace("\\", "\\\\").replace("|", "\\|")
