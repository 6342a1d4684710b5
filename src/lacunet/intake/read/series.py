"""From headers to series: files that belong together, in the order of their slices; and why a stack is not used.

A DICOM series may hold several images (echoes, magnitude and phase, three planes of a localiser): it is split so
that each part is one stack of slices of one shape. The parts of a series are called `4a`, `4b`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lacunet.data.words import shown
from lacunet.intake.read.header import Header, Slice

LEAST_SLICES_OF_A_SERIES = 8
"""A series with fewer slices is a localiser or incomplete."""

LEAST_COVERAGE_MM = 60.0
"""A stack thinner than this does not show a whole head."""

UNEVEN_MM = 0.25
"""Slices farther than this from equal distances are interpolated, with a warning."""

_KINDS = {"M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY"}
_LEVEL_MS = 3.0


@dataclass(frozen=True)
class Series:
    """One stack of slices.

    Attributes:
        key: `4`, or `4a`, `4b` for parts of one series: the user's name for it.
        headers: Of its files, in the order of the slices.
        slices: Of all its files, in that order.
        copies: Number of files that were there twice.
    """

    key: str
    headers: tuple[Header, ...]
    slices: tuple[Slice, ...]
    copies: int = 0

    @property
    def first(self) -> Header:
        """The header of the first file, for values that are the same in all files."""
        return self.headers[0]

    @property
    def label(self) -> str:
        """`series 4 (T1 AX POST GAD)`: recognised words only."""
        words = shown(*self.first.texts)
        return f"series {self.key} ({words})" if words else f"series {self.key}"

    @cached_property
    def normal(self) -> np.ndarray | None:
        """Unit vector across the slices (LPS+); None where the header does not give their orientation."""
        orientation = self.slices[0].orientation
        if orientation is None:
            return None
        normal = np.cross(orientation[:3], orientation[3:])
        length = float(np.linalg.norm(normal))
        return normal / length if length > 0.9 else None

    @cached_property
    def steps(self) -> np.ndarray:
        """Millimetres between neighbouring slices; empty where positions are missing."""
        return np.diff(_positions(self.slices, self.normal))

    @property
    def coverage_mm(self) -> float:
        """From the first slice to the last."""
        return float(np.abs(self.steps).sum()) if len(self.steps) else 0.0

    @property
    def step_mm(self) -> float:
        """Median distance of slices."""
        return float(np.median(np.abs(self.steps))) if len(self.steps) else 0.0

    @property
    def largest_step_mm(self) -> float:
        """Largest distance of neighbouring slices."""
        return float(np.abs(self.steps).max()) if len(self.steps) else 0.0

    @property
    def unevenness_mm(self) -> float:
        """Largest distance of a slice from its position at equal distances."""
        positions = _positions(self.slices, self.normal)
        if len(positions) < 3:
            return 0.0
        return float(np.abs(positions - np.linspace(positions[0], positions[-1], len(positions))).max())

    @property
    def missing_slices(self) -> int:
        """Number of slices that seem to be missing between the first and the last."""
        step = self.step_mm
        return int(np.maximum(np.rint(np.abs(self.steps) / step) - 1, 0).sum()) if step > 0 else 0

    @property
    def derived(self) -> bool:
        """Whether the scanner or a program calculated it from other images."""
        return self.first.image_type[:1] == ("DERIVED",)


def counted(count: int, one: str, many: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {one if count == 1 else many}"


def group(headers: Iterable[Header]) -> list[Series]:
    """Group files to series, split where geometry, echo or kind differ, sorted by series number."""
    by_series: dict[str, dict[str, Header]] = defaultdict(dict)
    copies: dict[str, int] = defaultdict(int)
    for header in headers:
        if header.sop_instance in by_series[header.series]:
            copies[header.series] += 1
        by_series[header.series].setdefault(header.sop_instance, header)
    found: list[tuple[int, list[Series]]] = []
    for uid, files in by_series.items():
        parts = _split(list(files.values()))
        number = parts[0][0].number
        series = [Series(str(number if number is not None else "?"), tuple(part), _slices(part)) for part in parts]
        series = [_sorted(one) for one in series]
        series[0] = replace(series[0], copies=copies[uid])
        found.append((number if number is not None else 10**9, series))
    found.sort(key=lambda entry: (entry[0], entry[1][0].first.time or 0.0, entry[1][0].first.series))
    return _numbered([series for _, series in found])


def _numbered(found: Sequence[list[Series]]) -> list[Series]:
    """Give every series its own key: `4a`, `4b` for parts; `4`, `4-2` where two series have one number."""
    taken: dict[str, int] = defaultdict(int)
    named: list[Series] = []
    for parts in found:
        number = parts[0].key
        taken[number] += 1
        base = number if taken[number] == 1 else f"{number}-{taken[number]}"
        for k, part in enumerate(parts):
            named.append(replace(part, key=base + (_letters(k) if len(parts) > 1 else "")))
    return named


def _letters(k: int) -> str:
    return chr(97 + k) if k < 26 else _letters(k // 26 - 1) + chr(97 + k % 26)


def _split(headers: Sequence[Header]) -> list[list[Header]]:
    parts: dict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in headers:
        parts[_split_key(header)].append(header)
    merged = [sorted(part, key=lambda header: (header.instance or 0, header.sop_instance)) for part in parts.values()]
    return sorted(
        merged, key=lambda part: (part[0].instance or 0, part[0].slices[0].echo_ms or 0.0, part[0].sop_instance)
    )


def _split_key(header: Header) -> tuple[object, ...]:
    if header.multi_frame:
        return ("multi-frame", header.sop_instance)
    one = header.slices[0]
    orientation = tuple(round(value, 2) + 0.0 for value in one.orientation) if one.orientation else None
    spacing = tuple(round(value, 3) for value in one.spacing) if one.spacing else None
    echo = round(one.echo_ms / _LEVEL_MS) if one.echo_ms is not None else None
    kind = tuple(word for word in header.image_type if word in _KINDS)
    return header.modality, header.rows, header.columns, orientation, spacing, echo, kind, header.colour


def _slices(headers: Sequence[Header]) -> tuple[Slice, ...]:
    return tuple(one for header in headers for one in header.slices)


def _positions(slices: Sequence[Slice], normal: np.ndarray | None) -> np.ndarray:
    """The position of each slice along the normal, mm; empty where a slice has none."""
    if normal is None or any(one.position is None for one in slices):
        return np.zeros(0)
    return np.asarray(np.array([one.position for one in slices], float) @ normal)


def _sorted(series: Series) -> Series:
    """The series with files and slices sorted along the normal."""
    positions = _positions(series.slices, series.normal)
    if not len(positions):
        return series
    order = np.argsort(positions, kind="stable")
    slices = tuple(series.slices[k] for k in order)
    if len(series.headers) != len(series.slices):
        return replace(series, slices=slices)
    return replace(series, headers=tuple(series.headers[k] for k in order), slices=slices)


# ---------------------------------------------------------------- stacks that are not used


def wrong_stack(series: Series) -> str | None:
    """Too few slices, repeated slices, or slices without position; None where the stack is sound."""
    count = len(series.slices)
    if count < LEAST_SLICES_OF_A_SERIES:
        return f"has {count} slice{'s' * (count > 1)}, too few for a head (at least {LEAST_SLICES_OF_A_SERIES})"
    if series.normal is None or not len(series.steps):
        return "does not say where its slices lie (position or orientation missing)"
    if series.slices[0].spacing is None or min(series.slices[0].spacing) <= 0:
        return "has no pixel spacing, or one that is not positive"
    still = int((np.abs(series.steps) < 1e-3).sum())
    if still:
        times = count / max(count - still, 1)
        kind = (
            "diffusion"
            if len({one.b_value for one in series.slices}) > 1
            else "a time series, several echoes or copies"
        )
        return f"holds the same slices {times:.0f} times or more ({kind})" if times >= 1.9 else (
            f"has {still} slices twice at one place; it cannot be told which belong together"
        )  # fmt: skip
    if series.coverage_mm < LEAST_COVERAGE_MM:
        return f"covers {series.coverage_mm:.0f} mm only, less than a head (at least {LEAST_COVERAGE_MM:.0f} mm)"
    return None
