"""What tells a brain on an empty background from a head, over the scans of folders.

python scripts/studies/skull_facts.py FOLDER...      a row for each; NIfTI files below it, but for masks (seg)
"""

import sys
from pathlib import Path

from lacunet.case import ImageFile
from lacunet.data.background import background_of, signal_of
from lacunet.data.volume import read_image
from lacunet.intake.align.source import largest_section_cm2


def main() -> None:
    """The least and the greatest of each fact over the scans of a folder."""
    print("| scans | faces of one value | litres with signal | largest axial section (cm2) |\n|---|---|---|---|")
    for name in sys.argv[1:]:
        facts = [facts_of(path) for path in sorted(Path(name).rglob("*.nii*")) if "seg" not in path.name.lower()]
        if not facts:
            raise SystemExit(f"{name}: no NIfTI scans there")
        cells = [
            f"{min(values):{form}} to {max(values):{form}}"
            for values, form in zip(zip(*facts, strict=True), (".1%", ".2f", ".0f"), strict=True)
        ]
        print(f"| {len(facts)} of {Path(name).name} | {' | '.join(cells)} |")


def facts_of(path: Path) -> tuple[float, float, float]:
    """Share of the faces that have one value; litres that differ from it; the largest axial section of those, cm2."""
    voxels, grid, _ = read_image(ImageFile(path))
    background = background_of(voxels)
    litres = float(signal_of(voxels, background).sum()) * grid.voxel_ml / 1000
    return background.share, litres, largest_section_cm2(voxels, grid)


if __name__ == "__main__":
    main()
