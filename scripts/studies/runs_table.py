"""Runs as rows of a markdown table: the best validation, and Dice and HD95 over the 15 subsets of test.

python scripts/studies/runs_table.py RUN...      each with its evaluation in RUN/test; NAME=RUN calls it otherwise
"""

import sys
from pathlib import Path
from statistics import fmean

from lacunet.evaluation.summary import read_summary
from lacunet.training.log import last_validations


def main() -> None:
    """One row a run."""
    print("| | validation, mean Dice | test WT | TC | ET | mean | HD95 WT (mm) | TC | ET |")
    print("|---|---|---|---|---|---|---|---|---|")
    for words in sys.argv[1:]:
        name, _, path = words.rpartition("=")
        run = Path(path)
        if not (run / "log.jsonl").is_file() or not (run / "test" / "summary.json").is_file():
            raise SystemExit(f"{run}: no run with an evaluation in {run / 'test'}")
        means = read_summary(run / "test" / "summary.json").mean.values()
        dice, distances = [one.dice for one in means], [one.hd95 for one in means]
        best = max(line["validation_mean"] for line in last_validations(run))
        cells = [f"{best:.3f}", *(f"{value:.3f}" for value in [*dice, fmean(dice)])]
        print(f"| {' | '.join([name or run.name, *cells, *(f'{value:.1f}' for value in distances)])} |")


if __name__ == "__main__":
    main()
