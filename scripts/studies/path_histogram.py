"""Print which paths of removal a training of `ccsd` took, as a markdown table.

python scripts/studies/path_histogram.py RUN
"""

import sys
from collections import Counter
from pathlib import Path

from lacunet.task import GLIOMA
from lacunet.training.log import read_log


def main() -> None:
    """The share of each first loss, each last survivor, and the most frequent paths, of the two halves of the run."""
    steps = [line for line in read_log(Path(sys.argv[1])) if "loss" in line]
    middle = steps[-1]["step"] / 2
    halves = [shares([line for line in steps if (line["step"] > middle) == late]) for late in (False, True)]
    print("| sequence | removed first, 1st half | 2nd half | left at the end, 1st half | 2nd half |")
    print("|---|---|---|---|---|")
    for modality in GLIOMA.modalities:
        first = [sum(share for path, share in half.items() if path[0] == modality) for half in halves]
        last = [sum(share for path, share in half.items() if path[-1] == modality) for half in halves]
        print(f"| {GLIOMA.subset_title((modality,))} | " + " | ".join(f"{share:.0%}" for share in first + last) + " |")
    print("\n| path of removal | 1st half | 2nd half |\n|---|---|---|")
    for path, share in halves[1].most_common(6):
        title = ", ".join(GLIOMA.subset_title((modality,)) for modality in path)
        print(f"| {title} | {halves[0][path]:.0%} | {share:.0%} |")


def shares(lines: list[dict[str, float]]) -> Counter[tuple[str, ...]]:
    """How often each path was taken."""
    counted: Counter[tuple[str, ...]] = Counter()
    for line in lines:
        for name, share in line.items():
            if name.startswith("path/"):
                counted[tuple(name.removeprefix("path/").split("-"))] += share / len(lines)
    return counted


if __name__ == "__main__":
    main()
