"""Mean Dice and HD95 over benchmarks of several lists of cases, such as RFNet's three of BraTS 2018.

    python scripts/studies/mean_of_lists.py list-1 list-2 list-3

Each is a folder of `lacunet benchmark`, of one protocol but for its cases. Printed are the means over the subsets, of
every method and region that all of them have. The test lists may overlap, so there is no interval and no test.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

ALIKE = ("task", "budget", "subsets", "policy", "window", "precision")
"""What of the protocols must be the same, for a mean over them to mean anything."""

Key = tuple[str, str, str]
"""Method, region, measure."""


def means_of(folder: Path) -> dict[Key, float]:
    """The means over the subsets of one benchmark."""
    with (folder / "comparison.csv").open(encoding="utf-8", newline="") as file:
        return {
            (row["method"], row["region"], row["measure"]): float(row["value"])
            for row in csv.DictReader(file)
            if (row["group"], row["subsets"], row["cases"]) == ("here", "all", "all")
            and row["measure"] in ("dice", "hd95")
            and row["value"]
            and not row["training"]
        }


def differing(folders: Sequence[Path]) -> list[str]:
    """What differs between the benchmarks' protocols: entries of the protocol, or the recipes of the entrants."""
    plans = [json.loads((folder / "benchmark.json").read_text(encoding="utf-8")) for folder in folders]
    found = [key for key in ALIKE if any(plan["protocol"].get(key) != plans[0]["protocol"].get(key) for plan in plans)]
    for name, entrant in plans[0]["entrants"].items():
        if any(plan["entrants"].get(name, entrant)["asked"] != entrant["asked"] for plan in plans):
            found.append(f"recipe of {name}")
    return found


def mean_of_lists(folders: Sequence[Path]) -> dict[Key, float]:
    """The mean of the lists' means, each list counting once."""
    found = [means_of(folder) for folder in folders]
    return {key: fmean(one[key] for one in found) for key in found[0] if all(key in one for one in found)}


def main() -> None:
    """One row for each method and region."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="BENCHMARK")
    options = parser.parse_args()
    try:
        different = differing(options.folders)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}; name folders that `lacunet benchmark` wrote")
    if different:
        parser.error(f"these benchmarks differ in more than their cases: {', '.join(different)}")
    print("| method | region | measure | mean of the lists |")
    print("|---|---|---|---|")
    for (method, region, measure), value in mean_of_lists(options.folders).items():
        print(f"| {method} | {region} | {measure} | {value:.4f} |")


if __name__ == "__main__":
    main()
