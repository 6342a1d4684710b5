"""`cohort.html`: a row for each case of a cohort, to be sorted and filtered; what needs a look stands on top."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log10
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import quote

from lacunet.cohort.cohort import Cohort
from lacunet.cohort.outliers import FAR, LEAST_CASES, REASONS, Looked, Reason, in_order, volumes_of
from lacunet.cohort.result import RegionResult, Result
from lacunet.files import write_text
from lacunet.report.page import millilitres, render, resource, sentence
from lacunet.segmentation.layout import RESULTS_TABLE
from lacunet.task import GLIOMA

TITLES: Mapping[Reason, str] = {
    "failed": "Failed",
    "caution": "Caution",
    "doubtful": "Doubtful",
    "far": "Unusual volume",
    "warned": "Note",
}
"""How the reasons for a look are called on the page."""

BINS_PER_DECADE = 8
_DECADES = 3.3
"""The chart of volumes ends at 2 litres; what is larger is in its last bar."""


def cohort_page(cohort: Cohort, folder: Path) -> str:
    """A self-contained HTML page. It needs no network, and prints.

    Args:
        cohort: The cases.
        folder: Where the page lies: its links lead from there to the pages of the cases.
    """
    looked = in_order(cohort)
    results = [case.result for case in cohort.cases if case.result]
    measured = any(region.dice is not None for result in results for region in result.regions.values())
    counts = Counter(reason for one in looked for reason in one.reasons)
    values = {
        "view": {"provenance": _provenance(results)},
        "table": RESULTS_TABLE,
        "regions": cohort.regions,
        "measured": measured,
        "cases": len(looked),
        "done": len(results),
        "without": sum(one.case.result is None for one in looked),
        "reasons": [(reason, TITLES[reason], counts[reason]) for reason in REASONS if counts[reason]],
        "quiet": sum(not one.reasons for one in looked),
        "subsets": _subsets(looked, cohort.regions),
        "charts": [
            _chart(region, number, values) for number, (region, values) in enumerate(volumes_of(cohort).items())
        ],
        "rows": [_row(one, cohort.regions, folder) for one in looked],
        "far": FAR,
        "least": LEAST_CASES,
    }
    return render("cohort.html", values, [resource("cohort.css")], [resource("cohort.js")])


def write_cohort_page(path: Path, cohort: Cohort) -> None:
    """Write the page whole or not at all.

    Args:
        path: The file. Its links lead from there to the pages of the cases.
        cohort: The cases.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, cohort_page(cohort, path.parent))


def _row(looked: Looked, regions: Sequence[str], folder: Path) -> dict[str, Any]:
    result = looked.case.result
    found = {region: result.regions.get(region) for region in regions} if result else {}
    return {
        "name": looked.case.name,
        "link": link_of(result.page, folder) if result and result.page else None,
        "reasons": looked.reasons,
        "titles": [TITLES[reason] for reason in looked.reasons],
        "said": _said(looked),
        "subset": result.subset if result else "",
        "subset_title": _subset_title(result.subset) if result else "",
        "regions": [_region(region, one) for region, one in found.items()],
        "place": _place(next((one for one in found.values() if one), None)),
    }


def link_of(page: Path, folder: Path) -> str:
    """From a page in a folder to another page. No letter of a name means anything else in it."""
    way = Path(os.path.relpath(page, folder)).as_posix()
    return quote(way, errors="surrogateescape")


def _said(looked: Looked) -> list[str]:
    """Why a case needs a look, in the order of the reasons; a failure may begin with the name of a file."""
    case, unusual = looked.case, looked.unusual
    failure = f"A later attempt failed: {case.failure}" if case.result else case.failure
    said = [failure] if case.failure else []
    if case.result is None:
        return said
    first = len(case.result.cautions) + len(case.result.doubts)
    said += map(sentence, case.result.warnings[:first])
    if unusual and unusual.far:
        volume = case.result.regions[unusual.region].volume_ml
        words = (
            f"{unusual.region.upper()} {millilitres(volume)} ml, half of the cohort {millilitres(unusual.median_ml)}"
        )
        said.append(f"{words} ml or less")
    return [*said, *map(sentence, case.result.warnings[first:])]


def _region(name: str, found: RegionResult | None) -> dict[str, Any]:
    if found is None:
        return {"name": name, "ml": None, "range": None, "inferred": False, "expected": None, "dice": None}
    low_high = found.volume_range_ml
    return {
        "name": name,
        "ml": found.volume_ml,
        "range": f"{millilitres(low_high[0])} to {millilitres(low_high[1])}" if low_high else None,
        "inferred": found.evidence == "inferred",
        "expected": found.expected_dice,
        "dice": found.dice,
    }


def _place(outer: RegionResult | None) -> dict[str, Any] | None:
    """Of the largest region: its diameters, its side, its foci."""
    if outer is None or outer.longest_mm is None or outer.across_mm is None:
        return None
    side = "both sides" if outer.side == "both" else outer.side or ""
    foci = f", {outer.foci} foci" if outer.foci != 1 else ""
    return {
        "longest": outer.longest_mm,
        "size": f"{outer.longest_mm:.0f} × {outer.across_mm:.0f}",
        "at": f"{side}{foci}",
    }


def _subsets(looked: Sequence[Looked], regions: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each subset that was used, the most frequent first."""
    by_subset: dict[str, list[Looked]] = {}
    for one in looked:
        if one.case.result:
            by_subset.setdefault(one.case.result.subset, []).append(one)
    rows = [
        {
            "name": subset,
            "title": _subset_title(subset),
            "cases": len(own),
            "doubtful": sum("doubtful" in one.reasons for one in own),
            "medians": [_median([one.case.result for one in own if one.case.result], region) for region in regions],
        }
        for subset, own in by_subset.items()
    ]
    return sorted(rows, key=lambda row: (-row["cases"], row["name"]))


def _median(results: Sequence[Result], region: str) -> float | None:
    volumes = [result.regions[region].volume_ml for result in results if region in result.regions]
    return median(volumes) if volumes else None


def _subset_title(subset: str) -> str:
    """`t1c+t2f` -> `T1ce + FLAIR`; a sequence that only another task knows keeps its name."""
    return " + ".join(GLIOMA.titles.get(modality, modality) for modality in subset.split("+"))


def _chart(region: str, index: int, volumes: Sequence[float]) -> dict[str, Any]:
    """How the volumes of a region are distributed: bars over log(1 + ml), heights and places as shares."""
    most = round(_DECADES * BINS_PER_DECADE)
    bins = Counter(min(int(log10(1 + volume) * BINS_PER_DECADE), most - 1) for volume in volumes)
    highest = max(bins.values(), default=1)
    quartiles = quantiles(volumes, n=4, method="inclusive") if len(volumes) > 1 else None
    return {
        "name": region,
        "index": index,
        "bars": [(number / most, 1 / most, count / highest, count) for number, count in sorted(bins.items())],
        "ticks": [(log10(1 + ml) / _DECADES, str(ml)) for ml in (0, 1, 10, 100, 1000)],
        "median": median(volumes) if volumes else None,
        "quartiles": (quartiles[0], quartiles[2]) if quartiles else None,
        "largest": max(volumes, default=None),
        "empty": sum(volume == 0 for volume in volumes),
    }


def _provenance(results: Sequence[Result]) -> dict[str, str]:
    """Which models, and when; all of it from the records, so that the same results give the same page."""
    if not results:
        return {}
    models = Counter(f"{one.model} {one.weights_sha256[:8]}" for one in results)
    return {
        "model" if len(models) == 1 else "models": ", ".join(
            f"{name} ({count})" for name, count in models.most_common()
        ),
        "first case": min(one.written for one in results).strftime("%Y-%m-%d %H:%M UTC"),
        "last case": max(one.written for one in results).strftime("%Y-%m-%d %H:%M UTC"),
        "median time of a case": f"{median(one.seconds for one in results):.1f} s",
    }
