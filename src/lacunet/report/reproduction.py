"""A reproduced table as markdown: ours, and the published column where it may stand beside."""

from collections.abc import Sequence

from lacunet.published import PublishedScore, PublishedTable
from lacunet.report.markdown import NOTHING, markdown_table, plain
from lacunet.reproduce import Reproduced, means
from lacunet.reproducible import Target
from lacunet.task import Task


def reproduction(target: Target, rows: Sequence[Reproduced]) -> str:
    """The whole page."""
    task = rows[0].evaluations[0].task
    parts = [f"# {plain(target.sweep.title)}", _protocol(target)]
    parts += [_means(target, rows, task)]
    parts += [_subsets(target, row, task) for row in rows]
    parts += [_refused(row) for row in rows if row.refusals]
    if target.table is not None:
        words = [*(f"Not stated by the source: {one}" for one in target.assumed), *target.table.notes]
        words += ["Preparation, network sizes and all that the paper does not say are ours; see the method's page"]
        parts += ["\n".join(f"* {plain(one)}." for one in words)]
    return "\n\n".join(parts) + "\n"


def _protocol(target: Target) -> str:
    sweep, parts = target.sweep, target.lists.parts
    source = "no published numbers" if target.table is None else f"{target.table.source} ({target.table.url})"
    counts = "/".join(str(parts[part].cases) for part in ("train", "val", "test"))
    lines = [
        f"{target.lists.dataset}, lists {target.lists.name} ({counts}), recipe `{plain(sweep.recipe)}`.",
        f"Policy `{sweep.policy}`; post-processing {', '.join(sweep.postprocess) or 'none'}.",
        f"{100 * sweep.complete:g} % of the training cases complete. Published: {plain(source)}.",
    ]
    return "\n".join(lines)


def _means(target: Target, rows: Sequence[Reproduced], task: Task) -> str:
    """Means over the subsets: ours, ours with post-processing switched, theirs; HD95 where they have it."""
    other = ", ".join(target.other_rules) or "no post-processing"
    distances = target.table is not None and any(score.hd95 is not None for score in target.table.scores)
    head = ["", "region", "Dice here", f"with {other}", "published", "here - published"]
    head += ["HD95 here (mm)", "published"] if distances else []
    lines = []
    for row in rows:
        ours, switched = means(row.evaluations), means(row.others)
        for region in task.regions:
            score = _score(target.table, row, region)
            here = ours["all", region, "dice"]
            cells = [f"{here:.4f}", _cell(switched.get(("all", region, "dice")), 4)]
            cells += [_cell(score.mean if score else None, 4), f"{here - score.mean:+.4f}" if score else NOTHING]
            if distances:
                cells += [_cell(ours.get(("all", region, "hd95")), 1), _cell(score.hd95 if score else None, 1)]
            lines.append([plain(row.name), region.upper(), *cells])
    return markdown_table(head, lines)


def _subsets(target: Target, row: Reproduced, task: Task) -> str:
    """Every subset of one row; the published cells where there are any."""
    ours = means(row.evaluations)
    scored = [name for name in map(task.subset_name, task.subsets) if any(key[0] == name for key in ours)]
    scores = {region: _score(target.table, row, region) for region in task.regions}
    beside = any(score is not None and score.subsets for score in scores.values())
    titles = [[region.upper(), *(["published"] if beside else [])] for region in task.regions]
    lines = []
    for name in scored:
        cells = []
        for region, score in scores.items():
            cells.append(_cell(ours.get((name, region, "dice")), 4))
            cells += [_cell(score.subsets.get(name) if score else None, 4)] if beside else []
        lines.append([task.subset_title(task.subset(name)), *cells])
    return markdown_table([f"{plain(row.name)}: Dice", *(cell for pair in titles for cell in pair)], lines)


def _score(table: PublishedTable | None, row: Reproduced, region: str) -> PublishedScore | None:
    """The published score; None where it may not stand beside."""
    return None if table is None or row.refusals else table.score(row.name, region)


def _refused(row: Reproduced) -> str:
    reasons = "\n".join(f"* {plain(words)}." for words in row.refusals)
    return f"**{plain(row.name)} does not stand beside the published column:**\n\n{reasons}"


def _cell(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
