"""Means of logged numbers over each quarter of a training (of each of its stages), as a markdown table.

python scripts/studies/log_quarters.py RUN PREFIX...      such as gradient_norm_, gate_, kept_, path/
"""

import sys
from pathlib import Path
from statistics import fmean

from lacunet.training.log import read_log


def main() -> None:
    """A row for each number of a stage whose name begins with a prefix."""
    run, prefixes = Path(sys.argv[1]), tuple(sys.argv[2:])
    lines = read_log(run)
    stages = list(dict.fromkeys(line["stage"] for line in lines))
    print("| | 1st quarter | 2nd | 3rd | 4th |\n|---|---|---|---|---|")
    for stage in stages:
        own = [line for line in lines if line["stage"] == stage]
        steps = max(line["step"] for line in own)
        wanted = {name for line in own for name in line if name.startswith(prefixes) and name != "gradient_norm"}
        for name in sorted(wanted):
            of = [[line[name] for line in own if name in line and quarter(line["step"], steps) == q] for q in range(4)]
            title = f"{stage}: {name}" if len(stages) > 1 else name
            print(f"| {title} | {' | '.join(f'{fmean(values):.3f}' if values else '' for values in of)} |")


def quarter(step: int, steps: int) -> int:
    """0 to 3."""
    return min(4 * (step - 1) // steps, 3)


if __name__ == "__main__":
    main()
