"""From headers to series: files that belong together, in the order of their slices; and why a stack is not used.

A DICOM series may hold several images (echoes, magnitude and phase, three planes of a localiser): it is split so
that each part is one stack of slices of one shape. The parts of a series are called `4a`, `4b`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from lacunet.data.words import shown
from lacunet.intake.read.frames import Slice
from lacunet.intake.read.header import Header
from lacunet.intake.read.places import (
    EXACT_MM,
    SAME_PLACE_MM,
    UNEVEN_MM,
    directions,
    heights,
    is_even,
    orientations,
)
from lacunet.intake.read.stacks import LEAST_SLICES_OF_A_SERIES, Stack, stacks_of

LEAST_COVERAGE_MM = 60.0
"""A stack thinner than this does not show a whole head."""

MOST_COVERAGE_MM = 1000.0
"""A stack that reaches farther shows no head, or holds a slice that lies elsewhere."""

STRAIGHT = 0.005
"""A stack whose slices are shifted sideways by less than this share of its height is straight: rounding does that."""


@dataclass(frozen=True)
class Series:
    """One stack of slices.

    Attributes:
        key: `4`, or `4a`, `4b` for parts of one series: the user's name for it.
        headers: Of its files, in the order of the slices.
        slices: Of all its files, in that order.
        copies: Number of files that hold the same as one of these, and are not used.
        notes: What was joined or split off to make it, for the user.
    """

    key: str
    headers: tuple[Header, ...]
    slices: tuple[Slice, ...]
    copies: int = 0
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> Header:
        """The header of the first file, for values that are the same in all files."""
        return self.headers[0]

    @property
    def label(self) -> str:
        """`series 4 (T1 AX POST GAD)`: recognised words only."""
        words = shown(*self.first.texts)
        return f"series {self.key} ({words})" if words else f"series {self.key}"

    @property
    def files(self) -> int:
        """Number of files that it accounts for: those in use and copies of them."""
        return len(self.headers) + self.copies

    @cached_property
    def directions(self) -> Float[np.ndarray, "2 3"] | None:
        """Unit vectors along the rows and down the columns (LPS+); None where the header does not state them."""
        return directions(self.slices)

    @cached_property
    def normal(self) -> np.ndarray | None:
        """Unit vector across the slices (LPS+); None where the header does not give their orientation."""
        return None if self.directions is None else np.cross(*self.directions)

    @cached_property
    def spacing(self) -> tuple[float, float] | None:
        """Millimetres between rows, and between columns: the median; None where a slice does not state them."""
        given = [one.spacing for one in self.slices if one.spacing is not None]
        if len(given) < len(self.slices):
            return None
        row, column = np.median(np.array(given, float), axis=0)
        return float(row), float(column)

    @cached_property
    def heights(self) -> np.ndarray:
        """The position of each slice along the normal, mm, ascending; empty where positions are missing."""
        return heights(self.slices, self.normal)

    @cached_property
    def steps(self) -> np.ndarray:
        """Millimetres between neighbouring slices; empty where positions are missing."""
        return np.diff(self.heights)

    @cached_property
    def line(self) -> tuple[np.ndarray, np.ndarray]:
        """The position of the first slice and the step to the next (LPS+, mm), equal distances assumed.

        From the first slice to the last; where positions are rounded or jitter, the straight line that fits them best.
        """
        positions = np.array([one.position for one in self.slices], float)
        count = len(positions)
        step = (positions[-1] - positions[0]) / (count - 1)
        if count < 3 or self.off_line_mm <= EXACT_MM or not self.even:
            return positions[0], step
        numbers = np.arange(count) - (count - 1) / 2
        step = numbers @ positions / (numbers @ numbers)
        assert self.normal is not None
        if np.linalg.norm(step - self.normal * (step @ self.normal)) <= STRAIGHT * np.linalg.norm(step):
            step = self.normal * (step @ self.normal)
        return positions.mean(axis=0) - step * (count - 1) / 2, step

    @cached_property
    def even(self) -> bool:
        """Whether slices lie at equal distances, as nearly as matters."""
        return is_even(self.heights)

    @cached_property
    def off_line_mm(self) -> float:
        """Largest distance of a slice from its place at equal distances on the line from the first to the last."""
        positions = np.array([one.position for one in self.slices], float)
        return float(np.linalg.norm(positions - np.linspace(positions[0], positions[-1], len(positions)), axis=1).max())

    @cached_property
    def sideways_mm(self) -> float:
        """Largest distance of a slice, within its plane, from the straight line through the stack."""
        positions = np.array([one.position for one in self.slices], float)
        ends = np.interp(self.heights, self.heights[[0, -1]], [0.0, 1.0])
        line = positions[0] + ends[:, None] * (positions[-1] - positions[0])
        return float(np.linalg.norm(positions - line, axis=1).max())

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
    def alternates(self) -> bool:
        """Whether wide and narrow steps take turns, as where the slices of two stacks interleave."""
        if len(self.steps) < 4:
            return False
        one, other = self.steps[0::2], self.steps[1::2]
        apart = abs(float(np.median(one) - np.median(other)))
        return apart > UNEVEN_MM and max(float(np.ptp(one)), float(np.ptp(other))) < 0.5 * apart

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
    """Group files to series, split where geometry, echo, kind or acquisition differ, sorted by series number."""
    found: list[tuple[int, list[Series]]] = []
    for parts in stacks_of(headers):
        number = parts[0].headers[0].number
        series = [in_order(_series(str(number if number is not None else "?"), part)) for part in parts]
        found.append((number if number is not None else 10**9, series))
    found.sort(key=lambda entry: (entry[0], entry[1][0].first.time or 0.0, entry[1][0].first.series))
    return _numbered([series for _, series in found])


def _series(key: str, part: Stack) -> Series:
    slices = tuple(one for header in part.headers for one in header.slices)
    return Series(key, part.headers, slices, part.copies, part.notes)


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


def in_order(series: Series) -> Series:
    """The series with its files and slices sorted along the normal; as it is where positions are missing."""
    if not len(series.heights):
        return series
    order = np.argsort(series.heights, kind="stable")
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
    if (planes := orientations(series.slices)) > 1:
        return f"holds slices in {planes} directions, as a localiser does"
    if not len(series.steps):
        return "does not say where its slices lie (position or orientation missing)"
    if series.spacing is None or min(series.spacing) <= 0:
        return "has no pixel spacing, or one that is not positive"
    return _repeated(series) or _wrong_height(series)


def _repeated(series: Series) -> str | None:
    count = len(series.slices)
    still = int((series.steps < SAME_PLACE_MM).sum())
    if still == count - 1:
        return f"states one position for all its {count} slices, or holds one slice {count} times"
    times = count / max(count - still, 1)
    if times >= 1.9:
        diffusion = len({one.b_value for one in series.slices}) > 1
        kind = "diffusion" if diffusion else "a time series, several echoes or copies"
        return f"holds the same slices {times:.0f} times or more ({kind})"
    return f"has {still} slices twice at one place; it cannot be told which belong together" if still else None


def _wrong_height(series: Series) -> str | None:
    if series.coverage_mm > MOST_COVERAGE_MM:
        return f"covers {series.coverage_mm:.0f} mm, far more than a head (at most {MOST_COVERAGE_MM:.0f} mm)"
    if series.coverage_mm < LEAST_COVERAGE_MM:
        return f"covers {series.coverage_mm:.0f} mm only, less than a head (at least {LEAST_COVERAGE_MM:.0f} mm)"
    return None
