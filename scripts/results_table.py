"""Print evaluations as markdown tables.

python scripts/results_table.py RUN/summary.json              every subset of one evaluation
python scripts/results_table.py NAME=RUN/summary.json ...     means of several, side by side
"""

import json
import sys
from pathlib import Path
from typing import Any

from lacunet.task import GLIOMA

REGIONS = GLIOMA.regions


def main() -> None:
    """One table, whole; or the means of several."""
    named = [argument.rpartition("=")[::2] for argument in sys.argv[1:]]
    summaries = {name or path: json.loads(Path(path).read_text(encoding="utf-8")) for name, path in named}
    if len(summaries) > 1:
        side_by_side(summaries)
    else:
        whole(next(iter(summaries.values())))


def whole(summary: dict[str, Any]) -> None:
    """Every subset, the mean by size, and the mean of all."""
    print("| sequences | Dice WT | TC | ET | HD95 WT (mm) | TC | ET |")
    print("|---|---|---|---|---|---|---|")
    for name, scores in summary["subsets"].items():
        print(row(GLIOMA.subset_title(GLIOMA.subset(name)), scores))
    for size, scores in summary["by_size"].items():
        print(row(f"*mean of subsets of {size}*", scores))
    print(row("**mean of the 15 subsets**", summary["mean"]))
    aurc = ", ".join(f"{region.upper()} {value:.3f}" for region, value in summary["aurc"].items())
    print(f"\nAURC (Dice 0 to 1, so at most 3): {aurc}. {summary['cases']} cases, policy `{summary['policy']}`.")


def side_by_side(summaries: dict[str, dict[str, Any]]) -> None:
    """Dice by the number of sequences, mean of all, AURC and HD95 of each."""
    sizes = list(next(iter(summaries.values()))["by_size"])
    print(f"| | region | {' | '.join(f'{size} of 4' for size in sizes)} | mean of 15 | AURC | HD95 (mm) |")
    print("|---|---|" + "---|" * (len(sizes) + 3))
    for name, summary in summaries.items():
        for region in REGIONS:
            dice = [f"{summary['by_size'][size][region]['dice']:.3f}" for size in sizes]
            mean = summary["mean"][region]
            cells = [*dice, f"**{mean['dice']:.3f}**", f"{summary['aurc'][region]:.3f}", f"{mean['hd95']:.1f}"]
            print(f"| {name} | {region.upper()} | {' | '.join(cells)} |")


def row(name: str, scores: dict[str, Any]) -> str:
    """Dice and HD95 of each region."""
    dice = [f"{scores[region]['dice']:.3f}" for region in REGIONS]
    hd95 = [f"{scores[region]['hd95']:.1f}" for region in REGIONS]
    return f"| {name} | {' | '.join(dice)} | {' | '.join(hd95)} |"


if __name__ == "__main__":
    main()
