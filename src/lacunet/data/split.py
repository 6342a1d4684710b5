"""Which cases are for training, validation and test: split files, folds by person, hashes of published lists."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lacunet.case import CaseFiles
from lacunet.data.names import person_of
from lacunet.errors import DataError, nearest
from lacunet.reading import read_json, read_text, shown

_EXPECTED = 'an object such as {"train": ["case-1"], "val": [], "test": []} is expected'
PARTS = ("train", "val", "test")
RUN_SPLIT = "split.json"
"""In a run folder: the split file of the cases that it trains on and validates with."""


@dataclass(frozen=True)
class Fold:
    """Names of cases; no person is in both parts."""

    train: tuple[str, ...]
    val: tuple[str, ...]


def folds(cases: Sequence[CaseFiles], number: int, seed: int) -> list[Fold]:
    """Cross-validation by person: each person is in the `val` part of exactly one fold.

    Persons are shuffled (by `seed`, independent of the order of `cases`) and dealt out in turn, so that the numbers
    of persons per fold differ by at most one.

    Raises:
        DataError: fewer persons than folds, or fewer than two folds.
    """
    persons = sorted({case.person for case in cases})
    if not 2 <= number <= len(persons):
        raise DataError(
            f"{number} folds of {len(persons)} persons; at least two folds and a person for each are needed"
        )
    order = np.random.default_rng(seed).permutation(len(persons))
    fold_of = {persons[int(person)]: index % number for index, person in enumerate(order)}
    return [
        Fold(
            train=tuple(sorted(case.name for case in cases if fold_of[case.person] != fold)),
            val=tuple(sorted(case.name for case in cases if fold_of[case.person] == fold)),
        )
        for fold in range(number)
    ]


def read_split(
    path: Path, cases: Sequence[CaseFiles] | None = None, faulty: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Part -> names of cases, from JSON (`{"train": [...], "val": [...], "test": [...]}`), from a text file with one
    name per line (one part, named after the file), or from a folder of such text files.

    Args:
        path: The file or folder.
        cases: Where given, every name must be one of these cases, and no person may have cases in two parts.
        faulty: Names of cases that are there too, but cannot be used.

    Raises:
        DataError: unreadable, empty, a name twice, a person in two parts, or names that are not in `cases`.
    """
    parts = {part: [bare_id(name) for name in names] for part, names in _read_parts(path).items()}
    _refuse_repeats(path, parts)
    if cases is not None:
        _refuse_unknown(path, parts, [*(case.name for case in cases), *faulty])
    _refuse_shared_persons(path, parts, {case.name: case.person for case in cases or ()})
    return parts


def split_hash(names: Iterable[str]) -> str:
    """Identifies a list of cases: SHA-256 of the sorted names, one per line, without `HG_` and `LG_`."""
    lines = "\n".join(sorted(bare_id(name) for name in names))
    return hashlib.sha256(lines.encode()).hexdigest()


def bare_id(name: str) -> str:
    """`HG_BraTS20_Training_001` -> `BraTS20_Training_001`: published lists mark the grade in the name."""
    return name[3:] if name.startswith(("HG_Bra", "LG_Bra")) else name


def _read_parts(path: Path) -> dict[str, list[str]]:
    try:
        if path.is_dir():
            lists = sorted(entry for entry in path.glob("*.txt") if not entry.name.startswith("."))
            if not lists:
                raise DataError(f"{path}: no split here; JSON, or text files with one case a line are expected")
            return {entry.stem: _lines(entry) for entry in lists}
        if path.suffix.lower() == ".json":
            return _json_parts(path, read_json(path, DataError, _EXPECTED))
        return {path.stem: _lines(path)}
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a split ({error.strerror})") from error


def read_list(path: Path) -> list[str]:
    """Names of cases, one per line.

    Raises:
        DataError: the file cannot be read as text.
    """
    return _lines(path)


def _lines(path: Path) -> list[str]:
    lines = read_text(path, DataError, "a list has one case on each line").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _json_parts(path: Path, content: object) -> dict[str, list[str]]:
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{path}: {_EXPECTED}")
    for part, names in content.items():
        if part not in PARTS:
            raise DataError(f"{path}: unknown part {shown(part)}{nearest(str(part), PARTS)}; known: {', '.join(PARTS)}")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path}: part {shown(part)} is no list of names; {_EXPECTED}")
    return {str(part): list(names) for part, names in content.items()}


def _refuse_repeats(path: Path, parts: Mapping[str, Sequence[str]]) -> None:
    if not any(parts.values()):
        raise DataError(f"{path}: names no case")
    places: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if name in places:
                where = f"twice in {part}" if places[name] == part else f"in {places[name]} and in {part}"
                raise DataError(f"{path}: case {name} is {where}; keep it once")
            places[name] = part


def _refuse_unknown(path: Path, parts: Mapping[str, Sequence[str]], known: Sequence[str]) -> None:
    unknown = [name for names in parts.values() for name in names if name not in set(known)]
    if unknown:
        shown = ", ".join(f"'{name}'{nearest(name, known)}" for name in unknown[:3])
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise DataError(f"{path}: {len(unknown)} cases are not in the data: {shown}{more}")


def _refuse_shared_persons(path: Path, parts: Mapping[str, Sequence[str]], persons: Mapping[str, str]) -> None:
    """Refuse a person in two parts: a test on persons of the training says nothing."""
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for part, names in parts.items():
        for name in names:
            places[persons.get(name) or person_of(name)][part] = name
    for person, found in places.items():
        if len(found) > 1:
            listed = " and ".join(f"{name} in {part}" for part, name in found.items())
            raise DataError(
                f"{path}: person {person} is in several parts ({listed}); keep all cases of a person together"
            )
