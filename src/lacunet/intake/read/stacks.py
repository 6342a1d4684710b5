"""From files to stacks: copies are set aside, slices that belong together are joined, what differs is split.

Numbers are compared within tolerances. What is split off a stack is told in its notes, unless it is an image
of its own.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lacunet.intake.read.dataset import pixels_of
from lacunet.intake.read.frames import Slice
from lacunet.intake.read.header import Header
from lacunet.intake.read.places import ORIENTATION_TOLERANCE, SAME_PLACE_MM, alike, directions, heights, is_even

LEAST_SLICES_OF_A_SERIES = 8
"""A series with fewer slices is a localiser or incomplete."""

SPACING_TOLERANCE = 0.01
"""Pixel spacings that differ by less than this share are one: exports round them; 1 % is 1 mm at the rim of a head."""

ECHO_TOLERANCE_MS = 1.0
"""Echo times that differ by less are one: headers round and jitter by far less, echoes of a head are further apart."""

REPETITION_TOLERANCE = 0.05
"""Repetition times of slices that may be of one scan differ by less than this share: triggered scans vary a little."""

MOST_TIMES = 2
"""A place that is scanned more often belongs to a time series, which is left whole (and out)."""

_KINDS = {"M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY"}


@dataclass(frozen=True)
class Stack:
    """Files of one stack of slices.

    Attributes:
        headers: Sorted by instance number; by height once they are a `Series`.
        copies: Number of files that hold the same as one of these, and are not used.
        notes: For the user: what was joined, and what was split off.
    """

    headers: tuple[Header, ...]
    copies: int = 0
    notes: tuple[str, ...] = ()


def stacks_of(headers: Iterable[Header]) -> list[list[Stack]]:
    """The stacks of every series. Each file is in one stack, or counted as a copy in one."""
    found = []
    for files in _joined(headers):
        files, copies = _without_copies(files, lambda header: replace(header, path=Path()), Counter())
        parts = [part for alike_files in _split(files) for part in _acquisitions(alike_files, copies)]
        parts.sort(key=lambda part: _order(part.headers))
        found.append([
            Stack(
                part.headers,
                part.copies,
                (
                    *_notes_of_joining(part.headers),
                    *_notes_of_splitting(part.headers, [one.headers for one in parts if one is not part]),
                ),
            )
            for part in parts
        ])  # fmt: skip
    return found


def _order(headers: Sequence[Header]) -> tuple[int, float, int, int, float, str]:
    """Parts of a series are lettered by their first file: number, echo, acquisition, time."""
    first = headers[0]
    time = min(header.time or 0.0 for header in headers)
    return first.instance or 0, _echo(first), first.acquisition or 0, first.temporal or 0, time, first.sop_instance


# ---------------------------------------------------------------- copies


def _without_copies(
    headers: Sequence[Header], same: Callable[[Header], object], before: Counter[Path]
) -> tuple[list[Header], Counter[Path]]:
    """The files without those that have both the same key and the same pixels as an earlier one; how many were set
    aside for each that is kept, with those set aside before."""
    by_key: dict[object, list[Header]] = defaultdict(list)
    for header in headers:
        by_key[same(header)].append(header)
    kept, copies = [], Counter(before)
    for files in by_key.values():
        seen: dict[str, Path] = {}
        for header in files:
            print_ = _fingerprint(header.path) if len(files) > 1 else ""
            if print_ in seen:
                copies[seen[print_]] += 1 + copies.pop(header.path, 0)
            else:
                seen[print_] = header.path
                kept.append(header)
    return kept, copies


def _fingerprint(path: Path) -> str:
    """Of the pixels of a file as they are stored; of its name where there are none."""
    return hashlib.blake2b(pixels_of(path) or str(path).encode()).hexdigest()


# ---------------------------------------------------------------- what belongs together


def _joined(headers: Iterable[Header]) -> list[list[Header]]:
    """The files by series.

    Single slices that each have a SeriesInstanceUID of their own, and agree in all else, are one series: some programs
    that remove names write them so."""
    by_series: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        by_series[header.series].append(header)
    lonely: dict[tuple[object, ...], list[Header]] = defaultdict(list)
    for files in by_series.values():
        first = files[0]
        places = {(one.position, one.orientation) for header in files for one in header.slices}
        if len(places) == 1 and not first.multi_frame and first.slices[0].position and first.slices[0].orientation:
            key = (first.study, first.number, first.texts, first.modality, first.rows, first.columns, kind_of(first))
            lonely[key].append(first)
    for group in lonely.values():
        for singles in _of_one_setting(group):
            if len(singles) >= LEAST_SLICES_OF_A_SERIES and _differ_in_height(singles):
                by_series[singles[0].series] = [file for one in singles for file in by_series.pop(one.series)]
    return list(by_series.values())


def _of_one_setting(headers: Sequence[Header]) -> list[list[Header]]:
    """Split where repetition time, echo time or geometry differ."""
    groups = [list(headers)]
    for tolerance, value in (
        (REPETITION_TOLERANCE, lambda header: (np.log(max(header.repetition_ms or 0.0, 1e-3)),)),
        *_TOLERANCES,
    ):
        groups = [part for group in groups for part in _parted(group, value, tolerance)]
    return groups


def _differ_in_height(headers: Sequence[Header]) -> bool:
    sorted_heights = _heights(headers)
    return len(sorted_heights) > 1 and bool(np.diff(sorted_heights).min() >= SAME_PLACE_MM)


def _notes_of_joining(headers: Sequence[Header]) -> list[str]:
    notes = []
    series = {header.series for header in headers}
    if len(series) > 1:
        notes.append(
            f"its {len(headers)} slices have {len(series)} different SeriesInstanceUIDs; they were joined, since "
            "number, description, settings and positions fit"
        )
    instances = len({header.sop_instance for header in headers})
    if instances < len(headers):
        notes.append(
            f"its {len(headers)} files share {instances} SOPInstanceUID{'s' * (instances > 1)}; they were told apart "
            "by positions and pixels"
        )
    return notes


# ---------------------------------------------------------------- what differs


def kind_of(header: Header) -> tuple[str, ...]:
    """Magnitude, phase, real or imaginary, as ImageType states it."""
    return tuple(word for word in header.image_type if word in _KINDS)


def _echo(header: Header) -> float:
    return header.slices[0].echo_ms or 0.0


def _orientation(header: Header) -> tuple[float, ...]:
    return header.slices[0].orientation or (0.0,) * 6


def _log_spacing(header: Header) -> tuple[float, ...]:
    spacing = header.slices[0].spacing
    return tuple(float(np.log(max(value, 1e-9))) for value in spacing) if spacing else (0.0, 0.0)


_TOLERANCES: tuple[tuple[float, Callable[[Header], tuple[float, ...]]], ...] = (
    (ORIENTATION_TOLERANCE, _orientation),
    (SPACING_TOLERANCE, _log_spacing),
    (ECHO_TOLERANCE_MS, lambda header: (_echo(header),)),
)


def _parted(
    headers: Sequence[Header], value: Callable[[Header], tuple[float, ...]], tolerance: float
) -> list[list[Header]]:
    groups = alike(np.array([value(header) for header in headers], float), tolerance)
    return [[header for header, own in zip(headers, groups, strict=True) if own == k] for k in range(groups.max() + 1)]


def _exact(header: Header) -> tuple[object, ...]:
    """What must agree to the letter."""
    one = header.slices[0]
    stated = one.position is not None, one.orientation is not None, one.spacing is not None, one.echo_ms is not None
    return header.modality, header.rows, header.columns, kind_of(header), header.colour, stated


def _split(headers: Sequence[Header]) -> list[list[Header]]:
    """Files of one size, kind, direction, spacing and echo; a multi-frame file is a stack by itself."""
    exact: dict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in headers:
        exact[("multi-frame", header.path) if len(header.slices) > 1 else _exact(header)].append(header)
    parts = list(exact.values())
    for tolerance, value in _TOLERANCES:
        parts = [piece for part in parts for piece in _parted(part, value, tolerance)]
    return [sorted(part, key=lambda header: (header.instance or 0, header.sop_instance)) for part in parts]


def _notes_of_splitting(own: Sequence[Header], others: Sequence[Sequence[Header]]) -> list[str]:
    """What else the series holds. An image of its own at the same places (an echo, a phase image) is no loss and not
    told; it is listed with its own reason."""
    notes = []
    for other in others:
        difference = _difference(own[0], other[0])
        if difference is None or (difference == "echo time" and _covers(other, own)):
            continue
        count = f"{len(other)} file{'s' * (len(other) > 1)}"
        notes.append(f"{count} of its series {'are' if len(other) > 1 else 'is'} no part of it: another {difference}")
    return notes


def _difference(one: Header, other: Header) -> str | None:
    """The first thing in which parts of a series differ; None for magnitude and phase."""
    if len(one.slices) > 1 or len(other.slices) > 1:
        return "multi-frame image"
    if kind_of(one) != kind_of(other):
        return None
    if (one.rows, one.columns, one.colour, one.modality) != (other.rows, other.columns, other.colour, other.modality):
        return "size or kind of image"
    a, b = one.slices[0], other.slices[0]
    if (a.position is None) != (b.position is None):
        return "way of stating the position"
    for (tolerance, value), words in zip(_TOLERANCES, ("orientation", "pixel spacing", "echo time"), strict=True):
        if np.abs(np.subtract(value(one), value(other))).max() > tolerance:
            return words
    return "acquisition"


def _covers(other: Sequence[Header], own: Sequence[Header]) -> bool:
    """Whether the other stack has a slice wherever this one has."""
    normal = _normal([*own, *other])
    theirs, mine = (heights(_slices(files), normal) for files in (other, own))
    if not (len(theirs) and len(mine)):
        return False
    return bool(np.abs(theirs[:, None] - mine[None, :]).min(axis=0).max() <= SAME_PLACE_MM)


# ---------------------------------------------------------------- several acquisitions in one


def _acquisitions(headers: Sequence[Header], copies: Counter[Path]) -> list[Stack]:
    """Two acquisitions of the same or of interleaved slices are split where a number, the time or the order gives whole
    stacks; places that hold the same pixels twice are copies."""
    if len(headers[0].slices) > 1 or not len(_heights(headers)):
        return [Stack(tuple(headers), sum(copies[header.path] for header in headers))]
    groups = _place_groups(headers)
    if len(headers) <= (groups.max() + 1) * MOST_TIMES:
        place = {header.path: int(group) for header, group in zip(headers, groups, strict=True)}
        headers, copies = _without_copies(headers, lambda header: place[header.path], copies)
        headers = sorted(headers, key=lambda header: (header.instance or 0, header.sop_instance))
    parts = next((parts for parts in _ways_to_part(headers) if _are_whole(parts)), None) or [list(headers)]
    return [Stack(tuple(part), sum(copies[header.path] for header in part)) for part in parts]


def _ways_to_part(headers: Sequence[Header]) -> Iterable[list[list[Header]]]:
    """Ways to see two acquisitions in a stack, the most trustworthy first; none for a sound stack or a time series."""
    times = np.bincount(_place_groups(headers)).max()
    b_values = {header.slices[0].b_value for header in headers}
    if is_even(_heights(headers)) or times > MOST_TIMES or len(b_values) > 1:
        return
    for numbers in ([header.acquisition for header in headers], [header.temporal for header in headers]):
        by_number: dict[int | None, list[Header]] = defaultdict(list)
        for number, header in zip(numbers, headers, strict=True):
            by_number[number].append(header)
        yield list(by_number.values())
    for order in ([header.time for header in headers], [header.instance for header in headers]):
        known = np.array([np.nan if value is None else value for value in order], float)
        ranks = np.argsort(known, kind="stable")
        middle = len(ranks) // 2
        if known[ranks[middle - 1]] < known[ranks[middle]]:  # false where one is not known
            yield [[headers[rank] for rank in half] for half in (ranks[:middle], ranks[middle:])]


def _are_whole(parts: Sequence[Sequence[Header]]) -> bool:
    """Whether parts are even stacks that lie beside or over each other, not one after the other."""
    if len(parts) < 2 or len(parts) > 3 or max(map(len, parts)) < LEAST_SLICES_OF_A_SERIES:
        return False
    levels = [_heights(part) for part in parts]
    overlap = min(level[-1] for level in levels) - max(level[0] for level in levels)
    shortest = min(level[-1] - level[0] for level in levels)
    return all(is_even(level) for level in levels) and bool(overlap >= 0.5 * shortest)


# ---------------------------------------------------------------- geometry


def _slices(headers: Sequence[Header]) -> list[Slice]:
    return [one for header in headers for one in header.slices]


def _normal(headers: Sequence[Header]) -> np.ndarray | None:
    axes = directions(_slices(headers))
    return None if axes is None else np.cross(*axes)


def _heights(headers: Sequence[Header]) -> np.ndarray:
    """Sorted; empty where one is not known."""
    return np.sort(heights(_slices(headers), _normal(headers)))


def _place_groups(headers: Sequence[Header]) -> np.ndarray:
    """The place of each file, as a number."""
    return alike(heights(_slices(headers), _normal(headers))[:, None], SAME_PLACE_MM)
