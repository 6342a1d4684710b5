"""What tells labels from scans: the share of equal neighbours in scans and references, and how much of the brain the
references cover. Chooses the limits of `lacunet.data.content`; prints one line.

python scripts/studies/label_facts.py DATA [--split FILE:PART]
"""

import argparse
from pathlib import Path

from lacunet.data.content import equal_neighbours, share_of_brain
from lacunet.data.labelled import labelled, named_part
from lacunet.data.volume import read_voxels
from lacunet.task import GLIOMA


def main() -> None:
    """Print the extremes over all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split")
    options = parser.parse_args()
    cases = labelled(options.data, GLIOMA, None)
    cases = named_part(cases, options.split) if options.split else cases
    scans, masks, shares = [], [], []
    for case in cases:
        images = [read_voxels(file.path) for file in case.images.values()]
        scans += [equal_neighbours(image) for image in images]
        if case.reference is not None:
            reference = read_voxels(case.reference.path)
            masks.append(equal_neighbours(reference))
            shares.append(share_of_brain(reference, images))
    print(
        f"{len(cases)} cases: equal neighbours in scans at most {max(scans):.2f}, "
        f"in references at least {min(masks):.2f};"
    )
    print(f"references cover at most {max(shares):.2f} of the brain")


if __name__ == "__main__":
    main()
