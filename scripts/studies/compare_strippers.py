"""Both skull strippers on the scans of one patient: volume, agreement, seconds. Needs the extras strip and strip-any.

python scripts/studies/compare_strippers.py SCAN...      NIfTI files with skull
"""

import sys
import time
from pathlib import Path

import numpy as np

from lacunet.case import Grid, ImageFile
from lacunet.data.volume import read_image
from lacunet.evaluation.metrics import dice, volume_ml
from lacunet.intake.align.rigid import Rigid, carry
from lacunet.intake.align.strip import one_piece, strip, upright_grid


def main() -> None:
    """A row for each scan."""
    print("| scan | deepbet (ml) | hd-bet (ml) | Dice | deepbet (s) | hd-bet (s) |\n|---|---|---|---|---|---|")
    for name in sys.argv[1:]:
        voxels, grid, _ = read_image(ImageFile(Path(name)))
        where = upright_grid(grid, 1.0)
        (quick, quick_s), (slow, slow_s) = (brain(voxels, grid, where, stripper) for stripper in ("deepbet", "hd-bet"))
        volumes = [volume_ml(mask, where.spacing) for mask in (quick, slow)]
        cells = [Path(name).name, *(f"{volume:.0f}" for volume in volumes), f"{dice(quick, slow):.3f}"]
        print(f"| {' | '.join([*cells, *(f'{value:.0f}' for value in (quick_s, slow_s))])} |")


def brain(voxels: np.ndarray, grid: Grid, where: Grid, stripper: str) -> tuple[np.ndarray, float]:
    """The brain as the stripper marks it, on a grid on which both are compared, and the seconds it took."""
    start = time.monotonic()
    surely, own = strip(voxels, grid, stripper)
    took = time.monotonic() - start
    return one_piece(carry(surely, own, where, Rigid.identity()) >= 0.5), took


if __name__ == "__main__":
    main()
