"""Curves and scatters as inline SVG. Their colours come from the style sheet, so that they follow light and dark."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from math import ceil, floor
from statistics import fmean
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lacunet.report.page import known

INK, MUTED, RULE, PAPER = "#000001", "#000002", "#000003", "#000004"
"""Stand-ins that become the page's colours."""
SERIES = ("#0000a0", "#0000a1", "#0000a2", "#0000a3", "#0000a4", "#0000a5")
"""Stand-ins for the colours of the regions, by index."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Lines differ in their markers too, so that a page printed in grey can be read."""


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Settings for making and saving figures; afterwards the caller's settings hold again."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False}
    with matplotlib.rc_context(settings):
        yield


def robustness(curves: Mapping[str, Mapping[int, Sequence[float]]], legends: Mapping[str, str], most: int) -> Markup:
    """Mean Dice against the number of sequences, a line per region and a small dot per subset.

    Args:
        curves: Region -> number of sequences -> mean Dice of each subset of that size.
        legends: Region -> words in the legend.
        most: How many sequences there are at most.
    """
    with drawing("robustness"):
        figure = Figure(figsize=(5.4, 3.7))
        axes = _axes(figure)
        for index, (region, sizes) in enumerate(curves.items()):
            colour, shift = SERIES[index % len(SERIES)], (index - (len(curves) - 1) / 2) * 0.09
            dots = [(size + shift, value) for size, values in sizes.items() for value in values]
            axes.plot(*_columns(dots), "o", color=colour, alpha=0.45, markersize=3.5, markeredgewidth=0)
            means = [(size + shift, fmean(values)) for size, values in sorted(sizes.items())]
            mark = MARKERS[index % len(MARKERS)]
            axes.plot(*_columns(means), color=colour, marker=mark, markersize=5.5, linewidth=1.6, label=legends[region])
        axes.set(xlim=(0.7, most + 0.3), ylim=(0, 1), xticks=range(1, most + 1))
        _labels(axes, "Number of sequences", "Mean Dice")
        axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=INK)
        return _inline(figure, "robustness", "Mean Dice against the number of sequences, by region")


def curves(lines: Mapping[str, Mapping[int, float]], most: int, index: int, title: str) -> Markup:
    """Mean Dice against the number of sequences, a line per run; the axis spans only the values.

    Args:
        lines: Run -> number of sequences -> mean Dice.
        most: How many sequences there are at most.
        index: Of this chart among those of its page; it keeps their ids apart.
        title: What is drawn, for screen readers.
    """
    name = f"curves-{index}"
    with drawing(name):
        figure = Figure(figsize=(3.5, 2.9))
        axes = _axes(figure, (0.14, 0.16, 0.84, 0.81))
        for number, sizes in enumerate(lines.values()):
            colour, mark = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
            shift = (number - (len(lines) - 1) / 2) * 0.04
            points = [(size + shift, value) for size, value in sorted(sizes.items())]
            axes.plot(*_columns(points), color=colour, marker=mark, markersize=5.5, linewidth=1.6)
        values = [value for sizes in lines.values() for value in sizes.values()]
        low = max(0.0, floor(10 * min(values, default=0.0) - 0.1) / 10)
        high = min(1.0, max(ceil(10 * max(values, default=1.0) + 0.1) / 10, low + 0.2))
        axes.set(xlim=(0.7, most + 0.3), ylim=(low, high), xticks=range(1, most + 1))
        _labels(axes, "Number of sequences", "Mean Dice")
        return _inline(figure, name, title)


def volumes(points: Mapping[str, Sequence[tuple[float, float]]], legends: Mapping[str, str]) -> Markup:
    """Predicted against reference volume in ml; axes are linear to 1 ml and logarithmic above, so that 0 can be drawn.

    Args:
        points: Region -> (reference, prediction) of each case.
        legends: Region -> words in the legend.
    """
    with drawing("volumes"):
        figure = Figure(figsize=(5.4, 3.7))
        axes = _axes(figure)
        top = max([10.0, *(value for pairs in points.values() for pair in pairs for value in pair)]) * 1.4
        axes.plot([0, top], [0, top], color=MUTED, linewidth=0.9)
        for index, (region, pairs) in enumerate(points.items()):
            colour, mark = SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]
            style: dict[str, Any] = {"marker": mark, "markersize": 5.5, "markeredgewidth": 0.6}
            axes.plot(
                *_columns(pairs), linestyle="", color=colour, markeredgecolor=PAPER, label=legends[region], **style
            )
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.5)
        axes.set_yscale("symlog", linthresh=1.0, linscale=0.5)
        ticks = [tick for tick in (0, 1, 10, 100, 1000) if tick < top]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ticks, [str(tick) for tick in ticks])
            axis.set_ticks([], minor=True)
        axes.set(xlim=(-0.15, top), ylim=(-0.15, top))
        _labels(axes, "Reference (ml)", "Prediction (ml)")
        axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=INK)
        return _inline(figure, "volumes", "Predicted against reference volume of each case, by region")


@dataclass(frozen=True)
class Whisker:
    """A mean with its interval.

    Attributes:
        name: What it is of.
        value: The mean.
        low: Lower end.
        high: Upper end.
        full: Whether its mark is filled.
    """

    name: str
    value: float
    low: float
    high: float
    full: bool


def whiskers(rows: Sequence[Whisker], reference: float, title: str) -> Markup:
    """Means with their intervals, a row each, the first on top; a line through all rows at the reference.

    Args:
        rows: What is drawn.
        reference: The value that all are compared with.
        title: What is drawn, for screen readers.
    """
    with drawing("whiskers"):
        height = 0.7 + 0.26 * len(rows)
        figure = Figure(figsize=(7.4, height))
        axes = _axes(figure, (0.34, 0.52 / height, 0.64, 1 - 0.6 / height))
        axes.axvline(reference, color=MUTED, linewidth=0.9)
        for place, row in enumerate(rows):
            axes.plot([row.low, row.high], [place, place], color=SERIES[0], linewidth=1.6)
            fill = SERIES[0] if row.full else PAPER
            axes.plot([row.value], [place], "o", color=SERIES[0], markerfacecolor=fill, markersize=6)
        axes.set(ylim=(len(rows) - 0.4, -0.6))
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        _labels(axes, "Mean Dice", "")
        return _inline(figure, "whiskers", title)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The x and the y of points."""
    return [x for x, _ in points], [y for _, y in points]


def _axes(figure: Figure, box: tuple[float, float, float, float] = (0.115, 0.135, 0.87, 0.845)) -> Axes:
    """Plain axes without background, grid lines behind the data; `box` is left, bottom, width, height in the figure."""
    figure.patch.set_visible(False)
    axes = figure.add_axes(box)
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(color=RULE, linewidth=0.7)
    for side, spine in axes.spines.items():
        spine.set(color=MUTED, linewidth=0.8, visible=side in ("left", "bottom"))
    axes.tick_params(color=MUTED, labelcolor=MUTED, labelsize=9, length=3)
    return axes


def _labels(axes: Axes, x: str, y: str) -> None:
    """Words along both axes."""
    axes.set_xlabel(x, color=INK, fontsize=9.5)
    axes.set_ylabel(y, color=INK, fontsize=9.5)


def _inline(figure: Figure, name: str, title: str) -> Markup:
    """The figure as an `<svg>` to be put into a page: named ids, the page's colours and fonts, any width."""
    buffer = StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    head = re.search(r'viewBox="([^"]*)"', text)
    body = re.sub(r"<metadata>.*?</metadata>", "", text[text.index(">") + 1 :], flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r"font: (\S+)[^;\"]*", r"font-size: \1", body).replace("xlink:href", "href")
    stand_ins = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}
    stand_ins |= {colour: f"chart-{index}" for index, colour in enumerate(SERIES)}
    for colour, variable in stand_ins.items():
        body = body.replace(colour, f"var(--{variable})")
    assert head is not None
    return Markup(f'<svg class="chart" role="img" aria-label="{escape(title)}" viewBox="{head[1]}">{body}')


DICE_PALE = 0.3
"""Dice up to which a cell of the heat map has no colour."""


@dataclass(frozen=True)
class Cell:
    """A number of the heat map, and how strong its colour is: 0 the worst, 1 the best."""

    value: float | None
    strength: float


def cell(value: float | None, worst: float, best: float) -> Cell:
    """A number with its colour's strength, linear from worst to best and cut off there."""
    if not known(value):
        return Cell(None, 0.0)
    return Cell(float(value), min(max((value - worst) / (best - worst), 0.0), 1.0))
