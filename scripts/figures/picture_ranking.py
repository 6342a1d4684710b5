"""Draw a ranking: mean Dice of every entrant with its interval, the best first.

python scripts/figures/picture_ranking.py BENCHMARK -o docs/images/ranking.svg

Filled circles are those that no test tells from the first. The line is at the baseline.
"""

import argparse
import json
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lacunet.comparison.ranking import RANKING

BLUE, GREY = "#0072b2", "#777777"


def main() -> None:
    """One panel, a row per entrant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    matplotlib.rcParams["svg.hashsalt"] = "ranking"
    ranking = json.loads((options.benchmark / RANKING).read_text(encoding="utf-8"))
    FigureCanvasSVG(drawn(ranking)).print_svg(options.output, metadata={"Date": None})


def drawn(ranking: dict) -> Figure:
    """The figure of what `ranking.json` says."""
    runs = ranking["runs"]
    figure = Figure(figsize=(7.5, 0.9 + 0.26 * len(runs)), facecolor="white", layout="constrained")
    axes = figure.subplots()
    (baseline,) = (run["dice"] for run in runs if run["name"] == ranking["baseline"])
    axes.axvline(baseline, color=GREY, linewidth=0.9)
    for place, run in enumerate(runs):
        settled = run["first"] is not None and run["first"]["p_holm"] <= ranking["level"]
        axes.plot([run["low"], run["high"]], [place, place], color=BLUE, linewidth=1.5)
        axes.plot(run["dice"], place, "o", color=BLUE, markerfacecolor="white" if settled else BLUE, markersize=6)
    axes.set_yticks(range(len(runs)), [run["name"] for run in runs], fontsize=9)
    axes.set(ylim=(len(runs) - 0.5, -0.5))
    axes.set_xlabel(f"Mean Dice over regions and subsets, {ranking['cases']} cases", fontsize=9)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
