"""The page of an evaluation: every subset, every case, and pictures of the worst cases."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from markupsafe import Markup

from lacunet.case import Grid
from lacunet.evaluation.heat import (
    CaseScores,
    HeatRow,
    by_size,
    empty_words,
    fullest,
    heat_cells,
    heat_rows,
    ranked_cases,
)
from lacunet.evaluation.monotony import FALL
from lacunet.evaluation.scores import Row
from lacunet.evaluation.summary import Summary
from lacunet.files import write_text
from lacunet.report.charts import robustness, volumes
from lacunet.report.page import dice_words, known, render, sentence
from lacunet.report.pictures import cuts, pictures
from lacunet.task import IN_BRACKETS, Task

STRIPS_SHOWN = 40
"""Cases that are shown at first; a click shows more."""

STRIPS_KEPT = 400
"""Cases that the page has at all, the worst ones; `cases.csv` has the others. Each takes 5 kB."""

POINTS_KEPT = 1000
"""Cases in the chart of volumes; more would be one blot."""


@dataclass(frozen=True)
class CasePicture:
    """One of the worst cases, with its prediction and its reference.

    Attributes:
        case: Its name, as in the rows.
        subset: The subset of the prediction, as in the rows.
        modality: Which sequence the image is.
        image: That sequence on `grid`.
        grid: RAS+ grid of all arrays.
        prediction: Labels inside lacunet.
        reference: The annotator's labels.
    """

    case: str
    subset: str
    modality: str
    image: Shaped[np.ndarray, "x y z"]
    grid: Grid
    prediction: UInt8[np.ndarray, "x y z"]
    reference: UInt8[np.ndarray, "x y z"]


@dataclass(frozen=True)
class EvaluationView:
    """All that the page of an evaluation shows.

    Attributes:
        model: The model's name, the page's title.
        task: Names of modalities and regions.
        summary: As in `summary.json`.
        rows: As in `cases.csv`.
        data: Which cases these are, in words.
        policy_words: What empty masks score, in words.
        pictures: Of the worst cases (`worst_cases`).
        warnings: Sentences that the reader must see.
        provenance: Command, model, date, data and so on, in the order of the page.
    """

    model: str
    task: Task
    summary: Summary
    rows: Sequence[Row]
    data: str = ""
    policy_words: str = ""
    pictures: Sequence[CasePicture] = ()
    warnings: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


def evaluation_page(view: EvaluationView) -> str:
    """A self-contained HTML page. Needs no network, prints, and follows light and dark."""
    rows = heat_rows(view.task, view.summary, view.rows)
    ranked = ranked_cases(view.rows)
    mean_dice, mean_hd95 = heat_cells(view.task, view.summary.mean)
    values = {
        "view": view,
        "regions": _regions(view),
        "cases": view.summary.cases,
        "rows": rows,
        "uneven": len({row.cases for row in rows}) > 1,
        "mean": HeatRow("mean of the subsets", (), False, 0, mean_dice, mean_hd95),
        "robustness": _robustness(view),
        "volumes": _volumes(view.task, _evenly(ranked, POINTS_KEPT)),
        "points": min(len(ranked), POINTS_KEPT),
        "strips": [_strip(view.task, entry) for entry in ranked[:STRIPS_KEPT]],
        "shown": STRIPS_SHOWN,
        "left": [entry.mean for entry in ranked[STRIPS_KEPT:]],
        "policy": view.summary.policy,
        "empty": empty_words(view.task, view.rows),
        "fall": FALL,
        "false_positives": _false_positives(view),
        "worst": [_worst(view, picture) for picture in view.pictures],
    }
    return render("evaluation.html", values)


def write_evaluation_page(path: Path, view: EvaluationView) -> None:
    """Write the page whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, evaluation_page(view))


def _regions(view: EvaluationView) -> list[dict[str, Any]]:
    """A tile for each region: mean Dice, mean HD95, AURC (raw, and divided by its largest value)."""
    steps = len(view.task.modalities) - 1
    found = []
    for index, region in enumerate(view.task.regions):
        means, aurc = view.summary.mean[region], view.summary.aurc.get(region)
        found.append(
            {
                "name": region,
                "title": view.task.titles[region],
                "index": index,
                "dice": means.dice,
                "hd95": means.hd95,
                "aurc": aurc,
                "aurc_share": None if aurc is None else aurc / steps,
            }
        )
    return found


def _false_positives(view: EvaluationView) -> list[dict[str, Any]]:
    """A row for each evaluated subset, then for each number of sequences; none where no brain was without a tumour."""
    free, task = view.summary.tumour_free, view.task
    if free is None:
        return []
    subsets = [{"title": task.subset_title(task.subset(name)), "found": own} for name, own in free.subsets.items()]
    sizes = [
        {"title": f"any {size} sequence{'' if size == 1 else 's'}", "found": own} for size, own in free.by_size.items()
    ]
    return [*subsets, *sizes]


def _robustness(view: EvaluationView) -> Markup:
    """The curve, with AURC in its legend where it is defined."""
    curves = {region: by_size(view.task, view.summary, region) for region in view.task.regions}
    legends = {
        tile["name"]: f"{tile['name'].upper()}  AURC {dice_words(tile['aurc'])}"
        if tile["aurc_share"] is not None
        else tile["name"].upper()
        for tile in _regions(view)
    }
    return robustness(curves, legends, len(view.task.modalities))


def _evenly(ranked: Sequence[CaseScores], most: int) -> Sequence[CaseScores]:
    """So many cases at even distances from the worst to the best; all where there are no more."""
    places = np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def _volumes(task: Task, cases: Sequence[CaseScores]) -> Markup:
    """Each case once per region, from its largest subset."""
    points: dict[str, list[tuple[float, float]]] = {region: [] for region in task.regions}
    for case in cases:
        full = fullest(task, case.scores)
        for entry in case.scores:
            if entry.subset == full and known(entry.reference_ml) and known(entry.prediction_ml):
                points[entry.region].append((entry.reference_ml, entry.prediction_ml))
    return volumes(points, {region: sentence(task.titles[region]) for region in task.regions})


def _strip(task: Task, case: CaseScores) -> dict[str, Any]:
    """A row of the strip plot: a dot per subset in each region's cell; the largest subset is marked."""
    full = fullest(task, case.scores)
    return {
        "case": case.case,
        "mean": case.mean,
        "cells": [
            [
                {
                    "dice": entry.dice,
                    "title": task.subset_title(task.subset(entry.subset)),
                    "full": entry.subset == full,
                }
                for entry in sorted(case.of(region), key=lambda entry: entry.subset == full)
                if not math.isnan(entry.dice)
            ]
            for region in task.regions
        ],
    }


def _worst(view: EvaluationView, picture: CasePicture) -> dict[str, Any]:
    """One of the worst cases: its pictures, and its scores from the subset of the picture."""
    at = cuts(view.task, {picture.modality: picture.image}, picture.grid, picture.prediction, picture.reference)
    title = view.task.titles[picture.modality]
    evidence = view.task.evidence(view.task.subset(picture.subset))
    return {
        "case": picture.case,
        "from": view.task.subset_title(view.task.subset(picture.subset)),
        "on": title,
        "cuts": at,
        "pictures": pictures(picture.image, title, at),
        "scores": [row for row in view.rows if (row.case, row.subset) == (picture.case, picture.subset)],
        "inferred": {region: IN_BRACKETS[one] for region, one in evidence.items()},
    }
