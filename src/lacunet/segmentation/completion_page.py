"""The page of a completed case: the scans there are, and estimates of the others, each marked as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from lacunet.case import Grid
from lacunet.files import write_text
from lacunet.report.page import join_words, render
from lacunet.report.pictures import Cut, cuts, pictures
from lacunet.task import Subset, Task

STAMP = "SYNTHETIC"
"""Burnt into every picture of an estimate, so that a copy of the picture says it too."""


@dataclass(frozen=True)
class CompletionView:
    """All that the page shows.

    Attributes:
        name: The case's name.
        task: Names of modalities.
        images: What was acquired, on `grid`.
        grid: RAS+ grid of all arrays.
        subset: The modalities that the network saw.
        estimates: The others, as the network expects them; 0 is background.
        tumour: Labels that a model found, which decide where the slices lie; they are not drawn.
        warnings: Sentences that a reader must not miss.
        provenance: In the order in which it is printed.
        pictured: Whether scans and estimates may be shown.
    """

    name: str
    task: Task
    images: Mapping[str, Shaped[np.ndarray, "x y z"]]
    grid: Grid
    subset: Subset
    estimates: Mapping[str, Shaped[np.ndarray, "x y z"]]
    tumour: UInt8[np.ndarray, "x y z"]
    warnings: Sequence[str]
    provenance: Mapping[str, str]
    pictured: bool = True


def completion_page(view: CompletionView) -> str:
    """A self-contained HTML page."""
    at = [replace(cut, outlines=()) for cut in cuts(view.task, view.images, view.grid, view.tumour, None)]
    titles = view.task.titles
    values = {
        "view": view,
        "estimated": join_words([titles[modality] for modality in view.estimates]),
        "used": join_words([titles[modality] for modality in view.subset]),
        "sequences": [
            {"title": titles[name], "state": "used" if name in view.subset else "estimated"}
            for name in view.task.modalities
        ],
        "cuts": at,
        "rows": _rows(view, at) if view.pictured else [],
    }
    return render("completion.html", values)


def write_completion_page(path: Path, view: CompletionView) -> None:
    """Write the page whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, completion_page(view))


def _rows(view: CompletionView, at: list[Cut]) -> list[dict[str, Any]]:
    """A row of pictures for each scan and each estimate, a sequence's scan before its estimate."""
    rows: list[dict[str, Any]] = []
    for modality in view.task.modalities:
        title = view.task.titles[modality]
        if modality in view.images:
            note = "" if modality in view.subset else "scan, not shown to the network"
            drawn = pictures(view.images[modality], title, at)
            rows.append({"title": title, "note": note, "pictures": drawn, "estimate": False})
        if modality in view.estimates:
            drawn = pictures(view.estimates[modality], f"{title}, estimated, not a scan", at, STAMP)
            rows.append({"title": title, "note": "", "pictures": drawn, "estimate": True})
    return rows
