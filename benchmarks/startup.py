"""Seconds until the commands that need no network answer: `lacunet --help` and `lacunet methods`.

    python benchmarks/startup.py [--repeats 10]

Beside them, in turns: Python that does nothing (the lower limit) and Python that imports torch (what `lacunet
--help` would cost if it did). The first round warms the disk cache and is not counted.
"""

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path

from measure import conditions, in_turns, print_table, use_cores

LACUNET = str(Path(sys.executable).with_name("lacunet"))
COMMANDS = {
    "`lacunet --help`": [LACUNET, "--help"],
    "`lacunet methods`": [LACUNET, "methods"],
    "`python -c pass`": [sys.executable, "-c", "pass"],
    "`python -c 'import torch'`": [sys.executable, "-c", "import torch"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    cores = use_cores()
    calls = [partial(subprocess.run, command, check=True, capture_output=True) for command in COMMANDS.values()]
    times = in_turns(calls, options.repeats)
    print(f"Medians of {options.repeats}; {conditions(cores, 'lacunet', 'typer', 'torch')}\n")
    torch_time = times[-1]
    print_table(
        ["command", "seconds", "of an import of torch"],
        [[name, f"{time:.3f}", f"{time / torch_time:.0%}"] for name, time in zip(COMMANDS, times, strict=True)],
    )


if __name__ == "__main__":
    main()
