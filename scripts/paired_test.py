"""Two evaluations case by case: python scripts/paired_test.py RUN/cases.csv OTHER/cases.csv

Mean Dice of each case over its subsets and regions, and Wilcoxon's signed-rank test over the cases, with the smallest p
that so many cases can reach beside it.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from scipy.stats import wilcoxon

from lacunet.task import GLIOMA


def main() -> None:
    """One row per case, then a test per region and one over their mean."""
    one, other = (dice_of(Path(path)) for path in sys.argv[1:3])
    cases = sorted({case for case, _ in one})
    print("| case | first | second | second better by |\n|---|---|---|---|")
    means = [[fmean(run[case, region] for region in GLIOMA.regions) for case in cases] for run in (one, other)]
    for case, first, second in zip(cases, *means, strict=True):
        print(f"| {case} | {first:.3f} | {second:.3f} | {second - first:+.3f} |")
    pairs = {region: [[run[case, region] for case in cases] for run in (one, other)] for region in GLIOMA.regions}
    tested = [f"{name} {wilcoxon(*values).pvalue:.2f}" for name, values in {**pairs, "mean": means}.items()]
    print(f"\nWilcoxon signed-rank, p: {', '.join(tested)}; {len(cases)} cases can reach {2 * 0.5 ** len(cases):.3f}.")


def dice_of(path: Path) -> dict[tuple[str, str], float]:
    """Mean Dice over the subsets, by case and region."""
    found = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["case"], row["region"]].append(float(row["dice"]))
    return {key: fmean(values) for key, values in found.items()}


if __name__ == "__main__":
    main()
