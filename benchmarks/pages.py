"""Seconds, memory and size of the pages of large evaluations and of their comparison.

    python benchmarks/pages.py [--cases 1251,10000] [--keep DIR]

The scores are invented: every case has all 15 subsets and three regions, so 10,000 cases are 450,000 rows a run. Each
number of cases runs in a process of its own; `--keep` leaves the folders, to look at the pages.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import conditions, print_table, use_cores

WORK = """
import resource, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from pages import make_evaluation
from lacunet.comparison.compare import compare
from lacunet.evaluation.page import EvaluationView, write_evaluation_page
from lacunet.evaluation.results import read_evaluation
from lacunet.task import GLIOMA
folder, count = Path(sys.argv[1]), int(sys.argv[2])
for seed, name in enumerate(("one", "two")):
    make_evaluation(folder / name, count, seed)
start = time.perf_counter()
read = read_evaluation(folder / "one")
page = EvaluationView("made", GLIOMA, read.summary, read.rows)
write_evaluation_page(folder / "one" / "report.html", page)
middle = time.perf_counter()
compare({"one": [folder / "one"], "two": [folder / "two"]}, folder / "both")
end = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
sizes = [(folder / page).stat().st_size / 1e6 for page in ("one/report.html", "both/compare.html")]
print(middle - start, sizes[0], end - middle, sizes[1], peak)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="1251,10000")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    cores = use_cores()
    rows = []
    for count in options.cases.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            folder = (options.keep or Path(temporary)) / count
            words = [sys.executable, "-c", WORK, str(folder), count, str(Path(__file__).parent)]
            said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
        rows.append([count, *(f"{float(number):.1f}" for number in said)])
    print(f"{conditions(cores, 'lacunet')}\n")
    head = ["cases", "evaluation: seconds", "page, MB", "comparison of two: seconds", "page, MB", "peak memory, GiB"]
    print_table(head, rows)


def make_evaluation(folder: Path, count: int, seed: int) -> None:
    """A folder as `lacunet evaluate` leaves it, with invented scores of so many cases."""
    import numpy as np

    from lacunet.evaluation.metrics import get_policy
    from lacunet.evaluation.scores import Row, summarise, write_rows
    from lacunet.files import write_json
    from lacunet.task import GLIOMA

    generator = np.random.default_rng(seed)
    shape = (count, len(GLIOMA.subsets), len(GLIOMA.regions))
    dice = np.clip(generator.normal(0.8, 0.1, (count, 1, 1)) + generator.normal(0, 0.05, shape), 0, 1)
    volumes = np.random.default_rng(9).lognormal(3, 1, count)
    rows = []
    for case, i, j in np.ndindex(shape):
        score, size = float(dice[case, i, j]), float(volumes[case] / (j + 1))
        subset, region = GLIOMA.subset_name(GLIOMA.subsets[i]), list(GLIOMA.regions)[j]
        rows.append(Row(f"made-{case:05d}", subset, region, score, 20 * (1 - score), size, size * score))
    identity = {"weights": str(seed), "policy": "brats", "postprocessing": [], "precision": "float32", "windows": None}
    told = {"data": "made", "identity": identity, "failed": {}, "environment": {"commit": "none"}}
    write_rows(folder / "cases.csv", rows)
    write_json(folder / "summary.json", {**summarise(rows, GLIOMA, get_policy("brats"), "model").to_json(), **told})


if __name__ == "__main__":
    main()
