"""One case at 1 mm: megabytes of its page and seconds to write it, with the viewer and without.

    python benchmarks/report.py [--case DIR] [--repeats 5]

For comparison, in the same turns: reading the same scans, which every case pays for as well.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from measure import conditions, in_turns, print_table, use_cores, write_phantom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, help="a case folder with a reference, instead of an invented patient")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cores = use_cores()
    from lacunet.data.find import find_cases
    from lacunet.data.labels import with_conventions
    from lacunet.data.nifti import load_case
    from lacunet.segmentation.page import CaseView, write_case_page
    from lacunet.task import GLIOMA

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (files,) = with_conventions(find_cases(options.case or write_phantom(folder / "cases", 7, 1.0)))
        case = load_case(files)
        assert case.reference is not None
        rows = []
        for subset in (("t1c", "t2f"), GLIOMA.modalities):
            chosen = case.only(subset)
            few = replace(files, images={modality: files.images[modality] for modality in subset}, reference=None)
            view = CaseView(
                case.name, GLIOMA, chosen.images, case.grid, case.reference, subset, dict.fromkeys(GLIOMA.regions, 1.0)
            )
            pages = {folder / f"{viewer}.html": replace(view, viewer=viewer) for viewer in (False, True)}
            calls = [lambda path=path, own=own: write_case_page(path, own) for path, own in pages.items()]
            plain, full, reading = in_turns([*calls, lambda few=few: load_case(few)], options.repeats)
            sizes = [f"{path.stat().st_size / 1e6:.1f}" for path in pages]
            times = [f"{seconds:.2f}" for seconds in (plain, full, reading)]
            rows.append([str(len(subset)), *sizes, *times])
    print(f"Medians of {options.repeats}; {conditions(cores, 'lacunet', 'numpy', 'nibabel')}\n")
    print_table(
        ["sequences", "MB without", "MB with viewer", "seconds without", "seconds with viewer", "reading the scans"],
        rows,
    )


if __name__ == "__main__":
    main()
