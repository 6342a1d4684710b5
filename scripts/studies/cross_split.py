"""A split that trains on one cohort and tests on another, from a split of both.

python scripts/studies/cross_split.py DATA/split.json --train Brats18_ --test BraTS2021_ -o cross.json

Cohorts are told by how names begin. Training and validation keep their parts; all of the other cohort's cases test,
whatever part they were in, since nothing has seen them.
"""

import argparse
from pathlib import Path

from lacunet.data.split import read_split
from lacunet.files import write_json


def main() -> None:
    """Read the command line, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--train", required=True, help="how the names begin that train and validate")
    parser.add_argument("--test", required=True, help="how the names begin that test")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    parts = cross(read_split(options.split), options.train, options.test)
    if empty := [part for part, names in parts.items() if not names]:
        raise SystemExit(f"{options.split}: no name is left for {', '.join(empty)}")
    write_json(options.output, parts)
    print(f"{options.output}: " + ", ".join(f"{len(names)} {part}" for part, names in parts.items()))


def cross(parts: dict[str, list[str]], train: str, test: str) -> dict[str, list[str]]:
    """The parts of the new split."""
    kept = {part: [name for name in parts.get(part, []) if name.startswith(train)] for part in ("train", "val")}
    others = [name for names in parts.values() for name in names if name.startswith(test)]
    return {**kept, "test": sorted(others)}


if __name__ == "__main__":
    main()
