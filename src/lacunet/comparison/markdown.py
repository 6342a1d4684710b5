"""A comparison as markdown tables, for a page of results: `lacunet compare ... --markdown`."""

from collections.abc import Sequence
from html import escape

from lacunet.comparison.comparison import Comparison
from lacunet.comparison.entries import ALL, HERE, MEAN, ONE, WITH, WITHOUT
from lacunet.comparison.published.tables import PublishedTable
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
    subsets = comparison.shared.subsets
    rows = [[task.subset_title(task.subset(subset)), *_scores(comparison, name, subset)] for subset in subsets]
    rows += [[f"*mean of subsets of {size[0]}*", *_scores(comparison, name, size)] for size in comparison.sizes]
    rows += [[f"**mean of the {len(subsets)} subsets**", *_scores(comparison, name, ALL)]]
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
    head = ["", "region", *comparison.sizes, f"mean of {len(comparison.shared.subsets)}", "AURC", "HD95 (mm)"]
    rows = [
        [
            plain(name),
            region.upper(),
            *(_dice(comparison, name, region, size) for size in comparison.sizes),
            f"**{_dice(comparison, name, region, ALL)}**",
            _number(comparison, name, "aurc", region),
            _distance(comparison, name, region),
        ]
        for name in comparison.names
        for region in comparison.shared.task.regions
    ]
    return markdown_table(head, rows)


def _tests(comparison: Comparison) -> str:
    """A row per test: the difference, its interval, cases won and lost, p as it is and corrected."""
    head = ["", "region", "difference", "95 % interval", "cases better, equal, worse", "p", "corrected", "least p"]
    rows = []
    for name in comparison.others:
        for region in comparison.regions:
            entry = comparison.find(name, "difference", region, against=comparison.baseline)
            assert entry is not None
            ends = f"{entry.low:+.3f} to {entry.high:+.3f}"
            numbers = [
                _number(comparison, name, measure, region, against=comparison.baseline, digits=digits)
                for measure, digits in (
                    ("wins", 0),
                    ("ties", 0),
                    ("losses", 0),
                    ("p", 2),
                    ("p_holm", 2),
                    ("p_smallest", 3),
                )
            ]
            label = "mean" if region == MEAN else region.upper()
            rows.append([plain(name), label, f"{entry.value or 0.0:+.3f}", ends, ", ".join(numbers[:3]), *numbers[3:]])
    return markdown_table(head, rows)


def _family(comparison: Comparison) -> str:
    """What was tested, and corrected for what."""
    cases, resamples = len(comparison.shared.cases), comparison.settings.resampling.resamples
    return (
        f"Differences of mean Dice to {plain(comparison.baseline)}. Wilcoxon signed-rank over {cases} cases, "
        f"two-sided; Holm's correction over all {comparison.family} tests of the table; intervals are percentiles of "
        f"{resamples:,} resamples of the cases."
    )


def _cases(comparison: Comparison) -> str:
    """Mean Dice of each case over subsets and regions."""
    rows = []
    for case in comparison.shared.cases:
        values = {}
        for name in comparison.names:
            entry = comparison.find(name, "dice", MEAN, cases=ONE, case=case)
            assert entry is not None
            values[name] = entry.value or 0.0
        gains = [values[name] - values[comparison.baseline] for name in comparison.others]
        rows.append([plain(case), *(f"{value:.3f}" for value in values.values()), *(f"{gain:+.3f}" for gain in gains)])
    head = ["case", *map(plain, comparison.names), *(f"{plain(name)} better by" for name in comparison.others)]
    return markdown_table(head, rows)


def _empty(comparison: Comparison) -> list[str]:
    """A table for each region that some references lack: Dice without these cases, and what is found in them."""
    parts = []
    for region in comparison.shared.task.regions:
        rows = []
        for name in comparison.names:
            there = comparison.find(name, "dice", region, cases=WITH)
            found, volume = (comparison.find(name, key, region, cases=WITHOUT) for key in ("false_share", "false_ml"))
            if there is None or found is None or volume is None or there.value is None or found.value is None:
                continue
            false = f"{found.value * (found.n or 0):.0f} of {found.n}"
            rows.append(
                [plain(name), _dice(comparison, name, region, ALL), f"{there.value:.3f}", false, f"{volume.value:.1f}"]
            )
        present, total = int(comparison.shared.with_reference(region).sum()), len(comparison.shared.cases)
        title = region.upper()
        head = [
            "",
            f"Dice {title}, {total} cases",
            f"the {present} with {title}",
            "false segmentations of the others",
            "ml",
        ]
        parts += [markdown_table(head, rows)] if rows else []
    return parts


def _published(comparison: Comparison, table: PublishedTable) -> list[str]:
    """A published table, why it is not to be put beside ours, and what is to be known of it."""
    name, shared = table.name, comparison.shared
    rows = [
        [
            plain(method),
            region.upper(),
            *(_dice(comparison, method, region, size, name) for size in comparison.sizes),
            f"**{_dice(comparison, method, region, ALL, name)}**",
            _number(comparison, method, "aurc", region, group=name),
            _number(comparison, method, "hd95", region, group=name, digits=1),
        ]
        for method in table.methods
        for region in shared.task.regions
    ]
    head = [name, "region", *comparison.sizes, "mean of 15", "AURC", "HD95 (mm)"]
    reasons = plain("; ".join(comparison.apart(table)))
    words = f"{table.source} ({table.url}). {sentence(table.protocol)}."
    words += f" **Not comparable with ours**: {reasons}." if reasons else ""
    return [markdown_table(head, rows), words, *_list(table.notes)]


def _list(sentences: Sequence[str]) -> list[str]:
    """A part with a line for each sentence; none where there is none."""
    return ["\n".join(f"* {plain(words)}." for words in sentences)] if sentences else []


def _protocol(comparison: Comparison) -> str:
    """How many cases, by which policy; of a single run with its AURC."""
    shared = comparison.shared
    words = f"{len(shared.cases)} cases, policy `{shared.policy.name}`."
    name = comparison.names[0]
    if len(comparison.names) > 1 or comparison.find(name, "aurc", next(iter(shared.task.regions))) is None:
        return words
    areas = ", ".join(f"{region.upper()} {_number(comparison, name, 'aurc', region)}" for region in shared.task.regions)
    return f"AURC (Dice 0 to 1, so at most {len(shared.task.modalities) - 1}): {areas}. {words}"


def _scores(comparison: Comparison, name: str, subsets: str) -> list[str]:
    """Dice of each region, over all cases and then over those that have it, and HD95."""
    regions = comparison.shared.task.regions
    dice = [_dice(comparison, name, region, subsets) for region in regions]
    dice += [
        _number(comparison, name, "dice", region, subsets=subsets, cases=WITH) for region in comparison.shared.divided
    ]
    return dice + [_number(comparison, name, "hd95", region, subsets=subsets, digits=1) for region in regions]


def _dice(comparison: Comparison, name: str, region: str, subsets: str, group: str = HERE) -> str:
    return _number(comparison, name, "dice", region, subsets=subsets, group=group)


def _distance(comparison: Comparison, name: str, region: str) -> str:
    """Mean HD95, and over how many masks where runs differ in that."""
    masks = comparison.masks_with_hd95(name, region)
    words = _number(comparison, name, "hd95", region, digits=1)
    return words if masks is None else f"{words} ({masks} masks)"


def _number(
    comparison: Comparison,
    name: str,
    measure: str,
    region: str,
    *,
    subsets: str = ALL,
    against: str = "",
    group: str = HERE,
    cases: str = ALL,
    digits: int = 3,
) -> str:
    entry = comparison.find(name, measure, region, subsets=subsets, against=against, group=group, cases=cases)
    return NOTHING if entry is None or entry.value is None else f"{entry.value:.{digits}f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table; an empty first title takes no more room than a rule."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0].replace("|  |", "| |"), "|" + "---|" * len(head), *lines[1:]])


def plain(text: str) -> str:
    """Words of others that cannot end a cell or a line."""
    return escape(" ".join(text.split()), quote=False).replace("\\", "\\\\").replace("|", "\\|")
