"""The page of a change: both visits side by side, the numbers, and the verdict in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from lacunet.case import Grid
from lacunet.files import write_text
from lacunet.report.page import render, sentence
from lacunet.report.pictures import Cut, cuts, outlined, pictures
from lacunet.stats.intervals import Span
from lacunet.task import Task
from lacunet.visits.numbers import Comparison, RegionChange
from lacunet.visits.placed import Tissue
from lacunet.visits.words import range_words, reasons, signed, signed_percent

Images = Mapping[str, Shaped[np.ndarray, "x y z"]]
Labels = UInt8[np.ndarray, "x y z"]

_MOST_SEQUENCES = 2
"""So many sequences are shown of each visit."""


@dataclass(frozen=True)
class ChangeView:
    """All that the page of a change shows.

    Attributes:
        names: Of the cases: the earlier and the later visit.
        task: Names of modalities and regions.
        days: Between the visits; None where it is not known.
        verdict: A sentence without its full stop.
        everything: From the sequences of each visit.
        common: From those that both have; None where there is none.
        tissue: By region, of the masks that are outlined.
        grid: RAS+ grid of all arrays: the earlier visit's.
        images: Of the earlier visit, and of the later one as it lies on it.
        labels: Of the earlier visit, and of the later one as it lies on it.
        shown: The sequences to show, best first.
        pictured: Whether the scans may be shown.
        warnings: Sentences that a reader must not miss.
        provenance: In the order in which it is printed.
    """

    names: tuple[str, str]
    task: Task
    days: int | None
    verdict: str
    everything: Comparison
    common: Comparison | None
    tissue: Mapping[str, Tissue]
    grid: Grid
    images: tuple[Images, Images]
    labels: tuple[Labels, Labels]
    shown: Sequence[str]
    pictured: bool
    warnings: Sequence[str]
    provenance: Mapping[str, str]


def change_page(view: ChangeView) -> str:
    """A self-contained HTML page."""
    at = _cuts(view)
    values = {
        "view": view,
        "visits": [_visit(view, "Earlier", 0), _visit(view, "Later", 1)],
        "interval": _interval(view.days),
        "tables": _tables(view),
        "reasons": reasons(view.common, view.task) if view.common else [],
        "products": _products(view.common or view.everything, view.task),
        "same": view.common is not None,
        "tissue": [(view.task.titles[region], one) for region, one in view.tissue.items()],
        "regions": [{"index": index, "title": view.task.titles[name]} for index, name in enumerate(view.task.regions)],
        "rows": _rows(view, at) if view.pictured else [],
    }
    return render("change.html", values)


def write_change_page(path: Path, view: ChangeView) -> None:
    """Write the page whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, change_page(view))


def _cuts(view: ChangeView) -> list[Cut]:
    """The slices with most tumour of either visit, and the outlines of both."""
    either = ((view.labels[0] > 0) | (view.labels[1] > 0)).astype(np.uint8)
    return cuts(view.task, view.images[0], view.grid, either, None)


def _visit(view: ChangeView, word: str, number: int) -> dict[str, str]:
    measured = (view.everything.earlier, view.everything.later)[number]
    return {"word": word, "name": view.names[number], "sequences": view.task.subset_title(measured.subset)}


def _interval(days: int | None) -> str:
    return "" if days is None else "same day" if days == 0 else f"{days} day{'' if days == 1 else 's'} apart"


def _tables(view: ChangeView) -> list[dict[str, Any]]:
    """A table for the same sequences, and one for everything where that is something else."""
    found = []
    if view.common is not None:
        title = f"With the sequences of both visits: {view.task.subset_title(view.common.earlier.subset)}"
        found.append({"title": title, "rows": _numbers(view.common, view.task), "decides": True})
    if view.common is None or not view.everything.equal:
        first, second = (view.task.subset_title(one.subset) for one in (view.everything.earlier, view.everything.later))
        title = f"With everything: {first} earlier, {second} later"
        found.append({"title": title, "rows": _numbers(view.everything, view.task), "decides": False})
    return found


def _numbers(one: Comparison, task: Task) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "name": region,
            "title": task.titles[region],
            "change": change,
            "ml": signed(change.ml),
            "percent": "–" if change.percent is None else signed_percent(change.percent),
            "range": range_words(change.span, one.coverage),
            "percent_range": _percent_range(change.percent_span),
        }
        for index, (region, change) in enumerate(one.regions.items())
    ]


def _percent_range(span: Span | None) -> str:
    return "" if span is None else f"{signed_percent(span[0])} to {signed_percent(span[1])}"


def _products(one: Comparison, task: Task) -> list[dict[str, Any]]:
    def row(region: str, change: RegionChange) -> dict[str, Any]:
        product = change.product
        assert product is not None
        reached = {"+25 %": "+25 % or more", "-50 %": "−50 % or more", None: "neither"}[product.threshold]
        words = {"title": task.titles[region], "percent": signed_percent(product.percent), "reached": reached}
        return {"name": region, "product": product, **words}

    return [row(region, change) for region, change in one.regions.items() if change.product]


def _rows(view: ChangeView, at: list[Cut]) -> list[dict[str, Any]]:
    """A row for each sequence: the same slices of both visits, each with its own outlines and those of the other."""
    found = []
    for modality in view.shown[:_MOST_SEQUENCES]:
        pair = []
        for number, word in enumerate(("earlier", "later")):
            own, other = view.labels[number], view.labels[1 - number]
            marked = [outlined(cut, view.task, {"other-visit": other, "this-visit": own}) for cut in at]
            title = f"{view.task.titles[modality]}, {word} visit"
            drawn = pictures(view.images[number][modality], title, marked) if modality in view.images[number] else []
            pair.append({"word": sentence(f"{word} visit"), "pictures": drawn, "cuts": marked})
        found.append({"title": view.task.titles[modality], "visits": pair})
    return found


def sequences_shown(task: Task, images: tuple[Images, Images], by: tuple[str, str]) -> list[str]:
    """The sequences to show: those that both have, that of the registration first; else those of the registration."""
    both = [name for name in task.modalities if name in images[0] and name in images[1]]
    first = [name for name in ("t1c", "t2f", *both) if name in both]
    return list(dict.fromkeys(first or by))
