"""The page of one case: what was found, in which sequences, and how reliable it is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from lacunet.case import Grid
from lacunet.description.lobes import share_words
from lacunet.description.shape import Place, Shape, diameter_words, midline_words, side_words
from lacunet.description.vasari import CAVEAT, Feature
from lacunet.evaluation.metrics import region_masks, volume_ml
from lacunet.files import write_text
from lacunet.intake.found import Caution, pictures_allowed
from lacunet.report.page import dice_words, join_words, known, millilitres, render, resource, sentence
from lacunet.report.pictures import Cut, cuts, pictures
from lacunet.report.viewer import niivue_script, viewer_data
from lacunet.segmentation.answer import Answer
from lacunet.segmentation.calibration_words import span_words
from lacunet.segmentation.doubts import Doubt
from lacunet.segmentation.expectation import LOW, Expectation
from lacunet.task import IN_BRACKETS, Subset, Task

SCANNER = "the scanner's coordinates (RAS+)"
MOVED = "the case's coordinates (RAS+), where the brain lies as the average one does"
"""The coordinates of positions on the page: the second where import moved a scan."""


@dataclass(frozen=True)
class CaseView:
    """All that the page of a case shows.

    Attributes:
        name: The case's name.
        task: Names of modalities and regions.
        images: What was acquired, on `grid`.
        grid: RAS+ grid of all arrays.
        prediction: Labels inside lacunet.
        subset: The modalities that the model used, in the task's order.
        volumes: Predicted volume by region, in ml.
        taken_out_ml: The pieces that post-processing left out of the mask.
        shapes: Diameters, foci and place by region; None of a region that is empty.
        vasari: Features of VASARI; without any they are not shown.
        reference: The annotator's labels, or None.
        reference_volumes: By region, in ml; empty without a reference.
        dice: Dice with the reference by region; empty without a reference.
        expected: What the calibration or the card says of this subset, or None.
        volume_words: The range of a volume in words, by region: `80 %: 27.1 to 45.0`; empty without a calibration.
        caveat: What a volume does not show.
        cautions: What must be said before any volume.
        doubts: Why the mask may be wrong.
        withheld: Regions of which no Dice and no range is stated, since this case is not like those they come from.
        warnings: Other sentences that a reader must not miss.
        provenance: Model, version, date, files ... in the order in which they are printed.
        helpful_sequence: A sentence on which missing sequence would help most, or None.
        viewer: Put the scans and an interactive viewer into the page, which makes it megabytes larger.
        coordinates: Of the positions on the page.
    """

    name: str
    task: Task
    images: Mapping[str, Shaped[np.ndarray, "x y z"]]
    grid: Grid
    prediction: UInt8[np.ndarray, "x y z"]
    subset: Subset
    volumes: Mapping[str, float]
    taken_out_ml: Sequence[float] = ()
    shapes: Mapping[str, Shape | None] = field(default_factory=dict)
    vasari: Sequence[Feature] = ()
    reference: UInt8[np.ndarray, "x y z"] | None = None
    reference_volumes: Mapping[str, float] = field(default_factory=dict)
    dice: Mapping[str, float] = field(default_factory=dict)
    expected: Expectation | None = None
    volume_words: Mapping[str, str] = field(default_factory=dict)
    caveat: str = ""
    cautions: Sequence[Caution] = ()
    doubts: Sequence[Doubt] = ()
    withheld: Collection[str] = ()
    warnings: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    helpful_sequence: str | None = None
    viewer: bool = False
    coordinates: str = SCANNER

    @property
    def masks(self) -> dict[str, UInt8[np.ndarray, "x y z"]]:
        """Labels by kind."""
        reference = {} if self.reference is None else {"reference": self.reference}
        return {"prediction": self.prediction, **reference}

    @property
    def pictured(self) -> bool:
        """Whether the scans may be shown."""
        return pictures_allowed(self.cautions)

    @property
    def missing(self) -> tuple[str, ...]:
        """Modalities that were not acquired, in the task's order."""
        return tuple(modality for modality in self.task.modalities if modality not in self.images)

    @property
    def empty(self) -> bool:
        """Whether the model found no tumour."""
        return not self.prediction.any()


def view_of(answer: Answer, warnings: Sequence[str], provenance: Mapping[str, str], viewer: bool) -> CaseView:
    """What the page shows of an answer; with a reference, also how well they agree.

    Args:
        answer: Of one case.
        warnings: All but cautions and doubts, also those of writing.
        provenance: In the order in which it is printed.
        viewer: Put the interactive viewer into the page.
    """
    case, expected = answer.case, answer.expected
    reference = {} if case.reference is None else region_masks(case.reference, answer.task)
    return CaseView(
        name=case.name,
        task=answer.task,
        images=case.images,
        grid=case.grid,
        prediction=answer.labels,
        subset=answer.subset,
        volumes=answer.volumes,
        taken_out_ml=answer.signs.taken_out_ml,
        shapes=answer.shapes,
        vasari=answer.vasari,
        reference=case.reference,
        reference_volumes={region: volume_ml(mask, case.grid.spacing) for region, mask in reference.items()},
        dice=answer.dice,
        expected=expected.expectation,
        volume_words=expected.volume_words,
        caveat=answer.caveat,
        cautions=answer.cautions,
        doubts=answer.doubts,
        withheld=expected.withheld,
        warnings=warnings,
        provenance=provenance,
        helpful_sequence=expected.helpful_sequence,
        viewer=viewer,
        coordinates=MOVED if answer.imported and answer.imported.moved else SCANNER,
    )


def nothing_words(view: CaseView) -> str:
    """What an empty mask means."""
    return "No tumour outlined with certainty" if view.taken_out_ml else "No tumour found"


def headline(view: CaseView) -> str:
    """The page in one line: volumes, and the sequences they come from."""
    used = join_words([view.task.titles[modality] for modality in view.subset])
    if view.empty:
        return f"{nothing_words(view)} in {used}"
    evidence = view.task.evidence(view.subset)
    volumes = [
        f"{view.task.titles[region]} {millilitres(view.volumes[region])} ml{IN_BRACKETS[evidence[region]]}"
        for region in view.task.regions
    ]
    return sentence(f"{', '.join(volumes)}, from {used}")


def case_page(view: CaseView) -> str:
    """A self-contained HTML page. Needs no network, prints, and follows light or dark."""
    at = cuts(view.task, view.images, view.grid, view.prediction, view.reference)
    with_viewer = view.viewer and view.pictured
    values = {
        "view": view,
        "headline": headline(view),
        "nothing": nothing_words(view),
        "sequences": _sequences(view),
        "missing": [view.task.titles[modality] for modality in view.missing],
        "cuts": at,
        "rows": _picture_rows(view, at) if view.pictured else [],
        "regions": _regions(view),
        "sizes": _sizes(view),
        "vasari_caveat": CAVEAT,
        "threshold": LOW,
        "viewer": viewer_data(view.task, view.images, view.grid, view.masks, at) if with_viewer else None,
    }
    if not with_viewer:
        return render("case.html", values)
    return render("case.html", values, [resource("viewer.css")], [niivue_script(), resource("viewer.js")])


def write_case_page(path: Path, view: CaseView) -> None:
    """Write the page whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, case_page(view))


def _sequences(view: CaseView) -> list[dict[str, str]]:
    """Every modality of the task: used, there but not used, or missing."""
    states = {
        modality: "used" if modality in view.subset else "not acquired" if modality in view.missing else "not used"
        for modality in view.task.modalities
    }
    return [{"name": name, "title": view.task.titles[name], "state": state} for name, state in states.items()]


def _picture_rows(view: CaseView, at: list[Cut]) -> list[dict[str, Any]]:
    """A row of pictures for each acquired sequence, in the task's order."""
    return [
        {
            "title": view.task.titles[modality],
            "name": modality,
            "used": modality in view.subset,
            "pictures": pictures(view.images[modality], view.task.titles[modality], at),
        }
        for modality in view.task.modalities
        if modality in view.images
    ]


def _regions(view: CaseView) -> list[dict[str, Any]]:
    """A row of the tables for each region; what is not known is None."""
    expected = view.expected.dice if view.expected else {}
    evidence = view.task.evidence(view.subset)
    return [
        {
            "name": region,
            "index": index,
            "title": view.task.titles[region],
            "volume": view.volumes[region],
            "volume_words": view.volume_words.get(region),
            "evidence": evidence[region],
            "reference": view.reference_volumes.get(region),
            "dice": view.dice.get(region),
            "expected": expected.get(region) if known(expected.get(region)) else None,
            "expected_words": _expected_words(view.expected, region),
            "withheld": region in view.withheld,
        }
        for index, region in enumerate(view.task.regions)
    ]


def _sizes(view: CaseView) -> list[dict[str, str]]:
    """A row for each region that has a focus: its diameters, its foci and its place, in words."""
    return [
        {
            "name": region,
            "diameters": diameter_words(shape.largest.diameters.longest, shape.largest.diameters.across),
            "foci": str(len(shape.foci)),
            **(_place_words(shape.place) if shape.place else {}),
        }
        for region, shape in view.shapes.items()
        if shape and shape.largest
    ]


def _place_words(place: Place) -> dict[str, str]:
    return {
        "side": side_words(place.side, place.right_share),
        "midline": midline_words(place.midline_mm),
        "lobes": share_words(place.lobes) if place.lobes else "lobes not known: the brain does not fit the average one",
    }


def _expected_words(expected: Expectation | None, region: str) -> str | None:
    """The range of one more case's Dice, where there is a calibration."""
    if expected is None or expected.coverage is None:
        return None
    return span_words(expected.ranges.get(region), expected.coverage, dice_words)
