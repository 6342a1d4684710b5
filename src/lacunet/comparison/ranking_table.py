"""A ranking as a markdown table with the sentences that it needs."""

from lacunet.comparison.comparison import LEVEL
from lacunet.comparison.markdown import NOTHING, escaped, markdown_table
from lacunet.comparison.ranking import Against, Placed, Ranking
from lacunet.stats.power import POWER


def ranking_markdown(ranking: Ranking) -> str:
    """A row per run, the best first; below, how it was tested and what is settled."""
    head = [
        "place", "", "trainings", "mean Dice", "95 % interval", f"to {escaped(ranking.baseline)}", "95 % interval",
        "cases better, equal, worse", "p", "corrected", "smallest seen", "p to the first, corrected",
    ]  # fmt: skip
    rows = [_row(run) for run in ranking.runs]
    return "\n\n".join([markdown_table(head, rows), *map(escaped, sentences(ranking))])


def sentences(ranking: Ranking) -> list[str]:
    """How the runs were tested, what could have been seen, and what no test tells apart."""
    tests = len(ranking.runs) - 1
    words = [
        f"Dice of each case, averaged over regions and subsets; {ranking.cases} cases. Wilcoxon signed-rank over the "
        f"cases, two-sided; Holm's correction over {tests} runs against {ranking.baseline}, and over {tests} "
        "against the first. The first was chosen by the same cases, so its lead is probably too large."
    ]
    if ranking.seen:
        least, most = ranking.seen
        words.append(
            f"Smallest seen: the difference that a corrected test against {ranking.baseline} at {LEVEL:g} "
            f"sees with a chance of {100 * POWER:.0f} %: {least:.3f} to {most:.3f} here, by the spread of the paired "
            "differences. Smaller differences may be there."
        )
    others = [name for name in ranking.with_the_first if name != ranking.runs[0].name]
    if others:
        words.append(f"No test tells these from the first: {', '.join(others)}.")
    return words


def _row(run: Placed) -> list[str]:
    own = [str(run.place), escaped(run.name), str(run.trainings), f"{run.dice:.3f}", f"{run.low:.3f} to {run.high:.3f}"]
    return [*own, *_baseline(run.baseline), NOTHING if run.first is None else _p(run.first.p_holm)]


def _baseline(against: Against | None) -> list[str]:
    if against is None:
        return [NOTHING] * 6
    cases = against.cases
    return [
        f"{against.difference:+.3f}",
        f"{against.low:+.3f} to {against.high:+.3f}",
        f"{cases.better}, {cases.equal}, {cases.worse}",
        _p(against.p),
        _p(against.p_holm),
        NOTHING if against.seen_holm is None else f"{against.seen_holm:.3f}",
    ]


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
