"""The features of the VASARI set for gliomas that follow from a mask and from how the brain lies. No torch here.

VASARI: the Rembrandt project's list of what readers say of a glioma in MRI (The Cancer Imaging Archive). That a part of
it can be computed is the idea of Ruffle et al., NeuroImage: Clinical 2024. docs/report.md defines what is here.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool
from pydantic import ConfigDict
from scipy import ndimage

from lacunet.case import Grid, box_around
from lacunet.description.lobes import TITLES, Lobe
from lacunet.description.pose import Pose
from lacunet.description.shape import SMALLEST_FOCUS, Place, Shape
from lacunet.schema import Strict
from lacunet.task import METS, Evidence, Task

CENTRAL = 5.0
"""A centre so near to the midline is on neither side, mm."""
SECOND_LOBE = 0.25
"""A second lobe is named if it has so much of the tumour."""
CROSSING = 0.1
"""A part crosses the midline if so much of one piece of it lies on each side, ml."""
CAVEAT = "computed from the mask, whose errors they inherit, and not compared with what readers say"
"""Of all features."""

_CATEGORIES = ((0, "none"), (5, "up to 5 %"), (33, "6 to 33 %"), (67, "34 to 67 %"), (95, "68 to 95 %"))
_TOUCHING = np.ones((3, 3, 3))
_NO_POSE = "nobody knows how the brain lies"
_NO_CORE = f"there is no core of {SMALLEST_FOCUS} ml"
_JOINED = "BraTS has one label for both"
_INFERRED = "enhancement is inferred, not seen"

Mask = Bool[np.ndarray, "x y z"]


class Feature(Strict):
    """A feature of the VASARI set, computed from a mask."""

    model_config = ConfigDict(use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)

    number: str
    """In the set: `F5`; `F6+F7` are one here."""
    name: str
    value: str | None
    """As VASARI puts it, in words; null where it cannot be said."""
    amount: float | None = None
    """What the value comes from."""
    unit: Literal["share", "mm", "ml", "foci"] | None = None
    """Of the amount; foci are those besides the largest."""
    note: str = ""
    """Why there is no value, or what to know of it."""

    @property
    def amount_words(self) -> str:
        """`41.2 %`, `46 mm`, `2 more`; "" where there is no amount."""
        if self.amount is None:
            return ""
        if self.unit == "share":
            return f"{100 * self.amount:.1f} %"
        if self.unit == "foci":
            return f"{self.amount:.0f} more"
        return f"{self.amount:.1f} ml" if self.unit == "ml" else f"{self.amount:.0f} {self.unit}"


def vasari_of(
    masks: Mapping[str, Mask],
    shapes: Mapping[str, Shape | None],
    pose: Pose | None,
    grid: Grid,
    task: Task,
    evidence: Mapping[str, Evidence],
) -> tuple[Feature, ...]:
    """The features in VASARI's order; none of an empty mask, and none for a task without the regions of gliomas.

    Args:
        masks: By region.
        shapes: By region; None of one that is empty.
        pose: How the brain lies in the coordinates of the grid; None where nobody knows.
        grid: Of the masks, RAS+.
        task: Their regions.
        evidence: By region: whether the sequences in use can show it. A region that is not here was seen.
    """
    tumour = shapes["wt"] if _is_glioma(task) else None
    if tumour is None:
        return ()
    whole, core, enhancing = masks["wt"], masks["tc"], masks["et"]
    seen = evidence.get("et", "seen") == "seen"
    core_seen = evidence.get("tc", "seen")
    doubt = "" if core_seen == "seen" else f"the core is {core_seen}"
    other, of_whole = core & ~enhancing, int(np.count_nonzero(whole))
    inner = shapes["tc"]
    centre, about = (inner, doubt) if inner and inner.foci else (tumour, f"of the whole tumour: {_NO_CORE}")
    multifocal, satellites = _several(whole, core, grid, doubt)
    oedema = "; ".join(["counts infiltrating tumour too", *([doubt] if doubt else [])])
    return (
        _location(centre.place, about),
        _side(centre, pose, about),
        _proportion("F5", "Proportion enhancing", enhancing, of_whole, seen, ""),
        _proportion("F6+F7", "Proportion of non-enhancing or necrotic core", other, of_whole, seen, _JOINED),
        multifocal,
        _proportion("F14", "Proportion of oedema", whole & ~core, of_whole, True, oedema),
        _crossing("F22", "Non-enhancing core crosses the midline", other, pose, grid, seen),
        _crossing("F23", "Enhancing tumour crosses the midline", enhancing, pose, grid, seen),
        satellites,
        *_sizes(tumour),
    )


def _is_glioma(task: Task) -> bool:
    """Whether the task has whole tumour, core and enhancing tumour, each inside the one before, of gliomas."""
    if tuple(task.regions) != ("wt", "tc", "et") or task.name == METS.name:
        return False
    whole, core, enhancing = (set(labels) for labels in task.regions.values())
    return whole > core > enhancing


def _location(place: Place | None, note: str) -> Feature:
    if place is None or place.lobes is None:
        why = "the brain does not fit the average one" if place else _NO_POSE
        return Feature(number="F1", name="Location", value=None, note=why)
    lobes: list[tuple[Lobe, float]] = [(lobe, share) for lobe, share in place.lobes.items() if lobe != "outside"]
    named = [TITLES[lobe] for number, (lobe, share) in enumerate(lobes[:2]) if number == 0 or share >= SECOND_LOBE]
    if not named:
        return Feature(number="F1", name="Location", value=None, note="it lies outside the map of lobes")
    return Feature(number="F1", name="Location", value=", ".join(named), note=note)


def _side(shape: Shape, pose: Pose | None, note: str) -> Feature:
    name = "Side of the centre"
    if pose is None:
        return Feature(number="F2", name=name, value=None, note=_NO_POSE)
    aside = float(pose.midline.distance(np.array(shape.centre)[:, None])[0])
    side = "centre" if abs(aside) < CENTRAL else "right" if aside > 0 else "left"
    return Feature(number="F2", name=name, value=side, amount=round(abs(aside), 1), unit="mm", note=note)


def _proportion(number: str, name: str, part: Mask, whole: int, seen: bool, note: str) -> Feature:
    if not seen:
        return Feature(number=number, name=name, value=None, note=_INFERRED)
    share = np.count_nonzero(part) / whole
    return Feature(number=number, name=name, value=category(share), amount=round(share, 3), unit="share", note=note)


def category(share: float) -> str:
    """VASARI's category of a share (0 to 1), by whole percents; `none` is nothing at all."""
    percent = max(round(100 * share), 1) if share else 0
    return next((words for most, words in _CATEGORIES if percent <= most), "more than 95 %")


def _several(whole: Mask, core: Mask, grid: Grid, note: str) -> Iterator[Feature]:
    """F9 and F24."""
    titles = (("F9", "Multifocal", "multifocal", "focal"), ("F24", "Satellites", "yes", "no"))
    found = _foci_besides(whole, core, grid)
    for (number, name, several, one), foci in zip(titles, found or (0, 0), strict=True):
        if found is None:
            yield Feature(number=number, name=name, value=None, note=_NO_CORE)
        else:
            value = several if foci else one
            yield Feature(number=number, name=name, value=value, amount=float(foci), unit="foci", note=note)


def _foci_besides(whole: Mask, core: Mask, grid: Grid) -> tuple[int, int] | None:
    """How many foci the core has besides its largest: in other pieces of the whole tumour, and in the same piece.

    None where it has no focus.
    """
    box = box_around(whole)
    pieces, _ = ndimage.label(whole[box], structure=_TOUCHING)
    parts, _ = ndimage.label(core[box], structure=_TOUCHING)
    sizes = np.bincount(parts.ravel())
    foci = [part for part in range(1, sizes.size) if sizes[part] * grid.voxel_ml >= SMALLEST_FOCUS]
    if not foci:
        return None
    around = ndimage.maximum(pieces, parts, foci)  # a focus lies in one piece
    same = around == around[int(np.argmax(sizes[foci]))]
    return int(np.count_nonzero(~same)), int(np.count_nonzero(same)) - 1


def _crossing(number: str, name: str, part: Mask, pose: Pose | None, grid: Grid, seen: bool) -> Feature:
    why = _INFERRED if not seen else "there is none" if not part.any() else _NO_POSE
    if not seen or pose is None or not part.any():
        return Feature(number=number, name=name, value=None, note=why)
    inside = part[box_around(part)]
    pieces, count = ndimage.label(inside, structure=_TOUCHING)  # one on each side is no crossing
    right = pose.midline.distance(grid.places(np.argwhere(part).T)) > 0
    sides = [np.bincount(pieces[inside][side], minlength=count + 1) for side in (right, ~right)]
    less = float(np.minimum(*sides).max()) * grid.voxel_ml
    value = "yes" if less >= CROSSING else "no"
    return Feature(number=number, name=name, value=value, amount=round(less, 3), unit="ml")


def _sizes(whole: Shape) -> Iterator[Feature]:
    largest = whole.largest
    two = (largest.diameters.longest, largest.diameters.across) if largest else (None, None)
    for number, name, mm in zip(("F29", "F30"), ("Longest diameter", "Diameter across"), two, strict=True):
        if mm is None:
            yield Feature(number=number, name=name, value=None, note=f"no piece has {SMALLEST_FOCUS} ml")
        else:
            yield Feature(number=number, name=name, value=f"{mm / 10:.1f} cm", amount=round(mm, 1), unit="mm")
