"""How often a calibrated model's ranges of volume and Dice held what was measured on cases that it has not seen.

python scripts/studies/held_ranges.py MODEL EVALUATION      a folder that `lacunet evaluate` wrote, of a test part
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from lacunet.evaluation.scores import Row, read_rows
from lacunet.models.calibration import Calibration
from lacunet.models.model import load_model
from lacunet.stats.intervals import Span, volume_span


def main() -> None:
    """A row for each region: so many of so many cases and subsets, and the mean Dice that was expected and found."""
    model = load_model(sys.argv[1])
    if model.calibration is None:
        raise SystemExit(f"{sys.argv[1]}: not calibrated; lacunet calibrate says what to expect of it")
    rows = read_rows(Path(sys.argv[2]) / "cases.csv")
    print("| region | volume held | Dice held | Dice expected | found |\n|---|---|---|---|---|")
    for region in model.task.regions:
        own = [row for row in rows if row.region == region]
        volumes, scores = held(model.calibration, own)
        expected = fmean(model.calibration.expected(row.subset)[region].dice for row in own)
        found = fmean(row.dice for row in own)
        print(f"| {region.upper()} | {words(volumes)} | {words(scores)} | {expected:.2f} | {found:.2f} |")


def held(calibration: Calibration, rows: Sequence[Row]) -> tuple[list[bool], list[bool]]:
    """Whether ranges held the references' volumes, and whether they held the Dice, of rows that have a range."""
    volumes: list[bool] = []
    scores: list[bool] = []
    for row in rows:
        expected = calibration.expected(row.subset)[row.region]
        if expected.radius_mm is not None:
            volumes.append(inside(row.reference_ml, volume_span(row.prediction_ml, expected.radius_mm.span)))
        if expected.dice_range is not None:
            scores.append(inside(row.dice, expected.dice_range.span))
    return volumes, scores


def inside(value: float, span: Span) -> bool:
    """Its ends belong to a range."""
    return span[0] <= value <= span[1]


def words(found: Sequence[bool]) -> str:
    """`61 of 90 (68 %)`."""
    return f"{sum(found)} of {len(found)} ({sum(found) / len(found):.0%})" if found else "no range"


if __name__ == "__main__":
    main()
