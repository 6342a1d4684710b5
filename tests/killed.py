"""Run as a program: a command of lacunet that ends by SIGKILL, as on a cluster, where it was about to keep a result.

python killed.py NUMBER(of the rename before which it ends, from 1) COMMAND WORDS...
"""

import os
import signal
import sys
from pathlib import Path

import torch

from lacunet.cli.main import main


def end_before_rename(number: int) -> None:
    rename, left = Path.replace, iter(range(number - 1, -1, -1))

    def replace(self: Path, target: Path) -> Path:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    Path.replace = replace  # type: ignore[method-assign]


if __name__ == "__main__":
    end_before_rename(int(sys.argv[1]))
    torch.set_num_threads(1)
    sys.argv = ["lacunet", *sys.argv[2:]]
    main()
