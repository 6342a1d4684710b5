"""What lacunet answered: rows of the table, warnings and the mask to load, from case.json and measures.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import LacunetProblem

REGIONS = {"wt": "Whole tumour", "tc": "Tumour core", "et": "Enhancing tumour"}
HEADINGS = ("Region", "Volume (ml)", "Range (ml)", "Expected Dice", "Corrected (ml)", "Change (ml)", "Dice of both")
NOT_SEEN = {"inferred": " (inferred, not seen)", "partly inferred": " (partly inferred)"}
AGAIN = "use the versions of lacunet and of this module that belong together"


@dataclass(frozen=True)
class CaseAnswer:
    """What lacunet says of a case.

    Attributes:
        folder: Of its results.
        mask: The file to load: on the grid of a scan as it was given, where there is one.
        page: For a browser.
        rows: By region: name, volume, range and expected Dice, in words.
        first: What must be said before any volume, and why the mask may be wrong.
        warnings: Other sentences.
    """

    folder: Path
    mask: Path
    page: Path
    rows: Mapping[str, tuple[str, str, str, str]]
    first: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """What lacunet says of a corrected mask.

    Attributes:
        rows: By region: volume, change and Dice, in words.
        sizes: Sentences on diameters, side and lobes.
        warnings: Sentences.
    """

    rows: Mapping[str, tuple[str, str, str]]
    sizes: tuple[str, ...]
    warnings: tuple[str, ...]


def read_case(output: Path) -> CaseAnswer:
    """The answer about the one case in a folder of results.

    Raises:
        LacunetProblem: there is none, or it is not what this module can read.
    """
    records = sorted(Path(output).glob("*/case.json"))
    if len(records) != 1:
        raise LacunetProblem(
            f"the folder of results has {len(records)} answers (case.json), and one is expected; see the log"
        )
    said = _read(records[0])
    folder = records[0].parent
    try:
        rows = {region: _row(region, said) for region in REGIONS if region in said["volumes_ml"]}
        first = (*(one["sentence"] for one in said["cautions"]), *(one["sentence"] for one in said["doubts"]))
        mask = _mask(said["masks"])
        caveat = (said["caveat"],) if said["caveat"] else ()
        warnings = (*(one for one in said["warnings"] if one not in first), *caveat)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise LacunetProblem(f"case.json is not as expected ({type(error).__name__}: {error}); {AGAIN}") from error
    if not (folder / mask).is_file():
        raise LacunetProblem(f"the mask {mask} is not in the folder of results; segment again")
    return CaseAnswer(folder, folder / mask, folder / "report.html", rows, first, warnings)


def read_measures(path: Path) -> Measured:
    """The answer about a corrected mask.

    Raises:
        LacunetProblem: there is none, or it is not what this module can read.
    """
    said = _read(Path(path))
    try:
        rows = {region: _measured(region, said) for region in REGIONS if region in said["volumes_ml"]}
        sizes = tuple(_size(region, said["measures"][region]) for region in REGIONS if region in said["measures"])
        return Measured(rows, sizes, tuple(str(one) for one in said["warnings"]))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise LacunetProblem(f"{path.name} is not as expected ({type(error).__name__}: {error}); {AGAIN}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LacunetProblem(f"{path.name} cannot be read ({error}); see the log, and try again") from error
    if not isinstance(said, dict) or said.get("format") != 1:
        raise LacunetProblem(f"{path.name} is of a format that this module does not know (1 is expected); {AGAIN}")
    return said


def _mask(names: list[str]) -> str:
    """The mask on a scan's own grid where there is one; else the first."""
    images = [name for name in names if name.endswith((".nii.gz", ".nii"))]
    return next((name for name in images if "-mask-on-" in name), images[0])


def _row(region: str, said: Mapping[str, Any]) -> tuple[str, str, str, str]:
    calibration = said["calibration"] or {}
    volume_range = (calibration.get("volume_ranges_ml") or {}).get(region)
    dice_range = (calibration.get("dice_ranges") or {}).get(region)
    coverage = calibration.get("coverage")
    share = f"{100 * coverage:.0f} %: " if coverage else ""
    expected = said["expected_dice"].get(region)
    dice = "withheld" if region in said["withheld"] else "not known" if expected is None else f"{expected:.2f}"
    spread = f" ({share}{dice_range[0]:.2f} to {dice_range[1]:.2f})" if dice_range and expected is not None else ""
    return (
        REGIONS[region] + NOT_SEEN.get(said["evidence"].get(region, ""), ""),
        f"{said['volumes_ml'][region]:.1f}",
        f"{share}{volume_range[0]:.1f} to {volume_range[1]:.1f}" if volume_range else "not known",
        dice + spread,
    )


def _measured(region: str, said: Mapping[str, Any]) -> tuple[str, str, str]:
    volume = f"{said['volumes_ml'][region]:.1f}"
    if said["change"] is None:
        return volume, "not known", "not known"
    own = said["change"]["regions"][region]
    return volume, f"{own['change_ml']:+.1f}", "both empty" if own["dice"] is None else f"{own['dice']:.3f}"


def _size(region: str, shape: Mapping[str, Any]) -> str:
    foci = shape["foci"]
    parts = [f"{len(foci)} {'focus' if len(foci) == 1 else 'foci'}"]
    if foci:
        largest = max(foci, key=lambda focus: focus["product_mm2"])
        parts.append(f"largest {largest['longest_mm']:.0f} × {largest['across_mm']:.0f} mm")
    if shape["side"]:
        parts.append("on both sides" if shape["side"] == "both" else shape["side"])
    if shape.get("lobes"):
        lobes = [f"{lobe} {100 * share:.0f} %" for lobe, share in shape["lobes"].items() if share >= 0.01]
        parts.append(", ".join(lobes))
    return f"{REGIONS[region]}: {'; '.join(parts)}"
