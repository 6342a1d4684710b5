"""Published lists of cases, recognised in a folder by their content. The lists themselves are not in the package.

`lists.toml` holds the number of cases and the hash of each list; the user says where the files are.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from lacunet.data.split import PARTS, bare_id, read_list, read_split, split_hash
from lacunet.errors import DataError, UsageError, nearest


@dataclass(frozen=True)
class KnownList:
    """One list: how many cases, and SHA-256 of their sorted names."""

    cases: int
    sha256: str


@dataclass(frozen=True)
class Lists:
    """The three lists of one published split.

    Attributes:
        name: Its name in settings.
        dataset: The challenge's data.
        source: Where the lists can be downloaded.
        parts: `train`, `val`, `test`.
    """

    name: str
    dataset: str
    source: str
    parts: Mapping[str, KnownList]


@cache
def known_lists() -> dict[str, Lists]:
    """Every published split, by name."""
    text = files("lacunet.comparison.published").joinpath("lists.toml").read_text(encoding="utf-8")
    return {
        name: Lists(name, entry["dataset"], entry["source"], {part: KnownList(**entry[part]) for part in PARTS})
        for name, entry in tomllib.loads(text).items()
    }


def get_lists(name: str) -> Lists:
    """The published split of this name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    known = known_lists()
    if name not in known:
        raise UsageError(f"no published lists '{name}'{nearest(name, known)}; known: {', '.join(known)}")
    return known[name]


def find_lists(path: Path, lists: Lists, parts: Sequence[str] = PARTS) -> dict[str, list[str]]:
    """The names of a split's parts, from a JSON split or from a folder of text files that may hold other lists too.

    Args:
        path: `split.json`, or a folder with `train1.txt`, `val1.txt`, `test1.txt`, ...
        lists: The published split to find.
        parts: Which of the three.

    Returns:
        Part -> names, `HG_` and `LG_` taken off.

    Raises:
        DataError: none of the lists there is the published one.
    """
    there = _named_lists(path)
    by_hash = {split_hash(names): names for names in there.values()}
    wanted = {part: lists.parts[part] for part in parts}
    for part, known in wanted.items():
        if known.sha256 not in by_hash:
            listed = ", ".join(f"{name} ({len(names)})" for name, names in there.items()) or "none"
            raise DataError(
                f"{path}: no list here is the {part} list of {lists.name} ({known.cases} cases, hash "
                f"{known.sha256[:12]}...); lists here: {listed}; give the folder that holds them: --lists FOLDER. "
                f"Source: {lists.source}"
            )
    return {part: by_hash[known.sha256] for part, known in wanted.items()}


def _named_lists(path: Path) -> dict[str, list[str]]:
    """Each list of a folder or a split, by its name; lists of several splits may overlap."""
    if path.is_dir():
        texts = sorted(entry for entry in path.glob("*.txt") if not entry.name.startswith("."))
        return {entry.stem: [bare_id(name) for name in read_list(entry)] for entry in texts}
    return read_split(path)
