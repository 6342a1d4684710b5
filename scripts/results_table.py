"""Print an evaluation as markdown tables: python scripts/results_table.py RUN/summary.json"""

import json
import sys
from pathlib import Path
from typing import Any

from lacunet.task import GLIOMA

REGIONS = GLIOMA.regions


def row(name: str, scores: dict[str, Any]) -> str:
    """Dice and HD95 of each region."""
    dice = [f"{scores[region]['dice']:.3f}" for region in REGIONS]
    hd95 = [f"{scores[region]['hd95']:.1f}" for region in REGIONS]
    return f"| {name} | {' | '.join(dice)} | {' | '.join(hd95)} |"


def main() -> None:
    """Every subset, the mean by size, and the mean of all."""
    summary = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print("| sequences | Dice WT | TC | ET | HD95 WT (mm) | TC | ET |")
    print("|---|---|---|---|---|---|---|")
    for name, scores in summary["subsets"].items():
        print(row(GLIOMA.subset_title(GLIOMA.subset(name)), scores))
    for size, scores in summary["by_size"].items():
        print(row(f"*mean of subsets of {size}*", scores))
    print(row("**mean of the 15 subsets**", summary["mean"]))
    aurc = ", ".join(f"{region.upper()} {value:.3f}" for region, value in summary["aurc"].items())
    print(f"\nAURC (Dice 0 to 1, so at most 3): {aurc}. {summary['cases']} cases, policy `{summary['policy']}`.")


if __name__ == "__main__":
    main()
