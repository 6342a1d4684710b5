"""Draw how methods learnt, and what they score with few and with many sequences: validation and test of some runs.

python scripts/figures/picture_curves.py RUN... -o docs/images/curves.svg      each with its evaluation in RUN/test
"""

import argparse
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lacunet.evaluation.summary import read_summary
from lacunet.training.log import last_validations

COLOURS = ("#000000", "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#d55e00")
"""Told apart by those who see few colours (Okabe and Ito 2008)."""
MARKERS = ("o", "s", "^", "D", "v", "P")


def main() -> None:
    """Four panels: validation over the training, then Dice over the number of sequences in each region."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    matplotlib.rcParams["svg.hashsalt"] = "curves"
    figure = Figure(figsize=(11, 3.3), facecolor="white", layout="constrained")
    learning, *regions = figure.subplots(1, 4)
    for index, run in enumerate(options.runs):
        style = {"color": COLOURS[index], "marker": MARKERS[index], "markersize": 4.5, "linewidth": 1.4}
        learning.plot(*zip(*validation(run), strict=True), label=run.name, **style)
        by_size = read_summary(run / "test" / "summary.json").by_size
        for axes, region in zip(regions, ("wt", "tc", "et"), strict=True):
            axes.plot(list(by_size), [means[region].dice for means in by_size.values()], **style)
    finish(learning, "Validation", "Share of the last stage's steps", "Mean Dice")
    for axes, region in zip(regions, ("Whole tumour", "Tumour core", "Enhancing tumour"), strict=True):
        finish(axes, f"Test: {region.lower()}", "Number of sequences", "Dice")
        axes.set_xticks(range(1, 5))
    figure.legend(loc="outside lower center", ncols=len(options.runs), frameon=False)
    FigureCanvasSVG(figure).print_svg(options.output, metadata={"Date": None})


def validation(run: Path) -> list[tuple[float, float]]:
    """(share of the last stage's steps that are done, mean Dice over subsets and regions)."""
    own = last_validations(run)
    return [(line["step"] / own[-1]["step"], line["validation_mean"]) for line in own]


def finish(axes: Axes, title: str, x: str, y: str) -> None:
    """Words, rules and no box."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
