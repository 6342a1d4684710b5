"""A reproduced table as markdown: ours, and the published column where the two can be compared."""

from collections.abc import Sequence

from lacunet.benchmark.reproduce import Reproduced
from lacunet.benchmark.target import Target
from lacunet.comparison.markdown import NOTHING, escaped, markdown_table
from lacunet.comparison.published.tables import PublishedScore, PublishedTable
from lacunet.task import Task


def reproduction(target: Target, rows: Sequence[Reproduced]) -> str:
    """The whole page."""
    task = rows[0].evaluations[0].task
    parts = [f"# {escaped(target.sweep.title)}", _protocol(target), *_assumed(target)]
    parts += [_means(target, rows, task), *_held_back(target, rows, task)]
    parts += [_subsets(target, row, task) for row in rows]
    parts += [_refused(target, row) for row in rows if row.refusals]
    if target.table is not None:
        words = "Preparation, network sizes and all that the paper does not say are ours; see the method's page"
        parts += [_list([*target.table.notes, words])]
    return "\n\n".join(parts) + "\n"


def _protocol(target: Target) -> str:
    sweep, parts = target.sweep, target.lists.parts
    source = "no published numbers" if target.table is None else f"{target.table.source} ({target.table.url})"
    counts = "/".join(str(parts[part].cases) for part in ("train", "val", "test"))
    lines = [
        f"{target.lists.dataset}, lists {target.lists.name} ({counts}), recipe `{escaped(sweep.recipe)}`.",
        f"Policy `{sweep.policy}`; post-processing {', '.join(sweep.postprocess) or 'none'}.",
        f"{100 * sweep.complete:g} % of the training cases complete. Published: {escaped(source)}.",
    ]
    return "\n".join(lines)


def _assumed(target: Target) -> list[str]:
    """What the source does not state and the table assumes."""
    if not target.assumed:
        return []
    return ["The source does not state, and this table assumes:", _list(target.assumed)]


def _means(target: Target, rows: Sequence[Reproduced], task: Task) -> str:
    """Means over the scored subsets: ours, ours with the other post-processing, theirs; HD95 where they print it."""
    other = ", ".join(target.other_rules) or "no post-processing"
    distances = target.table is not None and any(score.hd95 is not None for score in target.table.scores)
    theirs = _theirs(target)
    head = ["", "region", "Dice here", f"with {other}", theirs, "here - published"]
    head += ["HD95 here (mm)", theirs] if distances else []
    lines = []
    for row in rows:
        ours, switched, scored = row.means, row.other_means, _scored(row, task)
        for region in task.regions:
            score = _score(target.table, row, region)
            here, published = ours["all", region, "dice"], score.mean_over(scored) if score else None
            difference = None if published is None or not target.counted else here - published
            cells = [f"{here:.4f}", _cell(switched.get(("all", region, "dice")), 4), _cell(published, 4)]
            cells += [NOTHING if difference is None else f"{difference:+.4f}"]
            if distances:
                whole = score is not None and len(scored) == len(task.subsets)
                cells += [
                    _cell(ours.get(("all", region, "hd95")), 1),
                    _cell(score.hd95 if score and whole else None, 1),
                ]
            lines.append([escaped(row.name), region.upper(), *cells])
    return markdown_table(head, lines)


def _held_back(target: Target, rows: Sequence[Reproduced], task: Task) -> list[str]:
    """Why a published mean or a difference is missing from a row that can be compared."""
    table, beside = target.table, [row for row in rows if not row.refusals]
    if table is None or not beside:
        return []
    found = []
    if not target.counted:
        found.append("No difference is shown: the source does not even state how many cases it scored")
    few = min(len(_scored(row, task)) for row in beside)
    if few < len(task.subsets):
        means_alone = not any(score.subsets for score in table.scores)
        found.append(
            f"The source prints means over all {len(task.subsets)} subsets alone; here {few} were scored"
            if means_alone
            else f"Means, there as here, are over the {few} subsets that were scored"
        )
    return [_list(found)] if found else []


def _subsets(target: Target, row: Reproduced, task: Task) -> str:
    """Every subset of one row; the published cells where there are any."""
    ours = row.means
    scores = {region: _score(target.table, row, region) for region in task.regions}
    beside = any(score is not None and score.subsets for score in scores.values())
    titles = [[region.upper(), *([_theirs(target)] if beside else [])] for region in task.regions]
    lines = []
    for name in _scored(row, task):
        cells = []
        for region, score in scores.items():
            cells.append(_cell(ours.get((name, region, "dice")), 4))
            cells += [_cell(score.subsets.get(name) if score else None, 4)] if beside else []
        lines.append([task.subset_title(task.subset(name)), *cells])
    return markdown_table([f"{escaped(row.name)}: Dice", *(cell for pair in titles for cell in pair)], lines)


def _scored(row: Reproduced, task: Task) -> list[str]:
    """The subsets that were scored, in the task's order."""
    there = {subset for subset, _, _ in row.means}
    return [name for name in map(task.subset_name, task.subsets) if name in there]


def _theirs(target: Target) -> str:
    """The title of the published column."""
    return "published (protocol assumed)" if target.assumed else "published"


def _score(table: PublishedTable | None, row: Reproduced, region: str) -> PublishedScore | None:
    """The published score; None where it cannot be compared."""
    return None if table is None or row.refusals else table.score(row.name, region)


def _refused(target: Target, row: Reproduced) -> str:
    words = "is not what this table asks for" if target.table is None else "does not stand beside the published column"
    return f"**{escaped(row.name)} {words}:**\n\n{_list(row.refusals)}"


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"* {escaped(words)}." for words in sentences)


def _cell(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
